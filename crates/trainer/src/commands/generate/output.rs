//! Writes generated images in the chosen format.

use crate::cli::commands::GenerateArgs;
use crate::cli::values::{Format, Layout};
use anyhow::{Context, Result, ensure};
use gan_data::{ImageShape, files, idx, png};
use std::fs;
use std::path::Path;

/// Maximum number of bytes of images held in memory for one file.
const MAX_HELD: usize = u32::MAX as usize;

/// Directory, below `root`, in which torchvision's `MNIST(root)` looks for its files.
const TORCHVISION: &str = "MNIST/raw";

/// The output of `generate`: single files are written at once, one file of all images at the end.
pub(crate) struct Output<'a> {
    args: &'a GenerateArgs,
    shape: ImageShape,
    count: usize,
    labels: Option<Vec<u32>>,
    /// The images of one file.
    held: Vec<u8>,
}

impl<'a> Output<'a> {
    /// Makes the directory and reserves the memory.
    ///
    /// # Errors
    /// Memory that cannot be had; a directory that cannot be made; torchvision's layout without labels.
    pub(crate) fn open(
        args: &'a GenerateArgs,
        shape: ImageShape,
        count: usize,
        labels: Option<Vec<u32>>,
    ) -> Result<Self> {
        ensure!(
            args.layout == Layout::Flat || labels.is_some(),
            "--layout torchvision: torchvision's MNIST needs labels, and the classes of this \
             generator's images are not known"
        );
        let mut held = Vec::new();
        if args.format != Format::Png {
            held.try_reserve_exact(count * shape.len())
                .with_context(|| format!("memory for --count {count}"))?;
        }
        if args.format != Format::Grid {
            fs::create_dir_all(&args.out)
                .with_context(|| format!("making the directory {}", args.out.display()))?;
        }
        Ok(Self { args, shape, count, labels, held })
    }

    /// Takes images, the first of which is number `first`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn take(&mut self, first: usize, pixels: Vec<u8>) -> Result<()> {
        if self.args.format != Format::Png {
            self.held.extend(pixels);
            return Ok(());
        }
        let digits = (self.count - 1).to_string().len().max(6);
        for (i, pixels) in pixels.chunks_exact(self.shape.len()).enumerate() {
            let path = self.args.out.join(format!("{:0digits$}.png", first + i));
            png::write(&path, self.shape, pixels)?;
        }
        Ok(())
    }

    /// Writes what is written when all images are there.
    ///
    /// # Errors
    /// A file that cannot be written; colours in IDX files.
    pub(crate) fn close(self) -> Result<()> {
        let Self { args, shape, count, labels, held } = self;
        match (args.format, args.layout, labels) {
            (Format::Png, ..) => Ok(()),
            (Format::Grid, ..) => Ok(png::write_grid(&args.out, shape, &held, columns(count))?),
            (Format::Idx, Layout::Torchvision, Some(labels)) => {
                write_torchvision(&args.out.join(TORCHVISION), shape, &held, &labels)
            }
            (Format::Idx, _, labels) => Ok(idx::write(&args.out, shape, &held, labels.as_deref())?),
        }
    }
}

/// # Errors
/// More images than one file is made of.
pub(crate) fn check_count(format: Format, shape: ImageShape, count: usize) -> Result<()> {
    let max = MAX_HELD / shape.len();
    ensure!(
        format == Format::Png || count <= max,
        "--count {count}: one file of images is put together in memory, which is done for up to \
         {max}; `--format png` writes any number"
    );
    Ok(())
}

/// Returns the number of images in a row of a grid.
pub(crate) fn columns(count: usize) -> usize {
    (count as f64).sqrt().ceil() as usize
}

/// Writes the four files that torchvision's MNIST reads. Both splits hold the same images.
fn write_torchvision(
    directory: &Path,
    shape: ImageShape,
    pixels: &[u8],
    labels: &[u32],
) -> Result<()> {
    let images = idx::encode_images(&directory.join("train-images-idx3-ubyte"), shape, pixels)?;
    let labels = idx::encode_labels(&directory.join("train-labels-idx1-ubyte"), labels)?;
    fs::create_dir_all(directory)
        .with_context(|| format!("making the directory {}", directory.display()))?;
    for part in ["train", "t10k"] {
        files::write_atomically(&directory.join(format!("{part}-images-idx3-ubyte")), &images)?;
        files::write_atomically(&directory.join(format!("{part}-labels-idx1-ubyte")), &labels)?;
    }
    Ok(())
}

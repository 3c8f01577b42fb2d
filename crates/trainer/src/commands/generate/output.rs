//! Writes generated images in the chosen format.

use crate::cli::commands::GenerateArgs;
use crate::cli::values::{Format, Layout};
use anyhow::{Context, Result, ensure};
use gan_data::{ImageShape, files, idx, png};
use gan_files::NewDirectory;
use std::fs;
use std::path::Path;

/// Maximum number of bytes of images, or of latents, held in memory for one file: as many as an IDX
/// file is read with.
const MAX_HELD: usize = idx::MAX_BYTES as usize;

/// Maximum number of images, whose labels are held in memory.
const MAX_COUNT: usize = 100_000_000;

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
    /// The directory that is written, unless the images are one file.
    directory: Option<NewDirectory>,
}

impl<'a> Output<'a> {
    /// Begins the directory and reserves the memory.
    ///
    /// # Errors
    /// Memory that cannot be had; a directory that cannot be made or holds files; torchvision's layout
    /// without labels.
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
        let directory = match args.format {
            Format::Grid => None,
            _ => Some(begin(args)?),
        };
        Ok(Self { args, shape, count, labels, held, directory })
    }

    /// Takes images, the first of which is number `first`.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn take(&mut self, first: usize, pixels: Vec<u8>) -> Result<()> {
        let Some(directory) = self.directory.as_ref().filter(|_| self.args.format == Format::Png)
        else {
            self.held.extend(pixels);
            return Ok(());
        };
        let digits = (self.count - 1).to_string().len().max(6);
        for (i, pixels) in pixels.chunks_exact(self.shape.len()).enumerate() {
            let path = directory.path().join(format!("{:0digits$}.png", first + i));
            png::write(&path, self.shape, pixels)?;
        }
        Ok(())
    }

    /// Writes what is written when all images are there.
    ///
    /// # Errors
    /// A file that cannot be written; colours in IDX files.
    pub(crate) fn close(self) -> Result<()> {
        let Self { args, shape, count, labels, held, directory } = self;
        let Some(directory) = directory else {
            return Ok(png::write_grid(&args.out, shape, &held, columns(count))?);
        };
        let place = directory.path();
        match (args.format, args.layout, labels) {
            (Format::Idx, Layout::Torchvision, Some(labels)) => {
                write_torchvision(place, shape, &held, &labels)?;
            }
            (Format::Idx, _, labels) => idx::write(place, shape, &held, labels.as_deref())?,
            _ => {}
        }
        directory.publish().with_context(|| format!("writing {}", args.out.display()))
    }
}

/// Begins the directory that is written, which is filled beside its place and takes it whole.
///
/// # Errors
/// A directory with files in it, unless it is to be replaced and images are all it holds.
fn begin(args: &GenerateArgs) -> Result<NewDirectory> {
    let place = match args.layout {
        Layout::Flat => args.out.clone(),
        Layout::Torchvision => args.out.join(TORCHVISION),
    };
    let context = || format!("making the directory {}", place.display());
    let directory = NewDirectory::create(&place).with_context(context)?;
    if place.exists() {
        for entry in fs::read_dir(&place).with_context(context)? {
            let name = entry.with_context(context)?.file_name();
            ensure!(
                args.force,
                "{}: not empty; --force replaces it, or choose another --out",
                place.display()
            );
            let generated = [".png", "-idx3-ubyte", "-idx1-ubyte"];
            ensure!(
                generated.iter().any(|end| name.as_encoded_bytes().ends_with(end.as_bytes())),
                "{}: --force replaces directories of generated images only, and this one holds {}",
                place.display(),
                name.display()
            );
        }
    }
    Ok(directory)
}

/// Checks the size of what is held in memory; `latent_dim` if the latents are, too.
///
/// # Errors
/// More images than one file is made of, or than there can be.
pub(crate) fn check_count(
    format: Format,
    shape: ImageShape,
    latent_dim: Option<usize>,
    count: usize,
) -> Result<()> {
    ensure!(
        count <= MAX_COUNT,
        "--count {count}: at most {MAX_COUNT} images are generated at once"
    );
    let max = MAX_HELD / shape.len();
    ensure!(
        format == Format::Png || count <= max,
        "--count {count}: one file of images is put together in memory, which is done for up to \
         {max}; `--format png` writes {MAX_COUNT}"
    );
    let max = latent_dim.map_or(count, |latent_dim| MAX_HELD / latent_dim.saturating_mul(4));
    ensure!(
        count <= max,
        "--count {count}: --save-latents keeps the latents in memory, which is done for up to {max}"
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
    for part in ["train", "t10k"] {
        files::write_atomically(&directory.join(format!("{part}-images-idx3-ubyte")), &images)?;
        files::write_atomically(&directory.join(format!("{part}-labels-idx1-ubyte")), &labels)?;
    }
    Ok(())
}

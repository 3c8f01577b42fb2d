//! `cargo xtask gif`: makes an animation of a run's sample images.
//!
//! It holds one frame in memory at a time.

use std::fmt;
use std::fs;
use std::io::{BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::encoder::{Encoder, Format, Screen};
use crate::image::{Image, MAX_PIXELS};
use crate::output::output;
use crate::run_directory;

/// Delay after the last frame, in hundredths of a second.
const LAST_DELAY: u16 = 200;

/// The shortest delay that most players respect, in hundredths of a second.
const MIN_DELAY: u32 = 2;

/// Options of `cargo xtask gif`.
#[derive(Args)]
pub(crate) struct Animation {
    /// Run directory [default: the newest under runs/]
    #[arg(long)]
    run: Option<PathBuf>,

    /// File to write: a .gif or, animated, a .png or .apng [default: RUN/training.gif]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Frames per second, 1 to 100; a GIF plays at most 50
    #[arg(long, value_name = "N", default_value_t = 12)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=100))]
    fps: u32,

    /// Take every N-th frame, and always the first and the last
    #[arg(long, value_name = "N", default_value = "1")]
    every: NonZeroUsize,

    /// Enlarge every pixel to N by N pixels, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=16))]
    scale: u16,
}

impl Animation {
    /// Makes the animation and returns a line that reports it.
    ///
    /// # Errors
    /// There is no run or no frame; a frame is damaged, too large, or of another size than the
    /// first; the animation is one of the frames or cannot be written.
    pub(crate) fn make(self) -> Result<String> {
        let run = match self.run {
            Some(run) => run,
            None => run_directory::newest(Path::new("runs"))?,
        };
        let format = self.out.as_deref().map_or(Ok(Format::Gif), Format::of)?;
        let frames = run_directory::frames(&run)?;
        let path = output(&run, self.out, "training.gif", &frames)?;
        let frames = every_nth(frames, self.every);
        let made = gan_files::write_with(&path, |file| -> Result<Made> {
            let mut file = BufWriter::new(file);
            let made = write(&mut file, format, &frames, self.fps, self.scale)?;
            file.flush()?;
            Ok(made)
        })
        .with_context(|| format!("making {}", path.display()))?;
        Ok(format!("{}: {made}, {} bytes", path.display(), fs::metadata(&path)?.len()))
    }
}

/// The facts about an animation that are reported.
pub(crate) struct Made {
    frames: usize,
    size: (u16, u16),
    hundredths: u32,
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { frames, size: (width, height), .. } = self;
        let plural = if *frames == 1 { "" } else { "s" };
        let seconds = f64::from(self.hundredths) / 100.0;
        write!(f, "{frames} frame{plural} of {width}x{height} pixels, {seconds:.2} s")
    }
}

/// Writes the frames, at least one, as an animation that repeats without end.
///
/// # Errors
/// A frame is damaged, too large, or of another size than the first; the animation cannot be
/// written.
pub(crate) fn write(
    file: &mut impl Write,
    format: Format,
    frames: &[PathBuf],
    fps: u32,
    scale: u16,
) -> Result<Made> {
    let screen = survey(frames, scale)?;
    let mut encoder = Encoder::new(format, screen, file)?;
    let mut hundredths = 0;
    for (index, path) in frames.iter().enumerate() {
        let pixels = open(path)?.into_pixels().with_context(|| path.display().to_string())?;
        let delay = match index + 1 == frames.len() {
            true => LAST_DELAY,
            false => delay(index, fps),
        };
        hundredths += u32::from(delay);
        encoder.write(pixels.scaled(scale.into()), delay)?;
    }
    encoder.finish()?;
    Ok(Made { frames: frames.len(), size: (screen.width, screen.height), hundredths })
}

fn open(path: &Path) -> Result<Image> {
    Image::open(path).with_context(|| path.display().to_string())
}

/// Reads the header of every frame and returns what all frames have in common.
fn survey(frames: &[PathBuf], scale: u16) -> Result<Screen> {
    let first = &frames[0];
    let size = open(first)?.size();
    let (width, height) = screen(size, scale).with_context(|| first.display().to_string())?;
    let mut grey = true;
    for path in frames {
        let image = open(path)?;
        ensure!(
            image.size() == size,
            "frames of different sizes: {} has {}x{} pixels, {} has {}x{}",
            first.display(),
            size.0,
            size.1,
            path.display(),
            image.size().0,
            image.size().1,
        );
        grey &= image.is_grey();
    }
    Ok(Screen { width, height, grey, frames: u32::try_from(frames.len())? })
}

/// Width and height of the animation, for frames of `size` before scaling.
fn screen(size: (u32, u32), scale: u16) -> Result<(u16, u16)> {
    let pixels = |side: u32| u64::from(side) * u64::from(scale);
    let (width, height) = (pixels(size.0), pixels(size.1));
    match (u16::try_from(width), u16::try_from(height)) {
        (Ok(w), Ok(h)) if width * height <= MAX_PIXELS => Ok((w, h)),
        _ => bail!(
            "an animation of {width}x{height} pixels is too large: \
             at most 65535 a side and {MAX_PIXELS} in all"
        ),
    }
}

/// Every `n`-th frame, the first included, and the last.
pub(crate) fn every_nth(frames: Vec<PathBuf>, n: NonZeroUsize) -> Vec<PathBuf> {
    let last = frames.len() - 1;
    let taken = |index: usize| index.is_multiple_of(n.get()) || index == last;
    frames
        .into_iter()
        .enumerate()
        .filter_map(|(index, path)| taken(index).then_some(path))
        .collect()
}

/// Delay after a frame, in hundredths of a second.
///
/// The end of each frame is rounded to the nearest hundredth, so that rounding errors do not add
/// up. The mean rate is `fps`, at most 50.
fn delay(index: usize, fps: u32) -> u16 {
    let fps = u64::from(fps.min(100 / MIN_DELAY));
    let end_of = |frames: usize| (200 * frames as u64 + fps) / (2 * fps);
    (end_of(index + 1) - end_of(index)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_keep_the_mean_rate() {
        for fps in 1..=100 {
            let delays: Vec<_> = (0..1000).map(|index| delay(index, fps)).collect();
            assert!(delays.iter().all(|&d| d >= 2), "{fps} frames a second");
            let total: f64 = delays.iter().map(|&d| f64::from(d)).sum();
            let want = 100_000.0 / f64::from(fps.min(50));
            assert!((total - want).abs() <= 0.5, "{fps}: {total}, not {want}");
        }
    }

    #[test]
    fn every_nth_keeps_both_ends() {
        let steps = |count: usize, n: usize| -> Vec<String> {
            let frames = (0..count).map(|i| PathBuf::from(i.to_string())).collect();
            let taken = every_nth(frames, n.try_into().expect("n > 0"));
            taken.iter().map(|p| p.display().to_string()).collect()
        };
        assert_eq!(steps(8, 3), ["0", "3", "6", "7"]);
        assert_eq!(steps(7, 3), ["0", "3", "6"]);
        assert_eq!(steps(3, 100), ["0", "2"]);
        assert_eq!(steps(1, 2), ["0"]);
    }

    #[test]
    fn a_screen_has_limits() {
        assert_eq!(screen((300, 200), 3).ok(), Some((900, 600)));
        assert_eq!(screen((65_535, 1024), 1).ok(), Some((65_535, 1024)));
        for (size, scale) in [((65_536, 1), 1), ((1, 4_096), 16), ((65_535, 1_025), 1)] {
            assert!(screen(size, scale).is_err(), "{size:?} times {scale}");
        }
        assert!(screen((u32::MAX, u32::MAX), 16).is_err());
    }
}

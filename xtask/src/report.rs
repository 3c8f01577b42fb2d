//! `cargo xtask report`: a run's images, curves, metrics and configuration on one page.
//!
//! The page needs no other file, no network and no script. Where a part of the run is
//! missing or damaged, the page leaves it out and says so.

#[path = "../../crates/trainer/src/run/command.rs"]
mod command;
mod meanings;
mod page;
mod record;
mod tables;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use gan_files::SETTINGS_LIMIT;

use self::record::{Figure, Record};
use crate::animation;
use crate::encoder::Format;
use crate::image::Image;
use crate::output::output;
use crate::run_directory;

/// A grid of real images.
const REAL: &str = "real.png";
/// What `candle-gan evaluate --json` printed.
const EVALUATION: &str = "evaluation.json";
/// Maximum number of bytes of the animation. Base64 adds a third on the page.
const MAX_ANIMATION_BYTES: u64 = 5 << 20;
/// The correlation of the first grid that is shown with the last one, at least.
const VISIBLE: f64 = 0.5;
/// Frames per second of the animation.
const FPS: u32 = 12;

/// Options of `cargo xtask report`.
#[derive(Args)]
pub struct Report {
    /// Run directory [default: the newest under runs/]
    #[arg(long)]
    pub run: Option<PathBuf>,

    /// File to write [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

impl Report {
    /// Writes the page and returns a line that reports it.
    ///
    /// # Errors
    /// There is no run, its directory holds no part of one, or the page is one of its
    /// files or cannot be written.
    pub fn make(self) -> Result<String> {
        let run = match self.run {
            Some(run) => run,
            None => run_directory::newest(Path::new("runs"))?,
        };
        ensure!(
            run.is_dir(),
            "{}: no such run directory; {}",
            run.display(),
            run_directory::REMEDY
        );
        let whole = fs::canonicalize(&run).with_context(|| run.display().to_string())?;
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();

        // A run without frames has a page too.
        let mut inputs = run_directory::frames(&run).unwrap_or_default();
        let names = ["config.json", "stats.jsonl", "curves.svg", REAL, EVALUATION];
        inputs.extend(names.map(|name| run.join(name)));
        let path = output(&run, self.out, "report.html", &inputs)?;

        let mut left_out = Vec::new();
        let config = part(record::config(&run), &mut left_out);
        let lines = part(record::lines(&run, &mut left_out), &mut left_out);
        let curves = part(curves(&run), &mut left_out);
        let figures = part(figures(&run, &mut left_out), &mut left_out);
        let evaluation = match run.join(EVALUATION).exists() {
            true => part(record::object(&run.join(EVALUATION), "an evaluation"), &mut left_out),
            false => None,
        };
        ensure!(
            config.is_some() || lines.is_some() || figures.is_some(),
            "{}: not a run directory: {}; {}",
            run.display(),
            left_out.join("; "),
            run_directory::REMEDY
        );
        let (config, lines) = (config.unwrap_or_default(), lines.unwrap_or_default());
        let record = Record { name, config, lines, evaluation };
        // The page says what is missing without saying where the run lies on this machine.
        let place = run.join("").display().to_string();
        let shown: Vec<String> = left_out.iter().map(|what| what.replace(&place, "")).collect();
        let page = page::page(
            &record,
            &figures.unwrap_or_default(),
            curves.as_ref(),
            &command::command("cargo run -p trainer --", &record.config),
            &shown,
        );
        gan_files::write(&path, page.as_bytes())
            .with_context(|| format!("making {}", path.display()))?;
        let mut said = format!("{}: {} bytes", path.display(), page.len());
        if !left_out.is_empty() {
            said += &format!("; left out: {}", left_out.join("; "));
        }
        Ok(said)
    }
}

/// The value of a result; an error is added to `left_out`.
fn part<T>(found: Result<T>, left_out: &mut Vec<String>) -> Option<T> {
    found.map_err(|error| left_out.push(format!("{error:#}"))).ok()
}

/// The curves, as they are: the page shows them as an image, in which no script runs.
fn curves(run: &Path) -> Result<Figure> {
    let path = run.join("curves.svg");
    let svg = gan_files::read_to_string(&path, SETTINGS_LIMIT)
        .with_context(|| path.display().to_string())?;
    ensure!(
        svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"),
        "{}: damaged, or not written by the trainer",
        path.display()
    );
    let caption = "losses, scores and distances by step".to_string();
    Ok(Figure { caption, media_type: "image/svg+xml", bytes: svg.into_bytes() })
}

/// The last sample grid, real images beside it, the first grid that shows something, and the animation
/// of all grids.
fn figures(run: &Path, left_out: &mut Vec<String>) -> Result<Vec<Figure>> {
    let frames = run_directory::frames(run)?;
    let mut figures = Vec::new();
    let last = &frames[frames.len() - 1];
    figures.extend(part(grid(last), left_out));
    if run.join(REAL).exists() {
        let caption = "real images, to compare with".to_string();
        figures.extend(part(png(&run.join(REAL), caption), left_out));
    }
    if let Some(first) = first_visible(&frames).filter(|first| *first != last) {
        figures.extend(part(grid(first), left_out));
    }
    if frames.len() > 1 {
        figures.extend(part(animation(&frames), left_out));
    }
    ensure!(!figures.is_empty(), "{}: no undamaged image", run.join("samples").display());
    Ok(figures)
}

/// The first grid that correlates with the last one, whose latents are the same: those before it are
/// grey, as generators begin, or show nothing yet.
fn first_visible(frames: &[PathBuf]) -> Option<&PathBuf> {
    let pixels = |path: &PathBuf| Image::open(path).and_then(Image::into_pixels).ok();
    // Where the last one is damaged, any other shows more.
    let Some(last) = frames.last().and_then(pixels) else { return frames.first() };
    let shows = |path: &&PathBuf| pixels(path).is_some_and(|of| of.correlation(&last) >= VISIBLE);
    frames.iter().find(shows)
}

fn grid(path: &Path) -> Result<Figure> {
    let step = run_directory::step(path).unwrap_or_default();
    png(path, format!("generated images, step {}", tables::thousands(step)))
}

fn png(path: &Path, caption: String) -> Result<Figure> {
    let context = || path.display().to_string();
    Image::open(path).and_then(Image::into_pixels).with_context(context)?;
    Ok(Figure {
        caption,
        media_type: Format::Png.media_type(),
        bytes: gan_files::read(path).with_context(context)?,
    })
}

/// The animation of the frames, or of every n-th frame if it would be too large.
fn animation(frames: &[PathBuf]) -> Result<Figure> {
    let (mut grey, mut total) = (true, 0);
    for path in frames {
        let context = || path.display().to_string();
        grey &= Image::open(path).with_context(context)?.is_grey();
        total += fs::metadata(path).with_context(context)?.len();
    }
    // For colour images a GIF is much smaller.
    let format = if grey { Format::Png } else { Format::Gif };
    let mut every = total.div_ceil(MAX_ANIMATION_BYTES).max(1) as usize;
    loop {
        let n = NonZeroUsize::new(every).unwrap_or(NonZeroUsize::MIN);
        let taken = animation::every_nth(frames.to_vec(), n);
        let mut bytes = Vec::new();
        animation::write(&mut bytes, format, &taken, FPS, 1)?;
        if bytes.len() as u64 > MAX_ANIMATION_BYTES && taken.len() > 2 {
            every = (every * bytes.len()).div_ceil(MAX_ANIMATION_BYTES as usize).max(every + 1);
            continue;
        }
        let of = if taken.len() < frames.len() {
            format!("{} of {} grids", taken.len(), frames.len())
        } else {
            format!("{} grids", frames.len())
        };
        let caption = format!("animation of {of}");
        return Ok(Figure { caption, media_type: format.media_type(), bytes });
    }
}

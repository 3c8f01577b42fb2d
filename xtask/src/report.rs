//! `cargo xtask report`: a run on one page, everything in it.
//!
//! The page needs no other file, no network and no script. What a run does not
//! have, or what is damaged, the page does without, and says so.

mod command;
mod page;
mod tables;

use std::fs;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Map, Value};

use crate::animation::Format;
use crate::film;
use crate::picture::Picture;
use crate::run_folder;
use crate::whole::write_whole;

/// The most bytes of a film; on the page it takes a third more.
const FILM_BYTES: u64 = 5 << 20;
/// Frames a second of the film.
const FPS: u32 = 12;

/// Options of `cargo xtask report`.
#[derive(Args)]
pub(crate) struct Report {
    /// Run folder [default: the newest under runs/]
    #[arg(long)]
    run: Option<PathBuf>,

    /// File to write [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// The values of a JSON object, by name.
type Fields = Map<String, Value>;

/// What a run's folder tells.
struct Record {
    name: String,
    config: Fields,
    /// The lines of `stats.jsonl`.
    lines: Vec<Fields>,
}

/// A picture or film, and what is written under it.
struct Figure {
    caption: String,
    media_type: &'static str,
    bytes: Vec<u8>,
}

impl Report {
    /// Writes the page and says what was written.
    ///
    /// # Errors
    /// There is no run, or nothing of one in its folder; the page cannot be written.
    pub(crate) fn make(self) -> Result<String> {
        let run = match self.run {
            Some(run) => run,
            None => run_folder::newest(Path::new("runs"))?,
        };
        ensure!(run.is_dir(), "{}: no such run folder; {}", run.display(), run_folder::REMEDY);
        let whole = fs::canonicalize(&run).with_context(|| run.display().to_string())?;
        let name = whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned();

        let mut left_out = Vec::new();
        let config = part(config(&run), &mut left_out);
        let lines = part(lines(&run, &mut left_out), &mut left_out);
        let curves = part(curves(&run), &mut left_out);
        let figures = part(figures(&run, &mut left_out), &mut left_out);
        ensure!(
            config.is_some() || lines.is_some() || figures.is_some(),
            "{}: not a run folder: {}; {}",
            run.display(),
            left_out.join("; "),
            run_folder::REMEDY
        );
        let record =
            Record { name, config: config.unwrap_or_default(), lines: lines.unwrap_or_default() };
        let page = page::page(
            &record,
            &figures.unwrap_or_default(),
            curves.as_deref(),
            &command::command(&record.config),
            &left_out,
        );
        let path = self.out.unwrap_or_else(|| run.join("report.html"));
        write_whole(&path, |file| Ok(file.write_all(page.as_bytes())?))?;
        let mut said = format!("{}: {} bytes", path.display(), page.len());
        if !left_out.is_empty() {
            said += &format!("; left out: {}", left_out.join("; "));
        }
        Ok(said)
    }
}

/// What is there; what is not is told among what is left out.
fn part<T>(found: Result<T>, left_out: &mut Vec<String>) -> Option<T> {
    found.map_err(|error| left_out.push(format!("{error:#}"))).ok()
}

fn config(run: &Path) -> Result<Fields> {
    let path = run.join("config.json");
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{}: not a run's configuration", path.display()))
}

/// Lines that are whole; of others, how many there are is left out.
fn lines(run: &Path, left_out: &mut Vec<String>) -> Result<Vec<Fields>> {
    let path = run.join("stats.jsonl");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let lines: Vec<_> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    match text.lines().count() - lines.len() {
        0 => {}
        damaged => left_out.push(format!("{}: damaged lines: {damaged}", path.display())),
    }
    ensure!(!lines.is_empty(), "{}: no statistics yet", path.display());
    Ok(lines)
}

fn curves(run: &Path) -> Result<String> {
    let path = run.join("curves.svg");
    let svg = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let svg = svg.trim();
    ensure!(
        svg.starts_with("<svg") && svg.ends_with("</svg>") && !svg.contains("<script"),
        "{}: not whole, or not the trainer's",
        path.display()
    );
    // A page's own SVG needs no name space.
    Ok(svg.replacen(" xmlns=\"http://www.w3.org/2000/svg\"", "", 1))
}

/// The first and the last sample grid, and the film from the one to the other.
fn figures(run: &Path, left_out: &mut Vec<String>) -> Result<Vec<Figure>> {
    let frames = run_folder::frames(run)?;
    let mut figures = Vec::new();
    let mut ends = vec![&frames[0]];
    ends.extend(frames.last().filter(|_| frames.len() > 1));
    for path in &ends {
        figures.extend(part(grid(path), left_out));
    }
    if frames.len() > 1 {
        figures.extend(part(film(&frames), left_out));
    }
    ensure!(!figures.is_empty(), "{}: no picture is whole", run.join("samples").display());
    Ok(figures)
}

fn grid(path: &Path) -> Result<Figure> {
    let context = || path.display().to_string();
    Picture::open(path).and_then(Picture::into_pixels).with_context(context)?;
    let step = run_folder::step(path).unwrap_or_default();
    Ok(Figure {
        caption: format!("step {}", tables::thousands(step)),
        media_type: Format::Png.media_type(),
        bytes: fs::read(path).with_context(context)?,
    })
}

/// Of so many frames that the film is not too large.
fn film(frames: &[PathBuf]) -> Result<Figure> {
    let (mut grey, mut total) = (true, 0);
    for path in frames {
        let context = || path.display().to_string();
        grey &= Picture::open(path).with_context(context)?.is_grey();
        total += fs::metadata(path).with_context(context)?.len();
    }
    // In colour a GIF is smaller by far.
    let format = if grey { Format::Png } else { Format::Gif };
    let mut every = total.div_ceil(FILM_BYTES).max(1) as usize;
    loop {
        let n = NonZeroUsize::new(every).unwrap_or(NonZeroUsize::MIN);
        let taken = film::every_nth(frames.to_vec(), n);
        let mut bytes = Vec::new();
        film::write(&mut bytes, format, &taken, FPS, 1)?;
        if bytes.len() as u64 > FILM_BYTES && taken.len() > 2 {
            every = (every * bytes.len()).div_ceil(FILM_BYTES as usize).max(every + 1);
            continue;
        }
        let of = if taken.len() < frames.len() {
            format!("{} of {} grids", taken.len(), frames.len())
        } else {
            format!("{} grids", frames.len())
        };
        let caption = format!("film of {of}");
        return Ok(Figure { caption, media_type: format.media_type(), bytes });
    }
}

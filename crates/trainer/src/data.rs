//! Sets as the command line names them, and `export`.

use crate::args::{ExportArgs, FolderArgs, SplitName};
use crate::device;
use anyhow::{Context, Result, ensure};
use gan_data::folder::{self, Colour, Loaded, Options};
use gan_data::{Dataset, Source, Split};
use std::io::Write;
use std::time::Instant;

/// Pictures left out that are named one by one.
const NAMED: usize = 20;

/// Reads the name of a set.
///
/// # Errors
/// An unknown one (lists the known ones).
pub(crate) fn source(dataset: &str) -> Result<Source> {
    dataset.parse().context("--dataset")
}

/// What the flags say of a set's pictures.
///
/// # Errors
/// A size or colour for pictures that are taken as they are.
pub(crate) fn options(source: &Source, args: &FolderArgs) -> Result<Options> {
    let given = [("size", args.size.is_some()), ("colour", args.colour.is_some())];
    for (flag, _) in given.iter().filter(|(_, given)| *given) {
        ensure!(
            matches!(source, Source::Folder(_)),
            "--{flag}: the pictures of {source} stay as they are; it goes with --dataset folder:DIR"
        );
    }
    Ok(Options::new()
        .size(args.size.unwrap_or(Options::SIZE))
        .colour(args.colour.map(Colour::from))
        .strict(args.strict))
}

/// Loads a part of a set, and warns of what is left out.
///
/// # Errors
/// Those of [`Source::load_with`].
pub(crate) fn load(source: &Source, split: Split, options: &Options) -> Result<Dataset> {
    let started = Instant::now();
    let Loaded { dataset: set, skipped, .. } = source.load_with(split, options)?;
    let count = skipped.len();
    for error in skipped.into_iter().take(NAMED) {
        // The chain of causes on one line.
        tracing::warn!(
            "left out: {}",
            format!("{:#}", anyhow::Error::from(error)).replace('\n', " ")
        );
    }
    if count > NAMED {
        tracing::warn!("left out: {} more", count - NAMED);
    }
    if matches!(source, Source::Folder(_)) {
        tracing::info!(
            "{} pictures of {source} read in {:.1} s, {} x {} x {} values each",
            set.len(),
            started.elapsed().as_secs_f64(),
            set.shape().channels,
            set.shape().height,
            set.shape().width
        );
    }
    Ok(set)
}

/// Keeps these classes, or those that have pictures if none is named.
///
/// # Errors
/// Classes that are not there.
pub(crate) fn keep(set: Dataset, classes: &[String]) -> Result<Dataset> {
    let occupied = set.non_empty_classes();
    Ok(match classes {
        [] if occupied.len() < set.classes().len() => set.filter_classes(&occupied)?,
        [] => set,
        _ => set.filter_classes(classes)?,
    })
}

/// Writes a set as a folder of pictures.
///
/// # Errors
/// A set or classes that are not there; a folder that is not empty or cannot be written.
pub(crate) fn export(args: &ExportArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    device::pool(args.threads)?.install(|| {
        let source = source(&args.dataset)?;
        let split = match args.split {
            SplitName::Train => Split::Train,
            SplitName::Test => Split::Test,
        };
        let set = keep(load(&source, split, &options(&source, &args.folder)?)?, &args.digit)?;
        folder::write(&args.out, &set)?;
        writeln!(
            print,
            "{} pictures of {source} in {}, classes {}",
            set.len(),
            args.out.display(),
            set.classes().join(", ")
        )?;
        Ok(())
    })
}

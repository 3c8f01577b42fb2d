//! `export`: a data set as a directory of images, or as IDX files.

use crate::cli::commands::ExportArgs;
use crate::cli::values::{DatasetFormat, SplitName};
use crate::dataset::{self, Selection};
use crate::device;
use anyhow::{Context, Result, ensure};
use gan_data::{Images, Split, folder, idx};
use gan_files::Line;
use std::io::Write;

/// Writes a data set as a directory of images, or as IDX files.
///
/// # Errors
/// A data set or classes that do not exist; a fraction that cannot be held out; a directory that is not
/// empty or cannot be written; colours in IDX files.
pub(crate) fn export(args: &ExportArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    device::pool(args.threads)?.install(|| {
        let selection = Selection::new(&args.data, args.strict.strict)?;
        let dataset = split(&selection, args)?.into_memory()?;
        match args.format {
            DatasetFormat::Png => folder::write(&args.out, &dataset)?,
            DatasetFormat::Idx => {
                let (shape, labels) = (dataset.shape(), dataset.labels());
                idx::write(&args.out, shape, dataset.pixels(), Some(labels))?;
            }
        }
        writeln!(
            print,
            "{} images of {} in {}, classes {}",
            dataset.len(),
            Line(selection.source()),
            Line(args.out.display()),
            Line(dataset.classes().join(", "))
        )?;
        Ok(())
    })
}

/// The images to write: a split of the data set, or a part of one that has no test images.
fn split(selection: &Selection, args: &ExportArgs) -> Result<Images> {
    let source = selection.source();
    match (args.split, args.holdout) {
        (SplitName::Train, None) => selection.load(Split::Train),
        (SplitName::Test, None) => {
            ensure!(
                source.has_test_images()?,
                "{} has no test images of its own; --holdout 0.1 sets a tenth aside, for both splits",
                Line(source)
            );
            selection.load(Split::Test)
        }
        (split, asked @ Some(fraction)) => {
            match (split, dataset::hold_out(source, asked, selection.load(Split::Train)?)?) {
                (SplitName::Train, (training, _)) => Ok(training),
                (SplitName::Test, (_, held_out)) => held_out.with_context(|| {
                    format!("--holdout {fraction}: no image is held out; ask for more, such as 0.1")
                }),
            }
        }
    }
}

//! `export`: a data set as a directory of images, or as IDX files.

use crate::cli::commands::ExportArgs;
use crate::cli::values::{DatasetFormat, SplitName};
use crate::dataset::Selection;
use crate::device;
use anyhow::Result;
use gan_data::{Split, folder, idx};
use gan_files::Line;
use std::io::Write;

/// Writes a data set as a directory of images, or as IDX files.
///
/// # Errors
/// A data set or classes that do not exist; a directory that is not empty or cannot be written;
/// colours in IDX files.
pub(crate) fn export(args: &ExportArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    device::pool(args.threads)?.install(|| {
        let selection = Selection::new(&args.data, args.strict.strict)?;
        let dataset = selection.load(match args.split {
            SplitName::Train => Split::Train,
            SplitName::Test => Split::Test,
        })?;
        let dataset = dataset.into_memory()?;
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

//! `classifier`: trains a classifier of a data set, which recognises its classes in generated images.

use crate::cli::commands::ClassifierArgs;
use crate::dataset::{self, Selection};
use crate::device;
use crate::format::duration;
use crate::quality::recognizer::{self, Trained, predict};
use crate::quality::training::train;
use anyhow::{Context, Result, ensure};
use gan_data::{Dataset, Split};
use gan_files::Line;
use std::io::Write;
use std::time::Instant;

/// Trains a classifier and writes its weights.
///
/// # Errors
/// Images of one class; a file that cannot be written.
pub(crate) fn classifier(args: &ClassifierArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let precision = args.precision.precision.unwrap_or_default();
    device::set_precision(precision);
    device::pool(args.threads)?.install(|| {
        let (training, test) = images(args)?;
        let path = match &args.out {
            Some(directory) => directory.join("model.safetensors"),
            None => {
                let (epochs, seed) = (args.epochs, args.seed.or_zero());
                recognizer::cache_file(&training, Trained { epochs, seed, precision })?
            }
        };
        let started = Instant::now();
        let trained = train(training, args.epochs, args.seed.or_zero())?;
        let seconds = started.elapsed().as_secs_f64();
        let predicted = predict(&trained.classifier, test.shape(), test.pixels())?;
        let directory = gan_files::parent(&path);
        std::fs::create_dir_all(directory)
            .with_context(|| format!("making the directory {}", directory.display()))?;
        trained.save(&path)?;
        writeln!(
            print,
            "{}: {:.2}% of {} test images classified correctly, trained in {}",
            Line(path.display()),
            100.0 * predicted.accuracy(test.labels()),
            test.len(),
            duration(seconds)
        )?;
        Ok(())
    })
}

/// The images to train on and those to test on. Without test images and without images held out, they
/// are the same.
fn images(args: &ClassifierArgs) -> Result<(Dataset, Dataset)> {
    let selection = Selection::new(&args.data, false)?;
    let all = selection.load(Split::Train)?;
    ensure!(
        all.classes().len() > 1,
        "{} has one class: a classifier needs two or more",
        selection.source()
    );
    let classes = all.classes().to_vec();
    let (training, held_out) = dataset::hold_out(selection.source(), args.holdout, all)?;
    let training = training.into_memory()?;
    let test = match held_out {
        Some(held_out) => held_out.into_memory()?,
        None if selection.source().has_test_images()? => {
            dataset::load(selection.source(), Split::Test, selection.options())?
                .filter_classes(&classes)?
        }
        None => training.clone(),
    };
    Ok((training, test))
}

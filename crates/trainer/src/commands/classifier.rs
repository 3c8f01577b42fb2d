//! `classifier`: trains a digit classifier, like the one whose features the metrics use.

use crate::cli::commands::ClassifierArgs;
use crate::dataset;
use crate::device;
use crate::format::duration;
use crate::quality::{self, predict};
use anyhow::{Context, Result};
use gan_data::Split;
use gan_data::folder::{Colour, Options};
use gan_files::Line;
use std::io::Write;
use std::time::Instant;

/// The options that read the images of a directory for the classifier.
const OPTIONS: Options =
    Options::new().size(Options::SIZE).colour(Some(Colour::Grey)).strict(false);

/// Trains a classifier and writes its weights.
///
/// # Errors
/// Images that it does not take; a file that cannot be written.
pub(crate) fn classifier(args: &ClassifierArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    device::set_precision(args.precision.precision.unwrap_or_default());
    device::pool(args.threads)?.install(|| {
        let source = dataset::source(args.dataset.or_mnist())?;
        let load = |split| dataset::load(&source, split, &OPTIONS);
        let (train_set, test_set) = (load(Split::Train)?, load(Split::Test)?);
        let started = Instant::now();
        let trained = quality::training::train(train_set, args.epochs, args.seed.or_zero())?;
        let seconds = started.elapsed().as_secs_f64();
        let predicted = predict(&trained.classifier, test_set.shape(), test_set.pixels())?;
        std::fs::create_dir_all(&args.out)
            .with_context(|| format!("making the directory {}", args.out.display()))?;
        let path = args.out.join("model.safetensors");
        trained.save(&path)?;
        writeln!(
            print,
            "{}: {:.2}% of {} test images classified correctly, trained in {}",
            Line(path.display()),
            100.0 * predicted.accuracy(test_set.labels()),
            test_set.len(),
            duration(seconds)
        )?;
        Ok(())
    })
}

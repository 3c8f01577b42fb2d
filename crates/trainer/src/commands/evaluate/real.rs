//! The real images of `evaluate`: those to measure against, and those that are held out.

use crate::cli::commands::EvaluateArgs;
use crate::config::TrainConfig;
use crate::dataset::{self, Selection};
use crate::format;
use crate::quality::Extractor;
use crate::quality::recognizer::TrainedOn;
use anyhow::{Result, ensure};
use gan_data::folder::{Colour, Size};
use gan_data::{Dataset, DatasetInfo, ImageShape, Split};

/// The real images that a generator is compared with.
pub(super) struct RealImages {
    /// Their data set, as `--dataset` names it.
    pub(super) dataset: String,
    /// Those to measure against.
    pub(super) training: Dataset,
    /// Those that are measured too, for comparison: the test images or those held out.
    pub(super) test: Dataset,
    /// The fraction that is held out, if there are no test images.
    pub(super) holdout: Option<f64>,
    /// Their classes, unless they are all that the data set has.
    classes: Vec<String>,
}

impl RealImages {
    /// Loads the real images of these classes, all if there are none. `run` is the run whose
    /// generator is measured.
    ///
    /// # Errors
    /// Images of another shape than those to measure; no images beside the training images; a run
    /// that was trained on other images.
    pub(super) fn load(
        args: &EvaluateArgs,
        run: Option<&TrainConfig>,
        shape: ImageShape,
        classes: &[String],
    ) -> Result<Self> {
        let named = args.dataset.dataset.as_ref();
        let dataset = named.or(run.map(|run| &run.dataset)).map_or("mnist", String::as_str);
        let run = run.filter(|run| run.dataset == dataset);
        // A directory of images has no size of its own.
        let (size, colour) = (Size::from(shape), Colour::of(shape.channels));
        let data = Selection::of_run(dataset, Some(size), Some(colour), &[], false)?;
        let all = data.all(Split::Train)?;
        let known = all.non_empty_classes();
        let classes = if classes.is_empty() { &known } else { classes };
        let all = all.filter_classes(classes)?;
        ensure!(
            all.shape() == shape,
            "{} are to be measured, but {dataset} has {}; --dataset names the real images",
            format::image(shape),
            format::image(all.shape())
        );
        let holdout = match (run, args.holdout) {
            (Some(run), None) => run.holdout,
            (_, asked) => dataset::holdout(data.source(), asked, &DatasetInfo::of_images(&all)?)?,
        };
        let (training, held_out) = all.hold_out(holdout.unwrap_or(0.0))?;
        if let (Some(run), Some(_)) = (run, &held_out) {
            check_run(run, args, training.len())?;
        }
        let holdout = holdout.filter(|_| held_out.is_some());
        let test = match held_out {
            Some(held_out) => held_out,
            None => data.all(Split::Test)?.filter_classes(classes)?,
        };
        let (training, test) = (training.into_memory()?, test.into_memory()?);
        ensure!(
            training.pixels() != test.pixels(),
            "{dataset}: has no test images of its own, which show the best values that are possible; \
             --holdout sets a part of its images aside"
        );
        let classes = if *classes == known { Vec::new() } else { classes.to_vec() };
        Ok(Self { dataset: dataset.to_string(), training, test, holdout, classes })
    }

    /// The command that trains a classifier of these images, where there are classes that none
    /// recognises.
    pub(super) fn classifier(&self, extractor: &Extractor) -> Option<String> {
        let Self { dataset, training, holdout, classes, .. } = self;
        let is_missing = training.classes().len() > 1 && extractor.recognizer().is_none();
        let shape = training.shape();
        let trained_on = TrainedOn { dataset, shape, classes, holdout: *holdout };
        is_missing.then(|| trained_on.command())
    }
}

/// Checks that the images held out are those that the run held out.
fn check_run(run: &TrainConfig, args: &EvaluateArgs, training: usize) -> Result<()> {
    if let (Some(asked), Some(holdout)) = (args.holdout, run.holdout) {
        ensure!(
            asked == holdout || holdout == 0.0,
            "--holdout {asked}: the run was trained with --holdout {holdout}"
        );
    }
    let is_whole =
        args.classes.digit.is_empty() && run.holdout.is_some_and(|holdout| holdout > 0.0);
    ensure!(
        !is_whole || training == run.images,
        "{} has {} images to train on now, the run was trained on {}: those held out are others",
        run.dataset,
        training,
        run.images
    );
    Ok(())
}

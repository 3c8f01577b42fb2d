//! Loads the data sets that the command line names.

use crate::cli::options::{DataOptions, ImageOptions};
use crate::quality::MIN_IMAGES;
use anyhow::{Context, Result, bail, ensure};
use gan_data::folder::{self, Colour, Loaded, Options, Size};
use gan_data::shards::{SAMPLE, ShardedImages, Shards};
use gan_data::{Dataset, DatasetInfo, Images, Source, Split};
use std::sync::Arc;
use std::time::Instant;

/// The fraction of the images of a data set without test images that is held out by default.
const HOLDOUT: f64 = 0.1;
/// The largest fraction that may be held out.
const MAX_HOLDOUT: f64 = 0.5;
/// Minimum number of images that are held out by default. Small data sets are worth more as training
/// images.
const MIN_HELD_OUT: usize = 20;

/// Maximum number of skipped images that are named in warnings.
const NAMED: usize = 20;

/// A data set and the classes that are used. No image is read yet.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    source: Source,
    /// The files of a sharded set.
    shards: Option<Arc<Shards>>,
    options: Options,
    /// Empty for all classes that have images.
    classes: Vec<String>,
}

impl Selection {
    /// Returns the data set that the options select.
    ///
    /// # Errors
    /// An unknown data set; a size or colour for images that are used as they are; damaged shards.
    pub(crate) fn new(data: &DataOptions, strict: bool) -> Result<Self> {
        let source = source(data.dataset.or_mnist())?;
        let shards = shards(&source)?;
        let options = options(&source, shards.as_deref(), &data.images)?.strict(strict);
        Ok(Self { source, shards, options, classes: data.classes.digit.clone() })
    }

    /// Returns the data set that a run was trained on.
    ///
    /// # Errors
    /// An unknown data set; damaged shards.
    pub(crate) fn of_run(
        dataset: &str,
        size: Option<Size>,
        colour: Option<Colour>,
        classes: &[String],
        strict: bool,
    ) -> Result<Self> {
        let options =
            Options::new().size(size.unwrap_or(Options::SIZE.into())).colour(colour).strict(strict);
        let source = source(dataset)?;
        Ok(Self { shards: shards(&source)?, source, options, classes: classes.to_vec() })
    }

    /// Returns the source of the images.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// Returns how images of a directory are read.
    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// Returns the files of a sharded set.
    pub(crate) fn shards(&self) -> Option<&Shards> {
        self.shards.as_deref()
    }

    /// Returns the chosen classes. Empty means all.
    pub(crate) fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Returns the size that images are resized to, if they are.
    pub(crate) fn size(&self) -> Option<Size> {
        self.source.is_resized().then_some(self.options.size)
    }

    /// Returns the images of a split, of the chosen classes or of those that have images.
    ///
    /// # Errors
    /// Those of [`all`](Self::all); classes that the data set does not have.
    pub(crate) fn load(&self, split: Split) -> Result<Images> {
        let images = self.all(split)?;
        let non_empty = images.non_empty_classes();
        Ok(match &self.classes[..] {
            [] if non_empty.len() < images.classes().len() => images.filter_classes(&non_empty)?,
            [] => images,
            classes => images.filter_classes(classes)?,
        })
    }

    /// Returns the images of a split, of all classes. Those of a sharded set are not read yet, and both
    /// splits have them all.
    ///
    /// # Errors
    /// Those of [`Source::load_with`].
    pub(crate) fn all(&self, split: Split) -> Result<Images> {
        Ok(match &self.shards {
            Some(shards) => ShardedImages::new(shards.clone(), &self.options)?.into(),
            None => load(&self.source, split, &self.options)?.into(),
        })
    }

    /// Describes a split without reading its images.
    ///
    /// # Errors
    /// Those of [`DatasetInfo::read`]; classes that the data set does not have.
    pub(crate) fn info(&self, split: Split) -> Result<DatasetInfo> {
        let info = match &self.shards {
            Some(_) => DatasetInfo::of_images(&self.all(split)?)?,
            None => DatasetInfo::read(&self.source, split, &self.options)?,
        };
        let non_empty = info.non_empty_classes();
        Ok(match &self.classes[..] {
            [] => info.filter_classes(&non_empty)?,
            classes => info.filter_classes(classes)?,
        })
    }
}

/// Returns the fraction of the images of `source` that is held out from training. Returns `None` if
/// there are test images already, or too few images.
///
/// `asked` is the fraction asked for, `info` describes all images.
///
/// # Errors
/// A fraction out of range, of a data set that has test images, or of too few images.
pub(crate) fn holdout(
    source: &Source,
    asked: Option<f64>,
    info: &DatasetInfo,
) -> Result<Option<f64>> {
    let count = |fraction| -> Result<usize> { Ok(info.clone().hold_out(fraction)?.1) };
    let default = match source {
        // No more are looked at.
        Source::Shards(_) => HOLDOUT.min(SAMPLE as f64 / info.images() as f64),
        _ => HOLDOUT,
    };
    match (source.has_test_images()?, asked) {
        (true, None) => Ok(None),
        (true, Some(asked)) => {
            bail!(
                "--holdout {asked}: {source} has test images of its own, which are never trained on"
            )
        }
        (false, None) => Ok((count(default)? >= MIN_HELD_OUT).then_some(default)),
        (false, Some(asked)) => {
            ensure!(
                (0.0..=MAX_HOLDOUT).contains(&asked),
                "--holdout {asked}: a fraction of the images from 0, for none, to {MAX_HOLDOUT} is \
                 needed"
            );
            let (held_out, all) = (count(asked)?, info.images());
            ensure!(
                asked == 0.0 || held_out >= MIN_IMAGES,
                "--holdout {asked}: of the {all} images of {source}, that is {held_out}; measuring \
                 takes {MIN_IMAGES} or more, so ask for a larger fraction, or for 0"
            );
            Ok(Some(asked))
        }
    }
}

/// Splits images of `source` as [`holdout`] says into those to train on and those that are held out, if
/// any are.
///
/// # Errors
/// Those of [`holdout`].
pub(crate) fn hold_out(
    source: &Source,
    asked: Option<f64>,
    images: Images,
) -> Result<(Images, Option<Images>)> {
    let fraction = holdout(source, asked, &DatasetInfo::of_images(&images)?)?;
    Ok(images.hold_out(fraction.unwrap_or(0.0))?)
}

/// Parses the name of a data set.
///
/// # Errors
/// An unknown one (lists the known ones).
pub(crate) fn source(dataset: &str) -> Result<Source> {
    dataset.parse().context("--dataset")
}

/// Lists the files of a sharded set.
fn shards(source: &Source) -> Result<Option<Arc<Shards>>> {
    let Source::Shards(place) = source else { return Ok(None) };
    let started = Instant::now();
    let shards = Shards::open(place)?;
    tracing::info!(
        "{source}: {} images in {} files, listed in {:.1} s",
        shards.len(),
        shards.files(),
        started.elapsed().as_secs_f64()
    );
    Ok(Some(Arc::new(shards)))
}

/// Returns how images of any size are read.
fn options(source: &Source, shards: Option<&Shards>, images: &ImageOptions) -> Result<Options> {
    let given = [("size", images.size.is_some()), ("colour", images.colour.is_some())];
    for (flag, _) in given.iter().filter(|(_, given)| *given) {
        ensure!(
            source.is_resized(),
            "--{flag}: the images of {source} are used as they are; it goes with --dataset folder:DIR \
             or shards:DIR"
        );
    }
    let size = match (images.size, source, shards) {
        (Some(size), ..) => size,
        (None, Source::Folder(directory), _) => folder::suggest_size(directory)?.into(),
        (None, _, Some(shards)) => shards.suggest_size()?.into(),
        (None, ..) => Options::SIZE.into(),
    };
    Ok(Options::new().size(size).colour(images.colour.map(Colour::from)))
}

/// Loads a split of a data set, and logs a warning for each skipped image.
///
/// # Errors
/// Those of [`Source::load_with`].
pub(crate) fn load(source: &Source, split: Split, options: &Options) -> Result<Dataset> {
    let started = Instant::now();
    let Loaded { dataset: set, skipped, .. } = source.load_with(split, options)?;
    warn_of(skipped);
    if matches!(source, Source::Folder(_)) {
        tracing::info!(
            "{} images of {source} read in {:.1} s, {} x {} x {} values each",
            set.len(),
            started.elapsed().as_secs_f64(),
            set.shape().channels,
            set.shape().height,
            set.shape().width
        );
    }
    Ok(set)
}

/// Logs a warning for each image that is left out.
fn warn_of(skipped: Vec<gan_data::Error>) {
    let count = skipped.len();
    for error in skipped.into_iter().take(NAMED) {
        tracing::warn!("left out: {:#}", anyhow::Error::from(error));
    }
    if count > NAMED {
        tracing::warn!("left out: {} more", count - NAMED);
    }
}

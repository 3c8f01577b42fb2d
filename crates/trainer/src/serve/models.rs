//! The networks that the page uses, loaded when they are first needed.

use super::reply::Failure;
use crate::inversion::{self, Found};
use crate::run::checkpoint;
use crate::run::directory::RunDirectory;
use crate::sampling;
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use gan_data::folder::{self, Colour};
use gan_data::{ImageShape, class_position, png, range};
use gan_metrics::Classifier;
use gan_models::{
    FeatureShape, Generator, GeneratorConfig, InversionOptions, Mode, PrincipalDirections,
    WEIGHTS_FILE,
};
use gan_training::Gan;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPool;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Networks that are kept at a time.
const KEPT: usize = 3;
/// Number of principal directions.
const DIRECTIONS: usize = 10;
/// The images that the classifier of digits takes.
const DIGITS: ImageShape = ImageShape { channels: 1, height: 28, width: 28 };
/// Images that a request may ask for.
const LARGEST_BATCH: usize = 64;
/// The largest value of a latent that is accepted; random ones rarely pass 5.
const LARGEST_VALUE: f32 = 100.0;
/// Random latents and optimisation steps of an inversion.
const CANDIDATES: usize = 1000;

/// Networks, and the threads that they are computed on.
pub(super) struct Models {
    pool: ThreadPool,
    generators: Kept<Player>,
    judges: Kept<Judge>,
    classifier: Option<Classifier>,
}

/// A generator and the directions that were found.
struct Player {
    generator: Generator,
    directions: BTreeMap<u32, PrincipalDirections>,
}

/// A run's newest networks.
struct Judge {
    gan: Gan,
    directory: RunDirectory,
}

/// Networks by path, the last used at the end; with the time of their files, which training replaces.
type Kept<T> = Vec<(PathBuf, Option<SystemTime>, T)>;

/// What a generator is.
#[derive(Debug, Serialize)]
pub(super) struct Description {
    latent_dim: usize,
    image: FeatureShape,
    classes: Vec<String>,
    /// Whether the class can be chosen.
    conditional: bool,
}

/// Latents to draw.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Drawing {
    pub(super) latents: Vec<Vec<f32>>,
    #[serde(default)]
    pub(super) class: Option<String>,
}

/// What a discriminator, and for digits the classifier, say of an image.
#[derive(Debug, Serialize)]
pub(super) struct Judgement {
    step: u64,
    /// The image as the networks see it, as PNG.
    #[serde(skip)]
    pub(super) seen: Vec<u8>,
    /// The decision value for each class, or without one.
    decisions: Vec<(Option<String>, f32)>,
    /// The digit that the classifier recognises, and its confidence.
    digit: Option<(u32, f32)>,
}

/// The nearest image that a generator draws.
#[derive(Debug, Serialize)]
pub(super) struct Inverted {
    class: Option<String>,
    latent: Vec<f32>,
    error: f32,
    random_error: f32,
    /// The image as the generator would draw it, and what it draws, as PNG.
    #[serde(skip)]
    pub(super) images: [Vec<u8>; 2],
}

impl Models {
    pub(super) fn new(pool: ThreadPool) -> Self {
        Self { pool, generators: Vec::new(), judges: Vec::new(), classifier: None }
    }

    /// The networks of a run's newest checkpoint.
    fn judge(&mut self, run: &Path) -> Result<&mut Judge> {
        let newest = checkpoint::newest(&run.join("checkpoints"))?;
        let newest = newest.context("this run has no checkpoint yet")?;
        keep(&mut self.judges, &newest, modified(&newest), || {
            let (directory, config) = RunDirectory::open(run)?;
            config.check().with_context(|| directory.config().display().to_string())?;
            let gan = checkpoint::load_newest(&config, &Device::Cpu, &directory.checkpoints())?;
            Ok(Judge { gan, directory })
        })
    }

    pub(super) fn describe(&mut self, path: &Path) -> Result<Description, Failure> {
        let config = player(&mut self.generators, path)?.generator.config();
        Ok(Description {
            latent_dim: config.latent_dim,
            image: config.image,
            classes: config.classes.clone(),
            conditional: config.conditional,
        })
    }

    /// The first latent of a seed, as `generate --seed` draws it.
    pub(super) fn latent(&mut self, path: &Path, seed: u64) -> Result<Vec<f32>, Failure> {
        let generator = &player(&mut self.generators, path)?.generator;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let latents = generator.sample_latents(1, &mut rng).context("drawing a latent")?;
        Ok(latents.flatten_all().and_then(|latent| latent.to_vec1()).context("drawing a latent")?)
    }

    pub(super) fn directions(
        &mut self,
        path: &Path,
        class: Option<&str>,
    ) -> Result<PrincipalDirections, Failure> {
        let player = player(&mut self.generators, path)?;
        let label = label(player.generator.config(), class)?;
        if !player.directions.contains_key(&label) {
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let generator = &player.generator;
            let find = || generator.principal_directions(DIRECTIONS, label, &mut rng);
            let found = self.pool.install(find).context("principal directions")?;
            player.directions.insert(label, found);
        }
        Ok(player.directions[&label].clone())
    }

    /// Draws latents side by side, as PNG.
    pub(super) fn draw(&mut self, path: &Path, drawing: Drawing) -> Result<Vec<u8>, Failure> {
        let generator = player(&mut self.generators, path)?.generator.clone();
        let config = generator.config();
        let Drawing { latents, class } = drawing;
        let (count, dim) = (latents.len(), config.latent_dim);
        if !(1..=LARGEST_BATCH).contains(&count) {
            return Err(Failure::bad(format!("{count} latents; 1 to {LARGEST_BATCH} are drawn")));
        }
        let is_valid = |value: &f32| value.abs() <= LARGEST_VALUE;
        if latents.iter().any(|latent| latent.len() != dim || !latent.iter().all(is_valid)) {
            return Err(Failure::bad(format!(
                "a latent of this generator has {dim} values from -{LARGEST_VALUE} to {LARGEST_VALUE}"
            )));
        }
        let labels = vec![label(config, class.as_deref())?; count];
        let draw = || -> Result<Vec<u8>> {
            let latents = Tensor::from_vec(latents.concat(), (count, dim), &Device::Cpu)?;
            let images = generator.forward(&generator.input(&latents, &labels)?, Mode::Eval)?;
            Ok(range::to_bytes(&images)?)
        };
        let pixels = self.pool.install(draw)?;
        Ok(encode(sampling::image_shape(config.image), &pixels, count)?)
    }

    /// What the discriminator of a run says of an image file.
    pub(super) fn judge_image(&mut self, run: &Path, file: &[u8]) -> Result<Judgement, Failure> {
        let Judge { gan, directory } = self.judge(run)?;
        let (_, config) = RunDirectory::open(directory.path())?;
        let shape = sampling::image_shape(config.discriminator.image);
        let (discriminator, step) = (gan.discriminator().clone(), gan.step());
        let pixels = decode(file, shape)?;
        let image = range::to_tensor(&pixels, shape).context("the image")?;
        let classes = match config.discriminator.condition {
            Some(_) => config.generator.classes.iter().map(|class| Some(class.clone())).collect(),
            None => vec![None],
        };
        let labels: Vec<u32> = (0..classes.len() as u32).collect();
        let judge = || -> Result<Vec<f32>> {
            let images = Tensor::cat(&vec![&image; labels.len()], 0)?;
            Ok(discriminator.forward(&images, &labels, Mode::Eval)?.to_vec1::<f32>()?)
        };
        let training = config.training;
        let value = |logit| training.loss.decision(logit, training.real_label);
        let decisions: Vec<f32> = self.pool.install(judge)?.into_iter().map(value).collect();
        let are_digits = sampling::numbers(&config.generator.classes).is_some_and(|numbers| {
            !numbers.is_empty() && numbers.iter().all(|number| *number < 10)
        });
        let digit = match are_digits && shape == DIGITS {
            true => Some(self.recognise(&image)?),
            false => None,
        };
        let decisions = classes.into_iter().zip(decisions).collect();
        Ok(Judgement { step, seen: encode(shape, &pixels, 1)?, decisions, digit })
    }

    /// The digit that the classifier recognises.
    fn recognise(&mut self, image: &Tensor) -> Result<(u32, f32)> {
        let classifier = match self.classifier.take() {
            Some(classifier) => classifier,
            None => Classifier::mnist()?,
        };
        let found = self.pool.install(|| classifier.predict(image))?;
        self.classifier = Some(classifier);
        Ok((found.classes[0], found.confidences[0]))
    }

    /// The nearest image of a generator to an image file, of one class or of any.
    pub(super) fn invert(
        &mut self,
        path: &Path,
        class: Option<&str>,
        file: &[u8],
    ) -> Result<Inverted, Failure> {
        let generator = player(&mut self.generators, path)?.generator.clone();
        let config = generator.config();
        let shape = sampling::image_shape(config.image);
        let labels = match class {
            Some(_) => vec![label(config, class)?],
            None => sampling::labels(config, None)?,
        };
        let pixels = decode(file, shape)?;
        let target = range::to_tensor(&pixels, shape).context("the image")?;
        let mut options = InversionOptions::default();
        options.candidates = CANDIDATES;
        let invert = || inversion::invert(&generator, &target, &labels, options, 0);
        let found = self.pool.install(invert)?.pop().context("no image")?;
        let Found { label, latent, error, random_error, pixels: drawn } = found;
        let class = config.conditional.then(|| config.classes[label as usize].clone());
        let images = [encode(shape, &pixels, 1)?, encode(shape, &drawn, 1)?];
        Ok(Inverted { class, latent, error, random_error, images })
    }
}

/// The network of a path, loaded unless it is kept.
fn keep<'a, T>(
    kept: &'a mut Kept<T>,
    path: &Path,
    modified: Option<SystemTime>,
    load: impl FnOnce() -> Result<T>,
) -> Result<&'a mut T> {
    let found = kept.iter().position(|(of, time, _)| of == path && *time == modified);
    let entry = match found {
        Some(found) => kept.remove(found),
        None => (path.to_path_buf(), modified, load()?),
    };
    kept.retain(|(of, ..)| of != path);
    if kept.len() == KEPT {
        kept.remove(0);
    }
    kept.push(entry);
    kept.last_mut().map(|(.., network)| network).context("it was just added")
}

/// The generator of a directory.
fn player<'a>(kept: &'a mut Kept<Player>, path: &Path) -> Result<&'a mut Player> {
    let modified = modified(&path.join(WEIGHTS_FILE));
    keep(kept, path, modified, || {
        let generator = Generator::load(path, &Device::Cpu)?;
        Ok(Player { generator, directions: BTreeMap::new() })
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// The label of a class, which must be named where there is a choice.
fn label(config: &GeneratorConfig, class: Option<&str>) -> Result<u32, Failure> {
    match class {
        _ if !config.conditional => Ok(0),
        Some(class) => class_position(&config.classes, class)
            .map(|label| label as u32)
            .ok_or_else(|| Failure::bad("this generator has no such class")),
        None => Ok(0),
    }
}

/// Decodes an image file, resized to a network's images.
fn decode(file: &[u8], shape: ImageShape) -> Result<Vec<u8>> {
    ensure!(
        matches!(shape.channels, 1 | 3 | 4),
        "image files are read for networks of images in grey or colour"
    );
    let name = Path::new("the image");
    Ok(folder::decode(name, file, shape.into(), Some(Colour::of(shape.channels)))?)
}

fn encode(shape: ImageShape, pixels: &[u8], columns: usize) -> Result<Vec<u8>> {
    Ok(png::encode_grid(Path::new("the image"), shape, pixels, columns)?)
}

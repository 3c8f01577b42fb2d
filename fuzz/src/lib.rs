//! What the fuzz targets do with an input: they read it as the programs read such a file.
//!
//! The test `fuzz` of `tests/` includes this file and runs it on the seeds and on the inputs that
//! once failed. An `Err` is right for a damaged file; a panic is not.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use gan_data::shards::{ShardedImages, Shards};
use gan_data::{
    Batches, DatasetInfo, ImageShape, Images, Source, Split, folder, idx as idx_files, png,
};
use gan_models::{CONFIG_FILE, Generator, WEIGHTS_FILE};
use gan_training::{Gan, Recipe};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use trainer::cli::commands::{NetworkOptions, SummaryArgs};
use trainer::cli::options::{DataOptions, DatasetOption, StrictOption};
use trainer::cli::train::TrainArgs;
use trainer::cli::{Cli, Command};

/// What a fuzz target calls.
pub type Reader = fn(&[u8]) -> Result<()>;

/// The name of each fuzz target, and what it calls.
pub const READERS: [(&str, Reader); 10] = [
    ("idx", idx),
    ("idx_gz", idx),
    ("png", image),
    ("jpeg", image),
    ("recipe", recipe),
    ("generator", generator),
    ("run_config", run_config),
    ("checkpoint", checkpoint),
    ("stats", stats),
    ("tar", tar),
];

/// The images and labels beside a file that needs some: two classes, two images each.
const SHAPE: ImageShape = ImageShape { channels: 1, height: 8, width: 8 };
const LABELS: [u32; 4] = [0, 1, 0, 1];
const IMAGES_FILE: &str = "images-idx3-ubyte";
const LABELS_FILE: &str = "labels-idx1-ubyte";

/// Images or labels of a data set, plain or gzipped.
pub fn idx(bytes: &[u8]) -> Result<()> {
    let labels = idx_files::encode_labels(Path::new(LABELS_FILE), &LABELS)?;
    let set = directory([(IMAGES_FILE, bytes), (LABELS_FILE, &labels)])?;
    let source = Source::Idx(set.path().into());
    let info = DatasetInfo::read(&source, Split::Train, &folder::Options::new());
    let images = source.load(Split::Train);
    let is_labels = idx_files::parse_labels(Path::new(LABELS_FILE), bytes).is_ok();
    ensure!(
        is_labels || info? == DatasetInfo::of(&images?)?,
        "another data set without its pixels"
    );
    Ok(())
}

/// An image of a directory to train on or to measure.
pub fn image(bytes: &[u8]) -> Result<()> {
    let files = directory([("image.png", bytes)])?;
    let measured = png::read(&files.path().join("image.png"));
    folder::decode(Path::new("image"), bytes, folder::Options::SIZE.into(), None)?;
    ensure!(measured.is_ok() || !bytes.starts_with(b"\x89PNG"), "a PNG of two minds");
    Ok(())
}

/// A recipe, which determines networks for a data set.
pub fn recipe(bytes: &[u8]) -> Result<()> {
    let images = idx_files::encode_images(Path::new(IMAGES_FILE), SHAPE, &[0; 4 * 64])?;
    let labels = idx_files::encode_labels(Path::new(LABELS_FILE), &LABELS)?;
    let files = [("recipe.toml", bytes), (IMAGES_FILE, &images[..]), (LABELS_FILE, &labels[..])];
    let files = directory(files)?;
    let dataset = DatasetOption { dataset: Some(format!("idx:{}", files.path().display())) };
    let network = NetworkOptions {
        recipe: Some(files.path().join("recipe.toml").display().to_string()),
        condition: None,
        data: DataOptions { dataset, ..DataOptions::default() },
        strict: StrictOption::default(),
    };
    let summary = Command::Summary(SummaryArgs { run: None, network });
    let cli = Cli { command: Some(summary), train: TrainArgs::default() };
    trainer::run(&cli, &mut std::io::sink())?;
    Ok(())
}

/// A generator's `config.json`, a zero byte and its weights.
pub fn generator(bytes: &[u8]) -> Result<()> {
    let (config, weights) = two(bytes)?;
    let files = directory([(CONFIG_FILE, config), (WEIGHTS_FILE, weights)])?;
    let generator = Generator::load(files.path(), &Device::Cpu)?;
    // Larger networks are slow, not wrong.
    if generator.network().multiply_adds() < 1 << 20 {
        generator.sample(2, &mut ChaCha8Rng::seed_from_u64(0))?;
    }
    Ok(())
}

/// The `config.json` of a run.
pub fn run_config(bytes: &[u8]) -> Result<()> {
    trainer::fuzzing::run_config(bytes)
}

/// A checkpoint's `state.json`, a zero byte and its tensors; the next training step, too.
pub fn checkpoint(bytes: &[u8]) -> Result<()> {
    // A restored pair has nothing of what it was before, so one is enough.
    thread_local!(static GAN: Result<RefCell<Gan>> = small_gan().map(RefCell::new));
    let (state, tensors) = two(bytes)?;
    let files = directory([("state.json", state), ("state.safetensors", tensors)])?;
    GAN.with(|gan| {
        let mut gan = gan.as_ref().expect("the recipe is right").borrow_mut();
        gan.restore(files.path())?;
        let images = Tensor::zeros((2, 1, SHAPE.height, SHAPE.width), DType::F32, &Device::Cpu)?;
        gan.train_step(&images, &[])?;
        Ok(())
    })
}

/// The networks of the checkpoints.
fn small_gan() -> Result<Gan> {
    let Recipe { network, training, .. } =
        Recipe::parse(include_str!("../seeds/recipe/checkpoint.toml"))?;
    let image = (SHAPE.channels, SHAPE.height, SHAPE.width).into();
    let generator = network.generator(image, Vec::new(), false)?;
    let discriminator = network.discriminator(image, None)?;
    Ok(Gan::init(&generator, &discriminator, training, 0, &Device::Cpu)?)
}

/// A `stats.jsonl`: a resumed run draws its curves, and `cargo xtask report` shows it.
pub fn stats(bytes: &[u8]) -> Result<()> {
    let run = directory([("stats.jsonl", bytes)])?;
    trainer::fuzzing::statistics(&run.path().join("stats.jsonl"))?;
    xtask::Report { run: Some(run.path().into()), out: None }.make()?;
    Ok(())
}

/// A file of a sharded set, of which batches are drawn.
pub fn tar(bytes: &[u8]) -> Result<()> {
    let set = directory([("a.tar", bytes)])?;
    let options = folder::Options::new().size(8).strict(false);
    let shards = Arc::new(Shards::open(set.path())?);
    let images: Images = ShardedImages::new(shards, &options)?.into();
    let sample = images.in_memory()?.len();
    ensure!(sample <= images.len(), "more images than there are");
    let mut batches = Batches::new(Arc::new(images), 1, 0)?;
    batches.batch(0)?;
    batches.batch(u64::MAX)?;
    Ok(())
}

/// A temporary directory of these files.
fn directory<const N: usize>(files: [(&str, &[u8]); N]) -> Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes)?;
    }
    Ok(directory)
}

/// The two files of an input, with a zero byte between; the first is text, which has none.
fn two(bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0).context("no zero byte")?;
    Ok((&bytes[..end], &bytes[end + 1..]))
}

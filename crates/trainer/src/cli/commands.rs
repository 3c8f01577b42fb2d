//! The options of each command except `train`.

use super::options::{
    ClassesOption, DataOptions, DatasetOption, DeviceOption, GeneratorOptions, PrecisionOption,
    SeedOption, StrictOption, ThreadsOption, ids_of,
};
use super::values::{
    CLASSIFIER_EPOCHS, ConditionName, DatasetFormat, Format, InterpolationFormat, Layout,
    Operators, SplitName, image_shape,
};
use clap::Args;
use gan_data::ImageShape;
use std::path::PathBuf;

/// Options of `generate`.
#[derive(Args, Debug)]
pub struct GenerateArgs {
    /// The generator.
    #[command(flatten)]
    pub generator: GeneratorOptions,
    /// How many images; with --latents, as many as there are latents.
    #[arg(long, value_name = "N", required_unless_present = "latents")]
    pub count: Option<usize>,
    /// The class of the images [default: all in turn].
    #[arg(long, value_name = "C")]
    pub class: Option<String>,
    /// Seed of the latents.
    #[command(flatten)]
    pub seed: SeedOption,
    /// Generate from the latents of this NumPy file, of shape (N, latent dim), not from random ones.
    #[arg(long, value_name = "FILE.npy", conflicts_with = "seed")]
    pub latents: Option<PathBuf>,
    /// Write the latents of the images, of shape (N, latent dim), f32.
    #[arg(long, value_name = "FILE.npy")]
    pub save_latents: Option<PathBuf>,
    /// grid: one image of all; png: a directory of images; idx: a directory in MNIST's format.
    #[arg(long, value_enum)]
    pub format: Format,
    /// The file layout of an IDX directory.
    #[arg(long, value_enum, default_value_t)]
    pub layout: Layout,
    /// The image, or the directory, to write. A directory must be new or empty.
    #[arg(long, value_name = "PATH")]
    pub out: PathBuf,
    /// Replace a directory of generated images.
    #[arg(long)]
    pub force: bool,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// The device.
    #[command(flatten)]
    pub device: DeviceOption,
    /// The precision of matrix products on the CPU.
    #[command(flatten)]
    pub precision: PrecisionOption,
}

/// Options of `interpolate`.
#[derive(Args, Debug)]
pub struct InterpolateArgs {
    /// The generator.
    #[command(flatten)]
    pub generator: GeneratorOptions,
    /// How many latents to visit; 1 keeps one latent and interpolates between classes [default: one
    /// for each class visited, at least 2].
    #[arg(long, value_name = "N")]
    pub points: Option<usize>,
    /// The classes to visit in turn [default: all, if the generator is class-conditional].
    #[arg(long, value_name = "C[,C...]", value_delimiter = ',')]
    pub class: Vec<String>,
    /// Steps from each point to the next.
    #[arg(long, value_name = "N", default_value_t = 9)]
    pub frames: usize,
    /// Seed of the latents.
    #[command(flatten)]
    pub seed: SeedOption,
    /// grid: a row from each point to the next; animation: an animated PNG that loops.
    #[arg(long, value_enum, default_value = "grid")]
    pub format: InterpolationFormat,
    /// Images per second of an animation.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub fps: u16,
    /// Pixels of the file for each pixel of an image, along each side: 1 to 16.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub scale: u8,
    /// The file to write.
    #[arg(long, value_name = "FILE.png")]
    pub out: PathBuf,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
}

/// Options of `score`.
#[derive(Args, Debug)]
pub struct ScoreArgs {
    /// The run whose discriminator is used [default: the newest under runs].
    #[arg(long, value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// The class that the images are scored as, if the discriminator is class-conditional.
    #[arg(long, value_name = "C")]
    pub class: Option<String>,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// Images: JPEG or PNG files, IDX files of images, directories of PNG or IDX files.
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
}

/// Options of `invert`.
#[derive(Args, Debug)]
pub struct InvertArgs {
    /// The generator.
    #[command(flatten)]
    pub generator: GeneratorOptions,
    /// The class of the images [default: tries all, if the generator is class-conditional].
    #[arg(long, value_name = "C")]
    pub class: Option<String>,
    /// Random latents that are tried first.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub candidates: u32,
    /// The best of them that are optimised, for each image.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub starts: u32,
    /// Optimisation steps.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub steps: u32,
    /// Seed of the random latents.
    #[command(flatten)]
    pub seed: SeedOption,
    /// Write the images, each above its reconstruction.
    #[arg(long, value_name = "FILE.png")]
    pub out: Option<PathBuf>,
    /// Write the latents that were found, of shape (N, latent dim), f32.
    #[arg(long, value_name = "FILE.npy")]
    pub save_latents: Option<PathBuf>,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// Images: JPEG or PNG files, IDX files of images, directories of PNG or IDX files.
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,
}

/// Options of `serve`.
#[cfg(feature = "serve")]
#[derive(Args, Debug)]
pub struct ServeArgs {
    /// The directory of runs.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
    /// A generator's directory, or a directory of them, to play with too.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
    /// The port; 0 takes one that is free.
    #[arg(long, value_name = "N", default_value_t = crate::cli::values::PORT)]
    pub port: u16,
    /// The address. Anyone who reaches it can use the page: there is no password.
    #[arg(long, value_name = "A", default_value = "127.0.0.1")]
    pub address: std::net::IpAddr,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// The precision of matrix products on the CPU.
    #[command(flatten)]
    pub precision: PrecisionOption,
}

/// Options of `summary`.
#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// The run whose networks are shown.
    #[arg(long, value_name = "RUN", conflicts_with_all = ids_of::<NetworkOptions>())]
    pub run: Option<PathBuf>,
    /// The networks of a recipe.
    #[command(flatten)]
    pub network: NetworkOptions,
}

/// Options that determine the networks of a new run.
#[derive(Args, Clone, Debug)]
pub struct NetworkOptions {
    /// A built-in recipe or a recipe file [default: as in training].
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub recipe: Option<String>,
    /// How the networks are conditioned on the class, if there are several classes.
    #[arg(long, value_enum, value_name = "HOW")]
    pub condition: Option<ConditionName>,
    /// The data set, whose images determine the shapes.
    #[command(flatten)]
    pub data: DataOptions,
    /// Whether damaged images are skipped.
    #[command(flatten)]
    pub strict: StrictOption,
}

/// Options of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// The generator.
    #[command(flatten)]
    pub generator: GeneratorOptions,
    /// Images to measure: a PNG file, a directory of them, an IDX file, a directory of IDX files.
    #[arg(long, value_name = "PATH", conflicts_with_all = ids_of::<GeneratorOptions>())]
    pub images: Option<PathBuf>,
    /// The real images to measure against.
    #[command(flatten)]
    pub dataset: DatasetOption,
    /// The real classes to measure against [default: those of the generator].
    #[command(flatten)]
    pub classes: ClassesOption,
    /// Fraction of the real images that is held out, if there are no test images [default: that of
    /// the run, else as in training].
    #[arg(long, value_name = "FRACTION")]
    pub holdout: Option<f64>,
    /// How many images to generate [default: 10000; of images other than digits, no more than there
    /// are test images or images held out].
    #[arg(long, value_name = "N")]
    pub count: Option<usize>,
    /// Write generated images above their nearest training images, the nearest pairs, and print
    /// whether the generator copies.
    #[arg(long, value_name = "FILE.png")]
    pub nearest: Option<PathBuf>,
    /// Train a classifier on 60,000 of the images and test it on real ones (classification accuracy
    /// score).
    #[arg(long)]
    pub train_on_fake: bool,
    /// Measure FID and Inception score too, with the weights of pytorch-fid that `docs/inception.py
    /// convert` wrote into this file.
    #[arg(long, value_name = "FILE.safetensors")]
    pub inception: Option<PathBuf>,
    /// Seed of the latents, of the kernel distance's subsets and of the Inception score's splits.
    #[command(flatten)]
    pub seed: SeedOption,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Options of `classifier`.
#[derive(Args, Debug)]
pub struct ClassifierArgs {
    /// The images to train on.
    #[command(flatten)]
    pub data: DataOptions,
    /// Fraction of the images that is tested on instead, for data sets without test images; 0 for
    /// none [default: 0.1 if that is 20 images or more].
    #[arg(long, value_name = "FRACTION")]
    pub holdout: Option<f64>,
    /// Number of passes over the images.
    #[arg(long, value_name = "N", default_value_t = CLASSIFIER_EPOCHS)]
    pub epochs: u64,
    /// Seed of weights, shuffles, distortions and dropout.
    #[command(flatten)]
    pub seed: SeedOption,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// The precision of matrix products on the CPU.
    #[command(flatten)]
    pub precision: PrecisionOption,
    /// The directory that the weights are written into [default: the user's cache, where `evaluate` and
    /// the measurements of a run find them].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Options of `export`.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// The images to write.
    #[command(flatten)]
    pub data: DataOptions,
    /// Whether damaged images are skipped.
    #[command(flatten)]
    pub strict: StrictOption,
    /// The split to write.
    #[arg(long, value_enum, default_value_t)]
    pub split: SplitName,
    /// Fraction of a data set without test images that `--split train` leaves out and `--split test`
    /// writes; a run that holds out the same fraction holds out the same images [default: every image
    /// is in `train`].
    #[arg(long, value_name = "FRACTION")]
    pub holdout: Option<f64>,
    /// The files to write.
    #[arg(long, value_enum, default_value_t)]
    pub format: DatasetFormat,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// The directory to write. It must be new or empty.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `export-onnx`.
#[derive(Args, Debug)]
pub struct ExportOnnxArgs {
    /// The generator.
    #[command(flatten)]
    pub generator: GeneratorOptions,
    /// The file to write.
    #[arg(long, value_name = "FILE.onnx")]
    pub out: PathBuf,
}

/// Options of `export-html`.
#[derive(Args, Debug)]
pub struct ExportHtmlArgs {
    /// The generator.
    #[command(flatten)]
    pub generator: GeneratorOptions,
    /// The file to write.
    #[arg(long, value_name = "FILE.html")]
    pub out: PathBuf,
}

/// Options of `completions`.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Options of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// A built-in recipe or a recipe file.
    #[arg(long, value_name = "NAME|FILE.toml", default_value = "default")]
    pub recipe: String,
    /// Images in a batch [default: the recipe's].
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Shape of the images, such as 3x64x64 [default: 1x28x28].
    #[arg(long, value_name = "CxHxW", value_parser = image_shape)]
    pub image: Option<ImageShape>,
    /// Steps to time.
    #[arg(long, value_name = "N", default_value_t = 30)]
    pub steps: u64,
    /// CPU threads.
    #[command(flatten)]
    pub threads: ThreadsOption,
    /// The precision of matrix products on the CPU.
    #[command(flatten)]
    pub precision: PrecisionOption,
    /// The device to time.
    #[command(flatten)]
    pub device: DeviceOption,
    /// The operators to time.
    #[arg(long, value_enum, default_value_t)]
    pub operators: Operators,
    /// Also print the times of each layer's passes and of the updates.
    #[arg(long)]
    pub layers: bool,
    /// Take the steps and print nothing, for a profiler.
    #[arg(long, conflicts_with_all = ["layers", "json", "inference"])]
    pub untimed: bool,
    /// Time the generator in this directory instead: one image, and a batch of them.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["recipe", "image", "device", "operators", "layers"])]
    pub inference: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, conflicts_with = "layers")]
    pub json: bool,
}

//! Options that several commands have, each defined once.

use super::values::{ColourName, DeviceName, PrecisionName};
use clap::{Args, Id};
use gan_data::folder::Size;
use std::path::PathBuf;

/// Heading of the options for images that are resized, in help texts.
const DIRECTORIES: &str = "Images of any size (--dataset folder:DIR or shards:DIR)";

/// The data set.
#[derive(Args, Clone, Debug, Default)]
pub struct DatasetOption {
    /// Where the images come from [default: mnist, or as in the run that is evaluated].
    #[arg(long, value_name = "mnist|idx:DIR|folder:DIR|shards:DIR|hub:mnist|hub:fashion-mnist")]
    pub dataset: Option<String>,
}

impl DatasetOption {
    /// Returns the given data set, or else MNIST.
    pub fn or_mnist(&self) -> &str {
        self.dataset.as_deref().unwrap_or("mnist")
    }
}

/// The classes of a data set.
#[derive(Args, Clone, Debug, Default)]
pub struct ClassesOption {
    /// Use only these classes, e.g. 5 or 3,5,8 [default: all].
    #[arg(long, visible_alias = "class", value_name = "D[,D...]", value_delimiter = ',')]
    pub digit: Vec<String>,
}

/// How images of any size are read.
#[derive(Args, Clone, Debug, Default)]
pub struct ImageOptions {
    /// Size that images are resized to: a number of pixels for squares, else columns and rows [default:
    /// up to 64, as most images are large].
    #[arg(long, value_name = "N|WxH", help_heading = DIRECTORIES)]
    pub size: Option<Size>,
    /// Channels of the images [default: rgb if any of them has colour].
    #[arg(long, visible_alias = "color", value_enum, value_name = "NAME", help_heading = DIRECTORIES)]
    pub colour: Option<ColourName>,
}

/// Whether damaged images of a directory are skipped.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct StrictOption {
    /// Stop with an error at an image that cannot be read, instead of skipping it with a warning.
    #[arg(long, help_heading = DIRECTORIES)]
    pub strict: bool,
}

/// A data set, the classes that are used and how images are read.
#[derive(Args, Clone, Debug, Default)]
pub struct DataOptions {
    /// The data set.
    #[command(flatten)]
    pub dataset: DatasetOption,
    /// Its classes.
    #[command(flatten)]
    pub classes: ClassesOption,
    /// How its images are read.
    #[command(flatten)]
    pub images: ImageOptions,
}

/// A trained generator, of a run or of a directory.
#[derive(Args, Clone, Debug, Default)]
pub struct GeneratorOptions {
    /// The run whose generator is used [default: the newest under runs].
    #[arg(long, value_name = "RUN", conflicts_with = "weights")]
    pub run: Option<PathBuf>,
    /// A generator's directory.
    #[arg(long, value_name = "DIR")]
    pub weights: Option<PathBuf>,
    /// The run's generator at the step that measured best, instead of its last one.
    #[arg(long, conflicts_with = "weights")]
    pub best: bool,
}

/// The number of CPU threads.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct ThreadsOption {
    /// CPU threads, 1 to 1024 [default: all]. Results do not depend on their number.
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// The device to compute on.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct DeviceOption {
    /// The device to compute on.
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceName,
}

/// The precision of matrix products on the CPU.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct PrecisionOption {
    /// Precision of matrix products on the CPU [default: high; that of the run for its generator].
    #[arg(long, value_enum)]
    pub precision: Option<PrecisionName>,
}

/// The seed of all random numbers.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct SeedOption {
    /// Seed of all random numbers [default: 0].
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

impl SeedOption {
    /// Returns the given seed, or else 0.
    pub fn or_zero(self) -> u64 {
        self.seed.unwrap_or(0)
    }
}

/// Returns the ids of all options of `T`, including flattened structs, for `conflicts_with_all`. An
/// option that is added to the struct is then in conflict, too.
pub(crate) fn ids_of<T: Args>() -> Vec<Id> {
    let command = T::augment_args(clap::Command::new(""));
    command.get_arguments().map(|argument| argument.get_id().clone()).collect()
}

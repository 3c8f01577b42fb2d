//! Generators and discriminators for candle: networks as data, their weights and their training
//! passes.
//!
//! A trained generator is a directory with two files, `config.json` and `model.safetensors`. Three
//! lines generate images with it:
//!
//! ```no_run
//! use gan_models::{Generator, candle_core::Device, rand::SeedableRng};
//!
//! # fn main() -> gan_models::Result<()> {
//! let generator = Generator::load("runs/00000-mnist-5-default/generator", &Device::Cpu)?;
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
//! let images = generator.sample(16, &mut rng)?; // (16, 1, 28, 28) in [-1, 1]
//! # Ok(())
//! # }
//! ```
//!
//! `cargo run -p gan-models --example draw -- DIRECTORY IMAGE.png` does that and writes the images.
//!
//! Networks are data: [`GeneratorConfig`] and [`DiscriminatorConfig`] hold lists of [`Layer`]s, and
//! an [`Architecture`] makes such lists from a few numbers. On the CPU, networks run on the kernels
//! of gan-kernels; on other devices, on candle's operators. Images are (B, C, H, W) everywhere.
//!
//! There are two ways to train a network. Its `forward` is differentiable by candle's autograd, and
//! [`Network`], [`Generator`] and [`Discriminator`] are `candle_core::Module`s in evaluation mode;
//! `forward_train` returns a [`Tape`] with a faster backward pass. [`Parameters::init`] draws initial
//! weights from a seed, for the caller's own `candle_nn` modules too, and [`Parameters`] convert from
//! and to a `candle_nn::VarMap`.
#![forbid(unsafe_code)]

mod architecture;
mod backend;
mod basis;
mod batch_norm;
mod candle_ops;
mod config;
mod discriminator;
mod error;
mod fused_layer;
mod generator;
mod group_norm;
mod interpolation;
mod inversion;
mod latent;
mod layout;
mod linear_map;
mod memory;
mod minibatch_std;
mod network;
mod one_hot;
mod parameters;
mod patches;
mod pixel_shuffle;
mod principal_directions;
pub mod pytorch;
mod resample;
mod saved;
mod self_test;
mod standalone_layer;
mod tensor_file;
pub mod weights;

pub use architecture::{Architecture, ConvStack, Custom, Dcgan, DenseStack, Mlp, Norm};
pub use backend::{Backend, Mode};
pub use batch_norm::lerp_;
pub use config::{
    Activation, ClassCondition, Conditioning, DiscriminatorConfig, FeatureShape, GeneratorConfig,
    LatentDistribution, Layer, Momentum, UpsampleFilter, WeightInit,
};
pub use discriminator::{Discriminator, DiscriminatorTape};
pub use error::{Error, Result};
pub use gan_kernels::GradMask;
pub use generator::Generator;
pub use interpolation::slerp;
pub use inversion::{Inversion, InversionOptions};
pub use latent::Latent;
pub use memory::total_memory;
pub use network::{Gradients, LayerSummary, Network, Tape, plan};
pub use parameters::Parameters;
pub use principal_directions::PrincipalDirections;
pub use saved::{CONFIG_FILE, WEIGHTS_FILE};
pub use self_test::self_test;

// The crates whose types appear in this crate's signatures.
pub use candle_core;
pub use candle_nn;
pub use rand;

/// The programs in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

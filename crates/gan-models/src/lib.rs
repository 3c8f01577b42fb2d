//! Generators and discriminators for candle, with their losses, optimizer and weights.
//!
//! A trained generator is a folder of two files, `config.json` and `model.safetensors`. Drawing
//! pictures with it takes three lines:
//!
//! ```no_run
//! use gan_models::Generator;
//! use rand::SeedableRng;
//!
//! # fn main() -> gan_models::Result<()> {
//! let generator = Generator::load("runs/00000-mnist-5-default/generator", &candle_core::Device::Cpu)?;
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
//! let images = generator.sample(16, &mut rng)?; // (16, 1, 28, 28) in [-1, 1]
//! # Ok(())
//! # }
//! ```
//!
//! `cargo run -p gan-models --example draw -- FOLDER PICTURE.png` does that and writes the
//! pictures. Networks are data ([`GeneratorConfig`], [`DiscriminatorConfig`]: lists of
//! [`Layer`]s), and [`Family`] makes such lists from a few numbers. On the CPU they run on the
//! project's own kernels, elsewhere on candle's operators; pictures are (B, C, H, W) everywhere.
//! The forward pass is differentiable by candle's autograd; [`Parameters::fresh`] makes weights
//! to train, from a seed.
#![forbid(unsafe_code)]

mod augmentation;
mod classes;
mod config;
mod discriminator;
mod ema;
mod error;
mod families;
mod generator;
mod interpolation;
pub mod losses;
mod network;
mod norm;
mod optimizer;
mod parameters;
mod plain;
mod self_test;
mod spectral;
mod stage;
pub mod weights;

pub use augmentation::{Augmentation, Augmented};
pub use config::{
    Activation, ClassCondition, Conditioning, DiscriminatorConfig, GeneratorConfig, Init, Layer,
    Momentum, Noise, Shape,
};
pub use discriminator::{Discriminator, Judging};
pub use ema::Ema;
pub use error::{Error, Result};
pub use families::{ConvStack, Dcgan, DenseStack, Family, LayerLists, Mlp, Norm};
pub use gan_kernels::{Adam, GradMask};
pub use generator::{CONFIG_FILE, Generator, WEIGHTS_FILE};
pub use interpolation::slerp;
pub use losses::GanLoss;
pub use network::{Gradients, LayerSummary, Network, Tape};
pub use optimizer::Optimizer;
pub use parameters::Parameters;
pub use self_test::self_test;
pub use spectral::{bound_spectral_norms, spectral_norm};
pub use stage::{Backend, Pass};

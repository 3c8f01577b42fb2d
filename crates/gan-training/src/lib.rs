//! The training step of generative adversarial networks (GANs), for candle.
//!
//! A [`Gan`] holds a generator and a discriminator with their optimizers, the EMA of the generator
//! and the random state; [`Gan::train_step`] updates both networks once. [`Hyperparameters`] choose
//! the loss, the [`UpdateScheme`], the regularisation and the optimizers. [`Gan::save`] writes
//! everything that training continues from, and [`Gan::restore`] reads it: a resumed run has the
//! same bytes as one that never stopped.
//!
//! `examples/train.rs` trains the networks of `gan-models`; `examples/own_networks.rs` trains any
//! candle modules by the same step ([`Autograd`]).
#![forbid(unsafe_code)]

mod adaptive;
mod augmentation;
mod checkpoint;
mod colours;
mod communicator;
mod discriminator_pass;
mod ema;
mod error;
mod gan;
mod hyperparameters;
mod losses;
mod mean;
mod micro_batch;
mod network;
mod optimizer;
mod phase;
mod random;
mod recipe;
mod spectral;
mod stats;
mod step;

pub use adaptive::AdaptiveProbability;
pub use augmentation::{Augmentation, Augmented};
pub use candle_core;
pub use checkpoint::{CheckpointFiles, checkpoint_step};
#[cfg(feature = "mpi")]
pub use communicator::Mpi;
#[cfg(feature = "nccl")]
pub use communicator::Nccl;
pub use communicator::{Communicator, InProcess, SingleProcess, in_process};
pub use ema::Ema;
pub use error::{Error, Result};
pub use gan::Gan;
pub use gan_kernels::Adam;
pub use gan_models;
pub use hyperparameters::{
    AdamConfig, Hyperparameters, LinearDecay, LossThresholds, Regularization, SeparateUpdates,
    UpdateScheme,
};
pub use losses::{GanLoss, LogitLoss, R1Penalty};
pub use network::{Autograd, AutogradTape, Backward, TrainableNetwork};
pub use optimizer::Optimizer;
pub use rand;
pub use random::RandomStream;
pub use recipe::{Intervals, Recipe, TrainingLength, nest_flat_keys};
pub use spectral::{bound_spectral_norms, spectral_norm};
pub use stats::{StepOutput, StepStats, UpdateCounts};

//! Errors. The text of an error does not repeat its source's.

use candle_core::Tensor;
use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A hyperparameter that is out of its range, or does not go with another.
    #[error("{0}")]
    Hyperparameter(String),
    /// A recipe that cannot be read: line, key and reason.
    #[error("{0}")]
    Recipe(String),
    /// A loss that is NaN or infinite, or the logits that it is computed from. The network that it
    /// belongs to was not updated with it.
    #[error("step {step}: the {network}'s loss is {value}, and {parameters}")]
    Diverged {
        /// The step, from 1.
        step: u64,
        /// "generator" or "discriminator".
        network: &'static str,
        /// The loss, NaN where a logit is not finite.
        value: f64,
        /// The first parameter that is not finite, or that all are finite.
        parameters: String,
    },
    /// A parameter that is NaN or infinite.
    #[error("step {step}: {parameter}")]
    NotFinite {
        /// Steps made.
        step: u64,
        /// The network, the parameter and the value.
        parameter: String,
    },
    /// A tensor of another shape than it must have.
    #[error("{what} must have shape {wanted:?}, not {found:?}")]
    Shape {
        /// The tensor.
        what: String,
        /// The shape that is right.
        wanted: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A gradient that a backward pass did not give.
    #[error("{0}")]
    NoGradient(String),
    /// An optimizer state that is not that of the parameters.
    #[error("{0}")]
    OptimizerState(String),
    /// A checkpoint that cannot be read, written or used.
    #[error("{path}: {reason}", path = path.display())]
    Checkpoint {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another rank that failed, which ends this one too.
    #[error("rank {rank}: {reason}")]
    Rank {
        /// The rank.
        rank: usize,
        /// What it failed with.
        reason: String,
    },
    /// Ranks that cannot be connected, or cannot exchange tensors.
    #[error("{0}")]
    Ranks(String),
    /// An error of the networks.
    #[error(transparent)]
    Model(#[from] gan_models::Error),
    /// A tensor operation that failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Whether every rank has this error, so that none needs to be told.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Rank { .. })
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Finds a value that is NaN or infinite in a tensor of f32.
pub(crate) fn find_not_finite(tensor: &Tensor) -> Result<Option<f32>> {
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    Ok(values.into_iter().find(|value| !value.is_finite()))
}

/// Checks a tensor's shape.
pub(crate) fn check_shape(
    what: impl FnOnce() -> String,
    found: &[usize],
    wanted: &[usize],
) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Shape { what: what(), wanted: wanted.to_vec(), found: found.to_vec() })
}

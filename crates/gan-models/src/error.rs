//! What can go wrong. The text of an error does not repeat its source's.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network that cannot be built.
    #[error("layer {layer} ({kind}): {reason}")]
    Layer {
        /// Position in the list of layers, from 0.
        layer: usize,
        /// The kind of layer.
        kind: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A configuration that cannot be met.
    #[error("{0}")]
    Config(String),
    /// A file that cannot be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A configuration file that is not one.
    #[error("{path}: not a generator's configuration", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser met.
        source: serde_json::Error,
    },
    /// A weights file that is damaged.
    #[error("{path}: damaged or cut short, not a whole safetensors file: {reason}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What the reader met.
        reason: String,
    },
    /// Weights of another network.
    #[error("{path}: weights of another architecture: {difference}", path = path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The first tensor that differs.
        difference: String,
    },
    /// A device that computes otherwise than the CPU.
    #[error("the device failed its self-test: {0}")]
    Device(String),
    /// A tensor operation that failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

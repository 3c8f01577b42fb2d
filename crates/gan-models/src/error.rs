//! Errors. The text of an error does not repeat its source's.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A layer that does not fit its network.
    #[error("layer {layer} ({kind}): {reason}")]
    #[non_exhaustive]
    Layer {
        /// Position in the list of layers, from 0.
        layer: usize,
        /// The kind of layer.
        kind: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A configuration or argument that is not valid.
    #[error("{0}")]
    Config(String),
    /// A tensor of another shape than it must have.
    #[error("{tensor} has shape {found:?}, must have {expected}")]
    #[non_exhaustive]
    Shape {
        /// The tensor.
        tensor: String,
        /// The shape that it has.
        found: Vec<usize>,
        /// The shape that it must have, where B is any batch size.
        expected: String,
    },
    /// A file that cannot be read or written.
    #[error("cannot read or write {path}", path = path.display())]
    #[non_exhaustive]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A configuration file that cannot be parsed.
    #[error("{path}: not a network's configuration", path = path.display())]
    #[non_exhaustive]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        source: serde_json::Error,
    },
    /// A weights file that is damaged.
    #[error("{path}: damaged or cut short, not a whole safetensors file: {reason}", path = path.display())]
    #[non_exhaustive]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        reason: String,
    },
    /// Weights of another network.
    #[error("{path}: weights of another architecture: {difference}", path = path.display())]
    #[non_exhaustive]
    Architecture {
        /// The file.
        path: PathBuf,
        /// The first tensor that differs, with both shapes.
        difference: String,
    },
    /// Weights that are NaN or infinite.
    #[error("{path}: {tensor} holds values that are NaN or infinite", path = path.display())]
    #[non_exhaustive]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first such tensor.
        tensor: String,
    },
    /// A device whose results differ from the CPU's.
    #[error("the device failed its self-test: {0}")]
    Device(String),
    /// A tensor operation that failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tensor(error) => error,
            error => Self::wrap(error),
        }
    }
}

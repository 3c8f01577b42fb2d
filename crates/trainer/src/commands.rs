//! The commands of the program, one module each.

pub(crate) mod bench;
pub(crate) mod classifier;
pub(crate) mod completions;
pub(crate) mod evaluate;
pub(crate) mod export;
pub(crate) mod export_html;
pub(crate) mod export_onnx;
pub(crate) mod generate;
pub(crate) mod interpolate;
pub(crate) mod invert;
pub(crate) mod recipes;
pub(crate) mod score;
#[cfg(feature = "serve")]
pub(crate) mod serve;
pub(crate) mod summary;
pub(crate) mod train;

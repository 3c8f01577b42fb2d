//! The commands of the program, one module each.

pub(crate) mod bench;
pub(crate) mod classifier;
pub(crate) mod evaluate;
pub(crate) mod generate;
pub(crate) mod interpolate;
pub(crate) mod score;
mod span_times;
pub(crate) mod summary;

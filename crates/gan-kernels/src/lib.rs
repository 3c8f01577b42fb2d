//! Fast CPU operators for candle, as custom operators behind plain functions.
//!
//! Activations are laid out as (H, W, B, C): for small pictures the batch is inside, so that a
//! convolution is a sum of plain matrix products over contiguous memory and products with padding
//! are never made. [`to_pixel_major`] and [`to_batch_major`] lead there and back. Convolution,
//! transposed convolution and dense layer are one operator, [`layer`], with different
//! [`Geometry`]; with batch normalisation it is [`layer_batch_norm`]. Interpolation and pooling are
//! [`resample`].
//!
//! Vector units (AVX-512, AVX2, NEON) and the matrix unit (AMX) are found at run time; what the
//! latter means for results, and how to do without, is told at [`Precision`]. Results are the same
//! bytes for every number of threads.

mod activation;
mod aligned;
mod batch_norm;
mod geometry;
mod layer;
mod layout;
mod linear;
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), path = "no_matrix_unit.rs")]
mod matrix_unit;
mod norm;
mod parallel;
mod precision;
mod product;
mod resample;
mod simd;
mod storage;
mod update;
mod vector;

pub use activation::{Activation, Dropout, Epilogue};
pub use batch_norm::BatchNormPass;
pub use geometry::{Geometry, Window};
pub use layer::{
    Affine, BatchNorm, BatchStatistics, LayerGradients, LayerPass, Wants, layer, layer_batch_norm,
};
pub use layout::{to_batch_major, to_pixel_major};
pub use precision::{Precision, precision, set_precision};
pub use resample::{Resampling, resample};
pub use update::{Adam, move_towards};

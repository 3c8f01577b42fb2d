//! Fast CPU operators for candle, as plain functions.
//!
//! Activations are laid out as (H, W, B, C). The batch is inside, so a convolution is a sum of plain
//! matrix products over contiguous memory, and products with padding are never computed.
//! [`nchw_to_hwnc`] and [`hwnc_to_nchw`] convert from and to candle's layout. Convolution, transposed
//! convolution and dense layer are one operator, [`layer`], with different [`Geometry`]; with batch
//! normalisation it is [`layer_batch_norm`]. [`Geometry::with_groups`] splits the channels into groups.
//! Interpolation and pooling are [`resample`].
//!
//! The widest instruction set of the processor is found at run time, see [`isa()`]. AMX computes in
//! less than f32 precision; [`Precision`] says what that means and how to avoid it. Results are the
//! same bytes for every number of threads.

mod activation;
mod aligned;
#[cfg_attr(not(all(target_arch = "x86_64", target_os = "linux")), path = "no_amx.rs")]
mod amx;
mod batch_norm;
mod gemm;
mod geometry;
mod im2col;
mod isa;
mod jobs;
mod kernel;
mod layer;
mod layer_op;
mod layout;
mod linear;
mod matrix;
#[cfg(feature = "mimalloc")]
mod memory;
mod norm;
mod packed;
mod parallel;
mod precision;
mod resample;
mod rulebook;
mod simd;
mod simd_kernel;
mod storage;
mod unsafe_slice;
mod update;
mod warning;
mod winograd;

pub use activation::{Activation, Dropout, Epilogue};
pub use batch_norm::SavedBatchNorm;
pub use geometry::{Geometry, Window};
pub use isa::{Isa, isa, requested_isa};
pub use layer::{SavedLayer, ScaleShift, layer, layer_batch_norm};
pub use layer_op::{BatchNorm, GradMask, LayerGradients};
pub use layout::{hwnc_to_nchw, nchw_to_hwnc};
#[cfg(feature = "mimalloc")]
pub use memory::keep_freed_memory;
pub use norm::BatchStatistics;
pub use packed::{FixedLayer, PackedChain};
pub use precision::{Precision, precision, set_precision};
pub use resample::{Resampling, resample};
pub use update::{Adam, lerp_};

/// Compiles and runs the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    /// The workspace turns the checks of this crate off in dev builds; the profile must turn them on.
    #[test]
    fn the_checked_profile_has_debug_assertions_and_overflow_checks() {
        // `cargo xtask ci` sets it with `--profile checked`; other profiles leave the checks out.
        if std::env::var_os("GAN_KERNELS_CHECKED").is_none() {
            return;
        }
        use std::hint::black_box;
        assert!(black_box(cfg!(debug_assertions)), "debug assertions are off");
        let add = || black_box(u8::MAX) + black_box(1);
        std::panic::catch_unwind(add).expect_err("overflow checks are off");
    }
}

//! The choice between exact and fast matrix products.

use crate::isa::{Isa, isa};
use std::sync::atomic::{AtomicBool, Ordering};

/// The arithmetic of matrix products. PyTorch's `float32_matmul_precision` offers the same choice
/// under the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// f32 throughout.
    Highest,
    /// AMX where the processor has it: each operand is the sum of two bfloat16 numbers, which
    /// keeps 16 bits of its mantissa, and sums are f32. Operands above 3.39e38, infinity included,
    /// become NaN, and products below 1.2e-38 become zero.
    High,
}

static HIGHEST: AtomicBool = AtomicBool::new(false);

/// Sets the precision of this process. The default is [`Precision::High`].
///
/// Results of the two differ in their last bits, so set it before the first computation.
pub fn set_precision(precision: Precision) {
    HIGHEST.store(precision == Precision::Highest, Ordering::Relaxed);
}

/// Returns the precision in force: [`Precision::High`] only where [`isa`] is [`Isa::Amx`].
pub fn precision() -> Precision {
    if !HIGHEST.load(Ordering::Relaxed) && isa() == Isa::Amx {
        Precision::High
    } else {
        Precision::Highest
    }
}

/// Returns the instruction set for products with weights of this size.
///
/// The batch size has no influence, so an image's result is the same in every batch.
pub(crate) fn gemm_isa(rows: usize, columns: usize) -> Isa {
    // Smaller matrices do not fill a block of tiles.
    let is_large = rows >= 32 && columns >= 32;
    match precision() {
        Precision::High if is_large => Isa::Amx,
        _ => isa().min(Isa::Avx512),
    }
}

//! The choice between exact and fast products.

use crate::matrix_unit;
use std::sync::atomic::{AtomicBool, Ordering};

/// How exactly products are computed. PyTorch's `float32_matmul_precision` is the same choice
/// under the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// In f32 throughout.
    Highest,
    /// Where the processor has a matrix unit (AMX), on that: each operand as a sum of two
    /// bfloat16 numbers, which keeps 16 bits of its mantissa, sums in f32. Factors above 3.39e38,
    /// infinity among them, become NaN, and products below 1.2e-38 zero.
    High,
}

static HIGHEST: AtomicBool = AtomicBool::new(false);

/// Sets the precision of this process, [`Precision::High`] at first. Results of the two differ
/// in their last bits, so it should be set before the first of them.
pub fn set_precision(precision: Precision) {
    HIGHEST.store(precision == Precision::Highest, Ordering::Relaxed);
}

/// The precision in force: [`Precision::High`] only where there is a matrix unit to use.
pub fn precision() -> Precision {
    if !HIGHEST.load(Ordering::Relaxed) && matrix_unit::available() {
        Precision::High
    } else {
        Precision::Highest
    }
}

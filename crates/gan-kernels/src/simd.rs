//! Plain loops compiled for the widest vectors of the processor.

use crate::isa::arch;
use pulp::NullaryFnOnce;

/// Evaluates an expression with the vector instructions of [`crate::isa()`]. Functions and closures
/// that it calls must be `#[inline(always)]`.
///
/// A multiplication and an addition are never fused, so results are the same bytes for every
/// instruction set.
macro_rules! vectorized {
    ($work:expr) => {
        $crate::simd::run(
            #[inline(always)]
            || $work,
        )
    };
}
pub(crate) use vectorized;

/// Runs a closure that is always inlined, as [`vectorized`] does.
#[inline(always)]
pub(crate) fn run<R>(work: impl FnMut() -> R) -> R {
    /// Calls the closure by reference: a call by value would not be inlined.
    struct Inlined<F>(F);

    impl<R, F: FnMut() -> R> NullaryFnOnce for Inlined<F> {
        type Output = R;

        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }

    arch().dispatch(Inlined(work))
}

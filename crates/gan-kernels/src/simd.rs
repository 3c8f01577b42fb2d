//! Plain loops compiled for the widest vectors that the processor has.

use pulp::{Arch, NullaryFnOnce};

/// Runs an expression with the vector instructions found at run time. Whatever it calls must be
/// inlined into it: functions and closures are to be `#[inline(always)]`.
///
/// A product and a sum are never joined into one rounding, so results are the same bytes on every
/// processor.
macro_rules! vectorized {
    ($work:expr) => {
        $crate::simd::run(
            #[inline(always)]
            || $work,
        )
    };
}
pub(crate) use vectorized;

/// [`vectorized`], given a closure that is always inlined.
#[inline(always)]
pub(crate) fn run<R>(work: impl FnMut() -> R) -> R {
    /// Calls by reference: the function that calls a closure by value would not be inlined.
    struct Inlined<F>(F);

    impl<R, F: FnMut() -> R> NullaryFnOnce for Inlined<F> {
        type Output = R;

        #[inline(always)]
        fn call(mut self) -> R {
            (self.0)()
        }
    }

    Arch::new().dispatch(Inlined(work))
}

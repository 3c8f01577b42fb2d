//! Memory whose vectors do not straddle cache lines.

use std::cell::RefCell;

/// Calls `f` with `len` elements that this thread keeps for such calls, which do not meet inside
/// of each other; what the elements hold is not said.
pub(crate) fn with_scratch<T>(len: usize, f: impl FnOnce(&mut [f32]) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Aligned> = RefCell::new(Aligned::zeros(0));
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len < len {
            *scratch = Aligned::zeros(len);
        }
        f(&mut scratch.as_mut_slice()[..len])
    })
}

/// A cache line of floats: the alignment of [`Aligned`].
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

/// Floats that begin at a cache line.
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    /// Whole lines of elements that the tasks of `fill` write, as in [`crate::parallel::filled`].
    ///
    /// # Safety
    /// `fill` must write every element.
    pub(crate) unsafe fn filled(len: usize, fill: impl FnOnce(&crate::parallel::Disjoint)) -> Self {
        assert!(len.is_multiple_of(LINE), "{len} elements are not whole lines");
        let mut lines = Vec::<Line>::with_capacity(len / LINE);
        // SAFETY: the capacity is there, and the caller promises that all elements are written.
        unsafe {
            fill(&crate::parallel::Disjoint::over_unwritten(lines.as_mut_ptr().cast(), len));
            lines.set_len(len / LINE);
        }
        Self { lines, len }
    }

    pub(crate) fn as_slice(&self) -> &[f32] {
        // SAFETY: the lines hold at least `len` floats, one after the other.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

//! Memory that begins at a cache line, so that no vector straddles two lines.

use crate::unsafe_slice::UnsafeSlice;
use std::cell::RefCell;
use std::mem::MaybeUninit;

/// Calls `f` with `len` elements of this thread's scratch memory. Calls must not nest. The
/// elements hold arbitrary values.
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

/// Floats of a cache line.
pub(crate) const LINE: usize = 16;

/// Floats that begin at a cache line.
pub(crate) struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    pub(crate) fn zeros(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    /// Returns whole lines that `fill` initialises.
    ///
    /// # Safety
    /// `fill` must write every element.
    pub(crate) unsafe fn init_with(len: usize, fill: impl FnOnce(&UnsafeSlice)) -> Self {
        assert!(len.is_multiple_of(LINE), "{len} elements are not whole lines");
        let mut lines = Vec::<Line>::with_capacity(len / LINE);
        let spare = lines.spare_capacity_mut().as_mut_ptr().cast::<MaybeUninit<f32>>();
        // SAFETY: the spare capacity is `len` floats, which only `fill` uses meanwhile. The caller
        // promises that all of them are initialised.
        unsafe {
            fill(&UnsafeSlice::new(std::slice::from_raw_parts_mut(spare, len)));
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

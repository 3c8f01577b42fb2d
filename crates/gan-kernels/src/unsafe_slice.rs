//! A slice that several tasks write at the same time.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A mutable slice whose disjoint parts several tasks write. It may begin uninitialised.
pub(crate) struct UnsafeSlice<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [MaybeUninit<f32>]>,
}

// SAFETY: elements are accessed through `part`, whose contract forbids overlaps, or through a
// pointer, whose use takes an unsafe block of its own.
unsafe impl Send for UnsafeSlice<'_> {}
// SAFETY: as above.
unsafe impl Sync for UnsafeSlice<'_> {}

impl<'a> UnsafeSlice<'a> {
    /// Wraps a slice for as long as it is borrowed.
    pub(crate) fn new(slice: &'a mut [MaybeUninit<f32>]) -> Self {
        Self { start: slice.as_mut_ptr().cast(), len: slice.len(), slice: PhantomData }
    }

    /// Returns `len` elements from `start` on.
    ///
    /// # Safety
    /// Parts that are alive at the same time must not overlap, and the elements must be
    /// initialised.
    #[allow(clippy::mut_from_ref, reason = "the caller promises that parts do not overlap")]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "part outside of the slice");
        // SAFETY: in range by the assertion, exclusive and initialised by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// Returns a pointer to element `index`, for strided writes.
    pub(crate) fn pointer(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len, "pointer outside of the slice");
        self.start.wrapping_add(index)
    }
}

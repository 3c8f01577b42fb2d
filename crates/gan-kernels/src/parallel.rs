//! Work shared among the threads of the current rayon pool.
//!
//! Every result element is computed by exactly one task, in an order that does not depend on how
//! tasks are spread, so results are the same bytes for every number of threads.

use rayon::prelude::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Multiply-adds (or element visits) below which a job stays on the calling thread: waking
/// another thread costs some microseconds.
const SERIAL_WORK: usize = 25_000;

fn is_serial(tasks: usize, work: usize) -> bool {
    work < SERIAL_WORK || tasks < 2 || rayon::current_num_threads() == 1
}

/// Runs `task(0)` to `task(tasks - 1)`; `work` is the whole job's size.
pub(crate) fn for_each(tasks: usize, work: usize, task: impl Fn(usize) + Sync + Send) {
    if is_serial(tasks, work) {
        (0..tasks).for_each(task);
    } else {
        (0..tasks).into_par_iter().with_max_len(1).for_each(task);
    }
}

/// Like [`for_each`], with the results in order.
pub(crate) fn map<T: Send>(
    tasks: usize,
    work: usize,
    task: impl Fn(usize) -> T + Sync + Send,
) -> Vec<T> {
    if is_serial(tasks, work) {
        (0..tasks).map(task).collect()
    } else {
        (0..tasks).into_par_iter().with_max_len(1).map(task).collect()
    }
}

/// Runs two jobs, side by side where there are threads; `work` is the size of both.
pub(crate) fn join<A: Send, B: Send>(
    work: usize,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if is_serial(2, work) { (a(), b()) } else { rayon::join(a, b) }
}

/// A new vector whose elements the tasks of `fill` write.
///
/// Zeroing the large buffers first would take a tenth of a training step.
///
/// # Safety
/// `fill` must write every element.
pub(crate) unsafe fn filled(len: usize, fill: impl FnOnce(&Disjoint)) -> Vec<f32> {
    let mut vector = Vec::with_capacity(len);
    // SAFETY: the capacity is there, and the caller promises that all elements are written.
    unsafe {
        fill(&Disjoint::over_unwritten(vector.as_mut_ptr(), len));
        vector.set_len(len);
    }
    vector
}

/// A new vector that `task(target, 0)` to `task(target, tasks - 1)` write, run as by [`for_each`].
///
/// # Safety
/// The tasks must write every element.
pub(crate) unsafe fn filled_by(
    len: usize,
    tasks: usize,
    work: usize,
    task: impl Fn(&Disjoint, usize) + Sync + Send,
) -> Vec<f32> {
    // SAFETY: forwarded.
    unsafe { filled(len, |target| for_each(tasks, work, |index| task(target, index))) }
}

/// A mutable slice that tasks write disjoint parts of.
pub(crate) struct Disjoint<'a> {
    start: *mut f32,
    len: usize,
    slice: PhantomData<&'a mut [f32]>,
}

// SAFETY: the only accesses are through `part`, `unwritten` and `zeroed`, whose contracts forbid
// overlapping use, and through addresses, which take an unsafe block of their own to use.
unsafe impl Send for Disjoint<'_> {}
// SAFETY: as above.
unsafe impl Sync for Disjoint<'_> {}

impl<'a> Disjoint<'a> {
    pub(crate) fn new(slice: &'a mut [f32]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// Over memory that is still to be written: only [`Disjoint::unwritten`], [`Disjoint::zeroed`]
    /// and addresses are to be used before.
    ///
    /// # Safety
    /// The memory must be there, with no one else using it, for as long as this is.
    pub(crate) unsafe fn over_unwritten(start: *mut f32, len: usize) -> Self {
        Self { start, len, slice: PhantomData }
    }

    /// The elements from `start`, `len` of them.
    ///
    /// # Safety
    /// No two parts that are alive at the same time may overlap, and the elements must have been
    /// written.
    #[allow(clippy::mut_from_ref, reason = "disjointness is the caller's promise")]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [f32] {
        assert!(start <= self.len && len <= self.len - start, "part outside of the slice");
        // SAFETY: in range by the assertion above, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }

    /// The elements from `start`, `len` of them, before they are written.
    ///
    /// # Safety
    /// No two parts that are alive at the same time may overlap.
    #[allow(clippy::mut_from_ref, reason = "disjointness is the caller's promise")]
    pub(crate) unsafe fn unwritten(&self, start: usize, len: usize) -> &mut [MaybeUninit<f32>] {
        assert!(start <= self.len && len <= self.len - start, "part outside of the slice");
        // SAFETY: in range by the assertion above, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start).cast(), len) }
    }

    /// The elements from `start`, `len` of them, all 0 now.
    ///
    /// # Safety
    /// As of [`Disjoint::unwritten`].
    #[allow(clippy::mut_from_ref, reason = "disjointness is the caller's promise")]
    pub(crate) unsafe fn zeroed(&self, start: usize, len: usize) -> &mut [f32] {
        // SAFETY: forwarded, and written before they are read.
        unsafe {
            self.unwritten(start, len).fill(MaybeUninit::new(0.0));
            self.part(start, len)
        }
    }

    /// The address of element `index`, for strided writes of a task's own elements.
    pub(crate) fn address(&self, index: usize) -> *mut f32 {
        assert!(index <= self.len, "address outside of the slice");
        self.start.wrapping_add(index)
    }
}

//! Tasks shared among the threads of the current rayon pool.
//!
//! Exactly one task computes each element of a result, in an order that does not depend on the
//! threads, so results are the same bytes for every number of threads.
//!
//! rayon's own `join` and parallel iterators run any other task of the pool while they wait. Such
//! a task may want the lock of a tensor that the waiting operator holds, and never get it. Here a
//! thread that waits runs tasks of this module only. They take no lock of a tensor, so an operator
//! may hold such locks while it waits: every task of it ends, on the waiting thread if on no other.

use crate::jobs;
use crate::unsafe_slice::UnsafeSlice;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

/// Multiply-adds (or element visits) below which a job stays on the calling thread: waking
/// another thread takes some microseconds.
const SERIAL_WORK: usize = 25_000;

/// Multiply-adds that take about as long as a copy of one element to another order.
pub(crate) const COPY_WORK: usize = 4;

thread_local! {
    static ON_THIS_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Runs a closure whose jobs stay on this thread, as each of many equal tasks should.
pub(crate) fn on_this_thread<R>(run: impl FnOnce() -> R) -> R {
    let before = ON_THIS_THREAD.replace(true);
    let result = run();
    ON_THIS_THREAD.set(before);
    result
}

fn is_serial(tasks: usize, work: usize) -> bool {
    let one_thread = ON_THIS_THREAD.get() || rayon::current_num_threads() == 1;
    work < SERIAL_WORK || tasks < 2 || one_thread
}

/// Runs `task(0)` to `task(tasks - 1)`. `work` is the size of the whole job in multiply-adds.
pub(crate) fn for_each(tasks: usize, work: usize, task: impl Fn(usize) + Sync) {
    if is_serial(tasks, work) {
        (0..tasks).for_each(task);
    } else {
        jobs::run(tasks, &task);
    }
}

/// Runs `task(index, item)` for every item, and returns the results in order. `work` is as in
/// [`for_each`].
pub(crate) fn map<I: Send, R: Send>(
    items: impl Iterator<Item = I>,
    work: usize,
    task: impl Fn(usize, I) -> R + Sync,
) -> Vec<R> {
    enum Slot<I, R> {
        Item(I),
        Result(R),
        Taken,
    }
    let items: Vec<I> = items.collect();
    if is_serial(items.len(), work) {
        return items.into_iter().enumerate().map(|(index, item)| task(index, item)).collect();
    }
    // Each slot is locked by one task only, so no lock is ever waited for.
    let slots: Vec<_> = items.into_iter().map(|item| Mutex::new(Slot::Item(item))).collect();
    jobs::run(slots.len(), &|index| {
        let mut slot = slots[index].lock().unwrap_or_else(PoisonError::into_inner);
        if let Slot::Item(item) = std::mem::replace(&mut *slot, Slot::Taken) {
            *slot = Slot::Result(task(index, item));
        }
    });
    let result = |slot: Mutex<Slot<I, R>>| match slot.into_inner() {
        Ok(Slot::Result(result)) => result,
        _ => unreachable!("every task has run"),
    };
    slots.into_iter().map(result).collect()
}

/// Runs two jobs, at the same time where there are threads. `work` is the size of both.
pub(crate) fn join<A: Send, B: Send>(
    work: usize,
    a: impl FnOnce() -> A + Send,
    b: impl FnOnce() -> B + Send,
) -> (A, B) {
    if is_serial(2, work) {
        return (a(), b());
    }
    let (a, b) = (Mutex::new((Some(a), None)), Mutex::new((Some(b), None)));
    fn run<T>(slot: &Mutex<(Option<impl FnOnce() -> T>, Option<T>)>) {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.1 = slot.0.take().map(|job| job());
    }
    jobs::run(2, &|index| if index == 0 { run(&a) } else { run(&b) });
    match (a.into_inner(), b.into_inner()) {
        (Ok((_, Some(a))), Ok((_, Some(b)))) => (a, b),
        _ => unreachable!("both jobs have run"),
    }
}

/// Makes a vector hold `len` elements that `fill` initialises. Its memory is used again if that is
/// enough.
///
/// Zeroing the large buffers first would take a tenth of a training step.
///
/// # Safety
/// `fill` must write every element.
pub(crate) unsafe fn refill(vector: &mut Vec<f32>, len: usize, fill: impl FnOnce(&UnsafeSlice)) {
    vector.clear();
    vector.reserve_exact(len);
    fill(&UnsafeSlice::new(&mut vector.spare_capacity_mut()[..len]));
    // SAFETY: the capacity suffices, and the caller promises that all elements are initialised.
    unsafe { vector.set_len(len) };
}

/// Returns a new vector that consists of parts of these lengths. `task(index, part)` initialises
/// each part and returns it, with a result of its own. `work` is as in [`for_each`].
///
/// # Panics
/// A task that returns another slice than its part.
pub(crate) fn init_parts<R: Send>(
    lens: impl Iterator<Item = usize> + Clone,
    work: usize,
    task: impl for<'a> Fn(usize, &'a mut [MaybeUninit<f32>]) -> (&'a mut [f32], R) + Sync,
) -> (Vec<f32>, Vec<R>) {
    let len = lens.clone().sum();
    let mut vector = Vec::with_capacity(len);
    let mut rest = &mut vector.spare_capacity_mut()[..len];
    let parts = lens.map(|len| rest.split_off_mut(..len).expect("the lengths add up"));
    let results = map(parts, work, |index, part| {
        let range = part.as_ptr_range();
        let (part, result) = task(index, part);
        let same = range.start.addr() == part.as_ptr().addr()
            && range.end.addr() == part.as_ptr_range().end.addr();
        assert!(same, "the task of part {index} returned another slice");
        result
    });
    // SAFETY: the parts are all elements, and each task has returned its own as initialised.
    unsafe { vector.set_len(len) };
    (vector, results)
}

/// Returns a new vector of `count` parts of `len` elements, which `task(index, part)` initialises
/// and returns. `work` is as in [`for_each`].
///
/// # Panics
/// As [`init_parts`].
pub(crate) fn init_equal_parts(
    count: usize,
    len: usize,
    work: usize,
    task: impl for<'a> Fn(usize, &'a mut [MaybeUninit<f32>]) -> &'a mut [f32] + Sync,
) -> Vec<f32> {
    init_parts((0..count).map(|_| len), work, |index, part| (task(index, part), ())).0
}

/// Sets every element to 0.
pub(crate) fn zeroed(part: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    part.fill(MaybeUninit::new(0.0));
    // SAFETY: initialised just above.
    unsafe { part.assume_init_mut() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_pool<T: Send>(threads: usize, run: impl FnOnce() -> T + Send) -> T {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("a pool of a few threads").install(run)
    }

    #[test]
    fn results_are_in_order_for_any_number_of_threads() {
        for threads in [1, 2, 5] {
            let squares = in_pool(threads, || map(0..1000, usize::MAX, |i, n: usize| i * n));
            assert!(squares.iter().enumerate().all(|(i, square)| *square == i * i), "{threads}");
        }
    }

    #[test]
    fn parts_make_up_the_vector() {
        let lens = [3, 0, 1, 4];
        let (vector, starts) = in_pool(3, || {
            init_parts(lens.iter().copied(), usize::MAX, |index, part| {
                let part = zeroed(part);
                part.fill(index as f32);
                let len = part.len();
                (part, len)
            })
        });
        assert_eq!(vector, [0.0, 0.0, 0.0, 2.0, 3.0, 3.0, 3.0, 3.0]);
        assert_eq!(starts, lens);
    }

    #[test]
    #[should_panic(expected = "the task of part 1 returned another slice")]
    fn a_part_must_be_returned_whole() {
        init_equal_parts(2, 4, 0, |index, part| &mut zeroed(part)[index..]);
    }

    #[test]
    fn jobs_can_stay_on_their_thread() {
        let threads = || {
            let ids = map(0..100, usize::MAX, |_, _: usize| {
                std::thread::sleep(std::time::Duration::from_micros(100));
                std::thread::current().id()
            });
            ids.into_iter().collect::<std::collections::HashSet<_>>().len()
        };
        let (alone, shared) = in_pool(3, || (on_this_thread(threads), threads()));
        assert_eq!(alone, 1);
        assert!(shared > 1, "{shared}");
    }

    #[test]
    fn jobs_nest() {
        let sum = |from: usize| map(from..from + 100, usize::MAX, |_, n| n).iter().sum::<usize>();
        let (a, b) = in_pool(3, || join(usize::MAX, || sum(0), || sum(100)));
        assert_eq!((a, b), (4950, 14950));
    }

    #[test]
    fn a_panic_reaches_the_caller_after_all_tasks() {
        let done = std::sync::atomic::AtomicUsize::new(0);
        let run = || {
            for_each(50, usize::MAX, |index| {
                assert!(index != 7, "task 7 fails");
                done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            });
        };
        let result = in_pool(3, || std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)));
        let panic = result.expect_err("a task panics");
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"task 7 fails"));
        assert_eq!(done.into_inner(), 49);
    }

    /// With rayon's own `join` the waiting thread would take the other task, which then waits for
    /// the lock that this thread holds.
    #[test]
    fn a_thread_that_waits_runs_no_task_of_others() {
        let lock = Mutex::new(0usize);
        let hold = || {
            let mut count = lock.lock().unwrap_or_else(PoisonError::into_inner);
            *count += map(0..64, usize::MAX, |_, n: usize| std::hint::black_box(n)).len();
        };
        in_pool(2, || rayon::scope(|scope| (0..200).for_each(|_| scope.spawn(|_| hold()))));
        assert_eq!(lock.into_inner().expect("no task panics"), 200 * 64);
    }
}

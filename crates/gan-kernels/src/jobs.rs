//! Jobs of numbered tasks: the calling thread works on its own job, and threads of the rayon pool
//! help.
//!
//! A thread that waits for the last tasks of its job helps with other jobs of this module, such as
//! those that its tasks have started, and with nothing else.

use std::any::Any;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

/// Looks for something to do before a waiting thread goes to sleep.
const ROUNDS_BEFORE_SLEEP: usize = 32;

/// A job in progress.
struct Job {
    /// The closure of the owner, which outlives every call of it.
    task: *const (dyn Fn(usize) + Sync),
    tasks: usize,
    threads: usize,
    /// The first task that no thread has claimed.
    next: AtomicUsize,
    finished: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    owner: Thread,
}

// SAFETY: `task` is Sync, and the other fields are Send and Sync.
unsafe impl Send for Job {}
// SAFETY: as above.
unsafe impl Sync for Job {}

/// Jobs with tasks to claim, and threads that sleep until there are some.
#[derive(Default)]
struct Board {
    open: Vec<Arc<Job>>,
    sleeping: Vec<Thread>,
}

static BOARD: Mutex<Board> = Mutex::new(Board { open: Vec::new(), sleeping: Vec::new() });

/// Runs `task(0)` to `task(tasks - 1)` on this thread and others of the current rayon pool.
///
/// # Panics
/// If a task panics: once all tasks have ended.
pub(crate) fn run(tasks: usize, task: &(dyn Fn(usize) + Sync)) {
    // SAFETY: only the lifetime changes. A claimed task is the only one that calls the closure,
    // and this function returns when all of them have ended.
    let task = unsafe {
        std::mem::transmute::<*const (dyn Fn(usize) + Sync), *const (dyn Fn(usize) + Sync + 'static)>(
            task,
        )
    };
    let threads = rayon::current_num_threads();
    let job = Arc::new(Job {
        task,
        tasks,
        threads,
        next: AtomicUsize::new(0),
        finished: AtomicUsize::new(0),
        panic: Mutex::new(None),
        owner: thread::current(),
    });
    open(&job);
    for _ in 1..threads.min(tasks) {
        rayon::spawn(help);
    }
    while job.run_some() {}
    job.wait();
    if let Some(panic) = lock(&job.panic).take() {
        resume_unwind(panic);
    }
}

impl Job {
    /// Claims some tasks and runs them. Returns false if none is left.
    fn run_some(&self) -> bool {
        let Some(claim) = self.claim() else { return false };
        let len = claim.len();
        // SAFETY: the claimed tasks have not ended, so the owner is still in `run`, which borrows
        // the closure.
        let task = unsafe { &*self.task };
        for index in claim {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| task(index))) {
                *lock(&self.panic) = Some(panic);
            }
        }
        if self.finished.fetch_add(len, Ordering::AcqRel) + len == self.tasks {
            self.owner.unpark();
        }
        true
    }

    /// Claims a part of the tasks that are left, smaller and smaller ones: neighbours in memory stay
    /// on one thread, and all threads end at about the same time.
    fn claim(&self) -> Option<Range<usize>> {
        let len = |next: usize| ((self.tasks - next) / (2 * self.threads)).max(1);
        let claim = |next| (next < self.tasks).then(|| next + len(next));
        let order = Ordering::Relaxed;
        let start = self.next.fetch_update(order, order, claim).ok()?;
        Some(start..start + len(start))
    }

    fn has_tasks(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.tasks
    }

    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire) == self.tasks
    }

    /// Waits until every task has ended, and helps with other jobs meanwhile.
    fn wait(&self) {
        let mut idle = 0;
        while !self.is_finished() {
            if let Some(job) = find(idle >= ROUNDS_BEFORE_SLEEP) {
                job.run_some();
                idle = 0;
            } else if idle < ROUNDS_BEFORE_SLEEP {
                thread::yield_now();
                idle += 1;
            } else {
                thread::park();
            }
        }
        if idle >= ROUNDS_BEFORE_SLEEP {
            lock(&BOARD).sleeping.retain(|thread| thread.id() != self.owner.id());
        }
    }
}

/// Puts a job on the board, and wakes the threads that sleep.
fn open(job: &Arc<Job>) {
    let sleeping = {
        let mut board = lock(&BOARD);
        board.open.push(job.clone());
        std::mem::take(&mut board.sleeping)
    };
    sleeping.iter().for_each(Thread::unpark);
}

/// Finds a job with tasks to claim, the youngest first. If there is none and `sleep` is set, this
/// thread is to be woken for the next one.
fn find(sleep: bool) -> Option<Arc<Job>> {
    let mut board = lock(&BOARD);
    board.open.retain(|job| job.has_tasks());
    let job = board.open.last().cloned();
    if job.is_none() && sleep {
        let this = thread::current();
        if board.sleeping.iter().all(|thread| thread.id() != this.id()) {
            board.sleeping.push(this);
        }
    }
    job
}

/// Works on open jobs until there is none.
fn help() {
    while let Some(job) = find(false) {
        while job.run_some() {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The thread that uses the models, one request at a time, so that requests share two cores and not
//! more memory than one needs.

use super::models::Models;
use super::reply::Failure;
use anyhow::{Context, Result};
use hyper::StatusCode;
use rayon::ThreadPool;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{SyncSender, sync_channel};
use tokio::sync::oneshot;

/// Requests that wait at most; more are refused.
const WAITING: usize = 8;

type Job = Box<dyn FnOnce(&mut Models) + Send>;

/// Sends work to the thread that has the models.
pub(super) struct Engine(SyncSender<Job>);

impl Engine {
    /// Starts the thread. It ends with the last `Engine`.
    ///
    /// # Errors
    /// A thread that the system does not start.
    pub(super) fn start(pool: ThreadPool) -> Result<Self> {
        let (send, receive) = sync_channel::<Job>(WAITING);
        let work = move || {
            let mut models = Models::new(pool);
            for job in receive {
                job(&mut models);
            }
        };
        std::thread::Builder::new()
            .name("models".into())
            .spawn(work)
            .context("starting a thread")?;
        Ok(Self(send))
    }

    /// Does work on the thread that has the models. Work that nobody waits for any more is left out.
    ///
    /// # Errors
    /// Those of the work; too much other work.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Models) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (send, receive) = oneshot::channel();
        let job = Box::new(move |models: &mut Models| {
            if send.is_closed() {
                return;
            }
            // One request must not end the others'.
            let done = catch_unwind(AssertUnwindSafe(|| work(models)));
            let failed =
                || Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be computed");
            let _ = send.send(done.unwrap_or_else(|_| Err(failed())));
        });
        let busy = || Failure::new(StatusCode::SERVICE_UNAVAILABLE, "too many requests at a time");
        self.0.try_send(job).map_err(|_| busy())?;
        receive.await.unwrap_or_else(|_| Err(busy()))
    }
}

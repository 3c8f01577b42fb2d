//! What the answers to requests come from.

use super::engine::Engine;
use super::guard::Guard;
use super::reply::Failure;
use super::runs::Runs;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

/// Time between two looks at the runs, while a page is open. Every look at a run that trains makes the
/// page draw, on the cores that train.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// What the answers to requests come from.
pub(super) struct Site {
    pub(super) guard: Guard,
    pub(super) runs: Arc<Runs>,
    pub(super) engine: Engine,
    /// The list of runs as JSON, new whenever it changes; empty before the first look. If the runs cannot
    /// be listed, an object with the `error`.
    pub(super) updates: watch::Sender<Arc<str>>,
    /// A page has begun to listen.
    pub(super) listened: Notify,
}

impl Site {
    /// Listens to the list of runs. It is made at once if no other page listens.
    pub(super) fn listen(&self) -> watch::Receiver<Arc<str>> {
        let mut updates = self.updates.subscribe();
        updates.mark_changed();
        self.listened.notify_one();
        updates
    }

    /// Looks at the runs again and again while a page listens, so that any number of pages costs as
    /// much as one, and none costs nothing.
    pub(super) async fn look(self: Arc<Self>) {
        loop {
            if self.updates.receiver_count() == 0 {
                // The next page must not see what was true long ago.
                self.updates.send_replace(Arc::from(""));
                self.listened.notified().await;
            }
            let runs = self.runs.clone();
            if let Ok(list) = spawn_blocking(move || runs.list()).await {
                let text = match list {
                    Ok(list) => serde_json::to_string(&list).unwrap_or_default(),
                    Err(Failure(_, error)) => json!({ "error": error }).to_string(),
                };
                self.updates.send_if_modified(|before| {
                    let is_new = **before != *text;
                    *before = text.into();
                    is_new
                });
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

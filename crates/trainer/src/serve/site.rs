//! What the answers to requests come from.

use super::engine::Engine;
use super::guard::Guard;
use super::runs::Runs;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Time between two looks at the runs, while a page is open.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the answers to requests come from.
pub(super) struct Site {
    pub(super) guard: Guard,
    pub(super) runs: Arc<Runs>,
    pub(super) engine: Engine,
    /// The list of runs as JSON, new whenever it changes.
    pub(super) updates: watch::Sender<Arc<str>>,
}

impl Site {
    /// Looks at the runs again and again while a page listens, so that any number of pages costs as
    /// much as one.
    pub(super) async fn look(self: Arc<Self>) {
        loop {
            if self.updates.receiver_count() > 0 {
                let runs = self.runs.clone();
                let list = tokio::task::spawn_blocking(move || runs.list()).await;
                if let Ok(Ok(list)) = list {
                    let text: Arc<str> = serde_json::to_string(&list).unwrap_or_default().into();
                    self.updates.send_if_modified(|before| {
                        let is_new = *before != text;
                        *before = text;
                        is_new
                    });
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

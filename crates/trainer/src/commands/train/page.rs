//! The web page of a run that trains.

use crate::cli::options::ThreadsOption;
use crate::cli::train::TrainArgs;
use crate::device;
use crate::run::directory::RunDirectory;
use crate::serve::{Content, Server};
use anyhow::{Context, Result};
use std::net::Ipv4Addr;

/// The page, if it was asked for.
pub(super) struct Page(Option<Server>);

impl Page {
    /// Takes the port, so that one in use is an error before anything is written.
    ///
    /// # Errors
    /// A port that is in use.
    pub(super) fn bind(args: &TrainArgs) -> Result<Self> {
        let bind = |port| Server::bind(Ipv4Addr::LOCALHOST.into(), port);
        Ok(Self(args.session.serve.map(bind).transpose().context("--serve")?))
    }

    /// Serves the run and those beside it, until the program ends. Networks are computed on one thread,
    /// so that training keeps the others.
    ///
    /// # Errors
    /// Threads that the system does not start.
    pub(super) fn show(self, run: &RunDirectory) -> Result<()> {
        let Some(server) = self.0 else { return Ok(()) };
        tracing::info!("page {}", server.url());
        let pool = device::pool(ThreadsOption { threads: Some(1) })?;
        server.spawn(Content { runs: gan_files::parent(run.path()).into(), weights: None, pool })
    }
}

//! A local web page that shows runs as they train, and what their networks learned.
//!
//! The server runs on a thread of its own, so that training goes on beside it. All models are used by one
//! more thread, [`engine`], one request at a time.

mod api;
mod assets;
mod connections;
mod engine;
mod guard;
mod models;
mod reply;
mod runs;
mod site;
mod stats;

use anyhow::{Context, Result};
use engine::Engine;
use guard::Guard;
use rayon::ThreadPool;
use runs::Runs;
use site::Site;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Notify, watch};

/// Threads that read files.
const FILE_THREADS: usize = 2;

/// What the page shows.
pub(crate) struct Content {
    /// The directory of runs.
    pub(crate) runs: PathBuf,
    /// A generator's directory, or a directory of them.
    pub(crate) weights: Option<PathBuf>,
    /// The threads that networks are computed on.
    pub(crate) pool: ThreadPool,
}

/// A server that has its address, but answers nothing yet.
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Takes an address; port 0 is any that is free.
    ///
    /// # Errors
    /// An address that this machine does not have; a port that is in use.
    pub(crate) fn bind(address: IpAddr, port: u16) -> Result<Self> {
        let listener = TcpListener::bind((address, port)).with_context(|| {
            format!("port {port} of {address}; choose another one, or 0 for one that is free")
        })?;
        listener.set_nonblocking(true).context("the listening socket")?;
        let address = listener.local_addr().context("the listening socket")?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                "everyone who reaches {address} can see the runs, stop them and use their networks; \
                 there is no password"
            );
        }
        Ok(Self { listener, address })
    }

    /// The address of the page.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves until the program ends.
    ///
    /// # Errors
    /// A thread that the system does not start.
    pub(crate) fn run(self, content: Content) -> Result<()> {
        let runtime = runtime()?;
        runtime.block_on(self.serve(content))
    }

    /// Serves on a thread of its own, which ends with the program.
    ///
    /// # Errors
    /// A thread that the system does not start.
    pub(crate) fn spawn(self, content: Content) -> Result<()> {
        let runtime = runtime()?;
        let serve = move || {
            if let Err(error) = runtime.block_on(self.serve(content)) {
                tracing::warn!("the page has ended: {error:#}");
            }
        };
        std::thread::Builder::new()
            .name("serve".into())
            .spawn(serve)
            .context("starting a thread")?;
        Ok(())
    }

    async fn serve(self, content: Content) -> Result<()> {
        let listener = tokio::net::TcpListener::from_std(self.listener).context("the socket")?;
        let site = Arc::new(Site {
            guard: Guard::new(self.address),
            runs: Arc::new(Runs::new(content.runs, content.weights)),
            engine: Engine::start(content.pool)?,
            updates: watch::Sender::new(Arc::from("")),
            listened: Notify::new(),
        });
        tokio::spawn(site.clone().look());
        connections::accept(listener, site).await
    }
}

fn runtime() -> Result<Runtime> {
    Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(FILE_THREADS)
        .build()
        .context("starting the server")
}

//! Connections between ranks: bytes from one to all, and the news of a rank that failed or is lost.
//!
//! Rank 0 has a connection to each of the others and passes on what is for all. A thread listens to each
//! connection, so that the news arrives whatever the rank itself waits for.

use crate::error::{Error, Result};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, sleep};
use std::time::Duration;

/// Time between two looks at whether a rank has failed.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Looks after which a rank that cannot be written to has failed, though nobody says so.
const LOOKS: usize = 100;

/// Kinds of messages. Each has a byte for its kind, a rank (u32), the number of bytes (u64), and these.
mod kind {
    /// The sender is there.
    pub(super) const HEARTBEAT: u8 = 0;
    /// Bytes for the receiver.
    pub(super) const BYTES: u8 = 1;
    /// The rank has failed; the bytes are the reason.
    pub(super) const FAILED: u8 = 2;
    /// The sender ends in order.
    pub(super) const END: u8 = 3;
}

/// The first rank that failed, of those that this one knows of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) rank: usize,
    pub(super) reason: String,
    /// Whether another rank has told this one, and so knew it before.
    pub(super) is_told: bool,
}

/// The connections of a rank.
pub(super) struct Links {
    shared: Arc<Shared>,
    /// The bytes from each rank that there is a connection to.
    inboxes: Vec<Mutex<Receiver<Vec<u8>>>>,
}

/// What the threads of a rank share.
struct Shared {
    rank: usize,
    /// From rank 0 to the ranks from 1 on; from any other to rank 0.
    streams: Vec<Mutex<TcpStream>>,
    failure: OnceLock<Failure>,
    /// Called by the thread that first finds or hears of a failure.
    on_failure: Box<dyn Fn(&Failure) + Send + Sync>,
    /// Whether this rank has ended in order. What others do then is their own affair.
    is_over: AtomicBool,
}

impl Links {
    /// Takes the connections that [`super::rendezvous::rendezvous`] has made. A rank that says nothing for
    /// `timeout` is lost. `on_failure` is called once, when another rank fails or is lost.
    ///
    /// # Errors
    /// [`Error::Ranks`]: a connection that cannot be set up; a thread that cannot be started.
    pub(super) fn new(
        rank: usize,
        streams: Vec<TcpStream>,
        timeout: Duration,
        on_failure: impl Fn(&Failure) + Send + Sync + 'static,
    ) -> Result<Self> {
        let failed = |error: io::Error| Error::Ranks(format!("connecting ranks: {error}"));
        let readers = streams.iter().map(|stream| {
            stream.set_nodelay(true)?;
            // It is tried twice.
            stream.set_read_timeout(Some(timeout / 2))?;
            stream.set_write_timeout(Some(timeout))?;
            stream.try_clone()
        });
        let readers = readers.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        let shared = Arc::new(Shared {
            rank,
            streams: streams.into_iter().map(Mutex::new).collect(),
            failure: OnceLock::new(),
            on_failure: Box::new(on_failure),
            is_over: AtomicBool::new(false),
        });
        let mut inboxes = Vec::new();
        for (index, stream) in readers.into_iter().enumerate() {
            let (sender, receiver) = channel();
            inboxes.push(Mutex::new(receiver));
            let shared = shared.clone();
            start(move || shared.listen(shared.peer(index), stream, &sender)).map_err(failed)?;
        }
        let beats = shared.clone();
        start(move || beats.heartbeat(timeout / 8)).map_err(failed)?;
        Ok(Self { shared, inboxes })
    }

    pub(super) fn rank(&self) -> usize {
        self.shared.rank
    }

    /// Returns the bytes of the rank `root` on every rank, which all must call this.
    ///
    /// # Errors
    /// [`Error::Rank`]: a rank that failed or is lost.
    pub(super) fn broadcast(&self, root: usize, bytes: Vec<u8>) -> Result<Vec<u8>> {
        let rank = self.shared.rank;
        let bytes = match rank {
            _ if rank == root => bytes,
            // All but rank 0 hear it from there.
            _ => self.receive(if rank == 0 { root - 1 } else { 0 })?,
        };
        if rank == root || rank == 0 {
            for index in 0..self.inboxes.len() {
                let peer = self.shared.peer(index);
                if peer != root {
                    let sent = self.shared.send(index, kind::BYTES, rank, &bytes);
                    sent.map_err(|error| self.failed(peer, &describe(&error)))?;
                }
            }
        }
        Ok(bytes)
    }

    /// Tells the other ranks that this one failed. Returns whether it is the first that did, as far as it
    /// knows.
    pub(super) fn fail(&self, reason: &str) -> bool {
        let shared = &self.shared;
        let failure = Failure { rank: shared.rank, reason: reason.to_string(), is_told: false };
        let is_first = shared.failure.set(failure).is_ok();
        if is_first {
            shared.tell(shared.rank, reason);
        }
        is_first
    }

    fn receive(&self, index: usize) -> Result<Vec<u8>> {
        let inbox = lock(&self.inboxes[index]);
        loop {
            match inbox.recv_timeout(LOOK_EVERY) {
                Ok(bytes) => return Ok(bytes),
                Err(RecvTimeoutError::Timeout) if self.shared.failure.get().is_none() => {}
                Err(_) => return Err(self.failed(self.shared.peer(index), GONE)),
            }
        }
    }

    /// The error of the first rank that failed, or else of `rank` for this reason.
    fn failed(&self, rank: usize, reason: &str) -> Error {
        let failure = &self.shared.failure;
        // A thread that listens may be about to hear more.
        for _ in (0..LOOKS).take_while(|_| failure.get().is_none()) {
            sleep(LOOK_EVERY);
        }
        let unheard = Failure { rank, reason: reason.to_string(), is_told: false };
        let Failure { rank, reason, .. } = self.shared.note(unheard).clone();
        Error::Rank { rank, reason }
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for index in 0..self.inboxes.len() {
            // Who has ended before does not hear it.
            let _ = self.shared.send(index, kind::END, self.shared.rank, &[]);
            let _ = lock(&self.shared.streams[index]).shutdown(Shutdown::Write);
        }
    }
}

impl Shared {
    /// The rank that a connection leads to.
    fn peer(&self, index: usize) -> usize {
        if self.rank == 0 { index + 1 } else { 0 }
    }

    fn send(&self, index: usize, kind: u8, rank: usize, bytes: &[u8]) -> io::Result<()> {
        write(&mut lock(&self.streams[index]), kind, rank, bytes)
    }

    /// Says that a rank has failed, to all that are connected but itself.
    fn tell(&self, rank: usize, reason: &str) {
        for index in (0..self.streams.len()).filter(|index| self.peer(*index) != rank) {
            // Who is gone need not know.
            let _ = self.send(index, kind::FAILED, rank, reason.as_bytes());
        }
    }

    /// Hands on the bytes that a rank sends, until it ends or fails.
    fn listen(&self, peer: usize, mut stream: TcpStream, inbox: &Sender<Vec<u8>>) {
        let failure = loop {
            match read(&mut stream) {
                Ok((kind::HEARTBEAT, ..)) => {}
                Ok((kind::BYTES, _, bytes)) => {
                    if inbox.send(bytes).is_err() {
                        return;
                    }
                }
                Ok((kind::END, ..)) => return,
                Ok((kind::FAILED, rank, reason)) => {
                    let reason = String::from_utf8_lossy(&reason).into_owned();
                    break Failure { rank, reason, is_told: true };
                }
                Ok((other, ..)) => {
                    let reason = format!("has sent a message of kind {other}, which no rank sends");
                    break Failure { rank: peer, reason, is_told: false };
                }
                Err(error) => {
                    break Failure { rank: peer, reason: describe(&error), is_told: false };
                }
            }
        };
        if !self.is_over.load(Ordering::SeqCst) {
            self.note(failure);
        }
    }

    /// Returns the first failure. Where it is this one, rank 0 passes it on, and `on_failure` is called.
    fn note(&self, failure: Failure) -> &Failure {
        let mut is_first = false;
        let first = self.failure.get_or_init(|| {
            is_first = true;
            failure
        });
        if is_first {
            if self.rank == 0 {
                self.tell(first.rank, &first.reason);
            }
            (self.on_failure)(first);
        }
        first
    }

    /// Shows the other ranks that this one is there, also while it computes.
    fn heartbeat(&self, every: Duration) {
        while !self.is_over.load(Ordering::SeqCst) {
            for stream in &self.streams {
                // Who sends something now is heard without.
                if let Ok(mut stream) = stream.try_lock() {
                    let _ = write(&mut stream, kind::HEARTBEAT, self.rank, &[]);
                }
            }
            sleep(every);
        }
    }
}

/// Why a rank is lost whose connection ends.
const GONE: &str = "has ended before the others: it was killed, or its connection is lost";

fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => {
            GONE.into()
        }
        _ if is_timeout(error) => "has stopped, or its machine cannot be reached".into(),
        _ => format!("its connection is lost: {error}"),
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn write(stream: &mut TcpStream, kind: u8, rank: usize, bytes: &[u8]) -> io::Result<()> {
    let mut head = vec![kind];
    head.extend((rank as u32).to_le_bytes());
    head.extend((bytes.len() as u64).to_le_bytes());
    stream.write_all(&head)?;
    stream.write_all(bytes)
}

/// Reads a message: its kind, its rank and its bytes.
fn read(stream: &mut TcpStream) -> io::Result<(u8, usize, Vec<u8>)> {
    let (mut kind, mut rank, mut length) = ([0], [0; 4], [0; 8]);
    match stream.read_exact(&mut kind) {
        // All ranks may have been suspended, in which the time runs out.
        Err(error) if is_timeout(&error) => stream.read_exact(&mut kind)?,
        read => read?,
    }
    stream.read_exact(&mut rank)?;
    stream.read_exact(&mut length)?;
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::new();
    // Memory grows with what arrives, not with what is announced.
    if stream.take(length).read_to_end(&mut bytes)? as u64 != length {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok((kind[0], u32::from_le_bytes(rank) as usize, bytes))
}

fn start(run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name("ranks".into()).spawn(run).map(drop)
}

/// Locks what no panic leaves half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

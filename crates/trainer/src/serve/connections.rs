//! Accepts connections and limits what they can take: their number, the time of their headers, the size
//! and time of their bodies, the memory of all bodies together, and the time that an answer waits to be
//! read.

use super::api;
use super::reply::{Failure, Reply, failure};
use super::site::Site;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;

/// Connections that are open at a time; more are told so and closed.
const CONNECTIONS: usize = 64;
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\
    Content-Length: 30\r\nConnection: close\r\n\r\ntoo many connections at a time";
/// Time that the headers of a request may take, and that a connection may wait for one.
const HEADERS_IN: Duration = Duration::from_secs(10);
/// Time that the body of a request may take.
const BODY_IN: Duration = Duration::from_secs(20);
/// Time that a client may read nothing of an answer.
const NOTHING_READ: Duration = Duration::from_secs(20);
/// Largest body of a request: an image file, 16 MiB.
const LARGEST_BODY: usize = 16 << 20;
/// Most bytes of all bodies at a time, those that wait for the networks too.
const ALL_BODIES: usize = 4 * LARGEST_BODY;
/// Most bytes that a connection keeps of a request before it is read.
const BUFFER: usize = 64 << 10;
/// Time until the next try where the system has no connection to give, as without free descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests for ever.
pub(super) async fn accept(listener: TcpListener, site: Arc<Site>) -> anyhow::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let memory = Arc::new(Semaphore::new(ALL_BODIES));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        let Ok(permit) = free.clone().try_acquire_owned() else {
            // Nobody is waited for: the socket does not block.
            let _ = stream.into_std().and_then(|mut stream| stream.write(TOO_MANY));
            continue;
        };
        let (site, memory) = (site.clone(), memory.clone());
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(NOTHING_READ));
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(site.clone(), memory.clone(), request));
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEADERS_IN).max_buf_size(BUFFER);
            // A connection that breaks is the browser's business.
            let _ = http.serve_connection(TokioIo::new(Box::pin(stream)), answer).await;
            drop(permit);
        });
    }
}

async fn answer(
    site: Arc<Site>,
    memory: Arc<Semaphore>,
    request: Request<Incoming>,
) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    if let Err((status, text)) = site.guard.check(&parts.method, &parts.headers) {
        return Ok(failure(Failure::new(status, text)));
    }
    let body = match parts.method {
        Method::POST => read(body, memory).await,
        _ => Ok(Bytes::new()),
    };
    let reply = match body {
        Ok(body) => api::answer(&site, &parts, body).await,
        Err(error) => Err(error),
    };
    Ok(reply.unwrap_or_else(failure))
}

/// A body, and its part of the memory of all bodies until it is dropped.
struct Counted {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads the body of a request.
async fn read(body: Incoming, memory: Arc<Semaphore>) -> Result<Bytes, Failure> {
    let too_large = || {
        let text = format!("more than the {} MiB that an image file may have", LARGEST_BODY >> 20);
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text)
    };
    // Refused before it is sent, where its length is known.
    if body.size_hint().lower() > LARGEST_BODY as u64 {
        return Err(too_large());
    }
    let most = body.size_hint().upper().map_or(LARGEST_BODY, |upper| upper as usize);
    let busy = "too many image files at a time; send this one again";
    let permit = memory
        .try_acquire_many_owned(most.min(LARGEST_BODY) as u32)
        .map_err(|_| Failure::new(StatusCode::SERVICE_UNAVAILABLE, busy))?;
    match timeout(BODY_IN, Limited::new(body, LARGEST_BODY).collect()).await {
        Ok(Ok(body)) => Ok(Bytes::from_owner(Counted { bytes: body.to_bytes(), _permit: permit })),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(Failure::bad("the request broke off")),
        Err(_) => Err(Failure::new(StatusCode::REQUEST_TIMEOUT, "the request took too long")),
    }
}

//! Answers to requests: their bodies, headers and errors.

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::convert::Infallible;

/// The answer to a request.
pub(super) type Reply = Response<BoxBody<Bytes, Infallible>>;

/// A request that cannot be answered: the status and one line that says why.
#[derive(Debug)]
pub(super) struct Failure(pub(super) StatusCode, pub(super) String);

impl Failure {
    pub(super) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self(status, text.into())
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such thing here")
    }

    /// A request whose content is at fault.
    pub(super) fn bad(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }
}

/// What cannot be read or computed, with its causes on one line.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, format!("{error:#}"))
    }
}

/// Only this server's own scripts, styles, images and data are allowed, and no other page may show this
/// one or read its answers.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
];

/// An answer of these bytes.
pub(super) fn bytes(content_type: &'static str, bytes: impl Into<Bytes>) -> Reply {
    stream(content_type, Full::new(bytes.into()))
}

/// An answer whose body comes in pieces.
pub(super) fn stream(
    content_type: &'static str,
    body: impl Body<Data = Bytes, Error = Infallible> + Send + Sync + 'static,
) -> Reply {
    let mut reply = Response::new(body.boxed());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    reply
}

/// An answer in JSON.
pub(super) fn json(value: &impl Serialize) -> Result<Reply, Failure> {
    let text =
        serde_json::to_vec(value).map_err(|error| Failure::from(anyhow::Error::from(error)))?;
    Ok(bytes("application/json", text))
}

/// An answer that says why there is none.
pub(super) fn failure(Failure(status, text): Failure) -> Reply {
    let mut reply = bytes("text/plain; charset=utf-8", text);
    *reply.status_mut() = status;
    reply
}

/// A server-sent event.
pub(super) fn event(data: &str) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("data: {data}\n\n")))
}

/// A comment in a stream of events, which shows whether the reader is still there.
pub(super) fn keep_alive() -> Frame<Bytes> {
    Frame::data(Bytes::from_static(b":\n\n"))
}

//! Answers requests: the page's files, and what the page asks for.

use super::assets;
use super::models::{Drawing, Inverted, Judgement};
use super::reply::{self, Failure, Reply};
use super::runs::Runs;
use super::site::Site;
use super::stats::{self, Cursor};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::channel::Channel;
use hyper::body::Bytes;
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Time after which a stream without events shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const PNG: &str = "image/png";

/// A request that is allowed.
struct Query<'a> {
    site: &'a Arc<Site>,
    /// GET changes nothing; the other method is POST.
    is_get: bool,
    /// What follows the question mark.
    text: &'a str,
    body: Bytes,
}

/// Answers a request that is allowed.
///
/// # Errors
/// The reason why there is no answer.
pub(super) async fn answer(site: &Arc<Site>, parts: &Parts, body: Bytes) -> Result<Reply, Failure> {
    let path = parts.uri.path();
    let is_get = match parts.method {
        Method::GET => true,
        Method::POST => false,
        _ => {
            let text = "GET and POST are the methods here";
            return Err(Failure::new(StatusCode::METHOD_NOT_ALLOWED, text));
        }
    };
    if let (true, Some((content_type, text))) = (is_get, assets::find(path)) {
        return Ok(reply::bytes(content_type, text));
    }
    let segments: Vec<String> = path.split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let query = Query { site, is_get, text: parts.uri.query().unwrap_or_default(), body };
    match (is_get, &segments[..]) {
        (true, ["api", "events"]) => Ok(events(site)),
        (true, ["api", "runs"]) => query.files(|runs| runs.list()).await,
        (_, ["api", "runs", name, action @ ..]) => of_run(query, (*name).to_string(), action).await,
        (true, ["api", "generators"]) => query.files(|runs| runs.generators()).await,
        (_, ["api", "generators", kind, name, action @ ..]) => {
            let (kind, name) = ((*kind).to_string(), (*name).to_string());
            let path = query.read(move |runs| runs.generator(&kind, &name)).await?;
            of_generator(query, path, action).await
        }
        _ => Err(Failure::not_found()),
    }
}

/// Answers a request about a run.
async fn of_run(query: Query<'_>, name: String, action: &[&str]) -> Result<Reply, Failure> {
    match (query.is_get, action) {
        (true, []) => query.files(move |runs| runs.detail(&name)).await,
        (true, ["stats"]) => {
            let after = match query.value("after")? {
                Some(after) => after.parse().map_err(|()| Failure::bad("no such cursor"))?,
                None => Cursor::default(),
            };
            query.files(move |runs| news(runs, &name, after)).await
        }
        (true, ["samples", step]) => {
            let step = step.strip_suffix(".png").and_then(|step| step.parse().ok());
            let step = step.ok_or_else(Failure::not_found)?;
            Ok(reply::bytes(PNG, query.read(move |runs| runs.sample(&name, step)).await?))
        }
        (false, ["stop"]) => query.files(move |runs| runs.stop(&name)).await,
        (false, ["judge"]) => {
            let run = query.read(move |runs| runs.find(&name)).await?;
            let (engine, body) = (&query.site.engine, query.body);
            let judged = engine.run(move |models| models.judge_image(&run, &body)).await?;
            let Judgement { seen, .. } = &judged;
            reply::json(&with(&judged, json!({ "seen": data_url(seen) }))?)
        }
        _ => Err(Failure::not_found()),
    }
}

/// Answers a request about the generator of a directory.
async fn of_generator(query: Query<'_>, path: PathBuf, action: &[&str]) -> Result<Reply, Failure> {
    let class = query.value("class")?;
    let engine = &query.site.engine;
    match (query.is_get, action) {
        (true, []) => reply::json(&engine.run(move |models| models.describe(&path)).await?),
        (true, ["latent"]) => {
            let seed = query.value("seed")?.and_then(|seed| seed.parse().ok());
            let seed = seed.ok_or_else(|| Failure::bad("a seed is a whole number"))?;
            reply::json(&engine.run(move |models| models.latent(&path, seed)).await?)
        }
        (true, ["directions"]) => {
            let find = engine.run(move |models| models.directions(&path, class.as_deref()));
            reply::json(&find.await?)
        }
        (false, ["images"]) => {
            let drawing: Drawing = serde_json::from_slice(&query.body)
                .map_err(|error| Failure::bad(format!("latents: {error}")))?;
            let draw = engine.run(move |models| models.draw(&path, drawing));
            Ok(reply::bytes(PNG, draw.await?))
        }
        (false, ["invert"]) => {
            let body = query.body;
            let invert = engine.run(move |models| models.invert(&path, class.as_deref(), &body));
            let found = invert.await?;
            let Inverted { images: [original, drawn], .. } = &found;
            let images = json!({ "original": data_url(original), "drawn": data_url(drawn) });
            reply::json(&with(&found, images)?)
        }
        _ => Err(Failure::not_found()),
    }
}

impl Query<'_> {
    /// The value of a key after the question mark.
    fn value(&self, key: &str) -> Result<Option<String>, Failure> {
        let of = |pair: &'_ str| Some(pair.strip_prefix(key)?.strip_prefix('=')?.to_string());
        self.text.split('&').find_map(of).map(|value| decoded(&value)).transpose()
    }

    /// Reads files on a thread where that may take time.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Runs) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let runs = self.site.runs.clone();
        let failed = |_| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, "this cannot be read");
        tokio::task::spawn_blocking(move || read(&runs)).await.map_err(failed)?
    }

    /// Answers with what was read, in JSON.
    async fn files<T: Serialize + Send + 'static>(
        &self,
        read: impl FnOnce(&Runs) -> Result<T, Failure> + Send + 'static,
    ) -> Result<Reply, Failure> {
        reply::json(&self.read(read).await?)
    }
}

/// A stream that gets the list of runs whenever it changes.
fn events(site: &Arc<Site>) -> Reply {
    let (mut send, body) = Channel::<Bytes, Infallible>::new(2);
    let mut updates = site.listen();
    tokio::spawn(async move {
        loop {
            let frame = match timeout(KEEP_ALIVE, updates.changed()).await {
                Ok(Ok(())) => {
                    let list = updates.borrow_and_update().clone();
                    // Before the first look at the runs.
                    if list.is_empty() { reply::keep_alive() } else { reply::event(&list) }
                }
                Ok(Err(_)) => return,
                Err(_) => reply::keep_alive(),
            };
            // A reader that takes nothing is gone.
            match timeout(KEEP_ALIVE, send.send(frame)).await {
                Ok(Ok(())) => {}
                _ => return,
            }
        }
    });
    reply::stream("text/event-stream", body)
}

/// The statistics of a run after a cursor.
fn news(runs: &Runs, name: &str, after: Cursor) -> Result<stats::News, Failure> {
    let path = runs.find(name)?.join("stats.jsonl");
    let read = stats::read(&path, after).map_err(|error| Failure::from(anyhow::Error::from(error)));
    Ok(read?.1)
}

/// A JSON object with more members.
fn with(value: &impl Serialize, more: Value) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(value).map_err(anyhow::Error::from)?;
    if let (Some(object), Value::Object(more)) = (value.as_object_mut(), more) {
        object.extend(more);
    }
    Ok(value)
}

fn data_url(png: &[u8]) -> String {
    format!("data:{PNG};base64,{}", STANDARD.encode(png))
}

/// A part of a path or query without its escapes.
fn decoded(text: &str) -> Result<String, Failure> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(|text| text.into_owned()).map_err(|_| Failure::bad("the address is no text"))
}

//! The configuration and the statistics of a run, read from its directory.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use gan_files::SETTINGS_LIMIT;
use serde_json::{Map, Value};

use super::command::portable;

/// The values of a JSON object, by name.
pub(super) type Fields = Map<String, Value>;

/// The largest `stats.jsonl` that is shown: 256 MiB. All of its lines are kept while the page is made.
const STATS_LIMIT: u64 = 256 << 20;

/// The contents of a run's files.
pub(super) struct Record {
    pub(super) name: String,
    /// `config.json`, [portable](super::command::portable).
    pub(super) config: Fields,
    /// The lines of `stats.jsonl`.
    pub(super) lines: Vec<Fields>,
    /// `evaluation.json`, where there is one.
    pub(super) evaluation: Option<Fields>,
}

/// An image or an animation, and its caption.
pub(super) struct Figure {
    pub(super) caption: String,
    pub(super) media_type: &'static str,
    pub(super) bytes: Vec<u8>,
}

/// Reads `config.json`.
///
/// # Errors
/// The file is missing or is not a JSON object.
pub(super) fn config(run: &Path) -> Result<Fields> {
    let path = run.join("config.json");
    Ok(portable(object(&path, "a run's configuration")?))
}

/// Reads a file that holds a JSON object, which is called `what` in errors.
///
/// # Errors
/// The file is missing or holds something else.
pub(super) fn object(path: &Path, what: &str) -> Result<Fields> {
    let text = gan_files::read_to_string(path, SETTINGS_LIMIT)
        .with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| format!("{}: not {what}", path.display()))
}

/// Reads the undamaged lines of `stats.jsonl`, and adds the number of damaged ones to `left_out`. An
/// undamaged line is an object whose `step` is a whole number.
///
/// # Errors
/// The file is missing, is not text, or has no undamaged line.
pub(super) fn lines(run: &Path, left_out: &mut Vec<String>) -> Result<Vec<Fields>> {
    let path = run.join("stats.jsonl");
    let text = gan_files::read_to_string(&path, STATS_LIMIT)
        .with_context(|| path.display().to_string())?;
    let line = |text| {
        let line: Fields = serde_json::from_str(text).ok()?;
        line.get("step").is_some_and(Value::is_u64).then_some(line)
    };
    let lines: Vec<_> = text.lines().filter_map(line).collect();
    match text.lines().count() - lines.len() {
        0 => {}
        damaged => left_out.push(format!("{}: damaged lines: {damaged}", path.display())),
    }
    ensure!(!lines.is_empty(), "{}: no statistics yet", path.display());
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sections_are_read_as_earlier_versions_wrote_their_values() {
        let fields = |value: Value| value.as_object().cloned().unwrap_or_default();
        let nested = fields(json!({
            "seed": 7, "training": { "batch_size": 32, "generator_adam": { "lr": 0.001 } },
            "schedule": { "sample_every": 50 }
        }));
        let flat = fields(json!({
            "seed": 7, "batch_size": 32, "generator_adam": { "lr": 0.001 }, "sample_every": 50
        }));
        assert_eq!(portable(nested), flat);
        assert_eq!(portable(flat.clone()), flat);
        let odd = fields(json!({ "training": 3 }));
        assert_eq!(portable(odd), Fields::new());
    }
}

//! Numbers, records and tables as HTML.

use maud::{Markup, html};
use serde_json::Value;

use super::meanings::{self, meaning};
use super::record::Fields;

/// Approximate maximum number of rows of the table of metrics.
const ROWS: usize = 40;

/// Keys of a configuration that come first, in this order.
const FIRST_IN_CONFIG: [&str; 13] = [
    "recipe",
    "dataset",
    "classes",
    "images",
    // The name of `images` in earlier versions.
    "pictures",
    "steps",
    "batch_size",
    "seed",
    "precision",
    "loss",
    "update",
    "generator_adam",
    "discriminator_adam",
];

/// Keys of a line of statistics, and of its quality, that come first, in this order.
const FIRST_IN_LINE: [&str; 10] = [
    "step",
    "epoch",
    "fd-mnistnet-2k",
    "fd-r64-2k",
    "precision",
    "recall",
    "class_accuracy",
    "discriminator_loss",
    "generator_loss",
    "real_score",
];

/// A whole number with commas between its thousands.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured value, rounded to about three digits.
pub(super) fn rounded(value: &Value) -> String {
    match (value.as_u64(), value.as_f64()) {
        (Some(whole), _) => thousands(whole),
        (None, Some(number)) => match number.abs() {
            100.0.. => format!("{number:.0}"),
            10.0..100.0 => format!("{number:.1}"),
            1.0..10.0 => format!("{number:.2}"),
            0.0 => "0".to_string(),
            0.001..1.0 => format!("{number:.3}"),
            _ => format!("{number:.1e}"),
        },
        _ => exact(value),
    }
}

/// A value without rounding; lists and records on one line.
pub(super) fn exact(value: &Value) -> String {
    match value {
        Value::Null => "none".to_string(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "all".to_string(),
        Value::Array(all) => all.iter().map(exact).collect::<Vec<_>>().join(", "),
        Value::Object(record) => {
            let field =
                |(key, value): (&String, &Value)| format!("{} {}", words(key), exact(value));
            record.iter().map(field).collect::<Vec<_>>().join(", ")
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A key with spaces in place of underscores.
pub(super) fn words(key: &str) -> String {
    key.replace('_', " ")
}

/// The keys of a record, those of `first` before the others.
fn ordered<'a>(record: &'a Fields, first: &[&str]) -> Vec<&'a String> {
    let mut keys: Vec<&String> = record.keys().collect();
    keys.sort_by_key(|key| first.iter().position(|name| name == key).unwrap_or(first.len()));
    keys
}

/// A configuration as a table, its nested values folded.
pub(super) fn config(config: &Fields) -> Markup {
    html! {
        table.record {
            @for key in ordered(config, &FIRST_IN_CONFIG) {
                tr { th { (words(key)) } td { (cell(&config[key])) } }
            }
        }
    }
}

fn cell(value: &Value) -> Markup {
    if is_flat(value) {
        return html! { (exact(value)) };
    }
    let keys = value.as_object().into_iter().flat_map(Fields::keys);
    let keys: Vec<String> = keys.map(|key| words(key)).collect();
    html! { details { summary { (keys.join(", ")) } (nested(value)) } }
}

/// Whether a value fits on one line: no list or record inside a list or record.
fn is_flat(value: &Value) -> bool {
    let single = |value: &Value| !value.is_array() && !value.is_object();
    match value {
        Value::Array(all) => all.iter().all(single),
        Value::Object(record) => record.values().all(single),
        _ => true,
    }
}

/// The values of a record or a list as an HTML list.
fn nested(value: &Value) -> Markup {
    match value {
        Value::Object(record) => html! {
            ul { @for (key, value) in record { (item(&words(key), value)) } }
        },
        Value::Array(all) => html! { ol { @for value in all { (item("", value)) } } },
        _ => html! { (exact(value)) },
    }
}

fn item(name: &str, value: &Value) -> Markup {
    if is_flat(value) || name.is_empty() {
        html! { li { (name) " " (exact(value)) } }
    } else {
        html! { li { (name) (nested(value)) } }
    }
}

/// A line of statistics whose nested values stand at the top level.
pub(super) fn flat(line: &Fields) -> Fields {
    let mut all = Fields::new();
    for (key, value) in line {
        match value {
            // The names of metrics need no prefix, except where the discriminator has the same.
            Value::Object(record) if key == "quality" => {
                all.extend(record.iter().filter_map(|(key, value)| {
                    let name = match key.as_str() {
                        "images" | "pictures" => return None,
                        // The second is its name in earlier versions.
                        "accuracy" | "agreement" => "class_accuracy",
                        name => name,
                    };
                    Some((name.to_string(), value.clone()))
                }));
            }
            Value::Object(record) => {
                all.extend(record.iter().map(|(inner, v)| (format!("{inner} {key}"), v.clone())));
            }
            _ => drop(all.insert(key.clone(), value.clone())),
        }
    }
    all
}

/// The numbers of one line as a list of names, values and meanings.
pub(super) fn numbers(line: &Fields) -> Markup {
    let line = flat(line);
    let shown = ordered(&line, &FIRST_IN_LINE).into_iter().filter(|key| !line[*key].is_null());
    html! {
        dl {
            @for key in shown {
                div {
                    dt { (words(key)) }
                    dd { (rounded(&line[key])) }
                    @if let Some(text) = meaning(key) { dd.meaning { (text) } }
                }
            }
        }
    }
}

/// The metrics of an evaluation: of generated images, of real ones, and what they say.
pub(super) fn evaluation(evaluation: &Fields) -> Option<Markup> {
    let column = |name: &str| evaluation.get(name)?.as_object();
    let metrics = |name: &str| column(name)?.get("metrics")?.as_object();
    let (generated, real) = (metrics("generated")?, metrics("real")?);
    let count = |name: &str| column(name)?.get("images")?.as_u64().map(thousands);
    let heading = |name: &str| match count(name) {
        Some(count) => format!("{name} ({count} images)"),
        None => name.to_string(),
    };
    // Names hold the number of images, in which the columns may differ; without it they are the same.
    let short = |name: &str| name.rsplit_once('-').map_or(name, |(short, _)| short).to_string();
    let beside = |name: &str| {
        let of_real = real.get(name).or_else(|| {
            real.iter().find(|(other, _)| short(other) == short(name)).map(|(_, value)| value)
        });
        of_real.map(rounded).unwrap_or_default()
    };
    let mut names: Vec<&String> = generated.keys().collect();
    names.sort_by_key(|name| meanings::position(name));
    Some(html! {
        p { "The real column holds the values of real images that were not trained on: the best that a \
             generator can be expected to reach." }
        div.wide {
            table.evaluation {
                tr { th { "metric" } th { (heading("generated")) } th { (heading("real")) } }
                @for name in names {
                    tr {
                        td {
                            (name)
                            @if let Some(text) = meaning(name) { div.meaning { (text) } }
                        }
                        td { (rounded(&generated[name])) }
                        td { (beside(name)) }
                    }
                }
            }
        }
    })
}

/// The Fréchet distance of a line and its name; the smallest one marks the best generator.
pub(super) fn distance(line: &Fields) -> Option<(&str, f64)> {
    let quality = line.get("quality")?.as_object()?;
    let (key, value) = quality.iter().find(|(key, _)| key.starts_with("fd-"))?;
    Some((key, value.as_f64()?))
}

/// The lines with metrics, and the best of them. Distances of another name than the last one's, which
/// an earlier version measured, do not compare.
pub(super) fn measured(lines: &[Fields]) -> (Vec<&Fields>, Option<&Fields>) {
    let measured: Vec<_> =
        lines.iter().filter(|line| line.get("quality").is_some_and(Value::is_object)).collect();
    let last = measured.iter().rev().find_map(|line| distance(line)).map(|(name, _)| name);
    let of = |line: &Fields| match distance(line) {
        Some((name, value)) if Some(name) == last => value,
        _ => f64::INFINITY,
    };
    let best = measured.iter().copied().min_by(|a, b| of(a).total_cmp(&of(b)));
    (measured, best)
}

/// The table of metrics: about [`ROWS`] of the rows, with the best and the last one.
pub(super) fn metrics(lines: &[Fields]) -> Option<Markup> {
    let (measured, best) = measured(lines);
    let best = best?;
    let every = measured.len().div_ceil(ROWS);
    let last = measured.len() - 1;
    let shown: Vec<_> = measured
        .iter()
        .enumerate()
        .filter(|(i, line)| i.is_multiple_of(every) || *i == last || std::ptr::eq(**line, best))
        .map(|(_, line)| (flat(line), std::ptr::eq(*line, best)))
        .collect();
    // A column without values is left out.
    let all: Fields = shown
        .iter()
        .flat_map(|(line, _)| line.clone())
        .filter(|(_, value)| !value.is_null())
        .collect();
    let columns = ordered(&all, &FIRST_IN_LINE);
    let value = |line: &Fields, key: &str| match line.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(value) => rounded(value),
    };
    Some(html! {
        div.wide {
            table.numbers {
                tr { @for key in &columns { th { (words(key)) } } }
                @for (line, is_best) in &shown {
                    tr class=[is_best.then_some("best")] {
                        @for key in &columns { td { (value(line, key)) } }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_rounded_to_three_digits() {
        for (value, text) in [
            (json!(15000), "15,000"),
            (json!(659.67), "660"),
            (json!(48.47), "48.5"),
            (json!(1.1949), "1.19"),
            (json!(0.9876), "0.988"),
            (json!(-0.5), "-0.500"),
            (json!(0.0), "0"),
            (json!(0.00002), "2.0e-5"),
            (json!("collapsed"), "collapsed"),
        ] {
            assert_eq!(rounded(&value), text);
        }
        assert_eq!(exact(&json!({ "lr": 0.001, "beta1": 0.5 })), "beta1 0.5, lr 0.001");
        assert_eq!(exact(&json!([])), "all");
    }

    #[test]
    fn accuracies_of_generator_and_discriminator_are_two() {
        for key in ["accuracy", "agreement"] {
            let line = json!({ "accuracy": 0.5, "quality": { key: 0.9, "images": 7 } });
            let line = flat(line.as_object().unwrap_or(&Fields::new()));
            assert_eq!(Value::from(line), json!({ "accuracy": 0.5, "class_accuracy": 0.9 }));
        }
    }

    #[test]
    fn distances_of_different_networks_do_not_compare() {
        let line = |name: &str, distance: f64| {
            let line = json!({ "step": 1, "quality": { name: distance } });
            line.as_object().cloned().unwrap_or_default()
        };
        let lines = [line("fd-mnistnet-2k", 1.0), line("fd-r64-2k", 3.0), line("fd-r64-2k", 5.0)];
        let (measured, best) = measured(&lines);
        assert_eq!((measured.len(), best.and_then(distance)), (3, Some(("fd-r64-2k", 3.0))));
    }

    #[test]
    fn many_metrics_are_thinned_and_the_best_one_stays() {
        let lines: Vec<Fields> = (0..1000)
            .map(|step| {
                let distance = if step == 333 { 1.0 } else { 10.0 };
                let line = json!({
                    "step": step, "updates": { "generator": 2 * step },
                    "quality": { "fd-mnistnet-2k": distance, "images": 7, "pictures": 7, "collapse": null }
                });
                line.as_object().cloned().unwrap_or_default()
            })
            .collect();
        let table = metrics(&lines).unwrap_or_default().into_string();
        assert!((40..45).contains(&table.matches("<tr").count()), "{table}");
        assert!(
            table.contains(
                "<tr><th>step</th><th>fd-mnistnet-2k</th><th>generator updates</th></tr>"
            )
        );
        assert!(table.contains("<tr class=\"best\"><td>333</td><td>1.00</td><td>666</td></tr>"));
        assert!(table.contains("<tr><td>999</td>"));
        assert!(metrics(&[Fields::new()]).is_none());
    }
}

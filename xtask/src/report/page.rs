//! The HTML page of a run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::record::{Fields, Figure, Record};
use super::tables::{self, escape, exact, rounded, thousands};

const STYLE: &str = include_str!("style.css");

/// The whole page of a run.
pub(super) fn page(
    record: &Record,
    figures: &[Figure],
    curves: Option<&str>,
    command: &str,
    left_out: &[String],
) -> String {
    let name = escape(&record.name);
    let mut body = format!("<h1>{name}</h1>\n<p class=\"about\">{}</p>\n", escape(&about(record)));
    if let Some(line) = record.lines.last() {
        body += &section("Final statistics", &(tables::numbers(line) + &best(&record.lines)));
    }
    if !figures.is_empty() {
        let figures: String = figures.iter().map(figure).collect();
        body += &section("Images", &format!("<div class=\"figures\">\n{figures}</div>\n"));
    }
    if let Some(svg) = curves {
        body += &section("Curves", &format!("<div class=\"drawing\">\n{svg}\n</div>\n"));
    }
    if let Some(table) = tables::metrics(&record.lines) {
        body += &section("Metrics during training", &table);
    }
    if !record.config.is_empty() {
        body += &section("Configuration", &tables::config(&record.config));
        let command = format!(
            "<p>On the same machine this command writes the same bytes, with any number of \
             threads. A recipe file must not have changed.</p>\n<pre>{}</pre>\n",
            escape(command)
        );
        body += &section("Repeat this run", &command);
    }
    if !left_out.is_empty() {
        let items: String =
            left_out.iter().map(|what| format!("<li>{}</li>\n", escape(what))).collect();
        body += &section("Left out", &format!("<ul>\n{items}</ul>\n"));
    }
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{name}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )
}

fn section(title: &str, content: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n{content}</section>\n")
}

/// The line under the title: what was trained, and for how many steps.
fn about(record: &Record) -> String {
    let number = |of: &Fields, key: &str| of.get(key).and_then(Value::as_u64);
    let mut parts = Vec::new();
    for key in ["recipe", "dataset"] {
        parts.extend(record.config.get(key).map(|value| format!("{key} {}", exact(value))));
    }
    parts.extend(record.config.get("classes").map(|classes| format!("classes {}", exact(classes))));
    let made = record.lines.last().map_or(Some(0), |line| number(line, "step")).unwrap_or(0);
    match number(&record.config, "steps") {
        Some(steps) if made < steps => {
            parts.push(format!("unfinished: step {} of {}", thousands(made), thousands(steps)));
        }
        _ => parts.push(format!("{} steps", thousands(made))),
    }
    parts.join(" · ")
}

/// The sentence on the step with the smallest distance.
fn best(lines: &[Fields]) -> String {
    let best = tables::measured(lines).1.and_then(|line| Some((line, tables::distance(line)?)));
    let Some((line, (metric, distance))) = best else { return String::new() };
    let step = line.get("step").map(rounded).unwrap_or_default();
    format!(
        "<p>Smallest {}: {} at step {step}.</p>\n",
        escape(metric),
        rounded(&Value::from(distance))
    )
}

fn figure(figure: &Figure) -> String {
    let Figure { caption, media_type, bytes } = figure;
    let caption = escape(caption);
    format!(
        "<figure><img alt=\"Generated images, {caption}\" src=\"data:{media_type};base64,{}\">\
         <figcaption>{caption}</figcaption></figure>\n",
        STANDARD.encode(bytes)
    )
}

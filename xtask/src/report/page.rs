//! The HTML page of a run.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::Value;

use super::record::{Fields, Figure, Record};
use super::tables::{self, exact, rounded, thousands};

const STYLE: &str = include_str!("style.css");

/// What a browser may do with the page: show it. Scripts, connections, forms and files from elsewhere
/// are all forbidden.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; \
                      base-uri 'none'; form-action 'none'";

/// The whole page of a run.
pub(super) fn page(
    record: &Record,
    figures: &[Figure],
    curves: Option<&Figure>,
    command: &str,
    left_out: &[String],
) -> String {
    let body = html! {
        h1 { (record.name) }
        p.about { (about(record)) }
        @if !figures.is_empty() {
            @let figures = html! { div.figures { @for of in figures { (figure(of)) } } };
            (section("Images", &figures))
        }
        @if let Some(table) = record.evaluation.as_ref().and_then(tables::evaluation) {
            (section("Evaluation", &table))
        }
        @if let Some(line) = record.lines.last() {
            (section("Final statistics", &html! { (tables::numbers(line)) (best(&record.lines)) }))
        }
        @if let Some(curves) = curves {
            (section("Curves", &html! { div.drawing { (image(curves, &curves.caption)) } }))
        }
        @if let Some(table) = tables::metrics(&record.lines) {
            (section("Metrics during training", &table))
        }
        @if !record.config.is_empty() {
            (section("Configuration", &tables::config(&record.config)))
            (section("Repeat this run", &repeat(command)))
        }
        @if !left_out.is_empty() {
            (section("Left out", &html! { ul { @for what in left_out { li { (what) } } } }))
        }
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width";
                meta name="color-scheme" content="light dark";
                title { (record.name) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string() + "\n"
}

fn section(title: &str, content: &Markup) -> Markup {
    html! { section { h2 { (title) } (content) } }
}

fn repeat(command: &str) -> Markup {
    html! {
        p {
            "On the same machine this command writes the same bytes, with any number of threads. A \
             recipe file must not have changed."
        }
        pre { (command) }
    }
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
fn best(lines: &[Fields]) -> Markup {
    let best = tables::measured(lines).1.and_then(|line| Some((line, tables::distance(line)?)));
    let Some((line, (metric, distance))) = best else { return Markup::default() };
    let step = line.get("step").map(rounded).unwrap_or_default();
    let distance = rounded(&Value::from(distance));
    html! { p { "Smallest " (metric) ": " (distance) " at step " (step) "." } }
}

fn figure(of: &Figure) -> Markup {
    html! { figure { (image(of, &of.caption)) figcaption { (of.caption) } } }
}

/// An image inside the page. Browsers run no script of an image and fetch nothing for it, be it SVG.
fn image(figure: &Figure, alt: &str) -> Markup {
    let Figure { media_type, bytes, .. } = figure;
    let source = format!("data:{media_type};base64,{}", STANDARD.encode(bytes));
    html! { img alt=(alt) src=(source); }
}

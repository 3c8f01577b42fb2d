//! Draws the curves of a run: losses, scores and, if measured, the Frechet distance.

use crate::format::thousands;
use crate::run::drawing::{Anchor, Color, Drawing, text_width};
use crate::run::record::StatsLine;

const WIDTH: f32 = 800.0;
/// Width and height of a panel's diagram.
const LEFT: f32 = 64.0;
const RIGHT: f32 = 780.0;
const HEIGHT: f32 = 170.0;
/// Distance from the top of a panel to its diagram, and from there to the next panel.
const HEAD: f32 = 38.0;
const PITCH: f32 = HEAD + HEIGHT + 36.0;

/// Larger values are left out, and values nearer to 0 than its inverse are 0 or, on a logarithmic
/// scale, left out: an axis of them would need ticks that f64 cannot hold.
const LARGEST: f64 = 1e100;

/// The scale of a diagram's vertical axis.
#[derive(Clone, Copy, PartialEq)]
enum Scale {
    /// From 0, or from the minimum if that is negative.
    Linear,
    /// From 0 to 1 if all values are between: scores are, except for losses without probabilities.
    Fraction,
    /// Logarithmic.
    Log,
}

/// A curve's name, colour and values.
type Curve = (&'static str, Color, fn(&StatsLine) -> Option<f64>);

const LOSSES: [Curve; 2] = [
    ("discriminator", Color::Red, |line| Some(line.discriminator_loss)),
    ("generator", Color::Blue, |line| Some(line.generator_loss)),
];
const SCORES: [Curve; 2] = [
    ("real, D(x)", Color::Red, |line| Some(line.real_score)),
    ("generated, D(G(z))", Color::Blue, |line| Some(line.fake_score)),
];
const DISTANCE: [Curve; 1] =
    [("fd-mnistnet-2k", Color::Green, |line| line.quality.as_ref().map(|quality| quality.frechet))];

/// Draws the statistics of a run. `lines` is in the order of the steps.
pub(crate) fn curves(lines: &[StatsLine]) -> Drawing {
    let mut panels: Vec<(&str, Scale, &[Curve])> =
        vec![("Losses", Scale::Linear, &LOSSES), ("Scores", Scale::Fraction, &SCORES)];
    if lines.iter().any(|line| line.quality.is_some()) {
        panels.push(("Distance from real images", Scale::Log, &DISTANCE));
    }
    let mut drawing = Drawing::new(WIDTH, PITCH * panels.len() as f32 + 8.0);
    for (i, (title, scale, curves)) in panels.into_iter().enumerate() {
        panel(&mut drawing, PITCH * i as f32, title, scale, curves, lines);
    }
    drawing
}

fn panel(
    drawing: &mut Drawing,
    top: f32,
    title: &str,
    scale: Scale,
    curves: &[Curve],
    lines: &[StatsLine],
) {
    let points_of = |(_, _, value): &Curve| -> Vec<(u64, f64)> {
        let is_shown = |value: &f64| {
            value.abs() <= LARGEST && (scale != Scale::Log || *value >= LARGEST.recip())
        };
        let point = |line: &StatsLine| Some((line.step, value(line).filter(is_shown)?));
        lines.iter().filter_map(point).collect()
    };
    let series: Vec<Vec<(u64, f64)>> = curves.iter().map(points_of).collect();
    let axis = axis(scale, series.iter().flatten().map(|(_, value)| *value));
    let last = lines.last().map_or(1, |line| line.step.max(1));
    let (top, bottom) = (top + HEAD, top + HEAD + HEIGHT);
    let x = |step: f64| LEFT + (RIGHT - LEFT) * (step / last as f64) as f32;
    let y = |value: f64| bottom - HEIGHT * axis.place(value) as f32;

    drawing.text((LEFT, top - 14.0), 14.0, Anchor::Start, Color::Text, title);
    for &tick in &axis.ticks {
        drawing.line(vec![(LEFT, y(tick)), (RIGHT, y(tick))], 1.0, Color::Grid);
        let at = (LEFT - 8.0, y(tick) + 4.0);
        drawing.text(at, 11.0, Anchor::End, Color::Axis, label(tick));
    }
    for tick in ticks(0.0, last as f64, 8) {
        drawing.line(vec![(x(tick), bottom), (x(tick), bottom + 4.0)], 1.0, Color::Axis);
        let at = (x(tick), bottom + 17.0);
        let step = if tick == 0.0 { "step " } else { "" };
        drawing.text(at, 11.0, Anchor::Middle, Color::Axis, format!("{step}{}", label(tick)));
    }
    drawing.line(vec![(LEFT, bottom), (RIGHT, bottom)], 1.0, Color::Axis);

    let mut right = RIGHT;
    for ((name, color, _), points) in curves.iter().zip(&series).rev() {
        let name = match points.iter().min_by(|a, b| a.1.total_cmp(&b.1)) {
            Some((step, min)) if scale == Scale::Log => {
                drawing.dot((x(*step as f64), y(*min)), 4.0, *color);
                format!("{name}, minimum {min:.2} at step {}", label(*step as f64))
            }
            _ => (*name).to_string(),
        };
        let places: Vec<(f32, f32)> =
            points.iter().map(|(step, value)| (x(*step as f64), y(*value))).collect();
        match places[..] {
            // A line of one point is invisible.
            [at] => drawing.dot(at, 2.0, *color),
            _ => drawing.line(thin(&places), 1.5, *color),
        }
        drawing.text((right, top - 14.0), 12.0, Anchor::End, *color, name.as_str());
        right -= text_width(&name, 12.0) + 20.0;
    }
}

/// The vertical axis of a diagram: range and ticks.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    ticks: Vec<f64>,
}

impl Axis {
    /// The position of a value between the bottom, 0, and the top, 1.
    fn place(&self, value: f64) -> f64 {
        let of = |value: f64| if self.log { value.log10() } else { value };
        (of(value) - of(self.low)) / (of(self.high) - of(self.low))
    }
}

/// An axis that holds all values and begins and ends with ticks.
fn axis(scale: Scale, values: impl Iterator<Item = f64>) -> Axis {
    let (min, max) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| {
        (min.min(value), max.max(value))
    });
    let log = scale == Scale::Log;
    let ticks = match scale {
        Scale::Fraction if min >= 0.0 && max <= 1.0 => ticks(0.0, 1.0, 5),
        Scale::Linear | Scale::Fraction if max.max(0.0) - min.min(0.0) >= LARGEST.recip() => {
            let (low, high) = (min.min(0.0), max.max(0.0));
            let step = step(high - low, 5);
            ticks((low / step).floor() * step, (high / step).ceil() * step, 6)
        }
        Scale::Log if min <= max => log_ticks(min, max),
        _ => vec![0.1, 1.0],
    };
    let end = |at: Option<&f64>| at.copied().unwrap_or_default();
    Axis { low: end(ticks.first()), high: end(ticks.last()), log, ticks }
}

/// The smallest of 1, 2 and 5 times a power of ten that divides a range into at most `max` steps.
fn step(range: f64, max: usize) -> f64 {
    let min = range / max as f64;
    let power = 10_f64.powf(min.log10().floor());
    let times = [1.0, 2.0, 5.0].into_iter().find(|times| times * power >= min * (1.0 - 1e-9));
    times.unwrap_or(10.0) * power
}

/// Returns round numbers from `low` to `high`.
fn ticks(low: f64, high: f64, max: usize) -> Vec<f64> {
    let step = step(high - low, max);
    let (first, last) = ((low / step - 1e-6).ceil() as i64, (high / step + 1e-6).floor() as i64);
    (first..=last).map(|i| i as f64 * step).collect()
}

/// 1, 2 and 5 times powers of ten from below `min` to above `max`, at least two; if those are too
/// many, powers of ten alone.
fn log_ticks(min: f64, max: f64) -> Vec<f64> {
    let powers =
        (min.log10().floor() as i32..=max.log10().ceil() as i32 + 1).map(|n| 10_f64.powi(n));
    let within = |all: Vec<f64>| {
        let first = all.iter().rposition(|tick| *tick <= min).unwrap_or(0);
        let last = all.iter().position(|tick| *tick >= max && *tick > all[first]);
        all[first..=last.unwrap_or(all.len() - 1)].to_vec()
    };
    let all: Vec<f64> = powers.clone().flat_map(|n| [n, 2.0 * n, 5.0 * n]).collect();
    match within(all) {
        ticks if ticks.len() <= 7 => ticks,
        _ => within(powers.collect()),
    }
}

/// A number without trailing zeros, with commas between thousands.
fn label(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e9).contains(&value.abs()) {
        return format!("{value:.0e}");
    }
    // Multiples of a step such as 0.2 are not exact.
    let text = format!("{value:.4}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with('-')));
    format!("{sign}{}{rest}", thousands(digits))
}

/// The points of a long line that can be seen: the first, last, highest and lowest of each unit
/// across.
fn thin(points: &[(f32, f32)]) -> Vec<(f32, f32)> {
    let mut kept = Vec::new();
    for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        let by_height = |a: &usize, b: &usize| column[*a].1.total_cmp(&column[*b].1);
        let ends = [0, column.len() - 1];
        let extremes = [(0..column.len()).min_by(by_height), (0..column.len()).max_by(by_height)];
        let mut seen: Vec<usize> = ends.into_iter().chain(extremes.into_iter().flatten()).collect();
        seen.sort_unstable();
        seen.dedup();
        kept.extend(seen.into_iter().map(|i| column[i]));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::record::Quality;

    fn line(step: u64, loss: f64, score: f64, frechet: Option<f64>) -> StatsLine {
        let quality = frechet.map(|frechet| Quality {
            images: 1,
            frechet,
            precision: 0.0,
            recall: 0.0,
            accuracy: None,
            collapse: None,
        });
        StatsLine {
            discriminator_loss: loss,
            generator_loss: loss / 2.0,
            real_score: score,
            quality,
            ..StatsLine::blank(step)
        }
    }

    #[test]
    fn curves_stand_where_their_values_are() {
        let svg = curves(&[line(50, 2.0, 0.25, None), line(100, 1.0, 1.0, None)]).svg();
        // 0 to 2 over 170 units up from 208; steps 0 to 100 over 716 right of 64.
        assert!(svg.contains("points=\"422.0,38.0 780.0,123.0\" class=\"red\""), "{svg}");
        assert!(svg.contains("points=\"422.0,123.0 780.0,165.5\" class=\"blue\""), "{svg}");
        // 0 to 1 up from 452.
        assert!(svg.contains("points=\"422.0,409.5 780.0,282.0\" class=\"red\""), "{svg}");
        assert!(!svg.contains("Distance") && svg.contains("viewBox=\"0 0 800 496\""), "{svg}");
        // -2 to 2; scores of 0 to 4.
        let svg = curves(&[line(50, 2.0, 4.0, None), line(100, -2.0, 1.0, None)]).svg();
        assert!(svg.contains("points=\"422.0,282.0 780.0,409.5\" class=\"red\""), "{svg}");
        assert!(svg.contains("points=\"422.0,38.0 780.0,208.0\"") && svg.contains(">-2<"), "{svg}");
    }

    #[test]
    fn distances_have_a_panel_and_their_minimum_is_marked() {
        let measured = [
            line(50, 1.0, 0.5, Some(100.0)),
            line(100, 1.0, 0.5, None),
            line(150, 1.0, 0.5, Some(10.0)),
        ];
        let svg = curves(&measured).svg();
        assert!(svg.contains("fd-mnistnet-2k, minimum 10.00 at step 150"), "{svg}");
        // 10 to 100 up from 696.
        assert!(svg.contains("points=\"302.7,526.0 780.0,696.0\" class=\"green\""), "{svg}");
        assert!(svg.contains("<circle cx=\"780.0\" cy=\"696.0\" r=\"4\" class=\"green\""), "{svg}");
        for tick in ["10", "20", "50", "100"] {
            assert!(svg.contains(&format!(">{tick}</text>")), "{tick}: {svg}");
        }
    }

    /// NaN, infinite, huge and tiny values, and few of them.
    #[test]
    fn odd_numbers_are_drawn_too() -> anyhow::Result<()> {
        let odd = [0.0, 5e-324, 1e-300, -1e30, 1e30, -f64::MAX, f64::MAX, f64::NAN, f64::INFINITY];
        for value in odd {
            for count in 0..3 {
                let lines: Vec<_> =
                    (0..count).map(|step| line(step, value, value, Some(value))).collect();
                let drawing = curves(&lines);
                let svg = drawing.svg();
                assert!(!svg.contains("NaN") && !svg.contains("inf"), "{value}: {svg}");
                assert!(svg.len() < 20_000, "{value}: {} bytes", svg.len());
                drawing.png()?;
            }
        }
        Ok(())
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            ticks(0.0, 1.0, 5).iter().map(|t| label(*t)).collect::<Vec<_>>(),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        assert_eq!(ticks(0.0, 15_000.0, 8).len(), 8);
        assert_eq!(log_ticks(1.2, 30.0), [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]);
        assert_eq!(log_ticks(2.0, 2.0), [2.0, 5.0]);
        assert_eq!(log_ticks(0.9, 2_000.0), [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0]);
        for (value, text) in [
            (15_000.0, "15,000"),
            (-2.5, "-2.5"),
            (0.30000000000000004, "0.3"),
            (1_234_567.0, "1,234,567"),
            (999.0, "999"),
            (-2e30, "-2e30"),
            (5e-7, "5e-7"),
        ] {
            assert_eq!(label(value), text);
        }
    }

    #[test]
    fn many_points_are_thinned_to_what_is_seen() {
        let points: Vec<(f32, f32)> =
            (0..100_000).map(|i| (i as f32 / 1000.0, (i * 7919 % 1009) as f32)).collect();
        let thinned = thin(&points);
        assert!(thinned.len() <= 400, "{}", thinned.len());
        assert_eq!((thinned[0], thinned.last()), (points[0], points.last()));
        assert!(thinned.is_sorted_by(|a, b| a.0 < b.0));
        let bounds = |points: &[(f32, f32)], x: f32| {
            let of_column = points.iter().filter(|point| point.0.floor() == x).map(|point| point.1);
            (of_column.clone().fold(f32::MAX, f32::min), of_column.fold(0.0, f32::max))
        };
        for x in 0..100 {
            assert_eq!(bounds(&thinned, x as f32), bounds(&points, x as f32), "column {x}");
        }
        let few = [(0.0, 1.0), (0.5, 1.0), (3.0, 0.0)];
        assert_eq!(thin(&few), few);
    }
}

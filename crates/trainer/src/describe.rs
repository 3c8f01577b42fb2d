//! `recipes` and `summary`: what there is to train, and what the networks are.

use crate::args::SummaryArgs;
use crate::config::TrainConfig;
use crate::recipe;
use crate::run_folder::RunFolder;
use anyhow::{Context, Result};
use candle_core::Device;
use gan_models::{Discriminator, Generator, Network, Parameters, Shape};
use std::io::Write;

/// Prints the built-in recipes, a line for each.
///
/// # Errors
/// Output that cannot be written.
pub(crate) fn recipes(print: &mut (dyn Write + Send)) -> Result<()> {
    for (name, summary) in recipe::built_in() {
        writeln!(print, "{name:<12} {summary}")?;
    }
    writeln!(
        print,
        "Each is configs/NAME.toml; a copy of one's own is trained by --recipe FILE.toml."
    )?;
    Ok(())
}

/// Prints the layers of the two networks of a recipe or a run.
///
/// # Errors
/// As of training: whatever does not fit together.
pub(crate) fn summary(args: &SummaryArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let config = match &args.run {
        Some(run) => RunFolder::open(run)?.1,
        None => TrainConfig::resolve(&args.train)?.0,
    };
    networks(&config, print).with_context(|| format!("recipe {}", config.recipe))
}

/// Prints the layers of a configuration's networks.
///
/// # Errors
/// Networks that cannot be built; output that cannot be written.
pub(crate) fn networks(config: &TrainConfig, print: &mut (dyn Write + Send)) -> Result<()> {
    let fresh = &Device::Cpu;
    let (generator, _) =
        Parameters::fresh(0, fresh, |vars| Generator::new(config.generator.clone(), vars))?;
    let noise = Shape::vector(config.generator.input_len());
    table("generator", noise, generator.network(), print)?;
    let (discriminator, _) =
        Parameters::fresh(0, fresh, |vars| Discriminator::new(&config.discriminator, vars))?;
    table("discriminator", config.discriminator.image, discriminator.network(), print)
}

fn table(
    name: &str,
    input: Shape,
    network: &Network,
    print: &mut (dyn Write + Send),
) -> Result<()> {
    let mut line = |cells: [&str; 5]| {
        let [number, kind, output, parameters, multiply_adds] = cells;
        writeln!(print, "{number:>3} {kind:<15} {output:>11} {parameters:>12} {multiply_adds:>14}")
    };
    line(["", name, "output", "parameters", "multiply-adds"])?;
    line(["", "input", &shape(input), "", ""])?;
    for (number, layer) in network.layers().iter().enumerate() {
        let count = |count: usize| if count == 0 { String::new() } else { thousands(count) };
        line([
            &number.to_string(),
            layer.kind,
            &shape(layer.output),
            &count(layer.trained),
            &count(layer.multiply_adds),
        ])?;
    }
    let running: usize = network.layers().iter().map(|layer| layer.running).sum();
    let (parameters, multiply_adds) = (network.parameters(), network.multiply_adds());
    line(["", "total", "", &thousands(parameters), &thousands(multiply_adds)])?;
    if running > 0 {
        writeln!(print, "    and {} running statistics", thousands(running))?;
    }
    Ok(writeln!(print)?)
}

/// Channels, height and width; a vector as its length.
fn shape(Shape { channels, height, width }: Shape) -> String {
    match (height, width) {
        (1, 1) => channels.to_string(),
        _ => format!("{channels}x{height}x{width}"),
    }
}

/// A number with a comma before every three digits.
fn thousands(number: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::TrainArgs;

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([7, 700, 7000, 1234567].map(thousands), ["7", "700", "7,000", "1,234,567"]);
    }

    /// `dcgan`'s networks, counted by hand.
    #[test]
    fn a_summary_counts_what_there_is() -> Result<()> {
        let recipe = Some("dcgan".to_string());
        let train = TrainArgs { recipe, digit: vec!["5".to_string()], ..TrainArgs::default() };
        let mut text = Vec::new();
        summary(&SummaryArgs { run: None, train }, &mut text)?;
        let text = String::from_utf8(text)?;
        let cells =
            |line: &str| -> Vec<String> { line.split_whitespace().map(String::from).collect() };
        let lines: Vec<Vec<String>> = text.lines().map(cells).collect();
        let has = |wanted: &[&str]| assert!(lines.iter().any(|line| line == wanted), "{text}");
        // 100 * 7 * 7 * 256, and gamma and beta of each output.
        has(&["0", "project", "256x7x7", "1,254,400", "1,254,400"]);
        has(&["1", "batch_norm", "256x7x7", "25,088"]);
        // 29 * 29 meetings of pixels in 7x7 under 5x5, times 256 * 128.
        has(&["3", "conv_transpose", "128x7x7", "819,200", "27,557,888"]);
        has(&["10", "activation", "1x28x28"]);
        // 5 * 5 * 64 and 64 biases; 14 * 5 - 3 meetings along a side.
        has(&["0", "conv", "64x14x14", "1,664", "287,296"]);
        has(&["6", "dense", "1", "6,273", "6,272"]);
        Ok(())
    }
}

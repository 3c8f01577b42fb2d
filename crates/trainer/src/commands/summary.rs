//! `summary`: the layers of both networks.

use crate::cli::commands::SummaryArgs;
use crate::cli::train::TrainArgs;
use crate::config::TrainConfig;
use crate::config::resolve::Request;
use crate::format::thousands;
use crate::run::directory::RunDirectory;
use anyhow::{Context, Result};
use gan_data::Split;
use gan_models::{FeatureShape, LayerSummary};
use std::io::Write;

/// Prints the layers of the two networks of a recipe or a run.
///
/// # Errors
/// Those of training: options, recipe and data set that do not fit together.
pub(crate) fn summary(args: &SummaryArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let config = match &args.run {
        Some(run) => RunDirectory::open(run)?.1,
        None => {
            let mut train = TrainArgs::default();
            train.run.recipe = args.network.recipe.clone();
            train.run.data = args.network.data.clone();
            train.run.loss.condition = args.network.condition;
            train.session.strict = args.network.strict;
            let request = Request::new(&train)?;
            let info = request.data().info(Split::Train)?;
            request.resolve(&info)?
        }
    };
    networks(&config, print)
}

/// Prints the layers of a configuration's networks.
///
/// # Errors
/// Layers that do not fit each other; output that cannot be written.
pub(crate) fn networks(config: &TrainConfig, print: &mut (dyn Write + Send)) -> Result<()> {
    let of_recipe = || format!("recipe {}", config.recipe);
    let TrainConfig { generator, discriminator, .. } = config;
    let latent = FeatureShape::vector(generator.input_len());
    table("generator", latent, &generator.summary().with_context(of_recipe)?, print)?;
    let layers = discriminator.summary().with_context(of_recipe)?;
    table("discriminator", discriminator.image, &layers, print)
}

fn table(
    name: &str,
    input: FeatureShape,
    layers: &[LayerSummary],
    print: &mut (dyn Write + Send),
) -> Result<()> {
    let mut line = |cells: [&str; 5]| {
        let [number, kind, output, parameters, multiply_adds] = cells;
        writeln!(print, "{number:>3} {kind:<15} {output:>11} {parameters:>12} {multiply_adds:>14}")
    };
    line(["", name, "output", "parameters", "multiply-adds"])?;
    line(["", "input", &shape(input), "", ""])?;
    let count = |count: usize| match count {
        0 => String::new(),
        count => thousands(&count.to_string()),
    };
    for (number, layer) in layers.iter().enumerate() {
        line([
            &number.to_string(),
            layer.kind,
            &shape(layer.output),
            &count(layer.trainable),
            &count(layer.multiply_adds),
        ])?;
    }
    let sum = |of: fn(&LayerSummary) -> usize| layers.iter().map(of).sum::<usize>();
    let (parameters, running) = (sum(|layer| layer.trainable), sum(|layer| layer.running));
    line(["", "total", "", &count(parameters), &count(sum(|layer| layer.multiply_adds))])?;
    if running > 0 {
        writeln!(print, "    and {} running statistics", thousands(&running.to_string()))?;
    }
    Ok(writeln!(print)?)
}

/// Formats a shape as channels x height x width, or a vector as its length.
fn shape(FeatureShape { channels, height, width }: FeatureShape) -> String {
    match (height, width) {
        (1, 1) => channels.to_string(),
        _ => format!("{channels}x{height}x{width}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::configuration;

    /// `dcgan`'s networks, counted by hand.
    #[test]
    fn a_summary_counts_what_there_is() -> Result<()> {
        let mut text = Vec::new();
        networks(&configuration(&["5"], Some("dcgan"))?, &mut text)?;
        let text = String::from_utf8(text)?;
        let cells =
            |line: &str| -> Vec<String> { line.split_whitespace().map(String::from).collect() };
        let lines: Vec<Vec<String>> = text.lines().map(cells).collect();
        let has = |wanted: &[&str]| assert!(lines.iter().any(|line| line == wanted), "{text}");
        // 100 * 7 * 7 * 256, and gamma and beta of each output.
        has(&["0", "project", "256x7x7", "1,254,400", "1,254,400"]);
        has(&["1", "batch_norm", "256x7x7", "25,088"]);
        // 29 * 29 kernel taps at pixel pairs of 7x7 under 5x5, times 256 * 128.
        has(&["3", "conv_transpose", "128x7x7", "819,200", "27,557,888"]);
        has(&["10", "activation", "1x28x28"]);
        // 5 * 5 * 64 and 64 biases; 14 * 5 - 3 kernel taps at pixel pairs along a side.
        has(&["0", "conv", "64x14x14", "1,664", "287,296"]);
        has(&["6", "dense", "1", "6,273", "6,272"]);
        Ok(())
    }

    /// The five systems: batch, learning rate, first decay, real label, and the values that are trained
    /// in both networks, counted by hand from their layers.
    #[test]
    fn the_five_systems_are_those_of_their_authors() -> Result<()> {
        for (recipe, batch, rate, beta1, real_label, generator, discriminator) in [
            ("mlp", 128, 2e-4, 0.5, 0.9, 1_486_352, 1_460_225),
            ("ezgan", 50, 1e-4, 0.9, 0.9, 325_478, 3_265_409),
            ("mlp-bn", 32, 2e-4, 0.5, 1.0, 1_489_936, 533_505),
            ("mlp-small", 100, 2e-4, 0.9, 1.0, 283_920, 267_009),
            ("dcgan", 256, 1e-4, 0.9, 1.0, 2_305_472, 212_865),
        ] {
            let config = configuration(&["5"], Some(recipe))?;
            let training = config.training;
            assert_eq!((training.batch_size, training.real_label), (batch, real_label), "{recipe}");
            for adam in [training.generator_adam, training.discriminator_adam] {
                assert_eq!((adam.lr, adam.beta1, adam.beta2), (rate, beta1, 0.999), "{recipe}");
            }
            let mut text = Vec::new();
            networks(&config, &mut text)?;
            let text = String::from_utf8(text)?;
            let totals: Vec<&str> = text
                .lines()
                .filter(|line| line.trim_start().starts_with("total"))
                .filter_map(|line| line.split_whitespace().nth(1))
                .collect();
            assert_eq!(
                totals,
                [generator, discriminator].map(|count: usize| thousands(&count.to_string())),
                "{recipe}"
            );
        }
        Ok(())
    }
}

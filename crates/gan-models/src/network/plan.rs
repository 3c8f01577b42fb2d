//! The sizes of a network, from its configuration alone: nothing is allocated for them.

use super::LayerSummary;
use super::build::{check, is_linear};
use crate::config::{FeatureShape, Layer};
use crate::error::{Error, Result};
use crate::memory::total_memory;
use crate::pixel_shuffle::PixelShuffle;
use gan_kernels::Window;

/// Bytes of the tables that list a kernel tap at a pair of pixels, [`gan_kernels::Geometry`].
const BYTES_PER_TAP: u64 = 64;

/// What is wrong with a layer where a number overflows.
const BEYOND_ANY: &str = "its sizes multiply to more than any memory";

/// The layers of a network for inputs of this shape, in order, before any of them is built.
///
/// # Errors
/// [`Error::Layer`] for a layer that does not fit the ones before it, and for the first layer at
/// which weights, activations of one image and tables need more than a quarter of the machine's
/// memory.
pub fn plan(input: FeatureShape, layers: &[Layer]) -> Result<Vec<LayerSummary>> {
    plan_after(input, layers, &mut 0)
}

/// The same for layers after others that take this many bytes, to which theirs are added.
fn plan_after(input: FeatureShape, layers: &[Layer], bytes: &mut u64) -> Result<Vec<LayerSummary>> {
    let limit = total_memory() / 4;
    let mut shape = input;
    let mut summaries = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let wrong = |reason: String| Error::Layer { layer: number, kind: layer.kind(), reason };
        check(layer).map_err(|reason| wrong(reason.to_string()))?;
        fits(layer, shape).map_err(wrong)?;
        let planned = match layer {
            // Counts the layers inside.
            Layer::Residual { body, shortcut, zero_init } => {
                if *zero_init {
                    ends_with_weights(body).map_err(wrong)?;
                }
                Some(residual(shape, body, shortcut, bytes).map_err(wrong)?)
            }
            // The tables first: measuring a convolution takes a step for each of its rows and columns.
            _ => {
                let tables = tables(layer, shape).and_then(|tables| bytes.checked_add(tables));
                *bytes = within(tables, limit).map_err(wrong)?;
                measure(layer, shape, &layers[..number])
            }
        };
        let planned = planned.ok_or_else(|| wrong(BEYOND_ANY.to_string()))?;
        let sum = || {
            let values = [shape, planned.output]
                .into_iter()
                .try_fold(0, |sum: u64, shape| sum.checked_add(u64::try_from(len(shape)?).ok()?))?;
            let weights = match layer {
                Layer::Residual { .. } => 0,
                _ => planned.trainable.checked_add(planned.running)?,
            };
            let values = values.checked_add(u64::try_from(weights).ok()?)?;
            bytes.checked_add(values.checked_mul(4)?)
        };
        let sum = within(sum(), limit).map_err(wrong)?;
        if planned.output.is_empty() {
            return Err(wrong("the output has no values: sizes must be at least 1".to_string()));
        }
        (shape, *bytes) = (planned.output, sum);
        summaries.push(planned);
    }
    Ok(summaries)
}

/// Checks that the last layer with weights is one of the body itself, whose weights can start at 0.
fn ends_with_weights(body: &[Layer]) -> Result<(), String> {
    let holds = |layer: &Layer| is_linear(layer) || matches!(layer, Layer::Residual { .. });
    match body.iter().rev().find(|layer| holds(layer)) {
        Some(layer) if is_linear(layer) => Ok(()),
        Some(_) => {
            Err("zero_init: the body's last weights are inside another residual layer; set \
                        zero_init there"
                .to_string())
        }
        None => {
            Err("zero_init: the body has no linear layer whose weights could start at 0"
                .to_string())
        }
    }
}

/// The summary of a residual block.
fn residual(
    input: FeatureShape,
    body: &[Layer],
    shortcut: &[Layer],
    bytes: &mut u64,
) -> Result<LayerSummary, String> {
    let mut summary = LayerSummary {
        kind: "residual",
        output: input,
        trainable: 0,
        running: 0,
        multiply_adds: 0,
        inner_values: 0,
    };
    let mut outputs = [input; 2];
    for (output, (name, layers)) in outputs.iter_mut().zip([("body", body), ("shortcut", shortcut)])
    {
        let planned =
            plan_after(input, layers, bytes).map_err(|error| format!("{name}: {error}"))?;
        *output = planned.last().map_or(input, |layer| layer.output);
        for layer in planned {
            summary.trainable = summary.trainable.saturating_add(layer.trainable);
            summary.running = summary.running.saturating_add(layer.running);
            summary.multiply_adds = summary.multiply_adds.saturating_add(layer.multiply_adds);
            let values = layer.output.len().saturating_add(layer.inner_values);
            summary.inner_values = summary.inner_values.saturating_add(values);
        }
    }
    let [body, shortcut] = outputs;
    if body != shortcut {
        let size =
            |FeatureShape { channels, height, width }| format!("{channels}x{height}x{width}");
        return Err(format!(
            "the body's output is {}, the shortcut's {}; they must have one shape",
            size(body),
            size(shortcut)
        ));
    }
    summary.output = body;
    Ok(summary)
}

/// Checks that a network takes at most `limit` bytes; none if their number overflows.
fn within(bytes: Option<u64>, limit: u64) -> Result<u64, String> {
    let bytes = bytes.ok_or(BEYOND_ANY)?;
    if bytes > limit {
        return Err(format!(
            "with it, weights, activations of one image and index tables take {}; at most a quarter \
             of this machine's memory is used for a network, {}",
            gigabytes(bytes),
            gigabytes(limit)
        ));
    }
    Ok(bytes)
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Number of values, unless it overflows.
fn len(shape: FeatureShape) -> Option<usize> {
    shape.channels.checked_mul(shape.height)?.checked_mul(shape.width)
}

/// Checks that a layer takes inputs of this shape.
fn fits(layer: &Layer, input: FeatureShape) -> Result<(), String> {
    let FeatureShape { height, width, .. } = input;
    match *layer {
        Layer::Project { .. } if (height, width) != (1, 1) => {
            Err(format!("projects a vector, not {width}x{height} pixels"))
        }
        Layer::Basis(..) if (height, width) != (1, 1) => {
            Err(format!("scales its images by a vector, not by {width}x{height} pixels"))
        }
        Layer::Conv { kernel, stride, .. } | Layer::ConvTranspose { kernel, stride, .. }
            if kernel == 0 || stride == 0 =>
        {
            Err("kernel and stride must be at least 1".to_string())
        }
        Layer::Conv { channels, groups, .. } | Layer::ConvTranspose { channels, groups, .. }
            if !(input.channels.is_multiple_of(groups) && channels.is_multiple_of(groups)) =>
        {
            Err(format!(
                "{groups} groups must divide the channels of input and output, {} and {channels}",
                input.channels
            ))
        }
        Layer::GroupNorm { groups, .. } if !input.channels.is_multiple_of(groups) => {
            Err(format!("{groups} groups do not divide {} channels", input.channels))
        }
        Layer::GroupNorm { groups, .. }
            if input.channels == groups && (height, width) == (1, 1) =>
        {
            Err("normalises over one value, which leaves nothing of it".to_string())
        }
        Layer::Downsample(factor)
            if !(height.is_multiple_of(factor) && width.is_multiple_of(factor)) =>
        {
            Err(format!("the factor {factor} must divide height and width, {height} and {width}"))
        }
        Layer::PixelShuffle(factor) | Layer::PixelUnshuffle(factor)
            if PixelShuffle::of(layer).and_then(|shuffle| shuffle.output(input)).is_none() =>
        {
            Err(format!(
                "the factor {factor} does not divide {} channels of {width}x{height} pixels",
                input.channels
            ))
        }
        _ => Ok(()),
    }
}

/// The summary of a layer, or none if a number overflows.
fn measure(layer: &Layer, input: FeatureShape, before: &[Layer]) -> Option<LayerSummary> {
    let FeatureShape { channels: from, height, width } = input;
    let mut summary = LayerSummary {
        kind: layer.kind(),
        output: input,
        trainable: 0,
        running: 0,
        multiply_adds: 0,
        inner_values: 0,
    };
    let weighted = |weights: usize, biases: usize, bias: bool| {
        if bias { weights.checked_add(biases) } else { Some(weights) }
    };
    match *layer {
        Layer::Dense { units, bias } => {
            summary.output = FeatureShape::vector(units);
            summary.multiply_adds = len(input)?.checked_mul(units)?;
            summary.trainable = weighted(summary.multiply_adds, units, bias)?;
        }
        Layer::Project { to, bias } => {
            summary.output = to;
            summary.multiply_adds = from.checked_mul(len(to)?)?;
            summary.trainable = weighted(summary.multiply_adds, len(to)?, bias)?;
        }
        Layer::Basis(height, width) => {
            summary.output = FeatureShape { height, width, ..input };
            summary.trainable = len(summary.output)?;
        }
        Layer::Conv { channels, kernel, stride, bias, groups }
        | Layer::ConvTranspose { channels, kernel, stride, bias, groups } => {
            let (large, small) = sides(layer, input)?;
            let is_conv = matches!(layer, Layer::Conv { .. });
            let (height, width) = if is_conv { small } else { large };
            summary.output = FeatureShape { channels, height, width };
            let matrix = (from / groups).checked_mul(channels)?;
            let weights = kernel.checked_mul(kernel)?.checked_mul(matrix)?;
            summary.trainable = weighted(weights, channels, bias)?;
            // Only of kernels whose tables fit can the pairs be counted without overflow.
            tables(layer, input)?;
            let Window { padding, .. } = Window::same((kernel, kernel), stride, large);
            let along = |small: usize, large: usize, padding: usize| -> usize {
                let taps = |at: usize| {
                    let first = padding.saturating_sub(at * stride);
                    kernel.min((large + padding).saturating_sub(at * stride)).saturating_sub(first)
                };
                (0..small).map(taps).sum()
            };
            let pairs = along(small.0, large.0, padding.0)
                .checked_mul(along(small.1, large.1, padding.1))?;
            summary.multiply_adds = pairs.checked_mul(matrix)?;
        }
        Layer::BatchNorm { per_channel, .. } => {
            // Directly after a projection without bias, each output has statistics of its own.
            let product = before.iter().rev().find(|layer| **layer != Layer::Dropout(0.0));
            let features = match product {
                Some(Layer::Project { bias: false, .. }) if !per_channel => len(input)?,
                _ => from,
            };
            summary.trainable = features.checked_mul(2)?;
            summary.running = summary.trainable;
        }
        Layer::Resize(height, width) => summary.output = FeatureShape { height, width, ..input },
        Layer::AvgPool(side) => {
            let (height, width) = (height.div_ceil(side), width.div_ceil(side));
            summary.output = FeatureShape { height, width, ..input };
        }
        Layer::Upsample { factor, .. } => {
            let (height, width) = (height.checked_mul(factor)?, width.checked_mul(factor)?);
            summary.output = FeatureShape { height, width, ..input };
        }
        Layer::Downsample(factor) => {
            let (height, width) = (height / factor, width / factor);
            summary.output = FeatureShape { height, width, ..input };
        }
        Layer::PixelShuffle(_) | Layer::PixelUnshuffle(_) => {
            summary.output = PixelShuffle::of(layer)?.output(input)?;
        }
        Layer::MinibatchStd => {
            summary.output = FeatureShape { channels: from.checked_add(1)?, ..input };
        }
        Layer::Activation(_)
        | Layer::Dropout(_)
        | Layer::Rescale { .. }
        | Layer::GroupNorm { .. } => {}
        // Planned with the layers inside.
        Layer::Residual { .. } => return None,
    }
    Some(summary)
}

/// Height and width of the larger and the smaller feature map of a convolution.
fn sides(layer: &Layer, input: FeatureShape) -> Option<((usize, usize), (usize, usize))> {
    let side = (input.height, input.width);
    Some(match *layer {
        Layer::ConvTranspose { stride, .. } => {
            ((side.0.checked_mul(stride)?, side.1.checked_mul(stride)?), side)
        }
        Layer::Conv { stride, .. } => (side, (side.0.div_ceil(stride), side.1.div_ceil(stride))),
        _ => (side, side),
    })
}

/// Bytes of the tables that a layer is built with, beside its weights, at most; none if that
/// overflows, or if a pixel's index does not fit in 32 bits.
fn tables(layer: &Layer, input: FeatureShape) -> Option<u64> {
    let count = |factors: &[usize]| {
        factors.iter().try_fold(1u64, |sum, &factor| sum.checked_mul(u64::try_from(factor).ok()?))
    };
    let FeatureShape { height, width, .. } = input;
    let pixels =
        |(height, width)| count(&[height, width]).filter(|&all| u32::try_from(all).is_ok());
    match *layer {
        Layer::Dense { .. } => pixels((height, width))?.checked_mul(BYTES_PER_TAP),
        Layer::Project { to, .. } => pixels((to.height, to.width))?.checked_mul(BYTES_PER_TAP),
        Layer::Conv { kernel, .. } | Layer::ConvTranspose { kernel, .. } => {
            let (large, small) = sides(layer, input)?;
            pixels(large)?;
            pixels(small)?.checked_mul(count(&[kernel, kernel])?)?.checked_mul(BYTES_PER_TAP)
        }
        // Two matrices of rows and columns, as rows and joined.
        Layer::Resize(to_height, to_width) => count(&[height, to_height])?
            .checked_add(count(&[width, to_width])?)?
            .checked_mul(2 * BYTES_PER_TAP),
        Layer::Upsample { factor, .. } => count(&[height, height, factor])?
            .checked_add(count(&[width, width, factor])?)?
            .checked_mul(2 * BYTES_PER_TAP),
        Layer::AvgPool(side) | Layer::Downsample(side) => count(&[height, height.div_ceil(side)])?
            .checked_add(count(&[width, width.div_ceil(side)])?)?
            .checked_mul(2 * BYTES_PER_TAP),
        _ => Some(0),
    }
}

#[cfg(test)]
mod tests;

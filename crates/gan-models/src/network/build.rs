//! Builds a network from its list of layers.

use super::block::Block;
use super::{EndShape, LayerSummary, Network};
use crate::backend::Backend;
use crate::batch_norm::BatchNormLayer;
use crate::config::{Activation, FeatureShape, Layer, Momentum, WeightInit};
use crate::error::{Error, Result};
use crate::fused_layer::{FusedLayer, LayerSpec};
use crate::linear_map::LinearMap;
use crate::resample::Resample;
use crate::standalone_layer::{Op, StandaloneLayer};
use candle_nn::VarBuilder;
use gan_kernels::Window;

impl Network {
    /// Builds the layers for inputs of this shape, on the faster backend of the builder's device.
    ///
    /// # Errors
    /// [`Error::Layer`] for a layer that does not fit the ones before it; missing or misshapen
    /// weights.
    pub fn new(
        input: FeatureShape,
        layers: &[Layer],
        init: WeightInit,
        vars: &VarBuilder,
    ) -> Result<Self> {
        if let WeightInit::Normal(std) | WeightInit::TruncatedNormal(std) = init
            && !(std > 0.0 && std.is_finite())
        {
            let text = format!("init: the standard deviation {std} must be above 0 and finite");
            return Err(Error::Config(text));
        }
        let input = EndShape::new(input, layers.first().is_some_and(is_dense));
        let mut network = Self {
            blocks: Vec::new(),
            layers: Vec::new(),
            input,
            output: input,
            backend: Backend::of(vars.device()),
        };
        for (number, layer) in layers.iter().enumerate() {
            let wrong = |reason: String| Error::Layer { layer: number, kind: layer.kind(), reason };
            check(layer).map_err(|reason| wrong(reason.to_string()))?;
            let vars = vars.pp("layers").pp(number);
            if has_weights(layer) {
                let before = network.output;
                let (map, external) = linear_map(layer, before.external).map_err(wrong)?;
                if external.is_empty() {
                    let reason = "the output has no values: sizes must be at least 1";
                    return Err(wrong(reason.to_string()));
                }
                // Only layers that ignore the arrangement may follow a flattened output.
                let flat = is_dense(layer) && layers[number + 1..].iter().all(is_elementwise);
                network.output = EndShape::new(external, flat);
                let spec = LayerSpec {
                    map,
                    input: before.internal,
                    output: network.output.internal,
                    bias: has_bias(layer),
                    init,
                };
                network.blocks.push(Block::Fused(FusedLayer::new(spec, &vars)?));
            } else if !network.fuse(layer, &vars)? {
                let before = network.output.internal;
                let (op, after) = standalone(layer, before, &vars)?;
                if after != before {
                    network.output = EndShape::new(after, false);
                }
                network.blocks.push(Block::Standalone(StandaloneLayer::new(op, &vars)));
            }
            network.summarise(layer);
        }
        Ok(network)
    }

    /// Fuses a layer with the linear map before it; `false` if that is not possible.
    fn fuse(&mut self, layer: &Layer, vars: &VarBuilder) -> Result<bool> {
        let Some(Block::Fused(fused)) = self.blocks.last_mut() else {
            return Ok(false);
        };
        match *layer {
            Layer::BatchNorm { epsilon, momentum: Momentum(momentum), per_channel }
                if fused.accepts_norm() =>
            {
                fused.add_norm(epsilon, momentum, per_channel, vars)?;
            }
            Layer::Activation(activation) if fused.activation.is_none() && fused.dropout == 0.0 => {
                fused.activation = Some(activation);
            }
            Layer::Dropout(probability) if fused.dropout == 0.0 => fused.dropout = probability,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Adds the layer that was built last to the summary.
    fn summarise(&mut self, layer: &Layer) {
        let count = |block: &Block| -> usize {
            block.trainable_parameters().iter().map(|(_, value)| value.elem_count()).sum()
        };
        let trainable = self.blocks.iter().map(count).sum::<usize>() - self.parameter_count();
        let multiply_adds = match self.blocks.last() {
            Some(Block::Fused(fused)) if has_weights(layer) => fused.multiply_adds(),
            _ => 0,
        };
        self.layers.push(LayerSummary {
            kind: layer.kind(),
            output: self.output.external,
            trainable,
            running: if matches!(layer, Layer::BatchNorm { .. }) { trainable } else { 0 },
            multiply_adds,
        });
    }
}

fn is_dense(layer: &Layer) -> bool {
    matches!(layer, Layer::Dense { .. } | Layer::Project { .. })
}

fn has_weights(layer: &Layer) -> bool {
    is_dense(layer) || matches!(layer, Layer::Conv { .. } | Layer::ConvTranspose { .. })
}

/// Whether a layer is elementwise: it acts on each value alone.
fn is_elementwise(layer: &Layer) -> bool {
    matches!(layer, Layer::Activation(_) | Layer::Dropout(_) | Layer::Rescale { .. })
}

fn has_bias(layer: &Layer) -> bool {
    match *layer {
        Layer::Dense { bias, .. }
        | Layer::Project { bias, .. }
        | Layer::Conv { bias, .. }
        | Layer::ConvTranspose { bias, .. } => bias,
        _ => false,
    }
}

/// Largest height and width of [`Layer::Resize`].
const MAX_SIDE: usize = 1024;

/// Checks a layer's own numbers against their ranges.
fn check(layer: &Layer) -> Result<(), &'static str> {
    let (valid, wanted) = match *layer {
        Layer::BatchNorm { epsilon, momentum: Momentum(momentum), .. } => (
            epsilon > 0.0 && momentum > 0.0 && momentum <= 1.0,
            "epsilon must be above 0, momentum above 0 and at most 1",
        ),
        Layer::Activation(Activation::LeakyRelu(slope)) => {
            (slope >= 0.0 && slope.is_finite(), "the slope must be at least 0")
        }
        Layer::Dropout(probability) => {
            ((0.0..1.0).contains(&probability), "the probability must be at least 0 and below 1")
        }
        Layer::Resize(height, width) => (
            [height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)),
            "sizes must be at least 1 and at most 1024",
        ),
        Layer::AvgPool(side) => (side > 0, "squares must measure at least 1"),
        Layer::Rescale { scale, shift } => (
            scale != 0.0 && scale.is_finite() && shift.is_finite(),
            "the scale must not be 0, and both must be finite",
        ),
        _ => (true, ""),
    };
    if valid { Ok(()) } else { Err(wanted) }
}

/// The operation of a layer without a linear map, and its output's shape.
fn standalone(layer: &Layer, input: FeatureShape, vars: &VarBuilder) -> Result<(Op, FeatureShape)> {
    let FeatureShape { channels, height, width } = input;
    let resample = || Resample::new(layer, (height, width), vars.device()).map(Op::Resample);
    Ok(match *layer {
        Layer::BatchNorm { epsilon, momentum: Momentum(momentum), .. } => {
            (Op::BatchNorm(BatchNormLayer::new(channels, epsilon, momentum, vars)?), input)
        }
        Layer::Activation(activation) => (Op::Activation(activation), input),
        Layer::Dropout(probability) => (Op::Dropout(probability), input),
        Layer::Rescale { scale, shift } => {
            (Op::Rescale { scale: scale.into(), shift: shift.into() }, input)
        }
        Layer::Resize(height, width) => (resample()?, FeatureShape { height, width, ..input }),
        Layer::AvgPool(side) => {
            let (height, width) = (height.div_ceil(side), width.div_ceil(side));
            (resample()?, FeatureShape { height, width, ..input })
        }
        Layer::Dense { .. }
        | Layer::Project { .. }
        | Layer::Conv { .. }
        | Layer::ConvTranspose { .. } => unreachable!("has weights"),
    })
}

/// The linear map of a layer with weights, and its output's shape.
fn linear_map(layer: &Layer, input: FeatureShape) -> Result<(LinearMap, FeatureShape), String> {
    let FeatureShape { height, width, .. } = input;
    match *layer {
        Layer::Project { to, .. } if (height, width) == (1, 1) => Ok((LinearMap::Project, to)),
        Layer::Project { .. } => Err(format!("projects a vector, not {width}x{height} pixels")),
        Layer::Conv { channels, kernel, stride, .. } if kernel * stride > 0 => {
            let output = (channels, height.div_ceil(stride), width.div_ceil(stride));
            let window = Window::same((kernel, kernel), stride, (height, width));
            Ok((LinearMap::Conv(window), output.into()))
        }
        Layer::ConvTranspose { channels, kernel, stride, .. } if kernel * stride > 0 => {
            let (height, width) = (height * stride, width * stride);
            let window = Window::same((kernel, kernel), stride, (height, width));
            Ok((LinearMap::ConvTranspose(window), (channels, height, width).into()))
        }
        Layer::Dense { units, .. } => Ok((LinearMap::Dense, FeatureShape::vector(units))),
        _ => Err("kernel and stride must be at least 1".to_string()),
    }
}

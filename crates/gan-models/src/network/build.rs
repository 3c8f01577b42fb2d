//! Builds a network from its list of layers.

use super::block::Block;
use super::{EndShape, Network, plan};
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
        let planned = plan(input, layers)?;
        let input = EndShape::new(input, layers.first().is_some_and(is_dense));
        let mut network = Self {
            blocks: Vec::new(),
            layers: planned,
            input,
            output: input,
            backend: Backend::of(vars.device()),
        };
        for (number, layer) in layers.iter().enumerate() {
            let vars = vars.pp("layers").pp(number);
            if has_weights(layer) {
                let before = network.output;
                // Only layers that ignore the arrangement may follow a flattened output.
                let flat = is_dense(layer) && layers[number + 1..].iter().all(is_elementwise);
                network.output = EndShape::new(network.layers[number].output, flat);
                let spec = LayerSpec {
                    map: linear_map(layer, before.external),
                    input: before.internal,
                    output: network.output.internal,
                    bias: has_bias(layer),
                    init,
                };
                network.blocks.push(Block::Fused(FusedLayer::new(spec, &vars)?));
            } else if !network.fuse(layer, &vars)? {
                let before = network.output.internal;
                let op = standalone(layer, before, &vars)?;
                if matches!(layer, Layer::Resize(..) | Layer::AvgPool(_)) {
                    network.output = EndShape::new(network.layers[number].output, false);
                }
                network.blocks.push(Block::Standalone(StandaloneLayer::new(op, &vars)));
            }
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
pub(super) fn check(layer: &Layer) -> Result<(), &'static str> {
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

/// The operation of a layer without a linear map.
fn standalone(layer: &Layer, input: FeatureShape, vars: &VarBuilder) -> Result<Op> {
    Ok(match *layer {
        Layer::BatchNorm { epsilon, momentum: Momentum(momentum), .. } => {
            Op::BatchNorm(BatchNormLayer::new(input.channels, epsilon, momentum, vars)?)
        }
        Layer::Activation(activation) => Op::Activation(activation),
        Layer::Dropout(probability) => Op::Dropout(probability),
        Layer::Rescale { scale, shift } => Op::Rescale { scale: scale.into(), shift: shift.into() },
        Layer::Resize(..) | Layer::AvgPool(_) => {
            Op::Resample(Resample::new(layer, (input.height, input.width), vars.device())?)
        }
        Layer::Dense { .. }
        | Layer::Project { .. }
        | Layer::Conv { .. }
        | Layer::ConvTranspose { .. } => unreachable!("has weights"),
    })
}

/// The linear map of a layer with weights.
fn linear_map(layer: &Layer, FeatureShape { height, width, .. }: FeatureShape) -> LinearMap {
    let same = |kernel, stride, large| Window::same((kernel, kernel), stride, large);
    match *layer {
        Layer::Project { .. } => LinearMap::Project,
        Layer::Conv { kernel, stride, .. } => {
            LinearMap::Conv(same(kernel, stride, (height, width)))
        }
        Layer::ConvTranspose { kernel, stride, .. } => {
            LinearMap::ConvTranspose(same(kernel, stride, (height * stride, width * stride)))
        }
        _ => LinearMap::Dense,
    }
}

//! Builds a network from its list of layers.

use super::block::{Block, Chain, Residual};
use super::{EndShape, LayerSummary, Network, Packed, plan};
use crate::backend::Backend;
use crate::basis::Basis;
use crate::batch_norm::BatchNormLayer;
use crate::config::{Activation, FeatureShape, Layer, Momentum, WeightInit};
use crate::error::{Error, Result};
use crate::fused_layer::{FusedLayer, LayerSpec};
use crate::group_norm::GroupNorm;
use crate::linear_map::LinearMap;
use crate::pixel_shuffle::PixelShuffle;
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
        if let WeightInit::Normal(size)
        | WeightInit::TruncatedNormal(size)
        | WeightInit::FanInNormal(size) = init
            && !(size > 0.0 && size.is_finite())
        {
            let what = match init {
                WeightInit::FanInNormal(_) => "gain",
                _ => "standard deviation",
            };
            let text = format!("init: the {what} {size} must be above 0 and finite");
            return Err(Error::Config(text));
        }
        let planned = plan(input, layers)?;
        let input = EndShape::new(input, layers.first().is_some_and(is_dense));
        let mut builder = Builder { blocks: Vec::new(), output: input, init, zero_init: None };
        builder.add(layers, &planned, &vars.pp("layers"))?;
        Ok(Self {
            blocks: Chain(builder.blocks),
            layers: planned,
            input,
            output: builder.output,
            backend: Backend::of(vars.device()),
            packed: Packed::default(),
        })
    }
}

/// Blocks as far as they are built.
struct Builder {
    blocks: Vec<Block>,
    /// The shape of their output.
    output: EndShape,
    init: WeightInit,
    /// The number of the layer whose weights start at 0, if there is one.
    zero_init: Option<usize>,
}

impl Builder {
    /// Adds layers with these sizes.
    fn add(&mut self, layers: &[Layer], planned: &[LayerSummary], vars: &VarBuilder) -> Result<()> {
        for (number, layer) in layers.iter().enumerate() {
            let (before, vars) = (self.output, vars.pp(number));
            // Only layers that ignore the arrangement may follow a flattened output.
            let flat = is_dense(layer) && layers[number + 1..].iter().all(is_elementwise);
            let output = EndShape::new(planned[number].output, flat);
            let block = match layer {
                layer if is_linear(layer) => Block::Fused(FusedLayer::new(
                    LayerSpec {
                        map: linear_map(layer, before.external),
                        input: before.internal,
                        output: output.internal,
                        bias: has_bias(layer),
                        groups: groups(layer),
                        init: self.init,
                        zero_init: self.zero_init == Some(number),
                    },
                    &vars,
                )?),
                Layer::Residual { body, shortcut, zero_init } => {
                    let last = body.iter().rposition(is_linear).filter(|_| *zero_init);
                    Block::Residual(Residual {
                        body: self.chain(body, last, &vars.pp("body"))?,
                        shortcut: self.chain(shortcut, None, &vars.pp("shortcut"))?,
                    })
                }
                layer if self.fuse(layer, &vars)? => continue,
                layer => {
                    let op = standalone(layer, before.internal, &vars)?;
                    Block::Standalone(StandaloneLayer::new(op, &vars))
                }
            };
            if !is_elementwise(layer) && !matches!(layer, Layer::BatchNorm { .. }) {
                self.output = output;
            }
            self.blocks.push(block);
        }
        Ok(())
    }

    /// The layers of a body or shortcut, after the blocks so far.
    fn chain(
        &self,
        layers: &[Layer],
        zero_init: Option<usize>,
        vars: &VarBuilder,
    ) -> Result<Chain> {
        let input = self.output.external;
        let output = EndShape::new(input, false);
        let mut inner = Self { blocks: Vec::new(), output, init: self.init, zero_init };
        inner.add(layers, &plan(input, layers)?, vars)?;
        Ok(Chain(inner.blocks))
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

pub(super) fn is_linear(layer: &Layer) -> bool {
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

fn groups(layer: &Layer) -> usize {
    match *layer {
        Layer::Conv { groups, .. } | Layer::ConvTranspose { groups, .. } => groups,
        _ => 1,
    }
}

/// Largest height and width of [`Layer::Resize`] and [`Layer::Basis`].
const MAX_SIDE: usize = 1024;

/// Checks a layer's own numbers against their ranges.
pub(super) fn check(layer: &Layer) -> Result<(), &'static str> {
    let (valid, wanted) = match *layer {
        Layer::BatchNorm { epsilon, momentum: Momentum(momentum), .. } => (
            epsilon > 0.0 && momentum > 0.0 && momentum <= 1.0,
            "epsilon must be above 0, momentum above 0 and at most 1",
        ),
        Layer::GroupNorm { groups, epsilon } => {
            (groups > 0 && epsilon > 0.0, "groups must be at least 1, epsilon above 0")
        }
        Layer::Conv { groups, .. } | Layer::ConvTranspose { groups, .. } => {
            (groups > 0, "groups must be at least 1")
        }
        Layer::Activation(Activation::LeakyRelu(slope)) => {
            (slope >= 0.0 && slope.is_finite(), "the slope must be at least 0")
        }
        Layer::Dropout(probability) => {
            ((0.0..1.0).contains(&probability), "the probability must be at least 0 and below 1")
        }
        Layer::Resize(height, width) | Layer::Basis(height, width) => (
            [height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)),
            "sizes must be at least 1 and at most 1024",
        ),
        Layer::AvgPool(side) => (side > 0, "squares must measure at least 1"),
        Layer::Upsample { factor, .. } | Layer::Downsample(factor) => {
            ((1..=MAX_SIDE).contains(&factor), "factors must be at least 1 and at most 1024")
        }
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
    if let Some(shuffle) = PixelShuffle::of(layer) {
        return Ok(Op::PixelShuffle(shuffle));
    }
    Ok(match *layer {
        Layer::BatchNorm { epsilon, momentum: Momentum(momentum), .. } => {
            Op::BatchNorm(BatchNormLayer::new(input.channels, epsilon, momentum, vars)?)
        }
        Layer::Basis(height, width) => {
            Op::Basis(Basis::new(input.channels, (height, width), vars)?)
        }
        Layer::Activation(activation) => Op::Activation(activation),
        Layer::Dropout(probability) => Op::Dropout(probability),
        Layer::Rescale { scale, shift } => Op::Rescale { scale: scale.into(), shift: shift.into() },
        Layer::Resize(..) | Layer::AvgPool(_) | Layer::Upsample { .. } | Layer::Downsample(_) => {
            Op::Resample(Resample::new(layer, (input.height, input.width), vars.device())?)
        }
        Layer::MinibatchStd => Op::MinibatchStd,
        Layer::GroupNorm { groups, epsilon } => {
            Op::GroupNorm(GroupNorm { groups, epsilon: epsilon.into() })
        }
        Layer::Dense { .. }
        | Layer::Project { .. }
        | Layer::Conv { .. }
        | Layer::ConvTranspose { .. }
        | Layer::Residual { .. } => unreachable!("has weights"),
        Layer::PixelShuffle(_) | Layer::PixelUnshuffle(_) => unreachable!("returned above"),
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

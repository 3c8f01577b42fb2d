//! Networks built from their list of layers.

mod tape;

pub use tape::{Gradients, Tape};

use crate::config::{Activation, Init, Layer, Momentum, Shape};
use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::plain::{Op, Plain, Resample};
use crate::stage::{Backend, Pass, Plan, Product, Stage};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use gan_kernels::Window;

/// Layers applied one after the other. Clones share their weights.
///
/// Parameters are named `layers.N.weight`, `layers.N.bias`, and `layers.N.running_mean`,
/// `layers.N.running_var` of batch normalisation, where N counts the configured layers. Weights
/// of products have the shape (kernel height, kernel width, channels in, channels out). A dense
/// layer's kernel covers all of its input's pixels; where that is the network's own input, or its
/// output, the picture is taken as a vector of all its values (C, H, W) instead, and the kernel
/// has one pixel.
#[derive(Clone, Debug)]
pub struct Network {
    parts: Vec<Part>,
    layers: Vec<LayerSummary>,
    input: End,
    output: End,
    backend: Backend,
}

/// A product with what follows it, or a layer on its own.
#[derive(Clone, Debug)]
enum Part {
    Stage(Stage),
    Plain(Plain),
}

impl Part {
    fn name(&self) -> &str {
        match self {
            Self::Stage(stage) => stage.name(),
            Self::Plain(plain) => plain.name(),
        }
    }

    fn trained(&self) -> Vec<(String, &Tensor)> {
        match self {
            Self::Stage(stage) => stage.trained(),
            Self::Plain(plain) => plain.trained(),
        }
    }

    fn detached(&self) -> Self {
        match self {
            Self::Stage(stage) => Self::Stage(stage.detached()),
            Self::Plain(plain) => Self::Plain(plain.detached()),
        }
    }

    fn forward(&self, x: &Tensor, backend: Backend, pass: &mut Pass) -> Result<Tensor> {
        match self {
            Self::Stage(stage) => stage.forward(x, backend, pass),
            Self::Plain(plain) => plain.forward(x, backend, pass),
        }
    }
}

/// What a configured layer is: a line of a network's summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// [`Layer::kind`].
    pub kind: &'static str,
    /// What comes out.
    pub output: Shape,
    /// Values that are trained.
    pub trained: usize,
    /// Values that follow the batches: running statistics.
    pub running: usize,
    /// Multiply-adds of its product for one picture; products with padding, which are never
    /// made, are not counted.
    pub multiply_adds: usize,
}

/// One end of a network.
#[derive(Clone, Copy, Debug)]
struct End {
    /// What others see.
    outside: Shape,
    /// What the stage there sees: the same, or all values as a vector.
    inside: Shape,
}

impl End {
    fn new(outside: Shape, flat: bool) -> Self {
        Self { outside, inside: if flat { Shape::vector(outside.len()) } else { outside } }
    }
}

/// A batch of one shape as one of another.
fn reshaped(tensor: &Tensor, from: Shape, to: Shape) -> Result<Tensor> {
    let (batch, channels, height, width) = tensor.dims4()?;
    if Shape::from((channels, height, width)) != from {
        return Err(Error::Config(format!("{:?} is no batch of {from:?}", tensor.dims())));
    }
    Ok(tensor.reshape((batch, to.channels, to.height, to.width))?)
}

impl Network {
    /// Builds the layers for inputs of this shape, on the backend of the builder's device.
    ///
    /// # Errors
    /// [`Error::Layer`] for a layer that does not fit the ones before it; missing or misshapen
    /// weights.
    pub fn new(input: Shape, layers: &[Layer], init: Init, vars: &VarBuilder) -> Result<Self> {
        if let Init::Normal(deviation) | Init::TruncatedNormal(deviation) = init
            && !(deviation > 0.0 && deviation.is_finite())
        {
            let text = format!("init: a normal deviation of {deviation} must be above 0");
            return Err(Error::Config(text));
        }
        let input = End::new(input, layers.first().is_some_and(is_dense));
        let mut network = Self {
            parts: Vec::new(),
            layers: Vec::new(),
            input,
            output: input,
            backend: Backend::of(vars.device()),
        };
        for (number, layer) in layers.iter().enumerate() {
            let wrong = |reason: String| Error::Layer { layer: number, kind: layer.kind(), reason };
            check(layer).map_err(|reason| wrong(reason.to_string()))?;
            let vars = vars.pp("layers").pp(number);
            let before = network.output;
            if has_weights(layer) {
                let (product, outside) = product_of(layer, before.outside).map_err(wrong)?;
                if outside.is_empty() {
                    let reason = "the output has no values: sizes must be at least 1";
                    return Err(wrong(reason.to_string()));
                }
                // What follows a dense layer at the end sees a vector, if it can.
                let flat = is_dense(layer) && layers[number + 1..].iter().all(is_elementwise);
                network.output = End::new(outside, flat);
                let (input, output) = (before.inside, network.output.inside);
                let plan = Plan { product, input, output, bias: has_bias(layer), init };
                network.parts.push(Part::Stage(Stage::new(plan, &vars)?));
            } else if !network.fuse(layer, &vars)? {
                let (op, to) = plain_of(layer, before.inside, &vars)?;
                if to != before.inside {
                    network.output = End::new(to, false);
                }
                network.parts.push(Part::Plain(Plain::new(op, &vars)));
            }
            network.summarise(layer);
        }
        Ok(network)
    }

    /// Adds a layer to the product before it, where that can take it in.
    fn fuse(&mut self, layer: &Layer, vars: &VarBuilder) -> Result<bool> {
        let Some(Part::Stage(stage)) = self.parts.last_mut() else {
            return Ok(false);
        };
        match *layer {
            Layer::BatchNorm { epsilon, momentum: Momentum(momentum), per_channel }
                if stage.takes_norm() =>
            {
                stage.normalise(epsilon, momentum, per_channel, vars)?;
            }
            Layer::Activation(activation) if stage.activation.is_none() && stage.dropout == 0.0 => {
                stage.activation = Some(activation);
            }
            Layer::Dropout(probability) if stage.dropout == 0.0 => stage.dropout = probability,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Takes note of the layer that was added last.
    fn summarise(&mut self, layer: &Layer) {
        let count = |part: &Part| part.trained().iter().map(|(_, t)| t.elem_count()).sum::<usize>();
        let trained = self.parts.iter().map(count).sum::<usize>() - self.parameters();
        let multiply_adds = match self.parts.last() {
            Some(Part::Stage(stage)) if has_weights(layer) => stage.multiply_adds(),
            _ => 0,
        };
        self.layers.push(LayerSummary {
            kind: layer.kind(),
            output: self.output.outside,
            trained,
            running: if matches!(layer, Layer::BatchNorm { .. }) { trained } else { 0 },
            multiply_adds,
        });
    }

    /// Its layers as configured, the first first.
    pub fn layers(&self) -> &[LayerSummary] {
        &self.layers
    }

    /// Values that are trained, in all layers.
    pub fn parameters(&self) -> usize {
        self.layers.iter().map(|layer| layer.trained).sum()
    }

    /// The same network run by another backend.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The same network with weights that no gradient reaches: what a generator is trained
    /// through.
    pub fn detached(&self) -> Self {
        let parts = self.parts.iter().map(Part::detached).collect();
        Self { parts, ..self.clone() }
    }

    /// Shape of the output.
    pub fn output(&self) -> Shape {
        self.output.outside
    }

    fn enter(&self, input: &Tensor) -> Result<Tensor> {
        self.backend.features(&reshaped(input, self.input.outside, self.input.inside)?)
    }

    fn leave(&self, features: &Tensor) -> Result<Tensor> {
        let images = self.backend.images(features)?;
        reshaped(&images, self.output.inside, self.output.outside)
    }

    /// Multiply-adds of one forward pass of one picture; products with padding, which are never
    /// made, are not counted.
    pub fn multiply_adds(&self) -> usize {
        self.layers.iter().map(|layer| layer.multiply_adds).sum()
    }

    /// Whether a picture's output depends on the others of its batch while training.
    pub fn mixes_batch(&self) -> bool {
        self.parts.iter().any(|part| match part {
            Part::Stage(stage) => stage.is_normalised(),
            Part::Plain(plain) => plain.is_norm(),
        })
    }

    /// (B, C, H, W) to (B, C, H, W) of the output's shape. A vector is a picture of one pixel.
    ///
    /// # Errors
    /// An input of another shape or device.
    pub fn forward(&self, input: &Tensor, mut pass: Pass) -> Result<Tensor> {
        let mut x = self.enter(input)?;
        for part in &self.parts {
            x = part.forward(&x, self.backend, &mut pass)?;
        }
        self.leave(&x)
    }
}

fn is_dense(layer: &Layer) -> bool {
    matches!(layer, Layer::Dense { .. } | Layer::Project { .. })
}

fn has_weights(layer: &Layer) -> bool {
    is_dense(layer) || matches!(layer, Layer::Conv { .. } | Layer::ConvTranspose { .. })
}

/// Whether a layer does not care how its input is arranged.
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

/// Most pixels a side that a layer resizes to.
const LARGEST: usize = 1024;

/// Whether a layer's own numbers are in their ranges.
fn check(layer: &Layer) -> Result<(), &'static str> {
    let (right, wanted) = match *layer {
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
            [height, width].iter().all(|side| (1..=LARGEST).contains(side)),
            "sizes must be at least 1 and at most 1024",
        ),
        Layer::AvgPool(side) => (side > 0, "squares must measure at least 1"),
        Layer::Rescale { scale, shift } => (
            scale != 0.0 && scale.is_finite() && shift.is_finite(),
            "the scale must not be 0, and both must be finite",
        ),
        _ => (true, ""),
    };
    if right { Ok(()) } else { Err(wanted) }
}

/// What a layer without a product does on its own, and the shape that comes out.
fn plain_of(layer: &Layer, input: Shape, vars: &VarBuilder) -> Result<(Op, Shape)> {
    let Shape { channels, height, width } = input;
    let resample = || Resample::of(layer, (height, width), vars.device()).map(Op::Resample);
    Ok(match *layer {
        Layer::BatchNorm { epsilon, momentum: Momentum(momentum), .. } => {
            (Op::Norm(Norm::new(channels, epsilon, momentum, vars)?), input)
        }
        Layer::Activation(activation) => (Op::Activation(activation), input),
        Layer::Dropout(probability) => (Op::Dropout(probability), input),
        Layer::Rescale { scale, shift } => {
            (Op::Rescale { scale: scale.into(), shift: shift.into() }, input)
        }
        Layer::Resize(height, width) => (resample()?, Shape { height, width, ..input }),
        Layer::AvgPool(side) => {
            let (height, width) = (height.div_ceil(side), width.div_ceil(side));
            (resample()?, Shape { height, width, ..input })
        }
        Layer::Dense { .. }
        | Layer::Project { .. }
        | Layer::Conv { .. }
        | Layer::ConvTranspose { .. } => unreachable!("has weights"),
    })
}

/// What a layer with weights computes, and the shape that comes out.
fn product_of(layer: &Layer, input: Shape) -> Result<(Product, Shape), String> {
    let Shape { height, width, .. } = input;
    match *layer {
        Layer::Project { to, .. } if (height, width) == (1, 1) => Ok((Product::Project, to)),
        Layer::Project { .. } => Err(format!("projects a vector, not {width}x{height} pixels")),
        Layer::Conv { channels, kernel, stride, .. } if kernel * stride > 0 => {
            let output = (channels, height.div_ceil(stride), width.div_ceil(stride));
            let window = Window::same((kernel, kernel), stride, (height, width));
            Ok((Product::Conv(window), output.into()))
        }
        Layer::ConvTranspose { channels, kernel, stride, .. } if kernel * stride > 0 => {
            let (height, width) = (height * stride, width * stride);
            let window = Window::same((kernel, kernel), stride, (height, width));
            Ok((Product::ConvTranspose(window), (channels, height, width).into()))
        }
        Layer::Dense { units, .. } => Ok((Product::Dense, Shape::vector(units))),
        _ => Err("kernel and stride must be at least 1".to_string()),
    }
}

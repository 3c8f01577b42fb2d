//! Networks built from their list of layers.

use crate::config::{Activation, Init, Layer, Shape};
use crate::error::{Error, Result};
use crate::stage::{Backend, Pass, Plan, Product, Stage};
use candle_core::{Tensor, Var};
use candle_nn::VarBuilder;
use gan_kernels::{LayerPass, Wants, Window};
use rand::RngCore;
use std::collections::BTreeMap;

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
    stages: Vec<Stage>,
    input: End,
    output: End,
    backend: Backend,
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
        if let Init::Normal(deviation) = init
            && !(deviation > 0.0 && deviation.is_finite())
        {
            let text = format!("init: a normal deviation of {deviation} must be above 0");
            return Err(Error::Config(text));
        }
        let mut stages: Vec<Stage> = Vec::new();
        let is_dense = |layer: &Layer| matches!(layer, Layer::Dense { .. } | Layer::Project { .. });
        let has_weights = |layer: &Layer| {
            is_dense(layer) || matches!(layer, Layer::Conv { .. } | Layer::ConvTranspose { .. })
        };
        let input = End::new(input, layers.first().is_some_and(is_dense));
        let mut output = input;
        for (number, layer) in layers.iter().enumerate() {
            let vars = vars.pp("layers").pp(number);
            let wrong = |reason: &str| Error::Layer {
                layer: number,
                kind: layer.kind(),
                reason: reason.to_string(),
            };
            let last = stages.last_mut();
            match *layer {
                Layer::BatchNorm { epsilon, momentum } => match last {
                    Some(stage) if stage.takes_norm() => {
                        if !(epsilon > 0.0 && momentum > 0.0 && momentum <= 1.0) {
                            return Err(wrong(
                                "epsilon must be above 0, momentum above 0 and at most 1",
                            ));
                        }
                        stage.normalise(epsilon, momentum, &vars)?;
                    }
                    _ => {
                        return Err(wrong(
                            "must follow a layer with weights and bias = false directly",
                        ));
                    }
                },
                Layer::Activation(Activation::LeakyRelu(slope))
                    if !(slope >= 0.0 && slope.is_finite()) =>
                {
                    return Err(wrong("the slope must be at least 0"));
                }
                Layer::Activation(activation) => match last {
                    Some(stage) if stage.activation.is_none() && stage.dropout == 0.0 => {
                        stage.activation = Some(activation);
                    }
                    _ => return Err(wrong("must follow a layer with weights or batch_norm")),
                },
                Layer::Dropout(probability) => match last {
                    Some(stage) if stage.dropout == 0.0 => {
                        if !(0.0..1.0).contains(&probability) {
                            return Err(wrong("the probability must be at least 0 and below 1"));
                        }
                        stage.dropout = probability;
                    }
                    _ => {
                        return Err(wrong(
                            "must follow a layer with weights, batch_norm or an activation",
                        ));
                    }
                },
                Layer::Dense { bias, .. }
                | Layer::Project { bias, .. }
                | Layer::Conv { bias, .. }
                | Layer::ConvTranspose { bias, .. } => {
                    let (product, outside) =
                        product_of(layer, output.outside).map_err(|reason| wrong(&reason))?;
                    if outside.is_empty() {
                        return Err(wrong("the output has no values: sizes must be at least 1"));
                    }
                    let is_last = !layers[number + 1..].iter().any(has_weights);
                    let from = stages.last().map_or(input.inside, Stage::output);
                    output = End::new(outside, is_last && is_dense(layer));
                    let plan = Plan { product, input: from, output: output.inside, bias, init };
                    stages.push(Stage::new(plan, &vars)?);
                }
            }
        }
        Ok(Self { stages, input, output, backend: Backend::of(vars.device()) })
    }

    /// The same network run by another backend.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// The same network with weights that no gradient reaches: what a generator is trained
    /// through.
    pub fn detached(&self) -> Self {
        let stages = self.stages.iter().map(Stage::detached).collect();
        Self { stages, ..self.clone() }
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
        self.multiply_adds_by_layer().iter().sum()
    }

    /// The same for each layer with a product, the first first.
    pub fn multiply_adds_by_layer(&self) -> Vec<usize> {
        self.stages.iter().map(Stage::multiply_adds).collect()
    }

    /// Whether a picture's output depends on the others of its batch while training.
    pub fn mixes_batch(&self) -> bool {
        self.stages.iter().any(|stage| stage.norm.is_some())
    }

    /// (B, C, H, W) to (B, C, H, W) of the output's shape. A vector is a picture of one pixel.
    ///
    /// # Errors
    /// An input of another shape or device.
    pub fn forward(&self, input: &Tensor, mut pass: Pass) -> Result<Tensor> {
        let mut x = self.enter(input)?;
        for stage in &self.stages {
            x = stage.forward(&x, self.backend, &mut pass)?;
        }
        self.leave(&x)
    }

    /// A training pass, and what its backward pass needs: the fast way to train, as autograd is
    /// for a network that is part of something larger.
    ///
    /// # Shapes
    /// As [`Network::forward`].
    /// # Errors
    /// An input of another shape or device.
    pub fn record(&self, input: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Tape)> {
        let record = match self.backend {
            Backend::Kernels => {
                let mut passes: Vec<LayerPass> = Vec::with_capacity(self.stages.len());
                let features = self.enter(&input.detach())?;
                for stage in &self.stages {
                    let _span = tracing::trace_span!("forward", stage = stage.name()).entered();
                    let x = passes.last().map_or(&features, LayerPass::output);
                    passes.push(stage.record(x, rng)?);
                }
                Record::Kernels(passes)
            }
            Backend::Candle => {
                let input = Var::from_tensor(&input.detach())?;
                let output = self.forward(&input, Pass::Train(rng))?;
                Record::Candle { input, output }
            }
        };
        let output = match &record {
            Record::Kernels(passes) => match passes.last() {
                Some(pass) => self.leave(pass.output())?,
                None => input.clone(),
            },
            Record::Candle { output, .. } => output.detach(),
        };
        Ok((output, Tape { network: self.clone(), record }))
    }
}

/// Gradients by the names of their parameters.
pub type Gradients = BTreeMap<String, Tensor>;

/// A recorded training pass. The backward pass must come before the parameters are updated.
pub struct Tape {
    network: Network,
    record: Record,
}

enum Record {
    /// One pass for each stage.
    Kernels(Vec<LayerPass>),
    /// The ends of a graph of candle's autograd.
    Candle { input: Var, output: Tensor },
}

impl Tape {
    /// Gradients of the input (B, C, H, W) and of the parameters, those wanted, given the
    /// gradient of the output, in its shape.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, gradient: &Tensor, wants: Wants) -> Result<(Option<Tensor>, Gradients)> {
        match &self.record {
            Record::Kernels(passes) => self.backward_kernels(passes, gradient, wants),
            Record::Candle { input, output } => {
                let found = (output * gradient)?.sum_all()?.backward()?;
                let mut gradients = Gradients::new();
                for stage in self.network.stages.iter().filter(|_| wants.parameters) {
                    for (name, value) in stage.trained() {
                        gradients.extend(found.get(value).map(|found| (name, found.clone())));
                    }
                }
                let of_input = found.get(input).filter(|_| wants.input).cloned();
                Ok((of_input, gradients))
            }
        }
    }

    fn backward_kernels(
        &self,
        passes: &[LayerPass],
        gradient: &Tensor,
        wants: Wants,
    ) -> Result<(Option<Tensor>, Gradients)> {
        let Network { input, output, backend, .. } = self.network;
        let gradient = reshaped(gradient, output.outside, output.inside)?;
        let mut gradient = backend.features(&gradient)?;
        let mut gradients = Gradients::new();
        for (number, (stage, pass)) in self.network.stages.iter().zip(passes).enumerate().rev() {
            let _span = tracing::trace_span!("backward", stage = stage.name()).entered();
            let wants = Wants { input: wants.input || number > 0, ..wants };
            let found = pass.backward(&gradient, wants)?;
            for ((name, value), found) in
                stage.trained().into_iter().zip(split(found.weight, found.affine)?)
            {
                gradients.insert(name, found.reshape(value.dims())?);
            }
            match found.input {
                Some(input) => gradient = input,
                None => return Ok((None, gradients)),
            }
        }
        let gradient = backend.images(&gradient)?;
        Ok((Some(reshaped(&gradient, input.inside, input.outside)?), gradients))
    }
}

/// A layer's gradients in the order of [`Stage::trained`].
fn split(weight: Option<Tensor>, affine: Option<Tensor>) -> Result<Vec<Tensor>> {
    let mut all = Vec::from_iter(weight);
    match affine {
        // The gradients of (gamma, beta).
        Some(both) if both.rank() == 2 => all.extend([both.get(0)?, both.get(1)?]),
        bias => all.extend(bias),
    }
    Ok(all)
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

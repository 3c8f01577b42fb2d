//! Networks built from their list of layers.

use crate::config::{Init, Layer, Shape};
use crate::error::{Error, Result};
use crate::stage::{Backend, Pass, Plan, Product, Stage};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use gan_kernels::Window;

/// Layers applied one after the other. Clones share their weights.
///
/// Parameters are named `layers.N.weight`, `layers.N.bias`, and `layers.N.running_mean`,
/// `layers.N.running_var` of batch normalisation, where N counts the configured layers. Weights
/// of products have the shape (kernel height, kernel width, channels in, channels out); a dense
/// layer's kernel covers all of its input's pixels.
#[derive(Clone, Debug)]
pub struct Network {
    stages: Vec<Stage>,
    output: Shape,
    backend: Backend,
}

impl Network {
    /// Builds the layers for inputs of this shape, on the backend of the builder's device.
    ///
    /// # Errors
    /// [`Error::Layer`] for a layer that does not fit the ones before it; missing or misshapen
    /// weights.
    pub fn new(input: Shape, layers: &[Layer], init: Init, vars: &VarBuilder) -> Result<Self> {
        let mut stages: Vec<Stage> = Vec::new();
        let mut shape = input;
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
                    Some(stage) if stage.norm.is_none() && stage.activation.is_none() => {
                        stage.normalise(epsilon, momentum, &vars)?;
                    }
                    _ => return Err(wrong("must follow a layer with weights directly")),
                },
                Layer::Activation(activation) => match last {
                    Some(stage) if stage.activation.is_none() && stage.dropout == 0.0 => {
                        stage.activation = Some(activation);
                    }
                    _ => return Err(wrong("must follow a layer with weights or batch_norm")),
                },
                Layer::Dropout(probability) => match last {
                    Some(stage) if stage.dropout == 0.0 && stage.norm.is_none() => {
                        if !(0.0..1.0).contains(&probability) {
                            return Err(wrong("the probability must be at least 0 and below 1"));
                        }
                        stage.dropout = probability;
                    }
                    _ => {
                        return Err(wrong(
                            "must follow a layer with weights, or its activation, without batch_norm",
                        ));
                    }
                },
                Layer::Dense { bias, .. }
                | Layer::Project { bias, .. }
                | Layer::Conv { bias, .. }
                | Layer::ConvTranspose { bias, .. } => {
                    let (product, output) =
                        product_of(layer, shape).map_err(|reason| wrong(&reason))?;
                    if output.is_empty() {
                        return Err(wrong("the output has no values: sizes must be at least 1"));
                    }
                    let plan = Plan { product, input: shape, output, bias, init };
                    stages.push(Stage::new(plan, &vars)?);
                    shape = output;
                }
            }
        }
        Ok(Self { stages, output: shape, backend: Backend::of(vars.device()) })
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
        self.output
    }

    /// Multiply-adds of one forward pass of one picture; products with padding, which are never
    /// made, are not counted.
    pub fn multiply_adds(&self) -> usize {
        self.stages.iter().map(Stage::multiply_adds).sum()
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
        let mut x = self.backend.features(input)?;
        for stage in &self.stages {
            x = stage.forward(&x, self.backend, &mut pass)?;
        }
        self.backend.images(&x)
    }
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

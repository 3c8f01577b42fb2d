//! One product of a network with what follows it, on two backends.
//!
//! This is the one place that knows how features are laid out: (H, W, B, C) for this project's
//! kernels on the CPU, (B, C, H, W) for candle's own operators everywhere else.

use crate::config::{self, Init, Shape};
use crate::error::Result;
use candle_core::{Device, Tensor, Var};
use candle_nn::VarBuilder;
use gan_kernels::{Activation, Affine, BatchNorm, Dropout, Epilogue, Geometry, LayerPass, Window};
use rand::RngCore;
use std::sync::Arc;

/// Whose operators run a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernels of gan-kernels; CPU only.
    Kernels,
    /// candle's own operators; any device, slow on the CPU.
    Candle,
}

impl Backend {
    /// The faster one of a device.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() { Self::Kernels } else { Self::Candle }
    }

    /// Pictures (B, C, H, W) as features of this backend.
    pub(crate) fn features(self, images: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Kernels => gan_kernels::to_pixel_major(images)?,
            Self::Candle => images.clone(),
        })
    }

    /// Features of this backend as pictures (B, C, H, W).
    pub(crate) fn images(self, features: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Kernels => gan_kernels::to_batch_major(features)?,
            Self::Candle => features.clone(),
        })
    }
}

/// What a forward pass is for.
pub enum Pass<'a> {
    /// Use: running statistics, no dropout.
    Infer,
    /// Training: batch statistics, and dropout from this generator. Running statistics move where
    /// the weights are variables ([`crate::Parameters`]), not where they were loaded for use.
    Train(&'a mut dyn RngCore),
}

/// Where a product's inputs meet its outputs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Product {
    Dense,
    Project,
    Conv(Window),
    ConvTranspose(Window),
}

/// A product, then bias or batch normalisation, activation and dropout.
#[derive(Clone, Debug)]
pub(crate) struct Stage {
    /// Name of weight and bias, without the last part.
    name: String,
    product: Product,
    geometry: Arc<Geometry>,
    output: Shape,
    /// (kernel H, kernel W, C in, C out)
    weight: Tensor,
    /// (C out), or (H * W * C out) after a projection.
    bias: Option<Tensor>,
    pub(crate) norm: Option<Norm>,
    pub(crate) activation: Option<config::Activation>,
    pub(crate) dropout: f32,
}

#[derive(Clone, Debug)]
pub(crate) struct Norm {
    name: String,
    gamma: Tensor,
    beta: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    epsilon: f32,
    momentum: f32,
}

/// What a stage's weights are made of.
pub(crate) struct Plan {
    pub(crate) product: Product,
    pub(crate) input: Shape,
    pub(crate) output: Shape,
    pub(crate) bias: bool,
    pub(crate) init: Init,
}

impl Stage {
    pub(crate) fn new(plan: Plan, vars: &VarBuilder) -> Result<Self> {
        let Plan { product, input, output, bias, init } = plan;
        let (from, to) = ((input.height, input.width), (output.height, output.width));
        let corner = |kernel| Window { kernel, stride: 1, padding: (0, 0) };
        let (geometry, kernel) = match product {
            Product::Dense if from == (1, 1) => (Geometry::dense(), (1, 1)),
            Product::Dense => (Geometry::conv(corner(from), from, to)?, from),
            Product::Project => (Geometry::transposed(corner(to), from, to)?, to),
            Product::Conv(window) => (Geometry::conv(window, from, to)?, window.kernel),
            Product::ConvTranspose(window) => {
                (Geometry::transposed(window, from, to)?, window.kernel)
            }
        };
        let taps = kernel.0 * kernel.1;
        let (fan_in, fan_out) = match product {
            Product::Dense | Product::Project => (input.len(), output.len()),
            _ => (taps * input.channels, taps * output.channels),
        };
        let uniform = |bound: f64| candle_nn::Init::Uniform { lo: -bound, up: bound };
        let fan_in_bound = 1.0 / (fan_in as f64).sqrt();
        let (weight_init, bias_init) = match init {
            Init::Normal(stdev) => {
                (candle_nn::Init::Randn { mean: 0.0, stdev }, candle_nn::init::ZERO)
            }
            Init::Glorot => {
                (uniform((6.0 / (fan_in + fan_out) as f64).sqrt()), candle_nn::init::ZERO)
            }
            Init::FanIn => (uniform(fan_in_bound), uniform(fan_in_bound)),
        };
        let shape = (kernel.0, kernel.1, input.channels, output.channels);
        let weight = vars.get_with_hints(shape, "weight", weight_init)?;
        let features = match product {
            Product::Project => output.len(),
            _ => output.channels,
        };
        let bias = bias.then(|| vars.get_with_hints(features, "bias", bias_init)).transpose()?;
        Ok(Self {
            name: vars.prefix(),
            product,
            geometry: Arc::new(geometry),
            output,
            weight,
            bias,
            norm: None,
            activation: None,
            dropout: 0.0,
        })
    }

    /// Whether batch normalisation can follow: a bias before it would have no effect.
    pub(crate) fn takes_norm(&self) -> bool {
        self.norm.is_none()
            && self.bias.is_none()
            && self.activation.is_none()
            && self.dropout == 0.0
    }

    /// Adds batch normalisation.
    pub(crate) fn normalise(
        &mut self,
        epsilon: f32,
        momentum: f32,
        vars: &VarBuilder,
    ) -> Result<()> {
        let features = match self.product {
            Product::Project => self.output.len(),
            _ => self.output.channels,
        };
        let get =
            |name: &str, value| vars.get_with_hints(features, name, candle_nn::Init::Const(value));
        self.norm = Some(Norm {
            name: vars.prefix(),
            gamma: get("weight", 1.0)?,
            beta: get("bias", 0.0)?,
            running_mean: get("running_mean", 0.0)?,
            running_variance: get("running_var", 1.0)?,
            epsilon,
            momentum,
        });
        Ok(())
    }

    /// The same stage with weights that no gradient reaches.
    pub(crate) fn detached(&self) -> Self {
        let mut stage = self.clone();
        stage.weight = stage.weight.detach();
        stage.bias = stage.bias.map(|bias| bias.detach());
        if let Some(norm) = &mut stage.norm {
            norm.gamma = norm.gamma.detach();
            norm.beta = norm.beta.detach();
        }
        stage
    }

    /// Names and values of what is trained.
    pub(crate) fn trained(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![(format!("{}.weight", self.name), &self.weight)];
        all.extend(self.bias.as_ref().map(|bias| (format!("{}.bias", self.name), bias)));
        if let Some(norm) = &self.norm {
            all.push((format!("{}.weight", norm.name), &norm.gamma));
            all.push((format!("{}.bias", norm.name), &norm.beta));
        }
        all
    }

    /// Name of weight and bias, without the last part.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Shape of the output.
    pub(crate) fn output(&self) -> Shape {
        self.output
    }

    /// Multiply-adds for one picture.
    pub(crate) fn multiply_adds(&self) -> usize {
        let channels = self.weight.dims()[2] * self.weight.dims()[3];
        self.geometry.meetings() * channels
    }

    /// Features through the stage.
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend, pass: &mut Pass) -> Result<Tensor> {
        match backend {
            Backend::Kernels => self.forward_kernels(x, pass),
            Backend::Candle => self.forward_candle(x, pass),
        }
    }

    fn dropout(&self, pass: &mut Pass) -> Result<Option<Dropout>> {
        Ok(match pass {
            Pass::Train(rng) if self.dropout > 0.0 => {
                Some(Dropout::new(self.dropout, rng.next_u64())?)
            }
            _ => None,
        })
    }

    fn per_pixel(&self) -> bool {
        matches!(self.product, Product::Project)
    }

    fn epilogue(&self, pass: &mut Pass) -> Result<Epilogue> {
        let activation = match self.activation {
            None => Activation::Identity,
            Some(config::Activation::Relu) => Activation::LeakyRelu(0.0),
            Some(config::Activation::LeakyRelu(slope)) => Activation::LeakyRelu(slope),
            Some(config::Activation::Tanh) => Activation::Tanh,
            Some(config::Activation::Sigmoid) => Activation::Sigmoid,
        };
        Ok(Epilogue { activation, dropout: self.dropout(pass)? })
    }

    fn batch_norm(&self, norm: &Norm) -> BatchNorm {
        BatchNorm { epsilon: norm.epsilon, per_pixel: self.per_pixel() }
    }

    /// A training pass of the kernels outside of autograd.
    pub(crate) fn record(&self, x: &Tensor, rng: &mut dyn RngCore) -> Result<LayerPass> {
        let affine = match (&self.norm, &self.bias) {
            (Some(norm), _) => Affine::BatchNorm(&norm.gamma, &norm.beta, self.batch_norm(norm)),
            (None, Some(bias)) => Affine::Bias(bias),
            (None, None) => Affine::None,
        };
        let epilogue = self.epilogue(&mut Pass::Train(rng))?;
        let pass = LayerPass::forward(x, &self.weight, affine, &self.geometry, epilogue)?;
        if let Some(norm) = &self.norm {
            let statistics = pass.statistics()?;
            norm.update(&statistics.mean, &statistics.variance)?;
        }
        Ok(pass)
    }

    fn forward_kernels(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let epilogue = self.epilogue(pass)?;
        let Some(norm) = &self.norm else {
            let bias = self.bias.as_ref();
            return Ok(gan_kernels::layer(x, &self.weight, bias, &self.geometry, epilogue)?);
        };
        if let Pass::Train(_) = pass {
            let (y, statistics) = gan_kernels::layer_batch_norm(
                x,
                &self.weight,
                (&norm.gamma, &norm.beta),
                &self.geometry,
                self.batch_norm(norm),
                epilogue,
            )?;
            norm.update(&statistics.mean, &statistics.variance)?;
            return Ok(y);
        }
        // With fixed statistics, normalisation is a scale and a shift of the weights.
        let (scale, shift) = norm.scale_and_shift()?;
        let scale = if self.per_pixel() {
            scale.reshape((self.output.height, self.output.width, 1, self.output.channels))?
        } else {
            scale.reshape((1, 1, 1, self.output.channels))?
        };
        let weight = self.weight.broadcast_mul(&scale)?;
        Ok(gan_kernels::layer(x, &weight, Some(&shift), &self.geometry, epilogue)?)
    }

    fn forward_candle(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let mut y = self.product_candle(x)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&self.per_feature(bias)?)?;
        }
        if let Some(norm) = &self.norm {
            if let Pass::Train(_) = pass {
                let dims: &[usize] = if self.per_pixel() { &[0] } else { &[0, 2, 3] };
                let mean = y.mean_keepdim(dims)?;
                let centred = y.broadcast_sub(&mean)?;
                let variance = centred.sqr()?.mean_keepdim(dims)?;
                let deviation = (&variance + f64::from(norm.epsilon))?.sqrt()?;
                y = centred
                    .broadcast_div(&deviation)?
                    .broadcast_mul(&self.per_feature(&norm.gamma)?)?
                    .broadcast_add(&self.per_feature(&norm.beta)?)?;
                let count = y.elem_count() as f64 / mean.elem_count() as f64;
                let unbiased = (variance.detach() * (count / (count - 1.0).max(1.0)))?;
                let flat = |t: &Tensor| t.squeeze(0)?.permute((1, 2, 0))?.flatten_all();
                norm.update(&flat(&mean.detach())?, &flat(&unbiased)?)?;
            } else {
                let (scale, shift) = norm.scale_and_shift()?;
                y = y
                    .broadcast_mul(&self.per_feature(&scale)?)?
                    .broadcast_add(&self.per_feature(&shift)?)?;
            }
        }
        y = match self.activation {
            None => y,
            Some(config::Activation::Relu) => y.relu()?,
            // max(z, 0) + slope * min(z, 0)
            Some(config::Activation::LeakyRelu(slope)) => {
                (y.relu()? - (y.neg()?.relu()? * f64::from(slope))?)?
            }
            Some(config::Activation::Tanh) => y.tanh()?,
            Some(config::Activation::Sigmoid) => candle_nn::ops::sigmoid(&y)?,
        };
        if let Some(dropout) = self.dropout(pass)? {
            // The mask is defined by the order (H, W, B, C).
            let (b, c, h, w) = y.dims4()?;
            let mask = Tensor::from_vec(dropout.mask(y.elem_count()), (h, w, b, c), &Device::Cpu)?;
            y = (y.clone() * mask.permute((2, 3, 0, 1))?.contiguous()?.to_device(y.device())?)?;
        }
        Ok(y)
    }

    /// A value for each feature, shaped to meet (B, C, H, W).
    fn per_feature(&self, values: &Tensor) -> Result<Tensor> {
        let Shape { channels, height, width } = self.output;
        Ok(if self.per_pixel() {
            values.reshape((height, width, channels))?.permute((2, 0, 1))?.unsqueeze(0)?
        } else {
            values.reshape((1, channels, 1, 1))?
        })
    }

    fn product_candle(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, ..) = x.dims4()?;
        let Shape { channels, height, width } = self.output;
        Ok(match self.product {
            Product::Dense => {
                // (kernel H, kernel W, C in, units) meets the order (C, H, W) of the picture.
                let weight = self.weight.permute((2, 0, 1, 3))?.flatten_to(2)?.contiguous()?;
                x.flatten_from(1)?.matmul(&weight)?.reshape((batch, channels, 1, 1))?
            }
            Product::Project => {
                let weight = self.weight.permute((2, 3, 0, 1))?.flatten_from(1)?.contiguous()?;
                x.flatten_from(1)?.matmul(&weight)?.reshape((batch, channels, height, width))?
            }
            Product::Conv(window) => {
                let (kernel, (in_height, in_width)) = (window.kernel, self.geometry.input());
                // What lies outside below and right follows from the output's size.
                let pad = |small: usize, kernel: usize, before: usize, large: usize| {
                    ((small - 1) * window.stride + kernel).saturating_sub(before + large)
                };
                let below = pad(height, kernel.0, window.padding.0, in_height);
                let right = pad(width, kernel.1, window.padding.1, in_width);
                let weight = self.weight.permute((3, 2, 0, 1))?.contiguous()?;
                x.pad_with_zeros(2, window.padding.0, below)?
                    .pad_with_zeros(3, window.padding.1, right)?
                    .conv2d(&weight, 0, window.stride, 1, 1)?
                    .narrow(2, 0, height)?
                    .narrow(3, 0, width)?
            }
            Product::ConvTranspose(window) => {
                let weight = self.weight.permute((2, 3, 0, 1))?.contiguous()?;
                let y = x.contiguous()?.conv_transpose2d(&weight, 0, 0, window.stride, 1)?;
                // The whole result, cut to the output, or filled up where no window reaches.
                let missing =
                    |size: usize, before: usize, have: usize| (before + size).saturating_sub(have);
                let below = missing(height, window.padding.0, y.dim(2)?);
                let right = missing(width, window.padding.1, y.dim(3)?);
                y.pad_with_zeros(2, 0, below)?
                    .pad_with_zeros(3, 0, right)?
                    .narrow(2, window.padding.0, height)?
                    .narrow(3, window.padding.1, width)?
            }
        })
    }
}

impl Norm {
    /// Moves the running statistics towards a batch's.
    fn update(&self, mean: &Tensor, variance: &Tensor) -> Result<()> {
        for (running, value) in [(&self.running_mean, mean), (&self.running_variance, variance)] {
            move_towards(&Var::from_tensor(running)?, value, f64::from(self.momentum))?;
        }
        Ok(())
    }

    /// Normalisation with the running statistics as `scale * z + shift`.
    fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let deviation = (self.running_variance.detach() + f64::from(self.epsilon))?.sqrt()?;
        let scale = (&self.gamma / deviation)?;
        let shift = (&self.beta - (self.running_mean.detach() * &scale)?)?;
        Ok((scale, shift))
    }
}

/// `average += rate * (value - average)`, in place on any device.
pub(crate) fn move_towards(average: &Var, value: &Tensor, rate: f64) -> Result<()> {
    if average.device().is_cpu() {
        return Ok(gan_kernels::move_towards(average, value, rate as f32)?);
    }
    let current = average.as_detached_tensor();
    average.set(&(&current + ((value - &current)? * rate)?)?)?;
    Ok(())
}

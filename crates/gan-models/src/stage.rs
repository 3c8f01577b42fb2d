//! One product of a network with what follows it, on two backends.
//!
//! This is the one place that knows how features are laid out: (H, W, B, C) for this project's
//! kernels on the CPU, (B, C, H, W) for candle's own operators everywhere else.

use crate::config::{self, Init, Shape};
use crate::error::Result;
use crate::norm::{Features, Norm};
use crate::parameters::truncated;
use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use gan_kernels::{
    Activation, BatchNorm, Dropout, Epilogue, Geometry, SavedLayer, ScaleShift, Window,
};
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
            Self::Kernels => gan_kernels::nchw_to_hwnc(images)?,
            Self::Candle => images.clone(),
        })
    }

    /// Features of this backend as pictures (B, C, H, W).
    pub(crate) fn images(self, features: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Kernels => gan_kernels::hwnc_to_nchw(features)?,
            Self::Candle => features.clone(),
        })
    }

    /// Which dimension of features their channels are.
    pub(crate) fn channels(self) -> Features {
        Features::Channels(match self {
            Self::Kernels => 3,
            Self::Candle => 1,
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

impl Pass<'_> {
    /// Dropout of this probability, where this pass has any.
    pub(crate) fn dropout(&mut self, probability: f32) -> Result<Option<Dropout>> {
        Ok(match self {
            Pass::Train(rng) if probability > 0.0 => {
                Some(Dropout::new(probability, rng.next_u64())?)
            }
            _ => None,
        })
    }
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
    norm: Option<Norm>,
    /// What is normalised.
    normalised: Features,
    pub(crate) activation: Option<config::Activation>,
    pub(crate) dropout: f32,
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
        let shape = (kernel.0, kernel.1, input.channels, output.channels);
        let uniform = |bound: f64| candle_nn::Init::Uniform { lo: -bound, up: bound };
        let zero = candle_nn::init::ZERO;
        let fan_in_bound = 1.0 / (fan_in as f64).sqrt();
        let (weight_init, bias_init) = match init {
            Init::Normal(stdev) => (candle_nn::Init::Randn { mean: 0.0, stdev }, zero),
            Init::TruncatedNormal(stdev) => (truncated(stdev, shape), zero),
            Init::Glorot => (uniform((6.0 / (fan_in + fan_out) as f64).sqrt()), zero),
            Init::FanIn => (uniform(fan_in_bound), uniform(fan_in_bound)),
        };
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
            normalised: Features::Channels(1),
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

    /// Adds batch normalisation; of a projection per output, unless `per_channel`.
    pub(crate) fn normalise(
        &mut self,
        epsilon: f32,
        momentum: f32,
        per_channel: bool,
        vars: &VarBuilder,
    ) -> Result<()> {
        let (features, normalised) = match self.product {
            Product::Project if !per_channel => (self.output.len(), Features::Values(self.output)),
            _ => (self.output.channels, Features::Channels(1)),
        };
        self.normalised = normalised;
        self.norm = Some(Norm::new(features, epsilon, momentum, vars)?);
        Ok(())
    }

    /// Whether the stage is normalised, so that pictures of a batch mix.
    pub(crate) fn is_normalised(&self) -> bool {
        self.norm.is_some()
    }

    /// The same stage with weights that no gradient reaches.
    pub(crate) fn detached(&self) -> Self {
        let mut stage = self.clone();
        stage.weight = stage.weight.detach();
        stage.bias = stage.bias.map(|bias| bias.detach());
        stage.norm = stage.norm.as_ref().map(Norm::detached);
        stage
    }

    /// Names and values of what is trained.
    pub(crate) fn trained(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![(format!("{}.weight", self.name), &self.weight)];
        all.extend(self.bias.as_ref().map(|bias| (format!("{}.bias", self.name), bias)));
        all.extend(self.norm.iter().flat_map(Norm::trained));
        all
    }

    /// Name of weight and bias, without the last part.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Multiply-adds for one picture.
    pub(crate) fn multiply_adds(&self) -> usize {
        let channels = self.weight.dims()[2] * self.weight.dims()[3];
        self.geometry.multiply_adds() * channels
    }

    /// Features through the stage.
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend, pass: &mut Pass) -> Result<Tensor> {
        match backend {
            Backend::Kernels => self.forward_kernels(x, pass),
            Backend::Candle => self.forward_candle(x, pass),
        }
    }

    fn epilogue(&self, pass: &mut Pass) -> Result<Epilogue> {
        let activation = match self.activation {
            None => Activation::Identity,
            Some(config::Activation::Relu) => Activation::LeakyRelu(0.0),
            Some(config::Activation::LeakyRelu(slope)) => Activation::LeakyRelu(slope),
            Some(config::Activation::Tanh) => Activation::Tanh,
            Some(config::Activation::Sigmoid) => Activation::Sigmoid,
        };
        Ok(Epilogue { activation, dropout: pass.dropout(self.dropout)? })
    }

    fn batch_norm(&self, norm: &Norm) -> BatchNorm {
        let per_pixel = matches!(self.normalised, Features::Values(_));
        BatchNorm { epsilon: norm.epsilon, per_pixel }
    }

    /// A training pass of the kernels outside of autograd.
    pub(crate) fn record(&self, x: &Tensor, rng: &mut dyn RngCore) -> Result<SavedLayer> {
        let affine = match (&self.norm, &self.bias) {
            (Some(norm), _) => {
                ScaleShift::BatchNorm(&norm.gamma, &norm.beta, self.batch_norm(norm))
            }
            (None, Some(bias)) => ScaleShift::Bias(bias),
            (None, None) => ScaleShift::None,
        };
        let epilogue = self.epilogue(&mut Pass::Train(rng))?;
        let pass = SavedLayer::forward(x, &self.weight, affine, &self.geometry, epilogue)?;
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
        let scale = match self.normalised {
            Features::Values(Shape { channels, height, width }) => {
                scale.reshape((height, width, 1, channels))?
            }
            Features::Channels(_) => Features::Channels(3).spread(&scale)?,
        };
        let weight = self.weight.broadcast_mul(&scale)?;
        Ok(gan_kernels::layer(x, &weight, Some(&shift), &self.geometry, epilogue)?)
    }

    fn forward_candle(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let mut y = self.product_candle(x)?;
        if let Some(bias) = &self.bias {
            let features = match self.product {
                Product::Project => Features::Values(self.output),
                _ => Features::Channels(1),
            };
            y = y.broadcast_add(&features.spread(bias)?)?;
        }
        if let Some(norm) = &self.norm {
            y = norm.forward(&y, self.normalised, matches!(pass, Pass::Train(_)))?;
        }
        if let Some(activation) = self.activation {
            y = activate(&y, activation)?;
        }
        match pass.dropout(self.dropout)? {
            Some(dropout) => drop_out(&y, dropout, Backend::Candle),
            None => Ok(y),
        }
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

/// An activation by candle's operators.
pub(crate) fn activate(z: &Tensor, activation: config::Activation) -> Result<Tensor> {
    Ok(match activation {
        config::Activation::Relu => z.relu()?,
        // max(z, 0) + slope * min(z, 0)
        config::Activation::LeakyRelu(slope) => {
            (z.relu()? - (z.neg()?.relu()? * f64::from(slope))?)?
        }
        config::Activation::Tanh => z.tanh()?,
        config::Activation::Sigmoid => candle_nn::ops::sigmoid(z)?,
    })
}

/// Dropout by candle's operators.
pub(crate) fn drop_out(x: &Tensor, dropout: Dropout, backend: Backend) -> Result<Tensor> {
    // The mask is defined by the order (H, W, B, C).
    let mask = |shape| Tensor::from_vec(dropout.mask(x.elem_count()), shape, &Device::Cpu);
    let mask = match backend {
        Backend::Kernels => mask(x.dims4()?)?,
        Backend::Candle => {
            let (b, c, h, w) = x.dims4()?;
            mask((h, w, b, c))?.permute((2, 3, 0, 1))?.contiguous()?.to_device(x.device())?
        }
    };
    Ok((x * mask)?)
}

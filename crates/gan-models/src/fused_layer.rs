//! A layer with weights, fused with the batch normalisation, activation and dropout after it.

use crate::backend::{Backend, Mode};
use crate::batch_norm::{BatchNormLayer, NormPass};
use crate::candle_ops;
use crate::config::{Activation, FeatureShape, WeightInit};
use crate::error::Result;
use crate::layout::Layout;
use crate::linear_map::LinearMap;
use crate::parameters::truncated_normal_init;
use crate::patches::{Patches, Product};
use candle_core::Tensor;
use candle_nn::VarBuilder;
use gan_kernels::{
    BatchNorm, Epilogue, FixedLayer, Geometry, GradMask, LayerGradients, SavedLayer, ScaleShift,
    Window,
};
use rand::RngCore;
use std::sync::{Arc, OnceLock};

/// A linear map, then bias or batch normalisation, activation and dropout.
#[derive(Clone, Debug)]
pub(crate) struct FusedLayer {
    /// Name prefix of weight and bias.
    name: String,
    map: LinearMap,
    geometry: Arc<Geometry>,
    /// The geometry for candle's operators, on the weight's device, from their first pass on.
    patches: Arc<OnceLock<Patches>>,
    output: FeatureShape,
    /// (kernel H, kernel W, C in / groups, C out)
    weight: Tensor,
    /// (C out), or (H * W * C out) after a projection.
    bias: Option<Tensor>,
    norm: Option<BatchNormLayer>,
    /// Whether bias or normalisation have a value for every pixel of each channel.
    per_pixel: bool,
    pub(crate) activation: Option<Activation>,
    pub(crate) dropout: f32,
}

/// A layer with weights, before the weights exist.
pub(crate) struct LayerSpec {
    pub(crate) map: LinearMap,
    pub(crate) input: FeatureShape,
    pub(crate) output: FeatureShape,
    pub(crate) bias: bool,
    /// Groups of channels; 1 but for convolutions.
    pub(crate) groups: usize,
    pub(crate) init: WeightInit,
    /// Whether weight and bias start at 0 instead.
    pub(crate) zero_init: bool,
}

impl LayerSpec {
    /// Height and width of the map's kernel.
    fn kernel(&self) -> (usize, usize) {
        match self.map {
            LinearMap::Dense => (self.input.height, self.input.width),
            LinearMap::Project => (self.output.height, self.output.width),
            LinearMap::Conv(window) | LinearMap::ConvTranspose(window) => window.kernel,
        }
    }

    /// The index pairs of the map.
    fn geometry(&self) -> Result<Geometry> {
        let (from, to) =
            ((self.input.height, self.input.width), (self.output.height, self.output.width));
        let corner = |kernel| Window { kernel, stride: 1, padding: (0, 0) };
        let one = match self.map {
            LinearMap::Dense if from == (1, 1) => Geometry::dense(),
            LinearMap::Dense => Geometry::conv(corner(from), from, to)?,
            LinearMap::Project => Geometry::transposed(corner(to), from, to)?,
            LinearMap::Conv(window) => Geometry::conv(window, from, to)?,
            LinearMap::ConvTranspose(window) => Geometry::transposed(window, from, to)?,
        };
        Ok(one.with_groups(self.groups)?)
    }

    /// Initial distributions of weight and bias.
    fn initial(&self, weight: (usize, usize, usize, usize)) -> (candle_nn::Init, candle_nn::Init) {
        let taps = weight.0 * weight.1;
        let (fan_in, fan_out) = match self.map {
            LinearMap::Dense | LinearMap::Project => (self.input.len(), self.output.len()),
            // What an output sees, and what sees an input: the channels of one group.
            _ => (taps * weight.2, taps * weight.3 / self.groups),
        };
        let uniform = |bound: f64| candle_nn::Init::Uniform { lo: -bound, up: bound };
        let zero = candle_nn::init::ZERO;
        if self.zero_init {
            return (zero, zero);
        }
        let fan_in_bound = 1.0 / (fan_in as f64).sqrt();
        match self.init {
            WeightInit::Normal(stdev) => (candle_nn::Init::Randn { mean: 0.0, stdev }, zero),
            WeightInit::TruncatedNormal(stdev) => (truncated_normal_init(stdev, weight), zero),
            WeightInit::Glorot => (uniform((6.0 / (fan_in + fan_out) as f64).sqrt()), zero),
            WeightInit::FanIn => (uniform(fan_in_bound), uniform(fan_in_bound)),
            WeightInit::FanInNormal(gain) => {
                // A pixel of a transposed convolution sees one tap in stride x stride.
                let shared = match self.map {
                    LinearMap::ConvTranspose(window) => window.stride,
                    _ => 1,
                };
                let stdev = gain * fan_in_bound * shared as f64;
                (candle_nn::Init::Randn { mean: 0.0, stdev }, zero)
            }
        }
    }
}

impl FusedLayer {
    pub(crate) fn new(spec: LayerSpec, vars: &VarBuilder) -> Result<Self> {
        let kernel = spec.kernel();
        let LayerSpec { map, input, output, .. } = spec;
        let shape = (kernel.0, kernel.1, input.channels / spec.groups, output.channels);
        let (weight_init, bias_init) = spec.initial(shape);
        let weight = vars.get_with_hints(shape, "weight", weight_init)?;
        let per_pixel = matches!(map, LinearMap::Project);
        let features = if per_pixel { output.len() } else { output.channels };
        let bias = spec.bias.then(|| vars.get_with_hints(features, "bias", bias_init));
        // After the weights, so that those of a file that do not fit cost no table.
        let geometry = spec.geometry()?;
        Ok(Self {
            name: vars.prefix(),
            map,
            geometry: Arc::new(geometry),
            patches: Arc::default(),
            output,
            weight,
            bias: bias.transpose()?,
            norm: None,
            per_pixel,
            activation: None,
            dropout: 0.0,
        })
    }

    /// Whether batch normalisation can follow. A bias before it would have no effect.
    pub(crate) fn accepts_norm(&self) -> bool {
        self.norm.is_none()
            && self.bias.is_none()
            && self.activation.is_none()
            && self.dropout == 0.0
    }

    /// Adds batch normalisation: per channel, or after a projection per output unless
    /// `per_channel`.
    pub(crate) fn add_norm(
        &mut self,
        epsilon: f32,
        momentum: f32,
        per_channel: bool,
        vars: &VarBuilder,
    ) -> Result<()> {
        self.per_pixel &= !per_channel;
        let features = if self.per_pixel { self.output.len() } else { self.output.channels };
        self.norm = Some(BatchNormLayer::new(features, epsilon, momentum, vars)?);
        Ok(())
    }

    /// Whether the layer has batch normalisation.
    pub(crate) fn has_norm(&self) -> bool {
        self.norm.is_some()
    }

    /// The same layer with weights that receive no gradient.
    pub(crate) fn detached(&self) -> Self {
        let mut layer = self.clone();
        layer.weight = layer.weight.detach();
        layer.bias = layer.bias.map(|bias| bias.detach());
        layer.norm = layer.norm.as_ref().map(BatchNormLayer::detached);
        layer
    }

    /// Names and values of the trainable parameters.
    pub(crate) fn trainable_parameters(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![(format!("{}.weight", self.name), &self.weight)];
        all.extend(self.bias.as_ref().map(|bias| (format!("{}.bias", self.name), bias)));
        all.extend(self.norm.iter().flat_map(BatchNormLayer::trainable_parameters));
        all
    }

    /// Names and layouts of all tensors.
    pub(crate) fn layouts(&self) -> Vec<(String, Layout)> {
        let weight = self.map.weight_layout(self.weight.dims(), self.geometry.groups());
        let mut all = vec![(format!("{}.weight", self.name), weight)];
        let layout = if self.per_pixel {
            Layout::projected_vector(self.output)
        } else {
            Layout::vector(self.output.channels)
        };
        if let Some(norm) = &self.norm {
            all.extend(norm.layouts(&layout));
        }
        if self.bias.is_some() {
            all.push((format!("{}.bias", self.name), layout));
        }
        all
    }

    /// Name prefix of weight and bias.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Forward pass on features in the backend's layout.
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend, mode: &mut Mode) -> Result<Tensor> {
        match backend {
            Backend::Kernels => self.forward_kernels(x, mode),
            Backend::Candle => Ok(self.candle_pass(x, mode)?.output),
        }
    }

    fn epilogue(&self, mode: &mut Mode) -> Result<Epilogue> {
        let activation = match self.activation {
            None => gan_kernels::Activation::Identity,
            Some(activation) => activation.into(),
        };
        Ok(Epilogue::new(activation).with_dropout(mode.dropout(self.dropout)?))
    }

    fn batch_norm(&self, norm: &BatchNormLayer) -> BatchNorm {
        BatchNorm { epsilon: norm.epsilon, per_pixel: self.per_pixel }
    }

    /// Training pass without autograd: output and saved activations.
    pub(crate) fn forward_train(
        &self,
        x: &Tensor,
        backend: Backend,
        rng: &mut dyn RngCore,
    ) -> Result<SavedFused> {
        Ok(match backend {
            Backend::Kernels => SavedFused::Kernels(self.kernels_pass(x, rng)?),
            Backend::Candle => SavedFused::Candle(self.candle_pass(x, &mut Mode::Train(rng))?),
        })
    }

    /// The gradients that `wants` asks for: of the input and, in their order, of the trainable
    /// parameters, given the gradient of the output.
    pub(crate) fn backward(
        &self,
        saved: &SavedFused,
        grad: &Tensor,
        wants: GradMask,
    ) -> Result<(Option<Tensor>, Vec<Tensor>)> {
        match saved {
            SavedFused::Kernels(saved) => split(saved.backward(grad, wants)?),
            SavedFused::Candle(pass) => self.candle_backward(pass, grad, wants),
        }
    }

    fn kernels_pass(&self, x: &Tensor, rng: &mut dyn RngCore) -> Result<SavedLayer> {
        let affine = match (&self.norm, &self.bias) {
            (Some(norm), _) => {
                ScaleShift::BatchNorm(&norm.gamma, &norm.beta, self.batch_norm(norm))
            }
            (None, Some(bias)) => ScaleShift::Bias(bias),
            (None, None) => ScaleShift::None,
        };
        let epilogue = self.epilogue(&mut Mode::Train(rng))?;
        let pass = SavedLayer::forward(x, &self.weight, affine, &self.geometry, epilogue)?;
        if let Some(norm) = &self.norm {
            let statistics = pass.statistics()?;
            norm.update(&statistics.mean, &statistics.variance)?;
        }
        Ok(pass)
    }

    fn forward_kernels(&self, x: &Tensor, mode: &mut Mode) -> Result<Tensor> {
        let epilogue = self.epilogue(mode)?;
        let Some(norm) = &self.norm else {
            let bias = self.bias.as_ref();
            return Ok(gan_kernels::layer(x, &self.weight, bias, &self.geometry, epilogue)?);
        };
        if mode.is_train() {
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
        let (weight, shift) = self.scaled(norm)?;
        Ok(gan_kernels::layer(x, &weight, Some(&shift), &self.geometry, epilogue)?)
    }

    /// With fixed statistics, normalisation is a scale and a shift of the weights: returns the scaled
    /// weight and the shift.
    fn scaled(&self, norm: &BatchNormLayer) -> Result<(Tensor, Tensor)> {
        let (scale, shift) = norm.scale_and_shift()?;
        let scale = if self.per_pixel {
            scale.reshape((self.output.height, self.output.width, 1, self.output.channels))?
        } else {
            scale
        };
        Ok((self.weight.broadcast_mul(&scale)?, shift))
    }

    /// The layer in evaluation mode, with weights that do not change any more.
    pub(crate) fn fixed(&self) -> Result<FixedLayer> {
        let (weight, bias) = match &self.norm {
            Some(norm) => {
                let (weight, shift) = self.scaled(norm)?;
                (weight, Some(shift))
            }
            None => (self.weight.clone(), self.bias.clone()),
        };
        let activation = self.epilogue(&mut Mode::Eval)?.activation;
        Ok(FixedLayer { weight, bias, geometry: self.geometry.clone(), activation })
    }

    /// Forward pass on (B, H, W, C), differentiable by candle's autograd.
    fn candle_pass(&self, x: &Tensor, mode: &mut Mode) -> Result<CandlePass> {
        let (product, y) = self.patches()?.forward(x, &self.weight)?;
        let FeatureShape { channels, height, width } = self.output;
        let mut y = y.reshape(((), height, width, channels))?;
        if let Some(bias) = &self.bias {
            let rows = y.reshape(((), bias.elem_count()))?;
            y = rows.broadcast_add(bias)?.reshape(y.dims())?;
        }
        let norm = match &self.norm {
            Some(norm) if mode.is_train() => {
                let pass = norm.forward_train(&y)?;
                y = pass.output().clone();
                Some(pass)
            }
            Some(norm) => {
                y = norm.forward(&y, false)?;
                None
            }
            None => None,
        };
        let activated = match self.activation {
            Some(activation) => candle_ops::activate(&y, activation)?,
            None => y,
        };
        let mask = match mode.dropout(self.dropout)? {
            Some(dropout) => Some(candle_ops::dropout_mask(&activated, dropout, Backend::Candle)?),
            None => None,
        };
        let output = match &mask {
            Some(mask) => (&activated * mask)?,
            None => activated.clone(),
        };
        Ok(CandlePass { product, norm, activated, mask, output })
    }

    /// The gradients that `wants` asks for, as [`FusedLayer::backward`] returns them.
    fn candle_backward(
        &self,
        pass: &CandlePass,
        grad: &Tensor,
        wants: GradMask,
    ) -> Result<(Option<Tensor>, Vec<Tensor>)> {
        let mut grad = match &pass.mask {
            Some(mask) => (grad * mask)?,
            None => grad.clone(),
        };
        if let Some(activation) = self.activation {
            grad = candle_ops::activation_gradient(&pass.activated, &grad, activation)?;
        }
        let mut of_affine = Vec::new();
        if let Some(norm) = &pass.norm {
            (grad, of_affine) = norm.backward(&grad)?;
        } else if let Some(bias) = self.bias.as_ref().filter(|_| wants.parameters) {
            let rows = grad.reshape(((), bias.elem_count()))?;
            let ones = Tensor::ones((1, rows.dim(0)?), rows.dtype(), rows.device())?;
            of_affine.push(ones.matmul(&rows)?);
        }
        let (grad_input, of_weight) = self.patches()?.backward(&pass.product, &grad, wants)?;
        Ok((grad_input, of_weight.into_iter().chain(of_affine).collect()))
    }

    fn patches(&self) -> Result<&Patches> {
        if let Some(patches) = self.patches.get() {
            return Ok(patches);
        }
        let device = self.weight.device();
        let patches = Patches::new(&self.geometry, self.map.is_transposed(), device)?;
        Ok(self.patches.get_or_init(|| patches))
    }
}

/// The output of a training pass, and what its backward pass needs.
pub(crate) enum SavedFused {
    Kernels(SavedLayer),
    Candle(CandlePass),
}

impl SavedFused {
    pub(crate) fn output(&self) -> &Tensor {
        match self {
            Self::Kernels(saved) => saved.output(),
            Self::Candle(pass) => &pass.output,
        }
    }
}

/// A pass in candle's operators on (B, H, W, C), with what its backward pass needs.
pub(crate) struct CandlePass {
    product: Product,
    /// In training, where the layer has batch normalisation.
    norm: Option<NormPass>,
    /// The output before dropout.
    activated: Tensor,
    mask: Option<Tensor>,
    output: Tensor,
}

/// The kernels' gradients: of the input, and of the parameters in their order.
fn split(gradients: LayerGradients) -> Result<(Option<Tensor>, Vec<Tensor>)> {
    let mut parameters = Vec::from_iter(gradients.weight);
    match gradients.scale_shift {
        // The gradients of (gamma, beta).
        Some(both) if both.rank() == 2 => parameters.extend([both.get(0)?, both.get(1)?]),
        bias => parameters.extend(bias),
    }
    Ok((gradients.input, parameters))
}

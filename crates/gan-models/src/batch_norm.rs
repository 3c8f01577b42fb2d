//! Batch normalisation: parameters, running statistics, and the forward pass in candle's operators.
//!
//! Ioffe and Szegedy 2015, "Batch Normalization".

use crate::config::FeatureShape;
use crate::error::Result;
use crate::layout::Layout;
use candle_core::{Tensor, Var};
use candle_nn::{Init, VarBuilder};

/// Batch normalisation with its parameters and running statistics.
#[derive(Clone, Debug)]
pub(crate) struct BatchNormLayer {
    name: String,
    pub(crate) gamma: Tensor,
    pub(crate) beta: Tensor,
    running_mean: Tensor,
    running_variance: Tensor,
    pub(crate) epsilon: f32,
    momentum: f32,
}

/// The dimensions of a batch that hold its features.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FeatureAxes {
    /// One of four dimensions: each index along it is a feature.
    Channels(usize),
    /// Every value of (B, C, H, W) but the batch is a feature of its own; vectors of features have
    /// the order (H, W, C).
    Values(FeatureShape),
}

impl FeatureAxes {
    /// The dimensions that statistics are reduced over.
    fn reduced(self) -> Vec<usize> {
        match self {
            Self::Channels(axis) => (0..4).filter(|&other| other != axis).collect(),
            Self::Values(_) => vec![0],
        }
    }

    /// Reshapes a vector of one value per feature so that it broadcasts over the batch.
    pub(crate) fn broadcastable(self, values: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Channels(axis) => {
                let mut dims = [1; 4];
                dims[axis] = values.elem_count();
                values.reshape(&dims)?
            }
            Self::Values(FeatureShape { channels, height, width }) => {
                values.reshape((height, width, channels))?.permute((2, 0, 1))?.unsqueeze(0)?
            }
        })
    }

    /// The inverse of [`FeatureAxes::broadcastable`].
    fn vector(self, values: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Channels(_) => values.flatten_all()?,
            Self::Values(_) => values.squeeze(0)?.permute((1, 2, 0))?.flatten_all()?,
        })
    }
}

impl BatchNormLayer {
    /// Batch normalisation of this many features. Initially gamma is 1 and beta is 0.
    pub(crate) fn new(
        features: usize,
        epsilon: f32,
        momentum: f32,
        vars: &VarBuilder,
    ) -> Result<Self> {
        let get = |name: &str, value| vars.get_with_hints(features, name, Init::Const(value));
        Ok(Self {
            name: vars.prefix(),
            gamma: get("weight", 1.0)?,
            beta: get("bias", 0.0)?,
            running_mean: get("running_mean", 0.0)?,
            running_variance: get("running_var", 1.0)?,
            epsilon,
            momentum,
        })
    }

    /// The same layer with parameters that receive no gradient.
    pub(crate) fn detached(&self) -> Self {
        Self { gamma: self.gamma.detach(), beta: self.beta.detach(), ..self.clone() }
    }

    /// Names and values of the trainable parameters.
    pub(crate) fn trainable_parameters(&self) -> [(String, &Tensor); 2] {
        [
            (format!("{}.weight", self.name), &self.gamma),
            (format!("{}.bias", self.name), &self.beta),
        ]
    }

    /// Names and layouts of all tensors.
    pub(crate) fn layouts(&self, features: FeatureAxes) -> Vec<(String, Layout)> {
        let layout = match features {
            FeatureAxes::Values(shape) => Layout::projected_vector(shape),
            FeatureAxes::Channels(_) => Layout::vector(self.gamma.elem_count()),
        };
        let names = ["weight", "bias", "running_mean", "running_var"];
        names.map(|name| (format!("{}.{name}", self.name), layout.clone())).into()
    }

    /// Normalises with the batch's statistics and updates the running ones, or in evaluation
    /// normalises with the running ones.
    pub(crate) fn forward(&self, x: &Tensor, features: FeatureAxes, train: bool) -> Result<Tensor> {
        if !train {
            let (scale, shift) = self.scale_and_shift()?;
            let scaled = x.broadcast_mul(&features.broadcastable(&scale)?)?;
            return Ok(scaled.broadcast_add(&features.broadcastable(&shift)?)?);
        }
        let reduced = features.reduced();
        let mean = x.mean_keepdim(reduced.as_slice())?;
        let centred = x.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim(reduced.as_slice())?;
        let std = (&variance + f64::from(self.epsilon))?.sqrt()?;
        let y = centred
            .broadcast_div(&std)?
            .broadcast_mul(&features.broadcastable(&self.gamma)?)?
            .broadcast_add(&features.broadcastable(&self.beta)?)?;
        let count = x.elem_count() as f64 / mean.elem_count() as f64;
        let unbiased = (variance.detach() * (count / (count - 1.0).max(1.0)))?;
        self.update(&features.vector(&mean.detach())?, &features.vector(&unbiased)?)?;
        Ok(y)
    }

    /// Updates the running statistics with a batch's.
    pub(crate) fn update(&self, mean: &Tensor, variance: &Tensor) -> Result<()> {
        for (running, value) in [(&self.running_mean, mean), (&self.running_variance, variance)] {
            lerp_(&Var::from_tensor(running)?, value, f64::from(self.momentum))?;
        }
        Ok(())
    }

    /// Normalisation by the running statistics, as the factors of `scale * z + shift`.
    pub(crate) fn scale_and_shift(&self) -> Result<(Tensor, Tensor)> {
        let std = (self.running_variance.detach() + f64::from(self.epsilon))?.sqrt()?;
        let scale = (&self.gamma / std)?;
        let shift = (&self.beta - (self.running_mean.detach() * &scale)?)?;
        Ok((scale, shift))
    }
}

/// Linear interpolation in place: `var += weight * (value - var)`, on any device.
///
/// # Errors
/// A value of another shape or type; failures of the device.
pub fn lerp_(var: &Var, value: &Tensor, weight: f64) -> Result<()> {
    if var.device().is_cpu() {
        return Ok(gan_kernels::lerp_(var, value, weight as f32)?);
    }
    let current = var.as_detached_tensor();
    var.set(&(&current + ((value - &current)? * weight)?)?)?;
    Ok(())
}

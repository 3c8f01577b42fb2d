//! Batch normalisation: parameters, running statistics, and the passes in candle's operators.
//!
//! Ioffe and Szegedy 2015, "Batch Normalization".

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

/// A training pass of batch normalisation, with what its backward pass needs. Every tensor but the
/// output is (rows, features), or (1, features) for one value per feature.
pub(crate) struct NormPass {
    /// (1, rows): a product with it sums up rows.
    ones: Tensor,
    centred: Tensor,
    inverse_std: Tensor,
    /// `gamma * inverse_std`
    scale: Tensor,
    output: Tensor,
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

    /// Names of all tensors, with the layout of every one.
    pub(crate) fn layouts(&self, layout: &Layout) -> Vec<(String, Layout)> {
        let names = ["weight", "bias", "running_mean", "running_var"];
        names.map(|name| (format!("{}.{name}", self.name), layout.clone())).into()
    }

    /// Normalises with the batch's statistics and updates the running ones, or in evaluation
    /// normalises with the running ones. The last dimensions of `x` are the features.
    pub(crate) fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        if train {
            return Ok(self.forward_train(x)?.output);
        }
        let (scale, shift) = self.scale_and_shift()?;
        let y = self.rows(x)?.broadcast_mul(&scale)?.broadcast_add(&shift)?;
        Ok(y.reshape(x.dims())?)
    }

    /// Normalises as [`BatchNormLayer::forward`] in training, and keeps what the backward pass needs.
    pub(crate) fn forward_train(&self, x: &Tensor) -> Result<NormPass> {
        let rows = self.rows(x)?;
        let count = rows.dim(0)? as f64;
        let ones = Tensor::ones((1, rows.dim(0)?), x.dtype(), x.device())?;
        let mean = (ones.matmul(&rows)? / count)?;
        let centred = rows.broadcast_sub(&mean)?;
        let variance = (ones.matmul(&centred.sqr()?)? / count)?;
        let inverse_std = (&variance + f64::from(self.epsilon))?.sqrt()?.recip()?;
        let scale = inverse_std.broadcast_mul(&self.gamma)?;
        let output = centred.broadcast_mul(&scale)?.broadcast_add(&self.beta)?.reshape(x.dims())?;
        let unbiased = (variance.detach() * (count / (count - 1.0).max(1.0)))?;
        self.update(&mean.detach().flatten_all()?, &unbiased.flatten_all()?)?;
        Ok(NormPass { ones, centred, inverse_std, scale, output })
    }

    /// The values as (rows, features).
    fn rows(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.reshape(((), self.gamma.elem_count()))?)
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

impl NormPass {
    pub(crate) fn output(&self) -> &Tensor {
        &self.output
    }

    /// The gradients of the input, gamma and beta, given that of the output.
    pub(crate) fn backward(&self, grad: &Tensor) -> Result<(Tensor, Vec<Tensor>)> {
        let Self { ones, centred, inverse_std, scale, output } = self;
        let grad = grad.reshape(centred.dims())?;
        let count = grad.dim(0)? as f64;
        let grad_beta = ones.matmul(&grad)?;
        let grad_gamma = (ones.matmul(&(&grad * centred)?)? * inverse_std)?;
        // The output depends on the mean and on the standard deviation too.
        let through_std = centred.broadcast_mul(&((&grad_gamma * inverse_std)? / count)?)?;
        let through_mean = grad.broadcast_sub(&(&grad_beta / count)?)?;
        let grad_x = (through_mean - through_std)?.broadcast_mul(scale)?;
        Ok((grad_x.reshape(output.dims())?, vec![grad_gamma, grad_beta]))
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

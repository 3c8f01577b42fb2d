//! Normalisation of each image over groups of channels.
//!
//! Wu and He 2018, "Group normalization"; with one group it is the layer normalisation of Ba et al.
//! 2016, with one for each channel the instance normalisation of Ulyanov et al. 2016.

use crate::backend::Backend;
use crate::error::Result;
use candle_core::Tensor;

/// Subtracts the mean of each group of an image's channels and divides by its standard deviation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GroupNorm {
    pub(crate) groups: usize,
    /// Added to variances.
    pub(crate) epsilon: f64,
}

/// Normalised features, and what the backward pass needs.
pub(crate) struct GroupNormPass {
    /// Normalised, with groups as a dimension: (pixels, B, groups, C / groups) or (B, pixels, ...).
    split: Tensor,
    /// One over the standard deviation of each group.
    scale: Tensor,
    /// The dimension of the pixels in `split`.
    pixels: usize,
    output: Tensor,
}

impl GroupNorm {
    /// Normalises features in the backend's layout, differentiable by candle's autograd.
    pub(crate) fn forward(self, x: &Tensor, backend: Backend) -> Result<GroupNormPass> {
        let (a, b, c, channels) = x.dims4()?;
        let (first, second, pixels) = match backend {
            Backend::Kernels => (a * b, c, 0),
            Backend::Candle => (a, b * c, 1),
        };
        let x4 = x.reshape((first, second, self.groups, channels / self.groups))?;
        let centred = x4.broadcast_sub(&x4.mean_keepdim((pixels, 3))?)?;
        let variance = centred.sqr()?.mean_keepdim((pixels, 3))?;
        let scale = (variance + self.epsilon)?.sqrt()?.recip()?;
        let split = centred.broadcast_mul(&scale)?;
        let output = split.reshape(x.dims())?;
        Ok(GroupNormPass { split, scale, pixels, output })
    }
}

impl GroupNormPass {
    pub(crate) fn output(&self) -> &Tensor {
        &self.output
    }

    /// The gradient of the features, given that of the output.
    pub(crate) fn backward(&self, grad: &Tensor) -> Result<Tensor> {
        let Self { split, scale, pixels, output } = self;
        let of_group = (*pixels, 3);
        let grad = grad.reshape(split.dims())?;
        // What moves the mean or the standard deviation does not come through.
        let along_mean = grad.mean_keepdim(of_group)?;
        let along_std = (&grad * split)?.mean_keepdim(of_group)?;
        let through = grad.broadcast_sub(&along_mean)?;
        let through = (through - split.broadcast_mul(&along_std)?)?;
        Ok(through.broadcast_mul(scale)?.reshape(output.dims())?)
    }
}

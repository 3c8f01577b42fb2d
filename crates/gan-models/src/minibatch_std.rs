//! The standard deviation over a batch, as a channel.
//!
//! Karras et al. 2018, "Progressive growing of GANs for improved quality, stability, and variation".

use crate::backend::Backend;
use crate::error::Result;
use candle_core::{D, Tensor};

/// Added to variances.
const EPSILON: f64 = 1e-8;

/// Features with the added channel, and what the backward pass needs.
pub(crate) struct MinibatchStd {
    /// The features less their mean over the batch.
    centred: Tensor,
    /// Of every value over the batch.
    std: Tensor,
    output: Tensor,
}

impl MinibatchStd {
    /// Adds the channel to features in the backend's layout, differentiable by candle's autograd.
    pub(crate) fn forward(x: &Tensor, backend: Backend) -> Result<Self> {
        let batch = match backend {
            Backend::Kernels => 2,
            Backend::Candle => 0,
        };
        let centred = x.broadcast_sub(&x.mean_keepdim(batch)?)?;
        let std = (centred.sqr()?.mean_keepdim(batch)? + EPSILON)?.sqrt()?;
        let mut channel = x.dims().to_vec();
        channel[3] = 1;
        let channel = std.mean_all()?.broadcast_as(channel)?;
        let output = Tensor::cat(&[x, &channel.contiguous()?], D::Minus1)?;
        Ok(Self { centred, std, output })
    }

    pub(crate) fn output(&self) -> &Tensor {
        &self.output
    }

    /// The gradient of the features, given that of the output.
    pub(crate) fn backward(&self, grad: &Tensor) -> Result<Tensor> {
        let channels = self.centred.dim(3)?;
        let of_mean = grad.narrow(3, channels, 1)?.sum_all()?;
        // A standard deviation moves by centred / (batch * std), their mean by that over their count;
        // the mean over the batch adds nothing, since what is centred adds up to 0.
        let slope = self.centred.broadcast_div(&self.std)?;
        let slope = (slope.broadcast_mul(&of_mean)? / slope.elem_count() as f64)?;
        Ok((grad.narrow(3, 0, channels)?.contiguous()? + slope)?)
    }
}

//! Activation and dropout in candle's own operators.

use crate::backend::Backend;
use crate::config::Activation;
use crate::error::Result;
use candle_core::{Device, Tensor};
use gan_kernels::Dropout;

/// An elementwise activation.
pub(crate) fn activate(z: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        Activation::Relu => z.relu()?,
        // max(z, 0) + slope * min(z, 0)
        Activation::LeakyRelu(slope) => (z.relu()? - (z.neg()?.relu()? * f64::from(slope))?)?,
        Activation::Tanh => z.tanh()?,
        Activation::Sigmoid => candle_nn::ops::sigmoid(z)?,
    })
}

/// Dropout of features in the layout of `backend`.
pub(crate) fn drop_out(x: &Tensor, dropout: Dropout, backend: Backend) -> Result<Tensor> {
    // The mask is drawn in the order (H, W, B, C) for every backend.
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

//! The layers in candle's own operators: what [`Backend::Candle`] runs.

use crate::backend::Backend;
use crate::config::{Activation, FeatureShape};
use crate::error::Result;
use crate::fused_layer::LinearMap;
use candle_core::{Device, Tensor};
use gan_kernels::Dropout;

/// The linear map of a layer with weights.
///
/// # Shapes
/// `x`: (B, C in, H, W); `weight`: (kernel height, kernel width, C in, C out); result: (B, C, H, W)
/// of `output`.
pub(crate) fn linear_map(
    map: LinearMap,
    x: &Tensor,
    weight: &Tensor,
    output: FeatureShape,
) -> Result<Tensor> {
    let (batch, _, in_height, in_width) = x.dims4()?;
    let FeatureShape { channels, height, width } = output;
    Ok(match map {
        LinearMap::Dense => {
            // The inputs of a dense layer are ordered (C, H, W) here.
            let weight = weight.permute((2, 0, 1, 3))?.flatten_to(2)?.contiguous()?;
            x.flatten_from(1)?.matmul(&weight)?.reshape((batch, channels, 1, 1))?
        }
        LinearMap::Project => {
            let weight = weight.permute((2, 3, 0, 1))?.flatten_from(1)?.contiguous()?;
            x.flatten_from(1)?.matmul(&weight)?.reshape((batch, channels, height, width))?
        }
        LinearMap::Conv(window) => {
            // The padding below and to the right follows from the output's size.
            let pad = |small: usize, kernel: usize, before: usize, large: usize| {
                ((small - 1) * window.stride + kernel).saturating_sub(before + large)
            };
            let below = pad(height, window.kernel.0, window.padding.0, in_height);
            let right = pad(width, window.kernel.1, window.padding.1, in_width);
            let weight = weight.permute((3, 2, 0, 1))?.contiguous()?;
            x.pad_with_zeros(2, window.padding.0, below)?
                .pad_with_zeros(3, window.padding.1, right)?
                .conv2d(&weight, 0, window.stride, 1, 1)?
                .narrow(2, 0, height)?
                .narrow(3, 0, width)?
        }
        LinearMap::ConvTranspose(window) => {
            let weight = weight.permute((2, 3, 0, 1))?.contiguous()?;
            let y = x.contiguous()?.conv_transpose2d(&weight, 0, 0, window.stride, 1)?;
            // The full result is cropped to the output, and padded where no window reaches.
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

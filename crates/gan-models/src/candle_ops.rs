//! Activations, their gradients and dropout in candle's own operators.

use crate::backend::Backend;
use crate::config::Activation;
use crate::error::Result;
use candle_core::Tensor;
use gan_kernels::Dropout;

/// An elementwise activation.
pub(crate) fn activate(z: &Tensor, activation: Activation) -> Result<Tensor> {
    Ok(match activation {
        Activation::Relu => z.relu()?,
        Activation::LeakyRelu(slope) => {
            let scaled = (z * f64::from(slope))?;
            if slope <= 1.0 { z.maximum(&scaled)? } else { z.minimum(&scaled)? }
        }
        Activation::Tanh => z.tanh()?,
        Activation::Sigmoid => candle_nn::ops::sigmoid(z)?,
    })
}

/// The gradient of an activation's argument, given the activation's output and that one's gradient.
pub(crate) fn activation_gradient(
    output: &Tensor,
    grad: &Tensor,
    activation: Activation,
) -> Result<Tensor> {
    let derivative = match activation {
        Activation::Relu => output.sign()?,
        Activation::LeakyRelu(slope) => {
            let slope = f64::from(slope);
            output.sign()?.relu()?.affine(1.0 - slope, slope)?
        }
        Activation::Tanh => output.sqr()?.affine(-1.0, 1.0)?,
        Activation::Sigmoid => (output * output.affine(-1.0, 1.0)?)?,
    };
    Ok((grad * derivative)?)
}

/// The factors of dropout for features like `x` in the layout of `backend`: 0 or the scale.
pub(crate) fn dropout_mask(x: &Tensor, dropout: Dropout, backend: Backend) -> Result<Tensor> {
    // The mask is drawn in the order (H, W, B, C) for every backend.
    let mask = |shape| Tensor::from_vec(dropout.mask(x.elem_count()), shape, x.device());
    Ok(match backend {
        Backend::Kernels => mask(x.dims4()?)?,
        Backend::Candle => {
            let (b, h, w, c) = x.dims4()?;
            mask((h, w, b, c))?.permute((2, 0, 1, 3))?
        }
    })
}

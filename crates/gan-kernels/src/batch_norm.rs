//! Batch normalisation that follows no product, outside of autograd.

use crate::activation::{Activation, Epilogue};
use crate::layer::{BatchStatistics, statistics_of};
use crate::norm::{self, Moments, Rows};
use crate::storage::with;
use candle_core::{Device, Result, Tensor, bail};

/// A training pass of batch normalisation per channel, with what its backward pass needs.
pub struct BatchNormPass {
    x: Tensor,
    gamma: Vec<f32>,
    epsilon: f32,
    moments: Moments,
    rows: Rows,
    output: Tensor,
}

const PLAIN: Epilogue = Epilogue { activation: Activation::Identity, dropout: None };

impl BatchNormPass {
    /// `gamma * (x - mean) / sqrt(variance + epsilon) + beta`, with the batch's own statistics.
    ///
    /// # Shapes
    /// `x` and the output: (H, W, B, C); `gamma`, `beta`: (C). f32 on the CPU.
    /// # Errors
    /// Shapes that do not fit, another device or type.
    /// # Reference
    /// Ioffe and Szegedy 2015, "Batch Normalization".
    pub fn forward(x: &Tensor, gamma: &Tensor, beta: &Tensor, epsilon: f32) -> Result<Self> {
        let (height, width, batch, channels) = x.dims4()?;
        let rows = Rows { groups: 1, rows: height * width * batch, channels };
        if gamma.dims() != [channels] || beta.dims() != [channels] || x.elem_count() == 0 {
            bail!("batch_norm: gamma {:?}, beta {:?}, x {:?}", gamma.dims(), beta.dims(), x.dims());
        }
        let (x, gamma) = (x.detach().contiguous()?, gamma.to_vec1::<f32>()?);
        let beta = beta.to_vec1::<f32>()?;
        let (moments, output) = with(&[Some(&x)], |values| {
            let moments = norm::moments(values[0], rows);
            let affine = (&gamma[..], &beta[..]);
            let output = norm::normalise(values[0], rows, &moments, affine, epsilon, PLAIN);
            Ok((moments, output))
        })?;
        let output = Tensor::from_vec(output, x.dims(), &Device::Cpu)?;
        Ok(Self { x, gamma, epsilon, moments, rows, output })
    }

    /// What came out.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// The batch's statistics.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn statistics(&self) -> Result<BatchStatistics> {
        statistics_of(&self.moments, self.rows)
    }

    /// The gradients of `x`, gamma and beta, given that of the output.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, gradient: &Tensor) -> Result<[Tensor; 3]> {
        if gradient.dims() != self.x.dims() {
            bail!("batch_norm: gradient {:?} of output {:?}", gradient.dims(), self.x.dims());
        }
        let gradient = gradient.contiguous()?;
        with(&[Some(&self.x), Some(&self.output), Some(&gradient)], |values| {
            let (of_x, of_gamma, of_beta) = norm::backward(
                values[0],
                values[1],
                values[2],
                self.rows,
                &self.moments,
                &self.gamma,
                self.epsilon,
                PLAIN,
            );
            let vector = |values| Tensor::from_vec(values, self.rows.channels, &Device::Cpu);
            let of_x = Tensor::from_vec(of_x, self.x.dims(), &Device::Cpu)?;
            Ok([of_x, vector(of_gamma)?, vector(of_beta)?])
        })
    }
}

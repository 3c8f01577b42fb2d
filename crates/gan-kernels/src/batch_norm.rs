//! Batch normalisation as an operator of its own, outside of candle's autograd.

use crate::activation::Epilogue;
use crate::norm::{self, BatchStatistics, MeanVariance, NormGradients, Parameters, Rows};
use crate::storage::with;
use candle_core::{Device, Result, Tensor, bail};

/// The output of batch normalisation per channel in training, with what its backward pass needs.
pub struct SavedBatchNorm {
    x: Tensor,
    gamma: Vec<f32>,
    beta: Vec<f32>,
    epsilon: f32,
    statistics: MeanVariance,
    rows: Rows,
    output: Tensor,
}

impl SavedBatchNorm {
    /// Computes `gamma * (x - mean) / sqrt(variance + epsilon) + beta` with the batch's own
    /// statistics.
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
        let (statistics, output) = with(&[Some(&x)], |values| {
            let statistics = norm::mean_variance(values[0], rows);
            let parameters =
                Parameters { gamma: &gamma, beta: &beta, epsilon, epilogue: Epilogue::NONE };
            let output = norm::normalise(values[0], rows, &statistics, parameters);
            Ok((statistics, output))
        })?;
        let output = Tensor::from_vec(output, x.dims(), &Device::Cpu)?;
        Ok(Self { x, gamma, beta, epsilon, statistics, rows, output })
    }

    /// The output.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Returns the batch's statistics.
    ///
    /// # Errors
    /// Failures of the device.
    pub fn statistics(&self) -> Result<BatchStatistics> {
        self.statistics.to_statistics(self.rows)
    }

    /// Returns the gradients of `x`, gamma and beta, given that of the output.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, gradient: &Tensor) -> Result<[Tensor; 3]> {
        if gradient.dims() != self.x.dims() {
            bail!("batch_norm: gradient {:?} of output {:?}", gradient.dims(), self.x.dims());
        }
        let gradient = gradient.contiguous()?;
        with(&[Some(&self.x), Some(&self.output), Some(&gradient)], |values| {
            let parameters = Parameters {
                gamma: &self.gamma,
                beta: &self.beta,
                epsilon: self.epsilon,
                epilogue: Epilogue::NONE,
            };
            let tensors = (values[0], values[1], values[2]);
            let NormGradients { values, gamma, beta } =
                norm::backward(tensors, self.rows, &self.statistics, parameters);
            let vector = |values| Tensor::from_vec(values, self.rows.channels, &Device::Cpu);
            let of_x = Tensor::from_vec(values, self.x.dims(), &Device::Cpu)?;
            Ok([of_x, vector(gamma)?, vector(beta)?])
        })
    }
}

//! A whole layer as one operator: a convolution, transposed convolution or dense layer, then bias or
//! batch normalisation, then activation and dropout.
//!
//! [`layer`] and [`layer_batch_norm`] are nodes of candle's autograd, which adds every gradient to a
//! tensor of zeros. [`SavedLayer`] has an explicit backward pass and avoids that work.

use crate::activation::Epilogue;
use crate::geometry::Geometry;
use crate::layer_op::{BatchNorm, GradMask, LayerGradients, LayerOp};
use crate::norm::BatchStatistics;
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// Computes `dropout(activation(linear(x, weight) + bias))`.
///
/// # Shapes
/// `x`: (H, W, B, C in); `weight`: (kernel H, kernel W, C in / groups, C out); `bias`: (C out), or
/// (H out * W out * C out) for a bias per pixel; result: (H out, W out, B, C out). H, W and groups are
/// those of `geometry`. f32 on the CPU.
/// # Gradient
/// Of `x`, `weight` and `bias`, each where it is tracked.
/// # Errors
/// Shapes that do not fit, a device other than the CPU.
pub fn layer(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &Arc<Geometry>,
    epilogue: Epilogue,
) -> Result<Tensor> {
    let mut op = LayerOp::new(x, weight, geometry, epilogue, None)?;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => {
            op.set_bias(bias)?;
            x.apply_op3(&weight, &bias.contiguous()?, op)
        }
        None => x.apply_op2(&weight, op),
    }
}

/// Computes `dropout(activation(batch_norm(linear(x, weight))))` with the batch's own statistics, and
/// returns these for the running averages.
///
/// # Shapes
/// As [`layer`]; `gamma`, `beta` and the statistics: (features).
/// # Gradient
/// Of `x`, `weight`, `gamma` and `beta`, through the statistics.
/// # Errors
/// As [`layer`].
/// # Reference
/// Ioffe and Szegedy 2015, "Batch Normalization".
pub fn layer_batch_norm(
    x: &Tensor,
    weight: &Tensor,
    (gamma, beta): (&Tensor, &Tensor),
    geometry: &Arc<Geometry>,
    batch_norm: BatchNorm,
    epilogue: Epilogue,
) -> Result<(Tensor, BatchStatistics)> {
    let op = LayerOp::new(x, weight, geometry, epilogue, Some(batch_norm))?;
    op.check_features(gamma, beta)?;
    let rows = op.rows();
    let pre_norm = op.pre_norm();
    let scale_shift = Tensor::stack(&[gamma, beta], 0)?;
    let y = x.contiguous()?.apply_op3(&weight.contiguous()?, &scale_shift, op)?;
    match pre_norm.get() {
        Some(pre_norm) => Ok((y, pre_norm.statistics.to_statistics(rows)?)),
        None => bail!("layer: the forward pass left no statistics"),
    }
}

/// What lies between a layer's linear map and its activation.
#[derive(Clone, Copy, Debug)]
pub enum ScaleShift<'a> {
    /// Nothing.
    None,
    /// A bias, as in [`layer`].
    Bias(&'a Tensor),
    /// Batch normalisation with gamma and beta, as in [`layer_batch_norm`].
    BatchNorm(&'a Tensor, &'a Tensor, BatchNorm),
}

/// The output of a layer outside of autograd, with the activations that its backward pass needs.
pub struct SavedLayer {
    op: LayerOp,
    x: Tensor,
    weight: Tensor,
    scale_shift: Option<Tensor>,
    output: Tensor,
}

impl SavedLayer {
    /// Computes the forward pass of [`layer`] or [`layer_batch_norm`].
    ///
    /// # Errors
    /// As those.
    pub fn forward(
        x: &Tensor,
        weight: &Tensor,
        scale_shift: ScaleShift,
        geometry: &Arc<Geometry>,
        epilogue: Epilogue,
    ) -> Result<Self> {
        let batch_norm = match scale_shift {
            ScaleShift::BatchNorm(_, _, batch_norm) => Some(batch_norm),
            _ => None,
        };
        let mut op = LayerOp::new(x, weight, geometry, epilogue, batch_norm)?;
        let scale_shift = match scale_shift {
            ScaleShift::None => None,
            ScaleShift::Bias(bias) => {
                op.set_bias(bias)?;
                Some(bias.detach().contiguous()?)
            }
            ScaleShift::BatchNorm(gamma, beta, _) => {
                op.check_features(gamma, beta)?;
                Some(Tensor::stack(&[gamma.detach(), beta.detach()], 0)?)
            }
        };
        let (x, weight) = (x.detach().contiguous()?, weight.detach().contiguous()?);
        let output = match &scale_shift {
            Some(scale_shift) => x.apply_op3_no_bwd(&weight, scale_shift, &op)?,
            None => x.apply_op2_no_bwd(&weight, &op)?,
        };
        Ok(Self { op, x, weight, scale_shift, output })
    }

    /// The layer's output.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// Returns the batch's statistics of a normalised layer.
    ///
    /// # Errors
    /// A layer without batch normalisation.
    pub fn statistics(&self) -> Result<BatchStatistics> {
        match self.op.pre_norm().get() {
            Some(pre_norm) => pre_norm.statistics.to_statistics(self.op.rows()),
            None => bail!("layer: no batch statistics without batch normalisation"),
        }
    }

    /// Returns the gradients, given that of the output.
    ///
    /// # Errors
    /// A gradient of another shape than the output's.
    pub fn backward(&self, gradient: &Tensor, mask: GradMask) -> Result<LayerGradients> {
        if gradient.dims() != self.output.dims() {
            bail!("layer: gradient {:?} of output {:?}", gradient.dims(), self.output.dims());
        }
        let Self { op, x, weight, scale_shift, output } = self;
        op.backward(x, weight, scale_shift.as_ref(), (output, gradient), mask)
    }
}

//! A layer that is not fused with a linear map.

use crate::backend::{Backend, Mode};
use crate::basis::Basis;
use crate::batch_norm::{BatchNormLayer, NormPass};
use crate::candle_ops;
use crate::config::Activation;
use crate::error::Result;
use crate::group_norm::{GroupNorm, GroupNormPass};
use crate::layout::Layout;
use crate::minibatch_std::MinibatchStd;
use crate::pixel_shuffle::PixelShuffle;
use crate::resample::Resample;
use candle_core::Tensor;
use candle_nn::VarBuilder;
use gan_kernels::SavedBatchNorm;
use rand::RngCore;

/// A layer that is not fused with a linear map.
#[derive(Clone, Debug)]
pub(crate) struct StandaloneLayer {
    name: String,
    op: Op,
}

/// The operation of a [`StandaloneLayer`].
#[derive(Clone, Debug)]
pub(crate) enum Op {
    BatchNorm(BatchNormLayer),
    Basis(Basis),
    Activation(Activation),
    Dropout(f32),
    Resample(Resample),
    Rescale { scale: f64, shift: f64 },
    PixelShuffle(PixelShuffle),
    MinibatchStd,
    GroupNorm(GroupNorm),
}

/// The output of a training pass, and what its backward pass needs.
pub(crate) enum SavedStandalone {
    /// A layer whose gradient depends on no activation.
    Linear(Tensor),
    /// An activation, whose gradient depends on its output.
    Activation(Tensor),
    Dropout {
        mask: Tensor,
        output: Tensor,
    },
    /// A product with a parameter, whose gradient depends on the input.
    Basis {
        input: Tensor,
        output: Tensor,
    },
    MinibatchStd(MinibatchStd),
    GroupNorm(GroupNormPass),
    /// Batch normalisation by the kernels.
    Kernels(SavedBatchNorm),
    /// Batch normalisation in candle's operators.
    Candle(NormPass),
}

impl SavedStandalone {
    pub(crate) fn output(&self) -> &Tensor {
        match self {
            Self::Linear(output)
            | Self::Activation(output)
            | Self::Dropout { output, .. }
            | Self::Basis { output, .. } => output,
            Self::MinibatchStd(pass) => pass.output(),
            Self::GroupNorm(pass) => pass.output(),
            Self::Kernels(pass) => pass.output(),
            Self::Candle(pass) => pass.output(),
        }
    }
}

impl StandaloneLayer {
    pub(crate) fn new(op: Op, vars: &VarBuilder) -> Self {
        Self { name: vars.prefix(), op }
    }

    /// Name prefix of the parameters.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same layer with parameters that receive no gradient.
    pub(crate) fn detached(&self) -> Self {
        let op = match &self.op {
            Op::BatchNorm(norm) => Op::BatchNorm(norm.detached()),
            Op::Basis(basis) => Op::Basis(basis.detached()),
            op => op.clone(),
        };
        Self { op, ..self.clone() }
    }

    /// Names and values of the trainable parameters.
    pub(crate) fn trainable_parameters(&self) -> Vec<(String, &Tensor)> {
        match &self.op {
            Op::BatchNorm(norm) => norm.trainable_parameters().into(),
            Op::Basis(basis) => vec![basis.trainable_parameter()],
            _ => Vec::new(),
        }
    }

    /// Names and layouts of all tensors.
    pub(crate) fn layouts(&self) -> Vec<(String, Layout)> {
        match &self.op {
            Op::BatchNorm(norm) => norm.layouts(&Layout::vector(norm.gamma.elem_count())),
            Op::Basis(basis) => vec![basis.layout()],
            _ => Vec::new(),
        }
    }

    /// Whether, in training, an image's output depends on the rest of its batch.
    pub(crate) fn uses_batch_statistics(&self) -> bool {
        matches!(self.op, Op::BatchNorm(_) | Op::MinibatchStd)
    }

    /// Forward pass on features in the backend's layout.
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend, mode: &mut Mode) -> Result<Tensor> {
        match &self.op {
            Op::BatchNorm(norm) => norm.forward(x, mode.is_train()),
            Op::Basis(basis) => basis.forward(x, backend),
            Op::Activation(activation) => candle_ops::activate(x, *activation),
            Op::Dropout(probability) => match mode.dropout(*probability)? {
                Some(dropout) => Ok((x * candle_ops::dropout_mask(x, dropout, backend)?)?),
                None => Ok(x.clone()),
            },
            Op::Resample(resample) => resample.forward(x, backend),
            Op::Rescale { scale, shift } => Ok(x.affine(*scale, *shift)?),
            Op::PixelShuffle(shuffle) => shuffle.forward(x, backend),
            Op::MinibatchStd => Ok(MinibatchStd::forward(x, backend)?.output().clone()),
            Op::GroupNorm(norm) => Ok(norm.forward(x, backend)?.output().clone()),
        }
    }

    /// Training pass without autograd.
    pub(crate) fn forward_train(
        &self,
        x: &Tensor,
        backend: Backend,
        rng: &mut dyn RngCore,
    ) -> Result<SavedStandalone> {
        let mode = &mut Mode::Train(rng);
        Ok(match (&self.op, backend) {
            (Op::BatchNorm(norm), Backend::Kernels) => {
                let pass = SavedBatchNorm::forward(x, &norm.gamma, &norm.beta, norm.epsilon)?;
                let statistics = pass.statistics()?;
                norm.update(&statistics.mean, &statistics.variance)?;
                SavedStandalone::Kernels(pass)
            }
            (Op::BatchNorm(norm), Backend::Candle) => {
                SavedStandalone::Candle(norm.forward_train(x)?)
            }
            (Op::Basis(basis), _) => {
                let output = basis.forward(x, backend)?;
                SavedStandalone::Basis { input: x.clone(), output }
            }
            (Op::Activation(activation), _) => {
                SavedStandalone::Activation(candle_ops::activate(x, *activation)?)
            }
            (Op::Dropout(probability), _) => match mode.dropout(*probability)? {
                Some(dropout) => {
                    let mask = candle_ops::dropout_mask(x, dropout, backend)?;
                    SavedStandalone::Dropout { output: (x * &mask)?, mask }
                }
                None => SavedStandalone::Linear(x.clone()),
            },
            (Op::MinibatchStd, _) => {
                SavedStandalone::MinibatchStd(MinibatchStd::forward(x, backend)?)
            }
            (Op::GroupNorm(norm), _) => SavedStandalone::GroupNorm(norm.forward(x, backend)?),
            (Op::Resample(_) | Op::Rescale { .. } | Op::PixelShuffle(_), _) => {
                SavedStandalone::Linear(self.forward(x, backend, mode)?)
            }
        })
    }

    /// Gradients of the input and of the trainable parameters, given the gradient of the output.
    pub(crate) fn backward(
        &self,
        saved: &SavedStandalone,
        grad: &Tensor,
        backend: Backend,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        let grad_input = match (saved, &self.op) {
            (SavedStandalone::Kernels(pass), _) => {
                let [grad_x, grad_gamma, grad_beta] = pass.backward(grad)?;
                return Ok((grad_x, vec![grad_gamma, grad_beta]));
            }
            (SavedStandalone::Candle(pass), _) => return pass.backward(grad),
            (SavedStandalone::Basis { input, .. }, Op::Basis(basis)) => {
                let (of_input, of_weight) = basis.backward(input, grad, backend)?;
                return Ok((of_input, vec![of_weight]));
            }
            (SavedStandalone::Activation(output), Op::Activation(activation)) => {
                candle_ops::activation_gradient(output, grad, *activation)?
            }
            (SavedStandalone::Dropout { mask, .. }, _) => (grad * mask)?,
            (SavedStandalone::Linear(_), Op::Dropout(_)) => grad.clone(),
            (SavedStandalone::Linear(_), Op::Resample(resample)) => {
                resample.backward(grad, backend)?
            }
            (SavedStandalone::Linear(_), Op::Rescale { scale, .. }) => (grad * *scale)?,
            (SavedStandalone::Linear(_), Op::PixelShuffle(shuffle)) => {
                shuffle.inverse().forward(grad, backend)?
            }
            (SavedStandalone::MinibatchStd(pass), _) => pass.backward(grad)?,
            (SavedStandalone::GroupNorm(pass), _) => pass.backward(grad)?,
            (
                SavedStandalone::Linear(_)
                | SavedStandalone::Activation(_)
                | SavedStandalone::Basis { .. },
                _,
            ) => {
                unreachable!("saved by another layer")
            }
        };
        Ok((grad_input, Vec::new()))
    }
}

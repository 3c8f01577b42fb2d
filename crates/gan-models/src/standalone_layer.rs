//! A layer that is not fused with a linear map.

use crate::backend::{Backend, Mode};
use crate::batch_norm::{BatchNormLayer, FeatureAxes};
use crate::candle_ops;
use crate::config::Activation;
use crate::error::Result;
use crate::layout::Layout;
use crate::resample::Resample;
use candle_core::{Tensor, Var};
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
    Activation(Activation),
    Dropout(f32),
    Resample(Resample),
    Rescale { scale: f64, shift: f64 },
}

/// The output of a training pass of the kernels, and the activations that its backward pass needs.
pub(crate) enum SavedStandalone {
    /// A linear operation, whose gradient depends on no activation.
    Linear(Tensor),
    BatchNorm(SavedBatchNorm),
    /// The ends of a graph of candle's autograd.
    Autograd {
        input: Var,
        output: Tensor,
    },
}

impl SavedStandalone {
    pub(crate) fn output(&self) -> &Tensor {
        match self {
            Self::Linear(output) | Self::Autograd { output, .. } => output,
            Self::BatchNorm(pass) => pass.output(),
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
            op => op.clone(),
        };
        Self { op, ..self.clone() }
    }

    /// Names and values of the trainable parameters.
    pub(crate) fn trainable_parameters(&self) -> Vec<(String, &Tensor)> {
        match &self.op {
            Op::BatchNorm(norm) => norm.trainable_parameters().into(),
            _ => Vec::new(),
        }
    }

    /// Names and layouts of all tensors.
    pub(crate) fn layouts(&self) -> Vec<(String, Layout)> {
        match &self.op {
            Op::BatchNorm(norm) => norm.layouts(FeatureAxes::Channels(1)),
            _ => Vec::new(),
        }
    }

    /// Whether the layer is batch normalisation.
    pub(crate) fn is_norm(&self) -> bool {
        matches!(self.op, Op::BatchNorm(_))
    }

    /// Forward pass on features in the backend's layout.
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend, mode: &mut Mode) -> Result<Tensor> {
        match &self.op {
            Op::BatchNorm(norm) => norm.forward(x, backend.channels(), mode.is_train()),
            Op::Activation(activation) => candle_ops::activate(x, *activation),
            Op::Dropout(probability) => match mode.dropout(*probability)? {
                Some(dropout) => candle_ops::drop_out(x, dropout, backend),
                None => Ok(x.clone()),
            },
            Op::Resample(resample) => resample.forward(x, backend),
            Op::Rescale { scale, shift } => Ok(x.affine(*scale, *shift)?),
        }
    }

    /// Training pass of the kernels, without autograd: output and saved activations.
    pub(crate) fn forward_train(
        &self,
        x: &Tensor,
        rng: &mut dyn RngCore,
    ) -> Result<SavedStandalone> {
        let forward = |x: &Tensor, rng| self.forward(x, Backend::Kernels, &mut Mode::Train(rng));
        match &self.op {
            Op::Resample(_) | Op::Rescale { .. } => {
                Ok(SavedStandalone::Linear(forward(&x.detach(), rng)?))
            }
            Op::BatchNorm(norm) => {
                let pass = SavedBatchNorm::forward(x, &norm.gamma, &norm.beta, norm.epsilon)?;
                let statistics = pass.statistics()?;
                norm.update(&statistics.mean, &statistics.variance)?;
                Ok(SavedStandalone::BatchNorm(pass))
            }
            Op::Activation(_) | Op::Dropout(_) => {
                let input = Var::from_tensor(&x.detach())?;
                let output = forward(&input, rng)?;
                Ok(SavedStandalone::Autograd { input, output })
            }
        }
    }

    /// Gradients of the input and of the trainable parameters, given the gradient of the output.
    pub(crate) fn backward(
        &self,
        saved: &SavedStandalone,
        grad: &Tensor,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        match (saved, &self.op) {
            (SavedStandalone::Linear(_), Op::Resample(resample)) => {
                Ok((resample.backward(grad)?, Vec::new()))
            }
            (SavedStandalone::Linear(_), Op::Rescale { scale, .. }) => {
                Ok(((grad * *scale)?, Vec::new()))
            }
            (SavedStandalone::Linear(_), _) => unreachable!("saved by another layer"),
            (SavedStandalone::BatchNorm(pass), _) => {
                let [grad_x, grad_gamma, grad_beta] = pass.backward(grad)?;
                Ok((grad_x, vec![grad_gamma, grad_beta]))
            }
            (SavedStandalone::Autograd { input, output }, _) => {
                let found = (output * grad)?.sum_all()?.backward()?;
                let grad_input = match found.get(input) {
                    Some(grad) => grad.clone(),
                    None => input.zeros_like()?,
                };
                Ok((grad_input, Vec::new()))
            }
        }
    }
}

//! Training passes and their backward passes, without autograd.

use super::block::Block;
use super::{Network, reshape};
use crate::error::Result;
use crate::fused_layer::SavedFused;
use crate::standalone_layer::SavedStandalone;
use candle_core::Tensor;
use gan_kernels::GradMask;
use rand::RngCore;
use std::collections::BTreeMap;

impl Network {
    /// Runs a training pass that saves the activations for its backward pass. Returns the output and the tape. This
    /// is faster than autograd, which [`Network::forward`] supports where a network is part of
    /// something larger.
    ///
    /// # Shapes
    /// As [`Network::forward`].
    /// # Errors
    /// An input of another shape or on another device.
    pub fn forward_train(&self, input: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Tape)> {
        let network = self.detached();
        let features = network.to_internal(&input.detach())?;
        let mut saved: Vec<SavedBlock> = Vec::with_capacity(network.blocks.len());
        for block in &network.blocks {
            let _span = tracing::trace_span!("forward", layer = block.name()).entered();
            let x = saved.last().map_or(&features, SavedBlock::output);
            saved.push(match block {
                Block::Fused(layer) => {
                    SavedBlock::Fused(layer.forward_train(x, self.backend, rng)?)
                }
                Block::Standalone(layer) => {
                    SavedBlock::Standalone(layer.forward_train(x, self.backend, rng)?)
                }
            });
        }
        let output = match saved.last() {
            Some(last) => network.to_external(last.output())?,
            None => input.clone(),
        };
        Ok((output, Tape { network, saved }))
    }
}

/// Gradients by the names of their parameters.
pub type Gradients = BTreeMap<String, Tensor>;

/// The saved activations of a training pass. Call [`Tape::backward`] before the parameters are
/// updated.
pub struct Tape {
    network: Network,
    /// The saved activations of every block.
    saved: Vec<SavedBlock>,
}

enum SavedBlock {
    Fused(SavedFused),
    Standalone(SavedStandalone),
}

impl SavedBlock {
    fn output(&self) -> &Tensor {
        match self {
            Self::Fused(saved) => saved.output(),
            Self::Standalone(saved) => saved.output(),
        }
    }
}

impl Tape {
    /// Backward pass: the gradients of the input and of the trainable parameters, as far as `wants`
    /// asks for them, given the gradient of the output.
    ///
    /// # Shapes
    /// `grad`: as the output; the input's gradient: as the input.
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, grad: &Tensor, wants: GradMask) -> Result<(Option<Tensor>, Gradients)> {
        let Network { blocks, input, output, backend, .. } = &self.network;
        let grad = reshape("the output's gradient", grad, output.external, output.internal)?;
        let mut grad = backend.to_features(&grad)?;
        let mut gradients = Gradients::new();
        let has_parameters = |block: &Block| !block.trainable_parameters().is_empty();
        let first = blocks.iter().position(has_parameters).unwrap_or(0);
        for (number, (block, saved)) in blocks.iter().zip(&self.saved).enumerate().rev() {
            let _span = tracing::trace_span!("backward", layer = block.name()).entered();
            let (grad_input, found) = match (block, saved) {
                (Block::Fused(layer), SavedBlock::Fused(saved)) => {
                    // The input's gradient is needed where an earlier block has parameters.
                    let wants = GradMask { input: wants.input || number > first, ..wants };
                    layer.backward(saved, &grad, wants)?
                }
                (Block::Standalone(layer), SavedBlock::Standalone(saved)) => {
                    let (grad_input, found) = layer.backward(saved, &grad, *backend)?;
                    (Some(grad_input), found)
                }
                _ => unreachable!("a block saves activations of its own kind"),
            };
            for ((name, value), found) in block.trainable_parameters().into_iter().zip(found) {
                if wants.parameters {
                    gradients.insert(name, found.reshape(value.dims())?);
                }
            }
            match grad_input {
                Some(grad_input) => grad = grad_input,
                None => return Ok((None, gradients)),
            }
        }
        if !wants.input {
            return Ok((None, gradients));
        }
        let grad = backend.to_images(&grad)?;
        let grad = reshape("the input's gradient", &grad, input.internal, input.external)?;
        Ok((Some(grad), gradients))
    }
}

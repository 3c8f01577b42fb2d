//! Training passes and their backward passes, without autograd.

use super::block::SavedChain;
use super::{Network, reshape};
use crate::error::Result;
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
        let saved = network.blocks.forward_train(&features, network.backend, rng)?;
        let output = network.to_external(saved.output())?;
        Ok((output, Tape { network, saved }))
    }
}

/// Gradients by the names of their parameters.
pub type Gradients = BTreeMap<String, Tensor>;

/// The saved activations of a training pass. Call [`Tape::backward`] before the parameters are
/// updated.
pub struct Tape {
    network: Network,
    saved: SavedChain,
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
        let grad = backend.to_features(&grad)?;
        let (grad_input, found) = blocks.backward(&self.saved, &grad, wants, *backend)?;
        let mut gradients = Gradients::new();
        if wants.parameters {
            for ((name, value), found) in blocks.trainable_parameters().into_iter().zip(found) {
                gradients.insert(name, found.reshape(value.dims())?);
            }
        }
        let Some(grad) = grad_input else { return Ok((None, gradients)) };
        let grad = backend.to_images(&grad)?;
        let grad = reshape("the input's gradient", &grad, input.internal, input.external)?;
        Ok((Some(grad), gradients))
    }
}

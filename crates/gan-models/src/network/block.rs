//! The units that a network executes: layers, residual blocks, and chains of them. They contain each
//! other, so they share a file.

use crate::backend::{Backend, Mode};
use crate::error::Result;
use crate::fused_layer::{FusedLayer, SavedFused};
use crate::layout::Layout;
use crate::standalone_layer::{SavedStandalone, StandaloneLayer};
use candle_core::Tensor;
use gan_kernels::{GradMask, PackedChain};
use rand::RngCore;

/// A unit of execution.
#[derive(Clone, Debug)]
pub(super) enum Block {
    Fused(FusedLayer),
    Standalone(StandaloneLayer),
    Residual(Residual),
}

/// What a block's training pass saves.
pub(super) enum SavedBlock {
    Fused(SavedFused),
    Standalone(SavedStandalone),
    Residual(SavedResidual),
}

impl SavedBlock {
    pub(super) fn output(&self) -> &Tensor {
        match self {
            Self::Fused(saved) => saved.output(),
            Self::Standalone(saved) => saved.output(),
            Self::Residual(saved) => saved.output(),
        }
    }
}

impl Block {
    /// The name in tracing spans; none where the blocks inside have spans of their own.
    pub(super) fn name(&self) -> Option<&str> {
        match self {
            Self::Fused(layer) => Some(layer.name()),
            Self::Standalone(layer) => Some(layer.name()),
            Self::Residual(_) => None,
        }
    }

    pub(super) fn trainable_parameters(&self) -> Vec<(String, &Tensor)> {
        match self {
            Self::Fused(layer) => layer.trainable_parameters(),
            Self::Standalone(layer) => layer.trainable_parameters(),
            Self::Residual(residual) => residual.trainable_parameters(),
        }
    }

    pub(super) fn layouts(&self) -> Vec<(String, Layout)> {
        match self {
            Self::Fused(layer) => layer.layouts(),
            Self::Standalone(layer) => layer.layouts(),
            Self::Residual(residual) => residual.layouts(),
        }
    }

    pub(super) fn detached(&self) -> Self {
        match self {
            Self::Fused(layer) => Self::Fused(layer.detached()),
            Self::Standalone(layer) => Self::Standalone(layer.detached()),
            Self::Residual(residual) => Self::Residual(residual.detached()),
        }
    }

    /// Whether, in training, an image's output depends on the rest of its batch.
    pub(super) fn uses_batch_statistics(&self) -> bool {
        match self {
            Self::Fused(layer) => layer.has_norm(),
            Self::Standalone(layer) => layer.uses_batch_statistics(),
            Self::Residual(residual) => residual.uses_batch_statistics(),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, backend: Backend, mode: &mut Mode) -> Result<Tensor> {
        match self {
            Self::Fused(layer) => layer.forward(x, backend, mode),
            Self::Standalone(layer) => layer.forward(x, backend, mode),
            Self::Residual(residual) => residual.forward(x, backend, mode),
        }
    }

    /// Training pass without autograd.
    pub(super) fn forward_train(
        &self,
        x: &Tensor,
        backend: Backend,
        rng: &mut dyn RngCore,
    ) -> Result<SavedBlock> {
        Ok(match self {
            Self::Fused(layer) => SavedBlock::Fused(layer.forward_train(x, backend, rng)?),
            Self::Standalone(layer) => {
                SavedBlock::Standalone(layer.forward_train(x, backend, rng)?)
            }
            Self::Residual(residual) => {
                SavedBlock::Residual(residual.forward_train(x, backend, rng)?)
            }
        })
    }

    /// The gradients that `wants` asks for: of the input and, in their order, of the trainable
    /// parameters, given the gradient of the output.
    pub(super) fn backward(
        &self,
        saved: &SavedBlock,
        grad: &Tensor,
        wants: GradMask,
        backend: Backend,
    ) -> Result<(Option<Tensor>, Vec<Tensor>)> {
        match (self, saved) {
            (Self::Fused(layer), SavedBlock::Fused(saved)) => layer.backward(saved, grad, wants),
            (Self::Standalone(layer), SavedBlock::Standalone(saved)) => {
                let (grad_input, found) = layer.backward(saved, grad, backend)?;
                Ok((Some(grad_input), found))
            }
            (Self::Residual(residual), SavedBlock::Residual(saved)) => {
                residual.backward(saved, grad, wants, backend)
            }
            _ => unreachable!("a block saves activations of its own kind"),
        }
    }
}

/// Blocks applied in order to features in the backend's layout.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain(pub(super) Vec<Block>);

/// The saved activations of a training pass.
pub(super) struct SavedChain {
    input: Tensor,
    saved: Vec<SavedBlock>,
}

impl SavedChain {
    pub(super) fn output(&self) -> &Tensor {
        self.saved.last().map_or(&self.input, SavedBlock::output)
    }
}

impl Chain {
    /// Names and values of the trainable parameters.
    pub(super) fn trainable_parameters(&self) -> Vec<(String, &Tensor)> {
        self.0.iter().flat_map(Block::trainable_parameters).collect()
    }

    /// Names and layouts of all tensors.
    pub(super) fn layouts(&self) -> Vec<(String, Layout)> {
        self.0.iter().flat_map(Block::layouts).collect()
    }

    /// The same blocks with weights that receive no gradient.
    pub(super) fn detached(&self) -> Self {
        Self(self.0.iter().map(Block::detached).collect())
    }

    /// Whether, in training, an image's output depends on the rest of its batch.
    pub(super) fn uses_batch_statistics(&self) -> bool {
        self.0.iter().any(Block::uses_batch_statistics)
    }

    /// The layers in evaluation mode, packed; `None` if there are others than linear maps and what is
    /// fused with them.
    pub(super) fn packed(&self) -> Result<Option<PackedChain>> {
        let mut layers = Vec::new();
        for block in &self.0 {
            let Block::Fused(layer) = block else { return Ok(None) };
            layers.push(layer.fixed()?);
        }
        Ok(Some(PackedChain::new(&layers)?))
    }

    /// Forward pass, differentiable by candle's autograd.
    pub(super) fn forward(&self, x: &Tensor, backend: Backend, mode: &mut Mode) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.0 {
            x = block.forward(&x, backend, mode)?;
        }
        Ok(x)
    }

    /// The output of the first block with weights, in evaluation mode.
    pub(super) fn first_features(&self, x: &Tensor, backend: Backend) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.0 {
            x = block.forward(&x, backend, &mut Mode::Eval)?;
            if !block.trainable_parameters().is_empty() {
                break;
            }
        }
        Ok(x)
    }

    /// Training pass without autograd.
    pub(super) fn forward_train(
        &self,
        x: &Tensor,
        backend: Backend,
        rng: &mut dyn RngCore,
    ) -> Result<SavedChain> {
        let mut chain = SavedChain { input: x.clone(), saved: Vec::with_capacity(self.0.len()) };
        for block in &self.0 {
            let _span =
                block.name().map(|name| tracing::trace_span!("forward", layer = name).entered());
            let saved = block.forward_train(chain.output(), backend, rng)?;
            chain.saved.push(saved);
        }
        Ok(chain)
    }

    /// The gradients that `wants` asks for: of the input and, in their order, of the trainable
    /// parameters, given the gradient of the output.
    pub(super) fn backward(
        &self,
        saved: &SavedChain,
        grad: &Tensor,
        wants: GradMask,
        backend: Backend,
    ) -> Result<(Option<Tensor>, Vec<Tensor>)> {
        let mut grad = grad.clone();
        let mut found = Vec::new();
        let has_parameters = |block: &Block| !block.trainable_parameters().is_empty();
        let first = self.0.iter().position(has_parameters).unwrap_or(0);
        for (number, (block, saved)) in self.0.iter().zip(&saved.saved).enumerate().rev() {
            let _span =
                block.name().map(|name| tracing::trace_span!("backward", layer = name).entered());
            // The input's gradient is needed where an earlier block has parameters.
            let block_wants = GradMask { input: wants.input || number > first, ..wants };
            let (grad_input, of_parameters) = block.backward(saved, &grad, block_wants, backend)?;
            found.push(of_parameters);
            match grad_input {
                Some(grad_input) => grad = grad_input,
                // No earlier block has parameters.
                None => return Ok((None, in_order(found))),
            }
        }
        Ok((wants.input.then_some(grad), in_order(found)))
    }
}

/// The gradients of blocks that were found last first.
fn in_order(found: Vec<Vec<Tensor>>) -> Vec<Tensor> {
    found.into_iter().rev().flatten().collect()
}

/// `body(x) + shortcut(x)`; an empty shortcut is `x`.
#[derive(Clone, Debug)]
pub(super) struct Residual {
    pub(super) body: Chain,
    pub(super) shortcut: Chain,
}

/// The saved activations of a training pass.
pub(super) struct SavedResidual {
    body: SavedChain,
    shortcut: SavedChain,
    output: Tensor,
}

impl SavedResidual {
    pub(super) fn output(&self) -> &Tensor {
        &self.output
    }
}

impl Residual {
    /// Names and values of the trainable parameters: the body's, then the shortcut's.
    pub(super) fn trainable_parameters(&self) -> Vec<(String, &Tensor)> {
        let [body, shortcut] = [&self.body, &self.shortcut].map(Chain::trainable_parameters);
        [body, shortcut].concat()
    }

    pub(super) fn layouts(&self) -> Vec<(String, Layout)> {
        [&self.body, &self.shortcut].map(Chain::layouts).concat()
    }

    pub(super) fn detached(&self) -> Self {
        Self { body: self.body.detached(), shortcut: self.shortcut.detached() }
    }

    pub(super) fn uses_batch_statistics(&self) -> bool {
        [&self.body, &self.shortcut].into_iter().any(Chain::uses_batch_statistics)
    }

    pub(super) fn forward(&self, x: &Tensor, backend: Backend, mode: &mut Mode) -> Result<Tensor> {
        let body = self.body.forward(x, backend, mode)?;
        Ok((body + self.shortcut.forward(x, backend, mode)?)?)
    }

    pub(super) fn forward_train(
        &self,
        x: &Tensor,
        backend: Backend,
        rng: &mut dyn RngCore,
    ) -> Result<SavedResidual> {
        let body = self.body.forward_train(x, backend, rng)?;
        let shortcut = self.shortcut.forward_train(x, backend, rng)?;
        let output = (body.output() + shortcut.output())?;
        Ok(SavedResidual { body, shortcut, output })
    }

    pub(super) fn backward(
        &self,
        saved: &SavedResidual,
        grad: &Tensor,
        wants: GradMask,
        backend: Backend,
    ) -> Result<(Option<Tensor>, Vec<Tensor>)> {
        let (of_body, mut found) = self.body.backward(&saved.body, grad, wants, backend)?;
        let (of_shortcut, of_parameters) =
            self.shortcut.backward(&saved.shortcut, grad, wants, backend)?;
        found.extend(of_parameters);
        let grad_input = match (of_body, of_shortcut) {
            (Some(a), Some(b)) => Some((a + b)?),
            _ => None,
        };
        Ok((grad_input, found))
    }
}

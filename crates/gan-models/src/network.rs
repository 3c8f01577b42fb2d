//! Networks: lists of layers with weights.

mod block;
mod build;
mod plan;
mod tape;

pub use plan::plan;
pub use tape::{Gradients, Tape};

use crate::backend::{Backend, Mode};
use crate::config::FeatureShape;
use crate::error::{Error, Result};
use crate::layout::Layout;
use block::Chain;
use candle_core::Tensor;
use gan_kernels::PackedChain;
use std::fmt;
use std::sync::Arc;

/// Layers applied in order. Clones share their weights.
///
/// Parameters are named `layers.N.weight` and `layers.N.bias`, and for batch normalisation
/// `layers.N.running_mean` and `layers.N.running_var` too, where N counts the configured layers from
/// 0; those of residual blocks `layers.N.body.M.weight` and `layers.N.shortcut.M.weight`. The
/// weights of linear maps have the shape (kernel height, kernel width, channels in, channels out), of
/// convolutions of groups (kernel height, kernel width, channels in / groups, channels out). The
/// kernel of a dense layer covers all pixels of its input; but if a dense layer is the
/// first or last of the network, the image on that side is flattened in the order (C, H, W), and
/// the kernel has one pixel. `docs/format.md` has all of it.
#[derive(Clone, Debug)]
pub struct Network {
    blocks: Chain,
    layers: Vec<LayerSummary>,
    input: EndShape,
    output: EndShape,
    backend: Backend,
    packed: Packed,
}

/// The layers packed for inference, if the weights are fixed and the layers allow it.
#[derive(Clone, Default)]
struct Packed(Option<Arc<PackedChain>>);

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "packed" } else { "not packed" })
    }
}

/// One configured layer in a network's summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LayerSummary {
    /// The kind of layer, as [`crate::Layer::kind`] names it.
    pub kind: &'static str,
    /// The shape of the output.
    pub output: FeatureShape,
    /// Number of trainable values.
    pub trainable: usize,
    /// Number of running statistics of batch normalisation.
    pub running: usize,
    /// Multiply-adds of the linear map for one image. Products with padding are never computed and
    /// not counted.
    pub multiply_adds: usize,
    /// Number of values of the outputs of the layers inside, for one image; 0 but for residual layers.
    pub inner_values: usize,
}

/// The shape of one end of a network.
#[derive(Clone, Copy, Debug)]
struct EndShape {
    /// The shape that callers see.
    external: FeatureShape,
    /// The shape that the layer at this end sees: the same, or flattened to a vector.
    internal: FeatureShape,
}

impl EndShape {
    fn new(external: FeatureShape, flat: bool) -> Self {
        let internal = if flat { FeatureShape::vector(external.len()) } else { external };
        Self { external, internal }
    }
}

/// Reshapes a batch from one shape to another. `what` names it in errors.
fn reshape(what: &str, batch: &Tensor, from: FeatureShape, to: FeatureShape) -> Result<Tensor> {
    let FeatureShape { channels, height, width } = from;
    let count = match *batch.dims() {
        [count, c, h, w] if (c, h, w) == (channels, height, width) => count,
        _ => {
            return Err(Error::Shape {
                tensor: what.to_string(),
                found: batch.dims().to_vec(),
                expected: format!("[B, {channels}, {height}, {width}]"),
            });
        }
    };
    Ok(batch.reshape((count, to.channels, to.height, to.width))?)
}

impl Network {
    /// The layers as configured, in order.
    pub fn layers(&self) -> &[LayerSummary] {
        &self.layers
    }

    /// Number of trainable values in all layers.
    pub fn parameter_count(&self) -> usize {
        self.layers.iter().map(|layer| layer.trainable).sum()
    }

    /// The same network run by another backend.
    pub fn with_backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        if backend != Backend::Kernels {
            self.packed = Packed::default();
        }
        self
    }

    /// The same network for inference on the CPU: its weights must not change any more, and are packed
    /// once. Networks with other layers than linear maps and what is fused with them stay as they are.
    pub(crate) fn with_fixed_weights(mut self) -> Result<Self> {
        if self.backend == Backend::Kernels {
            self.packed = Packed(self.blocks.packed()?.map(Arc::new));
        }
        Ok(self)
    }

    /// The same network with weights that receive no gradient. A generator trains through a
    /// detached discriminator.
    pub fn detached(&self) -> Self {
        Self { blocks: self.blocks.detached(), ..self.clone() }
    }

    /// The shape of the input.
    pub fn input(&self) -> FeatureShape {
        self.input.external
    }

    /// The shape of the output.
    pub fn output(&self) -> FeatureShape {
        self.output.external
    }

    /// Names and layouts of all tensors.
    pub(crate) fn layouts(&self) -> Vec<(String, Layout)> {
        self.blocks.layouts()
    }

    fn to_internal(&self, input: &Tensor) -> Result<Tensor> {
        let EndShape { external, internal } = self.input;
        self.backend.to_features(&reshape("the network's input", input, external, internal)?)
    }

    fn to_external(&self, features: &Tensor) -> Result<Tensor> {
        let EndShape { external, internal } = self.output;
        reshape("the network's output", &self.backend.to_images(features)?, internal, external)
    }

    /// Multiply-adds of one forward pass of one image. Products with padding are never computed
    /// and not counted.
    pub fn multiply_adds(&self) -> usize {
        self.layers.iter().map(|layer| layer.multiply_adds).sum()
    }

    /// Whether, in training, an image's output depends on the rest of its batch, as with batch
    /// normalisation.
    pub fn uses_batch_statistics(&self) -> bool {
        self.blocks.uses_batch_statistics()
    }

    /// Forward pass, differentiable by candle's autograd.
    ///
    /// # Shapes
    /// `input`: (B, C, H, W) of [`Network::input`], where a vector has one pixel; result:
    /// (B, C, H, W) of [`Network::output`].
    /// # Errors
    /// An input of another shape or on another device.
    pub fn forward(&self, input: &Tensor, mut mode: Mode) -> Result<Tensor> {
        let x = self.to_internal(input)?;
        if let Packed(Some(packed)) = &self.packed
            && !mode.is_train()
            && !x.track_op()
        {
            let EndShape { external, internal } = self.output;
            return reshape("the network's output", &packed.forward(&x)?, internal, external);
        }
        self.to_external(&self.blocks.forward(&x, self.backend, &mut mode)?)
    }

    /// The outputs of the first block with weights, in evaluation mode.
    ///
    /// # Shapes
    /// `input`: as [`Network::forward`]; result: (B, values).
    /// # Errors
    /// An input of another shape.
    pub(crate) fn first_features(&self, input: &Tensor) -> Result<Tensor> {
        let x = self.to_internal(input)?;
        let features = self.blocks.first_features(&x, self.backend)?;
        Ok(self.backend.to_images(&features)?.flatten_from(1)?)
    }
}

/// The forward pass in evaluation mode.
impl candle_core::Module for Network {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        Ok(self.forward(input, Mode::Eval)?)
    }
}

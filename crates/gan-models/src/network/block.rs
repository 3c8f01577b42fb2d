//! A unit of execution: a fused layer or a standalone one.

use crate::backend::{Backend, Mode};
use crate::error::Result;
use crate::fused_layer::FusedLayer;
use crate::layout::Layout;
use crate::standalone_layer::StandaloneLayer;
use candle_core::Tensor;

/// A fused layer or a standalone one.
#[derive(Clone, Debug)]
pub(super) enum Block {
    Fused(FusedLayer),
    Standalone(StandaloneLayer),
}

impl Block {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Fused(layer) => layer.name(),
            Self::Standalone(layer) => layer.name(),
        }
    }

    pub(super) fn trainable_parameters(&self) -> Vec<(String, &Tensor)> {
        match self {
            Self::Fused(layer) => layer.trainable_parameters(),
            Self::Standalone(layer) => layer.trainable_parameters(),
        }
    }

    pub(super) fn layouts(&self) -> Vec<(String, Layout)> {
        match self {
            Self::Fused(layer) => layer.layouts(),
            Self::Standalone(layer) => layer.layouts(),
        }
    }

    pub(super) fn detached(&self) -> Self {
        match self {
            Self::Fused(layer) => Self::Fused(layer.detached()),
            Self::Standalone(layer) => Self::Standalone(layer.detached()),
        }
    }

    pub(super) fn has_norm(&self) -> bool {
        match self {
            Self::Fused(layer) => layer.has_norm(),
            Self::Standalone(layer) => layer.is_norm(),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, backend: Backend, mode: &mut Mode) -> Result<Tensor> {
        match self {
            Self::Fused(layer) => layer.forward(x, backend, mode),
            Self::Standalone(layer) => layer.forward(x, backend, mode),
        }
    }
}

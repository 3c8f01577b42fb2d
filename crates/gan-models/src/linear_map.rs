//! The linear maps of layers with weights.

use crate::layout::Layout;
use gan_kernels::Window;

/// The linear map of a layer with weights.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LinearMap {
    Dense,
    Project,
    Conv(Window),
    ConvTranspose(Window),
}

impl LinearMap {
    /// Whether the map is the transpose of one from its output to its input.
    pub(crate) fn is_transposed(self) -> bool {
        matches!(self, Self::Project | Self::ConvTranspose(_))
    }

    /// PyTorch's layout of a weight of the shape (kernel height, kernel width, C in / groups, C out).
    pub(crate) fn weight_layout(self, weight: &[usize], groups: usize) -> Layout {
        match self {
            // nn.Conv2d: (out, in / groups, kernel height, kernel width).
            Self::Conv(_) => Layout::permuted(weight, weight, &[3, 2, 0, 1], &[1, 1, 1, 1]),
            // nn.ConvTranspose2d: (in, out / groups, kernel height, kernel width).
            Self::ConvTranspose(_) => {
                let split = [weight[0], weight[1], weight[2], groups, weight[3] / groups];
                Layout::permuted(weight, &split, &[3, 2, 4, 0, 1], &[2, 1, 1, 1])
            }
            // nn.Linear: (out, in), inputs in the order (C, H, W).
            Self::Dense => Layout::permuted(weight, weight, &[3, 2, 0, 1], &[1, 3]),
            // nn.Linear: (out, in), outputs in the order (C, H, W).
            Self::Project => Layout::permuted(weight, weight, &[3, 0, 1, 2], &[3, 1]),
        }
    }
}

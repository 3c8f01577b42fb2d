//! The linear maps of layers with weights.

use crate::config::FeatureShape;
use crate::error::Result;
use crate::layout::Layout;
use candle_core::Tensor;
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
    /// The map in candle's own operators.
    ///
    /// # Shapes
    /// `x`: (B, C in, H, W); `weight`: (kernel height, kernel width, C in, C out); result:
    /// (B, C, H, W) of `output`.
    pub(crate) fn forward(
        self,
        x: &Tensor,
        weight: &Tensor,
        output: FeatureShape,
    ) -> Result<Tensor> {
        let (batch, _, in_height, in_width) = x.dims4()?;
        let FeatureShape { channels, height, width } = output;
        Ok(match self {
            Self::Dense => {
                // The inputs of a dense layer are ordered (C, H, W) here.
                let weight = weight.permute((2, 0, 1, 3))?.flatten_to(2)?.contiguous()?;
                x.flatten_from(1)?.matmul(&weight)?.reshape((batch, channels, 1, 1))?
            }
            Self::Project => {
                let weight = weight.permute((2, 3, 0, 1))?.flatten_from(1)?.contiguous()?;
                x.flatten_from(1)?.matmul(&weight)?.reshape((batch, channels, height, width))?
            }
            Self::Conv(window) => {
                // The padding below and to the right follows from the output's size.
                let pad = |small: usize, kernel: usize, before: usize, large: usize| {
                    ((small - 1) * window.stride + kernel).saturating_sub(before + large)
                };
                let below = pad(height, window.kernel.0, window.padding.0, in_height);
                let right = pad(width, window.kernel.1, window.padding.1, in_width);
                let weight = weight.permute((3, 2, 0, 1))?.contiguous()?;
                x.pad_with_zeros(2, window.padding.0, below)?
                    .pad_with_zeros(3, window.padding.1, right)?
                    .conv2d(&weight, 0, window.stride, 1, 1)?
                    .narrow(2, 0, height)?
                    .narrow(3, 0, width)?
            }
            Self::ConvTranspose(window) => {
                let weight = weight.permute((2, 3, 0, 1))?.contiguous()?;
                let y = x.contiguous()?.conv_transpose2d(&weight, 0, 0, window.stride, 1)?;
                // The full result is cropped to the output, and padded where no window reaches.
                let missing =
                    |size: usize, before: usize, have: usize| (before + size).saturating_sub(have);
                let below = missing(height, window.padding.0, y.dim(2)?);
                let right = missing(width, window.padding.1, y.dim(3)?);
                y.pad_with_zeros(2, 0, below)?
                    .pad_with_zeros(3, 0, right)?
                    .narrow(2, window.padding.0, height)?
                    .narrow(3, window.padding.1, width)?
            }
        })
    }

    /// PyTorch's layout of a weight of the shape (kernel height, kernel width, C in, C out).
    pub(crate) fn weight_layout(self, weight: &[usize]) -> Layout {
        match self {
            // nn.Conv2d: (out, in, kernel height, kernel width).
            Self::Conv(_) => Layout::permuted(weight, weight, &[3, 2, 0, 1], &[1, 1, 1, 1]),
            // nn.ConvTranspose2d: (in, out, kernel height, kernel width).
            Self::ConvTranspose(_) => {
                Layout::permuted(weight, weight, &[2, 3, 0, 1], &[1, 1, 1, 1])
            }
            // nn.Linear: (out, in), inputs in the order (C, H, W).
            Self::Dense => Layout::permuted(weight, weight, &[3, 2, 0, 1], &[1, 3]),
            // nn.Linear: (out, in), outputs in the order (C, H, W).
            Self::Project => Layout::permuted(weight, weight, &[3, 0, 1, 2], &[3, 1]),
        }
    }
}

//! Pixel shuffle and its inverse.

use crate::backend::Backend;
use crate::config::{FeatureShape, Layer};
use crate::error::Result;
use candle_core::Tensor;

/// A move of values between channels and pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PixelShuffle {
    /// Side of the squares of pixels.
    factor: usize,
    /// Whether pixels become channels.
    unshuffle: bool,
}

impl PixelShuffle {
    /// The move of a [`Layer::PixelShuffle`] or [`Layer::PixelUnshuffle`].
    pub(crate) fn of(layer: &Layer) -> Option<Self> {
        match *layer {
            Layer::PixelShuffle(factor) => Some(Self { factor, unshuffle: false }),
            Layer::PixelUnshuffle(factor) => Some(Self { factor, unshuffle: true }),
            _ => None,
        }
    }

    pub(crate) fn inverse(self) -> Self {
        Self { unshuffle: !self.unshuffle, ..self }
    }

    /// The shape of the output, unless the input cannot be divided so.
    pub(crate) fn output(self, input: FeatureShape) -> Option<FeatureShape> {
        let Self { factor, unshuffle } = self;
        let FeatureShape { channels, height, width } = input;
        let area = factor.checked_mul(factor).filter(|&area| area > 0)?;
        if unshuffle {
            let divides = height.is_multiple_of(factor) && width.is_multiple_of(factor);
            divides.then_some(FeatureShape {
                channels: channels.checked_mul(area)?,
                height: height / factor,
                width: width / factor,
            })
        } else {
            channels.is_multiple_of(area).then_some(FeatureShape {
                channels: channels / area,
                height: height.checked_mul(factor)?,
                width: width.checked_mul(factor)?,
            })
        }
    }

    /// Moves the values of features in the backend's layout.
    pub(crate) fn forward(self, x: &Tensor, backend: Backend) -> Result<Tensor> {
        // The axes of (B, H, W, C), wherever the batch is.
        let batch_first = match backend {
            Backend::Kernels => x.permute((2, 0, 1, 3))?,
            Backend::Candle => x.clone(),
        };
        let (b, h, w, c) = batch_first.dims4()?;
        let f = self.factor;
        let moved = if self.unshuffle {
            // (B, H, F, W, F, C) to (B, H, W, C, F, F)
            let split = batch_first.reshape(&[b, h / f, f, w / f, f, c])?;
            split.permute(vec![0, 1, 3, 5, 2, 4])?.reshape((b, h / f, w / f, c * f * f))?
        } else {
            // (B, H, W, C, F, F) to (B, H, F, W, F, C)
            let split = batch_first.reshape(&[b, h, w, c / (f * f), f, f])?;
            split.permute(vec![0, 1, 4, 2, 5, 3])?.reshape((b, h * f, w * f, c / (f * f)))?
        };
        Ok(match backend {
            Backend::Kernels => moved.permute((1, 2, 0, 3))?.contiguous()?,
            Backend::Candle => moved,
        })
    }
}

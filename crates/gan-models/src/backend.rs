//! The operators that run a network, and the mode of a forward pass.

use crate::error::Result;
use candle_core::{Device, Tensor};
use gan_kernels::Dropout;
use rand::RngCore;

/// The operators that run a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backend {
    /// The kernels of gan-kernels. CPU only.
    Kernels,
    /// candle's own operators. Any device, slow on the CPU.
    Candle,
}

impl Backend {
    /// The faster backend of a device.
    pub fn of(device: &Device) -> Self {
        if device.is_cpu() { Self::Kernels } else { Self::Candle }
    }

    /// Converts (B, C, H, W) to this backend's layout: (H, W, B, C) for the kernels, (B, H, W, C) for
    /// candle, where the patches of a convolution are the rows of one matrix.
    pub(crate) fn to_features(self, images: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Kernels => gan_kernels::nchw_to_hwnc(images)?,
            Self::Candle => images.permute((0, 2, 3, 1))?.contiguous()?,
        })
    }

    /// Converts this backend's layout to (B, C, H, W).
    pub(crate) fn to_images(self, features: &Tensor) -> Result<Tensor> {
        Ok(match self {
            Self::Kernels => gan_kernels::hwnc_to_nchw(features)?,
            Self::Candle => features.permute((0, 3, 1, 2))?.contiguous()?,
        })
    }
}

/// The mode of a forward pass.
pub enum Mode<'a> {
    /// Evaluation: batch normalisation uses running statistics, dropout is off.
    Eval,
    /// Training: batch normalisation uses the batch's statistics, and dropout draws its masks from
    /// this random generator. The pass updates the running statistics of networks whose weights are
    /// variables ([`crate::Parameters`]); weights loaded for inference stay as they are.
    Train(&'a mut dyn RngCore),
}

impl Mode<'_> {
    /// Dropout of this probability; `None` in evaluation or where the probability is 0.
    pub(crate) fn dropout(&mut self, probability: f32) -> Result<Option<Dropout>> {
        Ok(match self {
            Self::Train(rng) if probability > 0.0 => {
                Some(Dropout::new(probability, rng.next_u64())?)
            }
            _ => None,
        })
    }

    /// Whether this is a training pass.
    pub(crate) fn is_train(&self) -> bool {
        matches!(self, Self::Train(_))
    }
}

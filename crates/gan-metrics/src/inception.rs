//! The Inception network of the FID and of the Inception score.

mod layers;
mod weights;

use crate::error::{Error, Result};
use crate::features::Features;
use candle_core::{Device, Tensor};
use gan_kernels::{Epilogue, Geometry, Resampling, layer, nchw_to_hwnc, resample};
use gan_models::Layer as ModelLayer;
use layers::Layer;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use weights::{FoldedConv, Maps, Weights};

/// Number of features of an image: the means of the last channels ("pool3").
pub const INCEPTION_FEATURES: usize = 2048;
/// Number of classes: the 1000 of ImageNet and 8 unused ones.
pub const INCEPTION_CLASSES: usize = 1008;
/// The side that images are resized to.
const SIDE: usize = 299;
/// Number of images in a forward pass.
const CHUNK: usize = 16;

/// The network of the FID: Inception v3 with TensorFlow's weights of 2015-12-05, as the Python package
/// pytorch-fid has it.
///
/// It differs from other networks of the name: average pooling does not count padding, the last block
/// has max pooling, and there are 1008 classes.
///
/// # Reference
/// Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision"; Heusel et al. 2017,
/// "GANs trained by a two time-scale update rule converge to a local Nash equilibrium".
#[derive(Clone, Debug)]
pub struct Inception {
    layers: Vec<Layer<FoldedConv>>,
    /// Average pooling by the side of the feature maps.
    pools: HashMap<usize, Arc<Resampling>>,
    /// The mean of the last feature maps.
    mean: Arc<Resampling>,
    /// (1, 1, features, classes)
    classes: Tensor,
}

impl Inception {
    /// Loads the weights from a safetensors file with pytorch-fid's names of tensors.
    ///
    /// # Errors
    /// [`Error::Inception`] for a file that cannot be read, and at the first tensor that is missing,
    /// has another shape or is left over.
    pub fn load(path: &Path) -> Result<Self> {
        let wrong = |reason| Error::Inception { path: path.into(), reason };
        let tensors = gan_models::weights::load_tensors(path, &Device::Cpu).map_err(|error| {
            wrong(match error {
                gan_models::Error::Damaged { reason, .. } => {
                    format!("not a whole safetensors file ({reason})")
                }
                gan_models::Error::Io { source, .. } => source.to_string(),
                other => other.to_string(),
            })
        })?;
        Self::from_tensors(tensors).map_err(wrong)
    }

    fn from_tensors(tensors: HashMap<String, Tensor>) -> Result<Self, String> {
        let mut weights = Weights(tensors);
        let image = Maps { channels: 3, side: SIDE };
        let (layers, last) = weights.layers("", layers::layers(), image)?;
        let classes = weights.take("fc.weight", &[INCEPTION_CLASSES, INCEPTION_FEATURES])?;
        weights.take("fc.bias", &[INCEPTION_CLASSES])?;
        weights.check_all_taken()?;
        let whole = vec![vec![1.0 / last.side as f32; last.side]];
        let build = || {
            let pool = |side| Ok((side, Arc::new(Resampling::new(&means(side), &means(side))?)));
            let pools = [35, 17, 8].map(pool).into_iter().collect::<candle_core::Result<_>>()?;
            let classes = classes.t()?.contiguous()?.unsqueeze(0)?.unsqueeze(0)?;
            let mean = Arc::new(Resampling::new(&whole, &whole)?);
            Ok(Self { layers, pools, mean, classes })
        };
        build().map_err(|error: candle_core::Error| error.to_string())
    }

    /// Returns whether images of this number of channels are supported: grey ones, whose channel is
    /// repeated, and those in colour.
    pub fn accepts(channels: usize) -> bool {
        matches!(channels, 1 | 3)
    }

    /// Computes the features of images, which are resized to 299x299 pixels by bilinear interpolation.
    ///
    /// # Shapes
    /// `images`: (N, C, H, W) with a C that [`Inception::accepts`], any N; result: N rows of
    /// [`INCEPTION_FEATURES`].
    /// # Range
    /// `images`: [-1, 1]; result: at least 0.
    /// # Errors
    /// Images of another shape or type; NaN or infinite values.
    pub fn features(&self, images: &Tensor) -> Result<Features> {
        let (count, channels, height, width) = images.dims4()?;
        if !Self::accepts(channels) {
            let text = format!("{channels} channels: Inception takes grey images or RGB");
            return Err(Error::Tensor(candle_core::Error::msg(text)));
        }
        if height * width == 0 {
            let text = format!("images of {height}x{width} pixels: Inception takes 1x1 or more");
            return Err(Error::Tensor(candle_core::Error::msg(text)));
        }
        let resize = ModelLayer::Resize(SIDE, SIDE).resampling((height, width));
        let (rows, columns) = resize.unwrap_or_default();
        let resize = Arc::new(Resampling::new(&rows, &columns)?);
        let mut values = Vec::with_capacity(count * INCEPTION_FEATURES);
        for first in (0..count).step_by(CHUNK) {
            let chunk = images.narrow(0, first, CHUNK.min(count - first))?;
            let chunk = match channels {
                1 => chunk.repeat((1, 3, 1, 1))?,
                _ => chunk,
            };
            let x = resample(&nchw_to_hwnc(&chunk)?, &resize)?;
            let x = resample(&self.forward(&self.layers, x)?, &self.mean)?;
            values.extend(x.flatten_all()?.to_vec1::<f32>()?);
        }
        Features::new(values, INCEPTION_FEATURES)
    }

    /// Computes the probabilities of the classes from features.
    ///
    /// Logits have no bias: the program that introduced the Inception score leaves it out, and figures
    /// in the literature follow.
    ///
    /// # Shapes
    /// `features`: N rows of [`INCEPTION_FEATURES`]; result: N rows of [`INCEPTION_CLASSES`].
    /// # Range
    /// Result: [0, 1]; a row adds up to 1.
    /// # Errors
    /// Rows of another length.
    pub fn probabilities(&self, features: &Features) -> Result<Features> {
        let shape = (1, 1, features.len(), features.dim());
        let x = Tensor::from_slice(features.values(), shape, &Device::Cpu)?;
        let logits = layer(&x, &self.classes, None, &Geometry::dense().into(), Epilogue::NONE)?;
        let mut values = logits.flatten_all()?.to_vec1::<f32>()?;
        for row in values.chunks_exact_mut(INCEPTION_CLASSES) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|logit| *logit = (*logit - max).exp());
            let sum: f64 = row.iter().map(|&value| f64::from(value)).sum();
            row.iter_mut().for_each(|value| *value = (f64::from(*value) / sum) as f32);
        }
        Features::new(values, INCEPTION_CLASSES)
    }

    /// Applies layers in turn to feature maps (H, W, B, C).
    fn forward(&self, layers: &[Layer<FoldedConv>], mut x: Tensor) -> candle_core::Result<Tensor> {
        for layer in layers {
            x = match layer {
                Layer::Conv(conv) => conv.forward(&x)?,
                Layer::MaxPool { stride, padding } => {
                    let rows = maxima(&x, 0, *stride, *padding)?;
                    maxima(&rows, 1, *stride, *padding)?
                }
                Layer::AveragePool => match self.pools.get(&x.dim(0)?) {
                    Some(pool) => resample(&x, pool)?,
                    None => candle_core::bail!("average pooling of {:?}", x.dims()),
                },
                Layer::Concat(_, branches) => {
                    let outputs = branches.iter().map(|branch| self.forward(branch, x.clone()));
                    Tensor::cat(&outputs.collect::<candle_core::Result<Vec<_>>>()?, 3)?
                }
            };
        }
        Ok(x)
    }
}

/// Weights of the mean of up to three pixels along one side: a pixel and its neighbours.
fn means(side: usize) -> Vec<Vec<f32>> {
    let row = |new: usize| {
        let window = new.saturating_sub(1)..(new + 2).min(side);
        let weight = 1.0 / window.len() as f32;
        (0..side).map(|old| if window.contains(&old) { weight } else { 0.0 }).collect()
    };
    (0..side).map(row).collect()
}

/// Returns maxima of three neighbours along a dimension.
fn maxima(x: &Tensor, dim: usize, stride: usize, padding: usize) -> candle_core::Result<Tensor> {
    let side = x.dim(dim)?;
    let count = (side + 2 * padding - 3) / stride + 1;
    // In place of padding stands the pixel beside it, which the window has in any case.
    let neighbour = |tap: usize| {
        let index = |i: usize| (i * stride + tap).saturating_sub(padding).min(side - 1) as u32;
        let indices: Vec<u32> = (0..count).map(index).collect();
        x.index_select(&Tensor::new(indices, x.device())?, dim)
    };
    neighbour(0)?.maximum(&neighbour(1)?)?.maximum(&neighbour(2)?)
}

#[cfg(test)]
mod tests;

//! The weights of the FID Inception, by pytorch-fid's names.

use super::layers::{Conv, Layer};
use candle_core::{DType, Tensor};
use gan_kernels::{Activation, Epilogue, Geometry, Window, layer};
use std::collections::HashMap;
use std::sync::Arc;

/// Added to the variances of the batch normalisations.
const EPSILON: f64 = 1e-3;

/// A loaded convolution, with its batch normalisation as factors of the weights and a bias.
#[derive(Clone, Debug)]
pub(super) struct FoldedConv {
    /// (kernel H, kernel W, C in, C out)
    weight: Tensor,
    bias: Tensor,
    geometry: Arc<Geometry>,
}

impl FoldedConv {
    /// Computes the convolution and a ReLU.
    pub(super) fn forward(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        const RELU: Epilogue = Epilogue::new(Activation::LeakyRelu(0.0));
        layer(x, &self.weight, Some(&self.bias), &self.geometry, RELU)
    }
}

/// Tensors that have not been taken yet.
pub(super) struct Weights(pub(super) HashMap<String, Tensor>);

/// The channels and the side of square feature maps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Maps {
    pub(super) channels: usize,
    pub(super) side: usize,
}

impl Weights {
    /// Takes a tensor in f32.
    ///
    /// # Errors
    /// No tensor of this name, shape and type with finite values, in words.
    pub(super) fn take(&mut self, name: &str, dims: &[usize]) -> Result<Tensor, String> {
        let found = self.0.remove(name);
        let Some(tensor) = found else {
            return Err(format!("no {name}, which must have shape {dims:?}"));
        };
        if tensor.dims() != dims || tensor.dtype() != DType::F32 {
            let (shape, dtype) = (tensor.dims(), tensor.dtype());
            return Err(format!(
                "{name} has shape {shape:?} ({dtype:?}), must have {dims:?} (F32)"
            ));
        }
        // Zero times NaN or infinity is NaN.
        let zero = tensor.affine(0.0, 0.0).and_then(|zeros| zeros.sum_all()?.to_scalar::<f32>());
        if zero.map_err(|error| error.to_string())?.is_nan() {
            return Err(format!("{name} holds values that are NaN or infinite"));
        }
        Ok(tensor)
    }

    /// Takes the tensors of layers in turn, whose names begin with `prefix`, and returns the loaded
    /// layers and what they make of feature maps `from`.
    ///
    /// # Errors
    /// As [`Weights::take`].
    pub(super) fn layers(
        &mut self,
        prefix: &str,
        layers: Vec<Layer<Conv>>,
        mut from: Maps,
    ) -> Result<(Vec<Layer<FoldedConv>>, Maps), String> {
        let mut loaded = Vec::new();
        for layer in layers {
            let (layer, to) = self.layer(prefix, layer, from)?;
            loaded.push(layer);
            from = to;
        }
        Ok((loaded, from))
    }

    fn layer(
        &mut self,
        prefix: &str,
        layer: Layer<Conv>,
        from: Maps,
    ) -> Result<(Layer<FoldedConv>, Maps), String> {
        Ok(match layer {
            Layer::Conv(conv) => {
                let side = (from.side + 2 * conv.padding.0 - conv.kernel.0) / conv.stride + 1;
                let to = Maps { channels: conv.channels, side };
                (Layer::Conv(self.conv(&format!("{prefix}{}", conv.name), conv, [from, to])?), to)
            }
            Layer::MaxPool { stride, padding } => {
                let side = (from.side + 2 * padding - 3) / stride + 1;
                (Layer::MaxPool { stride, padding }, Maps { side, ..from })
            }
            Layer::AveragePool => (Layer::AveragePool, from),
            Layer::Concat(name, branches) => {
                let (prefix, mut to) = (format!("{prefix}{name}"), Maps { channels: 0, ..from });
                let mut loaded = Vec::new();
                for branch in branches {
                    let (branch, Maps { channels, side }) = self.layers(&prefix, branch, from)?;
                    loaded.push(branch);
                    to = Maps { channels: to.channels + channels, side };
                }
                (Layer::Concat(name, loaded), to)
            }
        })
    }

    fn conv(
        &mut self,
        name: &str,
        conv: Conv,
        [from, to]: [Maps; 2],
    ) -> Result<FoldedConv, String> {
        let Conv { channels, kernel: (height, width), stride, padding, .. } = conv;
        let weight = [channels, from.channels, height, width];
        let weight = self.take(&format!("{name}.conv.weight"), &weight)?;
        let mut vector = |part: &str| self.take(&format!("{name}.bn.{part}"), &[channels]);
        let (gamma, beta) = (vector("weight")?, vector("bias")?);
        let (mean, variance) = (vector("running_mean")?, vector("running_var")?);
        let least = variance.min(0).and_then(|least| least.to_scalar::<f32>());
        if least.map_err(|error| error.to_string())? < 0.0 {
            return Err(format!("{name}.bn.running_var holds negative values"));
        }
        let window = Window { kernel: (height, width), stride, padding };
        let fold = || {
            let scale = (gamma / variance.affine(1.0, EPSILON)?.sqrt()?)?;
            let bias = (beta - (mean * &scale)?)?;
            let weight = weight.broadcast_mul(&scale.reshape((channels, 1, 1, 1))?)?;
            let weight = weight.permute((2, 3, 1, 0))?.contiguous()?;
            let (from, to) = ((from.side, from.side), (to.side, to.side));
            Ok(FoldedConv { weight, bias, geometry: Geometry::conv(window, from, to)?.into() })
        };
        fold().map_err(|error: candle_core::Error| error.to_string())
    }

    /// Checks that no tensor is left. The batches that a normalisation has seen may be.
    ///
    /// # Errors
    /// The first tensor that is, in words.
    pub(super) fn check_all_taken(&self) -> Result<(), String> {
        let left = self.0.keys().filter(|name| !name.ends_with(".num_batches_tracked")).min();
        left.map_or(Ok(()), |name| Err(format!("{name}, which the network does not have")))
    }
}

//! Chains of layers with fixed weights, which are packed once: the forward pass of inference.

use crate::activation::{Activation, Epilogue};
use crate::gemm::PackedOperand;
use crate::geometry::Geometry;
use crate::im2col::{permute, sum_patches};
use crate::isa::Isa;
use crate::layer_op::BiasEpilogue;
use crate::layout::transpose;
use crate::linear::{Linear, Method};
use crate::matrix::MatrixBatch;
use crate::precision::gemm_isa;
use crate::rulebook::Rulebook;
use crate::storage;
use crate::winograd::TransformedWeights;
use candle_core::{Device, Result, Tensor, bail};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// The floats of memory that a chain keeps from one call to the next.
const KEPT: usize = 1 << 20;

/// A layer whose weights do not change any more: `activation(linear(x, weight) + bias)`.
#[derive(Clone, Debug)]
pub struct FixedLayer {
    /// (kernel H, kernel W, C in / groups, C out)
    pub weight: Tensor,
    /// (C out), or (H out * W out * C out) for a bias per pixel.
    pub bias: Option<Tensor>,
    /// The pixels of input and output, and the groups of channels.
    pub geometry: Arc<Geometry>,
    /// Applied last.
    pub activation: Activation,
}

/// Layers applied in order, with weights that are packed at the first call.
///
/// The result is that of [`crate::layer()`] for each layer, to the byte. On one thread, a call
/// for one image asks for no memory but the result's, unless a layer's input has few channels, or it uses
/// Winograd's algorithm.
pub struct PackedChain {
    layers: Vec<PackedLayer>,
    /// Memory for activations, of calls that have ended.
    buffers: Mutex<Vec<Buffers>>,
}

/// Memory for the activations before and after a layer, and for patches.
#[derive(Default)]
struct Buffers {
    from: Vec<f32>,
    to: Vec<f32>,
    patches: Vec<f32>,
}

impl PackedChain {
    /// Takes the layers, the first first.
    ///
    /// # Errors
    /// No layers; shapes that do not fit each other, another device than the CPU.
    pub fn new(layers: &[FixedLayer]) -> Result<Self> {
        let layers = layers.iter().map(PackedLayer::new).collect::<Result<Vec<_>>>()?;
        let fits = |pair: &[PackedLayer]| {
            pair[0].geometry.output() == pair[1].geometry.input()
                && pair[0].channels.1 == pair[1].channels.0
        };
        if layers.is_empty() || !layers.windows(2).all(fits) {
            bail!("packed chain: each of one or more layers must fit the one before it");
        }
        Ok(Self { layers, buffers: Mutex::default() })
    }

    /// Computes the images.
    ///
    /// # Shapes
    /// `x`: (H, W, B, C) of the first layer's input; result: (B, C, H, W) of the last one's output.
    /// f32 on the CPU.
    /// # Errors
    /// An input of another shape or on another device.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (height, width, batch, channels) = x.dims4()?;
        let (first, last) = (&self.layers[0], &self.layers[self.layers.len() - 1]);
        if (height, width) != first.geometry.input() || channels != first.channels.0 || batch == 0 {
            let wanted = (first.geometry.input(), first.channels.0);
            bail!("packed chain: input {:?}, not (H, W), C of {wanted:?}", x.dims());
        }
        let lock = || self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffers = lock().pop().unwrap_or_default();
        let x = x.contiguous()?;
        let images = storage::with(&[Some(&x)], |x| Ok(self.run(x[0], batch, &mut buffers)))?;
        let Buffers { from, to, patches } = &buffers;
        if from.capacity() + to.capacity() + patches.capacity() <= KEPT {
            lock().push(buffers);
        }
        let (height, width) = last.geometry.output();
        Tensor::from_vec(images, (batch, last.channels.1, height, width), &Device::Cpu)
    }

    fn run(&self, x: &[f32], batch: usize, buffers: &mut Buffers) -> Vec<f32> {
        let Buffers { from, to, patches } = buffers;
        let last = self.layers.len() - 1;
        for (number, layer) in self.layers.iter().enumerate() {
            let source = if number == 0 { x } else { &from[..] };
            if number == last && (batch * layer.channels.1 == 1 || layer.pixels() == 1) {
                // (H, W, B, C) and (B, C, H, W) are the same order.
                let mut images = Vec::new();
                layer.forward(source, batch, patches, &mut images);
                return images;
            }
            layer.forward(source, batch, patches, to);
            std::mem::swap(from, to);
        }
        transpose(from, self.layers[last].pixels())
    }
}

struct PackedLayer {
    geometry: Arc<Geometry>,
    /// In, out.
    channels: (usize, usize),
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    per_pixel: bool,
    epilogue: Epilogue,
    /// For one image, and for more.
    packed: [OnceLock<PackedOperand>; 2],
    /// For Winograd's algorithm.
    transformed: OnceLock<TransformedWeights>,
    /// One product with all taps' weights.
    one_product: Rulebook,
}

impl PackedLayer {
    fn new(layer: &FixedLayer) -> Result<Self> {
        let FixedLayer { weight, bias, geometry, activation } = layer;
        let (height, width, c_in, c_out) = weight.dims4()?;
        let pixels = geometry.output().0 * geometry.output().1;
        let features = bias.as_ref().map_or(c_out, Tensor::elem_count);
        let fits = (height, width) == geometry.kernel
            && c_in * c_out > 0
            && c_out.is_multiple_of(geometry.groups);
        if !fits || ![c_out, pixels * c_out].contains(&features) {
            let bias = bias.as_ref().map(Tensor::dims);
            bail!(
                "packed chain: weight {:?}, groups {}, bias {bias:?}, {pixels} pixels",
                weight.dims(),
                geometry.groups
            );
        }
        let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        Ok(Self {
            geometry: geometry.clone(),
            channels: (c_in * geometry.groups, c_out),
            weight: values(weight)?,
            bias: bias.as_ref().map(values).transpose()?,
            per_pixel: features != c_out,
            epilogue: Epilogue::new(*activation),
            packed: Default::default(),
            transformed: OnceLock::new(),
            one_product: Rulebook::one_b(1),
        })
    }

    /// The number of pixels of the output.
    fn pixels(&self) -> usize {
        self.geometry.output().0 * self.geometry.output().1
    }

    /// Computes [pixel][batch][channel] from such values.
    fn forward(&self, x: &[f32], batch: usize, patches: &mut Vec<f32>, y: &mut Vec<f32>) {
        let (geometry, (c_in, c_out)) = (&self.geometry, self.channels);
        let bias = BiasEpilogue {
            bias: self.bias.as_deref(),
            per_pixel: self.per_pixel,
            batch,
            channels: c_out,
            epilogue: self.epilogue,
        };
        let finish =
            |row: usize, column: usize, values: &mut [f32]| bias.apply(row, column, values);
        let linear = Linear { geometry, batch, channels: self.channels };
        if let Some((winograd, input_is_large)) = linear.winograd() {
            let weight = MatrixBatch::k_outside(&self.weight, c_in, c_out);
            let weights = || winograd.weights(weight, gemm_isa(c_in, c_out));
            let weights = self.transformed.get_or_init(weights);
            *y = winograd.forward((x, batch), input_is_large, weights, finish);
            return;
        }
        let packed = &self.packed[usize::from(batch > 1)];
        let isa = gemm_isa(geometry.taps() * c_out, c_in);
        match linear.forward_method() {
            Method::Pairs => {
                let weight = || MatrixBatch::k_outside(&self.weight, c_in, c_out);
                let isa = gemm_isa(c_in, c_out);
                let packed = packed.get_or_init(|| PackedOperand::new(weight(), batch, isa));
                let x = MatrixBatch::k_inside(x, batch, c_in);
                packed.gemm(&geometry.forward, x, y, finish);
            }
            // AMX's sums depend on which operand is the left one.
            Method::Col2im if batch == 1 && isa != Isa::Amx => {
                let pixels = x.len() / c_in;
                let packed = packed.get_or_init(|| self.pack_all_taps(pixels, isa));
                let x = MatrixBatch::k_inside(x, pixels, c_in);
                packed.gemm(&self.one_product, x, patches, |_, _, _| {});
                sum_patches(&geometry.forward, patches, (geometry.taps(), c_out), y);
                match self.per_pixel {
                    false => finish(0, 0, y),
                    true => {
                        y.chunks_exact_mut(c_out).enumerate().for_each(|(i, y)| finish(i, 0, y))
                    }
                }
            }
            _ => *y = linear.forward(x, &self.weight, finish),
        }
    }

    /// The weights of all taps as one matrix: (C in) rows, (taps * C out) columns.
    fn pack_all_taps(&self, pixels: usize, isa: Isa) -> PackedOperand {
        let (taps, (c_in, c_out)) = (self.geometry.taps(), self.channels);
        let matrix = permute(&self.weight, (c_in, taps, c_out), (c_out, c_in * c_out, 1));
        PackedOperand::new(MatrixBatch::k_outside(&matrix, c_in, taps * c_out), pixels, isa)
    }
}

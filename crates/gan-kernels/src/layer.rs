//! A whole layer as one candle operator: a convolution, transposed convolution or dense product,
//! then bias or batch normalisation, then activation and dropout.
//!
//! There are two ways back: [`layer`] and [`layer_batch_norm`] are nodes of candle's autograd,
//! which adds every gradient to a tensor of zeros; a [`LayerPass`] is driven by hand and does
//! nothing twice.

use crate::activation::Epilogue;
use crate::geometry::{Geometry, Links};
use crate::norm::{self, Moments, Rows};
use crate::product::{self, Matrices, Unit};
use crate::storage::{self, contiguous};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};
use pulp::Arch;
use std::sync::{Arc, OnceLock};

/// Batch statistics of a normalised layer, for its running averages.
#[derive(Debug)]
pub struct BatchStatistics {
    /// Mean of each feature.
    pub mean: Tensor,
    /// Variance of each feature, divided by the count less one.
    pub variance: Tensor,
}

/// How a batch is normalised.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether each pixel of each channel is a feature of its own (as where a dense layer's
    /// outputs are normalised before they are arranged as a picture), not each channel.
    pub per_pixel: bool,
}

/// `dropout(activation(product(x, weight) + bias))`.
///
/// # Shapes
/// `x`: (H, W, B, C in), `weight`: (kernel H, kernel W, C in, C out), `bias`: (C out), or
/// (H out * W out * C out) where every pixel has its own, with the pixels of `geometry`; result:
/// (H out, W out, B, C out). f32 on the CPU.
/// # Gradient
/// Of `x`, `weight` and `bias`, each where it is tracked.
/// # Errors
/// Shapes that do not fit, a device other than the CPU.
pub fn layer(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    geometry: &Arc<Geometry>,
    epilogue: Epilogue,
) -> Result<Tensor> {
    let mut op = Layer::new(x, weight, geometry, epilogue, None)?;
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => {
            op.take_bias(bias)?;
            x.apply_op3(&weight, &bias.contiguous()?, op)
        }
        None => x.apply_op2(&weight, op),
    }
}

/// `dropout(activation(batch_norm(product(x, weight))))`, normalised with the batch's own statistics,
/// which are returned for the running averages.
///
/// # Shapes
/// As [`layer`]; `gamma`, `beta` and the statistics: (features).
/// # Gradient
/// Of `x`, `weight`, `gamma` and `beta`, through the statistics.
/// # Errors
/// As [`layer`].
/// # Reference
/// Ioffe and Szegedy 2015, "Batch Normalization".
pub fn layer_batch_norm(
    x: &Tensor,
    weight: &Tensor,
    (gamma, beta): (&Tensor, &Tensor),
    geometry: &Arc<Geometry>,
    batch_norm: BatchNorm,
    epilogue: Epilogue,
) -> Result<(Tensor, BatchStatistics)> {
    let op = Layer::new(x, weight, geometry, epilogue, Some(batch_norm))?;
    op.check_features(gamma, beta)?;
    let rows = op.rows();
    let saved = op.saved.clone();
    let affine = Tensor::stack(&[gamma, beta], 0)?;
    let y = x.contiguous()?.apply_op3(&weight.contiguous()?, &affine, op)?;
    Ok((y, statistics(&saved, rows)?))
}

fn statistics(saved: &OnceLock<Saved>, rows: Rows) -> Result<BatchStatistics> {
    let Some(Saved { moments, .. }) = saved.get() else {
        bail!("layer: the forward pass left no statistics");
    };
    let features = moments.mean.len();
    let unbias = rows.rows as f32 / (rows.rows.max(2) - 1) as f32;
    let variance: Vec<f32> = moments.variance.iter().map(|v| v * unbias).collect();
    Ok(BatchStatistics {
        mean: Tensor::from_slice(&moments.mean, features, &Device::Cpu)?,
        variance: Tensor::from_vec(variance, features, &Device::Cpu)?,
    })
}

/// What stands between a layer's product and its activation.
#[derive(Clone, Copy, Debug)]
pub enum Affine<'a> {
    /// Nothing.
    None,
    /// A bias, as in [`layer`].
    Bias(&'a Tensor),
    /// Batch normalisation with gamma and beta, as in [`layer_batch_norm`].
    BatchNorm(&'a Tensor, &'a Tensor, BatchNorm),
}

/// Which gradients a backward pass is to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wants {
    /// Of the input.
    pub input: bool,
    /// Of weight, bias, gamma and beta.
    pub parameters: bool,
}

/// What a backward pass computed.
#[derive(Debug)]
pub struct LayerGradients {
    /// Of the input, in its shape.
    pub input: Option<Tensor>,
    /// Of the weight, in its shape.
    pub weight: Option<Tensor>,
    /// Of the bias, or of (gamma, beta), shaped (2, features).
    pub affine: Option<Tensor>,
}

/// A layer's forward pass outside of autograd, with what its backward pass needs.
pub struct LayerPass {
    layer: Layer,
    x: Tensor,
    weight: Tensor,
    affine: Option<Tensor>,
    output: Tensor,
}

impl LayerPass {
    /// The forward pass of [`layer`] or [`layer_batch_norm`].
    ///
    /// # Errors
    /// As those.
    pub fn forward(
        x: &Tensor,
        weight: &Tensor,
        affine: Affine,
        geometry: &Arc<Geometry>,
        epilogue: Epilogue,
    ) -> Result<Self> {
        let batch_norm = match affine {
            Affine::BatchNorm(_, _, batch_norm) => Some(batch_norm),
            _ => None,
        };
        let mut layer = Layer::new(x, weight, geometry, epilogue, batch_norm)?;
        let affine = match affine {
            Affine::None => None,
            Affine::Bias(bias) => {
                layer.take_bias(bias)?;
                Some(bias.detach().contiguous()?)
            }
            Affine::BatchNorm(gamma, beta, _) => {
                layer.check_features(gamma, beta)?;
                Some(Tensor::stack(&[gamma.detach(), beta.detach()], 0)?)
            }
        };
        let (x, weight) = (x.detach().contiguous()?, weight.detach().contiguous()?);
        let output = match &affine {
            Some(affine) => x.apply_op3_no_bwd(&weight, affine, &layer)?,
            None => x.apply_op2_no_bwd(&weight, &layer)?,
        };
        Ok(Self { layer, x, weight, affine, output })
    }

    /// The layer's output.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// The batch's statistics, where the layer is normalised.
    ///
    /// # Errors
    /// A layer without batch normalisation.
    pub fn statistics(&self) -> Result<BatchStatistics> {
        statistics(&self.layer.saved, self.layer.rows())
    }

    /// The gradients, given that of the output.
    ///
    /// # Errors
    /// A gradient of another shape than the output's.
    pub fn backward(&self, gradient: &Tensor, wants: Wants) -> Result<LayerGradients> {
        if gradient.dims() != self.output.dims() {
            bail!("layer: gradient {:?} of output {:?}", gradient.dims(), self.output.dims());
        }
        let Self { layer, x, weight, affine, output } = self;
        layer.backward(x, weight, affine.as_ref(), output, gradient, wants)
    }
}

/// What the backward pass of a normalised layer needs beside arguments and result.
struct Saved {
    /// The product before normalisation.
    product: Vec<f32>,
    moments: Moments,
}

struct Layer {
    geometry: Arc<Geometry>,
    epilogue: Epilogue,
    batch_norm: Option<BatchNorm>,
    /// Whether bias or normalisation have a feature for every pixel of each channel.
    per_pixel: bool,
    batch: usize,
    /// In, out.
    channels: (usize, usize),
    saved: Arc<OnceLock<Saved>>,
}

impl Layer {
    fn new(
        x: &Tensor,
        weight: &Tensor,
        geometry: &Arc<Geometry>,
        epilogue: Epilogue,
        batch_norm: Option<BatchNorm>,
    ) -> Result<Self> {
        let (height, width, batch, c_in) = x.dims4()?;
        let (kernel_height, kernel_width, weight_in, c_out) = weight.dims4()?;
        let kernel = (kernel_height, kernel_width);
        if (height, width) != geometry.input() || kernel != geometry.kernel || weight_in != c_in {
            bail!(
                "layer: input {:?} and weight {:?} do not fit {:?} pixels, kernel {:?}",
                x.dims(),
                weight.dims(),
                geometry.input(),
                geometry.kernel
            );
        }
        if batch * c_in * c_out == 0 {
            bail!("layer: empty input {:?} or weight {:?}", x.dims(), weight.dims());
        }
        Ok(Self {
            geometry: geometry.clone(),
            epilogue,
            batch_norm,
            per_pixel: batch_norm.is_some_and(|norm| norm.per_pixel),
            batch,
            channels: (c_in, c_out),
            saved: Arc::default(),
        })
    }

    fn output_shape(&self) -> (usize, usize, usize, usize) {
        let (height, width) = self.geometry.output();
        (height, width, self.batch, self.channels.1)
    }

    /// Takes note of whether the bias has a value for every pixel.
    fn take_bias(&mut self, bias: &Tensor) -> Result<()> {
        let (pixels, channels) = (self.pixels(), self.channels.1);
        match bias.dims() {
            [n] if *n == channels => {}
            [n] if *n == pixels * channels => self.per_pixel = true,
            dims => bail!("layer: bias {dims:?} for {channels} channels of {pixels} pixels"),
        }
        Ok(())
    }

    fn check_features(&self, gamma: &Tensor, beta: &Tensor) -> Result<()> {
        let Rows { groups, channels, .. } = self.rows();
        let features = groups * channels;
        if gamma.dims() != [features] || beta.dims() != [features] {
            bail!(
                "layer: gamma {:?} and beta {:?} for {features} features",
                gamma.dims(),
                beta.dims()
            );
        }
        Ok(())
    }

    /// Pixels of the output.
    fn pixels(&self) -> usize {
        self.geometry.output().0 * self.geometry.output().1
    }

    /// The output as rows that share their features.
    fn rows(&self) -> Rows {
        let groups = if self.per_pixel { self.pixels() } else { 1 };
        Rows { groups, rows: self.pixels() / groups * self.batch, channels: self.channels.1 }
    }

    fn forward(&self, x: &[f32], weight: &[f32], affine: Option<&[f32]>) -> Vec<f32> {
        let arch = Arch::new();
        let epilogue = self.epilogue;
        let Some(batch_norm) = self.batch_norm else {
            let channels = self.channels.1;
            return self.product(x, weight, |row, column, values| {
                arch.dispatch(|| {
                    if let Some(bias) = affine {
                        let pixel = if self.per_pixel { row / self.batch } else { 0 };
                        let width = values.len().min(channels - column);
                        let bias = &bias[pixel * channels + column..][..width];
                        for row in values.chunks_exact_mut(width) {
                            row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                        }
                    }
                    epilogue.apply(row * channels + column, values);
                });
            });
        };
        let product = self.product(x, weight, |_, _, _| {});
        let moments = norm::moments(&product, self.rows());
        let affine = affine.unwrap_or_default();
        let gamma_beta = affine.split_at(affine.len() / 2);
        let output = norm::normalise(
            &product,
            self.rows(),
            &moments,
            gamma_beta,
            batch_norm.epsilon,
            epilogue,
        );
        // A second forward pass through the same operator cannot happen: each call makes its own.
        let _ = self.saved.set(Saved { product, moments });
        output
    }

    fn product(
        &self,
        x: &[f32],
        weight: &[f32],
        finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
    ) -> Vec<f32> {
        let (c_in, c_out) = self.channels;
        let weight = Matrices::of_columns(weight, c_in, c_out);
        along_links(&self.geometry.forward, x, weight, self.batch, finish)
    }

    fn input_gradient(&self, gradient: &[f32], weight: &[f32]) -> Vec<f32> {
        let (c_in, c_out) = self.channels;
        let weight = Matrices::of_rows(weight, c_in, c_out);
        along_links(&self.geometry.backward, gradient, weight, self.batch, |_, _, _| {})
    }

    /// [tap][channel in][channel out]: for each tap the sum over its pairs of pixels of the
    /// input's matrix, transposed, times the gradient's.
    fn weight_gradient(&self, x: &[f32], gradient: &[f32]) -> Vec<f32> {
        let Self { geometry, batch, channels: (c_in, c_out), .. } = self;
        let taps = geometry.taps();
        let columns = |data, width| Matrices::of_columns(data, *batch, width);
        if is_few(*c_in, taps) {
            // What each output pixel meets side by side: one product of (taps x channels in) rows.
            let patches = product::patches(&geometry.forward, x, *batch, (taps, *c_in));
            let patches = Matrices::of_rows(&patches, taps * c_in, *batch);
            return sum_of_products(patches, columns(gradient, *c_out));
        }
        if is_few(*c_out, taps) && geometry.backward.results() < geometry.forward.results() {
            let patches = product::patches(&geometry.backward, gradient, *batch, (taps, *c_out));
            let patches = Matrices::of_rows(&patches, taps * c_out, *batch);
            let rows = sum_of_products(patches, columns(x, *c_in));
            // [tap][channel out][channel in] -> [tap][channel in][channel out]
            return rearranged(&rows, (taps, *c_in, *c_out), (c_out * c_in, 1, *c_in));
        }
        let (left, right) = (columns(x, *c_in), columns(gradient, *c_out));
        let unit = Unit::of_weights(*c_in, *c_out);
        product::product(&geometry.weights, (left, right), unit, |_, _, _| {})
    }

    /// The gradient before bias or normalisation, and those of the affine parameters.
    fn epilogue_backward(
        &self,
        affine: Option<&[f32]>,
        output: &[f32],
        gradient: &[f32],
        wants: Wants,
    ) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let epilogue = self.epilogue;
        if let Some(batch_norm) = self.batch_norm {
            let (Some(Saved { product, moments }), Some(affine)) = (self.saved.get(), affine)
            else {
                bail!("layer: backward without forward");
            };
            let gamma = &affine[..affine.len() / 2];
            let rows = self.rows();
            let (gradient, mut gamma, beta) = norm::backward(
                product,
                output,
                gradient,
                rows,
                moments,
                gamma,
                batch_norm.epsilon,
                epilogue,
            );
            gamma.extend(beta);
            return Ok((gradient, Some(gamma)));
        }
        let gradient = storage::map_chunks(gradient, |first, chunk| {
            epilogue.backward(first, &output[first..first + chunk.len()], chunk);
        });
        let wanted = affine.filter(|_| wants.parameters);
        let bias = wanted.map(|_| norm::row_sums(&gradient, self.rows()));
        Ok((gradient, bias))
    }

    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        affine: Option<&Tensor>,
        output: &Tensor,
        gradient: &Tensor,
        wants: Wants,
    ) -> Result<LayerGradients> {
        let gradient = gradient.contiguous()?;
        let affine_shape = affine.map(Tensor::dims);
        let (gradient, affine_gradient) =
            storage::with(&[Some(output), Some(&gradient), affine], |v| {
                self.epilogue_backward(affine.map(|_| v[2]), v[0], v[1], wants)
            })?;
        let (x_shape, weight_shape) = (x.dims(), weight.dims());
        storage::with(&[Some(x), Some(weight)], |v| {
            let x_gradient = wants
                .input
                .then(|| {
                    Tensor::from_vec(self.input_gradient(&gradient, v[1]), x_shape, &Device::Cpu)
                })
                .transpose()?;
            let weight_gradient = wants
                .parameters
                .then(|| {
                    let weights = self.weight_gradient(v[0], &gradient);
                    Tensor::from_vec(weights, weight_shape, &Device::Cpu)
                })
                .transpose()?;
            let affine_gradient = match (affine_gradient, affine_shape) {
                (Some(values), Some(shape)) => Some(Tensor::from_vec(values, shape, &Device::Cpu)?),
                _ => None,
            };
            Ok(LayerGradients {
                input: x_gradient,
                weight: weight_gradient,
                affine: affine_gradient.filter(|_| wants.parameters),
            })
        })
    }
}

/// Layers with fewer channels than this on one side (pictures: 1 or 3) go another way: their
/// taps are laid side by side as the columns of one product.
const FEW_CHANNELS: usize = 8;

fn is_few(channels: usize, taps: usize) -> bool {
    channels < FEW_CHANNELS && taps > 1
}

/// The product of activations with the weights of their taps, along `links`.
fn along_links(
    links: &Links,
    source: &[f32],
    weight: Matrices,
    batch: usize,
    finish: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let Matrices { count: taps, depth, outer: width, strides, .. } = weight;
    // Where most places of a patch would be empty, links are better followed one by one.
    let is_dense = 2 * links.len() >= links.results() * taps;
    if is_few(depth, taps) && is_dense {
        // What each pixel meets, tap beside tap, times one matrix of (tap, depth) by column.
        let strides = (strides.matrix, strides.depth, strides.outer);
        let matrix = rearranged(weight.data, (taps, depth, width), strides);
        let patches = product::patches(links, source, batch, (taps, depth));
        return product::product(
            &Links::one_right(links.results()),
            (
                Matrices::of_columns(&patches, taps * depth, batch),
                Matrices::of_columns(&matrix, taps * depth, width),
            ),
            Unit::of_weights(taps * depth, width),
            finish,
        );
    }
    let activations = Matrices::of_rows(source, batch, depth);
    // Side by side, every source pixel meets all taps; one by one, a tile's width for each link.
    let tile = 32;
    let side_by_side = activations.count * (taps * width).next_multiple_of(tile);
    if is_few(width, taps) && side_by_side < links.len() * width.next_multiple_of(tile) {
        // One matrix of (tap, column) by depth, then the sums along the links.
        let strides = (strides.matrix, strides.outer, strides.depth);
        let matrix = rearranged(weight.data, (taps, width, depth), strides);
        let left = Matrices::of_rows(&matrix, taps * width, depth);
        let each = Links::one_left(activations.count);
        let unit = Unit::of_weights(taps * width, depth);
        let patches = product::product(&each, (left, activations), unit, |_, _, _| {});
        return product::gather(links, &patches, batch, (taps, width), finish);
    }
    product::product(links, (activations, weight), Unit::of_weights(depth, width), finish)
}

/// The sum over all pixels of `left` times `right`, as a sum of sums that threads can share.
fn sum_of_products(left: Matrices, right: Matrices) -> Vec<f32> {
    let parts = left.count.min(16);
    let links = Links::sums(left.count, parts);
    let unit = Unit::of_weights(left.outer, right.outer);
    let parts = product::product(&links, (left, right), unit, |_, _, _| {});
    let mut parts = parts.chunks_exact(left.outer * right.outer);
    let mut sum = parts.next().map(<[f32]>::to_vec).unwrap_or_default();
    for part in parts {
        sum.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sum
}

/// Elements in the order of their three indices, given how many there are of each and how far
/// apart they lie in `source`.
fn rearranged(
    source: &[f32],
    counts: (usize, usize, usize),
    strides: (usize, usize, usize),
) -> Vec<f32> {
    let mut result = Vec::with_capacity(source.len());
    for i in 0..counts.0 {
        for j in 0..counts.1 {
            let start = i * strides.0 + j * strides.1;
            result.extend((0..counts.2).map(|l| source[start + l * strides.2]));
        }
    }
    result
}

impl CustomOp2 for Layer {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let output =
            self.forward(contiguous(x, x_layout)?, contiguous(weight, weight_layout)?, None);
        Ok((CpuStorage::F32(output), self.output_shape().into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let wants = Wants { input: x.track_op(), parameters: weight.track_op() };
        let gradients = self.backward(x, weight, None, output, gradient, wants)?;
        Ok((gradients.input, gradients.weight))
    }
}

impl CustomOp3 for Layer {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let affine = contiguous(affine, affine_layout)?;
        let output = self.forward(
            contiguous(x, x_layout)?,
            contiguous(weight, weight_layout)?,
            Some(affine),
        );
        Ok((CpuStorage::F32(output), self.output_shape().into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        affine: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let parameters = weight.track_op() || affine.track_op();
        let wants = Wants { input: x.track_op(), parameters };
        let gradients = self.backward(x, weight, Some(affine), output, gradient, wants)?;
        Ok((gradients.input, gradients.weight, gradients.affine))
    }
}

//! A whole layer as one candle operator: a convolution, transposed convolution or dense product,
//! then bias or batch normalisation, then activation and dropout.
//!
//! There are two ways back: [`layer`] and [`layer_batch_norm`] are nodes of candle's autograd,
//! which adds every gradient to a tensor of zeros; a [`LayerPass`] is driven by hand and does
//! nothing twice.

use crate::activation::Epilogue;
use crate::geometry::Geometry;
use crate::linear::Linear;
use crate::norm::{self, Moments, Rows};
use crate::parallel;
use crate::simd::vectorized;
use crate::storage::{self, contiguous};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};
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
    match saved.get() {
        Some(Saved { moments, .. }) => statistics_of(moments, rows),
        None => bail!("layer: the forward pass left no statistics"),
    }
}

pub(crate) fn statistics_of(moments: &Moments, rows: Rows) -> Result<BatchStatistics> {
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

    fn linear(&self) -> Linear<'_> {
        Linear { geometry: &self.geometry, batch: self.batch, channels: self.channels }
    }

    /// Of the product, and of each of its gradients.
    fn multiply_adds(&self) -> usize {
        self.geometry.forward.len() * self.batch * self.channels.0 * self.channels.1
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
        let epilogue = self.epilogue;
        let Some(batch_norm) = self.batch_norm else {
            let channels = self.channels.1;
            return self.linear().forward(x, weight, |row, column, values| {
                vectorized!({
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
        let product = self.linear().forward(x, weight, |_, _, _| {});
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

    /// The gradient before bias or normalisation, and those of gamma and beta.
    fn epilogue_backward(
        &self,
        affine: Option<&[f32]>,
        output: &[f32],
        gradient: &[f32],
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
        let gradient = storage::map_chunks(
            gradient,
            #[inline(always)]
            |first, chunk| {
                epilogue.backward(first, &output[first..first + chunk.len()], chunk);
            },
        );
        Ok((gradient, None))
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
        let (gradient, of_norm) = storage::with(&[Some(output), Some(&gradient), affine], |v| {
            self.epilogue_backward(affine.map(|_| v[2]), v[0], v[1])
        })?;
        let both = wants.input && wants.parameters;
        let (linear, work) = (self.linear(), if both { 2 * self.multiply_adds() } else { 0 });
        let (of_x, of_parameters) = storage::with(&[Some(x), Some(weight)], |v| {
            Ok(parallel::join(
                work,
                || wants.input.then(|| linear.input_gradient(&gradient, v[1])),
                || {
                    wants.parameters.then(|| {
                        let bias = || affine.map(|_| norm::row_sums(&gradient, self.rows()));
                        (linear.weight_gradient(v[0], &gradient), of_norm.or_else(bias))
                    })
                },
            ))
        })?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.dims(), &Device::Cpu);
        let (of_weight, of_affine) = of_parameters.unzip();
        Ok(LayerGradients {
            input: of_x.map(|values| tensor(values, x)).transpose()?,
            weight: of_weight.map(|values| tensor(values, weight)).transpose()?,
            affine: match (of_affine.flatten(), affine) {
                (Some(values), Some(affine)) => Some(tensor(values, affine)?),
                _ => None,
            },
        })
    }
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

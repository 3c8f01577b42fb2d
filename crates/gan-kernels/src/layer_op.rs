//! The operator behind [`crate::layer()`], as candle's autograd calls it.

use crate::activation::Epilogue;
use crate::geometry::Geometry;
use crate::linear::Linear;
use crate::norm::{self, MeanVariance, Parameters, Rows};
use crate::parallel;
use crate::simd::vectorized;
use crate::storage::{self, contiguous};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};
use std::sync::{Arc, OnceLock};

/// The settings of batch normalisation.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub epsilon: f32,
    /// Whether each pixel of each channel is a feature of its own, not each channel. That is the
    /// case where a dense layer's outputs are normalised before they are reshaped to a feature map.
    pub per_pixel: bool,
}

/// Which gradients a backward pass computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GradMask {
    /// That of the input.
    pub input: bool,
    /// Those of weight, bias, gamma and beta.
    pub parameters: bool,
}

/// The gradients of a layer.
#[derive(Debug)]
#[non_exhaustive]
pub struct LayerGradients {
    /// Of the input, in its shape.
    pub input: Option<Tensor>,
    /// Of the weight, in its shape.
    pub weight: Option<Tensor>,
    /// Of the bias, or of (gamma, beta), shaped (2, features).
    pub scale_shift: Option<Tensor>,
}

/// What the backward pass of a normalised layer needs beside its arguments and its output.
pub(crate) struct PreNorm {
    /// The output of the linear map, before normalisation.
    values: Vec<f32>,
    pub(crate) statistics: MeanVariance,
}

/// What follows a linear map without normalisation.
pub(crate) struct BiasEpilogue<'a> {
    /// For each channel, or for each pixel and channel.
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) per_pixel: bool,
    pub(crate) batch: usize,
    pub(crate) channels: usize,
    pub(crate) epilogue: Epilogue,
}

impl BiasEpilogue<'_> {
    /// Changes values of the linear map: from a column of a row of [pixel][batch] on, a part of that
    /// row or whole rows; those of one pixel if the bias is per pixel.
    pub(crate) fn apply(&self, row: usize, column: usize, values: &mut [f32]) {
        let Self { bias, per_pixel, batch, channels, epilogue } = *self;
        vectorized!({
            if let Some(bias) = bias {
                let pixel = if per_pixel { row / batch } else { 0 };
                let width = values.len().min(channels - column);
                let bias = &bias[pixel * channels + column..][..width];
                for row in values.chunks_exact_mut(width) {
                    row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                }
            }
            epilogue.apply(row * channels + column, values);
        });
    }
}

/// A layer's operator for arguments of known shapes.
pub(crate) struct LayerOp {
    geometry: Arc<Geometry>,
    epilogue: Epilogue,
    batch_norm: Option<BatchNorm>,
    /// Whether bias or normalisation have a feature for every pixel of each channel.
    per_pixel: bool,
    batch: usize,
    /// In, out.
    channels: (usize, usize),
    pre_norm: Arc<OnceLock<PreNorm>>,
}

impl LayerOp {
    pub(crate) fn new(
        x: &Tensor,
        weight: &Tensor,
        geometry: &Arc<Geometry>,
        epilogue: Epilogue,
        batch_norm: Option<BatchNorm>,
    ) -> Result<Self> {
        let (height, width, batch, c_in) = x.dims4()?;
        let (kernel_height, kernel_width, weight_in, c_out) = weight.dims4()?;
        let kernel = (kernel_height, kernel_width);
        let groups = geometry.groups;
        let fits = weight_in.checked_mul(groups) == Some(c_in) && c_out.is_multiple_of(groups);
        if (height, width) != geometry.input() || kernel != geometry.kernel || !fits {
            bail!(
                "layer: input {:?} and weight {:?} do not fit {:?} pixels, kernel {:?}, groups {groups}",
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
            pre_norm: Arc::default(),
        })
    }

    /// Shared with whoever reads the statistics after the forward pass.
    pub(crate) fn pre_norm(&self) -> Arc<OnceLock<PreNorm>> {
        self.pre_norm.clone()
    }

    fn output_shape(&self) -> (usize, usize, usize, usize) {
        let (height, width) = self.geometry.output();
        (height, width, self.batch, self.channels.1)
    }

    /// Checks the bias, and finds out whether it has a value for every pixel.
    pub(crate) fn set_bias(&mut self, bias: &Tensor) -> Result<()> {
        let (pixels, channels) = (self.pixels(), self.channels.1);
        match bias.dims() {
            [n] if *n == channels => {}
            [n] if *n == pixels * channels => self.per_pixel = true,
            dims => bail!("layer: bias {dims:?} for {channels} channels of {pixels} pixels"),
        }
        Ok(())
    }

    pub(crate) fn check_features(&self, gamma: &Tensor, beta: &Tensor) -> Result<()> {
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

    /// Multiply-adds of the linear map, and of each of its gradients.
    fn multiply_adds(&self) -> usize {
        let channels = self.channels.0 / self.geometry.groups * self.channels.1;
        self.geometry.multiply_adds() * self.batch * channels
    }

    /// The number of pixels of the output.
    fn pixels(&self) -> usize {
        self.geometry.output().0 * self.geometry.output().1
    }

    /// The output as rows that share their features.
    pub(crate) fn rows(&self) -> Rows {
        let groups = if self.per_pixel { self.pixels() } else { 1 };
        Rows { groups, rows: self.pixels() / groups * self.batch, channels: self.channels.1 }
    }

    fn forward(&self, x: &[f32], weight: &[f32], scale_shift: Option<&[f32]>) -> Vec<f32> {
        let epilogue = self.epilogue;
        let Some(batch_norm) = self.batch_norm else {
            let bias = BiasEpilogue {
                bias: scale_shift,
                per_pixel: self.per_pixel,
                batch: self.batch,
                channels: self.channels.1,
                epilogue,
            };
            return self.linear().forward(x, weight, |row, column, values| {
                bias.apply(row, column, values);
            });
        };
        let values = self.linear().forward(x, weight, |_, _, _| {});
        let statistics = norm::mean_variance(&values, self.rows());
        let parameters = self.norm_parameters(batch_norm, scale_shift.unwrap_or_default());
        let output = norm::normalise(&values, self.rows(), &statistics, parameters);
        // Each call of `layer_batch_norm` makes an operator of its own, so this is its only forward
        // pass.
        let _ = self.pre_norm.set(PreNorm { values, statistics });
        output
    }

    /// The parameters of the normalisation, from gamma and beta one after the other.
    fn norm_parameters<'a>(&self, batch_norm: BatchNorm, scale_shift: &'a [f32]) -> Parameters<'a> {
        let (gamma, beta) = scale_shift.split_at(scale_shift.len() / 2);
        Parameters { gamma, beta, epsilon: batch_norm.epsilon, epilogue: self.epilogue }
    }

    /// Returns the gradient before bias or normalisation, and those of gamma and beta.
    fn epilogue_backward(
        &self,
        scale_shift: Option<&[f32]>,
        output: &[f32],
        gradient: &[f32],
    ) -> Result<(Vec<f32>, Option<Vec<f32>>)> {
        let epilogue = self.epilogue;
        let Some(batch_norm) = self.batch_norm else {
            let gradient = storage::map_chunks(
                gradient,
                #[inline(always)]
                |first, chunk| {
                    epilogue.backward(first, &output[first..first + chunk.len()], chunk);
                },
            );
            return Ok((gradient, None));
        };
        let (Some(PreNorm { values, statistics }), Some(scale_shift)) =
            (self.pre_norm.get(), scale_shift)
        else {
            bail!("layer: backward without forward");
        };
        let tensors = (&values[..], output, gradient);
        let parameters = self.norm_parameters(batch_norm, scale_shift);
        let mut gradients = norm::backward(tensors, self.rows(), statistics, parameters);
        gradients.gamma.extend(gradients.beta);
        Ok((gradients.values, Some(gradients.gamma)))
    }

    /// Returns the gradients that `mask` asks for, given the output and its gradient.
    pub(crate) fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        scale_shift: Option<&Tensor>,
        (output, gradient): (&Tensor, &Tensor),
        mask: GradMask,
    ) -> Result<LayerGradients> {
        let gradient = gradient.contiguous()?;
        let tensors = [Some(output), Some(&gradient), scale_shift];
        let (gradient, of_norm) = storage::with(&tensors, |v| {
            self.epilogue_backward(scale_shift.map(|_| v[2]), v[0], v[1])
        })?;
        let both = mask.input && mask.parameters;
        let (linear, work) = (self.linear(), if both { 2 * self.multiply_adds() } else { 0 });
        let (of_x, of_parameters) = storage::with(&[Some(x), Some(weight)], |v| {
            Ok(parallel::join(
                work,
                || mask.input.then(|| linear.input_gradient(&gradient, v[1])),
                || {
                    mask.parameters.then(|| {
                        let bias = || scale_shift.map(|_| norm::row_sums(&gradient, self.rows()));
                        (linear.weight_gradient(v[0], &gradient), of_norm.or_else(bias))
                    })
                },
            ))
        })?;
        let tensor = |values, like: &Tensor| Tensor::from_vec(values, like.dims(), &Device::Cpu);
        let (of_weight, of_scale_shift) = of_parameters.unzip();
        Ok(LayerGradients {
            input: of_x.map(|values| tensor(values, x)).transpose()?,
            weight: of_weight.map(|values| tensor(values, weight)).transpose()?,
            scale_shift: match (of_scale_shift.flatten(), scale_shift) {
                (Some(values), Some(scale_shift)) => Some(tensor(values, scale_shift)?),
                _ => None,
            },
        })
    }
}

impl CustomOp2 for LayerOp {
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
        let mask = GradMask { input: x.track_op(), parameters: weight.track_op() };
        let gradients = self.backward(x, weight, None, (output, gradient), mask)?;
        Ok((gradients.input, gradients.weight))
    }
}

impl CustomOp3 for LayerOp {
    fn name(&self) -> &'static str {
        "layer"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        scale_shift: &CpuStorage,
        scale_shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let scale_shift = contiguous(scale_shift, scale_shift_layout)?;
        let output = self.forward(
            contiguous(x, x_layout)?,
            contiguous(weight, weight_layout)?,
            Some(scale_shift),
        );
        Ok((CpuStorage::F32(output), self.output_shape().into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        scale_shift: &Tensor,
        output: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let parameters = weight.track_op() || scale_shift.track_op();
        let mask = GradMask { input: x.track_op(), parameters };
        let gradients = self.backward(x, weight, Some(scale_shift), (output, gradient), mask)?;
        Ok((gradients.input, gradients.weight, gradients.scale_shift))
    }
}

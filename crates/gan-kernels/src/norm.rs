//! Batch normalisation fused with the activation and dropout that follow it.
//!
//! Ioffe and Szegedy 2015, "Batch Normalization". Statistics are taken per channel over all pixels
//! and images or, with several groups, per group (pixel) and channel over the images.

use crate::activation::Epilogue;
use crate::parallel;
use crate::simd::vectorized;
use candle_core::{Device, Result, Tensor};

/// Batch statistics of a normalised layer, for its running averages.
#[derive(Debug)]
#[non_exhaustive]
pub struct BatchStatistics {
    /// The mean of each feature.
    pub mean: Tensor,
    /// The unbiased variance of each feature, divided by the count less one.
    pub variance: Tensor,
}

/// Elements that one task visits. The number is fixed, so sums do not depend on the threads.
const CHUNK: usize = 16 * 1024;

/// The shape of values [group][row][channel], which are split into chunks of whole rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) groups: usize,
    pub(crate) rows: usize,
    pub(crate) channels: usize,
}

impl Rows {
    fn chunk_rows(self) -> usize {
        (CHUNK / self.channels).clamp(1, self.rows)
    }

    fn chunks_per_group(self) -> usize {
        self.rows.div_ceil(self.chunk_rows())
    }

    fn chunks(self) -> usize {
        self.groups * self.chunks_per_group()
    }

    fn elements(self) -> usize {
        self.groups * self.rows * self.channels
    }

    /// (group, first element, elements) of a chunk.
    fn chunk(self, index: usize) -> (usize, usize, usize) {
        let (group, part) = (index / self.chunks_per_group(), index % self.chunks_per_group());
        let first_row = part * self.chunk_rows();
        let rows = self.chunk_rows().min(self.rows - first_row);
        let start = (group * self.rows + first_row) * self.channels;
        (group, start, rows * self.channels)
    }

    /// Lengths of all chunks.
    fn lens(self) -> impl Iterator<Item = usize> + Clone {
        (0..self.chunks()).map(move |index| self.chunk(index).2)
    }

    /// Sums up one vector of `width` per chunk into one per group, in order and in f64.
    fn reduce(self, width: usize, partial: &[Vec<f32>]) -> Vec<f64> {
        let mut sums = vec![0.0; self.groups * width];
        for (group, chunks) in partial.chunks(self.chunks_per_group()).enumerate() {
            let sums = &mut sums[group * width..][..width];
            for chunk in chunks {
                sums.iter_mut().zip(chunk).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        sums
    }
}

/// Returns the sums over the rows of each group: the gradient of a bias.
pub(crate) fn row_sums(values: &[f32], rows: Rows) -> Vec<f32> {
    let partial = parallel::map(0..rows.chunks(), values.len(), |_, chunk| {
        let (_, start, len) = rows.chunk(chunk);
        let mut sums = vec![0.0; rows.channels];
        vectorized!(add_rows(&values[start..start + len], &mut sums));
        sums
    });
    rows.reduce(rows.channels, &partial).into_iter().map(|sum| sum as f32).collect()
}

#[inline(always)]
fn add_rows(values: &[f32], sums: &mut [f32]) {
    for row in values.chunks_exact(sums.len()) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// The mean and biased variance (divided by the count) of each group and channel.
#[derive(Clone, Debug)]
pub(crate) struct MeanVariance {
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

impl MeanVariance {
    /// Converts to tensors, with the unbiased variance.
    pub(crate) fn to_statistics(&self, rows: Rows) -> Result<BatchStatistics> {
        let features = self.mean.len();
        let unbias = rows.rows as f32 / (rows.rows.max(2) - 1) as f32;
        let variance: Vec<f32> = self.variance.iter().map(|v| v * unbias).collect();
        Ok(BatchStatistics {
            mean: Tensor::from_slice(&self.mean, features, &Device::Cpu)?,
            variance: Tensor::from_vec(variance, features, &Device::Cpu)?,
        })
    }
}

/// Returns the mean and variance of each group and channel.
pub(crate) fn mean_variance(values: &[f32], rows: Rows) -> MeanVariance {
    let channels = rows.channels;
    // The mean of each chunk and the sum of squares around it, so that nothing cancels.
    let partial = parallel::map(0..rows.chunks(), 2 * rows.elements(), |_, chunk| {
        let (_, start, len) = rows.chunk(chunk);
        let values = &values[start..start + len];
        let mut mean = vec![0.0; channels];
        let mut squares = vec![0.0; channels];
        vectorized!({
            add_rows(values, &mut mean);
            let count = (len / channels) as f32;
            mean.iter_mut().for_each(|mean| *mean /= count);
            for row in values.chunks_exact(channels) {
                for ((square, value), mean) in squares.iter_mut().zip(row).zip(&mean) {
                    let difference = value - mean;
                    *square += difference * difference;
                }
            }
        });
        (mean, squares, len / channels)
    });
    let features = rows.groups * channels;
    let mut result = MeanVariance { mean: vec![0.0; features], variance: vec![0.0; features] };
    for (group, chunks) in partial.chunks(rows.chunks_per_group()).enumerate() {
        for channel in 0..channels {
            // The combination of two sets: Chan, Golub and LeVeque 1979.
            let (mut count, mut mean, mut squares) = (0.0f64, 0.0f64, 0.0f64);
            for (chunk_mean, chunk_squares, rows) in chunks {
                let n = *rows as f64;
                let difference = f64::from(chunk_mean[channel]) - mean;
                let total = count + n;
                mean += difference * n / total;
                squares +=
                    f64::from(chunk_squares[channel]) + difference * difference * count * n / total;
                count = total;
            }
            result.mean[group * channels + channel] = mean as f32;
            result.variance[group * channels + channel] = (squares / count) as f32;
        }
    }
    result
}

/// The learned and fixed parameters of a normalisation, and what follows it.
#[derive(Clone, Copy)]
pub(crate) struct Parameters<'a> {
    pub(crate) gamma: &'a [f32],
    pub(crate) beta: &'a [f32],
    pub(crate) epsilon: f32,
    pub(crate) epilogue: Epilogue,
}

/// Returns `epilogue(gamma * (values - mean) / sqrt(variance + epsilon) + beta)`.
pub(crate) fn normalise(
    values: &[f32],
    rows: Rows,
    statistics: &MeanVariance,
    parameters: Parameters,
) -> Vec<f32> {
    let channels = rows.channels;
    let Parameters { gamma, beta, epsilon, epilogue } = parameters;
    let MeanVariance { mean, variance } = statistics;
    let scale: Vec<f32> =
        gamma.iter().zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f32> = beta.iter().zip(mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    let (output, _) = parallel::init_parts(rows.lens(), rows.elements(), |chunk, output| {
        let (group, start, len) = rows.chunk(chunk);
        let values = &values[start..start + len];
        let scale = &scale[group * channels..][..channels];
        let shift = &shift[group * channels..][..channels];
        vectorized!({
            for (output, row) in
                output.chunks_exact_mut(channels).zip(values.chunks_exact(channels))
            {
                for (((output, value), scale), shift) in
                    output.iter_mut().zip(row).zip(scale).zip(shift)
                {
                    output.write(value * scale + shift);
                }
            }
            // SAFETY: a chunk is whole rows, all of whose elements are written just above.
            epilogue.apply(start, unsafe { output.assume_init_mut() });
        });
        // SAFETY: as above.
        (unsafe { output.assume_init_mut() }, ())
    });
    output
}

/// Gradients of [`normalise`] through the batch's statistics.
pub(crate) struct NormGradients {
    pub(crate) values: Vec<f32>,
    pub(crate) gamma: Vec<f32>,
    pub(crate) beta: Vec<f32>,
}

/// Returns the gradients of [`normalise`], given its values and outputs and the gradients of the
/// outputs.
pub(crate) fn backward(
    (values, outputs, gradients): (&[f32], &[f32], &[f32]),
    rows: Rows,
    statistics: &MeanVariance,
    parameters: Parameters,
) -> NormGradients {
    let epsilon = parameters.epsilon;
    let inverse: Vec<f32> =
        statistics.variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
    let tensors = (values, outputs, gradients);
    let (mut result, sums) =
        epilogue_backward(tensors, rows, (&statistics.mean, &inverse), parameters.epilogue);
    let channels = rows.channels;
    let sums = rows.reduce(2 * channels, &sums);
    let part = |offset: usize| -> Vec<f32> {
        let groups = sums.chunks_exact(2 * channels);
        groups.flat_map(|group| &group[offset..offset + channels]).map(|sum| *sum as f32).collect()
    };
    let (beta_gradient, gamma_gradient) = (part(0), part(channels));
    // dz = gamma / sigma * (g - mean(g) - normalised * mean(g * normalised)), which is
    // a * g + b * z + c for each channel.
    let count = rows.rows as f32;
    let features = rows.groups * channels;
    let (mut a, mut b, mut c) = (vec![0.0; features], vec![0.0; features], vec![0.0; features]);
    for i in 0..features {
        a[i] = parameters.gamma[i] * inverse[i];
        b[i] = -a[i] * inverse[i] * gamma_gradient[i] / count;
        c[i] = -a[i] * beta_gradient[i] / count - b[i] * statistics.mean[i];
    }
    combine(&mut result, values, rows, [&a, &b, &c]);
    NormGradients { values: result, gamma: gamma_gradient, beta: beta_gradient }
}

/// Returns the gradients before the epilogue and, for each chunk, their sums and the sums of their
/// products with the normalised values.
fn epilogue_backward(
    (values, outputs, gradients): (&[f32], &[f32], &[f32]),
    rows: Rows,
    (mean, inverse): (&[f32], &[f32]),
    epilogue: Epilogue,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let channels = rows.channels;
    parallel::init_parts(rows.lens(), 3 * rows.elements(), |chunk, result| {
        let (group, start, len) = rows.chunk(chunk);
        let mean = &mean[group * channels..][..channels];
        let inverse = &inverse[group * channels..][..channels];
        let values = &values[start..start + len];
        let mut sums = vec![0.0; 2 * channels];
        let (sum, product) = sums.split_at_mut(channels);
        let result = result.write_copy_of_slice(&gradients[start..start + len]);
        vectorized!({
            epilogue.backward(start, &outputs[start..start + len], result);
            add_rows(result, sum);
            for (g, z) in result.chunks_exact(channels).zip(values.chunks_exact(channels)) {
                for ((((product, g), z), mean), inverse) in
                    product.iter_mut().zip(g).zip(z).zip(mean).zip(inverse)
                {
                    *product += g * (z - mean) * inverse;
                }
            }
        });
        (result, sums)
    })
}

/// Replaces each gradient `g` by `a * g + b * z + c`, with coefficients for each feature.
fn combine(gradients: &mut [f32], values: &[f32], rows: Rows, coefficients: [&[f32]; 3]) {
    let channels = rows.channels;
    let mut rest = gradients;
    let parts = rows.lens().map(|len| rest.split_off_mut(..len).expect("the lengths add up"));
    parallel::map(parts, rows.elements(), |chunk, result| {
        let (group, start, len) = rows.chunk(chunk);
        let values = &values[start..start + len];
        let [a, b, c] = coefficients.map(|v| v[group * channels..][..channels].to_vec());
        vectorized!({
            for (g, z) in result.chunks_exact_mut(channels).zip(values.chunks_exact(channels)) {
                for ((((g, z), a), b), c) in g.iter_mut().zip(z).zip(&a).zip(&b).zip(&c) {
                    *g = a * *g + b * z + c;
                }
            }
        });
    });
}

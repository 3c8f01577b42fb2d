//! Batch normalisation fused with the activation and dropout that follow it.
//!
//! Ioffe and Szegedy 2015, "Batch Normalization". Statistics are taken per channel over all
//! pixels and pictures, or, with several groups, per group (pixel) and channel over the pictures.

use crate::activation::Epilogue;
use crate::parallel::{self, Disjoint};
use crate::simd::vectorized;

/// Elements that one task visits: fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 16 * 1024;

/// How values [group][row][channel] are split into chunks of whole rows.
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

    /// Adds up one vector of `width` per chunk into one per group, in order and in f64.
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

/// Sums over the rows of each group: the gradient of a bias.
pub(crate) fn row_sums(values: &[f32], rows: Rows) -> Vec<f32> {
    let partial = parallel::map(rows.chunks(), values.len(), |chunk| {
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

/// Mean and variance (biased, divided by the count) of each group and channel.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) mean: Vec<f32>,
    pub(crate) variance: Vec<f32>,
}

pub(crate) fn moments(values: &[f32], rows: Rows) -> Moments {
    let channels = rows.channels;
    // Per chunk the mean and the sum of squares around it, so that nothing cancels.
    let partial = parallel::map(rows.chunks(), 2 * rows.elements(), |chunk| {
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
    let mut result = Moments { mean: vec![0.0; features], variance: vec![0.0; features] };
    for (group, chunks) in partial.chunks(rows.chunks_per_group()).enumerate() {
        for channel in 0..channels {
            // Merging of two sets' moments: Chan, Golub and LeVeque 1979.
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

/// `epilogue(gamma * (values - mean) / sqrt(variance + epsilon) + beta)`.
pub(crate) fn normalise(
    values: &[f32],
    rows: Rows,
    moments: &Moments,
    (gamma, beta): (&[f32], &[f32]),
    epsilon: f32,
    epilogue: Epilogue,
) -> Vec<f32> {
    let channels = rows.channels;
    let scale: Vec<f32> =
        gamma.iter().zip(&moments.variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f32> =
        beta.iter().zip(&moments.mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    let run = |target: &Disjoint, chunk: usize| {
        let (group, start, len) = rows.chunk(chunk);
        // SAFETY: every task writes its own chunk, all of it before it reads it.
        let output = unsafe { target.unwritten(start, len) };
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
            // SAFETY: written just above.
            epilogue.apply(start, unsafe { output.assume_init_mut() });
        });
    };
    // SAFETY: the chunks are all elements, and each is written.
    unsafe { parallel::filled_by(values.len(), rows.chunks(), rows.elements(), run) }
}

/// The gradients of [`normalise`] with batch statistics: of the values, of gamma and of beta.
#[allow(clippy::too_many_arguments, reason = "all that the forward pass saw and made")]
pub(crate) fn backward(
    values: &[f32],
    outputs: &[f32],
    gradients: &[f32],
    rows: Rows,
    moments: &Moments,
    gamma: &[f32],
    epsilon: f32,
    epilogue: Epilogue,
) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let channels = rows.channels;
    let inverse: Vec<f32> = moments.variance.iter().map(|v| 1.0 / (v + epsilon).sqrt()).collect();
    // First pass: the gradient before activation and dropout, its sum, and its sum times the
    // normalised value.
    let first_pass = |target: &Disjoint, chunk: usize| {
        let (group, start, len) = rows.chunk(chunk);
        // SAFETY: every task writes its own chunk.
        let result = unsafe { target.unwritten(start, len) };
        let (mean, inverse) = (
            &moments.mean[group * channels..][..channels],
            &inverse[group * channels..][..channels],
        );
        let values = &values[start..start + len];
        let mut sums = vec![0.0; 2 * channels];
        let (sum, product) = sums.split_at_mut(channels);
        vectorized!({
            let result = result.write_copy_of_slice(&gradients[start..start + len]);
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
        sums
    };
    let mut partial = Vec::new();
    // SAFETY: the chunks are all elements, and each is written.
    let mut result = unsafe {
        parallel::filled(values.len(), |target| {
            partial = parallel::map(rows.chunks(), 3 * rows.elements(), |chunk| {
                first_pass(target, chunk)
            });
        })
    };
    let sums = rows.reduce(2 * channels, &partial);
    let part = |offset: usize| -> Vec<f32> {
        let groups = sums.chunks_exact(2 * channels);
        groups.flat_map(|group| &group[offset..offset + channels]).map(|sum| *sum as f32).collect()
    };
    let (beta_gradient, gamma_gradient) = (part(0), part(channels));
    // Second pass: dz = gamma / sigma * (g - mean(g) - normalised * mean(g * normalised)),
    // which is a * g + b * z + c for each channel.
    let count = rows.rows as f32;
    let features = rows.groups * channels;
    let (mut a, mut b, mut c) = (vec![0.0; features], vec![0.0; features], vec![0.0; features]);
    for i in 0..features {
        a[i] = gamma[i] * inverse[i];
        b[i] = -a[i] * inverse[i] * gamma_gradient[i] / count;
        c[i] = -a[i] * beta_gradient[i] / count - b[i] * moments.mean[i];
    }
    let target = Disjoint::new(&mut result);
    parallel::for_each(rows.chunks(), rows.elements(), |chunk| {
        let (group, start, len) = rows.chunk(chunk);
        // SAFETY: every task changes its own chunk.
        let result = unsafe { target.part(start, len) };
        let values = &values[start..start + len];
        let of = |v: &[f32]| v[group * channels..][..channels].to_vec();
        let (a, b, c) = (of(&a), of(&b), of(&c));
        vectorized!({
            for (g, z) in result.chunks_exact_mut(channels).zip(values.chunks_exact(channels)) {
                for ((((g, z), a), b), c) in g.iter_mut().zip(z).zip(&a).zip(&b).zip(&c) {
                    *g = a * *g + b * z + c;
                }
            }
        });
    });
    (result, gamma_gradient, beta_gradient)
}

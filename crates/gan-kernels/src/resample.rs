//! Interpolation and pooling: linear maps of pixels that are the same for every channel.

use crate::parallel;
use crate::simd::vectorized;
use crate::storage::{contiguous, with};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use std::sync::Arc;

/// For each pixel of the result, the pixels that it is a sum of, and their weights.
type WeightedSums = Vec<Vec<(usize, f32)>>;

/// A separable linear map of pixels: output pixel (y, x) is the sum of the input pixels (i, j) times
/// `rows[y][i] * columns[x][j]`.
#[derive(Debug)]
pub struct Resampling {
    input: (usize, usize),
    output: (usize, usize),
    forward: WeightedSums,
    backward: WeightedSums,
}

impl Resampling {
    /// Builds the map. `rows` has one vector for each output row, with a weight for each input row,
    /// and `columns` likewise.
    ///
    /// # Errors
    /// No rows or columns, or vectors of different lengths.
    pub fn new(rows: &[Vec<f32>], columns: &[Vec<f32>]) -> Result<Self> {
        let length = |weights: &[Vec<f32>]| match weights.first().map_or(0, Vec::len) {
            len if len > 0 && weights.iter().all(|row| row.len() == len) => Ok(len),
            _ => bail!("resampling: each vector of weights must have the same length, at least 1"),
        };
        let input = (length(rows)?, length(columns)?);
        let output = (rows.len(), columns.len());
        let mut forward = vec![Vec::new(); output.0 * output.1];
        let mut backward = vec![Vec::new(); input.0 * input.1];
        for (y, row) in rows.iter().enumerate() {
            for (x, column) in columns.iter().enumerate() {
                for (i, of_row) in row.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                    for (j, of_column) in column.iter().enumerate() {
                        if *of_column != 0.0 {
                            let (from, to) = (i * input.1 + j, y * output.1 + x);
                            forward[to].push((from, of_row * of_column));
                            backward[from].push((to, of_row * of_column));
                        }
                    }
                }
            }
        }
        Ok(Self { input, output, forward, backward })
    }

    /// Returns the gradient of the input, given that of the output.
    ///
    /// # Shapes
    /// The gradient has the shape of [`resample`]'s result, and the result that of its argument.
    /// # Errors
    /// A gradient of other pixels, another device or type.
    pub fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        let (height, width, batch, channels) = gradient.dims4()?;
        if (height, width) != self.output {
            bail!("resampling to {:?}: gradient {:?}", self.output, gradient.dims());
        }
        let gradient = gradient.contiguous()?;
        with(&[Some(&gradient)], |values| {
            let values = weighted_sums(&self.backward, values[0], batch * channels);
            let (height, width) = self.input;
            Tensor::from_vec(values, (height, width, batch, channels), &Device::Cpu)
        })
    }
}

/// Applies a [`Resampling`] to every channel of every image.
///
/// # Shapes
/// `x`: (H, W, B, C) of the map's input; result: (H', W', B, C) of its output. f32 on the CPU.
/// # Gradient
/// Of `x`.
/// # Errors
/// Input of other pixels, another device or type.
pub fn resample(x: &Tensor, map: &Arc<Resampling>) -> Result<Tensor> {
    x.contiguous()?.apply_op1(ResampleOp(map.clone()))
}

/// Returns weighted sums of pixels that have `len` values each.
fn weighted_sums(sums: &WeightedSums, values: &[f32], len: usize) -> Vec<f32> {
    let work = len * sums.iter().map(Vec::len).sum::<usize>();
    parallel::init_equal_parts(sums.len(), len, work, |pixel, result| {
        let Some((&(first, weight), others)) = sums[pixel].split_first() else {
            return parallel::zeroed(result);
        };
        vectorized!({
            // Copies, because the compiler reloads a captured value after each write.
            let (weight, result) = (weight, &mut *result);
            let pixel = |index: usize| &values[index * len..][..len];
            for (result, value) in result.iter_mut().zip(pixel(first)) {
                result.write(value * weight);
            }
            // SAFETY: a pixel has as many values, so all are written just above.
            let result = unsafe { result.assume_init_mut() };
            for &(other, weight) in others {
                for (result, value) in result.iter_mut().zip(pixel(other)) {
                    *result += value * weight;
                }
            }
        });
        // SAFETY: as above.
        unsafe { result.assume_init_mut() }
    })
}

struct ResampleOp(Arc<Resampling>);

impl CustomOp1 for ResampleOp {
    fn name(&self) -> &'static str {
        "resample"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (height, width, batch, channels) = layout.shape().dims4()?;
        if (height, width) != self.0.input {
            bail!("resampling of {:?}: input {:?}", self.0.input, layout.shape());
        }
        let values = weighted_sums(&self.0.forward, contiguous(storage, layout)?, batch * channels);
        let (height, width) = self.0.output;
        Ok((CpuStorage::F32(values), (height, width, batch, channels).into()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        self.0.backward(gradient).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of pairs of rows, and a column that has no weight.
    fn map() -> Result<Resampling> {
        let rows = [vec![1.0, 2.0, 0.0], vec![0.0, 0.5, 3.0]];
        Resampling::new(&rows, &[vec![1.0, 0.0], vec![-1.0, 0.0]])
    }

    #[test]
    fn every_pixel_is_its_weighted_sum() -> Result<()> {
        let x = Tensor::arange(0f32, 12.0, &Device::Cpu)?.reshape((3, 2, 1, 2))?;
        let y = resample(&x, &Arc::new(map()?))?;
        assert_eq!(y.dims(), [2, 2, 1, 2]);
        // Pixels (0, 1), (4, 5), (8, 9) of the first column, times 1, 2, 0 and 0, 0.5, 3.
        let want = [8.0, 11.0, -8.0, -11.0, 26.0, 29.5, -26.0, -29.5];
        assert_eq!(y.flatten_all()?.to_vec1::<f32>()?, want);
        Ok(())
    }

    /// `<A x, g>` is `<x, A' g>`, and pixels without weight have no gradient.
    #[test]
    fn the_gradient_is_adjoint() -> Result<()> {
        let map = Arc::new(map()?);
        let x = Tensor::arange(1f32, 13.0, &Device::Cpu)?.sqrt()?.reshape((3, 2, 1, 2))?;
        let x = candle_core::Var::from_tensor(&x)?;
        let y = resample(&x, &map)?;
        let g = Tensor::arange(1f32, 9.0, &Device::Cpu)?.reshape(y.dims())?;
        let forward = (&y * &g)?.sum_all()?;
        let gradients = forward.backward()?;
        let gradient = gradients.get(&x).expect("x is tracked");
        let back = (gradient * x.as_tensor())?.sum_all()?.to_scalar::<f32>()?;
        let forward = forward.to_scalar::<f32>()?;
        assert!((forward - back).abs() < 1e-4 * forward.abs(), "{forward}, {back}");
        assert_eq!(gradient.get(1)?.get(1)?.flatten_all()?.to_vec1::<f32>()?, [0.0, 0.0]);
        Ok(())
    }

    #[test]
    fn wrong_sizes_are_errors() -> Result<()> {
        let error = Resampling::new(&[vec![1.0], vec![]], &[vec![1.0]]).expect_err("two lengths");
        assert!(error.to_string().contains("same length"), "{error}");
        let x = Tensor::zeros((2, 2, 1, 1), candle_core::DType::F32, &Device::Cpu)?;
        let error = resample(&x, &Arc::new(map()?)).expect_err("other pixels");
        assert!(error.to_string().contains("resampling of (3, 2)"), "{error}");
        Ok(())
    }
}

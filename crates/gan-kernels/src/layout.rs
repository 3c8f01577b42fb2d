//! Permutations between candle's image layout and that of this crate's operators.

use crate::parallel::{self, COPY_WORK};
use crate::storage::{contiguous, with};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};

/// Permutes (B, C, H, W) to (H, W, B, C). f32 on the CPU.
///
/// # Gradient
/// The reverse permutation.
/// # Errors
/// A rank other than 4, another device or type.
pub fn nchw_to_hwnc(images: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    if height * width == 1 {
        return images.reshape((height, width, batch, channels));
    }
    images.contiguous()?.apply_op1(Permute { batch, channels, height, width, to_hwnc: true })
}

/// Permutes (H, W, B, C) to (B, C, H, W). f32 on the CPU.
///
/// # Gradient
/// The reverse permutation.
/// # Errors
/// A rank other than 4, another device or type.
pub fn hwnc_to_nchw(features: &Tensor) -> Result<Tensor> {
    let (height, width, batch, channels) = features.dims4()?;
    if height * width == 1 {
        return features.reshape((batch, channels, height, width));
    }
    features.contiguous()?.apply_op1(Permute { batch, channels, height, width, to_hwnc: false })
}

/// Rows that a task writes. Their elements are neighbours in its source: a cache line of them.
const ROWS: usize = 16;

struct Permute {
    batch: usize,
    channels: usize,
    height: usize,
    width: usize,
    to_hwnc: bool,
}

impl Permute {
    fn permute(&self, source: &[f32], to_hwnc: bool) -> (Vec<f32>, Shape) {
        let Self { batch, channels, height, width, .. } = *self;
        let (pixels, planes) = (height * width, batch * channels);
        assert_eq!(source.len(), pixels * planes, "elements of the source");
        // [plane][pixel] <-> [pixel][plane].
        let result = transpose(source, if to_hwnc { planes } else { pixels });
        let shape = if to_hwnc {
            (height, width, batch, channels)
        } else {
            (batch, channels, height, width)
        };
        (result, shape.into())
    }
}

/// Transposes a matrix of so many rows.
pub(crate) fn transpose(source: &[f32], source_rows: usize) -> Vec<f32> {
    let (rows, columns) = (source.len() / source_rows, source_rows);
    let counts = (0..rows).step_by(ROWS).map(|first| ROWS.min(rows - first));
    let lens = counts.map(|count| count * columns);
    let work = COPY_WORK * source.len();
    let (result, _) = parallel::init_parts(lens, work, |index, part| {
        let first = index * ROWS;
        let count = ROWS.min(rows - first);
        for (i, source) in source.chunks_exact(rows).enumerate() {
            for (j, value) in source[first..first + count].iter().enumerate() {
                part[j * columns + i].write(*value);
            }
        }
        // SAFETY: `i` runs over all columns, because the source has as many chunks, and `j` over all
        // rows of the part.
        (unsafe { part.assume_init_mut() }, ())
    });
    result
}

impl CustomOp1 for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (values, shape) = self.permute(contiguous(storage, layout)?, self.to_hwnc);
        Ok((CpuStorage::F32(values), shape))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        with(&[Some(&gradient)], |gradient| {
            let (values, shape) = self.permute(gradient[0], !self.to_hwnc);
            Tensor::from_vec(values, shape, &Device::Cpu).map(Some)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_candles_permutation_and_back() -> Result<()> {
        // The last is large enough for several threads.
        for shape in [(2, 3, 4, 5), (4, 4, 2, 8), (3, 11, 5, 40)] {
            check_there_and_back(shape)?;
        }
        Ok(())
    }

    fn check_there_and_back(shape: (usize, usize, usize, usize)) -> Result<()> {
        let (batch, channels, height, width) = shape;
        let count = (batch * channels * height * width) as f32;
        let images = Tensor::arange(0f32, count, &Device::Cpu)?.reshape(shape)?;
        let features = nchw_to_hwnc(&images)?;
        let expected = images.permute((2, 3, 0, 1))?;
        assert_eq!(features.dims(), [height, width, batch, channels]);
        assert_eq!(
            features.flatten_all()?.to_vec1::<f32>()?,
            expected.flatten_all()?.to_vec1::<f32>()?
        );
        let back = hwnc_to_nchw(&features)?;
        assert_eq!(back.dims(), images.dims());
        assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, images.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    #[test]
    fn the_gradient_is_the_reverse_permutation() -> Result<()> {
        let x = candle_core::Var::from_tensor(&Tensor::zeros(
            (2, 3, 4, 5),
            candle_core::DType::F32,
            &Device::Cpu,
        )?)?;
        let weights = Tensor::arange(0f32, 120.0, &Device::Cpu)?.reshape((4, 5, 2, 3))?;
        let gradients = (nchw_to_hwnc(&x)? * &weights)?.sum_all()?.backward()?;
        let got = gradients.get(&x).expect("x is tracked").flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(got, weights.permute((2, 3, 0, 1))?.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }
}

//! Pictures between candle's layout and that of this crate's operators.

use crate::parallel::{self, Disjoint};
use crate::product::PACKING;
use crate::storage::{contiguous, with};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};

/// (B, C, H, W) to (H, W, B, C). f32 on the CPU.
///
/// # Gradient
/// The same rearrangement backwards.
/// # Errors
/// A rank other than 4, another device or type.
pub fn to_pixel_major(images: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    if height * width == 1 {
        return images.reshape((height, width, batch, channels));
    }
    let op = Rearrange { batch, channels, height, width, to_pixel_major: true };
    images.contiguous()?.apply_op1(op)
}

/// (H, W, B, C) to (B, C, H, W). f32 on the CPU.
///
/// # Gradient
/// The same rearrangement backwards.
/// # Errors
/// A rank other than 4, another device or type.
pub fn to_batch_major(features: &Tensor) -> Result<Tensor> {
    let (height, width, batch, channels) = features.dims4()?;
    if height * width == 1 {
        return features.reshape((batch, channels, height, width));
    }
    let op = Rearrange { batch, channels, height, width, to_pixel_major: false };
    features.contiguous()?.apply_op1(op)
}

/// Rows that a task writes, whose elements lie side by side in its source: a cache line of them.
const ROWS: usize = 16;

struct Rearrange {
    batch: usize,
    channels: usize,
    height: usize,
    width: usize,
    to_pixel_major: bool,
}

impl Rearrange {
    fn rearrange(&self, source: &[f32], to_pixel_major: bool) -> (Vec<f32>, Shape) {
        let Self { batch, channels, height, width, .. } = *self;
        let (pixels, planes) = (height * width, batch * channels);
        let (rows, columns) = if to_pixel_major { (pixels, planes) } else { (planes, pixels) };
        // A plain transposition: [plane][pixel] <-> [pixel][plane].
        let run = |target: &Disjoint, task: usize| {
            let first = task * ROWS;
            let count = ROWS.min(rows - first);
            // SAFETY: every task writes its own rows.
            let result = unsafe { target.unwritten(first * columns, count * columns) };
            for (i, source) in source.chunks_exact(rows).enumerate() {
                for (j, value) in source[first..first + count].iter().enumerate() {
                    result[j * columns + i].write(*value);
                }
            }
        };
        assert_eq!(source.len(), rows * columns, "a picture's values");
        // SAFETY: the tasks write all rows, each of whose elements the source has.
        let result = unsafe {
            parallel::filled_by(source.len(), rows.div_ceil(ROWS), PACKING * source.len(), run)
        };
        let shape = if to_pixel_major {
            (height, width, batch, channels)
        } else {
            (batch, channels, height, width)
        };
        (result, shape.into())
    }
}

impl CustomOp1 for Rearrange {
    fn name(&self) -> &'static str {
        "rearrange"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (values, shape) = self.rearrange(contiguous(storage, layout)?, self.to_pixel_major);
        Ok((CpuStorage::F32(values), shape))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let gradient = gradient.contiguous()?;
        with(&[Some(&gradient)], |gradient| {
            let (values, shape) = self.rearrange(gradient[0], !self.to_pixel_major);
            Tensor::from_vec(values, shape, &Device::Cpu).map(Some)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_candle_and_returns() -> Result<()> {
        // The last is large enough for several threads.
        for shape in [(2, 3, 4, 5), (4, 4, 2, 8), (3, 11, 5, 40)] {
            agrees_and_returns(shape)?;
        }
        Ok(())
    }

    fn agrees_and_returns(shape: (usize, usize, usize, usize)) -> Result<()> {
        let (batch, channels, height, width) = shape;
        let count = (batch * channels * height * width) as f32;
        let images = Tensor::arange(0f32, count, &Device::Cpu)?.reshape(shape)?;
        let features = to_pixel_major(&images)?;
        let expected = images.permute((2, 3, 0, 1))?;
        assert_eq!(features.dims(), [height, width, batch, channels]);
        assert_eq!(
            features.flatten_all()?.to_vec1::<f32>()?,
            expected.flatten_all()?.to_vec1::<f32>()?
        );
        let back = to_batch_major(&features)?;
        assert_eq!(back.dims(), images.dims());
        assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, images.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }

    #[test]
    fn gradient_is_the_way_back() -> Result<()> {
        let x = candle_core::Var::from_tensor(&Tensor::zeros(
            (2, 3, 4, 5),
            candle_core::DType::F32,
            &Device::Cpu,
        )?)?;
        let weights = Tensor::arange(0f32, 120.0, &Device::Cpu)?.reshape((4, 5, 2, 3))?;
        let gradients = (to_pixel_major(&x)? * &weights)?.sum_all()?.backward()?;
        let got = gradients.get(&x).expect("x is tracked").flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(got, weights.permute((2, 3, 0, 1))?.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }
}

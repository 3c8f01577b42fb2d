//! Augmentation of the images that a discriminator sees, so that it cannot memorise a small set.

use crate::error::{Result, check_shape};
use candle_core::Tensor;
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// Random changes of every image that the discriminator sees, real or fake, drawn for each image.
/// The generator's gradient goes back through them. All are off by default.
///
/// # Reference
/// Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"; instance noise:
/// Sonderby et al. 2017, "Amortised MAP inference for image super-resolution".
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Augmentation {
    /// Largest shift up, down, left and right, in pixels. What comes in from outside is black.
    pub translation: usize,
    /// Side of a square at a random place that is made black, in pixels.
    pub cutout: usize,
    /// Standard deviation of normal noise added to every pixel; pixels are in [-1, 1].
    pub noise: f32,
}

/// The value of a black pixel.
const BLACK: f32 = -1.0;

impl Augmentation {
    /// Noise of this standard deviation and nothing else.
    pub fn only_noise(std: f32) -> Self {
        Self { noise: std, ..Self::default() }
    }

    /// The same augmentation with its noise multiplied by a factor.
    pub fn scale_noise(self, factor: f32) -> Self {
        Self { noise: self.noise * factor, ..self }
    }

    /// Changes images, and returns them with what was done to each.
    ///
    /// # Shapes
    /// `images`: (B, C, H, W); result the same.
    /// # Range
    /// [-1, 1]; with noise, beyond.
    /// # Errors
    /// Failures of the device.
    pub fn apply(self, images: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Augmented)> {
        let (batch, channels, height, width) = images.dims4()?;
        let mut changes = Vec::new();
        if self.translation > 0 || self.cutout > 0 {
            changes = (0..batch).map(|_| self.change((height, width), rng)).collect();
        }
        let augmented = Augmented { changes };
        let mut images = if augmented.changes.is_empty() {
            images.clone()
        } else {
            augmented.shift(images, BLACK, 1)?
        };
        if self.noise > 0.0 {
            let count = batch * channels * height * width;
            let noise: Vec<f32> =
                (0..count).map(|_| self.noise * rng.sample::<f32, _>(StandardNormal)).collect();
            images = (&images + Tensor::from_vec(noise, images.dims(), images.device())?)?;
        }
        Ok((images, augmented))
    }

    fn change(self, (height, width): (usize, usize), rng: &mut dyn RngCore) -> Change {
        let most = self.translation as i64;
        let mut within = || rng.random_range(-most..=most) as isize;
        let shift = (within(), within());
        // The centre of the square is anywhere in the image.
        let mut corner =
            |size: usize| rng.random_range(0..size.max(1)) as isize - self.cutout as isize / 2;
        Change { shift, corner: (corner(height), corner(width)), side: self.cutout }
    }
}

/// What an augmentation did to a batch.
#[derive(Clone, Debug)]
pub struct Augmented {
    /// One for each image; empty where no image was shifted or cut.
    changes: Vec<Change>,
}

/// What was done to an image: a shift, then a cutout.
#[derive(Clone, Copy, Debug)]
struct Change {
    shift: (isize, isize),
    corner: (isize, isize),
    side: usize,
}

impl Change {
    fn is_cut_out(self, (row, column): (usize, usize)) -> bool {
        let is_within =
            |at: usize, from: isize| (from..from + self.side as isize).contains(&(at as isize));
        is_within(row, self.corner.0) && is_within(column, self.corner.1)
    }
}

impl Augmented {
    /// The gradient of the images before augmentation, given that of those after it.
    ///
    /// # Shapes
    /// `grad`: (B, C, H, W); result the same.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, grad: &Tensor) -> Result<Tensor> {
        if self.changes.is_empty() { Ok(grad.clone()) } else { self.shift(grad, 0.0, -1) }
    }

    /// Images shifted forwards (`way` 1) or back (-1). Pixels that come from outside the image, and
    /// those of its cutout, are `blank`; the cutout belongs to the shifted side.
    fn shift(&self, images: &Tensor, blank: f32, way: isize) -> Result<Tensor> {
        let (batch, channels, height, width) = images.dims4()?;
        let (device, pixels) = (images.device(), height * width);
        check_shape(|| "a batch of augmented images".into(), &[batch], &[self.changes.len()])?;
        // For each pixel, the one that it comes from, and whether there is one.
        let mut source = vec![0u32; batch * pixels];
        let mut is_inside = vec![0u8; batch * pixels];
        for (number, change) in self.changes.iter().enumerate() {
            let by = (change.shift.0 * way, change.shift.1 * way);
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |c| (row, c))) {
                let from = (origin(row, by.0, height), origin(column, by.1, width));
                let (Some(from_row), Some(from_column)) = from else { continue };
                let shifted = if way > 0 { (row, column) } else { (from_row, from_column) };
                if !change.is_cut_out(shifted) {
                    let at = number * pixels + row * width + column;
                    source[at] = (from_row * width + from_column) as u32;
                    is_inside[at] = 1;
                }
            }
        }
        let all_channels = (batch, channels, pixels);
        let source = Tensor::from_vec(source, (batch, 1, pixels), device)?;
        let is_inside = Tensor::from_vec(is_inside, (batch, 1, pixels), device)?;
        let moved = images.reshape(all_channels)?.contiguous()?;
        let moved = moved.gather(&source.broadcast_as(all_channels)?.contiguous()?, 2)?;
        let blank = Tensor::full(blank, all_channels, device)?;
        let shown = is_inside.broadcast_as(all_channels)?.where_cond(&moved, &blank)?;
        Ok(shown.reshape((batch, channels, height, width))?)
    }
}

/// The row or column that a shift by `by` brings to `at`, if it is inside the image.
fn origin(at: usize, by: isize, size: usize) -> Option<usize> {
    at.checked_add_signed(-by).filter(|&from| from < size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn counted() -> Result<Tensor> {
        Ok((Tensor::arange(0f32, 12.0, &Device::Cpu)?.reshape((1, 1, 3, 4))? / 12.0)?)
    }

    #[test]
    fn an_image_moves_and_loses_a_square() -> Result<()> {
        let change = Change { shift: (1, -2), corner: (1, 0), side: 1 };
        let augmented = Augmented { changes: vec![change] };
        let values = (augmented.shift(&counted()?, BLACK, 1)? * 12.0)?.flatten_all()?;
        let b = -12.0;
        let want = [b, b, b, b, b, 3.0, b, b, 6.0, 7.0, b, b];
        for (got, want) in values.to_vec1::<f32>()?.into_iter().zip(want) {
            assert!((got - want).abs() < 1e-5, "{values}");
        }
        Ok(())
    }

    /// The gradient of a linear map A is its transpose: <A x, y> = <x, A' y> for all x and y.
    #[test]
    fn the_gradient_goes_back_the_same_way() -> Result<()> {
        let augmentation = Augmentation { translation: 3, cutout: 4, noise: 0.0 };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let normal = || Tensor::randn(0f32, 1.0, (5, 2, 8, 9), &Device::Cpu);
        let (x, y) = (normal()?, normal()?);
        let (_, augmented) = augmentation.apply(&x, &mut rng)?;
        let forth = (augmented.shift(&x, 0.0, 1)? * &y)?.sum_all()?.to_scalar::<f32>()?;
        let back = (augmented.backward(&y)? * &x)?.sum_all()?.to_scalar::<f32>()?;
        assert!(forth != 0.0 && (forth - back).abs() < 1e-4 * forth.abs(), "{forth} {back}");
        Ok(())
    }

    #[test]
    fn noise_is_as_asked_and_nothing_happens_by_default() -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let images = Tensor::zeros((10, 1, 28, 28), candle_core::DType::F32, &Device::Cpu)?;
        let noise = Augmentation::only_noise(0.5).scale_noise(0.5);
        let (noisy, _) = noise.apply(&images, &mut rng)?;
        let std = noisy.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?;
        assert!((std - 0.25).abs() < 0.01, "{std}");
        let before = rng.clone();
        let (same, augmented) = Augmentation::default().apply(&images, &mut rng)?;
        assert_eq!(rng, before, "nothing is drawn");
        assert_eq!(same.sum_all()?.to_scalar::<f32>()?, 0.0);
        assert_eq!(augmented.backward(&noisy)?.dims(), [10, 1, 28, 28]);
        Ok(())
    }
}

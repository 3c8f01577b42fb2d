//! Changes of the pictures that a discriminator judges, so that it cannot learn few of them by
//! heart.

use crate::error::Result;
use candle_core::Tensor;
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// Random changes of every picture that the discriminator sees, real or fake, each by its own
/// amount; the generator's gradient goes back through them. All are off by default.
///
/// # Reference
/// Zhao et al. 2020, "Differentiable augmentation for data-efficient GAN training"; instance noise:
/// Sonderby et al. 2017, "Amortised MAP inference for image super-resolution".
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Largest shift up, down, left and right, in pixels.
    pub translation: usize,
    /// Side of the square that is blacked out somewhere, in pixels.
    pub cutout: usize,
    /// Standard deviation of normal noise added to every pixel; pixels are in [-1, 1].
    pub noise: f32,
}

/// What comes in from outside, and what is blacked out.
const BLACK: f32 = -1.0;

impl Augmentation {
    /// The same with a share of its noise.
    pub fn with_noise(self, share: f32) -> Self {
        Self { noise: self.noise * share, ..self }
    }

    /// Changes pictures, and tells how.
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
            augmented.moved(images, BLACK, 1)?
        };
        if self.noise > 0.0 {
            let count = batch * channels * height * width;
            let noise: Vec<f32> =
                (0..count).map(|_| self.noise * rng.sample::<f32, _>(StandardNormal)).collect();
            images = (&images
                + Tensor::from_vec(noise, images.dims(), &candle_core::Device::Cpu)?
                    .to_device(images.device())?)?;
        }
        Ok((images, augmented))
    }

    fn change(self, (height, width): (usize, usize), rng: &mut dyn RngCore) -> Change {
        let most = self.translation as i64;
        let mut within = || rng.random_range(-most..=most) as isize;
        let shift = (within(), within());
        // The square's middle is anywhere in the picture.
        let mut corner =
            |size: usize| rng.random_range(0..size.max(1)) as isize - self.cutout as isize / 2;
        Change { shift, hole: (corner(height), corner(width)), side: self.cutout }
    }
}

/// What was done to pictures.
#[derive(Clone, Debug)]
pub struct Augmented {
    /// One for each picture, or none at all.
    changes: Vec<Change>,
}

/// What was done to a picture: first the shift, then the hole.
#[derive(Clone, Copy, Debug)]
struct Change {
    shift: (isize, isize),
    hole: (isize, isize),
    side: usize,
}

impl Change {
    fn is_in_hole(self, row: usize, column: usize) -> bool {
        let within =
            |at: usize, from: isize| (from..from + self.side as isize).contains(&(at as isize));
        within(row, self.hole.0) && within(column, self.hole.1)
    }
}

impl Augmented {
    /// The gradient of the pictures before, given that of those after, in their shape.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, gradient: &Tensor) -> Result<Tensor> {
        if self.changes.is_empty() { Ok(gradient.clone()) } else { self.moved(gradient, 0.0, -1) }
    }

    /// Each picture shifted `way` (1, or -1 for back) and blanked by its own hole, which belongs
    /// to the shifted side.
    fn moved(&self, images: &Tensor, blank: f32, way: isize) -> Result<Tensor> {
        let (batch, channels, height, width) = images.dims4()?;
        if batch != self.changes.len() {
            let text = format!("{batch} pictures, {} were changed", self.changes.len());
            return Err(crate::Error::Config(text));
        }
        let values = images.flatten_all()?.to_vec1::<f32>()?;
        let mut result = vec![blank; values.len()];
        let area = channels * height * width;
        for ((change, from), to) in
            self.changes.iter().zip(values.chunks_exact(area)).zip(result.chunks_exact_mut(area))
        {
            let by = (change.shift.0 * way, change.shift.1 * way);
            for row in 0..height {
                let Some(from_row) = inside(row, by.0, height) else { continue };
                for column in 0..width {
                    let Some(from_column) = inside(column, by.1, width) else { continue };
                    let shifted = if way > 0 { (row, column) } else { (from_row, from_column) };
                    if change.is_in_hole(shifted.0, shifted.1) {
                        continue;
                    }
                    for plane in (0..area).step_by(height * width) {
                        to[plane + row * width + column] =
                            from[plane + from_row * width + from_column];
                    }
                }
            }
        }
        Ok(Tensor::from_vec(result, images.dims(), &candle_core::Device::Cpu)?
            .to_device(images.device())?)
    }
}

/// Where a row or column came from that was shifted by so many, if from within the picture.
fn inside(at: usize, by: isize, size: usize) -> Option<usize> {
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
    fn a_picture_moves_and_loses_a_square() -> Result<()> {
        let change = Change { shift: (1, -2), hole: (1, 0), side: 1 };
        let augmented = Augmented { changes: vec![change] };
        let values = (augmented.moved(&counted()?, BLACK, 1)? * 12.0)?.flatten_all()?;
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
        let forth = (augmented.moved(&x, 0.0, 1)? * &y)?.sum_all()?.to_scalar::<f32>()?;
        let back = (augmented.backward(&y)? * &x)?.sum_all()?.to_scalar::<f32>()?;
        assert!(forth != 0.0 && (forth - back).abs() < 1e-4 * forth.abs(), "{forth} {back}");
        Ok(())
    }

    #[test]
    fn noise_is_as_asked_and_nothing_happens_by_default() -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let images = Tensor::zeros((10, 1, 28, 28), candle_core::DType::F32, &Device::Cpu)?;
        let noise = Augmentation { noise: 0.5, ..Augmentation::default() }.with_noise(0.5);
        let (noisy, _) = noise.apply(&images, &mut rng)?;
        let spread = noisy.sqr()?.mean_all()?.sqrt()?.to_scalar::<f32>()?;
        assert!((spread - 0.25).abs() < 0.01, "{spread}");
        let before = rng.clone();
        let (same, augmented) = Augmentation::default().apply(&images, &mut rng)?;
        assert_eq!(rng, before, "nothing is drawn");
        assert_eq!(same.sum_all()?.to_scalar::<f32>()?, 0.0);
        assert_eq!(augmented.backward(&noisy)?.dims(), [10, 1, 28, 28]);
        Ok(())
    }
}

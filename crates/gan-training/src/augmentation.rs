//! Augmentation of the images that a discriminator sees, so that it cannot memorise a small set.

use crate::adaptive::{AdaptiveProbability, is_made};
use crate::colours::Colours;
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
    /// Whether brightness, saturation and contrast are changed, not opacity: brightness by up to 0.5 either way
    /// (pixels are in [-1, 1]), saturation by a factor in [0, 2], contrast by one in [0.5, 1.5].
    pub colour: bool,
    /// Whether every second image, by chance, is mirrored left to right. The generator then draws
    /// mirrored images too.
    pub flip: bool,
    /// Largest shift up, down, left and right, in pixels. What comes in from outside is black.
    pub translation: usize,
    /// Side of a square at a random place that is made black, in pixels.
    pub cutout: usize,
    /// Standard deviation of normal noise added to every pixel; pixels are in [-1, 1].
    pub noise: f32,
    /// The probability of all changes but noise; `None` changes every image.
    pub adaptive: Option<AdaptiveProbability>,
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

    /// Changes images, and returns them with what was done to each: colours, then places, then
    /// noise.
    ///
    /// # Shapes
    /// `images`: (B, C, H, W); result the same.
    /// # Range
    /// [-1, 1]; with noise or changed colours, beyond.
    /// # Errors
    /// Failures of the device.
    pub fn apply(self, images: &Tensor, rng: &mut dyn RngCore) -> Result<(Tensor, Augmented)> {
        self.apply_with(None, images, rng)
    }

    /// [`Augmentation::apply`], with this probability of each change of an image but noise.
    pub(crate) fn apply_with(
        self,
        probability: Option<f64>,
        images: &Tensor,
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, Augmented)> {
        let (batch, _, height, width) = images.dims4()?;
        let colours = match self.colour {
            true => Some(Colours::draw(batch, probability, rng, images)?),
            false => None,
        };
        let mut places = Vec::new();
        if self.moves() {
            let place = |_| self.place((height, width), rng).with(probability, rng);
            places = (0..batch).map(place).collect();
        }
        let mut noise = None;
        if self.noise > 0.0 {
            let values: Vec<f32> = (0..images.elem_count())
                .map(|_| self.noise * rng.sample::<f32, _>(StandardNormal))
                .collect();
            noise = Some(Tensor::from_vec(values, images.dims(), images.device())?);
        }
        let augmented = Augmented { colours, places, noise };
        Ok((augmented.forward(images)?, augmented))
    }

    /// Whether images are shifted, cut or mirrored.
    fn moves(self) -> bool {
        self.translation > 0 || self.cutout > 0 || self.flip
    }

    /// Whether there is something else than noise.
    pub(crate) fn changes_images(self) -> bool {
        self.colour || self.moves()
    }

    fn place(self, (height, width): (usize, usize), rng: &mut dyn RngCore) -> Place {
        let most = self.translation as i64;
        let mut within = || rng.random_range(-most..=most) as isize;
        let shift = (within(), within());
        // The centre of the square is anywhere in the image.
        let mut corner =
            |size: usize| rng.random_range(0..size.max(1)) as isize - self.cutout as isize / 2;
        let corner = (corner(height), corner(width));
        Place { flip: self.flip && rng.random(), shift, corner, side: self.cutout }
    }
}

/// An augmentation as it is at a step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Augmenter {
    pub(crate) augmentation: Augmentation,
    /// `None` changes every image.
    pub(crate) probability: Option<f64>,
}

impl Augmenter {
    /// Changes images as [`Augmentation::apply`] does, each with the probability.
    pub(crate) fn apply(
        self,
        images: &Tensor,
        rng: &mut dyn RngCore,
    ) -> Result<(Tensor, Augmented)> {
        self.augmentation.apply_with(self.probability, images, rng)
    }
}

/// What an augmentation did to a batch.
#[derive(Clone, Debug)]
pub struct Augmented {
    colours: Option<Colours>,
    /// One for each image; empty where no image was moved or cut.
    places: Vec<Place>,
    /// (B, C, H, W)
    noise: Option<Tensor>,
}

/// Where an image's pixels went: mirrored, shifted, then a square cut out.
#[derive(Clone, Copy, Debug)]
struct Place {
    flip: bool,
    shift: (isize, isize),
    corner: (isize, isize),
    side: usize,
}

impl Place {
    /// Each of the changes with a probability.
    fn with(self, probability: Option<f64>, rng: &mut dyn RngCore) -> Self {
        let mut is_made = || is_made(probability, rng);
        Self {
            flip: self.flip && is_made(),
            shift: if is_made() { self.shift } else { (0, 0) },
            side: if is_made() { self.side } else { 0 },
            ..self
        }
    }

    fn is_cut_out(self, (row, column): (usize, usize)) -> bool {
        let is_within =
            |at: usize, from: isize| (from..from + self.side as isize).contains(&(at as isize));
        is_within(row, self.corner.0) && is_within(column, self.corner.1)
    }

    /// The pixel of the image before that comes to this one, if one does.
    fn source(self, (row, column): (usize, usize), size: (usize, usize)) -> Option<(usize, usize)> {
        let shifted = |at: usize, by: isize, size: usize| {
            at.checked_add_signed(-by).filter(|&from| from < size)
        };
        let row = shifted(row, self.shift.0, size.0)?;
        let column = shifted(column, self.shift.1, size.1)?;
        Some((row, if self.flip { size.1 - 1 - column } else { column }))
    }

    /// The pixel of the image after to which this one goes, if it does.
    fn target(self, (row, column): (usize, usize), size: (usize, usize)) -> Option<(usize, usize)> {
        let column = if self.flip { size.1 - 1 - column } else { column };
        let back = Self { flip: false, shift: (-self.shift.0, -self.shift.1), ..self };
        back.source((row, column), size)
    }
}

impl Augmented {
    /// Does the same to other images.
    ///
    /// # Shapes
    /// `images`: (B, C, H, W) as those before; result the same.
    ///
    /// # Errors
    /// Images of another shape.
    pub fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mut images = images.clone();
        if let Some(colours) = &self.colours {
            images = colours.forward(&images)?;
        }
        if !self.places.is_empty() {
            let source = |place: Place, at, size| match place.is_cut_out(at) {
                true => None,
                false => place.source(at, size),
            };
            images = self.gather(&images, BLACK, source)?;
        }
        match &self.noise {
            Some(noise) => Ok((images + noise)?),
            None => Ok(images),
        }
    }

    /// The gradient of the images before augmentation, given that of those after it.
    ///
    /// # Shapes
    /// `grad`: (B, C, H, W); result the same.
    ///
    /// # Errors
    /// A gradient of another shape.
    pub fn backward(&self, grad: &Tensor) -> Result<Tensor> {
        let mut grad = grad.clone();
        if !self.places.is_empty() {
            let target =
                |place: Place, at, size| place.target(at, size).filter(|&at| !place.is_cut_out(at));
            grad = self.gather(&grad, 0.0, target)?;
        }
        match &self.colours {
            Some(colours) => colours.backward(&grad),
            None => Ok(grad),
        }
    }

    /// Images whose pixels come from where `from` says for each place and pixel, or are `blank`.
    fn gather(
        &self,
        images: &Tensor,
        blank: f32,
        from: impl Fn(Place, (usize, usize), (usize, usize)) -> Option<(usize, usize)>,
    ) -> Result<Tensor> {
        let (batch, channels, height, width) = images.dims4()?;
        let (device, pixels) = (images.device(), height * width);
        check_shape(|| "a batch of augmented images".into(), &[batch], &[self.places.len()])?;
        // For each pixel, the one that it comes from, and whether there is one.
        let mut source = vec![0u32; batch * pixels];
        let mut is_inside = vec![0u8; batch * pixels];
        for (number, place) in self.places.iter().enumerate() {
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |c| (row, c))) {
                if let Some((from_row, from_column)) = from(*place, (row, column), (height, width))
                {
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn counted() -> Result<Tensor> {
        Ok((Tensor::arange(0f32, 12.0, &Device::Cpu)?.reshape((1, 1, 3, 4))? / 12.0)?)
    }

    fn noise(noise: f32) -> Augmentation {
        Augmentation::only_noise(noise)
    }

    /// A probability of 0 changes nothing, one of 1 as much as none at all, others their part of the
    /// images.
    #[test]
    fn a_part_of_the_images_is_changed() -> Result<()> {
        let images = Tensor::arange(0f32, 400.0 * 48.0, &Device::Cpu)?.reshape((400, 3, 4, 4))?;
        let images = ((images / 9600.0)? - 1.0)?;
        let all =
            Augmentation { colour: true, flip: true, translation: 1, cutout: 2, ..noise(0.0) };
        for (augmentation, chance) in [
            (Augmentation { flip: true, ..noise(0.0) }, 0.5),
            (Augmentation { translation: 1, ..noise(0.0) }, 8.0 / 9.0),
            (Augmentation { cutout: 2, ..noise(0.0) }, 1.0),
            (all, 1.0),
        ] {
            for probability in [0.0, 0.3, 1.0] {
                let mut rng = ChaCha8Rng::seed_from_u64(5);
                let (changed, _) = augmentation.apply_with(Some(probability), &images, &mut rng)?;
                let difference = (changed - &images)?.abs()?.flatten_from(1)?.max(1)?;
                let count = difference.to_vec1::<f32>()?.iter().filter(|d| **d > 1e-5).count();
                let part = count as f64 / 400.0;
                // Of all together, any of six changes.
                let want = match (augmentation == all, probability) {
                    (true, 0.3) => 1.0 - 0.7f64.powi(4) * 0.85 * (1.0 - 0.3 * 8.0 / 9.0),
                    _ => chance * probability,
                };
                assert!((part - want).abs() < 0.07, "{augmentation:?}, {probability}: {part}");
            }
        }
        Ok(())
    }

    fn places(place: Place) -> Augmented {
        Augmented { colours: None, places: vec![place], noise: None }
    }

    #[test]
    fn an_image_moves_and_loses_a_square() -> Result<()> {
        let place = Place { flip: false, shift: (1, -2), corner: (1, 0), side: 1 };
        let b = -12.0;
        for (place, want) in [
            (place, [b, b, b, b, b, 3.0, b, b, 6.0, 7.0, b, b]),
            (Place { flip: true, ..place }, [b, b, b, b, b, 0.0, b, b, 5.0, 4.0, b, b]),
        ] {
            let values = (places(place).forward(&counted()?)? * 12.0)?.flatten_all()?;
            for (got, want) in values.to_vec1::<f32>()?.into_iter().zip(want) {
                assert!((got - want).abs() < 1e-5, "{values}");
            }
        }
        Ok(())
    }

    /// The gradient of an affine map A x + b is the transpose of A: <A x, y> = <x, A' y> for all x
    /// and y.
    #[test]
    fn the_gradient_goes_back_the_same_way() -> Result<()> {
        let augmentation =
            Augmentation { colour: true, flip: true, translation: 3, cutout: 4, ..noise(0.1) };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut normal = || {
            let values = (0..5 * 3 * 8 * 9).map(|_| rng.sample::<f32, _>(StandardNormal)).collect();
            Tensor::from_vec(values, (5, 3, 8, 9), &Device::Cpu)
        };
        let (x, y) = (normal()?, normal()?);
        let (_, augmented) = augmentation.apply(&x, &mut rng)?;
        let linear = (augmented.forward(&x)? - augmented.forward(&x.zeros_like()?)?)?;
        let forth = (linear * &y)?.sum_all()?.to_scalar::<f32>()?;
        let back = (augmented.backward(&y)? * &x)?.sum_all()?.to_scalar::<f32>()?;
        assert!(forth.abs() > 1.0 && (forth - back).abs() < 1e-4 * forth.abs(), "{forth} {back}");
        Ok(())
    }

    /// Mirroring is a change that leaks by design; the others leave their mark on every image alike,
    /// so that the average over many draws is the image itself, but for what cutout and the borders
    /// take.
    #[test]
    fn colours_and_places_are_right_on_average() -> Result<()> {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let values: Vec<f32> = (0..48).map(|i| (i as f32).sin() / 2.0).collect();
        let image = Tensor::from_vec(values, (1, 3, 4, 4), &Device::Cpu)?;
        let many = image.broadcast_as((20_000, 3, 4, 4))?.contiguous()?;
        let augmentation = Augmentation { colour: true, ..Augmentation::default() };
        let (changed, _) = augmentation.apply(&many, &mut rng)?;
        let off = (changed.mean_keepdim(0)? - &image)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(off < 0.02, "{off}");
        let spread = changed.broadcast_sub(&image)?.sqr()?.mean_all()?.sqrt()?;
        assert!(spread.to_scalar::<f32>()? > 0.2, "colours change: {spread}");
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

//! Changed brightness, saturation and contrast of images.

use crate::adaptive::is_made;
use crate::error::Result;
use candle_core::Tensor;
use rand::{Rng, RngCore};

/// Changed brightness, saturation and contrast, one number of each for every image, (B, 1, 1, 1).
#[derive(Clone, Debug)]
pub(crate) struct Colours {
    /// Added to every value.
    brightness: Tensor,
    /// Factor on the differences from a pixel's mean over the channels.
    saturation: Tensor,
    /// Factor on the differences from the image's mean.
    contrast: Tensor,
}

impl Colours {
    /// Each of the three is drawn with a probability, or else is that which changes nothing.
    pub(crate) fn draw(
        batch: usize,
        probability: Option<f64>,
        rng: &mut dyn RngCore,
        like: &Tensor,
    ) -> Result<Self> {
        let mut draw = |range: std::ops::Range<f32>, unchanged: f32| {
            let mut value = |_| {
                let drawn = rng.random_range(range.clone());
                if is_made(probability, rng) { drawn } else { unchanged }
            };
            let values: Vec<f32> = (0..batch).map(&mut value).collect();
            Tensor::from_vec(values, (batch, 1, 1, 1), like.device())
        };
        Ok(Self {
            brightness: draw(-0.5..0.5, 0.0)?,
            saturation: draw(0.0..2.0, 1.0)?,
            contrast: draw(0.5..1.5, 1.0)?,
        })
    }

    pub(crate) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        of_colours(images, |images| self.change(images))
    }

    fn change(&self, images: &Tensor) -> Result<Tensor> {
        let bright = images.broadcast_add(&self.brightness)?;
        let saturated = spread(&bright, &bright.mean_keepdim(1)?, &self.saturation)?;
        spread(&saturated, &mean(&saturated)?, &self.contrast)
    }

    /// Both factors scale what is left of a mean, which is a symmetric linear map: the gradient goes
    /// back through the same maps in the other order.
    pub(crate) fn backward(&self, grad: &Tensor) -> Result<Tensor> {
        of_colours(grad, |grad| {
            let grad = spread(grad, &mean(grad)?, &self.contrast)?;
            spread(&grad, &grad.mean_keepdim(1)?, &self.saturation)
        })
    }
}

/// Changes the colours of images; the fourth channel, opacity, stays.
fn of_colours(images: &Tensor, change: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match images.dim(1)? {
        4 => {
            let colours = change(&images.narrow(1, 0, 3)?)?;
            Ok(Tensor::cat(&[&colours, &images.narrow(1, 3, 1)?], 1)?)
        }
        _ => change(images),
    }
}

/// The mean of each image, (B, 1, 1, 1).
fn mean(images: &Tensor) -> Result<Tensor> {
    Ok(images.mean_keepdim((1, 2, 3))?)
}

/// Multiplies differences from a mean by a factor for each image.
fn spread(images: &Tensor, mean: &Tensor, factor: &Tensor) -> Result<Tensor> {
    Ok(images.broadcast_sub(mean)?.broadcast_mul(factor)?.broadcast_add(mean)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn opacity_stays() -> Result<()> {
        let images = (Tensor::arange(0f32, 64.0, &Device::Cpu)?.reshape((2, 4, 2, 4))? / 64.0)?;
        let colours = Colours::draw(2, None, &mut ChaCha8Rng::seed_from_u64(2), &images)?;
        for changed in [colours.forward(&images)?, colours.backward(&images)?] {
            let of = |images: &Tensor, channel| -> Result<Vec<f32>> {
                Ok(images.narrow(1, channel, 1)?.flatten_all()?.to_vec1()?)
            };
            assert_eq!(of(&changed, 3)?, of(&images, 3)?);
            assert_ne!(of(&changed, 2)?, of(&images, 2)?);
        }
        Ok(())
    }

    /// By hand, for one image of two channels and two pixels.
    #[test]
    fn colours_change_around_their_means() -> Result<()> {
        let one = |value: f32| Tensor::full(value, (1, 1, 1, 1), &Device::Cpu);
        let colours = Colours { brightness: one(0.1)?, saturation: one(2.0)?, contrast: one(0.5)? };
        let images = Tensor::new(&[0.1f32, 0.2, 0.5, -0.4], &Device::Cpu)?.reshape((1, 2, 1, 2))?;
        // Brighter: 0.2, 0.3 and 0.6, -0.3. Around the pixels' means, 0.4 and 0: 0, 0.6 and 0.8,
        // -0.6. Around the image's mean, 0.2: 0.1, 0.4 and 0.5, -0.2.
        let got = colours.forward(&images)?.flatten_all()?.to_vec1::<f32>()?;
        for (got, want) in got.into_iter().zip([0.1, 0.4, 0.5, -0.2]) {
            assert!((got - want).abs() < 1e-6, "{got}, not {want}");
        }
        Ok(())
    }
}

//! Small random affine distortions of images, the data augmentation of the classifier.

use crate::error::Result;
use candle_core::Tensor;
use rand::{Rng, RngCore};

/// The largest rotation, in radians.
const MAX_ROTATION: f32 = 0.17;
/// The largest change of width and height, as a fraction.
const MAX_SCALING: f32 = 0.12;
/// The largest shear, in columns per row.
const MAX_SHEAR: f32 = 0.15;
/// The largest translation, in pixels.
const MAX_TRANSLATION: f32 = 2.0;
/// Rotates, scales, shears and translates each image by random amounts, with bilinear interpolation.
/// What lies outside of the image has the value of its first pixel, the ground of most images.
///
/// # Shapes
/// `images`: (B, C, H, W); result the same.
/// # Range
/// Any; that of the images.
/// # Errors
/// Images of another rank or type.
pub(crate) fn distorted(images: &Tensor, rng: &mut dyn RngCore) -> Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    let values = images.flatten_all()?.to_vec1::<f32>()?;
    let mut result = Vec::with_capacity(values.len());
    for image in values.chunks_exact((channels * height * width).max(1)) {
        let map = AffineMap::random(rng);
        for plane in image.chunks_exact(height * width) {
            map.apply(plane, (height, width), &mut result);
        }
    }
    Ok(Tensor::from_vec(result, (batch, channels, height, width), images.device())?)
}

/// An affine map from result pixels to source pixels, with the origin in the middle of the image.
struct AffineMap {
    matrix: [[f32; 2]; 2],
    translation: [f32; 2],
}

impl AffineMap {
    fn random(rng: &mut dyn RngCore) -> Self {
        let mut within = |max: f32| rng.random_range(-max..=max);
        let (sin, cos) = within(MAX_ROTATION).sin_cos();
        let (height_scale, width_scale, shear) =
            (1.0 + within(MAX_SCALING), 1.0 + within(MAX_SCALING), within(MAX_SHEAR));
        let translation = [within(MAX_TRANSLATION), within(MAX_TRANSLATION)];
        // Scaling after shear after rotation, from (row, column) to (row, column).
        let matrix = [
            [height_scale * cos, height_scale * sin],
            [width_scale * (shear * cos - sin), width_scale * (shear * sin + cos)],
        ];
        Self { matrix, translation }
    }

    fn apply(&self, plane: &[f32], (height, width): (usize, usize), result: &mut Vec<f32>) {
        let middle = [(height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0];
        let pixel = |row: f32, column: f32| {
            let inside =
                row >= 0.0 && column >= 0.0 && row < height as f32 && column < width as f32;
            if inside { plane[row as usize * width + column as usize] } else { plane[0] }
        };
        for row in 0..height {
            for column in 0..width {
                let (y, x) = (row as f32 - middle[0], column as f32 - middle[1]);
                let [of_y, of_x] = self.matrix;
                let from_y = of_y[0] * y + of_y[1] * x + middle[0] + self.translation[0];
                let from_x = of_x[0] * y + of_x[1] * x + middle[1] + self.translation[1];
                let (top, left) = (from_y.floor(), from_x.floor());
                let (down, right) = (from_y - top, from_x - left);
                let above = pixel(top, left) * (1.0 - right) + pixel(top, left + 1.0) * right;
                let below =
                    pixel(top + 1.0, left) * (1.0 - right) + pixel(top + 1.0, left + 1.0) * right;
                result.push(above * (1.0 - down) + below * down);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const SIZE: (usize, usize) = (5, 6);

    fn apply(matrix: [[f32; 2]; 2], translation: [f32; 2]) -> Vec<f32> {
        let plane: Vec<f32> = (0..30).map(|i| i as f32 / 30.0).collect();
        let mut result = Vec::new();
        AffineMap { matrix, translation }.apply(&plane, SIZE, &mut result);
        result
    }

    #[test]
    fn maps_are_applied_around_the_middle() {
        let plain = apply([[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0]);
        assert_eq!(plain[7], 7.0 / 30.0);
        // From one row further down and half a column to the right.
        let shifted = apply([[1.0, 0.0], [0.0, 1.0]], [1.0, 0.5]);
        assert!((shifted[7] - 13.5 / 30.0).abs() < 1e-6);
        assert_eq!(shifted[24], 0.0, "the first pixel's, below the last row");
        // Half a turn takes the first pixel to the last.
        let turned = apply([[-1.0, 0.0], [0.0, -1.0]], [0.0, 0.0]);
        assert_eq!(turned[0], 29.0 / 30.0);
    }

    #[test]
    fn the_seed_decides_and_every_image_has_its_own() -> Result<()> {
        let image = Tensor::rand(-1f32, 1.0, (1, 1, 28, 28), &Device::Cpu)?;
        let pair = Tensor::cat(&[&image, &image], 0)?;
        let distort = |seed| -> Result<Vec<Vec<f32>>> {
            let result = distorted(&pair, &mut ChaCha8Rng::seed_from_u64(seed))?;
            assert_eq!(result.dims(), [2, 1, 28, 28]);
            Ok(result.flatten_from(1)?.to_vec2()?)
        };
        let first = distort(1)?;
        assert_eq!(first, distort(1)?);
        assert_ne!(first, distort(2)?);
        assert_ne!(first[0], first[1]);
        assert!(first.iter().flatten().all(|value| (-1.0..=1.0).contains(value)));
        Ok(())
    }
}

//! The sliced Wasserstein distance of patches on the levels of a Laplacian pyramid.

use crate::distances::{columns, with_product};
use crate::error::{Error, Result};
use crate::pyramid::{Planes, laplacian_pyramid};
use candle_core::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

/// Height and width of a patch.
const PATCH: usize = 7;
/// Number of patches of an image on each level.
const PATCHES: usize = 128;
/// Number of random directions.
const DIRECTIONS: usize = 512;
/// Number of directions whose projections are in memory at a time.
const WAVE: usize = 32;
/// Number of patches that are projected at a time.
const ROWS: usize = 1 << 14;
/// The factor that distances are reported with.
const REPORTED: f64 = 1000.0;

/// The distance on one level of the pyramid.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LevelDistance {
    /// Height of the level's images in pixels.
    pub height: usize,
    /// Width of the level's images in pixels.
    pub width: usize,
    /// The sliced Wasserstein distance, times 1000; 0 is best.
    pub distance: f64,
}

/// Returns the sliced Wasserstein distance of two sets of images on each level of their Laplacian
/// pyramids, the finest level first.
///
/// The finest level holds what blurring to half the size removes, the next one the same of the images
/// of half the size, and the last one the smallest images as they are. Sizes are halved, rounded up,
/// while no side falls below 16 pixels: images of 64 pixels have the levels 64, 32 and 16, of 48 the
/// levels 48 and 24, of 28 one level. On each level, 128 patches of 7x7 pixels are drawn from each
/// image, normalised by the mean and the standard deviation of each channel over the set, and
/// projected onto 512 random directions. The seed determines patches and directions.
///
/// # Shapes
/// Both: (N, C, H, W), the same; H and W at least 7.
/// # Range
/// Any values: a scale or a shift of all images of both sets changes nothing. A channel that is the
/// same everywhere counts as 0. Result: at least 0, and above 0 for two sets of one distribution.
/// # Errors
/// Sets of different shapes or counts; no images; images smaller than a patch; values that are NaN or
/// infinite; a failed tensor operation.
/// # Reference
/// Karras et al. 2018, "Progressive growing of GANs for improved quality, stability, and variation",
/// section 5.
pub fn sliced_wasserstein(a: &Tensor, b: &Tensor, seed: u64) -> Result<Vec<LevelDistance>> {
    check(a, b)?;
    let (a, b) = (laplacian_pyramid(a)?, laplacian_pyramid(b)?);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let level = |(a, b): (&Planes, &Planes)| {
        let patches = |level, rng: &mut ChaCha8Rng| {
            Patches::new(level, |last| {
                [rng.random_range(0..=last[0]), rng.random_range(0..=last[1])]
            })
        };
        let sets = [patches(a, &mut rng), patches(b, &mut rng)];
        let distance = sliced(&sets, DIRECTIONS, |dim| direction(dim, &mut rng))?;
        Ok(LevelDistance { height: a.height, width: a.width, distance: REPORTED * distance })
    };
    a.iter().zip(&b).map(level).collect()
}

fn check(a: &Tensor, b: &Tensor) -> Result<()> {
    let (count, channels, height, width) = a.dims4()?;
    if a.dims() != b.dims() || count * channels == 0 || height < PATCH || width < PATCH {
        return Err(Error::ImageSets { left: a.dims().to_vec(), right: b.dims().to_vec() });
    }
    Ok(())
}

/// Returns the mean distance of two sets of patches over `count` directions, vectors of length 1 of
/// which `direction` returns the next.
pub(crate) fn sliced(
    sets: &[Patches; 2],
    count: usize,
    mut direction: impl FnMut(usize) -> Vec<f32>,
) -> Result<f64> {
    let dim = sets[0].dim;
    let mut sum = 0.0;
    for first in (0..count).step_by(WAVE) {
        let directions: Vec<f32> =
            (first..count.min(first + WAVE)).flat_map(|_| direction(dim)).collect();
        let sorted = [sets[0].projections(&directions)?, sets[1].projections(&directions)?];
        // Collected in order, so that the sum does not depend on the number of threads.
        let distances: Vec<f64> =
            sorted[0].par_iter().zip(&sorted[1]).map(|(a, b)| mean_difference(a, b)).collect();
        sum += distances.iter().sum::<f64>();
    }
    Ok(sum / count as f64)
}

/// Returns a random vector of length 1.
fn direction(dim: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    unit((0..dim).map(|_| rng.sample(StandardNormal)).collect())
}

/// Returns the vector of length 1 in the direction of another.
pub(crate) fn unit(values: Vec<f64>) -> Vec<f32> {
    let length = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    values.into_iter().map(|value| (value / length) as f32).collect()
}

/// Returns the Wasserstein distance of two sorted sets of as many numbers.
fn mean_difference(a: &[f32], b: &[f32]) -> f64 {
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs())).sum();
    sum / a.len() as f64
}

/// The patches of a set of images, one row per patch, normalised.
pub(crate) struct Patches {
    values: Vec<f32>,
    /// Number of values of a patch.
    dim: usize,
}

impl Patches {
    /// Cuts out the patches of a set, and normalises each channel over all of them. `place` returns
    /// the next patch's first row and column, at most those given.
    pub(crate) fn new(level: &Planes, mut place: impl FnMut([usize; 2]) -> [usize; 2]) -> Self {
        let (height, width) = (level.height, level.width);
        let images = level.values.chunks_exact(level.channels * height * width);
        let mut values =
            Vec::with_capacity(images.len() * PATCHES * level.channels * PATCH * PATCH);
        for image in images {
            for _ in 0..PATCHES {
                let [top, left] = place([height - PATCH, width - PATCH]);
                for plane in image.chunks_exact(height * width) {
                    for row in plane.chunks_exact(width).skip(top).take(PATCH) {
                        values.extend(&row[left..left + PATCH]);
                    }
                }
            }
        }
        for channel in 0..level.channels {
            normalise(&mut values, level.channels, channel);
        }
        Self { values, dim: level.channels * PATCH * PATCH }
    }

    /// Projects all patches onto directions. Returns the sorted projections of each.
    fn projections(&self, directions: &[f32]) -> Result<Vec<Vec<f32>>> {
        let (dim, count) = (self.dim, directions.len() / self.dim);
        let columns = columns(directions, dim)?;
        let mut all = vec![Vec::with_capacity(self.values.len() / dim); count];
        // In parts, so that the rows are not copied all at once.
        for rows in self.values.chunks(ROWS * dim) {
            with_product(rows.to_vec(), &columns, dim, |products| {
                all.par_iter_mut().enumerate().for_each(|(k, projections)| {
                    projections.extend(products.iter().skip(k).step_by(count));
                });
            })?;
        }
        all.par_iter_mut().for_each(|projections| projections.sort_unstable_by(f32::total_cmp));
        Ok(all)
    }
}

/// Shifts and scales a channel of all patches to mean 0 and standard deviation 1. A channel that is
/// the same everywhere becomes 0.
fn normalise(patches: &mut [f32], channels: usize, channel: usize) {
    let mut values: Vec<&mut [f32]> =
        patches.chunks_exact_mut(PATCH * PATCH).skip(channel).step_by(channels).collect();
    let count = (values.len() * PATCH * PATCH) as f64;
    let sum = |of: &dyn Fn(f64) -> f64| -> f64 {
        values.iter().flat_map(|plane| plane.iter()).map(|value| of(f64::from(*value))).sum()
    };
    let mean = sum(&|value| value) / count;
    let std = (sum(&|value| (value - mean).powi(2)) / count).sqrt();
    for value in values.iter_mut().flat_map(|plane| plane.iter_mut()) {
        *value = if std > 0.0 { ((f64::from(*value) - mean) / std) as f32 } else { 0.0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Random images whose neighbouring pixels are averaged `times` times.
    fn smooth(count: usize, side: usize, times: usize, seed: u64) -> Tensor {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut values: Vec<f32> = (0..count * 3 * side * side).map(|_| rng.random()).collect();
        for _ in 0..times {
            values = (0..values.len())
                .map(|i| {
                    (values[i] + values[(i + 1) % values.len()] + values[(i + side) % values.len()])
                        / 3.0
                })
                .collect();
        }
        Tensor::from_vec(values, (count, 3, side, side), &Device::Cpu).expect("images")
    }

    fn distances(a: &Tensor, b: &Tensor) -> Vec<f64> {
        let levels = sliced_wasserstein(a, b, 1).expect("distances");
        levels.iter().map(|level| level.distance).collect()
    }

    #[test]
    fn other_images_of_one_kind_are_nearer_than_smoothed_ones() {
        let real = smooth(40, 32, 1, 1);
        let same = distances(&real, &smooth(40, 32, 1, 2));
        let [light, heavy] = [2, 5].map(|times| distances(&real, &smooth(40, 32, times, 2)));
        assert_eq!(same.len(), 2);
        for level in 0..2 {
            let of_level = [same[level], light[level], heavy[level]];
            assert!(of_level.is_sorted_by(|a, b| a < b), "{of_level:?}");
        }
        assert!(heavy[0] > 2.0 * same[0], "{same:?} {heavy:?}");
        assert!(same.iter().all(|distance| (1.0..50.0).contains(distance)), "{same:?}");
        // Brightness and contrast do not count.
        let other = smooth(40, 32, 1, 2).affine(3.0, -1.0).expect("images");
        for (got, wanted) in distances(&real, &other).iter().zip(same) {
            assert!((got - wanted).abs() < 1e-3 * wanted, "{got}, not {wanted}");
        }
    }

    #[test]
    fn the_seed_decides_and_threads_do_not() {
        let (a, b) = (smooth(9, 17, 1, 1), smooth(9, 17, 2, 2));
        let with = |seed| sliced_wasserstein(&a, &b, seed).expect("distances");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(pool.install(|| with(7)), with(7));
        assert_ne!(with(7), with(8));
    }

    #[test]
    fn sizes_have_their_levels() {
        let levels = |height: usize, width: usize| -> Vec<(usize, usize)> {
            let images = Tensor::ones((1, 1, height, width), candle_core::DType::F32, &Device::Cpu);
            let images = images.expect("an image");
            let levels = sliced_wasserstein(&images, &images, 0).expect("distances");
            // Images without any difference are at distance 0.
            assert!(levels.iter().all(|level| level.distance == 0.0), "{levels:?}");
            levels.iter().map(|level| (level.height, level.width)).collect()
        };
        assert_eq!(levels(7, 9), [(7, 9)]);
        assert_eq!(levels(28, 28), [(28, 28)]);
        assert_eq!(levels(32, 32), [(32, 32), (16, 16)]);
        assert_eq!(levels(48, 48), [(48, 48), (24, 24)]);
        assert_eq!(levels(64, 32), [(64, 32), (32, 16)]);
        assert_eq!(levels(33, 128), [(33, 128), (17, 64)]);
        assert_eq!(levels(128, 128), [(128, 128), (64, 64), (32, 32), (16, 16)]);
    }

    #[test]
    fn bad_input_is_an_error() {
        let zeros = |shape: (usize, usize, usize, usize)| {
            Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).expect("images")
        };
        let text = |a: &Tensor, b: &Tensor| {
            sliced_wasserstein(a, b, 0).expect_err("bad input").to_string()
        };
        let nine = zeros((2, 1, 9, 9));
        for other in [zeros((3, 1, 9, 9)), zeros((2, 3, 9, 9)), zeros((2, 1, 9, 8))] {
            assert!(text(&nine, &other).contains("[2, 1, 9, 9]"), "{other:?}");
        }
        for bad in [zeros((0, 1, 9, 9)), zeros((1, 0, 9, 9)), zeros((1, 1, 6, 9))] {
            assert!(text(&bad, &bad).contains("at least 7"), "{bad:?}");
        }
        let nan = (&nine * f64::NAN).expect("images");
        assert!(text(&nine, &nan).contains("NaN"));
    }
}

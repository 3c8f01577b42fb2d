//! A random convolutional network ("R64"), whose features describe images of any kind.

use crate::error::{Error, Result};
use crate::features::Features;
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use gan_models::{Activation, FeatureShape, Layer, Mode, Network, Parameters, WeightInit};
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// Number of features of an image.
pub const RANDOM_FEATURES: usize = 64;
/// The supported heights and widths.
const SIDES: RangeInclusive<usize> = 8..=256;
/// The supported numbers of channels.
const CHANNELS: RangeInclusive<usize> = 1..=4;
/// Channels of the first and of the widest convolutions.
const WIDTHS: (usize, usize) = (16, 256);
/// Stages halve the image until no side is longer than this.
const LAST_SIDE: usize = 4;
/// The seed of the weights.
const SEED: u64 = 64;
/// Number of images in a forward pass.
const CHUNK: usize = 100;

/// A network like VGG with random weights, which are the same in every process.
///
/// Each stage has a 3x3 convolution and one of stride 2 to twice the channels, each followed by a ReLU:
/// 16, 32, 64, ... up to 256 channels, until no side has more than 4 pixels. A linear layer makes 64
/// features of what remains. There are no biases. Weights are uniform in +-sqrt(6 / fan in), which
/// keeps the size of the features at any depth (He et al. 2015, "Delving deep into rectifiers").
///
/// Images of another shape get another network, so their distances are on another scale.
///
/// # Reference
/// Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models", who compare 64
/// features of a random VGG16 (R64).
#[derive(Clone, Debug)]
pub struct RandomNetwork(Network);

/// Returns the layers from images of this shape to features.
fn layers(image: FeatureShape) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut conv = |channels, stride| {
        layers.push(Layer::Conv { channels, kernel: 3, stride, bias: false, groups: 1 });
        layers.push(Layer::Activation(Activation::Relu));
    };
    let (mut width, widest) = WIDTHS;
    let mut side = image.height.max(image.width);
    while side > LAST_SIDE {
        conv(width, 1);
        width = (2 * width).min(widest);
        conv(width, 2);
        side = side.div_ceil(2);
    }
    layers.push(Layer::Dense { units: RANDOM_FEATURES, bias: false });
    layers
}

impl RandomNetwork {
    /// Creates the network for images of this shape, (C, H, W).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a shape that [`RandomNetwork::accepts`] does not.
    pub fn new(shape: (usize, usize, usize)) -> Result<Self> {
        if !Self::accepts(shape) {
            return Err(Error::Unsupported { shape });
        }
        let (image, init) = (FeatureShape::from(shape), WeightInit::FanIn);
        let build = |vars: VarBuilder| Network::new(image, &layers(image), init, &vars);
        let (_, parameters) = Parameters::init(SEED, &Device::Cpu, build)?;
        // From +-1 / sqrt(fan in).
        let scaled = |(name, weight): (String, Tensor)| Ok((name, (weight * 6f64.sqrt())?));
        let weights: HashMap<String, Tensor> =
            parameters.tensors().into_iter().map(scaled).collect::<Result<_>>()?;
        let vars = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
        Ok(Self(build(vars)?))
    }

    /// Returns whether images of this shape, (C, H, W), are supported: 1 to 4 channels, sides of 8 to
    /// 256 pixels.
    pub fn accepts((channels, height, width): (usize, usize, usize)) -> bool {
        CHANNELS.contains(&channels) && SIDES.contains(&height) && SIDES.contains(&width)
    }

    /// Computes the features of images.
    ///
    /// # Shapes
    /// `images`: (N, C, H, W) of the network's shape, any N; result: N rows of [`RANDOM_FEATURES`].
    /// # Range
    /// `images`: [-1, 1].
    /// # Errors
    /// Images of another shape or type; NaN or infinite values.
    pub fn features(&self, images: &Tensor) -> Result<Features> {
        let mut values = Vec::new();
        for first in (0..images.dim(0)?).step_by(CHUNK) {
            let chunk = images.narrow(0, first, CHUNK.min(images.dim(0)? - first))?;
            values.extend(self.0.forward(&chunk, Mode::Eval)?.flatten_all()?.to_vec1::<f32>()?);
        }
        Features::new(values, RANDOM_FEATURES)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature_stats::FeatureStats;
    use crate::frechet::frechet_distance;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Channels, height and width.
    type Shape = (usize, usize, usize);

    /// A changed copy of an image, by a strength from 0, unchanged, to 1.
    type Distortion = fn(&[f32], Shape, f32, &mut ChaCha8Rng) -> Vec<f32>;

    /// Images of eight discs each, with soft edges, on a plain ground.
    fn discs(count: usize, (channels, height, width): Shape, seed: u64) -> Vec<Vec<f32>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut disc = |_| {
            let colour: Vec<f32> = (0..channels).map(|_| rng.random_range(-1.0..1.0)).collect();
            let side = height.min(width) as f32;
            let [y, x] = [height, width].map(|side| rng.random_range(0.0..side as f32));
            (colour, y, x, rng.random_range(0.05 * side..0.3 * side))
        };
        let mut image = |_| {
            let discs: Vec<_> = (0..8).map(&mut disc).collect();
            let value = |i: usize| {
                let (channel, row, column) =
                    (i / (height * width), (i / width % height) as f32, (i % width) as f32);
                discs.iter().fold(0.9, |ground, (colour, y, x, radius)| {
                    let inside = (radius - (row - y).hypot(column - x) + 0.5).clamp(0.0, 1.0);
                    ground + (colour[channel] - ground) * inside
                })
            };
            (0..channels * height * width).map(value).collect()
        };
        (0..count).map(&mut image).collect()
    }

    fn noise(image: &[f32], _: Shape, strength: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let noisy = |value| value + strength * rng.random_range(-1.0f32..1.0);
        image.iter().map(noisy).map(|value: f32| value.clamp(-1.0, 1.0)).collect()
    }

    /// Means of squares of up to 9x9 pixels.
    fn blur(
        image: &[f32],
        (_, height, width): Shape,
        strength: f32,
        _: &mut ChaCha8Rng,
    ) -> Vec<f32> {
        let reach = (4.0 * strength).round() as usize;
        let mean = |i: usize| {
            let (plane, row, column) = (i / (height * width), i / width % height, i % width);
            let rows = row.saturating_sub(reach)..(row + reach + 1).min(height);
            let columns = column.saturating_sub(reach)..(column + reach + 1).min(width);
            let count = rows.len() * columns.len();
            let sum: f32 = rows
                .flat_map(|r| columns.clone().map(move |c| (r, c)))
                .map(|(r, c)| image[(plane * height + r) * width + c])
                .sum();
            sum / count as f32
        };
        (0..image.len()).map(mean).collect()
    }

    /// A black square of up to half of the image's side.
    fn hole(image: &[f32], shape: Shape, strength: f32, rng: &mut ChaCha8Rng) -> Vec<f32> {
        let (_, height, width) = shape;
        let side = (strength * height.min(width) as f32 / 2.0).round() as usize;
        let top = rng.random_range(0..=height - side);
        let left = rng.random_range(0..=width - side);
        let mut image = image.to_vec();
        for (i, value) in image.iter_mut().enumerate() {
            let (row, column) = (i / width % height, i % width);
            if (top..top + side).contains(&row) && (left..left + side).contains(&column) {
                *value = -1.0;
            }
        }
        image
    }

    /// Lighter and darker pixels in turn, as badly chosen kernels of transposed convolutions make them.
    fn checkerboard(image: &[f32], shape: Shape, strength: f32, _: &mut ChaCha8Rng) -> Vec<f32> {
        let (_, height, width) = shape;
        let sign =
            |i: usize| if (i / width % height + i % width).is_multiple_of(2) { 0.4 } else { -0.4 };
        image.iter().enumerate().map(|(i, value)| value + strength * sign(i)).collect()
    }

    fn stats(network: &RandomNetwork, images: &[Vec<f32>], shape: Shape) -> FeatureStats {
        let (channels, height, width) = shape;
        let dims = (images.len(), channels, height, width);
        let images = Tensor::from_vec(images.concat(), dims, &Device::Cpu).expect("images");
        let features = network.features(&images).expect("features");
        FeatureStats::from_features(&features).expect("statistics")
    }

    /// The distance grows with the strength of every distortion, and any is farther than other real
    /// images.
    #[test]
    fn distances_grow_with_distortions() {
        let all: [(&str, Distortion); 4] =
            [("noise", noise), ("blur", blur), ("hole", hole), ("checkerboard", checkerboard)];
        for shape in [(1, 28, 28), (4, 40, 24)] {
            let network = RandomNetwork::new(shape).expect("a network");
            let real = stats(&network, &discs(1000, shape, 1), shape);
            let others = discs(1000, shape, 2);
            let distance = |strength: f32, distort: Distortion| {
                let mut rng = ChaCha8Rng::seed_from_u64(3);
                let distorted: Vec<Vec<f32>> =
                    others.iter().map(|image| distort(image, shape, strength, &mut rng)).collect();
                frechet_distance(&real, &stats(&network, &distorted, shape)).expect("a distance")
            };
            let undistorted = distance(0.0, noise);
            for (name, distort) in all {
                let [light, middle, heavy] =
                    [0.25, 0.5, 1.0].map(|strength| distance(strength, distort));
                let distances = [undistorted, light, middle, heavy];
                let text = format!("{name} of {shape:?}: {distances:.4?}");
                assert!(distances.is_sorted_by(|a, b| 1.02 * a < *b), "{text}");
                assert!(heavy > 3.0 * undistorted, "{text}");
            }
        }
    }

    /// The features keep the images' size at every depth.
    #[test]
    fn features_neither_vanish_nor_explode() {
        for shape in [(1, 8, 8), (3, 16, 16), (1, 28, 28), (3, 64, 64), (3, 33, 20), (4, 128, 128)]
        {
            let network = RandomNetwork::new(shape).expect("a network");
            let images = discs(60, shape, 1);
            let stats = stats(&network, &images, shape);
            let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
            let size = (square(stats.mean()) + stats.total_variance()) / RANDOM_FEATURES as f64;
            assert!((0.1..3.0).contains(&size), "{shape:?}: {size}");
            assert!(stats.total_variance() > 0.01 * size * 64.0, "{shape:?}");
        }
    }

    #[test]
    fn features_depend_on_images_alone() {
        let shape = (3, 32, 32);
        let images =
            Tensor::from_vec(discs(130, shape, 1).concat(), (130, 3, 32, 32), &Device::Cpu);
        let images = images.expect("images");
        let features = |images: &Tensor| {
            RandomNetwork::new(shape).expect("a network").features(images).expect("features")
        };
        let all = features(&images);
        assert_eq!((all.len(), all.dim()), (130, RANDOM_FEATURES));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        assert_eq!(pool.install(|| features(&images)), all);
        let few = features(&images.narrow(0, 97, 8).expect("images"));
        assert_eq!(few, all.narrow(97, 8));
    }

    /// Other weights or layers would make figures that do not compare with earlier ones.
    #[test]
    fn the_weights_stay_as_they_are() {
        let shape = (1, 16, 16);
        let ramp: Vec<f32> = (0..256).map(|i| i as f32 / 127.5 - 1.0).collect();
        let ramp = Tensor::from_vec(ramp, (1, 1, 16, 16), &Device::Cpu).expect("an image");
        let features = RandomNetwork::new(shape).expect("a network").features(&ramp);
        let features = features.expect("features");
        let want = [-0.216_015f32, -0.816_570, 0.475_063, -0.762_098];
        for (got, want) in features.values().iter().zip(want) {
            assert!((got - want).abs() < 1e-3, "{:?}", &features.values()[..4]);
        }
    }

    #[test]
    fn other_shapes_are_errors() {
        for shape in [(3, 7, 28), (0, 28, 28), (5, 28, 28), (1, 28, 257)] {
            assert!(!RandomNetwork::accepts(shape));
            let text = RandomNetwork::new(shape).expect_err("a shape").to_string();
            assert!(text.contains("sides of 8 to 256 pixels"), "{text}");
        }
        let network = RandomNetwork::new((1, 28, 28)).expect("a network");
        let wide = Tensor::zeros((1, 3, 28, 28), DType::F32, &Device::Cpu).expect("an image");
        assert!(network.features(&wide).is_err());
    }
}

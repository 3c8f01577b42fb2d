//! ONNX models against the generators that they were written from.
#![allow(clippy::unwrap_used, reason = "tests")]

mod errors;
mod python;
mod tract;

use candle_core::{Device, Tensor};
use gan_models::rand::SeedableRng;
use gan_models::{
    Activation, Generator, GeneratorConfig, Layer, Mode, Momentum, Parameters, UpsampleFilter,
    WeightInit,
};
use gan_training::Recipe;
use rand_chacha::ChaCha8Rng;

/// The largest difference of a value of an image.
const TOLERANCE: f32 = 1e-4;

/// A generator to export, and what it is.
struct Case {
    name: String,
    generator: Generator,
    parameters: Parameters,
}

impl Case {
    /// With weights that keep the size of features.
    fn new(name: String, mut config: GeneratorConfig) -> Self {
        config.init = WeightInit::FanInNormal(1.0);
        let (generator, parameters) =
            Parameters::init(3, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap();
        // Biases, normalisation and running statistics other than the initial ones.
        for (at, (_, var)) in parameters.iter().enumerate().filter(|(_, (_, var))| var.rank() == 1)
        {
            let shift: Vec<f32> =
                (0..var.elem_count()).map(|i| 0.02 + ((i * 7 + at) % 11) as f32 / 40.0).collect();
            let shift = Tensor::from_vec(shift, var.dims(), &Device::Cpu).unwrap();
            var.set(&(var.as_detached_tensor() + shift).unwrap()).unwrap();
        }
        Self { name, generator, parameters }
    }

    fn onnx(&self) -> Vec<u8> {
        gan_onnx::to_onnx(&self.generator, &self.parameters).unwrap()
    }

    /// Latents, labels and the generator's own images of them.
    fn images(&self, batch: usize) -> (Tensor, Vec<u32>, Tensor) {
        // Each product keeps all bits, as in the runtimes.
        gan_kernels::set_precision(gan_kernels::Precision::Highest);
        let config = self.generator.config();
        let z = self.generator.sample_latents(batch, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let classes = config.classes.len().max(1);
        let labels: Vec<u32> = (0..batch).map(|i| ((i * 2 + 1) % classes) as u32).collect();
        let input = self.generator.input(&z, &labels).unwrap();
        let images = self.generator.forward(&input, Mode::Eval).unwrap();
        (z, labels, images)
    }

    /// Compares the images of a runtime, in the order (N, C, H, W), with the generator's.
    #[track_caller]
    fn check(&self, got: &[f32], want: &Tensor) -> f32 {
        let want: Vec<f32> = want.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(got.len(), want.len(), "{}", self.name);
        let varied = want.iter().any(|value| (value - want[0]).abs() > 0.02);
        assert!(varied, "{}: all values are alike", self.name);
        let differences = got.iter().zip(&want).map(|(got, want)| (got - want).abs());
        let worst = differences.fold(0.0, f32::max);
        assert!(worst <= TOLERANCE, "{}: {worst}", self.name);
        worst
    }
}

/// Every built-in recipe, with and without classes, every kind of layer, and trained weights.
fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("chain".into(), chain()),
        Case::new("residual".into(), residual()),
        trained("digits"),
        trained("fives"),
    ];
    for (name, _) in Recipe::list() {
        let image = match name {
            "icons" => (3, 64, 64),
            "sprites" => (3, 16, 16),
            _ => (1, 28, 28),
        };
        let recipe = Recipe::built_in(name).unwrap().unwrap();
        for conditional in [false, true] {
            let classes = ["a", "b", "c"].map(String::from).to_vec();
            let config = recipe.network.generator(image.into(), classes, conditional).unwrap();
            cases.push(Case::new(format!("{name}, conditional {conditional}"), config));
        }
    }
    cases
}

/// The weights that come with the project.
fn trained(name: &str) -> Case {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/weights");
    let (generator, parameters) = Generator::load_trainable(root.join(name), &Device::Cpu).unwrap();
    Case { name: name.into(), generator, parameters }
}

fn conv(channels: usize, kernel: usize, stride: usize) -> Layer {
    Layer::Conv { channels, kernel, stride, bias: true, groups: 1 }
}

fn transposed(channels: usize, kernel: usize, stride: usize) -> Layer {
    Layer::ConvTranspose { channels, kernel, stride, bias: true, groups: 1 }
}

/// The layer with groups.
fn grouped(mut layer: Layer, of: usize) -> Layer {
    if let Layer::Conv { groups, .. } | Layer::ConvTranspose { groups, .. } = &mut layer {
        *groups = of;
    }
    layer
}

fn batch_norm(per_channel: bool) -> Layer {
    Layer::BatchNorm { epsilon: 1e-3, momentum: Momentum(0.2), per_channel }
}

fn leaky() -> Layer {
    Layer::Activation(Activation::LeakyRelu(0.2))
}

fn conditional(image: (usize, usize, usize), layers: Vec<Layer>) -> GeneratorConfig {
    let mut config = GeneratorConfig::new(6, image.into(), layers, WeightInit::FanInNormal(1.0));
    config.classes = ["a", "b", "c", "d"].map(String::from).to_vec();
    config.conditional = true;
    config
}

/// Dense layers, convolutions of all paddings, all normalisations and activations, in a chain.
fn chain() -> GeneratorConfig {
    let layers = vec![
        Layer::Project { to: (3, 5, 4).into(), bias: true },
        leaky(),
        // Odd padding, a stride above the kernel, and a kernel below the stride.
        conv(4, 4, 1),
        batch_norm(false),
        conv(6, 2, 3),
        Layer::Dense { units: 8, bias: true },
        batch_norm(false),
        Layer::Activation(Activation::Relu),
        // A value of batch normalisation for each output, in the order (H, W, C).
        Layer::Project { to: (4, 3, 5).into(), bias: false },
        batch_norm(false),
        leaky(),
        // Here one for each channel.
        Layer::Dense { units: 9, bias: false },
        Layer::Project { to: (4, 3, 5).into(), bias: false },
        batch_norm(true),
        transposed(5, 4, 3),
        Layer::Activation(Activation::Sigmoid),
        Layer::Dropout(0.2),
        Layer::Resize(11, 13),
        Layer::AvgPool(3),
        batch_norm(true),
        grouped(conv(10, 3, 1), 5),
        grouped(transposed(4, 1, 2), 2),
        transposed(4, 5, 1),
        Layer::GroupNorm { groups: 2, epsilon: 1e-3 },
        transposed(2, 3, 2),
        Layer::Activation(Activation::Tanh),
        Layer::Rescale { scale: 0.5, shift: 0.25 },
    ];
    conditional((2, 16, 20), layers)
}

/// Residual blocks, one inside the other, all that resamples, shuffles, and statistics of the batch.
fn residual() -> GeneratorConfig {
    let upsample = |filter| Layer::Upsample { factor: 2, filter };
    let inner = Layer::Residual {
        body: vec![conv(6, 3, 1), leaky(), batch_norm(false)],
        shortcut: vec![],
        zero_init: false,
    };
    let layers = vec![
        Layer::Dense { units: 12, bias: true },
        Layer::Residual {
            body: vec![leaky(), Layer::Dense { units: 12, bias: true }],
            shortcut: vec![],
            zero_init: false,
        },
        Layer::Dense { units: 8, bias: true },
        Layer::Basis(2, 3),
        Layer::Residual {
            body: vec![leaky(), upsample(UpsampleFilter::Nearest), conv(6, 3, 1)],
            shortcut: vec![conv(6, 1, 1), upsample(UpsampleFilter::Bilinear)],
            zero_init: false,
        },
        Layer::Residual {
            body: vec![inner, batch_norm(false), conv(8, 3, 1), Layer::MinibatchStd],
            shortcut: vec![conv(9, 1, 1)],
            zero_init: false,
        },
        Layer::PixelUnshuffle(2),
        Layer::PixelShuffle(2),
        upsample(UpsampleFilter::Bilinear),
        upsample(UpsampleFilter::Nearest),
        Layer::Downsample(2),
        conv(8, 3, 1),
        Layer::PixelShuffle(2),
        Layer::Activation(Activation::Tanh),
    ];
    conditional((2, 16, 24), layers)
}

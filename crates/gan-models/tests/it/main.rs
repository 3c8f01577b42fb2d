//! Networks against candle's own operators, and weights against damage.
#![allow(clippy::unwrap_used, reason = "tests")]

mod backends;
mod candle;
mod conditional;
mod groups;
mod inversion;
mod pytorch;
mod residual;
mod weights;

use candle_core::{Device, Tensor};
use gan_models::{
    Activation, Architecture, ConvStack, Custom, Dcgan, DenseStack, Discriminator, FeatureShape,
    Generator, LatentDistribution, Layer, Mlp, Momentum, Norm, Parameters, UpsampleFilter,
    WeightInit,
};

fn norm() -> Norm {
    Norm::Batch { epsilon: 1e-3, momentum: Momentum(0.1) }
}

/// A small convolutional pair with normalisation and dropout.
fn dcgan(kernel: usize) -> Architecture {
    let stack = |channels: &[usize], norm, dropout| {
        let activation = Activation::LeakyRelu(0.3);
        let mut stack = ConvStack::new(channels.to_vec(), vec![1, 2, 2], kernel, activation);
        (stack.norm, stack.dropout) = (norm, dropout);
        stack
    };
    let generator = stack(&[7, 6, 4], norm(), 0.0);
    let discriminator = stack(&[4, 6, 9], Norm::None, 0.3);
    Architecture::Dcgan(Dcgan::new(5, WeightInit::Normal(0.2), generator, discriminator))
}

fn mlp() -> Architecture {
    let mut generator = DenseStack::new(vec![9, 12], Activation::LeakyRelu(0.2));
    generator.norm = norm();
    let mut discriminator = DenseStack::new(vec![12, 9], Activation::Relu);
    discriminator.dropout = vec![0.3];
    Architecture::Mlp(Mlp::new(6, WeightInit::Glorot, generator, discriminator))
}

/// Every layer, fused with the one before it and on its own.
fn custom() -> Architecture {
    let batch_norm =
        |per_channel| Layer::BatchNorm { epsilon: 1e-3, momentum: Momentum(0.2), per_channel };
    let leaky = Layer::Activation(Activation::LeakyRelu(0.2));
    let generator = vec![
        Layer::Project { to: (3, 5, 4).into(), bias: false },
        batch_norm(true),
        leaky.clone(),
        batch_norm(false),
        Layer::Dropout(0.2),
        leaky.clone(),
        Layer::Resize(7, 9),
        leaky.clone(),
        Layer::Conv { channels: 4, kernel: 3, stride: 1, bias: true, groups: 1 },
        Layer::Activation(Activation::Sigmoid),
        Layer::Resize(4, 6),
        Layer::ConvTranspose { channels: 2, kernel: 3, stride: 2, bias: true, groups: 1 },
        Layer::Activation(Activation::Tanh),
        Layer::Rescale { scale: 0.5, shift: 0.25 },
    ];
    let discriminator = vec![
        Layer::Rescale { scale: 0.5, shift: 0.5 },
        Layer::Conv { channels: 4, kernel: 3, stride: 1, bias: true, groups: 1 },
        leaky.clone(),
        Layer::AvgPool(2),
        Layer::Conv { channels: 6, kernel: 3, stride: 1, bias: true, groups: 1 },
        Layer::AvgPool(3),
        Layer::Dense { units: 7, bias: true },
        leaky,
    ];
    let mut custom = Custom::new(5, WeightInit::TruncatedNormal(0.3), generator, discriminator);
    custom.latent_distribution = LatentDistribution::TruncatedNormal;
    Architecture::Custom(custom)
}

/// Residual blocks, one inside the other, and what resamples between them; for images of 2 x 8 x 12.
fn residual() -> Architecture {
    let conv =
        |channels, kernel, bias| Layer::Conv { channels, kernel, stride: 1, bias, groups: 1 };
    let norm = Layer::BatchNorm { epsilon: 1e-3, momentum: Momentum(0.2), per_channel: false };
    let leaky = Layer::Activation(Activation::LeakyRelu(0.2));
    let group_norm = |groups| Layer::GroupNorm { groups, epsilon: 1e-3 };
    let upsample = |filter| Layer::Upsample { factor: 2, filter };
    let inner = Layer::Residual {
        body: vec![conv(6, 3, true), leaky.clone()],
        shortcut: vec![],
        zero_init: true,
    };
    let generator = vec![
        Layer::Project { to: (8, 2, 3).into(), bias: true },
        Layer::Residual {
            body: vec![
                leaky.clone(),
                upsample(UpsampleFilter::Nearest),
                conv(6, 3, false),
                norm.clone(),
            ],
            shortcut: vec![conv(6, 1, true), upsample(UpsampleFilter::Bilinear)],
            zero_init: false,
        },
        Layer::Residual {
            body: vec![inner, group_norm(3), leaky.clone(), conv(8, 3, true), group_norm(1)],
            shortcut: vec![conv(8, 1, false)],
            zero_init: false,
        },
        Layer::PixelShuffle(2),
        Layer::Activation(Activation::Tanh),
    ];
    let discriminator = vec![
        Layer::PixelUnshuffle(2),
        Layer::Residual {
            body: vec![conv(8, 3, false), norm, group_norm(8), leaky.clone(), Layer::Downsample(2)],
            shortcut: vec![Layer::AvgPool(2)],
            zero_init: false,
        },
        leaky,
        Layer::MinibatchStd,
    ];
    let init = WeightInit::FanInNormal(1.0);
    Architecture::Custom(Custom::new(5, init, generator, discriminator))
}

/// The blocks of R3GAN (Huang et al. 2024, "The GAN is dead; long live the GAN!"), beside convolutions
/// of groups with strides; for images of 2 x 8 x 12.
fn r3gan() -> Architecture {
    let conv =
        |channels, kernel, groups, bias| Layer::Conv { channels, kernel, stride: 1, bias, groups };
    let leaky = Layer::Activation(Activation::LeakyRelu(0.2));
    let block = |channels: usize, groups| Layer::Residual {
        body: vec![
            conv(2 * channels, 1, 1, true),
            leaky.clone(),
            conv(2 * channels, 3, groups, true),
            leaky.clone(),
            conv(channels, 1, 1, false),
        ],
        shortcut: vec![],
        zero_init: false,
    };
    let generator = vec![
        Layer::Dense { units: 8, bias: false },
        Layer::Basis(4, 6),
        block(8, 4),
        Layer::ConvTranspose { channels: 6, kernel: 4, stride: 2, bias: true, groups: 2 },
        block(6, 12),
        conv(2, 1, 1, false),
        Layer::Rescale { scale: 0.1, shift: 0.0 },
    ];
    let discriminator = vec![
        Layer::Conv { channels: 8, kernel: 3, stride: 2, bias: true, groups: 2 },
        leaky.clone(),
        block(8, 2),
        Layer::Conv { channels: 16, kernel: 4, stride: 3, bias: false, groups: 8 },
    ];
    let init = WeightInit::FanInNormal(1.0);
    Architecture::Custom(Custom::new(5, init, generator, discriminator))
}

fn generator(
    architecture: &Architecture,
    image: FeatureShape,
    seed: u64,
) -> (Generator, Parameters) {
    let config = architecture.generator(image, vec![], false).unwrap();
    Parameters::init(seed, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap()
}

fn discriminator(
    architecture: &Architecture,
    image: FeatureShape,
    seed: u64,
) -> (Discriminator, Parameters) {
    let config = architecture.discriminator(image, None).unwrap();
    Parameters::init(seed, &Device::Cpu, |vars| Discriminator::new(&config, vars)).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(got: &Tensor, want: &Tensor, tolerance: f32, what: &str) {
    assert_eq!(got.dims(), want.dims(), "{what}");
    for (i, (got, want)) in values(got).iter().zip(values(want)).enumerate() {
        let bound = tolerance * (1.0 + want.abs());
        assert!((got - want).abs() <= bound, "{what}, element {i}: {got}, not {want}");
    }
}

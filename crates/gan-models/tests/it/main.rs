//! Networks against candle's own operators, and weights against damage.
#![allow(clippy::unwrap_used, reason = "tests")]

mod backends;
mod candle;
mod conditional;
mod pytorch;
mod weights;

use candle_core::{Device, Tensor};
use gan_models::{
    Activation, Architecture, ConvStack, Custom, Dcgan, DenseStack, Discriminator, FeatureShape,
    Generator, LatentDistribution, Layer, Mlp, Momentum, Norm, Parameters, WeightInit,
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
        Layer::Conv { channels: 4, kernel: 3, stride: 1, bias: true },
        Layer::Activation(Activation::Sigmoid),
        Layer::Resize(4, 6),
        Layer::ConvTranspose { channels: 2, kernel: 3, stride: 2, bias: true },
        Layer::Activation(Activation::Tanh),
        Layer::Rescale { scale: 0.5, shift: 0.25 },
    ];
    let discriminator = vec![
        Layer::Rescale { scale: 0.5, shift: 0.5 },
        Layer::Conv { channels: 4, kernel: 3, stride: 1, bias: true },
        leaky.clone(),
        Layer::AvgPool(2),
        Layer::Conv { channels: 6, kernel: 3, stride: 1, bias: true },
        Layer::AvgPool(3),
        Layer::Dense { units: 7, bias: true },
        leaky,
    ];
    let mut custom = Custom::new(5, WeightInit::TruncatedNormal(0.3), generator, discriminator);
    custom.latent_distribution = LatentDistribution::TruncatedNormal;
    Architecture::Custom(custom)
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

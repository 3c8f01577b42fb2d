//! Networks against candle's own operators, and weights against damage.
#![allow(clippy::unwrap_used, reason = "tests")]

mod backends;
mod conditional;
mod training;
mod weights;

use candle_core::{Device, Tensor};
use gan_models::{
    Activation, ConvStack, Dcgan, DenseStack, Discriminator, Family, Generator, Init, Layer,
    LayerLists, Mlp, Momentum, Noise, Norm, Parameters, Shape,
};

fn norm() -> Norm {
    Norm::Batch { epsilon: 1e-3, momentum: Momentum(0.1) }
}

/// A small convolutional pair with everything in it.
fn dcgan(kernel: usize) -> Family {
    let stack = |channels: &[usize], norm, dropout| ConvStack {
        channels: channels.to_vec(),
        strides: vec![1, 2, 2],
        kernel,
        norm,
        activation: Activation::LeakyRelu(0.3),
        dropout,
    };
    Family::Dcgan(Dcgan {
        latent_dim: 5,
        init: Init::Normal(0.2),
        generator: stack(&[7, 6, 4], norm(), 0.0),
        discriminator: stack(&[4, 6, 9], Norm::None, 0.3),
    })
}

fn mlp() -> Family {
    Family::Mlp(Mlp {
        latent_dim: 6,
        init: Init::Glorot,
        generator: DenseStack {
            units: vec![9, 12],
            activation: Activation::LeakyRelu(0.2),
            norm: norm(),
            dropout: vec![],
        },
        discriminator: DenseStack {
            units: vec![12, 9],
            activation: Activation::Relu,
            norm: Norm::None,
            dropout: vec![0.3],
        },
    })
}

/// Every layer, fused with the one before it and on its own.
fn lists() -> Family {
    let batch_norm =
        |per_channel| Layer::BatchNorm { epsilon: 1e-3, momentum: Momentum(0.2), per_channel };
    let leaky = Layer::Activation(Activation::LeakyRelu(0.2));
    Family::Layers(LayerLists {
        latent_dim: 5,
        noise: Noise::TruncatedNormal,
        init: Init::TruncatedNormal(0.3),
        generator: vec![
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
        ],
        discriminator: vec![
            Layer::Rescale { scale: 0.5, shift: 0.5 },
            Layer::Conv { channels: 4, kernel: 3, stride: 1, bias: true },
            leaky.clone(),
            Layer::AvgPool(2),
            Layer::Conv { channels: 6, kernel: 3, stride: 1, bias: true },
            Layer::AvgPool(3),
            Layer::Dense { units: 7, bias: true },
            leaky,
        ],
    })
}

fn generator(family: &Family, image: Shape, seed: u64) -> (Generator, Parameters) {
    let config = family.generator(image, vec![], false).unwrap();
    Parameters::fresh(seed, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap()
}

fn discriminator(family: &Family, image: Shape, seed: u64) -> (Discriminator, Parameters) {
    let config = family.discriminator(image, None).unwrap();
    Parameters::fresh(seed, &Device::Cpu, |vars| Discriminator::new(&config, vars)).unwrap()
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

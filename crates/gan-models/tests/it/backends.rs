//! The kernels and candle's own operators compute the same numbers.

use crate::{assert_close, custom, dcgan, discriminator, generator, mlp, r3gan, residual, values};
use candle_core::{Device, Tensor};
use gan_models::{
    Activation, Architecture, Backend, Custom, FeatureShape, GradMask, Layer, Mode, Momentum,
    Network, Parameters, WeightInit,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Batch normalisation and dropout in both networks.
fn with_everything() -> Architecture {
    let Architecture::Dcgan(mut dcgan) = dcgan(4) else { unreachable!("a dcgan") };
    dcgan.generator.dropout = 0.2;
    dcgan.discriminator.norm = dcgan.generator.norm;
    Architecture::Dcgan(dcgan)
}

/// Odd sizes, "same" padding that is larger on one side, strides beyond 2, and every activation,
/// fused and on its own.
fn odd() -> Architecture {
    let batch_norm =
        || Layer::BatchNorm { epsilon: 1e-3, momentum: Momentum(0.2), per_channel: false };
    let generator = vec![
        Layer::Project { to: (3, 7, 9).into(), bias: true },
        Layer::Activation(Activation::Tanh),
        Layer::Dropout(0.2),
        Layer::Activation(Activation::Relu),
        Layer::Conv { channels: 4, kernel: 4, stride: 3, bias: false, groups: 1 },
        batch_norm(),
        Layer::Activation(Activation::LeakyRelu(1.5)),
        Layer::ConvTranspose { channels: 3, kernel: 2, stride: 3, bias: false, groups: 1 },
        batch_norm(),
        Layer::Resize(7, 9),
        Layer::ConvTranspose { channels: 2, kernel: 4, stride: 1, bias: true, groups: 1 },
        Layer::Activation(Activation::Tanh),
    ];
    let discriminator = vec![
        Layer::Conv { channels: 4, kernel: 4, stride: 2, bias: true, groups: 1 },
        Layer::Activation(Activation::Sigmoid),
        Layer::Dropout(0.3),
        batch_norm(),
        Layer::Activation(Activation::Tanh),
        Layer::Conv { channels: 5, kernel: 6, stride: 1, bias: true, groups: 1 },
        Layer::Activation(Activation::Relu),
        batch_norm(),
        Layer::Activation(Activation::Sigmoid),
        Layer::Dense { units: 1, bias: true },
    ];
    Architecture::Custom(Custom::new(5, WeightInit::Normal(0.3), generator, discriminator))
}

fn architectures() -> Vec<(&'static str, Architecture, FeatureShape)> {
    vec![
        ("dcgan, kernel 5", dcgan(5), (1, 12, 8).into()),
        ("dcgan, kernel 4", dcgan(4), (3, 8, 8).into()),
        ("dcgan, batch norm and dropout", with_everything(), (1, 8, 8).into()),
        ("dcgan, kernel 1", dcgan(1), (2, 8, 4).into()),
        ("mlp", mlp(), (1, 6, 5).into()),
        ("mlp in colour", mlp(), (3, 4, 5).into()),
        ("custom", custom(), (2, 8, 12).into()),
        ("odd", odd(), (2, 7, 9).into()),
        ("residual", residual(), (2, 8, 12).into()),
        ("r3gan", r3gan(), (2, 8, 12).into()),
    ]
}

/// Output and gradients of all parameters and of the input, by autograd.
fn run(
    network: &Network,
    parameters: &Parameters,
    input: &Tensor,
    train: bool,
) -> (Tensor, Vec<(String, Tensor)>) {
    let input = candle_core::Var::from_tensor(input).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mode = if train { Mode::Train(&mut rng) } else { Mode::Eval };
    let output = network.forward(&input, mode).unwrap();
    let gradients =
        (&output * loss_weights(&output)).unwrap().sum_all().unwrap().backward().unwrap();
    let mut all = vec![("input".to_string(), gradients.get(&input).unwrap().clone())];
    for (name, var) in parameters.iter() {
        if let Some(gradient) = gradients.get(var) {
            all.push((name.to_string(), gradient.clone()));
        }
    }
    (output, all)
}

fn compare(name: &str, network: &Network, parameters: &Parameters, input: &Tensor, train: bool) {
    // Away from biases of exactly 0, where a leaky ReLU's two sides are equally right.
    for (_, var) in parameters.iter() {
        let shift: Vec<f32> = (0..var.elem_count()).map(|i| 0.01 + (i % 7) as f32 / 50.0).collect();
        let shift = Tensor::from_vec(shift, var.dims(), &Device::Cpu).unwrap();
        var.set(&(var.as_detached_tensor() + shift).unwrap()).unwrap();
    }
    // Training passes update running statistics: each backend starts with the same ones.
    let snapshot = parameters.deep_clone().unwrap();
    let fast = run(&network.clone().with_backend(Backend::Kernels), parameters, input, train);
    let after_fast = parameters.deep_clone().unwrap();
    for (name, var) in parameters.iter() {
        var.set(snapshot.get(name).unwrap()).unwrap();
    }
    let slow = run(&network.clone().with_backend(Backend::Candle), parameters, input, train);
    assert_close(&fast.0, &slow.0, 1e-5, &format!("{name}: output"));
    assert_eq!(fast.1.len(), slow.1.len(), "{name}: number of gradients");
    let trainable = parameters.iter().filter(|(name, _)| !name.contains("running")).count();
    assert_eq!(fast.1.len(), trainable + 1, "{name}: every parameter has a gradient");
    for ((parameter, fast), (_, slow)) in fast.1.iter().zip(&slow.1) {
        assert_close(fast, slow, 2e-4, &format!("{name}: gradient of {parameter}"));
    }
    for (parameter, var) in parameters.iter() {
        assert_close(
            after_fast.get(parameter).unwrap(),
            var,
            1e-5,
            &format!("{name}: {parameter}"),
        );
    }
    if train {
        for backend in [Backend::Kernels, Backend::Candle] {
            compare_tape(name, &network.clone().with_backend(backend), input, &slow);
        }
    }
    if train && network.uses_batch_statistics() {
        let mut means = parameters.iter().filter(|(name, _)| name.ends_with("running_mean"));
        let (mean, _) = means.next().unwrap();
        assert_ne!(values(after_fast.get(mean).unwrap()), values(snapshot.get(mean).unwrap()));
    }
}

/// The tape computes the gradients of autograd.
fn compare_tape(
    name: &str,
    network: &Network,
    input: &Tensor,
    want: &(Tensor, Vec<(String, Tensor)>),
) {
    let (output, tape) = network.forward_train(input, &mut ChaCha8Rng::seed_from_u64(3)).unwrap();
    assert_close(&output, &want.0, 1e-5, &format!("{name}: training pass"));
    let both = GradMask { input: true, parameters: true };
    let (grad_input, gradients) = tape.backward(&loss_weights(&output), both).unwrap();
    let grad_input = grad_input.unwrap();
    assert_eq!(gradients.len() + 1, want.1.len(), "{name}: number of gradients");
    for (parameter, want) in &want.1 {
        let got = if parameter == "input" { &grad_input } else { &gradients[parameter] };
        assert_close(got, want, 2e-4, &format!("{name}: tape's gradient of {parameter}"));
    }
    let only = |input, parameters| {
        tape.backward(&loss_weights(&output), GradMask { input, parameters }).unwrap()
    };
    assert!(only(false, true).0.is_none());
    let (input, none) = only(true, false);
    assert!(none.is_empty());
    assert_eq!(values(&input.unwrap()), values(&grad_input));
}

/// A loss with a different weight for each output value has these as its gradient.
fn loss_weights(output: &Tensor) -> Tensor {
    let weights: Vec<f32> =
        (0..output.elem_count()).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
    Tensor::from_vec(weights, output.dims(), &Device::Cpu).unwrap()
}

#[test]
fn kernels_agree_with_candle() {
    for (name, architecture, image) in architectures() {
        for train in [true, false] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let (generator, parameters) = generator(&architecture, image, 1);
            let latents =
                generator.sample_latents(7, &mut rng).unwrap().reshape((7, (), 1, 1)).unwrap();
            let what = format!("{name}, generator, train {train}");
            compare(&what, generator.network(), &parameters, &latents, train);
            let (discriminator, parameters) = discriminator(&architecture, image, 2);
            let images = generator.sample(7, &mut rng).unwrap();
            assert_eq!(images.dims(), [7, image.channels, image.height, image.width]);
            let what = format!("{name}, discriminator, train {train}");
            compare(&what, discriminator.network(), &parameters, &images, train);
        }
    }
}

#[test]
fn detached_weights_get_no_gradient() {
    let (discriminator, parameters) = discriminator(&dcgan(4), (1, 8, 8).into(), 2);
    let images =
        candle_core::Var::zeros((3, 1, 8, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
    let logits = discriminator.detached().forward(&images, &[], Mode::Eval).unwrap();
    let gradients = logits.sum_all().unwrap().backward().unwrap();
    assert!(gradients.get(&images).is_some());
    assert!(parameters.iter().all(|(_, var)| gradients.get(var).is_none()));
}

#[test]
fn an_image_generated_alone_is_the_same_as_in_a_batch() {
    let (generator, _) = generator(&dcgan(5), (1, 12, 8).into(), 1);
    let latents = generator.sample_latents(9, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let all = generator.forward(&latents, Mode::Eval).unwrap();
    let one = generator.forward(&latents.narrow(0, 4, 1).unwrap(), Mode::Eval).unwrap();
    assert_eq!(values(&one), values(&all.narrow(0, 4, 1).unwrap()));
}

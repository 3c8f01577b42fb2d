//! PyTorch's order of weights, and generators rebuilt in PyTorch.

use crate::{custom, dcgan, discriminator, generator, mlp, r3gan, values};
use candle_core::{Device, Tensor};
use gan_models::{
    Architecture, FeatureShape, Generator, GeneratorConfig, Layer, Mode, Momentum, Parameters,
    UpsampleFilter, WeightInit, pytorch,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use std::process::Command;

/// Values that differ, from the tensor's own position in its file.
fn numbered(parameters: &Parameters) {
    for (_, var) in parameters.iter() {
        let count = u32::try_from(var.elem_count()).unwrap();
        let numbers = Tensor::arange(0, count, &Device::Cpu).unwrap();
        let numbers = numbers.to_dtype(candle_core::DType::F32).unwrap();
        var.set(&numbers.reshape(var.dims()).unwrap()).unwrap();
    }
}

/// By hand, for the dcgan generator: (2, 2, 5, 7) projects 5 values to 2x2 pixels of 7 channels.
#[test]
fn weights_get_the_order_that_pytorch_has() {
    let (generator, parameters) = generator(&dcgan(3), (1, 8, 8).into(), 1);
    numbered(&parameters);
    let converted = pytorch::to_pytorch(generator.network(), &parameters.tensors()).unwrap();
    // nn.Linear: output (c, y, x) is row c * 4 + y * 2 + x.
    let project = converted["layers.0.weight"].to_vec2::<f32>().unwrap();
    assert_eq!((project.len(), project[0].len()), (28, 5));
    for (c, y, x, input) in [(0, 0, 0, 0), (6, 1, 0, 4), (3, 0, 1, 2)] {
        let here = ((y * 2 + x) * 5 + input) * 7 + c;
        assert_eq!(project[c * 4 + y * 2 + x][input], here as f32);
    }
    // Batch normalisation of the projection's outputs follows them.
    let gamma = converted["layers.1.weight"].to_vec1::<f32>().unwrap();
    assert_eq!(gamma[5 * 4 + 2 + 1], (3 * 7 + 5) as f32);
    // nn.ConvTranspose2d: (in, out, y, x).
    let transposed = &converted["layers.3.weight"];
    assert_eq!(transposed.dims(), [7, 6, 3, 3]);
    let at = transposed.get(4).unwrap().get(2).unwrap().to_vec2::<f32>().unwrap()[1][2];
    assert_eq!(at, (((3 + 2) * 7 + 4) * 6 + 2) as f32);

    let (discriminator, parameters) = discriminator(&dcgan(3), (2, 8, 8).into(), 1);
    numbered(&parameters);
    let converted = pytorch::to_pytorch(discriminator.network(), &parameters.tensors()).unwrap();
    // nn.Conv2d: (out, in, y, x).
    let conv = &converted["layers.0.weight"];
    assert_eq!(conv.dims(), [4, 2, 3, 3]);
    let at = conv.get(3).unwrap().get(1).unwrap().to_vec2::<f32>().unwrap()[2][0];
    assert_eq!(at, ((2 * 3 * 2 + 1) * 4 + 3) as f32);
    // nn.Linear: input (c, y, x) is column c * 4 + y * 2 + x.
    let (name, dense) = converted.iter().find(|(_, tensor)| tensor.dims() == [1, 36]).unwrap();
    let dense = dense.to_vec2::<f32>().unwrap();
    assert_eq!(dense[0][8 * 4 + 2], ((2 * 9) + 8) as f32, "{name}");
}

#[test]
fn weights_come_back_from_pytorch() {
    let shape = FeatureShape::from((2, 8, 12));
    for architecture in [dcgan(4), mlp(), custom(), r3gan()] {
        let (generator, parameters) = generator(&architecture, shape, 1);
        let (discriminator, of_discriminator) = discriminator(&architecture, shape, 1);
        for (network, parameters) in
            [(generator.network(), parameters), (discriminator.network(), of_discriminator)]
        {
            numbered(&parameters);
            let there = pytorch::to_pytorch(network, &parameters.tensors()).unwrap();
            assert_eq!(there.len(), parameters.iter().count());
            let back = pytorch::from_pytorch(network, &there).unwrap();
            for (name, var) in parameters.iter() {
                assert_eq!(back[name].dims(), var.dims(), "{name}");
                assert_eq!(values(&back[name]), values(var), "{name}");
            }
        }
    }
}

#[test]
fn tensors_of_another_network_are_named() {
    let (generator, parameters) = generator(&dcgan(3), (1, 8, 8).into(), 1);
    let mut tensors = parameters.tensors();
    let there = pytorch::to_pytorch(generator.network(), &tensors).unwrap();
    let error = pytorch::to_pytorch(generator.network(), &there).unwrap_err().to_string();
    assert!(error.contains("has shape") && error.contains("must have ["), "{error}");
    tensors.insert("layers.77.weight".to_string(), tensors["layers.1.bias"].clone());
    let error = pytorch::from_pytorch(generator.network(), &tensors);
    assert!(error.is_err());
    tensors.retain(|name, _| name == "layers.77.weight");
    let error = pytorch::from_pytorch(generator.network(), &tensors).unwrap_err().to_string();
    assert_eq!(error, "layers.77.weight: the network has no such tensor");
}

/// A class-conditional generator with every kind of layer but those of residual blocks.
fn every_layer() -> (Generator, Parameters) {
    let conv =
        |channels, kernel, stride| Layer::Conv { channels, kernel, stride, bias: true, groups: 1 };
    let transposed = |channels, kernel, stride| Layer::ConvTranspose {
        channels,
        kernel,
        stride,
        bias: true,
        groups: 1,
    };
    let batch_norm =
        |per_channel| Layer::BatchNorm { epsilon: 1e-3, momentum: Momentum(0.2), per_channel };
    let leaky = Layer::Activation(gan_models::Activation::LeakyRelu(0.2));
    let layers = vec![
        Layer::Project { to: (3, 5, 4).into(), bias: true },
        leaky.clone(),
        // Odd padding, stride above the kernel, and a kernel below the stride.
        conv(4, 4, 1),
        batch_norm(false),
        conv(6, 2, 3),
        Layer::Dense { units: 8, bias: true },
        Layer::Activation(gan_models::Activation::Relu),
        Layer::Project { to: (4, 3, 5).into(), bias: false },
        batch_norm(false),
        leaky.clone(),
        transposed(5, 4, 3),
        Layer::Activation(gan_models::Activation::Sigmoid),
        Layer::Dropout(0.2),
        Layer::Resize(11, 13),
        Layer::AvgPool(3),
        batch_norm(true),
        transposed(4, 1, 2),
        transposed(3, 5, 1),
        transposed(2, 3, 2),
        Layer::Activation(gan_models::Activation::Tanh),
        Layer::Rescale { scale: 0.5, shift: 0.25 },
    ];
    let mut config =
        GeneratorConfig::new(6, (2, 16, 20).into(), layers, WeightInit::TruncatedNormal(0.3));
    config.classes = ["a", "b", "c"].map(String::from).to_vec();
    config.conditional = true;
    Parameters::init(3, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap()
}

/// A generator with residual blocks and the layers that they are used with.
fn residual() -> (Generator, Parameters) {
    let conv =
        |channels, kernel| Layer::Conv { channels, kernel, stride: 1, bias: true, groups: 1 };
    let block = |body: &[Layer], shortcut: &[Layer]| Layer::Residual {
        body: body.to_vec(),
        shortcut: shortcut.to_vec(),
        zero_init: false,
    };
    let upsample = |factor, filter| Layer::Upsample { factor, filter };
    let inner = block(&[conv(8, 3)], &[]);
    let layers = vec![
        Layer::Project { to: (8, 3, 6).into(), bias: true },
        block(
            &[inner, conv(4, 3), upsample(2, UpsampleFilter::Bilinear)],
            &[conv(4, 1), upsample(2, UpsampleFilter::Nearest)],
        ),
        Layer::MinibatchStd,
        conv(8, 3),
        Layer::GroupNorm { groups: 2, epsilon: 1e-5 },
        Layer::PixelShuffle(2),
        Layer::Downsample(3),
        Layer::PixelUnshuffle(2),
        Layer::Upsample { factor: 4, filter: UpsampleFilter::Bilinear },
        conv(2, 3),
    ];
    let config =
        GeneratorConfig::new(6, (2, 8, 16).into(), layers, WeightInit::TruncatedNormal(0.3));
    Parameters::init(4, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap()
}

/// Runs only where the environment names a Python that has torch, safetensors and numpy:
/// `CANDLE_GAN_TORCH_PYTHON=.../bin/python cargo test -p gan-models --test it pytorch`.
#[test]
#[allow(clippy::print_stdout, reason = "says whether it ran")]
fn generators_agree_with_pytorch() {
    let Some(python) = std::env::var_os("CANDLE_GAN_TORCH_PYTHON") else {
        println!("skipped: CANDLE_GAN_TORCH_PYTHON names no Python with torch");
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let of = |architecture: &Architecture, image: (usize, usize, usize)| {
        generator(architecture, image.into(), 5)
    };
    let cases = [
        of(&dcgan(5), (1, 12, 8)),
        of(&dcgan(4), (3, 8, 8)),
        of(&mlp(), (3, 4, 5)),
        of(&custom(), (2, 8, 12)),
        of(&r3gan(), (2, 8, 12)),
        every_layer(),
        residual(),
    ];
    let directory = tempfile::tempdir().unwrap();
    let mut directories =
        vec![root.join("assets/weights/fives"), root.join("assets/weights/digits")];
    for (number, (generator, parameters)) in cases.into_iter().enumerate() {
        // Running statistics and biases other than the initial ones.
        for (at, (_, var)) in parameters.iter().enumerate() {
            let shift: Vec<f32> =
                (0..var.elem_count()).map(|i| 0.02 + ((i * 7 + at) % 11) as f32 / 40.0).collect();
            let shift = Tensor::from_vec(shift, var.dims(), &Device::Cpu).unwrap();
            var.set(&(var.as_detached_tensor() + shift).unwrap()).unwrap();
        }
        let path = directory.path().join(number.to_string());
        generator.save(&parameters, &path).unwrap();
        directories.push(path);
    }
    let (latents, images) = (directory.path().join("z.npy"), directory.path().join("x.npy"));
    // Each product keeps all bits, as in PyTorch.
    gan_kernels::set_precision(gan_kernels::Precision::Highest);
    for path in directories {
        let generator = Generator::load(&path, &Device::Cpu).unwrap();
        let z = generator.sample_latents(7, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        z.write_npy(&latents).unwrap();
        let mut command = Command::new(&python);
        command.arg(root.join("docs/load_in_pytorch.py")).args([&path, &latents, &images]);
        let status = command.arg("2,0").status().unwrap();
        assert!(status.success(), "{}", path.display());
        let got = Tensor::read_npy(&images).unwrap();
        let input = generator.input(&z, &[2, 0, 2, 0, 2, 0, 2]).unwrap();
        let want = generator.forward(&input, Mode::Eval).unwrap();
        assert_eq!(got.dims(), want.dims());
        assert!(values(&want).iter().any(|value| (value - values(&want)[0]).abs() > 0.1));
        let difference = (got - want).unwrap().abs().unwrap().max_all().unwrap();
        let difference = difference.to_scalar::<f32>().unwrap();
        println!("{}: largest difference {difference:e}", path.display());
        assert!(difference <= 1e-5, "{}: {difference}", path.display());
    }
}

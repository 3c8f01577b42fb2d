//! Networks and parameters in other candle programs.

use crate::{assert_close, custom, dcgan, discriminator, generator, mlp, values};
use candle_core::{DType, Device, Module, Tensor};
use candle_nn::{Optimizer, SGD, VarBuilder, VarMap};
use gan_models::{
    ClassCondition, Conditioning, Discriminator, Generator, Mode, Parameters, candle_core,
    candle_nn,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Values in [-1, 1).
fn images(shape: &[usize]) -> Tensor {
    let count = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 29 % 83) as f32 - 41.5) / 41.5).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn a_varmap_shares_the_variables() {
    let (generator, parameters) = generator(&dcgan(4), (1, 8, 8).into(), 1);
    let variables = parameters.to_varmap();
    assert_eq!(variables.all_vars().len(), parameters.iter().count());
    // A change through the map changes the parameters and the network.
    let z = generator.sample_latents(2, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let before = generator.forward(&z, Mode::Eval).unwrap();
    let name = "layers.9.weight";
    variables.data().lock().unwrap()[name].set(&zeros(&[4, 4, 4, 1])).unwrap();
    assert!(values(parameters.get(name).unwrap()).iter().all(|&value| value == 0.0));
    let after = generator.forward(&z, Mode::Eval).unwrap();
    assert!(values(&before).iter().any(|&value| value != 0.0));
    assert!(values(&after).iter().all(|&value| value == 0.0));
    // And back: the same variables again.
    let again = Parameters::from_varmap(&variables);
    assert_eq!(again.iter().count(), parameters.iter().count());
    for ((name, a), (other, b)) in again.iter().zip(parameters.iter()) {
        assert_eq!((name, a.as_tensor().id()), (other, b.as_tensor().id()));
    }
}

/// A network of this crate on a map's variables, trained by candle's own optimizer.
#[test]
fn a_varmap_and_candle_s_optimizer_train_a_network() {
    let config = dcgan(4).discriminator((1, 8, 8).into(), None).unwrap();
    let variables = VarMap::new();
    let vars = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let discriminator = Discriminator::new(&config, vars).unwrap();
    let images = Tensor::ones((4, 1, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let score = || discriminator.forward(&images, &[], Mode::Eval).unwrap().mean_all().unwrap();
    let mut sgd = SGD::new(variables.all_vars(), 1e-3).unwrap();
    let before = score().to_scalar::<f32>().unwrap();
    sgd.backward_step(&score()).unwrap();
    assert!(score().to_scalar::<f32>().unwrap() < before);
}

#[test]
fn a_network_is_a_module_in_evaluation_mode() {
    let (generator, _) = generator(&custom(), (2, 8, 12).into(), 1);
    let z = generator.sample_latents(3, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let images = z.apply(&generator).unwrap();
    assert_eq!(images.dims(), [3, 2, 8, 12]);
    assert_eq!(values(&images), values(&generator.forward(&z, Mode::Eval).unwrap()));
    let pixels = z.reshape((3, 5, 1, 1)).unwrap();
    assert_eq!(values(&pixels.apply(generator.network()).unwrap()), values(&images));

    let (unconditional, _) = discriminator(&custom(), (2, 8, 12).into(), 1);
    let logits = images.apply(&unconditional).unwrap();
    assert_eq!(logits.dims(), [3]);
    let want = unconditional.forward(&images, &[], Mode::Eval).unwrap();
    assert_eq!(values(&logits), values(&want));
    // A class-conditional discriminator needs labels.
    let condition = Some(ClassCondition::new(3, Conditioning::Projection));
    let config = custom().discriminator((2, 8, 12).into(), condition).unwrap();
    let (conditional, _) =
        Parameters::init(1, &Device::Cpu, |vars| Discriminator::new(&config, vars)).unwrap();
    let error = Module::forward(&conditional, &images).unwrap_err().to_string();
    assert!(error.contains("0 labels for 3 images"), "{error}");
}

#[test]
fn a_loaded_network_is_trainable() {
    let directory = tempfile::tempdir().unwrap();
    let (original, parameters) = generator(&mlp(), (1, 6, 5).into(), 1);
    original.save(&parameters, directory.path()).unwrap();
    let (loaded, trainable) = Generator::load_trainable(directory.path(), &Device::Cpu).unwrap();
    let z = original.sample_latents(4, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    let images = loaded.forward(&z, Mode::Eval).unwrap();
    assert_eq!(values(&images), values(&original.forward(&z, Mode::Eval).unwrap()));
    assert_eq!(trainable.iter().count(), parameters.iter().count());
    // Every trainable parameter has a gradient, and the network follows its parameters.
    let gradients = images.sqr().unwrap().sum_all().unwrap().backward().unwrap();
    for (name, var) in trainable.iter().filter(|(name, _)| !name.contains("running")) {
        let gradient = gradients.get(var).unwrap_or_else(|| panic!("{name} has no gradient"));
        var.set(&(var.as_detached_tensor() - (gradient * 0.01).unwrap()).unwrap()).unwrap();
    }
    let size = |images: &Tensor| images.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>();
    let tuned = loaded.forward(&z, Mode::Eval).unwrap();
    assert!(size(&tuned).unwrap() < size(&images).unwrap());
    // Training updates the running statistics of trainable weights, not those loaded for inference.
    let mean = "layers.2.running_mean";
    let before = values(trainable.get(mean).unwrap());
    loaded.forward(&z, Mode::Train(&mut ChaCha8Rng::seed_from_u64(2))).unwrap();
    assert_ne!(values(trainable.get(mean).unwrap()), before);
    let fixed = Generator::load(directory.path(), &Device::Cpu).unwrap();
    let before = fixed.forward(&z, Mode::Eval).unwrap();
    fixed.forward(&z, Mode::Train(&mut ChaCha8Rng::seed_from_u64(2))).unwrap();
    assert_eq!(values(&fixed.forward(&z, Mode::Eval).unwrap()), values(&before));
}

#[test]
fn a_discriminator_comes_back_from_its_directory() {
    let images = images(&[5, 1, 8, 8]);
    for condition in [None, Some(Conditioning::Projection), Some(Conditioning::Concatenation)] {
        let condition = condition.map(|by| ClassCondition::new(3, by));
        let config = dcgan(4).discriminator((1, 8, 8).into(), condition).unwrap();
        let (discriminator, parameters) =
            Parameters::init(1, &Device::Cpu, |vars| Discriminator::new(&config, vars)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        discriminator.save(&parameters, directory.path()).unwrap();
        let loaded = Discriminator::load(directory.path(), &Device::Cpu).unwrap();
        assert_eq!(loaded.config(), discriminator.config());
        let (trainable, own) =
            Discriminator::load_trainable(directory.path(), &Device::Cpu).unwrap();
        let labels = [0, 2, 1, 2, 0];
        let of = |network: &Discriminator| network.forward(&images, &labels, Mode::Eval).unwrap();
        assert_eq!(values(&of(&loaded)), values(&of(&discriminator)));
        assert_eq!(values(&of(&trainable)), values(&of(&discriminator)));
        for (name, var) in own.iter() {
            assert_close(var, parameters.get(name).unwrap(), 0.0, name);
        }
        assert_eq!(own.count(), parameters.count());
    }
}

/// The caller's own modules on weights from a seed, and back from a file.
#[test]
fn own_modules_start_from_a_seed_and_load_from_a_file() {
    let build = |vars: VarBuilder| {
        let conv = candle_nn::conv2d(1, 3, 3, candle_nn::Conv2dConfig::default(), vars.pp("conv"))?;
        let norm = candle_nn::batch_norm(3, 1e-5, vars.pp("norm"))?;
        let out = candle_nn::linear(3 * 6 * 6, 1, vars.pp("out"))?;
        Ok(move |x: &Tensor| {
            x.apply(&conv)?.apply_t(&norm, false)?.relu()?.flatten_from(1)?.apply(&out)
        })
    };
    let x = images(&[2, 1, 8, 8]);
    let (network, parameters) = Parameters::init(7, &Device::Cpu, build).unwrap();
    let (same, _) = Parameters::init(7, &Device::Cpu, build).unwrap();
    assert_eq!(values(&network(&x).unwrap()), values(&same(&x).unwrap()));
    let names: Vec<&str> = parameters.iter().map(|(name, _)| name).collect();
    let want = ["conv.bias", "conv.weight", "norm.bias", "norm.running_mean", "norm.running_var"];
    assert_eq!(names[..5], want);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("own.safetensors");
    gan_models::weights::save(&path, &parameters).unwrap();
    let (loaded, own) = Parameters::load(&path, &Device::Cpu, build).unwrap();
    assert_eq!(values(&network(&x).unwrap()), values(&loaded(&x).unwrap()));
    assert_eq!(own.count(), parameters.count());
    // Another network's file is refused, with both shapes.
    let error =
        Parameters::load(&path, &Device::Cpu, |vars| Ok(candle_nn::linear(4, 1, vars.pp("out"))?));
    let text = error.unwrap_err().to_string();
    assert!(text.ends_with("out.weight has shape [1, 108], must have [1, 4]"), "{text}");
}

#[test]
fn tensors_of_another_shape_are_errors() {
    let (generator, _) = generator(&dcgan(4), (1, 8, 8).into(), 1);
    let (discriminator, _) = discriminator(&dcgan(4), (1, 8, 8).into(), 1);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let error = |result: gan_models::Result<Tensor>| result.unwrap_err().to_string();
    for shape in [&[2, 4][..], &[5], &[2, 5, 1, 1]] {
        let want = format!("has shape {shape:?}, must have [B, 5]");
        assert_eq!(error(generator.input(&zeros(shape), &[])), format!("the latents {want}"));
        let text = error(generator.forward(&zeros(shape), Mode::Eval));
        assert_eq!(text, format!("the generator's input {want}"));
    }
    let want = "has shape [2, 8, 8, 1], must have [B, 1, 8, 8]";
    let text = error(discriminator.forward(&zeros(&[2, 8, 8, 1]), &[], Mode::Eval));
    assert_eq!(text, format!("the discriminator's batch of images {want}"));
    let text = error(discriminator.network().forward(&zeros(&[2, 8, 8, 1]), Mode::Eval));
    assert_eq!(text, format!("the network's input {want}"));
    let (_, tape) = generator.forward_train(&zeros(&[2, 5]), &mut rng).unwrap();
    let both = gan_models::GradMask { input: true, parameters: true };
    let text = error(tape.backward(&zeros(&[2, 8, 8, 1]), both).map(|(input, _)| input.unwrap()));
    assert_eq!(text, format!("the output's gradient {want}"));
}

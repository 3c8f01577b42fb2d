//! Optimizer, EMA and R1 over whole networks.

use crate::{all_values, images, networks, values};
use candle_core::{DType, Device, Tensor, Var};
use gan_models::{GradMask, Gradients, Mode};
use gan_training::{Adam, Augmentation, Ema, Error, Optimizer, R1Penalty};
use gan_training::{candle_core, gan_models};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashMap;

const ADAM: Adam = Adam { learning_rate: 1e-2, beta1: 0.5, beta2: 0.9, epsilon: 1e-8 };

#[test]
fn an_optimizer_restored_continues_as_if_never_stopped() {
    let train = |restart: bool| {
        let ((generator, parameters), _) = networks();
        let mut optimizer = Optimizer::new(ADAM);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for step in 0..6 {
            if restart && step == 3 {
                let state = optimizer.state().into_iter().collect();
                let mut restored = Optimizer::new(ADAM);
                restored.restore(optimizer.step(), state, &parameters, &Device::Cpu).unwrap();
                optimizer = restored;
            }
            let latents = generator.sample_latents(4, &mut rng).unwrap();
            let (images, tape) = generator.forward_train(&latents, &mut rng).unwrap();
            let mask = GradMask { input: false, parameters: true };
            let (_, gradients) = tape.backward(&images, mask).unwrap();
            optimizer.update(&parameters, &gradients).unwrap();
        }
        assert_eq!(optimizer.step(), 6);
        all_values(&parameters)
    };
    assert_eq!(train(true), train(false));
}

#[test]
fn an_optimizer_refuses_a_state_of_another_network() {
    let ((_, parameters), _) = networks();
    let error_of = |name: &str, tensor: Tensor| {
        let state: HashMap<String, Tensor> = [(name.to_string(), tensor)].into();
        let mut optimizer = Optimizer::new(ADAM);
        let error = optimizer.restore(1, state, &parameters, &Device::Cpu).unwrap_err();
        assert_eq!((optimizer.step(), optimizer.state().len()), (0, 0), "unchanged");
        error.to_string()
    };
    let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
    let error = |name: &str, shape: &[usize]| error_of(name, zeros(shape));
    let text = error("first.layers.0.weight", &[3]);
    assert_eq!(
        text,
        "optimizer state first.layers.0.weight has shape [3], its parameter [1, 1, 64, 256]"
    );
    let text = error("first.layers.99.weight", &[3]);
    assert_eq!(text, "optimizer state first.layers.99.weight has no parameter");
    let text = error("first.layers.0.weight", &[1, 1, 64, 256]);
    assert_eq!(text, "optimizer state of layers.0.weight has one moment, not two");
    let text = error_of("second.layers.0.bias", zeros(&[256]).to_dtype(DType::F64).unwrap());
    assert_eq!(text, "optimizer state second.layers.0.bias has type F64, its parameter F32");
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![0.0; 256];
        values[200] = value;
        let tensor = Tensor::new(values, &Device::Cpu).unwrap();
        let text = error_of("second.layers.0.bias", tensor);
        let want = "optimizer state second.layers.0.bias holds values that are NaN or infinite";
        assert_eq!(text, want);
    }
}

/// A gradient of another shape, or of no parameter, changes nothing.
#[test]
fn an_optimizer_refuses_gradients_of_another_network() {
    let ((_, parameters), _) = networks();
    let before = all_values(&parameters);
    let right = parameters.get("layers.0.bias").unwrap().ones_like().unwrap();
    for (name, shape, want) in [
        ("layers.2.bias", 3, "the gradient of layers.2.bias must have shape [256], not [3]"),
        ("layers.99.bias", 3, "the gradient of layers.99.bias has no parameter of this name"),
    ] {
        let wrong = Tensor::ones(shape, DType::F32, &Device::Cpu).unwrap();
        let gradients: Gradients =
            [("layers.0.bias".to_string(), right.clone()), (name.to_string(), wrong)].into();
        let error = Optimizer::new(ADAM).update(&parameters, &gradients).unwrap_err();
        assert_eq!(error.to_string(), want);
        assert!(all_values(&parameters) == before, "a parameter has changed");
    }
}

#[test]
fn an_ema_follows_with_its_decay() {
    let ((_, parameters), _) = networks();
    let before = parameters.deep_clone().unwrap();
    let ema = Ema::new(&parameters, 0.75).unwrap();
    let name = "layers.0.weight";
    let var = parameters.get(name).unwrap();
    var.set(&(before.get(name).unwrap().as_tensor() + 1.0).unwrap()).unwrap();
    let change = || {
        let change =
            ema.parameters().get(name).unwrap().as_tensor() - before.get(name).unwrap().as_tensor();
        values(&change.unwrap())
    };
    let is = |want: f32| change().iter().all(|change| (change - want).abs() < 1e-6);
    // The first step's decay is 1 / (1 + 9), a late one's the configured 0.75.
    ema.update(&parameters, 1).unwrap();
    assert!(is(0.9), "first step: {}", change()[0]);
    ema.update(&parameters, 1000).unwrap();
    assert!(is(0.925), "late step: {}", change()[0]);
    // Without a decay it is the parameters, before any update too.
    let none = Ema::new(&parameters, 0.0).unwrap();
    var.set(before.get(name).unwrap()).unwrap();
    assert_eq!(values(none.parameters().get(name).unwrap()), values(var));
}

#[test]
fn an_ema_refuses_other_parameters() {
    let ((_, generator), (_, discriminator)) = networks();
    let ema = Ema::new(&generator, 0.9).unwrap();
    let before = all_values(ema.parameters());
    let error = ema.update(&discriminator, 1).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the parameter layers.0.weight must have shape [1, 1, 64, 256], not [1, 1, 784, 256]"
    );
    assert!(all_values(ema.parameters()) == before, "the average has changed");
}

/// R1 is half of gamma times the squared norm of the gradient; the estimate's mean over many
/// perturbations is near it.
#[test]
fn the_penalty_by_finite_differences_is_r1() {
    let (_, (discriminator, _)) = networks();
    let image = images(5).narrow(0, 0, 1).unwrap();
    let input = Var::from_tensor(&image).unwrap();
    let logit = discriminator.forward(&input, &[], Mode::Eval).unwrap();
    let gradient = logit.sum_all().unwrap().backward().unwrap();
    let norm = gradient.get(&input).unwrap().sqr().unwrap().sum_all().unwrap();
    let want = 0.7 / 2.0 * f64::from(norm.to_scalar::<f32>().unwrap());

    let clean = image.repeat((8000, 1, 1, 1)).unwrap();
    let std = 0.01;
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let (perturbed, _) = Augmentation::only_noise(std).apply(&clean, &mut rng).unwrap();
    let logits = |images| discriminator.forward(images, &[], Mode::Eval).unwrap();
    let logits = |images| logits(images).to_vec1::<f32>().unwrap();
    let got = R1Penalty { gamma: 0.7, std }.value(&logits(&clean), &logits(&perturbed));
    assert!((got - want).abs() < 0.05 * want, "{got}, not {want}");
}

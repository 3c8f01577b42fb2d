//! Optimizer and average over whole networks.

use crate::{assert_close, dcgan, discriminator, generator, values};
use candle_core::{Device, Tensor, Var};
use gan_models::{Adam, Augmentation, Ema, GradMask, Optimizer, Pass, losses};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const ADAM: Adam = Adam { learning_rate: 1e-2, beta1: 0.5, beta2: 0.9, epsilon: 1e-8 };

#[test]
fn an_optimizer_restored_goes_on_as_if_never_stopped() {
    let train = |restart: bool| {
        let (generator, parameters) = generator(&dcgan(4), (1, 8, 8).into(), 1);
        let mut optimizer = Optimizer::new(ADAM);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for step in 0..6 {
            if restart && step == 3 {
                let state = optimizer.state().into_iter().collect();
                let mut restored = Optimizer::new(ADAM);
                restored.restore(optimizer.step(), state, &parameters, &Device::Cpu).unwrap();
                optimizer = restored;
            }
            let noise = generator.noise(4, &mut rng).unwrap();
            let (images, tape) = generator.record(&noise, &mut rng).unwrap();
            let wants = GradMask { input: false, parameters: true };
            let (_, gradients) = tape.backward(&images, wants).unwrap();
            optimizer.update(&parameters, &gradients).unwrap();
        }
        assert_eq!(optimizer.step(), 6);
        parameters.iter().flat_map(|(_, var)| values(var)).collect::<Vec<_>>()
    };
    assert_eq!(train(true), train(false));
}

#[test]
fn an_optimizer_refuses_a_state_of_another_network() {
    let (_, parameters) = generator(&dcgan(4), (1, 8, 8).into(), 1);
    let state = |name: &str, shape: &[usize]| {
        let zeros = candle_core::Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu);
        [(name.to_string(), zeros.unwrap())].into_iter().collect()
    };
    let error = |state| {
        let mut optimizer = Optimizer::new(ADAM);
        optimizer.restore(1, state, &parameters, &Device::Cpu).unwrap_err().to_string()
    };
    let text = error(state("first.layers.0.weight", &[3]));
    assert!(
        text.contains("first.layers.0.weight has shape [3], its parameter [2, 2, 5, 7]"),
        "{text}"
    );
    let text = error(state("first.layers.99.weight", &[3]));
    assert!(text.contains("first.layers.99.weight has no parameter"), "{text}");
    let text = error(state("first.layers.0.weight", &[2, 2, 5, 7]));
    assert!(text.contains("layers.0.weight has one moment, not two"), "{text}");
}

#[test]
fn an_average_follows_with_its_decay() {
    let (_, parameters) = generator(&dcgan(4), (1, 8, 8).into(), 1);
    let before = parameters.duplicate().unwrap();
    let ema = Ema::new(&parameters, 0.75).unwrap();
    let name = "layers.0.weight";
    let var = parameters.get(name).unwrap();
    var.set(&(before.get(name).unwrap().as_tensor() + 1.0).unwrap()).unwrap();
    // The first step's decay is 1 / (1 + 9), a late one's the configured 0.75.
    ema.update(&parameters, 1).unwrap();
    let want = (before.get(name).unwrap().as_tensor() + 0.9).unwrap();
    assert_close(ema.parameters().get(name).unwrap(), &want, 1e-6, "first step");
    ema.update(&parameters, 1000).unwrap();
    let want = (before.get(name).unwrap().as_tensor() + 0.925).unwrap();
    assert_close(ema.parameters().get(name).unwrap(), &want, 1e-6, "late step");
    // Without a decay it is the parameters, before any update too.
    let none = Ema::new(&parameters, 0.0).unwrap();
    var.set(before.get(name).unwrap()).unwrap();
    assert_eq!(values(none.parameters().get(name).unwrap()), values(var));
}

/// R1 is half the weight times the squared norm of the gradient; the penalty's mean over many
/// noises is near it.
#[test]
fn the_slope_penalty_is_r1() {
    let (discriminator, _) = discriminator(&dcgan(4), (1, 8, 8).into(), 2);
    let values: Vec<f32> = (0..64).map(|i| ((i * 29 % 83) as f32 - 41.0) / 41.0).collect();
    let picture = Tensor::from_vec(values, (1, 1, 8, 8), &Device::Cpu).unwrap();
    let input = Var::from_tensor(&picture).unwrap();
    let logit = discriminator.forward(&input, &[], Pass::Infer).unwrap();
    let gradient = logit.sum_all().unwrap().backward().unwrap();
    let norm = gradient.get(&input).unwrap().sqr().unwrap().sum_all().unwrap();
    let want = 0.7 / 2.0 * norm.to_scalar::<f32>().unwrap();

    let still = picture.repeat((8000, 1, 1, 1)).unwrap();
    let deviation = 0.01;
    let noise = Augmentation { noise: deviation, ..Augmentation::default() };
    let (moved, _) = noise.apply(&still, &mut ChaCha8Rng::seed_from_u64(4)).unwrap();
    let logits = |images| discriminator.forward(images, &[], Pass::Infer).unwrap();
    let penalty = losses::slope_penalty(&logits(&still), &logits(&moved), 0.7, deviation).unwrap();
    assert!((penalty.value - want).abs() < 0.05 * want, "{}, not {want}", penalty.value);
}

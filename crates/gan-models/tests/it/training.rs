//! Optimizer and average over whole networks.

use crate::{assert_close, dcgan, generator, values};
use candle_core::Device;
use gan_models::{Adam, Ema, Optimizer, Wants};
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
            let wants = Wants { input: false, parameters: true };
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

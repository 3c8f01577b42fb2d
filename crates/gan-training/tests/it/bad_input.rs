//! What does not fit is an error that names it, and nothing is trained with it.

use crate::{all_values, gan, hyperparameters, images, networks};
use candle_core::{DType, Device, Tensor, Var};
use gan_models::{Latent, LatentDistribution, Parameters};
use gan_training::{Autograd, Error, Gan, TrainableNetwork, UpdateScheme};
use gan_training::{candle_core, gan_models};

const LATENT: Latent = Latent { dim: 64, distribution: LatentDistribution::Normal };

/// The error of a step with this generator and `mlp-small`'s discriminator, which stays as it was.
fn generator_error<G: TrainableNetwork>(generator: G, parameters: &Parameters) -> String {
    let (_, discriminator) = networks();
    let judge = discriminator.1.clone();
    let before = (all_values(parameters), all_values(&judge));
    let mut settings = hyperparameters();
    settings.update = UpdateScheme::Simultaneous;
    let mut gan =
        Gan::new((generator, parameters.clone()), discriminator, LATENT, settings, 1).unwrap();
    let error = gan.train_step(&images(0), &[]).unwrap_err();
    let after = (all_values(parameters), all_values(&judge));
    assert!(after == before && gan.step() == 0, "nothing is trained");
    error.to_string()
}

fn parameters(names: &[&str]) -> Parameters {
    Parameters::init(1, &Device::Cpu, |vars| {
        for name in names {
            vars.get_with_hints((64, 784), name, candle_nn::Init::Const(0.1))?;
        }
        Ok(())
    })
    .unwrap()
    .1
}

#[test]
fn a_generator_of_other_images_is_refused() {
    let parameters = parameters(&["weight"]);
    let weight = parameters.get("weight").unwrap().clone();
    let draw = move |z: &Tensor, _: &[u32]| z.matmul(&weight)?.reshape(((), 1, 14, 56));
    let text = generator_error(Autograd::new(&parameters, draw), &parameters);
    assert_eq!(text, "the generator's images must have shape [4, 1, 28, 28], not [4, 1, 14, 56]");
}

#[test]
fn a_parameter_without_gradient_is_named() {
    let parameters = parameters(&["unused", "weight"]);
    let weight = parameters.get("weight").unwrap().clone();
    let draw = move |z: &Tensor, _: &[u32]| z.matmul(&weight)?.reshape(((), 1, 28, 28));
    let text = generator_error(Autograd::new(&parameters, draw), &parameters);
    assert!(text.contains("parameter unused [64, 784] got no gradient"), "{text}");
}

#[test]
fn a_discriminator_of_other_logits_is_refused() {
    let (generator, (_, discriminator_parameters)) = networks();
    let weight = Var::from_tensor(&Tensor::ones((784, 2), DType::F32, &Device::Cpu).unwrap());
    let weight = weight.unwrap();
    let judge = |x: &Tensor, _: &[u32]| x.flatten_from(1)?.matmul(&weight);
    let before = all_values(&generator.1);
    let generator_parameters = generator.1.clone();
    let discriminator = Autograd::new(&discriminator_parameters, judge);
    let discriminator = (discriminator, discriminator_parameters.clone());
    let mut gan = Gan::new(generator, discriminator, LATENT, hyperparameters(), 1).unwrap();
    let text = gan.train_step(&images(0), &[]).unwrap_err().to_string();
    assert_eq!(text, "the discriminator's logits must have shape [8], not [8, 2]");
    assert!(all_values(&generator_parameters) == before);
}

#[test]
fn a_discriminator_that_ignores_its_input_is_refused() {
    let (generator, _) = networks();
    let parameters = parameters(&["weight"]);
    let weight = parameters.get("weight").unwrap().clone();
    let judge =
        move |x: &Tensor, _: &[u32]| weight.sum_all()?.broadcast_as(x.dim(0)?)?.contiguous();
    let discriminator = (Autograd::new(&parameters, judge), parameters);
    let mut gan = Gan::new(generator, discriminator, LATENT, hyperparameters(), 1).unwrap();
    let text = gan.train_step(&images(0), &[]).unwrap_err().to_string();
    assert!(text.contains("logits must depend on its input"), "{text}");
}

#[test]
fn a_loss_that_is_nan_names_the_parameter() {
    let mut gan = gan();
    let var = gan.generator_parameters().get("layers.0.bias").unwrap().clone();
    var.set(&(var.as_detached_tensor() * f64::NAN).unwrap()).unwrap();
    let before = all_values(gan.discriminator_parameters());
    let error = gan.train_step(&images(0), &[]).unwrap_err();
    assert!(matches!(error, Error::Diverged { step: 1, network: "discriminator", .. }));
    let text = error.to_string();
    assert!(text.ends_with("the generator's layers.0.bias holds NaN"), "{text}");
    assert!(all_values(gan.discriminator_parameters()) == before, "nothing is trained");
    let text = gan.check_parameters().unwrap_err().to_string();
    assert_eq!(text, "step 0: the generator's layers.0.bias holds NaN");
}

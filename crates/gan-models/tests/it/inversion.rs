//! Inversion against known answers.

use candle_core::{Device, Tensor};
use gan_models::rand::SeedableRng;
use gan_models::{
    Architecture, Custom, Generator, InversionOptions, Layer, Mode, Parameters, WeightInit,
};
use rand_chacha::ChaCha8Rng;

use crate::{dcgan, generator, values};

/// A generator that draws the pixels z0, z1, z1, 0.
fn linear(conditional: bool) -> Generator {
    let layers = vec![Layer::Project { to: (1, 2, 2).into(), bias: false }];
    let critic = vec![Layer::Dense { units: 1, bias: true }];
    let custom = Custom::new(2, WeightInit::Glorot, layers, critic);
    let classes = if conditional { vec!["a".to_string(), "b".to_string()] } else { vec![] };
    let config =
        Architecture::Custom(custom).generator((1, 2, 2).into(), classes, conditional).unwrap();
    let inputs = config.input_len();
    let (generator, parameters) =
        Parameters::init(1, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap();
    // A row for each input; class b adds 0.3 to the last pixel.
    let rows = [[1.0_f32, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0; 4], [0.0, 0.0, 0.0, 0.3]];
    let weight = Tensor::new(&rows, &Device::Cpu).unwrap().narrow(0, 0, inputs).unwrap();
    let weight = weight.reshape((1, 1, inputs, 4)).unwrap();
    parameters.get("layers.0.weight").unwrap().set(&weight).unwrap();
    generator
}

fn target() -> Tensor {
    Tensor::new(&[0.5_f32, 0.2, 0.6, 0.3], &Device::Cpu).unwrap().reshape((1, 1, 2, 2)).unwrap()
}

fn options() -> InversionOptions {
    let mut options = InversionOptions::default();
    (options.candidates, options.starts) = (20, 2);
    options
}

fn rng() -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(1)
}

/// The least squares are at z = (0.5, 0.4), with the errors 0, 0.2, 0.2 and 0.3.
#[test]
fn a_linear_generator_is_inverted_by_least_squares() {
    let found = linear(false).invert(&target(), &[0], options(), &mut rng()).unwrap();
    let latent = values(&found.latents);
    assert!((latent[0] - 0.5).abs() < 2e-3 && (latent[1] - 0.4).abs() < 2e-3, "{latent:?}");
    assert!((found.errors[0] - 0.17 / 4.0).abs() < 1e-4, "{:?}", found.errors);
    assert!(found.random_errors[0] > found.errors[0]);
}

/// A first step moves each value by its learning rate, away from what is right already.
#[test]
fn an_inversion_is_never_worse_than_its_start() {
    let generator = linear(false);
    let latents = generator.sample_latents(20, &mut rng()).unwrap();
    let target = generator.forward(&latents.narrow(0, 7, 1).unwrap(), Mode::Eval).unwrap();
    let mut options = options();
    options.steps = 1;
    let found = generator.invert(&target, &[0], options, &mut rng()).unwrap();
    assert_eq!((found.errors[0], found.random_errors[0]), (0.0, 0.0));
}

/// Each image is drawn as its own class: only b has the last pixel, 0.3.
#[test]
fn labels_choose_the_class() {
    let targets = Tensor::cat(&[target(), target()], 0).unwrap();
    let found = linear(true).invert(&targets, &[0, 1], options(), &mut rng()).unwrap();
    assert!((found.errors[0] - 0.17 / 4.0).abs() < 1e-4, "{:?}", found.errors);
    assert!((found.errors[1] - 0.08 / 4.0).abs() < 1e-4, "{:?}", found.errors);
}

/// A generator with normalisation finds an image of its own again, the same on each call, whatever
/// other images are searched at the same time.
#[test]
fn an_image_of_the_generator_is_found_again() {
    let (generator, _) = generator(&dcgan(4), (1, 28, 28).into(), 3);
    let latents = generator.sample_latents(3, &mut ChaCha8Rng::seed_from_u64(9)).unwrap();
    let images = generator.forward(&latents, Mode::Eval).unwrap();
    let invert = |targets: &Tensor, count| {
        generator.invert(targets, &vec![0; count], options(), &mut rng()).unwrap()
    };
    let found = invert(&images, 3);
    for (error, random) in found.errors.iter().zip(&found.random_errors) {
        assert!(*error < 0.02 * random, "{:?} and {:?}", found.errors, found.random_errors);
    }
    assert_eq!(values(&found.latents), values(&invert(&images, 3).latents));
    let alone = invert(&images.narrow(0, 1, 1).unwrap(), 1);
    assert_eq!(values(&alone.latents), values(&found.latents.narrow(0, 1, 1).unwrap()));
}

#[test]
fn what_cannot_be_inverted_is_an_error() {
    let generator = linear(false);
    let error = |targets: &Tensor, labels: &[u32], options| {
        generator.invert(targets, labels, options, &mut rng()).unwrap_err().to_string()
    };
    let wide = Tensor::zeros((1, 1, 2, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    assert_eq!(
        error(&wide, &[0], options()),
        "the images to invert, with 1 labels, has shape [1, 1, 2, 3], must have [N, 1, 2, 2] and N \
         labels, N at least 1"
    );
    assert!(error(&target(), &[], options()).contains("with 0 labels"));
    let mut none = options();
    none.starts = 0;
    assert!(error(&target(), &[0], none).contains("candidates and starts"));
}

//! Class-conditional networks.

use crate::{assert_close, dcgan, values};
use candle_core::{Device, Tensor, Var};
use gan_models::{
    ClassCondition, Conditioning, Discriminator, Generator, GradMask, Mode, Parameters,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 3;
const IMAGE: (usize, usize, usize) = (2, 8, 8);

fn discriminator(by: Conditioning) -> (Discriminator, Parameters) {
    let condition = Some(ClassCondition::new(CLASSES, by));
    let config = dcgan(4).discriminator(IMAGE.into(), condition).unwrap();
    Parameters::init(1, &Device::Cpu, |vars| Discriminator::new(&config, vars)).unwrap()
}

fn generator() -> Generator {
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let config = dcgan(4).generator(IMAGE.into(), classes, true).unwrap();
    Parameters::init(1, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap().0
}

fn images() -> Tensor {
    let values: Vec<f32> = (0..4 * 128).map(|i| ((i * 29 % 83) as f32 - 41.0) / 41.0).collect();
    Tensor::from_vec(values, (4, 2, 8, 8), &Device::Cpu).unwrap()
}

/// The tape's gradients are those of candle's autograd.
#[test]
fn the_class_reaches_the_logit_and_the_gradient_goes_back() {
    for by in [Conditioning::Projection, Conditioning::Concatenation] {
        let (discriminator, parameters) = discriminator(by);
        let (labels, grad) = ([2, 0, 1, 2], Tensor::new(&[1f32, -2.0, 0.5, 3.0], &Device::Cpu));
        let grad = grad.unwrap();
        // Dropout's masks must be the same.
        let rng = || ChaCha8Rng::seed_from_u64(3);
        let input = Var::from_tensor(&images()).unwrap();
        let want = discriminator.forward(&input, &labels, Mode::Train(&mut rng())).unwrap();
        assert_eq!(want.dims(), [4]);
        let found = (&want * &grad).unwrap().sum_all().unwrap().backward().unwrap();

        let (logits, tape) = discriminator.forward_train(&images(), &labels, &mut rng()).unwrap();
        assert_close(&logits, &want, 1e-5, "logits");
        let both = GradMask { input: true, parameters: true };
        let (grad_images, gradients) = tape.backward(&grad, both).unwrap();
        assert_close(&grad_images.unwrap(), found.get(&input).unwrap(), 1e-4, "images");
        assert_eq!(gradients.len(), parameters.iter().count());
        for (name, var) in parameters.iter() {
            assert_close(&gradients[name], found.get(var).unwrap(), 1e-4, name);
        }

        let others = discriminator.forward(&images(), &[1, 0, 1, 0], Mode::Eval).unwrap();
        let same = discriminator.forward(&images(), &labels, Mode::Eval).unwrap();
        let differ: Vec<bool> =
            values(&others).iter().zip(values(&same)).map(|(a, b)| *a != b).collect();
        assert_eq!(differ, [true, false, false, true], "{by:?}");
    }
}

/// By hand: the label chooses one of the first values, and the last counts for all.
#[test]
fn projection_adds_the_class_to_what_all_share() {
    let (discriminator, _) = discriminator(Conditioning::Projection);
    let of = |label| values(&discriminator.forward(&images(), &[label; 4], Mode::Eval).unwrap());
    let all = discriminator.network().forward(&images(), Mode::Eval).unwrap();
    let all = all.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    for (image, logits) in all.iter().enumerate() {
        let [first, second, third, shared] = logits[..] else { panic!("{logits:?}") };
        for (label, own) in [(0, first), (1, second), (2, third)] {
            assert!((of(label)[image] - own - shared).abs() < 1e-6);
        }
    }
}

#[test]
fn a_conditional_generator_generates_the_given_classes() {
    let generator = generator();
    let sample = |labels: &[u32]| {
        generator.sample_classes(labels, &mut ChaCha8Rng::seed_from_u64(1)).unwrap()
    };
    let (first, second) = (sample(&[0, 1, 2]), sample(&[0, 2, 2]));
    let image = |all: &Tensor, i| values(&all.get(i).unwrap());
    assert_eq!(image(&first, 0), image(&second, 0));
    assert_ne!(image(&first, 1), image(&second, 1));
    assert_eq!(image(&first, 2), image(&second, 2));
    // Without labels, all classes in turn.
    let turns = generator.sample(4, &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
    let given = generator.sample_classes(&[0, 1, 2, 0], &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
    assert_eq!(values(&turns), values(&given));
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let (discriminator, _) = discriminator(Conditioning::Concatenation);
    let error = |labels: &[u32]| {
        discriminator.forward(&images(), labels, Mode::Eval).unwrap_err().to_string()
    };
    assert_eq!(error(&[0, 1]), "2 labels for 4 images");
    assert_eq!(error(&[0, 1, 3, 0]), "label 3: there are 3 classes, from 0");
    let error = generator().sample_classes(&[7], &mut ChaCha8Rng::seed_from_u64(1)).unwrap_err();
    assert_eq!(error.to_string(), "label 7: there are 3 classes, from 0");
    let config = dcgan(4).generator(IMAGE.into(), vec![], true).unwrap();
    let error = Parameters::init(1, &Device::Cpu, |vars| Generator::new(config, vars));
    assert_eq!(error.unwrap_err().to_string(), "a conditional generator needs classes");
}

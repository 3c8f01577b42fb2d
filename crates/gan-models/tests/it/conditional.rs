//! Networks that are told the class of a picture.

use crate::{assert_close, dcgan, values};
use candle_core::{Device, Tensor, Var};
use gan_models::{
    ClassCondition, Conditioning, Discriminator, Generator, GradMask, Parameters, Pass,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const CLASSES: usize = 3;
const IMAGE: (usize, usize, usize) = (2, 8, 8);

fn discriminator(by: Conditioning) -> (Discriminator, Parameters) {
    let condition = Some(ClassCondition { classes: CLASSES, by });
    let config = dcgan(4).discriminator(IMAGE.into(), condition).unwrap();
    Parameters::fresh(1, &Device::Cpu, |vars| Discriminator::new(&config, vars)).unwrap()
}

fn generator() -> Generator {
    let classes = ["a", "b", "c"].map(String::from).to_vec();
    let config = dcgan(4).generator(IMAGE.into(), classes, true).unwrap();
    Parameters::fresh(1, &Device::Cpu, |vars| Generator::new(config, vars)).unwrap().0
}

fn images() -> Tensor {
    let values: Vec<f32> = (0..4 * 128).map(|i| ((i * 29 % 83) as f32 - 41.0) / 41.0).collect();
    Tensor::from_vec(values, (4, 2, 8, 8), &Device::Cpu).unwrap()
}

/// The recorded pass goes back as candle's autograd does through the forward pass.
#[test]
fn the_class_reaches_the_logit_and_the_gradient_goes_back() {
    for by in [Conditioning::Projection, Conditioning::Concatenation] {
        let (discriminator, parameters) = discriminator(by);
        let (labels, slopes) = ([2, 0, 1, 2], Tensor::new(&[1f32, -2.0, 0.5, 3.0], &Device::Cpu));
        let slopes = slopes.unwrap();
        // Dropout's masks must be the same.
        let rng = || ChaCha8Rng::seed_from_u64(3);
        let input = Var::from_tensor(&images()).unwrap();
        let want = discriminator.forward(&input, &labels, Pass::Train(&mut rng())).unwrap();
        assert_eq!(want.dims(), [4]);
        let found = (&want * &slopes).unwrap().sum_all().unwrap().backward().unwrap();

        let (logits, judging) = discriminator.record(&images(), &labels, &mut rng()).unwrap();
        assert_close(&logits, &want, 1e-5, "logits");
        let both = GradMask { input: true, parameters: true };
        let (at_images, gradients) = judging.backward(&slopes, both).unwrap();
        assert_close(&at_images.unwrap(), found.get(&input).unwrap(), 1e-4, "images");
        assert_eq!(gradients.len(), parameters.iter().count());
        for (name, var) in parameters.iter() {
            assert_close(&gradients[name], found.get(var).unwrap(), 1e-4, name);
        }

        let others = discriminator.forward(&images(), &[1, 0, 1, 0], Pass::Infer).unwrap();
        let same = discriminator.forward(&images(), &labels, Pass::Infer).unwrap();
        let differ: Vec<bool> =
            values(&others).iter().zip(values(&same)).map(|(a, b)| *a != b).collect();
        assert_eq!(differ, [true, false, false, true], "{by:?}");
    }
}

/// By hand: the label chooses one of the first values, and the last counts for all.
#[test]
fn projection_adds_the_class_to_what_all_share() {
    let (discriminator, _) = discriminator(Conditioning::Projection);
    let of = |label| values(&discriminator.forward(&images(), &[label; 4], Pass::Infer).unwrap());
    let all = discriminator.network().forward(&images(), Pass::Infer).unwrap();
    let all = all.flatten_from(1).unwrap().to_vec2::<f32>().unwrap();
    for (picture, logits) in all.iter().enumerate() {
        let [first, second, third, shared] = logits[..] else { panic!("{logits:?}") };
        for (label, own) in [(0, first), (1, second), (2, third)] {
            assert!((of(label)[picture] - own - shared).abs() < 1e-6);
        }
    }
}

#[test]
fn a_generator_draws_the_class_it_is_told() {
    let generator = generator();
    let draw = |labels: &[u32]| {
        generator.sample_classes(labels, &mut ChaCha8Rng::seed_from_u64(1)).unwrap()
    };
    let (first, second) = (draw(&[0, 1, 2]), draw(&[0, 2, 2]));
    let picture = |all: &Tensor, i| values(&all.get(i).unwrap());
    assert_eq!(picture(&first, 0), picture(&second, 0));
    assert_ne!(picture(&first, 1), picture(&second, 1));
    assert_eq!(picture(&first, 2), picture(&second, 2));
    // Without labels, all classes in turn.
    let turns = generator.sample(4, &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
    let told = generator.sample_classes(&[0, 1, 2, 0], &mut ChaCha8Rng::seed_from_u64(2)).unwrap();
    assert_eq!(values(&turns), values(&told));
}

#[test]
fn labels_that_do_not_fit_are_refused() {
    let (discriminator, _) = discriminator(Conditioning::Concatenation);
    let error = |labels: &[u32]| {
        discriminator.forward(&images(), labels, Pass::Infer).unwrap_err().to_string()
    };
    assert_eq!(error(&[0, 1]), "2 labels for 4 pictures");
    assert_eq!(error(&[0, 1, 3, 0]), "label 3: there are 3 classes, from 0");
    let error = generator().sample_classes(&[7], &mut ChaCha8Rng::seed_from_u64(1)).unwrap_err();
    assert_eq!(error.to_string(), "label 7: there are 3 classes, from 0");
    let config = dcgan(4).generator(IMAGE.into(), vec![], true).unwrap();
    let error = Parameters::fresh(1, &Device::Cpu, |vars| Generator::new(config, vars));
    assert_eq!(error.unwrap_err().to_string(), "a conditional generator needs classes");
}

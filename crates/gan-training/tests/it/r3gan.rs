//! The block of R3GAN that `docs/format.md` shows, in a class-conditional pair.

use crate::{all_values, hyperparameters, values};
use gan_training::candle_core::{Device, Tensor};
use gan_training::gan_models::{
    Activation, Architecture, ClassCondition, Conditioning, Custom, Layer, Parameters,
    UpsampleFilter, WeightInit, plan,
};
use gan_training::{Gan, GanLoss};

fn block() -> Layer {
    let text = include_str!("../../../../docs/format.md");
    let (_, text) = text.split_once("```json\n").unwrap();
    serde_json::from_str(text.split_once("```").unwrap().0).unwrap()
}

fn conv(channels: usize) -> Layer {
    Layer::Conv { channels, kernel: 1, stride: 1, bias: false, groups: 1 }
}

/// For images of 8x8 pixels in two classes, with R3GAN's loss and penalties.
fn pair() -> Gan {
    let generator = vec![
        Layer::Dense { units: 32, bias: false },
        Layer::Basis(4, 4),
        block(),
        Layer::Upsample { factor: 2, filter: UpsampleFilter::Bilinear },
        block(),
        conv(1),
        Layer::Activation(Activation::Tanh),
    ];
    let discriminator = vec![conv(32), block(), Layer::Downsample(2), block()];
    let custom = Custom::new(6, WeightInit::FanInNormal(1.0), generator, discriminator);
    let (image, network) = ((1, 8, 8).into(), Architecture::Custom(custom));
    let classes = ["even", "odd"].map(String::from).to_vec();
    let generator = network.generator(image, classes, true).unwrap();
    let condition = ClassCondition::new(2, Conditioning::Projection);
    let discriminator = network.discriminator(image, Some(condition)).unwrap();
    let mut settings = hyperparameters();
    (settings.batch_size, settings.loss) = (8, GanLoss::Relativistic);
    (settings.regularization.r1_gamma, settings.regularization.r2_gamma) = (0.1, 0.1);
    (settings.generator_adam.lr, settings.discriminator_adam.lr) = (1e-3, 1e-3);
    Gan::init(&generator, &discriminator, settings, 3, &Device::Cpu).unwrap()
}

fn both(gan: &Gan) -> [&Parameters; 2] {
    [gan.generator_parameters(), gan.discriminator_parameters()]
}

/// Trains for some steps on stripes, across or down by class; returns the discriminator's losses.
fn train(gan: &mut Gan, steps: usize) -> Vec<f32> {
    let labels: Vec<u32> = (0..8).map(|image| image % 2).collect();
    let pixel = |i: usize| {
        let (image, row, column) = (i / 64, i / 8 % 8, i % 8);
        let along = if image % 2 == 0 { row } else { column };
        if (along + image / 2) % 4 < 2 { 1f32 } else { -1.0 }
    };
    let images: Vec<f32> = (0..8 * 64).map(pixel).collect();
    let images = Tensor::from_vec(images, (8, 1, 8, 8), &Device::Cpu).unwrap();
    let mut step = || {
        let output = gan.train_step(&images, &labels).unwrap();
        gan.read_stats(&output).unwrap().discriminator_loss
    };
    (0..steps).map(|_| step()).collect()
}

#[test]
fn the_block_has_the_weights_of_its_paper() {
    let planned = plan((32, 8, 8).into(), &[block()]).unwrap()[0];
    assert_eq!(planned.output, (32, 8, 8).into());
    assert_eq!(planned.trainable, 32 * 64 + 64 + 9 * 16 * 64 + 64 + 64 * 32);
}

#[test]
fn every_weight_of_the_block_learns() {
    let mut gan = pair();
    let before = both(&gan).map(|parameters| parameters.deep_clone().unwrap());
    let last = values(before[0].get("layers.2.body.4.weight").unwrap());
    assert!(last.iter().all(|&value| value == 0.0), "the block begins as its shortcut");
    let losses = train(&mut gan, 40);
    for (before, after) in before.iter().zip(both(&gan)) {
        for (name, var) in after.iter() {
            assert_ne!(values(before.get(name).unwrap()), values(var), "{name} has not moved");
        }
    }
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len() as f32;
    assert!(mean(&losses[35..]) < 0.8 * mean(&losses[..5]), "{losses:?}");
}

#[test]
fn the_pair_trains_to_the_same_bytes_on_one_thread_and_two() {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut gan = pair();
            train(&mut gan, 3);
            let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            both(&gan).map(|parameters| bits(all_values(parameters)))
        })
    };
    assert!(with(1) == with(2));
}

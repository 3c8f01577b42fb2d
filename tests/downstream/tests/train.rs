//! Training steps of the recipe `default`.

use std::time::Duration;

use candle_core::{Device, Tensor};
use downstream::shortest;
use gan_training::{Gan, Recipe};

/// With the profile a step takes 20 to 60 ms; without its first two lines, 4 seconds and more.
#[test]
fn a_step_in_a_dev_build_is_fast() {
    let recipe = Recipe::built_in("default").unwrap().unwrap();
    let shape = (1, 28, 28).into();
    let generator = recipe.network.generator(shape, Vec::new(), false).unwrap();
    let discriminator = recipe.network.discriminator(shape, None).unwrap();
    let mut gan = Gan::init(&generator, &discriminator, recipe.training, 1, &Device::Cpu).unwrap();
    let pixels = (0..32 * 28 * 28).map(|i| (i as f32 * 0.3).sin()).collect();
    let images = Tensor::from_vec::<_, f32>(pixels, (32, 1, 28, 28), &Device::Cpu).unwrap();
    let mut losses = Vec::new();
    let time = shortest(|| {
        for _ in 0..4 {
            let output = gan.train_step(&images, &[]).unwrap();
            losses.push(gan.read_stats(&output).unwrap().discriminator_loss);
        }
    });
    assert_eq!(gan.step(), 20);
    assert!(losses[19] < losses[0], "the discriminator learns: {losses:?}");
    assert!(time / 4 < Duration::from_millis(1000), "a step took {:?}", time / 4);
}

//! Drawing with a pretrained generator.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use candle_core::Device;
use downstream::{shortest, weights};
use gan_models::Generator;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

#[test]
fn one_image_is_a_digit() {
    let generator = Generator::load(weights(), &Device::Cpu).unwrap();
    let image = generator.sample(1, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    assert_eq!(image.dims(), [1, 1, 28, 28]);
    let pixels = image.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(pixels.iter().all(|pixel| (-1.0..=1.0).contains(pixel)));
    // Bright strokes on a dark ground, without a bright border.
    let bright = pixels.iter().filter(|&&pixel| pixel > 0.5).count();
    assert!((30..250).contains(&bright), "{bright} bright pixels");
    assert!(pixels[..28].iter().all(|&pixel| pixel < -0.9), "{:?}", &pixels[..28]);
}

/// With the profile 32 images take 7 to 25 ms; without its first two lines, 2 to 3 seconds.
#[test]
fn a_dev_build_is_fast() {
    let generator = Generator::load(weights(), &Device::Cpu).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let time = shortest(|| drop(generator.sample(32, &mut rng).unwrap()));
    assert!(time < Duration::from_millis(500), "32 images took {time:?}");
}

#[test]
fn the_program_of_a_model_card_draws() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("model-card");
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(place.join("generator")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(weights().join(name), place.join("generator").join(name)).unwrap();
    }
    let status = Command::new(env!("CARGO_BIN_EXE_draw")).current_dir(&place).status().unwrap();
    assert!(status.success(), "{status}");
    let images = place.join("images.safetensors");
    let images =
        candle_core::safetensors::load(images, &Device::Cpu).unwrap().remove("images").unwrap();
    let generator = Generator::load(weights(), &Device::Cpu).unwrap();
    let want = generator.sample(16, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
    assert_eq!(images.dims(), [16, 1, 28, 28]);
    let values =
        |images: candle_core::Tensor| images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(values(images), values(want));
}

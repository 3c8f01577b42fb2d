//! Generates images with a trained generator.
//!
//! usage: cargo run -p gan-models --example draw -- GENERATOR_DIRECTORY IMAGE.png
#![allow(clippy::print_stderr, reason = "a program with a usage line")]

use gan_models::Generator;
use rand::SeedableRng;
use std::error::Error;
use std::io::BufWriter;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, image] = arguments.as_slice() else {
        eprintln!("usage: draw GENERATOR_DIRECTORY IMAGE.png");
        std::process::exit(2);
    };
    let generator = Generator::load(directory, &candle_core::Device::Cpu)?;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let images = generator.sample(10, &mut rng)?;

    // (B, C, H, W) in [-1, 1] to one row of images, (H, B * W, C) in 0..=255.
    let (batch, channels, height, width) = images.dims4()?;
    let row = images.permute((2, 0, 3, 1))?.flatten_all()?.to_vec1::<f32>()?;
    let bytes: Vec<u8> = row.iter().map(|value| ((value + 1.0) * 127.5).round() as u8).collect();
    let file = BufWriter::new(std::fs::File::create(image)?);
    let mut encoder = png::Encoder::new(file, (batch * width) as u32, height as u32);
    encoder.set_color(if channels == 1 { png::ColorType::Grayscale } else { png::ColorType::Rgb });
    encoder.write_header()?.write_image_data(&bytes)?;
    Ok(())
}

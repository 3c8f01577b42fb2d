//! The Rust program that the model card of a generator of digits shows.

fn main() -> gan_models::Result<()> {
    use gan_models::{Generator, candle_core::Device, rand::SeedableRng, weights};
    let generator = Generator::load("generator", &Device::Cpu)?;
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let images = generator.sample(16, &mut rng)?; // (16, 1, 28, 28) in [-1, 1]
    weights::save_tensors("images.safetensors".as_ref(), [("images", images)])
}

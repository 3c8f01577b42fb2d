//! `interpolate`: images between latents and between classes.

use crate::cli::commands::InterpolateArgs;
use crate::cli::values::InterpolationFormat;
use crate::device;
use crate::run::generator::GeneratorLocation;
use crate::sampling;
use anyhow::{Result, bail, ensure};
use candle_core::{Device, Tensor};
use gan_data::{class_position, png, range};
use gan_files::Line;
use gan_models::{Generator, GeneratorConfig, Mode, slerp};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::io::Write;

/// Generates an interpolation and writes it, and prints where it is.
///
/// # Errors
/// A generator that cannot be read, a class that it does not generate, a path that cannot be written.
pub(crate) fn interpolate(args: &InterpolateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(args.frames > 0, "--frames 0: at least 1 from each point to the next is needed");
    let images = args.points.unwrap_or(1).saturating_mul(args.frames.saturating_add(1));
    ensure!(
        images <= MAX_IMAGES,
        "--points and --frames ask for {images} images; the maximum is {MAX_IMAGES}"
    );
    let location = GeneratorLocation::find(&args.generator)?;
    device::set_precision(location.precision(None));
    let generator = Generator::load(&location.directory, &Device::Cpu)?;
    let config = generator.config();
    let points = points(&generator, args)?;
    let shape = sampling::image_shape(config.image);
    let scale = usize::from(args.scale);
    let bytes = images.max(points.len() * (args.frames + 1)).saturating_mul(shape.len());
    let bytes = bytes.saturating_mul(scale * scale);
    ensure!(
        bytes as u64 <= gan_data::idx::MAX_BYTES,
        "--points, --frames and --scale ask for {bytes} bytes of pixels; the maximum is {}",
        gan_data::idx::MAX_BYTES
    );
    let looped = args.format == InterpolationFormat::Animation;
    let inputs = interpolation(&points, config.latent_dim, args.frames, looped);
    let pixels = device::pool(args.threads)?.install(|| pixels_of(&generator, &inputs))?;
    let (shape, pixels) = png::upscale(shape, &pixels, args.scale.into())?;
    match args.format {
        // A row from each point to the next.
        InterpolationFormat::Grid => png::write_grid(&args.out, shape, &pixels, args.frames + 1)?,
        InterpolationFormat::Animation => {
            png::write_animation(&args.out, shape, &pixels, args.fps)?
        }
    }
    let (from, to) = (Line(location.directory.display()), Line(args.out.display()));
    writeln!(print, "{} images by {from} in {to}", inputs.len())?;
    Ok(())
}

/// The generator's input at each point: a latent and, where the generator is conditional, a value for
/// each class.
fn points(generator: &Generator, args: &InterpolateArgs) -> Result<Vec<Vec<f32>>> {
    let config = generator.config();
    let labels = labels(config, args)?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed.or_zero());
    let latents = match args.points {
        // The same latent for several classes.
        Some(1) => generator.sample_latents(1, &mut rng)?.repeat((labels.len(), 1))?,
        _ => generator.sample_latents(labels.len(), &mut rng)?,
    };
    Ok(generator.input(&latents, &labels)?.to_vec2()?)
}

/// The maximum number of images of an interpolation.
const MAX_IMAGES: usize = 10_000;

/// The pixels of the images of these inputs.
fn pixels_of(generator: &Generator, inputs: &[Vec<f32>]) -> Result<Vec<u8>> {
    let mut pixels = Vec::new();
    for inputs in inputs.chunks(sampling::CHUNK) {
        let dims = (inputs.len(), generator.config().input_len());
        let input = Tensor::from_vec(inputs.concat(), dims, &Device::Cpu)?;
        pixels.extend(range::to_bytes(&generator.forward(&input, Mode::Eval)?)?);
    }
    Ok(pixels)
}

/// The class of each point.
fn labels(config: &GeneratorConfig, args: &InterpolateArgs) -> Result<Vec<u32>> {
    let all = config.classes.join(", ");
    if !args.class.is_empty() && !config.conditional {
        bail!("--class: this generator is not conditioned on the class");
    }
    let mut labels = Vec::new();
    if args.class.is_empty() {
        labels.extend(0..if config.conditional { config.classes.len() as u32 } else { 1 });
    }
    for wanted in &args.class {
        match class_position(&config.classes, wanted) {
            Some(label) => labels.push(label as u32),
            None => bail!("--class {wanted}: this generator generates class {all} only"),
        }
    }
    let count = match args.points {
        None => labels.len().max(2),
        // One latent, and each class in turn.
        Some(1) => labels.len(),
        Some(points) => points,
    };
    ensure!(
        count >= 2 && count >= labels.len(),
        "--points {}: an interpolation needs 2 points, and one for each --class; --points 1 keeps one \
         latent and interpolates between several classes",
        args.points.unwrap_or(count)
    );
    Ok((0..count).map(|i| labels[i % labels.len()]).collect())
}

/// The inputs from each point to the next, in `frames` steps, both ends included; or, looped, from the
/// last point back to the first too, each point once. The first `latent_dim` values, the latent, are
/// interpolated spherically, the class values after them linearly.
fn interpolation(
    points: &[Vec<f32>],
    latent_dim: usize,
    frames: usize,
    looped: bool,
) -> Vec<Vec<f32>> {
    let ends = if looped { points.len() } else { points.len() - 1 };
    let steps = if looped { frames } else { frames + 1 };
    let segment = |from: usize| {
        let (from, to) = (&points[from], &points[(from + 1) % points.len()]);
        (0..steps).map(move |step| {
            let fraction = step as f32 / frames as f32;
            let mut point = slerp(&from[..latent_dim], &to[..latent_dim], fraction);
            let classes = from[latent_dim..].iter().zip(&to[latent_dim..]);
            point.extend(classes.map(|(from, to)| from + fraction * (to - from)));
            point
        })
    };
    (0..ends).flat_map(segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_both_ends_and_an_animation_loops() {
        // A latent of two values, two classes.
        let points =
            [vec![1.0, 0.0, 1.0, 0.0], vec![0.0, 1.0, 1.0, 0.0], vec![-1.0, 0.0, 0.0, 1.0]];
        let near = |got: &[f32], want: &[f32]| {
            got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6)
        };
        let grid = interpolation(&points, 2, 2, false);
        assert_eq!(grid.len(), 6);
        assert!(near(&grid[0], &points[0]) && near(&grid[2], &points[1]));
        assert!(near(&grid[3], &points[1]) && near(&grid[5], &points[2]));
        let looped = interpolation(&points, 2, 4, true);
        assert_eq!(looped.len(), 12);
        assert!(near(&looped[0], &points[0]) && near(&looped[8], &points[2]));
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!(near(&looped[6], &[-half, half, 0.5, 0.5]));
        assert!(near(&looped[2], &[half, half, 1.0, 0.0]));
    }
}

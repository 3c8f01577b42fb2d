//! `interpolate`: the pictures on the way from noise to noise and from class to class.

use crate::args::{InterpolateArgs, WalkFormat};
use crate::device;
use crate::generate;
use anyhow::{Result, bail, ensure};
use candle_core::{Device, Tensor};
use gan_data::{class_position, png, range};
use gan_models::{Generator, GeneratorConfig, Pass, slerp};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::io::Write;

/// Draws a walk and writes it, and prints where it is.
///
/// # Errors
/// A generator that cannot be read, a class that it does not draw, a path that cannot be written.
pub(crate) fn interpolate(args: &InterpolateArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    ensure!(args.frames > 0, "--frames 0: at least 1 from each point to the next is needed");
    let pictures = args.points.unwrap_or(1).saturating_mul(args.frames.saturating_add(1));
    ensure!(
        pictures <= MOST,
        "--points and --frames ask for {pictures} pictures, of at most {MOST}"
    );
    let (run, folder) = generate::find(&args.generator)?;
    device::set_precision(generate::precision(None, run.as_deref()));
    let generator = Generator::load(&folder, &Device::Cpu)?;
    let config = generator.config();
    let points = points(&generator, args)?;
    let steps = walk(&points, config.latent_dim, args.frames, args.format == WalkFormat::Film);
    let images = device::pool(args.threads)?.install(|| draw(&generator, &steps))?;
    let shape = generate::image_shape(config.image);
    let (shape, pixels) = png::upscale(shape, &images, args.scale.into())?;
    match args.format {
        // From each point to the next a row.
        WalkFormat::Grid => png::write_grid(&args.out, shape, &pixels, args.frames + 1)?,
        WalkFormat::Film => png::write_animation(&args.out, shape, &pixels, args.fps)?,
    }
    writeln!(print, "{} pictures by {} in {}", steps.len(), folder.display(), args.out.display())?;
    Ok(())
}

/// What the pictures of the points are made from: noise, and where the class can be chosen a value
/// for each class.
fn points(generator: &Generator, args: &InterpolateArgs) -> Result<Vec<Vec<f32>>> {
    let config = generator.config();
    let labels = labels(config, args)?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let noise = match args.points {
        // One and the same noise as several classes.
        Some(1) => generator.noise(1, &mut rng)?.repeat((labels.len(), 1))?,
        _ => generator.noise(labels.len(), &mut rng)?,
    };
    Ok(generator.input(&noise, &labels)?.to_vec2()?)
}

/// Most pictures of a walk.
const MOST: usize = 10_000;

/// The pixels of the pictures made from these inputs.
fn draw(generator: &Generator, inputs: &[Vec<f32>]) -> Result<Vec<u8>> {
    let mut pixels = Vec::new();
    for inputs in inputs.chunks(generate::CHUNK) {
        let dims = (inputs.len(), generator.config().input_len());
        let input = Tensor::from_vec(inputs.concat(), dims, &Device::Cpu)?;
        pixels.extend(range::to_bytes(&generator.forward(&input, Pass::Infer)?)?);
    }
    Ok(pixels)
}

/// The class of each point.
fn labels(config: &GeneratorConfig, args: &InterpolateArgs) -> Result<Vec<u32>> {
    let all = config.classes.join(", ");
    if !args.class.is_empty() && !config.conditional {
        bail!("--class: this generator draws what it was trained on, without a choice of class");
    }
    let mut labels = Vec::new();
    if args.class.is_empty() {
        labels.extend(0..if config.conditional { config.classes.len() as u32 } else { 1 });
    }
    for wanted in &args.class {
        match class_position(&config.classes, wanted) {
            Some(label) => labels.push(label as u32),
            None => bail!("--class {wanted}: this generator draws class {all} only"),
        }
    }
    let count = match args.points {
        None => labels.len().max(2),
        // One noise, and each class in turn.
        Some(1) => labels.len(),
        Some(points) => points,
    };
    ensure!(
        count >= 2 && count >= labels.len(),
        "--points {}: a walk needs 2 points, and one for each --class; --points 1 keeps to one noise \
         and walks through several classes",
        args.points.unwrap_or(count)
    );
    Ok((0..count).map(|i| labels[i % labels.len()]).collect())
}

/// The points and what lies between each and the next: `frames` steps apart, each way with both of
/// its ends; or, for a film, in a circle, without coming to the first again. Noise, of `latent_dim`
/// values, goes along the arc, the class behind it on a straight line.
fn walk(points: &[Vec<f32>], latent_dim: usize, frames: usize, film: bool) -> Vec<Vec<f32>> {
    let ends = if film { points.len() } else { points.len() - 1 };
    let steps = if film { frames } else { frames + 1 };
    let way = |from: usize| {
        let (from, to) = (&points[from], &points[(from + 1) % points.len()]);
        (0..steps).map(move |step| {
            let share = step as f32 / frames as f32;
            let mut point = slerp(&from[..latent_dim], &to[..latent_dim], share);
            let classes = from[latent_dim..].iter().zip(&to[latent_dim..]);
            point.extend(classes.map(|(from, to)| from + share * (to - from)));
            point
        })
    };
    (0..ends).flat_map(way).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_both_ends_and_a_film_comes_round() {
        // Two values of noise, two classes.
        let points =
            [vec![1.0, 0.0, 1.0, 0.0], vec![0.0, 1.0, 1.0, 0.0], vec![-1.0, 0.0, 0.0, 1.0]];
        let near = |got: &[f32], want: &[f32]| {
            got.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-6)
        };
        let grid = walk(&points, 2, 2, false);
        assert_eq!(grid.len(), 6);
        assert!(near(&grid[0], &points[0]) && near(&grid[2], &points[1]));
        assert!(near(&grid[3], &points[1]) && near(&grid[5], &points[2]));
        let film = walk(&points, 2, 4, true);
        assert_eq!(film.len(), 12);
        assert!(near(&film[0], &points[0]) && near(&film[8], &points[2]));
        let half = std::f32::consts::FRAC_1_SQRT_2;
        assert!(near(&film[6], &[-half, half, 0.5, 0.5]));
        assert!(near(&film[2], &[half, half, 1.0, 0.0]));
    }
}

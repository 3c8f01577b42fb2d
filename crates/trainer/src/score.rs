//! `score`: what a trained discriminator says of pictures.

use crate::args::ScoreArgs;
use crate::checkpoint;
use crate::device;
use crate::gan::Gan;
use crate::generate;
use crate::run_folder::RunFolder;
use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use gan_data::folder::{self, Colour, Options};
use gan_data::{Error, ImageSet, ImageShape, Split, class_position, range};
use gan_models::Pass;
use std::io::Write;
use std::path::Path;

/// Pictures judged at a time.
const CHUNK: usize = 256;

/// Prints the decision value of each picture: negative for fake, positive for real.
///
/// # Errors
/// A run without a checkpoint; pictures that cannot be read, or are of another shape and stay so; a
/// class that is missing or not the run's.
pub(crate) fn score(args: &ScoreArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let run = RunFolder::named_or_newest(args.run.as_deref())?;
    let (folder, config) = RunFolder::open(&run)?;
    device::set_precision(config.precision);
    let mut gan = Gan::new(&config, &Device::Cpu)?;
    checkpoint::restore_newest(&mut gan, &folder.checkpoints(), &Device::Cpu)?;
    let label = label(&config.generator.classes, gan.generator.config().conditional, args)?;
    let shape = generate::image_shape(config.discriminator.image);
    device::pool(args.threads)?.install(|| {
        for path in &args.images {
            let pictures = read(path, shape)?;
            for (chunk, pixels) in pictures.pixels.chunks(CHUNK * shape.len()).enumerate() {
                let batch = pixels.len() / shape.len();
                let images = range::to_tensor(pixels, shape)?;
                let logits =
                    gan.discriminator.forward(&images, &vec![label; batch], Pass::Infer)?;
                for (i, logit) in logits.to_vec1::<f32>()?.into_iter().enumerate() {
                    let value = config.loss.decision(logit, config.real_label as f32);
                    let verdict = if value > 0.0 { "real" } else { "fake" };
                    let which = match pictures.len() {
                        1 => String::new(),
                        _ => format!(" picture {}", chunk * CHUNK + i),
                    };
                    writeln!(print, "{value:+9.4}  {verdict}  {}{which}", path.display())?;
                }
            }
        }
        Ok(())
    })
}

/// The pictures of a file or folder. A JPEG or PNG picture is brought to the shape that is judged, as
/// in training, if that is a square.
fn read(path: &Path, shape: ImageShape) -> Result<ImageSet> {
    let is_picture = path.extension().is_some_and(|extension| {
        ["png", "jpg", "jpeg"].iter().any(|known| extension.eq_ignore_ascii_case(known))
    });
    if is_picture && path.is_file() && shape.height == shape.width {
        let pixels = folder::read(path, shape.height, Some(Colour::of(shape.channels)))?;
        return Ok(ImageSet::new(shape, pixels, None)?);
    }
    let pictures = match ImageSet::load(path) {
        // Pictures of other kinds or sizes, and folders of them.
        Err(Error::NoImages { .. } | Error::MixedShapes { .. }) if shape.height == shape.width => {
            let colour = Some(Colour::of(shape.channels));
            let options = Options::new().size(shape.height).colour(colour).strict(true);
            ImageSet::from(&folder::load(path, Split::Train, &options)?.dataset)
        }
        pictures => pictures?,
    };
    ensure!(
        pictures.shape == shape,
        "{}: {}, but this discriminator judges {}",
        path.display(),
        describe(pictures.shape),
        describe(shape)
    );
    Ok(pictures)
}

fn describe(shape: ImageShape) -> String {
    let colour = if shape.channels == 1 { "grey" } else { "colour" };
    format!("{}x{} pixels in {colour}", shape.width, shape.height)
}

/// The class that the pictures are said to be of; any where classes are not told apart.
fn label(classes: &[String], conditional: bool, args: &ScoreArgs) -> Result<u32> {
    if !conditional {
        return Ok(0);
    }
    let all = classes.join(", ");
    let Some(wanted) = &args.class else {
        bail!("this discriminator judges pictures of a class: name it by --class, one of {all}");
    };
    let label = class_position(classes, wanted)
        .with_context(|| format!("--class {wanted}: this run has classes {all}"))?;
    Ok(label as u32)
}

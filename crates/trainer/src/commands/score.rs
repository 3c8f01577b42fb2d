//! `score`: a trained discriminator's decision value of images.

use crate::cli::commands::ScoreArgs;
use crate::device;
use crate::images;
use crate::run::checkpoint;
use crate::run::directory::RunDirectory;
use crate::sampling;
use anyhow::{Context, Result, bail};
use candle_core::Device;
use gan_data::{class_position, range};
use gan_files::Line;
use gan_models::Mode;
use std::io::Write;

/// Number of images in a forward pass.
const CHUNK: usize = 256;

/// Prints the decision value of each image: negative for fake, positive for real.
///
/// # Errors
/// A run without a checkpoint; images that cannot be read, or are of another shape and cannot be
/// resized; a class that is missing or not the run's.
pub(crate) fn score(args: &ScoreArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let run = RunDirectory::named_or_newest(args.run.as_deref())?;
    let (directory, config) = RunDirectory::open(&run)?;
    device::set_precision(config.precision);
    config.check().with_context(|| directory.config().display().to_string())?;
    let gan = checkpoint::load_newest(&config, &Device::Cpu, &directory.checkpoints())?;
    let label = label(&config.generator.classes, gan.generator().config().conditional, args)?;
    let shape = sampling::image_shape(config.discriminator.image);
    device::pool(args.threads)?.install(|| {
        for path in &args.images {
            let images_of = images::read(path, shape, "discriminator")?;
            for (chunk, pixels) in images_of.pixels.chunks(CHUNK * shape.len()).enumerate() {
                let batch = pixels.len() / shape.len();
                let images = range::to_tensor(pixels, shape)?;
                let logits =
                    gan.discriminator().forward(&images, &vec![label; batch], Mode::Eval)?;
                for (i, logit) in logits.to_vec1::<f32>()?.into_iter().enumerate() {
                    let value = config.training.loss.decision(logit, config.training.real_label);
                    let verdict = if value > 0.0 { "real" } else { "fake" };
                    let which = match images_of.len() {
                        1 => String::new(),
                        _ => format!(" image {}", chunk * CHUNK + i),
                    };
                    let path = Line(path.display());
                    writeln!(print, "{value:+9.4}  {verdict}  {path}{which}")?;
                }
            }
        }
        Ok(())
    })
}

/// The class that the images are scored as; 0 if the discriminator is not conditional.
fn label(classes: &[String], conditional: bool, args: &ScoreArgs) -> Result<u32> {
    if !conditional {
        return Ok(0);
    }
    let all = classes.join(", ");
    let Some(wanted) = &args.class else {
        bail!("this discriminator is class-conditional: name the class by --class, one of {all}");
    };
    let label = class_position(classes, wanted)
        .with_context(|| format!("--class {wanted}: this run has classes {all}"))?;
    Ok(label as u32)
}

//! `export-onnx`: a trained generator as an ONNX model.

use crate::cli::commands::ExportOnnxArgs;
use crate::run::generator::GeneratorLocation;
use anyhow::{Context, Result};
use candle_core::Device;
use gan_files::Line;
use gan_models::{FeatureShape, Generator};
use std::io::Write;

/// Writes the model, and prints its inputs and its output.
///
/// # Errors
/// A generator that cannot be read, a layer that ONNX does not have, a file that cannot be written.
pub(crate) fn export_onnx(args: &ExportOnnxArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let location = GeneratorLocation::find(&args.generator)?;
    let (generator, parameters) = Generator::load_trainable(&location.directory, &Device::Cpu)?;
    let model = gan_onnx::to_onnx(&generator, &parameters)
        .with_context(|| location.directory.display().to_string())?;
    gan_files::write(&args.out, &model)
        .with_context(|| format!("writing {}", args.out.display()))?;
    let config = generator.config();
    let label = if config.conditional { ", label: int64 (N)" } else { "" };
    let FeatureShape { channels, height, width } = config.image;
    writeln!(
        print,
        "the generator of {} in {}: z: float32 (N, {}){label} -> images: float32 (N, {channels}, \
         {height}, {width})",
        Line(location.directory.display()),
        Line(args.out.display()),
        config.latent_dim
    )?;
    Ok(())
}

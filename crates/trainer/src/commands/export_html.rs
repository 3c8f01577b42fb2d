//! `export-html`: a trained generator as one HTML file that draws without a server or a network.

use crate::cli::commands::ExportHtmlArgs;
use crate::device;
use crate::run::generator::GeneratorLocation;
use crate::sampling::labels_in_turn;
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use candle_core::{DType, Device, Tensor};
use gan_data::range;
use gan_files::Line;
use gan_models::{Generator, Mode, Parameters, pytorch};
use half::f16;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Write;

const PAGE: &str = include_str!("../../assets/page/page.html");
const STYLE: &str = include_str!("../../assets/page/style.css");
const GENERATOR: &str = include_str!("../../assets/page/generator.js");
const CONTROLS: &str = include_str!("../../assets/page/page.js");

/// Number of principal directions.
const DIRECTIONS: usize = 8;
/// Number of images that decide whether half precision is enough.
const COMPARED: usize = 100;
/// Largest difference of a byte of these images, if it is.
const MAX_DIFFERENCE: u8 = 2;

/// What the page knows of the generator besides its weights.
#[derive(Serialize)]
struct Model<'a> {
    config: &'a gan_models::GeneratorConfig,
    tensors: Vec<Entry>,
    /// Latent vectors, each a standard deviation along a principal direction.
    directions: Vec<Vec<f32>>,
}

/// Where a tensor is in the weights, in bytes.
#[derive(Serialize)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    offset: usize,
    half: bool,
}

/// Writes the page, and prints its size and the precision of its weights.
///
/// # Errors
/// A generator that cannot be read, a file that cannot be written.
pub(crate) fn export_html(args: &ExportHtmlArgs, print: &mut (dyn Write + Send)) -> Result<()> {
    let location = GeneratorLocation::find(&args.generator)?;
    device::set_precision(location.precision(None));
    let (generator, parameters) = Generator::load_trainable(&location.directory, &Device::Cpu)?;
    let is_half = half_is_enough(&generator, &parameters)?;
    let title = title(&location);
    let page = page(&title, &generator, &parameters, is_half)?;
    gan_files::write(&args.out, page.as_bytes())
        .with_context(|| format!("writing {}", args.out.display()))?;
    writeln!(
        print,
        "the generator of {} in {}: {} bytes, weights in {}",
        Line(location.directory.display()),
        Line(args.out.display()),
        page.len(),
        if is_half { "f16" } else { "f32" }
    )?;
    Ok(())
}

/// The name of the run, or of the generator's directory.
fn title(location: &GeneratorLocation) -> String {
    let path = location.run.as_ref().unwrap_or(&location.directory);
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    whole.file_name().unwrap_or(whole.as_os_str()).to_string_lossy().into_owned()
}

/// Whether weights in half precision change no byte of an image by more than [`MAX_DIFFERENCE`].
fn half_is_enough(generator: &Generator, parameters: &Parameters) -> Result<bool> {
    let config = generator.config();
    let labels = labels_in_turn(config, COMPARED);
    let latents = generator.sample_latents(COMPARED, &mut ChaCha8Rng::seed_from_u64(0))?;
    let input = generator.input(&latents, &labels)?;
    let bytes = |generator: &Generator| -> Result<Vec<u8>> {
        Ok(range::to_bytes(&generator.forward(&input, Mode::Eval)?)?)
    };
    let whole = bytes(generator)?;
    let rounded = parameters.deep_clone()?;
    for (_, var) in rounded.iter().filter(|(_, var)| is_matrix(var)) {
        var.set(&var.as_detached_tensor().to_dtype(DType::F16)?.to_dtype(DType::F32)?)?;
    }
    let rounded = Generator::new(config.clone(), rounded.builder(&Device::Cpu))?;
    let differences = bytes(&rounded)?.into_iter().zip(whole).map(|(a, b)| a.abs_diff(b));
    Ok(differences.max().is_some_and(|largest| largest <= MAX_DIFFERENCE))
}

/// Whether a tensor is one that half precision is worth: biases and statistics are few.
fn is_matrix(tensor: &Tensor) -> bool {
    tensor.rank() > 1
}

fn page(
    title: &str,
    generator: &Generator,
    parameters: &Parameters,
    is_half: bool,
) -> Result<String> {
    let config = generator.config();
    let tensors = pytorch::to_pytorch(generator.network(), &parameters.tensors())?;
    let tensors: BTreeMap<String, Tensor> = tensors.into_iter().collect();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let directions = generator.principal_directions(DIRECTIONS, 0, &mut rng)?.directions;
    let (tensors, weights) = pack(&tensors, is_half)?;
    let model = serde_json::to_string(&Model { config, tensors, directions })?;
    let image = config.image;
    let size = format!("{}x{}", image.width, image.height);
    // In a script element nothing but its end has a meaning.
    let parts = [
        ("title", escaped(title)),
        ("size", size),
        ("style", STYLE.to_string()),
        ("model", model.replace('<', "\\u003c")),
        ("weights", STANDARD.encode(weights)),
        ("generator", GENERATOR.to_string()),
        ("page", CONTROLS.to_string()),
    ];
    let mut page = String::new();
    let mut rest = PAGE;
    while let Some((before, (name, after))) =
        rest.split_once("{{").and_then(|(before, after)| Some((before, after.split_once("}}")?)))
    {
        page += before;
        page += parts.iter().find(|(part, _)| *part == name).map_or("", |(_, text)| text);
        rest = after;
    }
    Ok(page + rest)
}

/// A text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The bytes of the tensors, little endian, and where each is.
fn pack(tensors: &BTreeMap<String, Tensor>, is_half: bool) -> Result<(Vec<Entry>, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for (name, tensor) in tensors {
        let half = is_half && is_matrix(tensor);
        let (name, shape, offset) = (name.clone(), tensor.dims().to_vec(), bytes.len());
        entries.push(Entry { name, shape, offset, half });
        let values: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
        match half {
            true => bytes.extend(values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes())),
            false => bytes.extend(values.iter().flat_map(|v| v.to_le_bytes())),
        }
    }
    Ok((entries, bytes))
}

#[cfg(test)]
mod tests;

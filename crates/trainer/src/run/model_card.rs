//! The model card of a generator: `README.md` beside its weights, in the form that the Hugging Face hub
//! reads.

use crate::config::TrainConfig;
use crate::format;
use crate::run::command::{command, portable};
use crate::run::record::Quality;
use crate::sampling;
use gan_files::Line;
use gan_models::{FeatureShape, LatentDistribution};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Name of the card in the generator's directory.
pub(crate) const CARD_FILE: &str = "README.md";
/// Name of the image that the card shows.
pub(crate) const IMAGE_FILE: &str = "samples.png";

/// What the numbers of runs say: the beginning of a name and its meaning, a line each. `cargo xtask report`
/// says the same.
const MEANINGS: &str = include_str!("../../assets/meanings.tsv");

/// The metrics of a card, and the names by which [`MEANINGS`] has them.
const METRICS: [(&str, &str); 5] = [
    ("fd-mnistnet-2k", "fd-mnistnet"),
    ("fd-r64-2k", "fd-r64"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("accuracy", "class-accuracy"),
];

/// What is known about a generator when it is written. The card holds no time and no path of this machine,
/// so the same run writes the same bytes.
pub(crate) struct ModelCard<'a> {
    pub(crate) config: &'a TrainConfig,
    /// The step that the weights are of.
    pub(crate) step: u64,
    /// Its measurement, if it was measured.
    pub(crate) quality: Option<&'a Quality>,
}

impl ModelCard<'_> {
    /// The card's text, in Markdown.
    pub(crate) fn text(&self) -> String {
        let title = self.config.title();
        let parts = [
            format!("---\n{}---\n\n# {title}\n", self.front_matter(&title)),
            format!("![Generated images]({IMAGE_FILE})\n"),
            self.about(),
            self.metrics_table(),
            self.programs(),
            format!("## Training\n\n```sh\n{}\n```\n", self.command()),
        ];
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        parts.join("\n")
    }

    /// YAML. Texts are JSON strings, which YAML reads.
    fn front_matter(&self, title: &str) -> String {
        let (license, dataset) = known(&self.config.dataset);
        let mut text = format!(
            "license: {license}\nlibrary_name: candle\npipeline_tag: unconditional-image-generation\n\
             tags:\n- gan\n- candle\n- image-generation\n"
        );
        if let Some(dataset) = dataset {
            text += &format!("datasets:\n- {dataset}\n");
        }
        let metrics = self.metrics();
        if metrics.is_empty() {
            return text;
        }
        let name = json!(self.dataset());
        let kind = dataset.map_or_else(|| name.to_string(), String::from);
        text += &format!(
            "model-index:\n- name: {}\n  results:\n  - task:\n      type: \
             unconditional-image-generation\n    dataset:\n      type: {kind}\n      name: {name}\n    \
             metrics:\n",
            json!(title)
        );
        for (metric, meaning, value) in metrics {
            text +=
                &format!("    - type: {metric}\n      value: {value}\n      name: {meaning:?}\n");
        }
        text
    }

    /// The data set, without the directories of an absolute path.
    fn dataset(&self) -> String {
        let config = portable(object(&json!({ "dataset": self.config.dataset })));
        config["dataset"].as_str().unwrap_or_default().to_string()
    }

    fn about(&self) -> String {
        let TrainConfig { generator, images, classes, recipe, .. } = self.config;
        let image = format::image(sampling::image_shape(generator.image));
        let classes = match (generator.conditional, &classes[..]) {
            (true, _) => format!(", by class ({})", code(&generator.classes.join(", "))),
            (false, []) => String::new(),
            (false, classes) => format!(", of class {}", code(&classes.join(", "))),
        };
        format!(
            "A generator of images of {image}{classes}: the EMA weights of step {} of \
             the recipe {}, trained by candle-gan on {images} images of {}.{}\n",
            self.step,
            code(recipe),
            code(&self.dataset()),
            if generator.conditional { " Above, each row is a class." } else { "" },
        )
    }

    /// Names, meanings and values of what was measured.
    fn metrics(&self) -> Vec<(&'static str, &'static str, String)> {
        let quality = self.quality.and_then(|quality| serde_json::to_value(quality).ok());
        let value = |name: &str| quality.as_ref()?.get(name).and_then(Value::as_f64);
        let of = |(name, known): (&'static str, &str)| {
            let mut lines = MEANINGS.lines().filter_map(|line| line.split_once('\t'));
            let (_, meaning) = lines.find(|(of, _)| *of == known)?;
            Some((name, meaning, format!("{:.4}", value(name)?)))
        };
        METRICS.into_iter().filter_map(of).collect()
    }

    fn metrics_table(&self) -> String {
        let Some(quality) = self.quality else { return String::new() };
        let mut text = format!(
            "Measured at step {} on {} generated images:\n\n\
             | metric | value | what it is |\n|---|---|---|\n",
            self.step, quality.images
        );
        for (name, meaning, value) in self.metrics() {
            text += &format!("| `{name}` | {value} | {meaning} |\n");
        }
        if let Some(reason) = &quality.collapse {
            text += &format!("\nThe images have collapsed: {}.\n", code(reason));
        }
        text
    }

    /// Programs that draw with the generator.
    fn programs(&self) -> String {
        let generator = &self.config.generator;
        let (dim, classes) = (generator.latent_dim, generator.classes.len());
        let FeatureShape { channels, height, width } = generator.image;
        let shape = format!("(16, {channels}, {height}, {width}) in [-1, 1]");
        let is_truncated = generator.latent_distribution == LatentDistribution::TruncatedNormal;
        let torch_latents = match is_truncated {
            true => format!("torch.nn.init.trunc_normal_(torch.empty(16, {dim}), a=-2, b=2)"),
            false => format!("torch.randn(16, {dim})"),
        };
        let latents = match is_truncated {
            true => format!(
                "z = np.random.default_rng(1).standard_normal({}, np.float32)\n\
                 z = z[abs(z) <= 2][: 16 * {dim}].reshape(16, {dim})",
                32 * dim + 1000
            ),
            false => {
                format!("z = np.random.default_rng(1).standard_normal((16, {dim}), np.float32)")
            }
        };
        let inputs = match generator.conditional {
            true => format!("{{\"z\": z, \"label\": np.arange(16) % {classes}}}"),
            false => "{\"z\": z}".to_string(),
        };
        format!(
            "## Use\n\n\
             In Rust, with the crates `gan-models` and `rand_chacha`:\n\n\
             ```rust\n\
             fn main() -> gan_models::Result<()> {{\n    \
             use gan_models::{{Generator, candle_core::Device, rand::SeedableRng, weights}};\n    \
             let generator = Generator::load(\"generator\", &Device::Cpu)?;\n    \
             let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);\n    \
             let images = generator.sample(16, &mut rng)?; // {shape}\n    \
             weights::save_tensors(\"images.safetensors\".as_ref(), [(\"images\", images)])\n\
             }}\n\
             ```\n\n\
             In Python with PyTorch, beside `docs/load_in_pytorch.py` of candle-gan:\n\n\
             ```python\n\
             import json, torch\n\
             from safetensors.torch import load_file, save_file\n\
             from load_in_pytorch import forward\n\
             config, weights = json.load(open(\"generator/config.json\")), load_file(\"generator/model.safetensors\")\n\
             images = forward(config, weights, {torch_latents})  # {shape}\n\
             save_file({{\"images\": images}}, \"images.safetensors\")\n\
             ```\n\n\
             In Python with onnxruntime, after `candle-gan export-onnx --weights generator --out generator.onnx`:\n\n\
             ```python\n\
             import numpy as np, onnxruntime\n\
             session = onnxruntime.InferenceSession(\"generator.onnx\")\n\
             {latents}\n\
             images = session.run([\"images\"], {inputs})[0]  # {shape}\n\
             np.save(\"images.npy\", images)\n\
             ```\n"
        )
    }

    /// The command that trains to this step: however long the run, its weights are these.
    fn command(&self) -> String {
        command(
            "candle-gan",
            &portable(object(&TrainConfig { steps: self.step, ..self.config.clone() })),
        )
    }
}

/// A value as a JSON object; empty if it is none.
fn object(value: &impl Serialize) -> Map<String, Value> {
    let value = serde_json::to_value(value).ok();
    value.as_ref().and_then(Value::as_object).cloned().unwrap_or_default()
}

/// A text from outside as code, in which Markdown and HTML mean nothing.
fn code(text: &str) -> String {
    format!("`{}`", Line(text.replace('`', "'").replace('|', "/")))
}

/// The licence of a data set and its name on the hub, where they are known.
fn known(dataset: &str) -> (&'static str, Option<&'static str>) {
    match dataset {
        "mnist" => ("cc-by-sa-3.0", Some("ylecun/mnist")),
        "hub:mnist" => ("mit", Some("ylecun/mnist")),
        "hub:fashion-mnist" => ("mit", Some("zalando-datasets/fashion_mnist")),
        _ => ("unknown", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::configuration;
    use crate::run::record::Distance;
    use anyhow::{Context, Result};

    const QUALITY: Quality = Quality {
        images: 2000,
        distance: Distance::Digits(0.29456),
        precision: 0.822,
        recall: 0.765,
        accuracy: Some(0.995),
        collapse: None,
    };

    /// `cargo xtask downstream` runs the file's Rust program, end-to-end tests the Python programs.
    #[test]
    fn the_card_of_a_run_is_the_one_in_testdata() -> Result<()> {
        let config = configuration(&["5"], None)?;
        let card = ModelCard { config: &config, step: config.steps, quality: Some(&QUALITY) };
        let want = include_str!("../../testdata/model-card.md");
        assert_eq!(card.text(), want, "{}", card.text());
        let program =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/downstream/src/bin/draw.rs");
        let program = std::fs::read_to_string(program)?;
        let (_, program) = program.split_once("\n\n").context("a comment and the program")?;
        assert!(want.contains(&format!("```rust\n{program}```\n")), "{program}");
        Ok(())
    }

    #[test]
    fn names_from_outside_are_text_and_paths_are_names() -> Result<()> {
        let mut config = configuration(&["3", "5"], None)?;
        config.dataset = "folder:/home/me/a\": [`<b>|\u{1b}".to_string();
        config.generator.classes = vec!["`<script>`".to_string(), "a|b\n# c".to_string()];
        let text = ModelCard { config: &config, step: 7, quality: Some(&QUALITY) }.text();
        assert!(!text.contains("/home/me") && !text.contains('\u{1b}'), "{text}");
        assert!(text.contains("name: \"folder:a\\\": [`<b>|\\u001b\"\n"), "{text}");
        assert!(text.contains("license: unknown\n") && !text.contains("datasets:"), "{text}");
        assert!(text.contains("by class (`'<script>', a/b\\u000a# c`)"), "{text}");
        let unmeasured = ModelCard { config: &config, step: 7, quality: None }.text();
        assert!(!unmeasured.contains("model-index") && !unmeasured.contains("Measured"));
        Ok(())
    }
}

//! Generators as ONNX models.
//!
//! [`to_onnx`] writes a generator of [`gan_models`] as a model of opset 17, which onnxruntime, tract and
//! others run. The README describes its inputs and its output.
#![forbid(unsafe_code)]

mod graph;
mod layers;
mod proto;

use gan_models::{Error, Generator, GeneratorConfig, Parameters, Result, pytorch};
use graph::{Features, Graph};
use layers::Exporter;
use prost::Message;
use proto::{
    DataType, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, ValueInfoProto,
};

/// The version of the operators.
const OPSET: i64 = 17;
/// The version of the file format that goes with it.
const IR_VERSION: i64 = 8;
/// The length of the longest protobuf message, in bytes.
const LIMIT: usize = i32::MAX as usize;
/// The name of the dimension that any number of images can have.
const BATCH: &str = "batch";

/// Writes a generator as an ONNX model in evaluation mode: the bytes of a `.onnx` file.
///
/// # Shapes
/// Inputs: `z`, f32 (N, latent dim), and `label`, i64 (N), if the generator is class-conditional;
/// output: `images`, f32 (N, C, H, W).
/// # Range
/// The images are in [-1, 1]. A label outside the classes is an error of the runtime.
/// # Errors
/// A layer without a counterpart in ONNX; parameters of another network; a model above 2 GiB, the
/// limit of the format.
pub fn to_onnx(generator: &Generator, parameters: &Parameters) -> Result<Vec<u8>> {
    let config = generator.config();
    let tensors = pytorch::to_pytorch(generator.network(), &parameters.tensors())?;
    let mut exporter = Exporter { graph: Graph::default(), tensors };
    let input = input(&mut exporter.graph, config);
    let output = exporter.chain(input, &config.layers, "layers")?;
    exporter.graph.finish(output, "images");
    let model = model(config, exporter.graph);
    match model.encoded_len() {
        0..=LIMIT => Ok(model.encode_to_vec()),
        bytes => Err(Error::Config(format!(
            "the model takes {:.1} GB; an ONNX file has at most 2 GiB",
            bytes as f64 / 1e9
        ))),
    }
}

/// Adds the network's input: the latents, followed by the one-hot classes if the generator is
/// class-conditional.
fn input(graph: &mut Graph, config: &GeneratorConfig) -> Features {
    let latents = "z".to_string();
    let name = if config.conditional {
        let classes = config.classes.len();
        let mut one_hot = vec![0.0; classes * classes];
        one_hot.iter_mut().step_by(classes + 1).for_each(|value| *value = 1.0);
        let rows = graph.floats("one_hot", &[classes, classes], &one_hot);
        let of_label = graph.node("Gather", "label", &[&rows, "label"], vec![]);
        graph.node("Concat", "input", &[&latents, &of_label], vec![Graph::int("axis", 1)])
    } else {
        latents
    };
    Features { name, shape: gan_models::FeatureShape::vector(config.input_len()), flat: true }
}

fn model(config: &GeneratorConfig, graph: Graph) -> ModelProto {
    let mut input = vec![value("z", DataType::Float, &[config.latent_dim])];
    if config.conditional {
        input.push(value("label", DataType::Int64, &[]));
    }
    let image = config.image;
    let image = [image.channels, image.height, image.width];
    let (node, initializer) = graph.into_parts();
    let graph = GraphProto {
        node,
        name: "generator".into(),
        initializer,
        input,
        output: vec![value("images", DataType::Float, &image)],
    };
    ModelProto {
        ir_version: IR_VERSION,
        producer_name: "candle-gan".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: "The generator of a GAN: latent vectors to images in [-1, 1].".into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata(config),
    }
}

/// What someone who has the model alone must know to draw with it.
fn metadata(config: &GeneratorConfig) -> Vec<StringStringEntryProto> {
    let text = |value: serde_json::Value| value.as_str().map_or(value.to_string(), String::from);
    let mut entries = vec![("latent_distribution", serde_json::json!(config.latent_distribution))];
    if !config.classes.is_empty() {
        entries.push(("classes", serde_json::json!(config.classes)));
    }
    let entry =
        |(key, value): (&str, _)| StringStringEntryProto { key: key.into(), value: text(value) };
    entries.into_iter().map(entry).collect()
}

/// An input or output with any number of rows of these dimensions.
fn value(name: &str, data_type: DataType, dims: &[usize]) -> ValueInfoProto {
    ValueInfoProto::tensor(name, data_type, BATCH, dims)
}

/// The program in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

//! The nodes and constants of a graph as it grows.

use crate::proto::{AttributeProto, DataType, NodeProto, TensorProto};
use gan_models::FeatureShape;

/// Nodes in the order in which they run, and constants.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
}

/// A value of the graph: the features between two layers.
#[derive(Clone)]
pub(crate) struct Features {
    /// Its name.
    pub(crate) name: String,
    /// Channels, height and width.
    pub(crate) shape: FeatureShape,
    /// Whether it has the dimensions (N, C * H * W), not (N, C, H, W).
    pub(crate) flat: bool,
}

impl Graph {
    /// Adds a node of a layer and returns the name of its output, which is unique.
    pub(crate) fn node(
        &mut self,
        operator: &str,
        layer: &str,
        inputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) -> String {
        let name = format!("{layer}/{operator}_{}", self.nodes.len());
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.into(),
            attribute,
        });
        name
    }

    /// Adds the node that gives the graph's output its name.
    pub(crate) fn finish(&mut self, features: Features, name: &str) {
        let features = self.as_images(features, "output");
        self.nodes.push(NodeProto {
            input: vec![features.name],
            output: vec![name.into()],
            name: "output/Identity".into(),
            op_type: "Identity".into(),
            attribute: vec![],
        });
    }

    /// Adds f32 constants and returns their name.
    pub(crate) fn floats(&mut self, name: &str, dims: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Float, dims, bytes)
    }

    /// Adds a vector of i64 constants and returns its name.
    pub(crate) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, DataType::Int64, &[values.len()], bytes)
    }

    fn constant(&mut self, name: &str, of: DataType, dims: &[usize], bytes: Vec<u8>) -> String {
        self.constants.push(TensorProto {
            dims: dims.iter().map(|&size| size as i64).collect(),
            data_type: of as i32,
            name: name.into(),
            raw_data: bytes,
        });
        name.into()
    }

    /// Adds a reshape of a value to these dimensions, of which -1 stands for what is left.
    pub(crate) fn reshape(&mut self, value: &str, layer: &str, dims: &[i64]) -> String {
        let shape = self.ints(&format!("{layer}/shape_{}", self.nodes.len()), dims);
        self.node("Reshape", layer, &[value, &shape], vec![])
    }

    /// The features with the dimensions (N, C, H, W).
    pub(crate) fn as_images(&mut self, features: Features, layer: &str) -> Features {
        if !features.flat {
            return features;
        }
        let FeatureShape { channels, height, width } = features.shape;
        let dims = [-1, channels as i64, height as i64, width as i64];
        Features { name: self.reshape(&features.name, layer, &dims), flat: false, ..features }
    }

    /// The features with the dimensions (N, C * H * W).
    pub(crate) fn as_vectors(&mut self, features: Features, layer: &str) -> Features {
        if features.flat {
            return features;
        }
        let dims = [-1, features.shape.len() as i64];
        Features { name: self.reshape(&features.name, layer, &dims), flat: true, ..features }
    }

    /// A whole number as an attribute.
    pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
        AttributeProto { name: name.into(), i: Some(value), r#type: 2, ..Default::default() }
    }

    /// A number as an attribute.
    pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
        AttributeProto { name: name.into(), f: Some(value), r#type: 1, ..Default::default() }
    }

    /// A list of whole numbers as an attribute.
    pub(crate) fn list(name: &str, values: &[usize]) -> AttributeProto {
        let ints = values.iter().map(|&value| value as i64).collect();
        AttributeProto { name: name.into(), ints, r#type: 7, ..Default::default() }
    }

    /// Nodes and constants.
    pub(crate) fn into_parts(self) -> (Vec<NodeProto>, Vec<TensorProto>) {
        (self.nodes, self.constants)
    }
}

//! Each kind of layer as nodes of a graph.

use crate::graph::{Features, Graph};
use crate::proto::AttributeProto;
use candle_core::Tensor;
use gan_models::{Activation, Error, FeatureShape, Layer, Result, plan};
use std::collections::HashMap;

/// Added to the variance over a batch, as in [`Layer::MinibatchStd`].
const MINIBATCH_EPSILON: f32 = 1e-8;

/// A graph and the weights of the layers to come, in PyTorch's order, which is ONNX's too.
pub(crate) struct Exporter {
    pub(crate) graph: Graph,
    pub(crate) tensors: HashMap<String, Tensor>,
}

impl Exporter {
    /// Adds layers whose weights begin with `prefix`.
    pub(crate) fn chain(
        &mut self,
        mut x: Features,
        layers: &[Layer],
        prefix: &str,
    ) -> Result<Features> {
        let planned = plan(x.shape, layers)?;
        for (number, (layer, summary)) in layers.iter().zip(&planned).enumerate() {
            x = self.layer(x, layer, summary.output, &format!("{prefix}.{number}"))?;
        }
        Ok(x)
    }

    /// Adds a layer with this shape of its output.
    fn layer(
        &mut self,
        x: Features,
        layer: &Layer,
        output: FeatureShape,
        name: &str,
    ) -> Result<Features> {
        match *layer {
            Layer::Dense { .. } | Layer::Project { .. } => self.linear(x, output, name),
            Layer::Basis(..) => {
                let x = self.graph.as_images(x, name);
                let weight = self.weight(name, "weight")?;
                let name = self.graph.node("Mul", name, &[&x.name, &weight], vec![]);
                Ok(Features { name, shape: output, flat: false })
            }
            Layer::Conv { kernel, stride, groups, .. } => {
                let window = Window { kernel, stride, large: x.shape };
                let group = Graph::int("group", groups as i64);
                self.convolution("Conv", x, output, (window, vec![group]), name)
            }
            Layer::ConvTranspose { kernel, stride, groups, .. } => {
                let window = Window { kernel, stride, large: output };
                let group = Graph::int("group", groups as i64);
                let padding = Graph::list("output_padding", &window.missing());
                self.convolution("ConvTranspose", x, output, (window, vec![group, padding]), name)
            }
            Layer::BatchNorm { epsilon, .. } => self.batch_norm(x, epsilon, name),
            Layer::GroupNorm { groups, epsilon } => Ok(self.group_norm(x, groups, epsilon, name)),
            Layer::Activation(activation) => self.activation(x, activation, name),
            Layer::Dropout(_) => Ok(x),
            Layer::Rescale { scale, shift } => {
                Ok(self.scale_shift(x, &[], (&[scale], &[shift]), name))
            }
            Layer::Residual { ref body, ref shortcut, .. } => {
                let body = self.chain(x.clone(), body, &format!("{name}.body"))?;
                let shortcut = self.chain(x, shortcut, &format!("{name}.shortcut"))?;
                let [body, shortcut] = [body, shortcut].map(|x| self.graph.as_images(x, name));
                let inputs = [body.name.as_str(), &shortcut.name];
                Ok(Features { name: self.graph.node("Add", name, &inputs, vec![]), ..body })
            }
            Layer::PixelShuffle(factor) => {
                let FeatureShape { channels, height, width } = output;
                let split = [channels, factor, factor, x.shape.height, x.shape.width];
                let merged = [channels, height, width];
                Ok(self.rearrange(x, &split, &[0, 1, 4, 2, 5, 3], &merged, name))
            }
            Layer::PixelUnshuffle(factor) => {
                let FeatureShape { channels, height, width } = output;
                let split = [x.shape.channels, height, factor, width, factor];
                let merged = [channels, height, width];
                Ok(self.rearrange(x, &split, &[0, 1, 3, 5, 2, 4], &merged, name))
            }
            Layer::MinibatchStd => Ok(self.minibatch_std(x, name)),
            _ => match layer.resampling((x.shape.height, x.shape.width)) {
                Some((rows, columns)) => Ok(self.resample(x, (&rows, &columns), output, name)),
                None => {
                    Err(Error::Config(format!("{name} ({}): not available in ONNX", layer.kind())))
                }
            },
        }
    }

    /// A linear map of all values.
    fn linear(&mut self, x: Features, output: FeatureShape, name: &str) -> Result<Features> {
        let x = self.graph.as_vectors(x, name);
        let mut inputs = vec![x.name, self.weight(name, "weight")?];
        inputs.extend(self.bias(name)?);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let name = self.graph.node("Gemm", name, &inputs, vec![Graph::int("transB", 1)]);
        Ok(Features { name, shape: output, flat: true })
    }

    /// A convolution or a transposed one, with attributes of its own.
    fn convolution(
        &mut self,
        operator: &str,
        x: Features,
        output: FeatureShape,
        (window, mut attributes): (Window, Vec<AttributeProto>),
        name: &str,
    ) -> Result<Features> {
        let x = self.graph.as_images(x, name);
        let mut inputs = vec![x.name, self.weight(name, "weight")?];
        inputs.extend(self.bias(name)?);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        attributes.extend([
            Graph::list("kernel_shape", &[window.kernel; 2]),
            Graph::list("strides", &[window.stride; 2]),
            Graph::list("pads", &window.pads()),
        ]);
        let name = self.graph.node(operator, name, &inputs, attributes);
        Ok(Features { name, shape: output, flat: false })
    }

    /// Batch normalisation by the running statistics: a factor and a summand for each channel, or
    /// for each value that a projection has.
    fn batch_norm(&mut self, x: Features, epsilon: f32, name: &str) -> Result<Features> {
        let [gamma, beta, mean, variance] =
            ["weight", "bias", "running_mean", "running_var"].map(|of| self.values(name, of));
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let scale = |at: usize| {
            f64::from(gamma[at]) / (f64::from(variance[at]) + f64::from(epsilon)).sqrt()
        };
        let shift = |at: usize| f64::from(beta[at]) - f64::from(mean[at]) * scale(at);
        let scales: Vec<f32> = (0..gamma.len()).map(|at| scale(at) as f32).collect();
        let shifts: Vec<f32> = (0..gamma.len()).map(|at| shift(at) as f32).collect();
        let FeatureShape { channels, height, width } = x.shape;
        let each = gamma.len() == x.shape.len();
        let x = if each { x } else { self.graph.as_images(x, name) };
        let dims: &[usize] = match (x.flat, each) {
            (true, _) => &[gamma.len()],
            (false, true) => &[channels, height, width],
            (false, false) => &[channels, 1, 1],
        };
        Ok(self.scale_shift(x, dims, (&scales, &shifts), name))
    }

    /// Subtracts the mean of each group of channels and divides by its standard deviation.
    fn group_norm(&mut self, x: Features, groups: usize, epsilon: f32, name: &str) -> Features {
        let graph = &mut self.graph;
        let x = graph.as_images(x, name);
        let FeatureShape { channels, height, width } = x.shape;
        let [c, h, w, g] = [channels, height, width, groups].map(|size| size as i64);
        let apart = graph.reshape(&x.name, name, &[-1, g, c / g * h * w]);
        let over = || vec![Graph::list("axes", &[2])];
        let mean = graph.node("ReduceMean", name, &[&apart], over());
        let centred = graph.node("Sub", name, &[&apart, &mean], vec![]);
        let squared = graph.node("Mul", name, &[&centred, &centred], vec![]);
        let variance = graph.node("ReduceMean", name, &[&squared], over());
        let epsilon = graph.floats(&format!("{name}.epsilon"), &[], &[epsilon]);
        let variance = graph.node("Add", name, &[&variance, &epsilon], vec![]);
        let std = graph.node("Sqrt", name, &[&variance], vec![]);
        let scaled = graph.node("Div", name, &[&centred, &std], vec![]);
        Features { name: graph.reshape(&scaled, name, &[-1, c, h, w]), ..x }
    }

    /// A factor and a summand, of these dimensions, for every value.
    fn scale_shift(
        &mut self,
        x: Features,
        dims: &[usize],
        (scale, shift): (&[f32], &[f32]),
        name: &str,
    ) -> Features {
        let scale = self.graph.floats(&format!("{name}.scale"), dims, scale);
        let shift = self.graph.floats(&format!("{name}.shift"), dims, shift);
        let scaled = self.graph.node("Mul", name, &[&x.name, &scale], vec![]);
        Features { name: self.graph.node("Add", name, &[&scaled, &shift], vec![]), ..x }
    }

    fn activation(&mut self, x: Features, activation: Activation, name: &str) -> Result<Features> {
        let (operator, attributes) = match activation {
            Activation::Relu => ("Relu", vec![]),
            Activation::LeakyRelu(slope) => ("LeakyRelu", vec![Graph::float("alpha", slope)]),
            Activation::Tanh => ("Tanh", vec![]),
            Activation::Sigmoid => ("Sigmoid", vec![]),
            other => {
                let text = format!("{name} (activation): {other:?} is not available in ONNX");
                return Err(Error::Config(text));
            }
        };
        Ok(Features { name: self.graph.node(operator, name, &[&x.name], attributes), ..x })
    }

    /// Weighted sums of rows and of columns, as products with matrices.
    fn resample(
        &mut self,
        x: Features,
        (rows, columns): (&[Vec<f32>], &[Vec<f32>]),
        output: FeatureShape,
        name: &str,
    ) -> Features {
        let x = self.graph.as_images(x, name);
        let FeatureShape { height, width, .. } = x.shape;
        let transposed: Vec<f32> =
            (0..width).flat_map(|old| columns.iter().map(move |new| new[old])).collect();
        let dims = [output.height, height];
        let rows = self.graph.floats(&format!("{name}.rows"), &dims, &rows.concat());
        let dims = [width, output.width];
        let columns = self.graph.floats(&format!("{name}.columns"), &dims, &transposed);
        let tall = self.graph.node("MatMul", name, &[&rows, &x.name], vec![]);
        let name = self.graph.node("MatMul", name, &[&tall, &columns], vec![]);
        Features { name, shape: output, flat: false }
    }

    /// The values in another order: split into these dimensions, which are permuted and merged.
    fn rearrange(
        &mut self,
        x: Features,
        split: &[usize],
        axes: &[usize],
        merged: &[usize; 3],
        name: &str,
    ) -> Features {
        let any_batch = |dims: &[usize]| -> Vec<i64> {
            [-1].into_iter().chain(dims.iter().map(|&size| size as i64)).collect()
        };
        let apart = self.graph.reshape(&x.name, name, &any_batch(split));
        let permutation = vec![Graph::list("perm", axes)];
        let permuted = self.graph.node("Transpose", name, &[&apart], permutation);
        let merged_name = self.graph.reshape(&permuted, name, &any_batch(merged));
        let [channels, height, width] = *merged;
        let shape = FeatureShape { channels, height, width };
        Features { name: merged_name, shape, flat: false }
    }

    /// A channel that holds the standard deviation over the batch, averaged over all values.
    fn minibatch_std(&mut self, x: Features, name: &str) -> Features {
        let graph = &mut self.graph;
        let x = graph.as_images(x, name);
        let FeatureShape { channels, height, width } = x.shape;
        let over = |axes: &[usize]| vec![Graph::list("axes", axes)];
        let mean = graph.node("ReduceMean", name, &[&x.name], over(&[0]));
        let centred = graph.node("Sub", name, &[&x.name, &mean], vec![]);
        let squared = graph.node("Mul", name, &[&centred, &centred], vec![]);
        let variance = graph.node("ReduceMean", name, &[&squared], over(&[0]));
        let epsilon = graph.floats(&format!("{name}.epsilon"), &[], &[MINIBATCH_EPSILON]);
        let variance = graph.node("Add", name, &[&variance, &epsilon], vec![]);
        let std = graph.node("Sqrt", name, &[&variance], vec![]);
        let std = graph.node("ReduceMean", name, &[&std], over(&[1, 2, 3]));
        let first = vec![Graph::int("start", 0), Graph::int("end", 1)];
        let batch = graph.node("Shape", name, &[&x.name], first);
        let plane = graph.ints(&format!("{name}.plane"), &[1, height as i64, width as i64]);
        let dims = graph.node("Concat", name, &[&batch, &plane], vec![Graph::int("axis", 0)]);
        let channel = graph.node("Expand", name, &[&std, &dims], vec![]);
        let inputs = [x.name.as_str(), &channel];
        let name = graph.node("Concat", name, &inputs, vec![Graph::int("axis", 1)]);
        Features { name, shape: (channels + 1, height, width).into(), flat: false }
    }

    /// Adds a tensor of a layer as a constant and returns its name.
    fn weight(&mut self, layer: &str, of: &str) -> Result<String> {
        let values = self.values(layer, of)?;
        let name = format!("{layer}.{of}");
        let dims = self.tensors[&name].dims().to_vec();
        Ok(self.graph.floats(&name, &dims, &values))
    }

    /// The same for its bias, if it has one.
    fn bias(&mut self, layer: &str) -> Result<Option<String>> {
        let has = self.tensors.contains_key(&format!("{layer}.bias"));
        has.then(|| self.weight(layer, "bias")).transpose()
    }

    fn values(&self, layer: &str, of: &str) -> Result<Vec<f32>> {
        let name = format!("{layer}.{of}");
        let tensor = self.tensors.get(&name);
        let tensor = tensor.ok_or_else(|| Error::Config(format!("{name}: no such tensor")))?;
        Ok(tensor.flatten_all()?.to_vec1()?)
    }
}

/// How a square kernel moves over the larger one of a layer's input and output, with "same" padding.
struct Window {
    kernel: usize,
    stride: usize,
    large: FeatureShape,
}

impl Window {
    /// Pixels that the kernel reaches beyond each side; negative for those that it does not reach.
    fn beyond(&self, side: usize) -> isize {
        let small = side.div_ceil(self.stride);
        ((small - 1) * self.stride + self.kernel) as isize - side as isize
    }

    /// The padding above, to the left, below and to the right.
    fn pads(&self) -> [usize; 4] {
        let of = |side| {
            let total = usize::try_from(self.beyond(side)).unwrap_or(0);
            (total / 2, total - total / 2)
        };
        let ((above, below), (left, right)) = (of(self.large.height), of(self.large.width));
        [above, left, below, right]
    }

    /// Rows and columns at the end of a transposed convolution that no tap reaches.
    fn missing(&self) -> [usize; 2] {
        let of = |side| usize::try_from(-self.beyond(side)).unwrap_or(0);
        [of(self.large.height), of(self.large.width)]
    }
}

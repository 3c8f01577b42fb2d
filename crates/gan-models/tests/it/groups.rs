//! Convolutions of groups of channels: candle's operators, the files and the errors.

use crate::{assert_close, values};
use candle_core::{Device, Tensor};
use gan_models::{
    Backend, FeatureShape, GeneratorConfig, Layer, Mode, Network, Parameters, WeightInit, plan,
    pytorch,
};

fn conv(channels: usize, groups: usize) -> Layer {
    Layer::Conv { channels, kernel: 3, stride: 1, bias: true, groups }
}

fn transposed(channels: usize, groups: usize) -> Layer {
    Layer::ConvTranspose { channels, kernel: 3, stride: 1, bias: true, groups }
}

fn network(layer: Layer, init: WeightInit) -> (Network, Parameters) {
    let input = (6, 5, 4).into();
    Parameters::init(1, &Device::Cpu, |vars| Network::new(input, &[layer], init, &vars)).unwrap()
}

/// candle's convolutions take the weights in PyTorch's order.
#[test]
fn groups_are_those_of_candle_s_convolutions() {
    let values = (0..2 * 6 * 5 * 4).map(|i| ((i * 29 % 83) as f32 - 41.5) / 41.5).collect();
    let x = Tensor::from_vec(values, (2, 6, 5, 4), &Device::Cpu).unwrap();
    for groups in [1, 2, 3, 6] {
        for layer in [conv(12, groups), transposed(12, groups)] {
            let is_conv = layer.kind() == "conv";
            let (network, parameters) = network(layer, WeightInit::FanIn);
            let weights = pytorch::to_pytorch(&network, &parameters.tensors()).unwrap();
            let weight = &weights["layers.0.weight"];
            let want = if is_conv {
                assert_eq!(weight.dims(), [12, 6 / groups, 3, 3]);
                x.conv2d(weight, 1, 1, 1, groups).unwrap()
            } else {
                assert_eq!(weight.dims(), [6, 12 / groups, 3, 3]);
                let part = |i: usize| {
                    let [x, weight] = [
                        x.narrow(1, i * 6 / groups, 6 / groups),
                        weight.narrow(0, i * 6 / groups, 6 / groups),
                    ]
                    .map(|part| part.unwrap().contiguous().unwrap());
                    x.conv_transpose2d(&weight, 1, 0, 1, 1).unwrap()
                };
                Tensor::cat(&(0..groups).map(part).collect::<Vec<_>>(), 1).unwrap()
            };
            let bias = weights["layers.0.bias"].reshape((1, 12, 1, 1)).unwrap();
            let want = want.broadcast_add(&bias).unwrap();
            for backend in [Backend::Kernels, Backend::Candle] {
                let got = network.clone().with_backend(backend).forward(&x, Mode::Eval).unwrap();
                let what = format!("{backend:?}, {groups} groups, convolution {is_conv}");
                assert_close(&got, &want, 1e-5, &what);
            }
        }
    }
}

/// 9 taps of two channels reach an output.
#[test]
fn the_fan_in_is_that_of_a_group() {
    for layer in [conv(300, 3), transposed(300, 3)] {
        let (_, parameters) = network(layer, WeightInit::FanIn);
        let weight = parameters.get("layers.0.weight").unwrap();
        assert_eq!(weight.dims(), [3, 3, 2, 300]);
        let largest = values(weight).iter().fold(0f32, |max, value| max.max(value.abs()));
        let bound = 1.0 / 18f32.sqrt();
        assert!(largest <= bound && largest > 0.99 * bound, "{largest}, not {bound}");
    }
}

#[test]
fn one_group_is_not_written_and_a_missing_number_is_one() {
    let config = |groups| {
        let layers = vec![conv(6, groups), transposed(6, groups)];
        let shape = FeatureShape::from((6, 5, 4));
        serde_json::to_string(&GeneratorConfig::new(6, shape, layers, WeightInit::FanIn)).unwrap()
    };
    assert!(!config(1).contains("groups"));
    assert!(config(2).contains(r#""bias":true,"groups":2"#), "{}", config(2));
    for groups in [1, 2] {
        let read: GeneratorConfig = serde_json::from_str(&config(groups)).unwrap();
        assert_eq!(read.layers, [conv(6, groups), transposed(6, groups)]);
    }
}

#[test]
fn groups_divide_weights_and_work_and_must_divide_the_channels() {
    let input = FeatureShape::from((6, 5, 4));
    let of = |layer| plan(input, &[layer]);
    let (one, three) = (of(conv(12, 1)).unwrap()[0], of(conv(12, 3)).unwrap()[0]);
    assert_eq!(three.trainable, 9 * 2 * 12 + 12);
    assert_eq!(one.multiply_adds, 3 * three.multiply_adds);
    for (layer, want) in [
        (
            conv(12, 4),
            "layer 0 (conv): 4 groups must divide the channels of input and output, 6 and 12",
        ),
        (
            transposed(8, 3),
            "layer 0 (conv_transpose): 3 groups must divide the channels of input and output, 6 and 8",
        ),
        (conv(12, 0), "layer 0 (conv): groups must be at least 1"),
        (transposed(12, 0), "layer 0 (conv_transpose): groups must be at least 1"),
        (conv(12, usize::MAX), "groups must divide the channels"),
    ] {
        let error = of(layer).unwrap_err().to_string();
        assert!(error.contains(want), "{error}, not {want}");
    }
}

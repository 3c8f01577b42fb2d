//! Layers of modern networks against values by hand, and their errors.

use crate::{residual, values};
use candle_core::{Device, Tensor};
use gan_models::{
    Activation, Backend, FeatureShape, GeneratorConfig, GradMask, Layer, Mode, Network, Parameters,
    WeightInit, plan,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

fn network(input: FeatureShape, layers: &[Layer], init: WeightInit) -> (Network, Parameters) {
    Parameters::init(1, &Device::Cpu, |vars| Network::new(input, layers, init, &vars)).unwrap()
}

fn run(layer: Layer, x: &Tensor) -> Tensor {
    let (_, c, h, w) = x.dims4().unwrap();
    let (network, _) = network((c, h, w).into(), &[layer], WeightInit::Glorot);
    let of = |backend| network.clone().with_backend(backend).forward(x, Mode::Eval).unwrap();
    let output = of(Backend::Kernels);
    assert_eq!(values(&output), values(&of(Backend::Candle)));
    output
}

fn counted(shape: (usize, usize, usize, usize)) -> Tensor {
    let (b, c, h, w) = shape;
    Tensor::arange(0f32, (b * c * h * w) as f32, &Device::Cpu).unwrap().reshape(shape).unwrap()
}

/// PyTorch's documentation: channel c * 4 + i * 2 + j becomes pixel (2 y + i, 2 x + j) of channel c.
#[test]
fn pixels_are_shuffled_in_pytorch_s_order() {
    let x = counted((1, 4, 1, 2));
    let shuffled = run(Layer::PixelShuffle(2), &x);
    assert_eq!(shuffled.dims(), [1, 1, 2, 4]);
    assert_eq!(values(&shuffled), [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    let x = counted((3, 8, 4, 6));
    let back = run(Layer::PixelUnshuffle(2), &run(Layer::PixelShuffle(2), &x));
    assert_eq!(values(&back), values(&x));
}

/// Over a batch of two, each value's standard deviation is half its difference: 0.5, 1, 0 and 2.
#[test]
fn the_standard_deviation_over_the_batch_is_a_channel() {
    let x = [[1.0f32, 2.0, 3.0, 4.0], [2.0, 0.0, 3.0, 0.0]];
    let x = Tensor::new(&x, &Device::Cpu).unwrap().reshape((2, 1, 2, 2)).unwrap();
    let output = run(Layer::MinibatchStd, &x);
    assert_eq!(output.dims(), [2, 2, 2, 2]);
    assert_eq!(values(&output.narrow(1, 0, 1).unwrap()), values(&x));
    for got in values(&output.narrow(1, 1, 1).unwrap()) {
        assert!((got - 3.5 / 4.0).abs() < 1e-4, "{got}");
    }
}

/// By hand: groups of two channels and two pixels, their means 2.5 and 5, their variances 1.25 and 5;
/// as PyTorch's `group_norm` computes it.
#[test]
fn groups_are_normalised_in_each_image() {
    let x = [[1.0f32, 2.0, 3.0, 4.0, 2.0, 4.0, 6.0, 8.0], [0.0; 8]];
    let x = Tensor::new(&x, &Device::Cpu).unwrap().reshape((2, 4, 1, 2)).unwrap();
    let got = values(&run(Layer::GroupNorm { groups: 2, epsilon: 1e-5 }, &x));
    let want = [-1.341_635_4f32, -0.447_211_8, 0.447_211_8, 1.341_635_4];
    for (i, got) in got.iter().enumerate() {
        let want = if i < 8 { want[i % 4] } else { 0.0 };
        assert!((got - want).abs() < 1e-5, "{i}: {got}, not {want}");
    }
    // One group for all, and one for each channel of two pixels.
    let all = values(&run(Layer::GroupNorm { groups: 1, epsilon: 1e-5 }, &x));
    assert!((all[..8].iter().sum::<f32>()).abs() < 1e-5 && (all[7] - 1.962_989).abs() < 1e-5);
    let each = values(&run(Layer::GroupNorm { groups: 4, epsilon: 1e-9 }, &x));
    assert!(each[..8].chunks(2).all(|pair| (pair[0] + 1.0).abs() < 1e-5 && pair[1] > 0.999));
}

/// By hand: the images of two channels, times 3 and -1, and times 0 and 2.
#[test]
fn a_basis_is_scaled_by_a_vector() {
    let input = FeatureShape::vector(2);
    let (basis, parameters) = network(input, &[Layer::Basis(1, 2)], WeightInit::Normal(0.02));
    let weight = parameters.get("layers.0.weight").unwrap();
    assert_eq!(weight.dims(), [1, 2, 2]);
    // Pixels first, then channels: channel 0 is (1, 2), channel 1 is (10, 20).
    weight.set(&Tensor::new(&[[[1f32, 10.0], [2.0, 20.0]]], &Device::Cpu).unwrap()).unwrap();
    let x = Tensor::new(&[[3f32, -1.0], [0.0, 2.0]], &Device::Cpu).unwrap();
    let x = x.reshape((2, 2, 1, 1)).unwrap();
    let grad = counted((2, 2, 1, 2));
    let both = GradMask { input: true, parameters: true };
    for backend in [Backend::Kernels, Backend::Candle] {
        let basis = basis.clone().with_backend(backend);
        let output = basis.forward(&x, Mode::Eval).unwrap();
        assert_eq!(output.dims(), [2, 2, 1, 2]);
        assert_eq!(values(&output), [3.0, 6.0, -10.0, -20.0, 0.0, 0.0, 20.0, 40.0]);
        let (_, tape) = basis.forward_train(&x, &mut ChaCha8Rng::seed_from_u64(1)).unwrap();
        let (of_x, of_weight) = tape.backward(&grad, both).unwrap();
        assert_eq!(values(&of_x.unwrap()), [2.0, 80.0, 14.0, 200.0]);
        assert_eq!(values(&of_weight["layers.0.weight"]), [0.0, 10.0, 3.0, 11.0]);
    }
}

/// Standard normal, whatever the initialisation of linear maps.
#[test]
fn a_basis_begins_with_images_of_size_1() {
    let (_, parameters) =
        network(FeatureShape::vector(64), &[Layer::Basis(8, 8)], WeightInit::Normal(0.02));
    let size = parameters.get("layers.0.weight").unwrap().sqr().unwrap().mean_all().unwrap();
    let size = size.to_scalar::<f32>().unwrap();
    assert!((size - 1.0).abs() < 0.1, "{size}");
}

#[test]
fn a_block_may_start_as_its_shortcut() {
    let conv = Layer::Conv { channels: 3, kernel: 3, stride: 1, bias: true, groups: 1 };
    let body = vec![conv.clone(), Layer::Activation(Activation::LeakyRelu(0.2)), conv];
    let x = counted((2, 3, 4, 4));
    for (zero_init, is_same) in [(true, true), (false, false)] {
        let block = Layer::Residual { body: body.clone(), shortcut: vec![], zero_init };
        let (network, parameters) = network((3, 4, 4).into(), &[block], WeightInit::FanIn);
        let output = network.forward(&x, Mode::Eval).unwrap();
        assert_eq!(values(&output) == values(&x), is_same);
        let names: Vec<&str> = parameters.iter().map(|(name, _)| name).collect();
        let layers = ["layers.0.body.0", "layers.0.body.2"];
        let want = layers.map(|layer| [format!("{layer}.bias"), format!("{layer}.weight")]);
        assert_eq!(names, want.concat());
    }
}

/// The variance of a sum over the fan in is then the gain squared, also where the taps of a
/// transposed convolution are shared among stride x stride pixels.
#[test]
fn weights_scaled_by_their_fan_in_keep_the_size_of_features() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let values = (0..8 * 32 * 8 * 8).map(|_| rng.sample::<f32, _>(StandardNormal)).collect();
    let x = Tensor::from_vec(values, (8, 32, 8, 8), &Device::Cpu).unwrap();
    let layers = [
        Layer::Conv { channels: 32, kernel: 1, stride: 1, bias: true, groups: 1 },
        Layer::ConvTranspose { channels: 32, kernel: 4, stride: 2, bias: true, groups: 1 },
        Layer::Conv { channels: 64, kernel: 3, stride: 1, bias: true, groups: 8 },
        Layer::ConvTranspose { channels: 64, kernel: 4, stride: 2, bias: true, groups: 4 },
    ];
    for layer in layers {
        let what = format!("{layer:?}");
        let (network, _) = network((32, 8, 8).into(), &[layer], WeightInit::FanInNormal(1.5));
        let output = network.forward(&x, Mode::Eval).unwrap();
        let size = output.sqr().unwrap().mean_all().unwrap().sqrt().unwrap();
        let size = size.to_scalar::<f32>().unwrap();
        // The border of a transposed convolution sees fewer taps.
        assert!((1.2..1.65).contains(&size), "{what}: {size}");
    }
}

#[test]
fn a_residual_network_is_written_and_read() {
    let config = residual().generator((2, 8, 12).into(), vec![], false).unwrap();
    let text = serde_json::to_string(&config).unwrap();
    assert_eq!(serde_json::from_str::<GeneratorConfig>(&text).unwrap(), config);
    assert!(text.contains(r#"{"upsample":{"factor":2,"filter":"nearest"}}"#), "{text}");
    // One line of the summary for each block, with all that is in it.
    let summary = config.summary().unwrap();
    let block = summary[1];
    assert_eq!((block.kind, block.output), ("residual", (6, 4, 6).into()));
    assert_eq!((block.trainable, block.running), (9 * 8 * 6 + 12 + 8 * 6 + 6, 12));
}

#[test]
fn blocks_that_do_not_fit_are_named() {
    let conv = |channels| Layer::Conv { channels, kernel: 3, stride: 1, bias: true, groups: 1 };
    let block = |body: Vec<Layer>| Layer::Residual { body, shortcut: vec![], zero_init: false };
    for (layer, want) in [
        (
            block(vec![conv(4)]),
            "layer 0 (residual): the body's output is 4x6x6, the shortcut's 3x6x6; they must have \
             one shape",
        ),
        (
            block(vec![conv(3), Layer::Downsample(4)]),
            "layer 0 (residual): body: layer 1 (downsample): the factor 4 must divide height and \
             width, 6 and 6",
        ),
        (Layer::GroupNorm { groups: 2, epsilon: 1e-5 }, "2 groups do not divide 3 channels"),
        (Layer::GroupNorm { groups: 0, epsilon: 1e-5 }, "groups must be at least 1"),
        (Layer::Basis(4, 4), "layer 0 (basis): scales its images by a vector, not by 6x6 pixels"),
        (Layer::Basis(0, 4), "sizes must be at least 1 and at most 1024"),
        (Layer::PixelShuffle(2), "the factor 2 does not divide 3 channels of 6x6 pixels"),
        (Layer::PixelUnshuffle(0), "the factor 0 does not divide 3 channels of 6x6 pixels"),
        (
            Layer::Upsample { factor: 0, filter: gan_models::UpsampleFilter::Nearest },
            "factors must be at least 1 and at most 1024",
        ),
        (block(vec![conv(1 << 40)]), "body: layer 0 (conv): with it, weights,"),
    ] {
        let error = plan((3, 6, 6).into(), &[layer]).unwrap_err().to_string();
        assert!(error.contains(want), "{error}, not {want}");
    }
}

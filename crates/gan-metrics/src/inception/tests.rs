//! The network against PyTorch's, with weights of a formula. `python3 docs/inception.py values` prints the
//! numbers, by pytorch-fid 0.3.0 on PyTorch 2.15.

use super::*;
use layers::Conv;

/// Numbers in [-1, 1), by SplitMix64 from the FNV-1a hash of a name.
fn uniform(name: &str, count: usize) -> Vec<f32> {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let value = |i: u64| {
        let x = seed.wrapping_add(i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ x >> 31) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (1..=count as u64).map(value).collect()
}

fn weight(name: &str, dims: &[usize]) -> Tensor {
    let mut values = uniform(name, dims.iter().product());
    let fan_in: usize = dims[1..].iter().product();
    let change = |value: f32| match name.rsplit_once('.') {
        _ if dims.len() > 1 => value * (6.0 / fan_in as f64).sqrt() as f32,
        Some((module, "weight")) if module.ends_with(".bn") => 1.0 + value / 2.0,
        Some((_, "running_var")) => 1.0 + value / 2.0,
        _ => value / 4.0,
    };
    values.iter_mut().for_each(|value| *value = change(*value));
    Tensor::from_vec(values, dims, &Device::Cpu).expect("a weight")
}

/// Adds the tensors of layers to those of the network, and returns the channels of their output.
fn add(
    tensors: &mut HashMap<String, Tensor>,
    prefix: &str,
    layers: &[Layer<Conv>],
    mut channels: usize,
) -> usize {
    for layer in layers {
        match layer {
            Layer::Conv(conv) => {
                let name = |part: &str| format!("{prefix}{}.{part}", conv.name);
                let (height, width) = conv.kernel;
                let kernel = name("conv.weight");
                let dims = [conv.channels, channels, height, width];
                tensors.insert(kernel.clone(), weight(&kernel, &dims));
                for part in ["bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"] {
                    tensors.insert(name(part), weight(&name(part), &[conv.channels]));
                }
                channels = conv.channels;
            }
            Layer::MaxPool { .. } | Layer::AveragePool => {}
            Layer::Concat(name, branches) => {
                let prefix = format!("{prefix}{name}");
                let of = |branch: &Vec<_>| add(tensors, &prefix, branch, channels);
                channels = branches.iter().map(of).sum();
            }
        }
    }
    channels
}

fn tensors() -> HashMap<String, Tensor> {
    let mut tensors = HashMap::new();
    assert_eq!(add(&mut tensors, "", &layers::layers(), 3), INCEPTION_FEATURES);
    for (name, dims) in [("fc.weight", &[1008, 2048][..]), ("fc.bias", &[1008])] {
        tensors.insert(name.into(), weight(name, dims));
    }
    tensors
}

/// Bytes as numbers in [-1, 1], (N, C, side, side).
fn images(count: usize, channels: usize, side: usize) -> Tensor {
    let value = |i: usize| {
        let (x, y, c) = (i % side, i / side % side, i / (side * side) % channels);
        let n = i / (side * side * channels);
        let byte = (n % 7 + 1) * (7 * y + 40 * c) + (n % 5) * x * x / 4 + 29 * n * (x / 8 + y / 8);
        (byte % 256) as f32 / 127.5 - 1.0
    };
    let values = (0..count * channels * side * side).map(value).collect::<Vec<_>>();
    Tensor::from_vec(values, (count, channels, side, side), &Device::Cpu).expect("images")
}

/// Values at some places.
fn at<const N: usize>(row: &[f32], places: [usize; N]) -> [f32; N] {
    places.map(|place| row[place])
}

#[test]
fn features_and_classes_of_pytorch() -> Result<()> {
    let inception = Inception::from_tensors(tensors()).expect("weights");
    let near = |got: &[f32], wanted: &[f32]| {
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * b.abs();
        assert!(got.iter().zip(wanted).all(is_near), "{got:?}, not {wanted:?}");
    };
    let of_colour = [
        ([1.432_32, 5.527_34, 4.886_92, 0.083_402, 3.762_37], [0.588_128, 4.756_457e-8]),
        ([2.807_94, 6.533_84, 5.882_72, 0.155_361, 4.592_57], [0.482_666, 7.558_85e-9]),
    ];
    let of_grey =
        [([1.609_28, 4.901_64, 4.331_33, 0.068_051_4, 3.478_637], [0.458_074, 4.099_386e-7])];
    for (images, wanted) in [(images(2, 3, 32), &of_colour[..]), (images(1, 1, 28), &of_grey)] {
        let features = inception.features(&images)?;
        assert_eq!((features.len(), features.dim()), (wanted.len(), INCEPTION_FEATURES));
        let probabilities = inception.probabilities(&features)?;
        let rows = features.rows().zip(probabilities.rows());
        for ((features, probabilities), (of_features, of_classes)) in rows.zip(wanted) {
            near(&at(features, [0, 700, 1200, 1600, 2047]), of_features);
            near(&at(probabilities, [207, 1007]), of_classes);
            let sum: f32 = probabilities.iter().sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
        }
    }
    let opaque = Tensor::zeros((1, 4, 8, 8), candle_core::DType::F32, &Device::Cpu)?;
    let error = inception.features(&opaque).expect_err("4 channels").to_string();
    assert!(error.contains("4 channels: Inception takes grey images or RGB"), "{error}");
    Ok(())
}

/// Padding counts neither for means nor, of negative values, for maxima.
#[test]
fn pooling_leaves_padding_out() -> Result<()> {
    let map = |values: &[f32], side| Tensor::from_slice(values, (side, side, 1, 1), &Device::Cpu);
    let values = |x: Tensor| x.flatten_all()?.to_vec1::<f32>();
    let x = map(&[-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0], 3)?;
    let mean = Arc::new(Resampling::new(&means(3), &means(3))?);
    let got = values(resample(&x, &mean)?)?;
    let wanted = [-3.0, -3.5, -4.0, -4.5, -5.0, -5.5, -6.0, -6.5, -7.0];
    assert!(got.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{got:?}");
    let pooled = |x: &Tensor, stride, padding| {
        values(maxima(&maxima(x, 0, stride, padding)?, 1, stride, padding)?)
    };
    assert_eq!(pooled(&x, 1, 1)?, [-1.0, -1.0, -2.0, -1.0, -1.0, -2.0, -4.0, -4.0, -5.0]);
    assert_eq!(pooled(&x, 2, 0)?, [-1.0]);
    let ramp: Vec<f32> = (0..25).map(|i| i as f32).collect();
    assert_eq!(pooled(&map(&ramp, 5)?, 2, 0)?, [12.0, 14.0, 22.0, 24.0]);
    Ok(())
}

#[test]
fn other_weights_are_errors() -> Result<()> {
    let tensors = tensors();
    let refused = |change: &dyn Fn(&mut HashMap<String, Tensor>)| {
        let mut tensors = tensors.clone();
        change(&mut tensors);
        Inception::from_tensors(tensors).expect_err("other weights")
    };
    let name = "Mixed_6b.branch7x7_2.conv.weight";
    assert_eq!(
        refused(&|tensors| drop(tensors.remove(name))),
        format!("no {name}, which must have shape [128, 128, 1, 7]")
    );
    let infinite = Tensor::full(f32::INFINITY, 32, &Device::Cpu)?;
    let bias = "Conv2d_1a_3x3.bn.bias";
    assert_eq!(
        refused(&|tensors| drop(tensors.insert(bias.into(), infinite.clone()))),
        format!("{bias} holds values that are NaN or infinite")
    );
    // As torchvision's weights have it.
    let thousand = weight("fc.weight", &[1000, 2048]);
    assert_eq!(
        refused(&|tensors| drop(tensors.insert("fc.weight".into(), thousand.clone()))),
        "fc.weight has shape [1000, 2048] (F32), must have [1008, 2048] (F32)"
    );
    assert_eq!(
        refused(&|tensors| drop(tensors.insert("AuxLogits.fc.bias".into(), infinite.clone()))),
        "AuxLogits.fc.bias, which the network does not have"
    );
    let place = tempfile::tempdir().expect("a directory");
    let path = place.path().join("weights.pth");
    std::fs::write(&path, b"PK\x03\x04 and more").expect("a file");
    let error = Inception::load(&path).expect_err("no safetensors").to_string();
    let start =
        "weights.pth: not the weights of the FID's Inception: not a whole safetensors file (";
    assert!(error.contains(start), "{error}");
    Ok(())
}

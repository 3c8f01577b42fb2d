//! Tests of the layers of architectures.

use super::*;

fn stack(channels: &[usize], strides: &[usize]) -> ConvStack {
    ConvStack {
        channels: channels.to_vec(),
        strides: strides.to_vec(),
        kernel: 4,
        norm: Norm::Batch { epsilon: 1e-5, momentum: Momentum(0.1) },
        activation: Activation::Relu,
        dropout: 0.0,
    }
}

#[test]
fn strides_lead_to_the_image_size() {
    let layers = stack(&[64, 32], &[2, 2]).generator((3, 28, 20).into()).expect("divisible");
    assert_eq!(layers[0], Layer::Project { to: (64, 7, 5).into(), bias: false });
    let convolutions: Vec<_> = layers
        .iter()
        .filter_map(|layer| match layer {
            Layer::ConvTranspose { channels, stride, .. } => Some((*channels, *stride)),
            _ => None,
        })
        .collect();
    assert_eq!(convolutions, [(32, 2), (3, 2)]);
    assert_eq!(layers.last(), Some(&Layer::Activation(Activation::Tanh)));
}

/// For 64 pixels, a stride of 1 becomes 2, or a layer is added at the deep end.
#[test]
fn larger_images_take_more_strides() {
    let image: FeatureShape = (3, 64, 64).into();
    let kept = stack(&[256, 128, 64], &[1, 2, 2]).scaled(image, Deep::First);
    assert_eq!((kept.channels, kept.strides), (vec![256, 128, 64], vec![2, 2, 2]));
    let front = stack(&[64, 32], &[2, 2]).scaled(image, Deep::First);
    assert_eq!((&front.channels[..], &front.strides[..]), (&[128, 64, 32][..], &[2; 3][..]));
    let layers = front.generator(image).expect("divisible");
    assert_eq!(layers[0], Layer::Project { to: (128, 8, 8).into(), bias: false });
    let behind = stack(&[64, 128], &[2, 2]).scaled((3, 128, 100).into(), Deep::Last);
    assert_eq!((behind.channels, behind.strides), (vec![64, 128, 256, 512], vec![2; 4]));
    let small = stack(&[64, 32], &[2, 2]);
    assert_eq!(small.scaled((1, 28, 32).into(), Deep::First), small);
}

#[test]
fn sizes_that_do_not_fit_are_errors() {
    let error = stack(&[64, 32], &[2, 2]).generator((1, 27, 28).into()).expect_err("27");
    let error = error.to_string();
    assert!(error.contains("28x27 pixels: the strides [2, 2] enlarge by 4"), "{error}");
    assert!(error.ends_with("; a width of 28 and a height of 24 or 28 would do"), "{error}");
    let error = stack(&[64], &[2, 2]).generator((1, 28, 28).into()).expect_err("uneven");
    assert!(error.to_string().contains("1 channels for 2 strides"));
    let error = stack(&[], &[]).discriminator().expect_err("empty");
    assert!(error.to_string().contains("0 channels for 0 strides"));
}

#[test]
fn dropout_follows_the_listed_layers() {
    let stack = DenseStack {
        units: vec![4, 3],
        activation: Activation::LeakyRelu(0.2),
        norm: Norm::None,
        dropout: vec![0.3],
    };
    let layers = stack.hidden().expect("two hidden layers");
    let kinds: Vec<_> = layers.iter().map(Layer::kind).collect();
    assert_eq!(kinds, ["dense", "activation", "dropout", "dense", "activation"]);
}

//! Packed chains: the same bytes as their layers one by one.

use crate::{at_each_precision, random, values};
use candle_core::Tensor;
use gan_kernels::{
    Activation, Epilogue, FixedLayer, Geometry, PackedChain, Window, hwnc_to_nchw, layer,
};
use std::sync::Arc;

const RELU: Activation = Activation::LeakyRelu(0.0);

fn fixed(geometry: Geometry, weight: &[usize], bias: usize, activation: Activation) -> FixedLayer {
    let bias = (bias > 0).then(|| random(&[bias], 3));
    FixedLayer { weight: random(weight, 2), bias, geometry: Arc::new(geometry), activation }
}

/// A projection with a bias per pixel, transposed convolutions of strides 1 and 2, and one to few
/// channels: the layers of a generator, with channels that fill vectors and others.
fn generator(channels: usize, last: usize) -> Vec<FixedLayer> {
    let whole = Window { kernel: (3, 4), stride: 1, padding: (0, 0) };
    let project = Geometry::transposed(whole, (1, 1), (3, 4)).unwrap();
    let same = |kernel, stride, small: (usize, usize)| {
        let large = (small.0 * stride, small.1 * stride);
        Geometry::transposed(Window::same((kernel, kernel), stride, large), small, large).unwrap()
    };
    let c = channels;
    vec![
        fixed(project, &[3, 4, 10, c], 12 * c, RELU),
        fixed(same(4, 1, (3, 4)), &[4, 4, c, c], c, RELU),
        fixed(same(4, 2, (3, 4)), &[4, 4, c, 32], 0, RELU),
        fixed(same(4, 2, (6, 8)), &[4, 4, 32, last], last, Activation::Tanh),
    ]
}

fn one_by_one(layers: &[FixedLayer], x: &Tensor) -> Tensor {
    let mut x = x.clone();
    for FixedLayer { weight, bias, geometry, activation } in layers {
        x = layer(&x, weight, bias.as_ref(), geometry, Epilogue::new(*activation)).unwrap();
    }
    hwnc_to_nchw(&x).unwrap()
}

#[test]
fn a_chain_equals_its_layers() {
    at_each_precision(|precision| {
        for (channels, last) in [(64, 1), (40, 3), (9, 1), (130, 20)] {
            let layers = generator(channels, last);
            let chain = PackedChain::new(&layers).unwrap();
            // Twice each, with memory of the calls before.
            for batch in [1, 5, 1, 33, 2, 1] {
                let x = random(&[1, 1, batch, 10], batch as u64);
                let (got, want) = (chain.forward(&x).unwrap(), one_by_one(&layers, &x));
                assert_eq!(got.dims(), want.dims());
                let what = format!("{precision:?}, {channels} channels, batch {batch}");
                assert!(values(&got) == values(&want), "{what}");
            }
        }
    });
}

/// From an image to one value: few channels in, and a dense layer at the end.
#[test]
fn a_chain_may_begin_with_an_image() {
    let window = Window::same((3, 3), 2, (6, 6));
    let whole = Window { kernel: (3, 3), stride: 1, padding: (0, 0) };
    let conv = Geometry::conv(window, (6, 6), (3, 3)).unwrap();
    let score = Geometry::conv(whole, (3, 3), (1, 1)).unwrap();
    let layers = [
        fixed(conv, &[3, 3, 1, 12], 12, RELU),
        fixed(score, &[3, 3, 12, 2], 2, Activation::Sigmoid),
    ];
    let chain = PackedChain::new(&layers).unwrap();
    for batch in [1, 4] {
        let x = random(&[6, 6, batch, 1], 1);
        assert_eq!(values(&chain.forward(&x).unwrap()), values(&one_by_one(&layers, &x)));
    }
}

#[test]
fn layers_and_inputs_that_do_not_fit_are_errors() {
    let layers = generator(8, 1);
    let error = |layers: &[FixedLayer]| PackedChain::new(layers).err().unwrap().to_string();
    assert!(error(&[]).contains("one or more layers"));
    let text = error(&[layers[0].clone(), layers[3].clone()]);
    assert!(text.contains("must fit the one before it"), "{text}");
    let mut wrong = layers[1].clone();
    wrong.bias = Some(random(&[7], 1));
    let text = error(&[wrong]);
    assert!(text.contains("bias Some([7]), 12 pixels"), "{text}");
    let chain = PackedChain::new(&layers).unwrap();
    let text = chain.forward(&random(&[1, 1, 2, 9], 1)).unwrap_err().to_string();
    assert!(text.contains("input [1, 1, 2, 9]") && text.contains("10"), "{text}");
}

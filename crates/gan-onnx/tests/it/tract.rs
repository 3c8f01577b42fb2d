//! Models run by tract.

use crate::{Case, cases};
use candle_core::Tensor;
use tract_onnx::prelude::*;

/// A runtime's images, in the order (N, C, H, W).
fn run(onnx: &[u8], z: &Tensor, labels: Option<&[u32]>) -> Vec<f32> {
    let model = tract_onnx::onnx().model_for_read(&mut &onnx[..]).unwrap();
    // tract 0.23 fails to declutter a 1x1 convolution of stride 2 after a product with a matrix, as recipe
    // `ezgan` has it; its other optimisations do.
    let without_declutter = |model: InferenceModel| {
        let mut model = model.into_typed()?;
        model.optimize().map(|()| model)
    };
    let model = model.clone().into_optimized().or_else(|_| without_declutter(model)).unwrap();
    let model = model.into_runnable().unwrap();
    let (batch, dim) = z.dims2().unwrap();
    let latents: Vec<f32> = z.flatten_all().unwrap().to_vec1().unwrap();
    let latents = tract_ndarray::Array2::from_shape_vec((batch, dim), latents).unwrap();
    let mut inputs = tvec![latents.into_tensor().into_tvalue()];
    if let Some(labels) = labels {
        let labels: Vec<i64> = labels.iter().map(|&label| label.into()).collect();
        inputs.push(tensor1(&labels).into_tvalue());
    }
    let images = model.run(inputs).unwrap().remove(0);
    images.to_plain_array_view::<f32>().unwrap().iter().copied().collect()
}

/// The same model for a batch of 1 and of 3, whatever its number of rows.
#[test]
#[allow(clippy::print_stdout, reason = "shown where the test fails or is asked to")]
fn generators_agree_with_tract() {
    for case in cases() {
        let onnx = case.onnx();
        for batch in [1, 3] {
            let (z, labels, want) = case.images(batch);
            let conditional = case.generator.config().conditional;
            let got = run(&onnx, &z, conditional.then_some(&labels[..]));
            let worst = case.check(&got, &want);
            println!("{}, {batch} images: largest difference {worst:e}", case.name);
        }
    }
}

/// What the order (H, W, C) of batch normalisation after a projection would do, were it not heeded.
#[test]
#[should_panic(expected = "chain: ")]
fn the_comparison_sees_values_in_another_order() {
    let case = Case::new("chain".into(), crate::chain());
    let onnx = case.onnx();
    let (z, labels, want) = case.images(2);
    let mut got = run(&onnx, &z, Some(&labels));
    got.swap(3, 44);
    case.check(&got, &want);
}

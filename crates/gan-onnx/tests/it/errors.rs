//! Generators that cannot be written.

use crate::{Case, chain, residual};

#[test]
fn parameters_of_another_network_are_named() {
    let (chain, residual) = (Case::new("a".into(), chain()), Case::new("b".into(), residual()));
    let error = gan_onnx::to_onnx(&chain.generator, &residual.parameters).unwrap_err().to_string();
    assert!(error.contains("layers."), "{error}");
}

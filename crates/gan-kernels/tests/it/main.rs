//! The fast operators against slow references, and their gradients against finite differences.
#![allow(clippy::unwrap_used, reason = "tests")]

mod groups;
mod isa;
mod layer;
mod packed;
mod reference;
mod threads;
mod update;
mod winograd;

use candle_core::{Device, Tensor};
use gan_kernels::{Precision, precision, set_precision};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Mutex;

/// Runs a test at every precision that the processor offers.
fn at_each_precision(test: impl Fn(Precision)) {
    // The precision is that of the process, so only one such test runs at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for wanted in [Precision::Highest, Precision::High] {
        set_precision(wanted);
        if precision() == wanted {
            test(wanted);
        }
    }
}

/// Returns values in [-1, 1), the same for the same seed.
fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[track_caller]
fn assert_close(got: &Tensor, want: &[f64], tolerance: f64, what: &str) {
    let got = values(got);
    assert_eq!(got.len(), want.len(), "{what}: number of elements");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let bound = tolerance * (1.0 + want.abs());
        assert!((f64::from(*got) - want).abs() <= bound, "{what}, element {i}: {got}, not {want}");
    }
}

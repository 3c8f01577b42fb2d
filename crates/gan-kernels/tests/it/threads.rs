//! Operators on several threads that use the same tensors.

use crate::{random, values};
use candle_core::Tensor;
use gan_kernels::{Activation, Adam, Epilogue, Geometry, GradMask, SavedLayer, ScaleShift, lerp_};
use std::sync::Arc;

/// An operator holds the locks of its tensors while its threads work. If a thread of it ran other
/// tasks of the pool meanwhile, an update of the same tensor would wait for the operator, and the
/// operator for the update.
#[test]
fn operators_and_updates_of_one_tensor_do_not_wait_for_each_other() {
    let geometry = Arc::new(Geometry::dense());
    let epilogue = Epilogue::NONE;
    let (x, weight) = (random(&[1, 1, 64, 64], 1), random(&[1, 1, 64, 64], 2));
    let (first, second) = (random(&[1, 1, 64, 64], 3), random(&[1, 1, 64, 64], 4).sqr().unwrap());
    let gradient = random(&[1, 1, 64, 64], 5);
    let adam = Adam { learning_rate: 1e-3, beta1: 0.5, beta2: 0.99, epsilon: 1e-8 };
    let forward_backward = || {
        let scale_shift = ScaleShift::None;
        let saved = SavedLayer::forward(&x, &weight, scale_shift, &geometry, epilogue).unwrap();
        let mask = GradMask { input: true, parameters: true };
        saved.backward(&gradient, mask).unwrap().input.unwrap()
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
    let run = |task: usize| match task % 3 {
        0 => assert_eq!(values(&forward_backward()).len(), 64 * 64),
        1 => lerp_(&weight, &x, 0.01).unwrap(),
        _ => adam.update(&weight, &gradient, (&first, &second), 1 + task as u64).unwrap(),
    };
    let run = &run;
    pool.scope(|scope| (0..300).for_each(|task| scope.spawn(move |_| run(task))));
    assert!(values(&weight).iter().all(|value| value.is_finite()));
}

/// Tensors of one storage are locked once, however often an operator is given them.
#[test]
fn arguments_may_share_memory() {
    let x = random(&[1, 1, 8, 8], 1);
    let geometry = Arc::new(Geometry::dense());
    let epilogue = Epilogue::new(Activation::Tanh);
    let copy = |x: &Tensor| x.copy().unwrap();
    let run = |weight: &Tensor| {
        let saved = SavedLayer::forward(&x, weight, ScaleShift::None, &geometry, epilogue).unwrap();
        let mask = GradMask { input: true, parameters: true };
        let gradients = saved.backward(&x, mask).unwrap();
        [gradients.input, gradients.weight].map(|gradient| values(&gradient.unwrap()))
    };
    assert_eq!(run(&x), run(&copy(&x)));
}

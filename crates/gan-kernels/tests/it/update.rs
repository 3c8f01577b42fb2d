//! Adam and moving averages.

use crate::{assert_close, random, values};
use candle_core::{Device, Tensor};
use gan_kernels::{Adam, lerp_};

/// Three steps of Adam on p = [1, -2], g = [0.5, -1.5], by hand in f64.
#[test]
fn adam_follows_the_paper() {
    let adam = Adam { learning_rate: 0.1, beta1: 0.5, beta2: 0.9, epsilon: 1e-8 };
    let tensor = |v: [f32; 2]| Tensor::new(&v, &Device::Cpu).unwrap();
    let (p, g) = (tensor([1.0, -2.0]), tensor([0.5, -1.5]));
    let (m, v) = (tensor([0.0; 2]), tensor([0.0; 2]));
    let (mut want, mut wm, mut wv) = ([1.0, -2.0], [0.0; 2], [0.0; 2]);
    for step in 1..=3 {
        adam.update(&p, &g, (&m, &v), step).unwrap();
        for (i, g) in [0.5, -1.5].into_iter().enumerate() {
            wm[i] = 0.5 * wm[i] + 0.5 * g;
            wv[i] = 0.9 * wv[i] + 0.1 * g * g;
            let mean = wm[i] / (1.0 - 0.5f64.powi(step as i32));
            let square: f64 = wv[i] / (1.0 - 0.9f64.powi(step as i32));
            want[i] -= 0.1 * mean / (square.sqrt() + 1e-8);
        }
        assert_close(&p, &want, 1e-6, "parameter");
        assert_close(&m, &wm, 1e-6, "first moment");
        assert_close(&v, &wv, 1e-6, "second moment");
    }
}

#[test]
fn adam_is_one_rule_for_any_size() {
    // Longer than one task's chunk: the same as element by element.
    let adam = Adam { learning_rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
    let n = 70_000;
    let copy = |t: &Tensor| Tensor::from_vec(values(t), t.dims(), t.device()).unwrap();
    let (p, g) = (random(&[n], 1), random(&[n], 2));
    let (m, v) = (random(&[n], 3), random(&[n], 4).sqr().unwrap());
    let last = |t: &Tensor| copy(&t.narrow(0, n - 1, 1).unwrap().contiguous().unwrap());
    let (p1, g1, m1, v1) = (last(&p), last(&g), last(&m), last(&v));
    adam.update(&p, &g, (&m, &v), 9).unwrap();
    adam.update(&p1, &g1, (&m1, &v1), 9).unwrap();
    assert_eq!(values(&p)[n - 1], values(&p1)[0]);
}

#[test]
fn adam_names_shapes_that_differ() {
    let adam = Adam { learning_rate: 0.1, beta1: 0.5, beta2: 0.9, epsilon: 1e-8 };
    let (a, b) = (random(&[3], 1), random(&[4], 1));
    let error =
        adam.update(&a, &b, (&random(&[3], 2), &random(&[3], 3)), 1).unwrap_err().to_string();
    assert!(error.contains("parameter [3], gradient [4]"), "{error}");
}

/// A storage that an update locks twice would block it forever.
#[test]
fn updates_refuse_tensors_that_share_memory() {
    let adam = Adam { learning_rate: 0.1, beta1: 0.5, beta2: 0.9, epsilon: 1e-8 };
    let (p, g, m, v) = (random(&[6], 1), random(&[6], 2), random(&[6], 3), random(&[6], 4));
    let before = values(&p);
    let error = |p: &Tensor, g: &Tensor, m: &Tensor, v: &Tensor| {
        adam.update(p, g, (m, v), 1).unwrap_err().to_string()
    };
    let text = error(&p, &g, &p.detach(), &v);
    assert!(text.contains("Adam: parameter and first moment of shape [6] share memory"), "{text}");
    let text = error(&p, &p, &m, &v);
    assert!(text.contains("Adam: parameter and gradient of shape [6] share memory"), "{text}");
    let text = error(&p, &g, &m, &m.reshape(6).unwrap());
    assert!(text.contains("first moment and second moment of shape [6]"), "{text}");
    let halves = [p.narrow(0, 0, 3).unwrap(), p.narrow(0, 3, 3).unwrap()];
    let text = lerp_(&halves[0], &halves[1], 0.5).unwrap_err().to_string();
    assert!(text.contains("moving average: average and value of shape [3]"), "{text}");
    assert_eq!(values(&p), before);
}

#[test]
fn average_moves_by_its_rate() {
    let average = Tensor::new(&[1f32, -1.0], &Device::Cpu).unwrap();
    let value = Tensor::new(&[2f32, 3.0], &Device::Cpu).unwrap();
    lerp_(&average, &value, 0.25).unwrap();
    assert_eq!(values(&average), [1.25, 0.0]);
    let error = lerp_(&average, &random(&[3], 1), 0.5).unwrap_err().to_string();
    assert!(error.contains("[2] of a tensor [3]"), "{error}");
}

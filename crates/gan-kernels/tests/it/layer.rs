//! Layers: forward, gradients, statistics, threads, and errors.

use crate::reference::{self, Features};
use crate::{assert_close, at_each_precision, random, values};
use candle_core::{Tensor, Var};
use gan_kernels::{
    Activation, BatchNorm, Dropout, Epilogue, Geometry, Precision, Window, layer, layer_batch_norm,
};
use std::sync::Arc;

const LEAKY: Epilogue = Epilogue::new(Activation::LeakyRelu(0.2));

/// A layer's geometry and its settings.
struct Case {
    name: String,
    geometry: Arc<Geometry>,
    window: Window,
    transposed: bool,
    batch: usize,
    channels: (usize, usize),
}

impl Case {
    fn x(&self) -> Tensor {
        let (h, w) = self.geometry.input();
        random(&[h, w, self.batch, self.channels.0], 1)
    }

    fn weight(&self) -> Tensor {
        let (h, w) = self.window.kernel;
        random(&[h, w, self.channels.0, self.channels.1], 2)
    }

    fn linear(&self, x: &Tensor, weight: &Tensor) -> Features {
        let (x, weight) = (Features::new(x), Features::new(weight));
        let run = if self.transposed { reference::transposed } else { reference::conv };
        run(&x, &weight, self.window, self.geometry.output())
    }
}

/// Returns cases with kernels 1 to 7, strides 1 to 3, odd and even sizes, one channel and many,
/// "same" and explicit padding, and batches around the height of a tile.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut number = 0;
    for size in [(7, 7), (5, 8), (28, 28)] {
        for kernel in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (3, 7)] {
            for stride in [1, 2, 3] {
                for transposed in [false, true] {
                    // All combinations would take minutes, so batch and channels vary along.
                    let batch = [1, 3, 8, 13, 17][number % 5];
                    let channels = [(1, 1), (1, 40), (3, 5), (9, 1), (17, 33), (8, 16), (33, 32)]
                        [(number / 2 + number / 7) % 7];
                    number += 1;
                    if size.0 > 8 && (number % 5 != 0 || channels.0 * channels.1 > 100) {
                        continue;
                    }
                    let window = Window::same(kernel, stride, size);
                    let small = (usize::div_ceil(size.0, stride), usize::div_ceil(size.1, stride));
                    cases.push(case(window, size, small, transposed, batch, channels));
                }
            }
        }
    }
    // Explicit padding: none, and more than half the kernel.
    let none = Window { kernel: (3, 3), stride: 2, padding: (0, 0) };
    let much = Window { kernel: (3, 3), stride: 1, padding: (2, 2) };
    let full = Window { kernel: (7, 7), stride: 1, padding: (0, 0) };
    for transposed in [false, true] {
        cases.push(case(none, (7, 9), (3, 4), transposed, 5, (4, 6)));
        cases.push(case(much, (4, 4), (6, 6), transposed, 5, (4, 6)));
        cases.push(case(full, (7, 7), (1, 1), transposed, 9, (12, 34)));
        cases.push(case(full, (7, 7), (1, 1), transposed, 16, (10, 1)));
    }
    // Sums longer than one K block, and a batch longer than one.
    let one = Window { kernel: (1, 1), stride: 1, padding: (0, 0) };
    cases.push(case(one, (1, 1), (1, 1), false, 4, (1100, 70)));
    cases.push(case(one, (1, 1), (1, 1), false, 600, (20, 40)));
    // Channels that fill the blocks of AMX and a little more, and longer batches.
    let window = Window::same((3, 3), 2, (4, 4));
    for transposed in [false, true] {
        cases.push(case(window, (4, 4), (2, 2), transposed, 33, (64, 70)));
        cases.push(case(window, (4, 4), (2, 2), transposed, 65, (36, 32)));
    }
    let window = Window::same((4, 4), 2, (6, 4));
    cases.push(case(window, (6, 4), (3, 2), false, 100, (6, 5)));
    cases.push(case(one, (1, 1), (1, 1), false, 40, (512, 256)));
    // Images of 64 pixels.
    let window = Window::same((5, 5), 2, (64, 64));
    cases.push(case(window, (64, 64), (32, 32), false, 2, (3, 4)));
    cases.push(case(window, (64, 64), (32, 32), true, 2, (4, 3)));
    cases
}

fn case(
    window: Window,
    large: (usize, usize),
    small: (usize, usize),
    transposed: bool,
    batch: usize,
    channels: (usize, usize),
) -> Case {
    let geometry = if transposed {
        Geometry::transposed(window, small, large)
    } else {
        Geometry::conv(window, large, small)
    };
    let name = format!(
        "{window:?} {large:?} {small:?} transposed {transposed} batch {batch} {channels:?}"
    );
    Case { name, geometry: Arc::new(geometry.unwrap()), window, transposed, batch, channels }
}

#[test]
fn forward_equals_the_definition() {
    at_each_precision(|precision| {
        let tolerance = if precision == Precision::High { 2e-4 } else { 2e-5 };
        for case in cases() {
            let (x, weight) = (case.x(), case.weight());
            let bias = random(&[case.channels.1], 3);
            let y = layer(&x, &weight, Some(&bias), &case.geometry, LEAKY).unwrap();
            let mut want = reference::add_bias(case.linear(&x, &weight), &values(&bias));
            want.data.iter_mut().for_each(|z| *z = reference::activate(LEAKY.activation, *z));
            assert_eq!(y.dims(), want.dims, "{}", case.name);
            assert_close(&y, &want.data, tolerance, &format!("{precision:?}, {}", case.name));
        }
    });
}

/// The layer is linear in both arguments, so its gradients are adjoint to it:
/// <linear(dx, w), r> = <dx, gradient of x> for random dx and r, and likewise for the weight.
#[test]
fn gradients_are_adjoint_to_the_definition() {
    let dot =
        |a: &[f64], b: &Tensor| a.iter().zip(values(b)).map(|(a, b)| a * f64::from(b)).sum::<f64>();
    at_each_precision(|precision| {
        let tolerance = if precision == Precision::High { 1e-3 } else { 1e-4 };
        for case in cases() {
            let x = Var::from_tensor(&case.x()).unwrap();
            let weight = Var::from_tensor(&case.weight()).unwrap();
            let plain = Epilogue::NONE;
            let y = layer(&x, &weight, None, &case.geometry, plain).unwrap();
            let r = random(y.dims(), 4);
            let gradients = (&y * &r).unwrap().sum_all().unwrap().backward().unwrap();
            for seed in 5..7 {
                for variable in [&x, &weight] {
                    let direction = random(variable.dims(), seed);
                    let product = if variable.id() == x.id() {
                        case.linear(&direction, &weight)
                    } else {
                        case.linear(&x, &direction)
                    };
                    let want = dot(&product.data, &r);
                    let gradient = gradients.get(variable).unwrap();
                    let got = dot(&Features::new(&direction).data, gradient);
                    assert!(
                        (got - want).abs() < tolerance * (1.0 + want.abs()),
                        "{precision:?}, {}: {got} {want}",
                        case.name
                    );
                }
            }
        }
    });
}

fn small(transposed: bool) -> Case {
    case(Window::same((3, 3), 2, (6, 6)), (6, 6), (3, 3), transposed, 5, (3, 4))
}

/// Returns central differences of `loss` by every element of `variable`.
fn finite_differences(variable: &Var, loss: impl Fn() -> f64) -> Vec<f64> {
    let original = values(variable);
    let step = 1e-2;
    let set = |at: usize, value: f32| {
        let mut changed = original.clone();
        changed[at] = value;
        variable
            .set(&Tensor::from_vec(changed, variable.dims(), variable.device()).unwrap())
            .unwrap();
    };
    (0..original.len())
        .map(|i| {
            set(i, original[i] + step);
            let above = loss();
            set(i, original[i] - step);
            let below = loss();
            set(i, original[i]);
            (above - below) / (2.0 * f64::from(step))
        })
        .collect()
}

fn check_all(variables: &[&Var], loss: impl Fn() -> Tensor, what: &str) {
    let gradients = loss().backward().unwrap();
    for (number, variable) in variables.iter().enumerate() {
        let want = finite_differences(variable, || f64::from(loss().to_scalar::<f32>().unwrap()));
        let got = gradients.get(variable).unwrap();
        assert_close(got, &want, 4e-3, &format!("{what}, variable {number}"));
    }
}

#[test]
fn gradients_through_bias_activation_and_dropout() {
    for transposed in [false, true] {
        let case = small(transposed);
        let [x, weight, bias] =
            [case.x(), case.weight(), random(&[4], 3)].map(|t| Var::from_tensor(&t).unwrap());
        let (h, w) = case.geometry.output();
        let bias_per_pixel = Var::from_tensor(&random(&[h * w * 4], 3)).unwrap();
        for activation in [Activation::Tanh, Activation::Sigmoid, Activation::Identity] {
            for dropout in [None, Some(Dropout::new(0.3, 7).unwrap())] {
                let epilogue = Epilogue::new(activation).with_dropout(dropout);
                let bias = if dropout.is_none() { &bias } else { &bias_per_pixel };
                let run = || layer(&x, &weight, Some(bias), &case.geometry, epilogue).unwrap();
                let r = random(run().dims(), 4);
                let loss = || (run() * &r).unwrap().sum_all().unwrap();
                check_all(&[&x, &weight, bias], loss, &format!("{epilogue:?}"));
            }
        }
    }
}

#[test]
fn a_bias_may_differ_from_pixel_to_pixel() {
    let case = small(true);
    let bias = random(&[36 * 4], 3);
    let plain = Epilogue::NONE;
    let y = layer(&case.x(), &case.weight(), Some(&bias), &case.geometry, plain).unwrap();
    let mut want = case.linear(&case.x(), &case.weight()).data;
    let bias = values(&bias);
    for (i, z) in want.iter_mut().enumerate() {
        let (pixel, channel) = (i / (5 * 4), i % 4);
        *z += f64::from(bias[pixel * 4 + channel]);
    }
    assert_close(&y, &want, 1e-5, "bias per pixel");
}

/// Leaky ReLU has a kink that differences must not straddle, so its gradient is checked by value.
#[test]
fn gradient_through_leaky_relu() {
    let case = small(false);
    let x = Var::from_tensor(&case.x()).unwrap();
    let (weight, bias) = (case.weight(), random(&[4], 3));
    let y = layer(&x, &weight, Some(&bias), &case.geometry, LEAKY).unwrap();
    let r = random(y.dims(), 4);
    let got = (&y * &r).unwrap().sum_all().unwrap().backward().unwrap();
    let slopes: Vec<f32> = values(&y).iter().map(|&y| if y > 0.0 { 1.0 } else { 0.2 }).collect();
    let slopes = Tensor::from_vec(slopes, y.dims(), y.device()).unwrap();
    let plain = Epilogue::NONE;
    let z = layer(&x, &weight, Some(&bias), &case.geometry, plain).unwrap();
    let want = (z * (r * slopes).unwrap()).unwrap().sum_all().unwrap().backward().unwrap();
    let want: Vec<f64> = values(want.get(&x).unwrap()).into_iter().map(f64::from).collect();
    assert_close(got.get(&x).unwrap(), &want, 1e-6, "leaky ReLU");
}

#[test]
fn batch_norm_equals_the_definition() {
    for per_pixel in [false, true] {
        for transposed in [false, true] {
            let case = small(transposed);
            let (h, w) = case.geometry.output();
            let features = if per_pixel { h * w * 4 } else { 4 };
            let [x, weight, gamma, beta] =
                [case.x(), case.weight(), random(&[features], 8), random(&[features], 9)]
                    .map(|t| Var::from_tensor(&t).unwrap());
            let norm = BatchNorm { epsilon: 1e-3, per_pixel };
            let run = |dropout| {
                let epilogue = Epilogue::new(Activation::Tanh).with_dropout(dropout);
                let affine = (&*gamma, &*beta);
                layer_batch_norm(&x, &weight, affine, &case.geometry, norm, epilogue).unwrap()
            };
            let product = case.linear(&x, &weight);
            let (y, statistics) = run(None);
            let (g, b) = (values(&gamma), values(&beta));
            let mut want = reference::batch_norm(product.clone(), &g, &b, 1e-3, per_pixel);
            want.data.iter_mut().for_each(|z| *z = z.tanh());
            assert_close(&y, &want.data, 2e-5, "batch norm");
            let r = random(y.dims(), 4);
            for dropout in [None, Some(Dropout::new(0.3, 7).unwrap())] {
                let loss = || (run(dropout).0 * &r).unwrap().sum_all().unwrap();
                let what = format!("per pixel {per_pixel}, {dropout:?}");
                check_all(&[&x, &weight, &gamma, &beta], loss, &what);
            }
            // Statistics of the first feature, by hand.
            let rows: Vec<f64> = if per_pixel {
                (0..5).map(|b| product.data[b * 4]).collect()
            } else {
                product.data.iter().step_by(4).copied().collect()
            };
            let mean = rows.iter().sum::<f64>() / rows.len() as f64;
            let variance =
                rows.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (rows.len() - 1) as f64;
            assert!((f64::from(values(&statistics.mean)[0]) - mean).abs() < 1e-5);
            assert!((f64::from(values(&statistics.variance)[0]) - variance).abs() < 1e-5);
        }
    }
}

#[test]
fn same_bytes_for_any_number_of_threads() {
    let window = Window::same((5, 5), 2, (14, 14));
    let case = case(window, (14, 14), (7, 7), true, 37, (40, 34));
    let run = || {
        let [x, weight, gamma, beta] =
            [case.x(), case.weight(), random(&[34], 8), random(&[34], 9)]
                .map(|t| Var::from_tensor(&t).unwrap());
        let norm = BatchNorm { epsilon: 1e-5, per_pixel: false };
        let (y, _) =
            layer_batch_norm(&x, &weight, (&gamma, &beta), &case.geometry, norm, LEAKY).unwrap();
        let r = random(y.dims(), 4);
        let gradients = (&y * &r).unwrap().sum_all().unwrap().backward().unwrap();
        let mut all = values(&y);
        for variable in [&x, &weight, &gamma, &beta] {
            all.extend(values(gradients.get(variable).unwrap()));
        }
        all.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let with = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    };
    at_each_precision(|precision| assert_eq!(with(1), with(3), "{precision:?}"));
}

#[test]
fn an_image_is_the_same_in_every_batch() {
    at_each_precision(|precision| {
        let window = Window::same((4, 4), 2, (8, 8));
        let case = case(window, (8, 8), (4, 4), true, 50, (40, 34));
        let all = layer(&case.x(), &case.weight(), None, &case.geometry, LEAKY).unwrap();
        let alone = case.x().narrow(2, 33, 1).unwrap();
        let one = layer(&alone, &case.weight(), None, &case.geometry, LEAKY).unwrap();
        assert_eq!(values(&one), values(&all.narrow(2, 33, 1).unwrap()), "{precision:?}");
    });
}

#[test]
fn strided_arguments_are_accepted() {
    let case = small(false);
    let (x, weight) = (case.x(), case.weight());
    let strided = x.transpose(0, 1).unwrap().contiguous().unwrap().transpose(0, 1).unwrap();
    assert!(!strided.is_contiguous());
    let run = |x: &Tensor| values(&layer(x, &weight, None, &case.geometry, LEAKY).unwrap());
    assert_eq!(run(&strided), run(&x));
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let case = small(false);
    let error = |x: &[usize], w: &[usize], bias: usize| {
        let bias = random(&[bias], 1);
        layer(&random(x, 1), &random(w, 1), Some(&bias), &case.geometry, LEAKY)
            .expect_err("must not fit")
            .to_string()
    };
    let text = error(&[6, 5, 5, 3], &[3, 3, 3, 4], 4);
    assert!(text.contains("[6, 5, 5, 3]") && text.contains("(6, 6) pixels"), "{text}");
    let text = error(&[6, 6, 5, 3], &[3, 3, 2, 4], 4);
    assert!(text.contains("[3, 3, 2, 4]"), "{text}");
    let text = error(&[6, 6, 5, 3], &[3, 3, 3, 4], 5);
    assert!(text.contains("bias [5] for 4 channels of 9 pixels"), "{text}");
    let text = error(&[6, 6, 0, 3], &[3, 3, 3, 4], 4);
    assert!(text.contains("empty input"), "{text}");
}

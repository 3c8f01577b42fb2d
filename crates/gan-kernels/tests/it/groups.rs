//! Groups of channels: layers of their own, side by side.

use crate::reference::{self, Features};
use crate::{assert_close, at_each_precision, random, values};
use candle_core::{Tensor, Var};
use gan_kernels::{
    Activation, Epilogue, FixedLayer, Geometry, PackedChain, Window, hwnc_to_nchw, layer,
};
use std::sync::Arc;

/// A layer of groups, and the same map with one group.
struct Case {
    name: String,
    window: Window,
    transposed: bool,
    groups: usize,
    grouped: Arc<Geometry>,
    alone: Arc<Geometry>,
    x: Tensor,
    weight: Tensor,
}

impl Case {
    /// `channels` are those of a group.
    fn new(
        (kernel, stride, transposed): (usize, usize, bool),
        batch: usize,
        groups: usize,
        channels: (usize, usize),
    ) -> Self {
        let (large, small) = ((5, 6), (5usize.div_ceil(stride), 6usize.div_ceil(stride)));
        let window = Window::same((kernel, kernel), stride, large);
        let geometry = || match transposed {
            false => Geometry::conv(window, large, small).unwrap(),
            true => Geometry::transposed(window, small, large).unwrap(),
        };
        let (h, w) = geometry().input();
        Self {
            name: format!(
                "{window:?} transposed {transposed} batch {batch} {groups} x {channels:?}"
            ),
            window,
            transposed,
            groups,
            grouped: Arc::new(geometry().with_groups(groups).unwrap()),
            alone: Arc::new(geometry()),
            x: random(&[h, w, batch, groups * channels.0], 1),
            weight: random(&[kernel, kernel, channels.0, groups * channels.1], 2),
        }
    }

    /// The channels of a group.
    fn part(&self, tensor: &Tensor, group: usize) -> Tensor {
        let len = tensor.dim(3).unwrap() / self.groups;
        tensor.narrow(3, group * len, len).unwrap().contiguous().unwrap()
    }

    /// Layers of one group each, side by side.
    fn one_by_one(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let run = |group| {
            let (x, weight) = (self.part(x, group), self.part(weight, group));
            layer(&x, &weight, None, &self.alone, Epilogue::NONE).unwrap()
        };
        Tensor::cat(&(0..self.groups).map(run).collect::<Vec<_>>(), 3).unwrap()
    }
}

/// Few channels and many, a channel a group, columns that end within a vector and within a panel.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes =
        [(2, (3, 4)), (3, (1, 1)), (7, (1, 2)), (4, (16, 16)), (3, (33, 35)), (2, (64, 32))];
    for (number, (groups, channels)) in sizes.into_iter().enumerate() {
        for (at, map) in [(3, 1, false), (4, 2, false), (1, 1, false), (3, 2, true), (4, 3, true)]
            .into_iter()
            .enumerate()
        {
            let batch = [1, 5, 16, 40][(number + at) % 4];
            cases.push(Case::new(map, batch, groups, channels));
        }
    }
    // Sums longer than one K block.
    cases.push(Case::new((1, 1, false), 4, 2, (700, 9)));
    cases
}

#[test]
fn each_group_is_the_definition_of_its_channels() {
    at_each_precision(|precision| {
        let tolerance = if precision == gan_kernels::Precision::High { 2e-4 } else { 2e-5 };
        for case in cases() {
            let y = layer(&case.x, &case.weight, None, &case.grouped, Epilogue::NONE).unwrap();
            let run = if case.transposed { reference::transposed } else { reference::conv };
            for group in 0..case.groups {
                let [x, weight] =
                    [&case.x, &case.weight].map(|t| Features::new(&case.part(t, group)));
                let want = run(&x, &weight, case.window, case.grouped.output()).data;
                let what = format!("{precision:?}, {}, group {group}", case.name);
                assert_close(&case.part(&y, group), &want, tolerance, &what);
            }
        }
    });
}

#[test]
fn gradients_are_those_of_layers_side_by_side() {
    at_each_precision(|precision| {
        let tolerance = if precision == gan_kernels::Precision::High { 5e-4 } else { 5e-5 };
        for case in cases() {
            let [x, weight] = [&case.x, &case.weight].map(|t| Var::from_tensor(t).unwrap());
            let gradients = |y: Tensor| {
                let r = random(y.dims(), 3);
                let gradients = (y * r).unwrap().sum_all().unwrap().backward().unwrap();
                [&x, &weight].map(|variable| gradients.get(variable).unwrap().clone())
            };
            let y = layer(&x, &weight, None, &case.grouped, Epilogue::NONE).unwrap();
            let wanted = gradients(case.one_by_one(&x, &weight));
            for (number, (got, want)) in gradients(y).iter().zip(wanted).enumerate() {
                let want: Vec<f64> = values(&want).into_iter().map(f64::from).collect();
                let what = format!("{precision:?}, {}, gradient {number}", case.name);
                assert_close(got, &want, tolerance, &what);
            }
        }
    });
}

/// With bias and activation, by central differences.
#[test]
fn gradients_are_those_of_finite_differences() {
    for transposed in [false, true] {
        let case = Case::new((3, 2, transposed), 3, 2, (3, 2));
        let variables =
            [&case.x, &case.weight, &random(&[4], 3)].map(|t| Var::from_tensor(t).unwrap());
        let run = || {
            let [x, weight, bias] = &variables;
            let epilogue = Epilogue::new(Activation::Tanh);
            layer(x, weight, Some(bias), &case.grouped, epilogue).unwrap()
        };
        let r = random(run().dims(), 4);
        let loss = || (run() * &r).unwrap().sum_all().unwrap();
        let gradients = loss().backward().unwrap();
        for (number, variable) in variables.iter().enumerate() {
            let (original, step) = (values(variable), 1e-2);
            let at = |i: usize, by: f32| {
                let mut changed = original.clone();
                changed[i] += by;
                let changed = Tensor::from_vec(changed, variable.dims(), variable.device());
                variable.set(&changed.unwrap()).unwrap();
                f64::from(loss().to_scalar::<f32>().unwrap())
            };
            let difference = |i| (at(i, step) - at(i, -step)) / (2.0 * f64::from(step));
            let want: Vec<f64> = (0..original.len()).map(difference).collect();
            let original = Tensor::from_vec(original, variable.dims(), variable.device());
            variable.set(&original.unwrap()).unwrap();
            let what = format!("transposed {transposed}, variable {number}");
            assert_close(gradients.get(variable).unwrap(), &want, 4e-3, &what);
        }
    }
}

#[test]
fn groups_have_the_same_bytes_for_any_number_of_threads() {
    for (groups, channels) in [(24, (16, 16)), (2, (64, 64)), (90, (1, 1)), (3, (33, 35))] {
        let case = Case::new((3, 1, false), 37, groups, channels);
        let run = || {
            let [x, weight, bias] = [&case.x, &case.weight, &random(&[groups * channels.1], 3)]
                .map(|t| Var::from_tensor(t).unwrap());
            let epilogue = Epilogue::new(Activation::LeakyRelu(0.2));
            let y = layer(&x, &weight, Some(&bias), &case.grouped, epilogue).unwrap();
            let r = random(y.dims(), 4);
            let gradients = (&y * &r).unwrap().sum_all().unwrap().backward().unwrap();
            let mut all = values(&y);
            for variable in [&x, &weight, &bias] {
                all.extend(values(gradients.get(variable).unwrap()));
            }
            all.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let with = |threads| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
        };
        at_each_precision(|precision| {
            let one = with(1);
            assert_eq!(one, with(2), "{precision:?}, {groups} groups");
            assert_eq!(one, with(5), "{precision:?}, {groups} groups");
        });
    }
}

#[test]
fn an_image_is_the_same_in_every_batch_and_in_a_packed_chain() {
    at_each_precision(|precision| {
        for channels in [(16, 16), (2, 1), (40, 34)] {
            let case = Case::new((3, 1, false), 50, 3, channels);
            let activation = Activation::LeakyRelu(0.2);
            let bias = random(&[3 * channels.1], 3);
            let epilogue = Epilogue::new(activation);
            let run =
                |x: &Tensor| layer(x, &case.weight, Some(&bias), &case.grouped, epilogue).unwrap();
            let (all, alone) = (run(&case.x), case.x.narrow(2, 33, 1).unwrap());
            let one = run(&alone);
            assert_eq!(values(&one), values(&all.narrow(2, 33, 1).unwrap()), "{precision:?}");
            let (weight, geometry) = (case.weight.clone(), case.grouped.clone());
            let fixed = FixedLayer { weight, bias: Some(bias.clone()), geometry, activation };
            let chain = PackedChain::new(&[fixed]).unwrap();
            for (x, y) in [(&case.x, &all), (&alone, &one)] {
                let want = values(&hwnc_to_nchw(y).unwrap());
                assert_eq!(values(&chain.forward(x).unwrap()), want, "{precision:?}");
            }
        }
    });
}

#[test]
fn groups_that_do_not_fit_are_errors() {
    let error = Geometry::dense().with_groups(0).expect_err("no groups").to_string();
    assert!(error.contains("convolution of 0 groups"), "{error}");
    let case = Case::new((3, 1, false), 2, 3, (2, 1));
    for weight in [[3, 3, 6, 3], [3, 3, 2, 4]] {
        let weight = random(&weight, 1);
        let error = layer(&case.x, &weight, None, &case.grouped, Epilogue::NONE).unwrap_err();
        assert!(error.to_string().contains("groups 3"), "{error}");
        let (geometry, activation) = (case.grouped.clone(), Activation::Identity);
        let layers = [FixedLayer { weight, bias: None, geometry, activation }];
        let chain = PackedChain::new(&layers).and_then(|chain| chain.forward(&case.x));
        let error = chain.unwrap_err().to_string();
        // The first fits an input of 18 channels.
        assert!(error.contains("groups 3") || error.contains("((5, 6), 18)"), "{error}");
    }
}

//! Layers that are large enough for Winograd's algorithm.

use crate::{at_each_precision, random, values};
use candle_core::{DType, Tensor, Var};
use gan_kernels::{
    Activation, Epilogue, FixedLayer, Geometry, PackedChain, Precision, Window, hwnc_to_nchw, layer,
};
use std::sync::Arc;

/// Kernel, stride, side of the large map, channels of the large map and of the small one. A test of the
/// kernels themselves says that such layers use the algorithm.
const CASES: [(usize, usize, usize, (usize, usize)); 2] =
    [(3, 1, 8, (256, 256)), (4, 2, 24, (128, 128))];

struct Case {
    name: String,
    transposed: bool,
    window: Window,
    geometry: Arc<Geometry>,
    channels: (usize, usize),
}

fn cases() -> impl Iterator<Item = Case> {
    CASES.into_iter().flat_map(|(kernel, stride, side, (large, small))| {
        [false, true].map(|transposed| {
            let window = Window::same((kernel, kernel), stride, (side, side));
            let (maps, channels) = (((side, side), (side / stride, side / stride)), (large, small));
            let (geometry, channels) = match transposed {
                false => (Geometry::conv(window, maps.0, maps.1), channels),
                true => (Geometry::transposed(window, maps.1, maps.0), (channels.1, channels.0)),
            };
            let name = format!("{window:?}, side {side}, transposed {transposed}");
            Case { name, transposed, window, geometry: Arc::new(geometry.unwrap()), channels }
        })
    })
}

impl Case {
    fn x(&self, batch: usize) -> Tensor {
        let (height, width) = self.geometry.input();
        random(&[height, width, batch, self.channels.0], 1)
    }

    fn weight(&self) -> Tensor {
        random(&[self.window.kernel.0, self.window.kernel.1, self.channels.0, self.channels.1], 2)
    }

    /// candle's own operator, in the numbers of its arguments.
    fn candle(&self, x: &Tensor, weight: &Tensor) -> Tensor {
        let x = x.permute((2, 3, 0, 1)).unwrap().contiguous().unwrap();
        // "Same" padding of an even kernel is one less before than after.
        let (kernel, stride) = (self.window.kernel.0, self.window.stride);
        let before = self.window.padding.0;
        if self.transposed {
            let weight = weight.permute((2, 3, 0, 1)).unwrap().contiguous().unwrap();
            let y = x.conv_transpose2d(&weight, 0, 0, stride, 1).unwrap();
            let (height, width) = self.geometry.output();
            let y = y.narrow(2, before, height).unwrap().narrow(3, before, width).unwrap();
            return y.permute((2, 3, 0, 1)).unwrap().contiguous().unwrap();
        }
        let weight = weight.permute((3, 2, 0, 1)).unwrap().contiguous().unwrap();
        let after = kernel - 1 - before;
        let x = x.pad_with_zeros(2, before, after).unwrap().pad_with_zeros(3, before, after);
        let y = x.unwrap().conv2d(&weight, 0, stride, 1, 1).unwrap();
        let (height, width) = self.geometry.output();
        let y = y.narrow(2, 0, height).unwrap().narrow(3, 0, width).unwrap();
        y.permute((2, 3, 0, 1)).unwrap().contiguous().unwrap()
    }

    /// The layer, and the gradients of the sum of its output times random numbers.
    fn output_and_gradients(
        &self,
        layer: impl Fn(&Tensor, &Tensor) -> Tensor,
        dtype: DType,
    ) -> [Tensor; 3] {
        let [x, weight] = [self.x(2), self.weight()]
            .map(|tensor| Var::from_tensor(&tensor.to_dtype(dtype).unwrap()).unwrap());
        let y = layer(&x, &weight);
        let r = random(y.dims(), 4).to_dtype(dtype).unwrap();
        let gradients = (&y * r).unwrap().sum_all().unwrap().backward().unwrap();
        [y, gradients.get(&x).unwrap().clone(), gradients.get(&weight).unwrap().clone()]
    }
}

/// The root mean square of the difference from exact values, as a share of theirs.
fn error(got: &Tensor, exact: &Tensor) -> f64 {
    let rms = |tensor: Tensor| {
        let mean = tensor.sqr().unwrap().mean_all().unwrap();
        mean.to_scalar::<f64>().unwrap().sqrt()
    };
    let got = got.to_dtype(DType::F64).unwrap();
    rms((got - exact).unwrap()) / rms(exact.clone())
}

/// Errors against f64 are at most four times those of candle's own convolution in f32.
#[test]
fn errors_are_those_of_f32() {
    at_each_precision(|precision| {
        if precision == Precision::Highest {
            check_errors();
        }
    });
}

fn check_errors() {
    let mut of_convolution = 0.0;
    for case in cases() {
        let exact = case.output_and_gradients(|x, weight| case.candle(x, weight), DType::F64);
        // The transposed case of the same channels comes after its convolution.
        if !case.transposed {
            of_convolution = error(&case.candle(&case.x(2), &case.weight()), &exact[0]);
        }
        let run = |x: &Tensor, weight: &Tensor| {
            layer(x, weight, None, &case.geometry, Epilogue::NONE).unwrap()
        };
        let ours = case.output_and_gradients(run, DType::F32);
        for (i, what) in ["output", "input gradient", "weight gradient"].into_iter().enumerate() {
            let ours = error(&ours[i], &exact[i]);
            let what = format!("{}, {what}: {ours:e}, candle's {of_convolution:e}", case.name);
            assert!(ours <= 4.0 * of_convolution, "{what}");
        }
    }
}

#[test]
fn an_image_is_the_same_in_every_batch_and_in_a_packed_chain() {
    at_each_precision(|_| cases().for_each(|case| check_batches(&case)));
}

fn check_batches(case: &Case) {
    let bias = random(&[case.channels.1], 3);
    let activation = Activation::LeakyRelu(0.2);
    let run = |x: &Tensor| {
        let epilogue = Epilogue::new(activation);
        layer(x, &case.weight(), Some(&bias), &case.geometry, epilogue).unwrap()
    };
    let x = case.x(9);
    let alone = x.narrow(2, 5, 1).unwrap().contiguous().unwrap();
    let (of_all, of_one) = (run(&x), run(&alone));
    let of_all = of_all.narrow(2, 5, 1).unwrap().contiguous().unwrap();
    assert!(values(&of_all) == values(&of_one), "{}", case.name);
    let fixed = FixedLayer {
        weight: case.weight(),
        bias: Some(bias.clone()),
        geometry: case.geometry.clone(),
        activation,
    };
    let chain = PackedChain::new(&[fixed]).unwrap();
    for x in [&x, &alone] {
        let got = chain.forward(x).unwrap();
        assert!(values(&got) == values(&hwnc_to_nchw(&run(x)).unwrap()), "{}", case.name);
    }
}

#[test]
fn layers_have_the_same_bytes_for_any_number_of_threads() {
    at_each_precision(|_| cases().for_each(|case| check_threads(&case)));
}

fn check_threads(case: &Case) {
    let run = || {
        let of = |x: &Tensor, weight: &Tensor| {
            layer(x, weight, None, &case.geometry, Epilogue::NONE).unwrap()
        };
        case.output_and_gradients(of, DType::F32).map(|tensor| values(&tensor))
    };
    let with = |threads| {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(run)
    };
    let one = with(1);
    assert!(one == with(2) && one == with(5), "{}", case.name);
}

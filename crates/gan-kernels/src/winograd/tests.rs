//! The algorithm against the sum over taps in f64, for small channels, where layers do not use it.

use super::*;
use crate::geometry::{Geometry, Window};
use crate::precision::gemm_isa;
use candle_core::Result;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Of the large map, and of the small one.
const CHANNELS: (usize, usize) = (3, 7);

/// Numbers in [-1, 1), the same for the same seed.
fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

fn assert_close(got: &[f32], want: &[f64], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: number of elements");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(*got) - want).abs();
        assert!(error <= 3e-5 * (1.0 + want.abs()), "{what}, element {i}: {got}, not {want}");
    }
}

/// A convolution from a large map to a small one with random tensors.
struct Case {
    name: String,
    batch: usize,
    geometry: Geometry,
    winograd: Winograd,
    large: Vec<f32>,
    small: Vec<f32>,
    /// [tap][channel of the large map][channel of the small map]
    weight: Vec<f32>,
}

impl Case {
    fn new(
        window: Window,
        large: (usize, usize),
        small: (usize, usize),
        batch: usize,
    ) -> Result<Self> {
        let (c_large, c_small) = CHANNELS;
        Ok(Self {
            name: format!("{window:?}, {large:?} to {small:?}"),
            batch,
            geometry: Geometry::conv(window, large, small)?,
            winograd: Winograd::new(window.kernel, (window.stride, window.padding), large, small),
            large: random(large.0 * large.1 * batch * c_large, 1),
            small: random(small.0 * small.1 * batch * c_small, 2),
            weight: random(window.kernel.0 * window.kernel.1 * c_large * c_small, 3),
        })
    }

    /// Calls `add(large, small, weight)` with the indices of the elements of each multiplication.
    fn for_each_product(&self, mut add: impl FnMut(usize, usize, usize)) {
        let (c_large, c_small) = CHANNELS;
        for (large, small, tap) in self.geometry.products() {
            for image in 0..self.batch {
                for i in 0..c_large {
                    for j in 0..c_small {
                        add(
                            (large * self.batch + image) * c_large + i,
                            (small * self.batch + image) * c_small + j,
                            (tap * c_large + i) * c_small + j,
                        );
                    }
                }
            }
        }
    }

    fn check(&self) {
        let Self { name, batch, winograd, large, small, weight, .. } = self;
        let (batch, isa) = (*batch, gemm_isa(CHANNELS.0, CHANNELS.1));
        let (c_large, c_small) = CHANNELS;
        let mut want = [vec![0.0; small.len()], vec![0.0; large.len()], vec![0.0; weight.len()]];
        self.for_each_product(|l, s, w| {
            let [x, y, z] = [large[l], small[s], weight[w]].map(f64::from);
            want[0][s] += x * z;
            want[1][l] += y * z;
            want[2][w] += x * y;
        });
        let weights = winograd.weights(MatrixBatch::k_outside(weight, c_large, c_small), isa);
        let down = winograd.forward((large, batch), true, &weights, |_, _, _| {});
        assert_close(&down, &want[0], &format!("{name}: small map"));
        let weights = winograd.weights(MatrixBatch::k_inside(weight, c_large, c_small), isa);
        let up = winograd.forward((small, batch), false, &weights, |_, _, _| {});
        assert_close(&up, &want[1], &format!("{name}: large map"));
        let of_weight = |small_first| {
            let maps = ((&large[..], c_large), (&small[..], c_small));
            winograd.weight_gradient(maps.0, maps.1, (batch, small_first), isa)
        };
        assert_close(&of_weight(false), &want[2], &format!("{name}: weights"));
        let exchanged: Vec<f64> = (want[2].chunks(c_large * c_small))
            .flat_map(|tap| (0..c_small).flat_map(|j| tap[j..].iter().step_by(c_small)))
            .copied()
            .collect();
        assert_close(&of_weight(true), &exchanged, &format!("{name}: weights, small map first"));
    }
}

/// Kernels from one tap to eight and of two sizes, strides above the kernel too, tiles of one to four
/// outputs, and padding that is not the same on all sides.
#[test]
fn equals_the_sum_over_taps() -> Result<()> {
    for kernel in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (8, 8), (3, 6), (1, 4)] {
        for stride in [1, 2, 3] {
            for large in [(1, 1), (4, 7), (12, 9), (16, 16)] {
                let small = (usize::div_ceil(large.0, stride), usize::div_ceil(large.1, stride));
                Case::new(Window::same(kernel, stride, large), large, small, 5)?.check();
            }
        }
    }
    let window = Window { kernel: (4, 3), stride: 2, padding: (0, 2) };
    Case::new(window, (11, 8), (3, 4), 5)?.check();
    Ok(())
}

/// `finish` is called once for every element of the result, as it is for products.
#[test]
fn finish_sees_each_element_once() -> Result<()> {
    // Many images of few channels, so that there are several parts.
    let case = Case::new(Window::same((4, 4), 2, (16, 12)), (16, 12), (8, 6), 130)?;
    assert!(
        case.winograd.plan().parts(case.batch, CHANNELS) > 1 || rayon::current_num_threads() == 1
    );
    let weight = MatrixBatch::k_outside(&case.weight, CHANNELS.0, CHANNELS.1);
    let weights = case.winograd.weights(weight, gemm_isa(CHANNELS.0, CHANNELS.1));
    let forward = |finish: &(dyn Fn(usize, usize, &mut [f32]) + Sync)| {
        case.winograd.forward((&case.large, case.batch), true, &weights, finish)
    };
    let plain = forward(&|_, _, _| {});
    let numbered = forward(&|row, column, values| {
        let first = row * CHANNELS.1 + column;
        values.iter_mut().enumerate().for_each(|(i, value)| *value += (first + i) as f32);
    });
    for (i, (numbered, plain)) in numbered.iter().zip(&plain).enumerate() {
        assert_eq!(*numbered, plain + i as f32, "element {i}");
    }
    Ok(())
}

/// The numbers of products that the documents state, as shares of the taps that are not on padding.
#[test]
fn takes_fewer_products() -> Result<()> {
    for (kernel, stride, side, want) in [
        (4, 2, 64, 0.466),
        (4, 2, 8, 0.735),
        (5, 2, 28, 0.535),
        (3, 1, 16, 0.484),
        (3, 1, 64, 0.454),
    ] {
        let (large, small) = ((side, side), (side / stride, side / stride));
        let case = Case::new(Window::same((kernel, kernel), stride, large), large, small, 1)?;
        let products: usize =
            case.winograd.plan().used().map(|(.., point)| point.tiles * point.taps).sum();
        let share = products as f64 / case.geometry.multiply_adds() as f64;
        assert!((share - want).abs() < 0.005, "{}: {share}, not {want}", case.name);
    }
    Ok(())
}

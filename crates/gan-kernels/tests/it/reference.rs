//! The definitions, in f64, written for reading and independent of the crate's own geometry.

use crate::values;
use candle_core::Tensor;
use gan_kernels::{Activation, Window};

/// Feature maps in (H, W, B, C).
#[derive(Clone)]
pub(crate) struct Features {
    pub(crate) dims: [usize; 4],
    pub(crate) data: Vec<f64>,
}

impl Features {
    pub(crate) fn new(tensor: &Tensor) -> Self {
        let (h, w, b, c) = tensor.dims4().unwrap();
        let data = values(tensor).into_iter().map(f64::from).collect();
        Self { dims: [h, w, b, c], data }
    }

    fn zeros(dims: [usize; 4]) -> Self {
        Self { dims, data: vec![0.0; dims.iter().product()] }
    }

    fn index(&self, y: usize, x: usize, b: usize, c: usize) -> usize {
        ((y * self.dims[1] + x) * self.dims[2] + b) * self.dims[3] + c
    }
}

/// Weights (kernel H, kernel W, C in, C out) at a tap.
fn weight(weights: &Features, ky: usize, kx: usize, i: usize, o: usize) -> f64 {
    weights.data[weights.index(ky, kx, i, o)]
}

/// Convolution: output pixel (y, x) uses input pixel (y * stride + ky - padding, ...).
pub(crate) fn conv(x: &Features, w: &Features, window: Window, output: (usize, usize)) -> Features {
    let [h, wd, batch, c_in] = x.dims;
    let c_out = w.dims[3];
    let mut y = Features::zeros([output.0, output.1, batch, c_out]);
    each(output, window.kernel, |oy, ox, ky, kx| {
        let iy = (oy * window.stride + ky) as isize - window.padding.0 as isize;
        let ix = (ox * window.stride + kx) as isize - window.padding.1 as isize;
        if iy < 0 || ix < 0 || iy as usize >= h || ix as usize >= wd {
            return;
        }
        for b in 0..batch {
            for o in 0..c_out {
                for i in 0..c_in {
                    let at = y.index(oy, ox, b, o);
                    y.data[at] +=
                        x.data[x.index(iy as usize, ix as usize, b, i)] * weight(w, ky, kx, i, o);
                }
            }
        }
    });
    y
}

/// Transposed convolution: input pixel (y, x) adds to output pixel (y * stride + ky - padding, ...).
pub(crate) fn transposed(
    x: &Features,
    w: &Features,
    window: Window,
    output: (usize, usize),
) -> Features {
    let [h, wd, batch, c_in] = x.dims;
    let c_out = w.dims[3];
    let mut y = Features::zeros([output.0, output.1, batch, c_out]);
    each((h, wd), window.kernel, |iy, ix, ky, kx| {
        let oy = (iy * window.stride + ky) as isize - window.padding.0 as isize;
        let ox = (ix * window.stride + kx) as isize - window.padding.1 as isize;
        if oy < 0 || ox < 0 || oy as usize >= output.0 || ox as usize >= output.1 {
            return;
        }
        for b in 0..batch {
            for o in 0..c_out {
                for i in 0..c_in {
                    let at = y.index(oy as usize, ox as usize, b, o);
                    y.data[at] += x.data[x.index(iy, ix, b, i)] * weight(w, ky, kx, i, o);
                }
            }
        }
    });
    y
}

fn each(
    pixels: (usize, usize),
    kernel: (usize, usize),
    mut visit: impl FnMut(usize, usize, usize, usize),
) {
    for y in 0..pixels.0 {
        for x in 0..pixels.1 {
            for ky in 0..kernel.0 {
                for kx in 0..kernel.1 {
                    visit(y, x, ky, kx);
                }
            }
        }
    }
}

pub(crate) fn activate(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Identity => z,
        Activation::LeakyRelu(slope) => z.max(0.0) + f64::from(slope) * z.min(0.0),
        Activation::Tanh => z.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-z).exp()),
        other => panic!("no reference for {other:?}"),
    }
}

pub(crate) fn add_bias(mut z: Features, bias: &[f32]) -> Features {
    let n = bias.len();
    z.data.iter_mut().enumerate().for_each(|(i, z)| *z += f64::from(bias[i % n]));
    z
}

/// Batch normalisation per channel, or per pixel and channel.
pub(crate) fn batch_norm(
    z: Features,
    gamma: &[f32],
    beta: &[f32],
    epsilon: f64,
    per_pixel: bool,
) -> Features {
    let [h, w, batch, channels] = z.dims;
    let mut y = Features::zeros(z.dims);
    let groups: Vec<Vec<usize>> = if per_pixel {
        (0..h * w).map(|pixel| vec![pixel]).collect()
    } else {
        vec![(0..h * w).collect()]
    };
    for (group, pixels) in groups.iter().enumerate() {
        for c in 0..channels {
            let at: Vec<usize> = pixels
                .iter()
                .flat_map(|pixel| (0..batch).map(move |b| (pixel * batch + b) * channels + c))
                .collect();
            let mean = at.iter().map(|&i| z.data[i]).sum::<f64>() / at.len() as f64;
            let variance =
                at.iter().map(|&i| (z.data[i] - mean).powi(2)).sum::<f64>() / at.len() as f64;
            let feature = group * channels + c;
            for i in at {
                y.data[i] = (z.data[i] - mean) / (variance + epsilon).sqrt()
                    * f64::from(gamma[feature])
                    + f64::from(beta[feature]);
            }
        }
    }
    y
}

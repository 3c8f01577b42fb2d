//! Resizing and average pooling.

use crate::backend::Backend;
use crate::config::{Layer, UpsampleFilter};
use crate::error::{Error, Result};
use candle_core::{Device, Tensor};
use gan_kernels::{Resampling, Window};
use std::sync::Arc;

/// A separable linear map of pixels, the same for every channel.
#[derive(Clone, Debug)]
pub(crate) struct Resample {
    map: Arc<Resampling>,
    /// The map's factors for candle's operators: (height out, height in), (width out, width in).
    rows: Tensor,
    columns: Tensor,
}

impl Resample {
    /// The map of a layer that resamples images of this height and width.
    pub(crate) fn new(layer: &Layer, from: (usize, usize), device: &Device) -> Result<Self> {
        let resampling = layer.resampling(from);
        let (rows, columns) = resampling
            .ok_or_else(|| Error::Config(format!("{} does not resample", layer.kind())))?;
        let map = Arc::new(Resampling::new(&rows, &columns)?);
        Ok(Self { map, rows: matrix(&rows, device)?, columns: matrix(&columns, device)? })
    }

    /// Forward pass on features in the backend's layout.
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend) -> Result<Tensor> {
        match backend {
            Backend::Kernels => Ok(gan_kernels::resample(x, &self.map)?),
            Backend::Candle => apply(&self.rows, &self.columns, x),
        }
    }

    /// The gradient of the input, given the gradient of the output, in the backend's layout.
    pub(crate) fn backward(&self, grad: &Tensor, backend: Backend) -> Result<Tensor> {
        match backend {
            Backend::Kernels => Ok(self.map.backward(grad)?),
            Backend::Candle => apply(&self.rows.t()?, &self.columns.t()?, grad),
        }
    }
}

/// Rows of weights: for each new row of pixels, or each new column, the factors of all old ones.
type Weights = Vec<Vec<f32>>;

impl Layer {
    /// The weights of a layer that resamples images of this height and width, which must be at least
    /// 1, along the height and along the width; none for other layers.
    ///
    /// # Shapes
    /// (height out, height in) and (width out, width in).
    pub fn resampling(&self, from: (usize, usize)) -> Option<(Weights, Weights)> {
        Some(match *self {
            Self::AvgPool(side) => (averages(from.0, side), averages(from.1, side)),
            Self::Resize(height, width) => (bilinear(from.0, height), bilinear(from.1, width)),
            Self::Upsample { factor, filter } => {
                let weights = |from: usize| match filter {
                    UpsampleFilter::Nearest => repeated(from, factor),
                    UpsampleFilter::Bilinear => bilinear(from, from * factor),
                };
                (weights(from.0), weights(from.1))
            }
            Self::Downsample(factor) => (smoothed(from.0, factor), smoothed(from.1, factor)),
            _ => return None,
        })
    }
}

/// Multiplies the height of (B, H, W, C) by one matrix and the width by another.
fn apply(rows: &Tensor, columns: &Tensor, x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    let (to_height, to_width) = (rows.dim(0)?, columns.dim(0)?);
    let x = x.reshape((batch, height, width * channels))?;
    let x = rows.broadcast_as((batch, to_height, height))?.matmul(&x)?;
    let x = x.reshape((batch * to_height, width, channels))?;
    let x = columns.broadcast_as((batch * to_height, to_width, width))?.matmul(&x)?;
    Ok(x.reshape((batch, to_height, to_width, channels))?)
}

/// Rows of weights as a matrix.
fn matrix(rows: &[Vec<f32>], device: &Device) -> Result<Tensor> {
    let (height, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    Ok(Tensor::from_vec(rows.concat(), (height, width), device)?)
}

/// Weights of bilinear interpolation along one side: a new pixel interpolates between the two old
/// pixels whose centres are nearest to its own.
fn bilinear(from: usize, to: usize) -> Vec<Vec<f32>> {
    let row = |new: usize| {
        let centre = (new as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let centre = centre.clamp(0.0, (from - 1) as f64);
        let (first, fraction) = (centre.floor() as usize, centre.fract());
        let mut row = vec![0.0; from];
        row[first] = (1.0 - fraction) as f32;
        if fraction > 0.0 {
            row[first + 1] = fraction as f32;
        }
        row
    };
    (0..to).map(row).collect()
}

/// Weights of copies: each pixel `factor` times.
fn repeated(from: usize, factor: usize) -> Vec<Vec<f32>> {
    let row = |new: usize| {
        let mut row = vec![0.0; from];
        row[new / factor] = 1.0;
        row
    };
    (0..from * factor).map(row).collect()
}

/// Weights of the transpose of bilinear interpolation from `from / factor` pixels, each row scaled so
/// that it adds up to 1.
fn smoothed(from: usize, factor: usize) -> Vec<Vec<f32>> {
    let upsampling = bilinear(from / factor, from);
    let row = |new: usize| {
        let row: Vec<f32> = upsampling.iter().map(|weights| weights[new]).collect();
        let sum: f32 = row.iter().sum();
        row.into_iter().map(|weight| weight / sum).collect()
    };
    (0..from / factor).map(row).collect()
}

/// Weights of means over `side` pixels, with "same" padding. Means leave the padding out.
fn averages(from: usize, side: usize) -> Vec<Vec<f32>> {
    let before = Window::same((side, side), side, (from, from)).padding.0;
    let row = |new: usize| {
        let within = |old: usize| (new * side..(new + 1) * side).contains(&(old + before));
        let count = (0..from).filter(|&old| within(old)).count();
        (0..from).map(|old| if within(old) { 1.0 / count as f32 } else { 0.0 }).collect()
    };
    (0..from.div_ceil(side)).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PyTorch 2.15: `interpolate(x, size=(4, 3), mode="bilinear", align_corners=False)` of
    /// `[[0, 1, 2, 3], [4, 5, 6, 7]] ** 2`, and `avg_pool2d(x, 2)` of the same.
    #[test]
    fn resampling_agrees_with_pytorch() -> Result<()> {
        let x = Tensor::arange(0f32, 8.0, &Device::Cpu)?.sqr()?.reshape((1, 1, 2, 4))?;
        let resized: [[f32; 3]; 4] = [
            [1.0 / 6.0, 2.5, 49.0 / 6.0],
            [4.5, 9.5, 107.0 / 6.0],
            [79.0 / 6.0, 23.5, 223.0 / 6.0],
            [17.5, 30.5, 281.0 / 6.0],
        ];
        let pooled = [[10.5f32, 24.5]];
        let cases = [
            (Layer::Resize(4, 3), resized.concat(), (1, 1, 4, 3)),
            (Layer::AvgPool(2), pooled.concat(), (1, 1, 1, 2)),
        ];
        for (layer, want, dims) in cases {
            let resample = Resample::new(&layer, (2, 4), &Device::Cpu)?;
            for backend in [Backend::Candle, Backend::Kernels] {
                let features = backend.to_features(&x)?;
                let got = backend.to_images(&resample.forward(&features, backend)?)?;
                assert_eq!(got.dims4()?, dims);
                for (got, want) in got.flatten_all()?.to_vec1::<f32>()?.iter().zip(&want) {
                    assert!((got - want).abs() < 1e-4, "{layer:?}: {got}, not {want}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn factors_of_two_have_their_known_filters() {
        assert_eq!(repeated(2, 2), [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]);
        // Inside, [1, 3, 3, 1] / 8; at the border, weights that add up to 1.
        let rows = smoothed(8, 2);
        assert_eq!(rows[1], [0.0, 0.125, 0.375, 0.375, 0.125, 0.0, 0.0, 0.0]);
        let border = [1.0, 0.75, 0.25].map(|weight: f32| weight / 2.0);
        assert_eq!((rows.len(), &rows[0][..3]), (4, &border[..]));
    }

    #[test]
    fn pooling_leaves_the_padding_out() {
        assert_eq!(averages(3, 2), [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]);
        // "Same" padding adds one pixel on either side.
        assert_eq!(averages(4, 3), [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]);
    }
}

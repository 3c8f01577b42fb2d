//! Layers that stand alone: what follows no product that it could be fused with, and changes of
//! size and range.

use crate::config::{Activation, Layer};
use crate::error::{Error, Result};
use crate::norm::Norm;
use crate::stage::{Backend, Pass, activate, drop_out};
use candle_core::{Device, Tensor, Var};
use candle_nn::VarBuilder;
use gan_kernels::{Resampling, SavedBatchNorm, Window};
use rand::RngCore;
use std::sync::Arc;

/// A layer on its own.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    name: String,
    op: Op,
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Norm(Norm),
    Activation(Activation),
    Dropout(f32),
    Resample(Resample),
    Rescale { scale: f64, shift: f64 },
}

/// A training pass of the kernels' backend, with what its way back needs.
pub(crate) enum PlainPass {
    /// Of a linear map, which needs nothing.
    Linear(Tensor),
    Norm(SavedBatchNorm),
    /// Ends of a graph of candle's autograd.
    Graph {
        input: Var,
        output: Tensor,
    },
}

impl PlainPass {
    pub(crate) fn output(&self) -> &Tensor {
        match self {
            Self::Linear(output) | Self::Graph { output, .. } => output,
            Self::Norm(pass) => pass.output(),
        }
    }
}

impl Plain {
    pub(crate) fn new(op: Op, vars: &VarBuilder) -> Self {
        Self { name: vars.prefix(), op }
    }

    /// The layer's name, as of its parameters.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The same with parameters that no gradient reaches.
    pub(crate) fn detached(&self) -> Self {
        let op = match &self.op {
            Op::Norm(norm) => Op::Norm(norm.detached()),
            op => op.clone(),
        };
        Self { op, ..self.clone() }
    }

    /// Names and values of what is trained.
    pub(crate) fn trained(&self) -> Vec<(String, &Tensor)> {
        match &self.op {
            Op::Norm(norm) => norm.trained().into(),
            _ => Vec::new(),
        }
    }

    /// Whether pictures of a batch mix.
    pub(crate) fn is_norm(&self) -> bool {
        matches!(self.op, Op::Norm(_))
    }

    /// Features through the layer.
    pub(crate) fn forward(&self, x: &Tensor, backend: Backend, pass: &mut Pass) -> Result<Tensor> {
        match &self.op {
            Op::Norm(norm) => norm.forward(x, backend.channels(), matches!(pass, Pass::Train(_))),
            Op::Activation(activation) => activate(x, *activation),
            Op::Dropout(probability) => match pass.dropout(*probability)? {
                Some(dropout) => drop_out(x, dropout, backend),
                None => Ok(x.clone()),
            },
            Op::Resample(resample) => resample.apply(x, backend),
            Op::Rescale { scale, shift } => Ok(x.affine(*scale, *shift)?),
        }
    }

    /// A training pass of the kernels' backend.
    pub(crate) fn record(&self, x: &Tensor, rng: &mut dyn RngCore) -> Result<PlainPass> {
        let forward = |x: &Tensor, rng| self.forward(x, Backend::Kernels, &mut Pass::Train(rng));
        match &self.op {
            Op::Resample(_) | Op::Rescale { .. } => {
                return Ok(PlainPass::Linear(forward(&x.detach(), rng)?));
            }
            Op::Norm(norm) => {
                let pass = SavedBatchNorm::forward(x, &norm.gamma, &norm.beta, norm.epsilon)?;
                let statistics = pass.statistics()?;
                norm.update(&statistics.mean, &statistics.variance)?;
                return Ok(PlainPass::Norm(pass));
            }
            Op::Activation(_) | Op::Dropout(_) => {}
        }
        let input = Var::from_tensor(&x.detach())?;
        let output = forward(&input, rng)?;
        Ok(PlainPass::Graph { input, output })
    }

    /// Gradients of the input and of what is trained, in that order, given that of the output.
    pub(crate) fn backward(
        &self,
        pass: &PlainPass,
        gradient: &Tensor,
    ) -> Result<(Tensor, Vec<Tensor>)> {
        match (pass, &self.op) {
            (PlainPass::Linear(_), Op::Resample(resample)) => {
                Ok((resample.map.backward(gradient)?, Vec::new()))
            }
            (PlainPass::Linear(_), Op::Rescale { scale, .. }) => {
                Ok(((gradient * *scale)?, Vec::new()))
            }
            (PlainPass::Linear(_), _) => unreachable!("the pass of another layer"),
            (PlainPass::Norm(pass), _) => {
                let [of_x, of_gamma, of_beta] = pass.backward(gradient)?;
                Ok((of_x, vec![of_gamma, of_beta]))
            }
            (PlainPass::Graph { input, output }, _) => {
                let found = (output * gradient)?.sum_all()?.backward()?;
                let of_input = match found.get(input) {
                    Some(gradient) => gradient.clone(),
                    None => input.zeros_like()?,
                };
                Ok((of_input, Vec::new()))
            }
        }
    }
}

/// A linear map of pixels, the same for every channel, along each side on its own.
#[derive(Clone, Debug)]
pub(crate) struct Resample {
    map: Arc<Resampling>,
    /// The same for candle's operators: (height out, height in) and (width out, width in).
    rows: Tensor,
    columns: Tensor,
}

impl Resample {
    /// What a layer that is a resampling does to this height and width.
    pub(crate) fn of(layer: &Layer, from: (usize, usize), device: &Device) -> Result<Self> {
        let (rows, columns) = match *layer {
            Layer::AvgPool(side) => (averages(from.0, side), averages(from.1, side)),
            Layer::Resize(height, width) => (bilinear(from.0, height), bilinear(from.1, width)),
            _ => return Err(Error::Config(format!("{} is no resampling", layer.kind()))),
        };
        let map = Arc::new(Resampling::new(&rows, &columns)?);
        Ok(Self { map, rows: matrix(&rows, device)?, columns: matrix(&columns, device)? })
    }

    fn apply(&self, x: &Tensor, backend: Backend) -> Result<Tensor> {
        match backend {
            Backend::Kernels => Ok(gan_kernels::resample(x, &self.map)?),
            Backend::Candle => {
                let (batch, channels, height, width) = x.dims4()?;
                let (to_height, to_width) = (self.rows.dim(0)?, self.columns.dim(0)?);
                let planes = batch * channels;
                let x = x.contiguous()?.reshape((planes * height, width))?;
                let x = x.matmul(&self.columns.t()?)?.reshape((planes, height, to_width))?;
                let x = self.rows.unsqueeze(0)?.broadcast_matmul(&x)?;
                Ok(x.reshape((batch, channels, to_height, to_width))?)
            }
        }
    }
}

/// Rows of weights as a matrix.
fn matrix(rows: &[Vec<f32>], device: &Device) -> Result<Tensor> {
    let (height, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    Ok(Tensor::from_vec(rows.concat(), (height, width), device)?)
}

/// Weights of bilinear interpolation along one side: each new pixel's centre lies between those of
/// two old ones.
fn bilinear(from: usize, to: usize) -> Vec<Vec<f32>> {
    let row = |new: usize| {
        let centre = (new as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let centre = centre.clamp(0.0, (from - 1) as f64);
        let (first, share) = (centre.floor() as usize, centre.fract());
        let mut row = vec![0.0; from];
        row[first] = (1.0 - share) as f32;
        if share > 0.0 {
            row[first + 1] = share as f32;
        }
        row
    };
    (0..to).map(row).collect()
}

/// Weights of means over `side` pixels, with "same" padding that no mean takes in.
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
            let resample = Resample::of(&layer, (2, 4), &Device::Cpu)?;
            let candle = resample.apply(&x, Backend::Candle)?;
            assert_eq!(candle.dims4()?, dims);
            let features = Backend::Kernels.features(&x)?;
            let kernels = resample.apply(&features, Backend::Kernels)?;
            for got in [candle, Backend::Kernels.images(&kernels)?] {
                for (got, want) in got.flatten_all()?.to_vec1::<f32>()?.iter().zip(&want) {
                    assert!((got - want).abs() < 1e-4, "{layer:?}: {got}, not {want}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_reaches_beyond_the_border_does_not_count() {
        assert_eq!(averages(3, 2), [[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]);
        // "Same" padding puts one pixel before and one behind.
        assert_eq!(averages(4, 3), [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]);
    }
}

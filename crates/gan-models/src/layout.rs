//! A tensor's order of values in this crate's files and in PyTorch.

use crate::config::FeatureShape;
use crate::error::{Error, Result};
use candle_core::Tensor;

/// How a tensor is stored here, and how PyTorch stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The shape here.
    stored: Vec<usize>,
    /// The shape here with all dimensions apart.
    split: Vec<usize>,
    /// The dimensions of `split` in PyTorch's order.
    axes: Vec<usize>,
    /// The shape in PyTorch.
    pytorch: Vec<usize>,
}

impl Layout {
    /// A tensor stored as `stored`, which stands for the dimensions `split`. PyTorch has them in the
    /// order `axes` and then merges neighbours in groups of these sizes.
    pub(crate) fn permuted(
        stored: &[usize],
        split: &[usize],
        axes: &[usize],
        groups: &[usize],
    ) -> Self {
        let mut sizes = axes.iter().map(|&axis| split[axis]);
        let pytorch = groups.iter().map(|&count| sizes.by_ref().take(count).product()).collect();
        Self { stored: stored.into(), split: split.into(), axes: axes.into(), pytorch }
    }

    /// A vector in the same order everywhere.
    pub(crate) fn vector(length: usize) -> Self {
        Self::permuted(&[length], &[length], &[0], &[1])
    }

    /// A vector with a value for each output of a projection: (H, W, C) here, (C, H, W) in PyTorch.
    pub(crate) fn projected_vector(shape: FeatureShape) -> Self {
        let FeatureShape { channels, height, width } = shape;
        Self::permuted(&[shape.len()], &[height, width, channels], &[2, 0, 1], &[3])
    }

    /// Converts a tensor to PyTorch's order. `name` is for errors.
    pub(crate) fn export(&self, name: &str, tensor: &Tensor) -> Result<Tensor> {
        check(name, tensor, &self.stored)?;
        let permuted = tensor.reshape(self.split.as_slice())?.permute(self.axes.as_slice())?;
        Ok(permuted.contiguous()?.reshape(self.pytorch.as_slice())?)
    }

    /// Converts a tensor from PyTorch's order. `name` is for errors.
    pub(crate) fn import(&self, name: &str, tensor: &Tensor) -> Result<Tensor> {
        check(name, tensor, &self.pytorch)?;
        let permuted: Vec<usize> = self.axes.iter().map(|&axis| self.split[axis]).collect();
        let mut inverse = vec![0; self.axes.len()];
        self.axes.iter().enumerate().for_each(|(at, &axis)| inverse[axis] = at);
        let tensor = tensor.reshape(permuted.as_slice())?.permute(inverse.as_slice())?;
        Ok(tensor.contiguous()?.reshape(self.stored.as_slice())?)
    }
}

fn check(name: &str, tensor: &Tensor, dims: &[usize]) -> Result<()> {
    if tensor.dims() == dims {
        return Ok(());
    }
    Err(Error::Shape {
        tensor: name.to_string(),
        found: tensor.dims().to_vec(),
        expected: format!("{dims:?}"),
    })
}

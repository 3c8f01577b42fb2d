//! Principal directions of a generator's latent space.
//!
//! Haerkoenen et al. 2020, "GANSpace: discovering interpretable GAN controls": the principal components of
//! the first layer's outputs, and the latent vectors that move along them. The first layer is linear and
//! the latents are standard normal, so both follow from its weights without sampling: with y = W z, the
//! latent directions are the eigenvectors of W^T W, in the order of their eigenvalues.

use anyhow::Result;
use candle_core::Tensor;
use gan_models::{GeneratorConfig, Layer};
use nalgebra::{DMatrix, SymmetricEigen};
use std::collections::BTreeMap;

/// Number of directions.
const COUNT: usize = 8;

/// Unit vectors of the latent space, the direction of the largest variance first; none of a generator whose
/// first layer is not dense. Tensors are in PyTorch's order.
///
/// # Errors
/// Failures of tensor operations.
pub(super) fn principal(
    config: &GeneratorConfig,
    tensors: &BTreeMap<String, Tensor>,
) -> Result<Vec<Vec<f32>>> {
    let is_dense =
        matches!(config.layers.first(), Some(Layer::Dense { .. } | Layer::Project { .. }));
    let weight = tensors.get("layers.0.weight").filter(|_| is_dense);
    let Some(weight) = weight else { return Ok(Vec::new()) };
    let rows: Vec<Vec<f32>> = weight.to_vec2()?;
    let dim = config.latent_dim;
    // The columns after the latents' are those of the classes.
    let weight = DMatrix::from_fn(rows.len(), dim, |row, column| f64::from(rows[row][column]));
    let eigen = SymmetricEigen::new(weight.transpose() * weight);
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let direction = |column: &usize| {
        let vector = eigen.eigenvectors.column(*column);
        // Eigenvectors have no sign of their own: the largest value is positive.
        let sign = vector[vector.iamax()].signum();
        vector.iter().map(|value| (sign * value) as f32).collect()
    };
    Ok(order.iter().take(COUNT).map(direction).collect())
}

//! Bounds on the spectral norms of a network's weights.

use crate::error::Result;
use candle_core::{DType, Tensor, Var};
use gan_models::Parameters;

/// Iterations of the power method. It starts anew each time, so that nothing but the weights
/// decides the result.
const ITERATIONS: usize = 6;

/// Scales down every weight whose spectral norm is above `bound`, so that it has that norm.
///
/// A weight is taken as the matrix (kernel height * kernel width * channels in, channels out), as
/// usual; of a convolution with groups, the channels in are those of one group. The images of a basis
/// are not bounded. A convolution can have a larger norm than this matrix, since its windows overlap.
/// The bound has no effect where batch normalisation follows. Everything stays on the weights' device.
///
/// # Errors
/// Failures of the device.
/// # Reference
/// Miyato et al. 2018, "Spectral normalization for generative adversarial networks"; as a
/// constraint after each update: Gouk et al. 2021, "Regularisation of neural networks by enforcing
/// Lipschitz continuity".
pub fn bound_spectral_norms(parameters: &Parameters, bound: f64) -> Result<()> {
    parameters.iter().try_for_each(|(_, var)| bound_spectral_norm(var, bound))
}

/// Does the same to one parameter, if it is a weight.
pub(crate) fn bound_spectral_norm(var: &Var, bound: f64) -> Result<()> {
    if var.rank() != 4 {
        return Ok(());
    }
    let weight = var.as_detached_tensor();
    let norm = spectral_norm(&weight)?;
    // Exactly 1 where the norm is within the bound.
    let factor = (Tensor::full(bound as f32, (), norm.device())? / norm.maximum(bound)?)?;
    Ok(var.set(&weight.broadcast_mul(&factor)?)?)
}

/// The largest singular value of a weight: a scalar that power iteration brings to within some
/// percent of it, from below.
///
/// # Shapes
/// `weight`: (kernel height, kernel width, channels in, channels out), f32.
/// # Errors
/// A tensor of another rank or type.
pub fn spectral_norm(weight: &Tensor) -> Result<Tensor> {
    let (.., columns) = weight.dims4()?;
    let matrix = weight.detach().reshape(((), columns))?;
    let transposed = matrix.t()?.contiguous()?;
    // A start that no column pattern is likely to be orthogonal to.
    let start: Vec<f32> = (0..columns).map(|i| 1.0 + (i as f32 * 0.7).sin()).collect();
    let mut right = Tensor::from_vec(start, (columns, 1), weight.device())?;
    let mut norm = Tensor::zeros((), DType::F32, weight.device())?;
    for _ in 0..ITERATIONS {
        // A zero matrix leaves a zero vector, which must not be divided by its length.
        let length = right.sqr()?.sum_all()?.sqrt()?.maximum(f64::from(f32::MIN_POSITIVE))?;
        let left = matrix.matmul(&right.broadcast_div(&length)?)?;
        norm = left.sqr()?.sum_all()?.sqrt()?;
        right = transposed.matmul(&left)?;
    }
    Ok(norm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn norm(weight: &Tensor) -> Result<f64> {
        Ok(spectral_norm(weight)?.to_scalar::<f32>()?.into())
    }

    #[test]
    fn norms_of_known_matrices() -> Result<()> {
        // Singular values 3 and 1; then sqrt(45) and sqrt(5).
        for (values, want) in [([3f32, 0.0, 0.0, -1.0], 3.0), ([3.0, 0.0, 4.0, 5.0], 45f64.sqrt())]
        {
            let norm = norm(&Tensor::new(&values, &Device::Cpu)?.reshape((1, 1, 2, 2))?)?;
            assert!((norm - want).abs() < 1e-3 * want, "{norm}, not {want}");
        }
        let zero = Tensor::zeros((2, 2, 1, 3), DType::F32, &Device::Cpu)?;
        assert_eq!(norm(&zero)?, 0.0);
        Ok(())
    }

    #[test]
    fn only_what_is_too_large_is_scaled() -> Result<()> {
        let normal = |stdev| candle_nn::Init::Randn { mean: 0.0, stdev };
        let ((), parameters) = Parameters::init(1, &Device::Cpu, |vars| {
            vars.get_with_hints((3, 3, 4, 5), "large", normal(1.0))?;
            vars.get_with_hints((3, 3, 4, 5), "small", normal(0.01))?;
            vars.get_with_hints(5, "bias", normal(9.0))?;
            Ok(())
        })?;
        let before = parameters.deep_clone()?;
        bound_spectral_norms(&parameters, 1.5)?;
        let of = |parameters: &Parameters, name| {
            parameters.get(name).expect("there").as_detached_tensor()
        };
        assert!((norm(&of(&parameters, "large"))? - 1.5).abs() < 1e-4);
        let ratio =
            (of(&parameters, "large") / of(&before, "large"))?.flatten_all()?.to_vec1::<f32>()?;
        assert!(ratio.iter().all(|r| (r - ratio[0]).abs() < 1e-5), "one scale for all");
        for name in ["small", "bias"] {
            let values = |p| of(p, name).flatten_all()?.to_vec1::<f32>();
            assert_eq!(values(&parameters)?, values(&before)?);
        }
        Ok(())
    }
}

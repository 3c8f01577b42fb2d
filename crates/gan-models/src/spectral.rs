//! Bounds on the spectral norms of a network's weights.

use crate::error::Result;
use crate::parameters::Parameters;
use candle_core::Tensor;

/// Rounds of power iteration: from a fresh start each time, so that nothing but the weights
/// decides.
const ROUNDS: usize = 6;

/// Scales down every weight whose spectral norm is above `bound`, so that it has that norm.
/// A weight is taken as the matrix (kernel height * kernel width * channels in, channels out), as
/// usual: a convolution, whose windows overlap, can stretch more than its kernel's matrix. Where
/// batch normalisation follows, the bound has no effect.
///
/// # Errors
/// Failures of the device.
/// # Reference
/// Miyato et al. 2018, "Spectral normalization for generative adversarial networks"; as a
/// constraint after each update: Gouk et al. 2021, "Regularisation of neural networks by enforcing
/// Lipschitz continuity".
pub fn bound_spectral_norms(parameters: &Parameters, bound: f64) -> Result<()> {
    for (_, var) in parameters.iter().filter(|(_, var)| var.rank() == 4) {
        let norm = spectral_norm(var)?;
        if norm > bound {
            var.set(&(var.as_detached_tensor() * (bound / norm))?)?;
        }
    }
    Ok(())
}

/// The largest singular value of a weight, from below: power iteration comes within some percent
/// of it.
///
/// # Shapes
/// `weight`: (kernel height, kernel width, channels in, channels out).
/// # Errors
/// A tensor of another rank or type.
pub fn spectral_norm(weight: &Tensor) -> Result<f64> {
    let (.., columns) = weight.dims4()?;
    let values = weight.detach().flatten_all()?.to_vec1::<f32>()?;
    let rows = values.chunks_exact(columns);
    // Not a column's pattern that a row could be orthogonal to.
    let mut right: Vec<f32> = (0..columns).map(|i| 1.0 + (i as f32 * 0.7).sin()).collect();
    let mut norm = 0.0;
    for _ in 0..ROUNDS {
        let length = length(&right);
        if length == 0.0 {
            return Ok(0.0);
        }
        right.iter_mut().for_each(|value| *value /= length as f32);
        let mut next = vec![0f32; columns];
        let mut square = 0.0;
        for row in rows.clone() {
            let left: f32 = row.iter().zip(&right).map(|(a, b)| a * b).sum();
            square += f64::from(left).powi(2);
            next.iter_mut().zip(row).for_each(|(sum, value)| *sum += left * value);
        }
        norm = square.sqrt();
        right = next;
    }
    Ok(norm)
}

fn length(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn norms_of_known_matrices() -> Result<()> {
        // Singular values 3 and 1; then sqrt(45) and sqrt(5).
        for (values, want) in [([3f32, 0.0, 0.0, -1.0], 3.0), ([3.0, 0.0, 4.0, 5.0], 45f64.sqrt())]
        {
            let weight = Tensor::new(&values, &Device::Cpu)?.reshape((1, 1, 2, 2))?;
            let norm = spectral_norm(&weight)?;
            assert!((norm - want).abs() < 1e-3 * want, "{norm}, not {want}");
        }
        let zero = Tensor::zeros((2, 2, 1, 3), candle_core::DType::F32, &Device::Cpu)?;
        assert_eq!(spectral_norm(&zero)?, 0.0);
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
        assert!((spectral_norm(&of(&parameters, "large"))? - 1.5).abs() < 1e-4);
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

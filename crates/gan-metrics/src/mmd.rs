//! The squared maximum mean discrepancy (MMD) under a polynomial kernel, as the KID uses it.

use crate::distances::{columns, with_product};
use crate::error::Result;
use crate::features::Features;
use rand::SeedableRng;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// The usual number of random subsets.
pub const SUBSETS: usize = 100;
/// The usual number of rows in a subset.
pub const SUBSET_SIZE: usize = 1000;

/// An estimate of a squared MMD, averaged over random subsets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MmdEstimate {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation over the subsets, with divisor n.
    pub std: f64,
}

/// Returns the squared maximum mean discrepancy of two sets under the kernel `(x y / d + 1)^3`.
///
/// It averages the unbiased estimates of `subsets` random subsets of `size` rows of each set;
/// [`SUBSETS`] and [`SUBSET_SIZE`] are the usual values. The seed determines the subsets. With Inception features this is the KID.
///
/// # Range
/// Near 0, positive or negative, for two sets of one distribution. `subsets` of 0 counts as 1. A
/// `size` above the number of rows of the smaller set counts as that number. Inner products have the
/// precision of [`gan_kernels::precision`], their sums are in f64.
/// # Errors
/// Subsets of fewer than 2 rows; sets with different numbers of features; a failed tensor operation.
/// # Reference
/// Bińkowski et al. 2018, "Demystifying MMD GANs".
pub fn polynomial_mmd(
    a: &Features,
    b: &Features,
    subsets: usize,
    size: usize,
    seed: u64,
) -> Result<MmdEstimate> {
    const METRIC: &str = "MMD";
    a.check_comparable(b)?;
    a.check_rows(METRIC, 2)?;
    b.check_rows(METRIC, 2)?;
    if size < 2 {
        return Err(crate::Error::TooFew { metric: METRIC, rows: size, needed: 2 });
    }
    let size = size.min(a.len()).min(b.len());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::new();
    for _ in 0..subsets.max(1) {
        let mut subset =
            |set: &Features| set.take(&index::sample(&mut rng, set.len(), size).into_vec());
        values.push(mmd_squared(&subset(a), &subset(b))?);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    Ok(MmdEstimate { mean, std: variance.sqrt() })
}

/// Returns the unbiased estimate of the squared MMD of two sets of at least 2 rows.
pub(crate) fn mmd_squared(a: &Features, b: &Features) -> Result<f64> {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let within_a = kernel_sum(a, a, true)? / (n * (n - 1.0));
    let within_b = kernel_sum(b, b, true)? / (m * (m - 1.0));
    Ok(within_a + within_b - 2.0 * kernel_sum(a, b, false)? / (n * m))
}

/// Sums the kernel over all pairs of rows. If `is_same`, the pairs of a row with itself are left out.
fn kernel_sum(a: &Features, b: &Features, is_same: bool) -> Result<f64> {
    let dim = a.dim();
    let kernel = |product: f32| (f64::from(product) / dim as f64 + 1.0).powi(3);
    let of_row = |(i, products): (usize, &[f32])| {
        let sum: f64 = products.iter().map(|product| kernel(*product)).sum();
        if is_same { sum - kernel(products[i]) } else { sum }
    };
    let columns = columns(b.values(), dim)?;
    let sums: Vec<f64> = with_product(a.values().to_vec(), &columns, dim, |products| {
        products.par_chunks(b.len()).enumerate().map(of_row).collect()
    })?;
    Ok(sums.iter().sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    fn features(values: &[f32], dim: usize) -> Features {
        Features::new(values.to_vec(), dim).expect("features")
    }

    fn random(rows: usize, dim: usize, seed: u64) -> Features {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        features(&(0..rows * dim).map(|_| rng.random::<f32>()).collect::<Vec<_>>(), dim)
    }

    fn estimate(a: &Features, b: &Features, subsets: usize, size: usize) -> Result<MmdEstimate> {
        polynomial_mmd(a, b, subsets, size, 5)
    }

    #[test]
    fn by_hand() {
        // Within a: (0 * 1 + 1)^3 = 1. Within b: (1 * 2 + 1)^3 = 27.
        // Across: 1, 1, (1 + 1)^3 = 8 and (2 + 1)^3 = 27, in the mean 9.25.
        let (a, b) = (features(&[0.0, 1.0], 1), features(&[1.0, 2.0], 1));
        let MmdEstimate { mean, std } = estimate(&a, &b, 3, 2).expect("an estimate");
        assert!((mean - (1.0 + 27.0 - 18.5)).abs() < 1e-6, "{mean}");
        assert!(std < 1e-6, "{std}");
        // Two features: half the product. Within a: (1 * 3 + 1 * -1) / 2 + 1 = 2, cubed 8;
        // within b: (2 * 0 + 0 * 4) / 2 + 1 = 1; across 2, 3, 4, -1, cubed 8, 27, 64, -1.
        let (a, b) = (features(&[1.0, 1.0, 3.0, -1.0], 2), features(&[2.0, 0.0, 0.0, 4.0], 2));
        let MmdEstimate { mean, .. } = estimate(&a, &b, 1, 9).expect("an estimate");
        assert!((mean - (8.0 + 1.0 - 49.0)).abs() < 1e-5, "{mean}");
    }

    #[test]
    fn sets_of_two_sizes() {
        // Within b: 1 * 2, 1 * 3, 2 * 3, plus 1 and cubed: 27, 64, 343. Across, with 0: 1.
        let (a, b) = (features(&[0.0, 0.0], 1), features(&[1.0, 2.0, 3.0], 1));
        let got = mmd_squared(&a, &b).expect("a discrepancy");
        assert!((got - (1.0 + 434.0 / 3.0 - 2.0)).abs() < 1e-5, "{got}");
    }

    #[test]
    fn one_distribution_and_two() {
        let (a, b) = (random(600, 8, 1), random(500, 8, 2));
        let same = estimate(&a, &b, 20, 300).expect("an estimate");
        assert!(same.mean.abs() < 0.004 && same.std > 0.0, "{same:?}");
        let shifted = features(&b.values().iter().map(|v| v + 0.3).collect::<Vec<_>>(), 8);
        let other = estimate(&a, &shifted, 20, 300).expect("an estimate");
        assert!(other.mean > 50.0 * same.mean.abs() && other.mean > 0.1, "{other:?} {same:?}");
        assert_eq!(other, estimate(&a, &shifted, 20, 300).expect("the same subsets"));
        let whole = mmd_squared(&a, &shifted).expect("a discrepancy");
        assert!((whole - other.mean).abs() < other.std, "{whole} {other:?}");
    }

    #[test]
    fn bad_input_is_refused() {
        let text = |result: Result<MmdEstimate>| result.expect_err("bad").to_string();
        let (a, b) = (random(5, 2, 1), random(1, 2, 2));
        let few = "MMD: too few rows, 1 of at least 2";
        assert_eq!(text(estimate(&a, &b, 1, 2)), few);
        assert_eq!(text(estimate(&b, &a, 1, 2)), few);
        assert_eq!(text(estimate(&a, &a, 1, 1)), few);
        assert_eq!(
            text(estimate(&a, &random(5, 3, 1), 1, 2)),
            "rows of 2 features cannot be compared with rows of 3"
        );
        assert!(estimate(&a, &a, 0, 9).is_ok());
    }
}

//! The distance of two distributions' means in the space of a polynomial kernel.

use crate::distances::{columns, with_product};
use crate::error::Result;
use crate::features::Features;
use rand::seq::index;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Random subsets that are usual.
pub const SUBSETS: usize = 100;
/// Rows of a subset that are usual.
pub const SUBSET_SIZE: usize = 1000;

/// A mean over random subsets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Mean over the subsets.
    pub mean: f64,
    /// Standard deviation of the subsets' values, divided by their count.
    pub spread: f64,
}

/// The squared maximum mean discrepancy of two sets under the kernel `(x y / d + 1)^3`, without
/// bias, over random subsets of `size` rows of each; [`SUBSETS`] of [`SUBSET_SIZE`] are usual. With
/// features of an Inception network this is the KID.
///
/// # Range
/// Near 0, on either side, for two sets of one distribution. `subsets` of 0 counts as 1, and a
/// `size` above the smaller set's rows as those. Products are those of
/// [`gan_kernels::precision`], their sums are in f64.
/// # Errors
/// Subsets of fewer than 2 rows; rows of two lengths; a product that failed.
/// # Reference
/// Bińkowski et al. 2018, "Demystifying MMD GANs".
pub fn kernel_distance(
    a: &Features,
    b: &Features,
    subsets: usize,
    size: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Estimate> {
    const METRIC: &str = "kernel distance";
    a.check_comparable(b)?;
    a.check_rows(METRIC, 2)?;
    b.check_rows(METRIC, 2)?;
    if size < 2 {
        return Err(crate::Error::TooFew { metric: METRIC, rows: size, needed: 2 });
    }
    let size = size.min(a.len()).min(b.len());
    let mut values = Vec::new();
    for _ in 0..subsets.max(1) {
        let mut subset = |set: &Features| set.take(&index::sample(rng, set.len(), size).into_vec());
        values.push(discrepancy(&subset(a), &subset(b))?);
    }
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    Ok(Estimate { mean, spread: variance.sqrt() })
}

/// The unbiased squared discrepancy of two whole sets, each of 2 rows or more.
pub(crate) fn discrepancy(a: &Features, b: &Features) -> Result<f64> {
    let (n, m) = (a.len() as f64, b.len() as f64);
    let within_a = kernel_sum(a, a, true)? / (n * (n - 1.0));
    let within_b = kernel_sum(b, b, true)? / (m * (m - 1.0));
    Ok(within_a + within_b - 2.0 * kernel_sum(a, b, false)? / (n * m))
}

/// The kernel's sum over all pairs of rows, without those of a row and itself if `is_same`.
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
    use rand::{Rng, SeedableRng};

    fn features(values: &[f32], dim: usize) -> Features {
        Features::new(values.to_vec(), dim).expect("features")
    }

    fn random(rows: usize, dim: usize, seed: u64) -> Features {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        features(&(0..rows * dim).map(|_| rng.random::<f32>()).collect::<Vec<_>>(), dim)
    }

    fn estimate(a: &Features, b: &Features, subsets: usize, size: usize) -> Result<Estimate> {
        kernel_distance(a, b, subsets, size, &mut ChaCha8Rng::seed_from_u64(5))
    }

    #[test]
    fn by_hand() {
        // Within a: (0 * 1 + 1)^3 = 1. Within b: (1 * 2 + 1)^3 = 27.
        // Across: 1, 1, (1 + 1)^3 = 8 and (2 + 1)^3 = 27, in the mean 9.25.
        let (a, b) = (features(&[0.0, 1.0], 1), features(&[1.0, 2.0], 1));
        let Estimate { mean, spread } = estimate(&a, &b, 3, 2).expect("an estimate");
        assert!((mean - (1.0 + 27.0 - 18.5)).abs() < 1e-6, "{mean}");
        assert!(spread < 1e-6, "{spread}");
        // Two features: half the product. Within a: (1 * 3 + 1 * -1) / 2 + 1 = 2, cubed 8;
        // within b: (2 * 0 + 0 * 4) / 2 + 1 = 1; across 2, 3, 4, -1, cubed 8, 27, 64, -1.
        let (a, b) = (features(&[1.0, 1.0, 3.0, -1.0], 2), features(&[2.0, 0.0, 0.0, 4.0], 2));
        let Estimate { mean, .. } = estimate(&a, &b, 1, 9).expect("an estimate");
        assert!((mean - (8.0 + 1.0 - 49.0)).abs() < 1e-5, "{mean}");
    }

    #[test]
    fn sets_of_two_sizes() {
        // Within b: 1 * 2, 1 * 3, 2 * 3, plus 1 and cubed: 27, 64, 343. Across, with 0: 1.
        let (a, b) = (features(&[0.0, 0.0], 1), features(&[1.0, 2.0, 3.0], 1));
        let got = discrepancy(&a, &b).expect("a discrepancy");
        assert!((got - (1.0 + 434.0 / 3.0 - 2.0)).abs() < 1e-5, "{got}");
    }

    #[test]
    fn one_distribution_and_two() {
        let (a, b) = (random(600, 8, 1), random(500, 8, 2));
        let same = estimate(&a, &b, 20, 300).expect("an estimate");
        assert!(same.mean.abs() < 0.004 && same.spread > 0.0, "{same:?}");
        let shifted = features(&b.values().iter().map(|v| v + 0.3).collect::<Vec<_>>(), 8);
        let other = estimate(&a, &shifted, 20, 300).expect("an estimate");
        assert!(other.mean > 50.0 * same.mean.abs() && other.mean > 0.1, "{other:?} {same:?}");
        assert_eq!(other, estimate(&a, &shifted, 20, 300).expect("the same subsets"));
        let whole = discrepancy(&a, &shifted).expect("a discrepancy");
        assert!((whole - other.mean).abs() < other.spread, "{whole} {other:?}");
    }

    #[test]
    fn bad_input_is_refused() {
        let text = |result: Result<Estimate>| result.expect_err("bad").to_string();
        let (a, b) = (random(5, 2, 1), random(1, 2, 2));
        let few = "kernel distance: too few rows, 1 of at least 2";
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

//! The Fréchet distance of two normal distributions.

use crate::error::Result;
use crate::feature_stats::FeatureStats;
use crate::symmetric::{Eigen, dot, eigen};

/// Returns the squared Fréchet distance of two normal distributions:
/// `|m1 - m2|^2 + Tr(S1) + Tr(S2) - 2 Tr((S1 S2)^(1/2))` for means `m` and covariances `S`.
///
/// With Inception features this is the FID. The last trace is the sum of the square roots of the
/// eigenvalues of `S1^(1/2) S2 S1^(1/2)`, a symmetric matrix with the eigenvalues of `S1 S2`.
/// Eigenvalues that rounding makes negative count as 0. Singular covariances, such as those of fewer
/// rows than features, are allowed.
///
/// # Range
/// At least 0. It is 0 for equal statistics, up to rounding.
/// # Errors
/// Different numbers of features; covariances whose product overflows.
/// # Reference
/// Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash
/// equilibrium".
pub fn frechet_distance(a: &FeatureStats, b: &FeatureStats) -> Result<f64> {
    a.check_comparable(b)?;
    let shift: f64 = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b) * (a - b)).sum();
    let shared = trace_of_root(&a.covariance(), &b.covariance(), a.dim())?;
    Ok((shift + a.total_variance() + b.total_variance() - 2.0 * shared).max(0.0))
}

/// `Tr((a b)^(1/2))` of two covariances.
fn trace_of_root(a: &[f64], b: &[f64], dim: usize) -> Result<f64> {
    let Eigen { values, vectors } = eigen(a.to_vec(), dim)?;
    // With a = V^T D V, the rows of R = D^(1/2) V. R b R^T has the eigenvalues of
    // a^(1/2) b a^(1/2).
    let mut roots = vectors;
    for (row, value) in roots.chunks_exact_mut(dim).zip(values) {
        let root = value.max(0.0).sqrt();
        row.iter_mut().for_each(|x| *x *= root);
    }
    let half = times_transposed(&roots, b, dim);
    let product = times_transposed(&half, &roots, dim);
    Ok(eigen(product, dim)?.values.into_iter().map(|value| value.max(0.0).sqrt()).sum())
}

/// `a b^T`.
fn times_transposed(a: &[f64], b: &[f64], dim: usize) -> Vec<f64> {
    let rows = a.chunks_exact(dim);
    rows.flat_map(|row| b.chunks_exact(dim).map(move |column| dot(row, column))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Features;
    use std::time::Instant;

    fn stats(mean: &[f64], covariance: &[f64]) -> FeatureStats {
        FeatureStats::new(100, mean.to_vec(), covariance).expect("statistics")
    }

    fn distance(a: &FeatureStats, b: &FeatureStats) -> f64 {
        frechet_distance(a, b).expect("a distance")
    }

    fn features(rows: usize, dim: usize, seed: usize) -> Features {
        let value = |k: usize| ((k * k * 31 + k * seed) % 10_007) as f32 / 5000.0;
        Features::new((0..rows * dim).map(value).collect(), dim).expect("features")
    }

    fn assert_near(got: f64, wanted: f64, tolerance: f64) {
        assert!((got - wanted).abs() <= tolerance, "{got}, not {wanted}");
    }

    #[test]
    fn diagonal_covariances() {
        // |(1, -2)|^2 + (2 - 5)^2 + (3 - 1)^2
        let a = stats(&[0.0, 0.0], &[4.0, 0.0, 0.0, 9.0]);
        let b = stats(&[1.0, -2.0], &[25.0, 0.0, 0.0, 1.0]);
        assert_near(distance(&a, &b), 5.0 + 9.0 + 4.0, 1e-12);
        assert_near(distance(&b, &a), 18.0, 1e-12);
    }

    #[test]
    fn covariances_that_do_not_commute() {
        // For 2x2 matrices Tr((A B)^(1/2))^2 = Tr(A B) + 2 sqrt(det(A B)).
        let (a, b) = ([2.0, 1.0, 1.0, 2.0], [3.0, -1.0, -1.0, 1.0]);
        // A B = [[5, -1], [1, 1]], det(A) det(B) = 3 * 2.
        let root = (6.0 + 2.0 * 6.0f64.sqrt()).sqrt();
        let (a, b) = (stats(&[0.0; 2], &a), stats(&[0.0; 2], &b));
        assert_near(distance(&a, &b), 4.0 + 4.0 - 2.0 * root, 1e-12);
    }

    #[test]
    fn a_set_and_itself() {
        for (rows, dim) in [(400, 16), (20, 64)] {
            let set = FeatureStats::from_features(&features(rows, dim, 17)).expect("statistics");
            assert_near(distance(&set, &set), 0.0, 1e-6 * set.total_variance());
        }
    }

    #[test]
    fn a_shift_adds_its_square() {
        let set = features(300, 8, 17);
        let shifted = set.values().iter().map(|value| value + 0.5).collect();
        let shifted = Features::new(shifted, 8).expect("features");
        let (a, b) = (FeatureStats::from_features(&set), FeatureStats::from_features(&shifted));
        assert_near(distance(&a.expect("statistics"), &b.expect("statistics")), 8.0 * 0.25, 1e-5);
    }

    #[test]
    fn fewer_rows_than_features() {
        // Two points each, on lines at right angles: no direction is shared.
        let a = Features::new(vec![-1.0, 0.0, 0.0, 1.0, 0.0, 0.0], 3).expect("features");
        let b = Features::new(vec![0.0, -3.0, 0.0, 0.0, 3.0, 0.0], 3).expect("features");
        let (a, b) = (
            FeatureStats::from_features(&a).expect("statistics"),
            FeatureStats::from_features(&b).expect("statistics"),
        );
        assert_near(distance(&a, &b), 2.0 + 18.0, 1e-6);
        let (a, b) = (features(30, 50, 17), features(20, 50, 29));
        let (a, b) = (
            FeatureStats::from_features(&a).expect("statistics"),
            FeatureStats::from_features(&b).expect("statistics"),
        );
        assert_near(distance(&a, &b), distance(&b, &a), 1e-6 * a.total_variance());
    }

    #[test]
    fn wide_features_are_quick() {
        let (a, b) = (features(400, 128, 17), features(300, 128, 29));
        let (a, b) = (
            FeatureStats::from_features(&a).expect("statistics"),
            FeatureStats::from_features(&b).expect("statistics"),
        );
        let start = Instant::now();
        let there = distance(&a, &b);
        assert!(start.elapsed().as_secs_f64() < 2.0, "{:?}", start.elapsed());
        assert_near(there, distance(&b, &a), 1e-8 * there);
    }

    #[test]
    fn different_lengths_are_an_error() {
        let (two, one) = (stats(&[0.0; 2], &[0.0; 4]), stats(&[0.0], &[0.0]));
        let error = frechet_distance(&two, &one).expect_err("bad").to_string();
        assert_eq!(error, "rows of 2 features cannot be compared with rows of 1");
    }
}

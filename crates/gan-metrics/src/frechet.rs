//! The Fréchet distance of two normal distributions.

use crate::error::{Error, Result};
use crate::feature_stats::FeatureStats;
use nalgebra::{DMatrix, SymmetricEigen};

/// The largest number of QR iterations per eigenvalue. Two are usual.
const MAX_ITERATIONS: usize = 100;

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
    // Fewer rows have fewer eigenvalues.
    let [few, many] = if a.count() <= b.count() { [a, b] } else { [b, a] };
    let shared = trace_of_root(&few.covariance(), &many.covariance(), a.dim())?;
    Ok((shift + a.total_variance() + b.total_variance() - 2.0 * shared).max(0.0))
}

/// Returns `Tr((a b)^(1/2))` of two covariances.
fn trace_of_root(a: &[f64], b: &[f64], dim: usize) -> Result<f64> {
    // With a = V D V^T and R = V D^(1/2), R^T b R has the eigenvalues of a^(1/2) b a^(1/2). Those of
    // D that are rounding errors are left out.
    let SymmetricEigen { eigenvalues, eigenvectors } = eigen(DMatrix::from_row_slice(dim, dim, a))?;
    let error = dim as f64 * f64::EPSILON * eigenvalues.amax();
    let root: Vec<_> = (eigenvectors.column_iter().zip(&eigenvalues))
        .filter(|(_, value)| **value > error)
        .map(|(column, value)| column * value.sqrt())
        .collect();
    if root.is_empty() {
        return Ok(0.0);
    }
    let root = DMatrix::from_columns(&root);
    // `tr_mul` would be several times as slow.
    let product = root.transpose() * DMatrix::from_row_slice(dim, dim, b) * &root;
    Ok(eigen(product)?.eigenvalues.iter().map(|value| value.max(0.0).sqrt()).sum())
}

/// Returns the eigenvalues and eigenvectors of a symmetric matrix, of which the lower triangle
/// counts.
///
/// # Errors
/// [`Error::NotFinite`]; [`Error::Eigenvalues`].
fn eigen(mut matrix: DMatrix<f64>) -> Result<SymmetricEigen<f64, nalgebra::Dyn>> {
    // NaN would keep the iteration from converging.
    if let Some(index) = matrix.iter().position(|value| !value.is_finite()) {
        return Err(Error::NotFinite { what: "covariance", index, value: matrix[index] });
    }
    // Without a shift by a rounding error, the products of rows that hold nothing else underflow,
    // and eigenvalues become NaN.
    let shift = f64::EPSILON * matrix.amax();
    (0..matrix.nrows()).for_each(|i| matrix[(i, i)] += shift);
    let iterations = MAX_ITERATIONS * matrix.nrows();
    SymmetricEigen::try_new(matrix, f64::EPSILON, iterations)
        .map(|mut eigen| {
            eigen.eigenvalues.add_scalar_mut(-shift);
            eigen
        })
        .filter(|eigen| eigen.eigenvalues.iter().all(|value| value.is_finite()))
        .ok_or(Error::Eigenvalues)
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

    /// Eigenvalues in ascending order.
    fn sorted(matrix: &[f64], n: usize) -> Vec<f64> {
        let eigen = eigen(DMatrix::from_row_slice(n, n, matrix)).expect("eigenvalues");
        let mut values = eigen.eigenvalues.as_slice().to_vec();
        values.sort_by(f64::total_cmp);
        values
    }

    fn assert_all_near(got: &[f64], wanted: &[f64]) {
        assert_eq!(got.len(), wanted.len());
        got.iter().zip(wanted).for_each(|(got, wanted)| assert_near(*got, *wanted, 1e-12));
    }

    #[test]
    fn known_eigenvalues() {
        assert_all_near(&sorted(&[3.0], 1), &[3.0]);
        assert_all_near(&sorted(&[0.0; 9], 3), &[0.0; 3]);
        assert_all_near(&sorted(&[1.0; 16], 4), &[0.0, 0.0, 0.0, 4.0]);
        let diagonal = [5.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 2.0];
        assert_all_near(&sorted(&diagonal, 3), &[-1.0, 2.0, 5.0]);
        for scale in [1e-300, 1.0, 1e300] {
            let values = sorted(&[2.0, 1.0, 1.0, 2.0].map(|x: f64| x * scale), 2);
            assert_all_near(&values.iter().map(|x| x / scale).collect::<Vec<_>>(), &[1.0, 3.0]);
        }
        // The second difference of n points: 2 - 2 cos(i pi / (n + 1)).
        let n = 9;
        let value = |k: usize| match (k / n).abs_diff(k % n) {
            0 => 2.0,
            1 => -1.0,
            _ => 0.0,
        };
        let angle = |i: usize| std::f64::consts::PI * i as f64 / (n + 1) as f64;
        let wanted: Vec<f64> = (1..=n).map(|i| 2.0 - 2.0 * angle(i).cos()).collect();
        assert_all_near(&sorted(&(0..n * n).map(value).collect::<Vec<_>>(), n), &wanted);
    }

    /// Singular covariances, and what rounding leaves of them, once kept the iteration from
    /// converging.
    #[test]
    fn singular_covariances_converge() {
        for rows in 2..40 {
            for scale in [1e-15f32, 1.0, 1e15] {
                let set = features(rows, 64, 2 * rows + 1);
                let set = set.values().iter().map(|value| value * scale).collect();
                let set = Features::new(set, 64).expect("features");
                let set = FeatureStats::from_features(&set).expect("statistics");
                assert_near(distance(&set, &set), 0.0, 1e-6 * set.total_variance());
            }
        }
        // Rank 1 with noise far below rounding.
        let n = 128;
        let row: Vec<f64> = (0..n).map(|i| (i as f64 * 0.37).sin() * 1e-3).collect();
        let noise = |i: usize, j: usize| ((i * j * 29 + i + j) % 97) as f64 * 1e-21;
        let value = |k: usize| row[k / n] * row[k % n] + noise(k / n, k % n);
        let values = sorted(&(0..n * n).map(value).collect::<Vec<_>>(), n);
        let length: f64 = row.iter().map(|x| x * x).sum();
        assert!((values[n - 1] / length - 1.0).abs() < 1e-12, "{values:?}");
        assert!(values[..n - 1].iter().all(|value| value.abs() < 1e-13 * length), "{values:?}");
    }

    /// The trace of the root is the sum of the singular values of the product of both centred sets,
    /// which have few rows here. Eigenvalues were NaN.
    #[test]
    fn few_rows_of_many_features() {
        let centred = |set: &Features| {
            let mut rows = DMatrix::from_row_slice(set.len(), set.dim(), set.values());
            rows.column_iter_mut().for_each(|mut column| column.add_scalar_mut(-column.mean()));
            rows.cast::<f64>() / (set.len() as f64 - 1.0).sqrt()
        };
        // Profiles of several strengths, with features that are always 0, as behind a ReLU.
        let set = |rows: usize, dim: usize, seed: usize| {
            let noise = features(rows, dim, seed);
            let value = |k: usize| match (k / dim, k % dim) {
                (_, j) if j * j % 7 < 3 => 0.0,
                (i, j) => ((i + 1) * (j * j * 7 % 11)) as f32 + 0.1 * noise.values()[k],
            };
            Features::new((0..rows * dim).map(value).collect(), dim).expect("features")
        };
        for (dim, rows) in [(64, 24), (64, 40), (128, 12), (256, 24), (256, 12)] {
            let (a, b) = (set(rows, dim, 17), set(8, dim, 29));
            let shared = (centred(&a) * centred(&b).transpose()).singular_values().sum();
            let of = |set| FeatureStats::from_features(set).expect("statistics");
            let (a, b) = (of(&a), of(&b));
            let shift: f64 = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b).powi(2)).sum();
            let wanted = shift + a.total_variance() + b.total_variance() - 2.0 * shared;
            assert_near(distance(&a, &b), wanted, 1e-5 * wanted);
            assert_near(distance(&b, &a), wanted, 1e-5 * wanted);
        }
    }

    #[test]
    fn values_that_overflow_are_an_error() {
        let huge = stats(&[0.0; 2], &[1e200, 0.0, 0.0, 1e200]);
        let error = frechet_distance(&huge, &huge).expect_err("an overflow").to_string();
        assert_eq!(error, "covariance: value 0 is inf, not a finite number");
        for value in [f64::NAN, f64::INFINITY] {
            assert!(matches!(
                eigen(DMatrix::from_element(2, 2, value)),
                Err(Error::NotFinite { .. })
            ));
        }
    }

    #[test]
    fn wide_features_are_quick() {
        let (a, b) = (features(400, 128, 17), features(300, 128, 29));
        let (a, b) = (FeatureStats::from_features(&a), FeatureStats::from_features(&b));
        let (a, b) = (a.expect("statistics"), b.expect("statistics"));
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

//! Mean and covariance of features.

use crate::error::{Error, Result};
use crate::features::Features;
use rayon::prelude::*;

/// Rows per task. It is fixed so that the result does not depend on the number of threads.
const CHUNK: usize = 256;
/// Number of chunks whose statistics are in memory at a time.
const WAVE: usize = 8;

/// Count, mean and covariance of a set of feature rows.
#[derive(Clone, Debug, PartialEq)]
pub struct FeatureStats {
    count: usize,
    mean: Vec<f64>,
    /// Sum of (row - mean) (row - mean)^T over the rows; row-major, both triangles.
    scatter: Vec<f64>,
}

impl FeatureStats {
    /// Computes the statistics in f64 in one pass: each chunk around its own mean, to avoid
    /// cancellation, then merged in order.
    ///
    /// # Errors
    /// Fewer than 2 rows.
    /// # Reference
    /// Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing
    /// sample variances".
    pub fn from_features(features: &Features) -> Result<Self> {
        features.check_rows("covariance", 2)?;
        let dim = features.dim();
        let mut total = Self { count: 0, mean: vec![0.0; dim], scatter: vec![0.0; dim * dim] };
        for wave in features.values().chunks(WAVE * CHUNK * dim) {
            let parts: Vec<Self> =
                wave.par_chunks(CHUNK * dim).map(|rows| Self::of_chunk(rows, dim)).collect();
            parts.iter().for_each(|part| total.add(part));
        }
        Ok(total)
    }

    /// Creates statistics from known values.
    ///
    /// # Shapes
    /// `mean`: (dim), `covariance`: (dim * dim), row-major, symmetric.
    /// # Errors
    /// A count below 2, a covariance of another size, NaN or infinite values.
    pub fn new(count: usize, mean: Vec<f64>, covariance: &[f64]) -> Result<Self> {
        if count < 2 {
            return Err(Error::TooFew { metric: "covariance", rows: count, needed: 2 });
        }
        let dim = mean.len();
        if dim == 0 || dim.checked_mul(dim) != Some(covariance.len()) {
            return Err(Error::Ragged { values: covariance.len(), dim });
        }
        for (what, values) in [("mean", &mean[..]), ("covariance", covariance)] {
            if let Some(index) = values.iter().position(|value| !value.is_finite()) {
                return Err(Error::NotFinite { what, index, value: values[index] });
            }
        }
        let scatter = covariance.iter().map(|value| value * (count - 1) as f64).collect();
        Ok(Self { count, mean, scatter })
    }

    /// Returns the statistics of the union of both sets, as one pass over all rows would, up to
    /// rounding.
    ///
    /// # Errors
    /// Different numbers of features.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        self.check_comparable(other)?;
        let mut total = self.clone();
        total.add(other);
        Ok(total)
    }

    /// Returns the number of rows, at least 2.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns the number of features in a row, at least 1.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Returns the mean of each feature.
    ///
    /// # Shapes
    /// (dim).
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Returns the unbiased covariance (divisor n - 1, as in NumPy's `cov`).
    ///
    /// # Shapes
    /// (dim * dim), row-major, symmetric.
    pub fn covariance(&self) -> Vec<f64> {
        self.scatter.iter().map(|value| value / (self.count - 1) as f64).collect()
    }

    /// Returns the trace of the covariance, which is the sum of the variances and half the mean
    /// squared distance of two different rows.
    ///
    /// # Range
    /// At least 0.
    pub fn total_variance(&self) -> f64 {
        let trace: f64 = self.scatter.iter().step_by(self.dim() + 1).sum();
        trace / (self.count - 1) as f64
    }

    /// Checks that both have the same number of features.
    ///
    /// # Errors
    /// [`Error::Lengths`].
    pub(crate) fn check_comparable(&self, other: &Self) -> Result<()> {
        if self.dim() == other.dim() {
            Ok(())
        } else {
            Err(Error::Lengths { left: self.dim(), right: other.dim() })
        }
    }

    fn of_chunk(values: &[f32], dim: usize) -> Self {
        let count = values.len() / dim;
        let mut mean = vec![0.0; dim];
        for row in values.chunks_exact(dim) {
            mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        mean.iter_mut().for_each(|sum| *sum /= count as f64);
        let mut scatter = vec![0.0; dim * dim];
        let mut centred = vec![0.0; dim];
        for row in values.chunks_exact(dim) {
            for ((centred, value), mean) in centred.iter_mut().zip(row).zip(&mean) {
                *centred = f64::from(*value) - mean;
            }
            add_product(&mut scatter, &centred, 1.0);
        }
        mirror(&mut scatter, dim);
        Self { count, mean, scatter }
    }

    fn add(&mut self, other: &Self) {
        let (own, others) = (self.count as f64, other.count as f64);
        let total = own + others;
        let difference: Vec<f64> = other.mean.iter().zip(&self.mean).map(|(b, a)| b - a).collect();
        for (mean, difference) in self.mean.iter_mut().zip(&difference) {
            *mean += difference * others / total;
        }
        self.scatter.iter_mut().zip(&other.scatter).for_each(|(a, b)| *a += b);
        add_product(&mut self.scatter, &difference, own * others / total);
        mirror(&mut self.scatter, difference.len());
        self.count += other.count;
    }
}

/// Adds `factor * row * row^T` to the upper triangle.
fn add_product(scatter: &mut [f64], row: &[f64], factor: f64) {
    let dim = row.len();
    for (i, sums) in scatter.chunks_exact_mut(dim).enumerate() {
        let left = factor * row[i];
        sums[i..].iter_mut().zip(&row[i..]).for_each(|(sum, right)| *sum += left * right);
    }
}

/// Copies the upper triangle to the lower.
fn mirror(matrix: &mut [f64], dim: usize) {
    for i in 0..dim {
        for j in 0..i {
            matrix[i * dim + j] = matrix[j * dim + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(rows: usize, dim: usize, offset: f32) -> Features {
        let value = |k: usize| ((k * k * 31 + k * 17) % 1009) as f32 / 512.0 + offset;
        Features::new((0..rows * dim).map(value).collect(), dim).expect("features")
    }

    fn assert_near(got: &[f64], wanted: &[f64], tolerance: f64) {
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((got - wanted).abs() <= tolerance, "{got}, not {wanted}");
        }
    }

    #[test]
    fn known_statistics() {
        let set = Features::new(vec![1.0, 2.0, 3.0, 6.0, 5.0, 1.0], 2).expect("3 rows");
        let stats = FeatureStats::from_features(&set).expect("statistics");
        assert_eq!((stats.count(), stats.dim()), (3, 2));
        assert_near(stats.mean(), &[3.0, 3.0], 1e-15);
        // Around the mean: (-2, -1), (0, 3), (2, -2).
        assert_near(&stats.covariance(), &[4.0, -1.0, -1.0, 7.0], 1e-14);
        assert!((stats.total_variance() - 11.0).abs() < 1e-14);
        let again =
            FeatureStats::new(3, vec![3.0, 3.0], &[4.0, -1.0, -1.0, 7.0]).expect("statistics");
        assert_near(&again.covariance(), &stats.covariance(), 1e-14);
    }

    #[test]
    fn chunks_equal_one_direct_sum() {
        // A mean 2000 times the std, more rows than a wave has.
        let (rows, dim) = (WAVE * CHUNK + 300, 3);
        let set = features(rows, dim, 1024.0);
        let stats = FeatureStats::from_features(&set).expect("statistics");
        let column = |j: usize| set.rows().map(move |row| f64::from(row[j]));
        let mean: Vec<f64> = (0..dim).map(|j| column(j).sum::<f64>() / rows as f64).collect();
        let product = |i: usize, j: usize| -> f64 {
            column(i).zip(column(j)).map(|(x, y)| (x - mean[i]) * (y - mean[j])).sum()
        };
        let covariance: Vec<f64> =
            (0..dim * dim).map(|k| product(k / dim, k % dim) / (rows - 1) as f64).collect();
        assert_near(stats.mean(), &mean, 1e-10);
        assert_near(&stats.covariance(), &covariance, 1e-10);
    }

    #[test]
    fn merged_halves_equal_one_pass() {
        let set = features(700, 5, -3.0);
        let whole = FeatureStats::from_features(&set).expect("statistics");
        let part = |start, count| {
            FeatureStats::from_features(&set.narrow(start, count)).expect("statistics")
        };
        let merged = part(0, 123).merge(&part(123, 577)).expect("the same features");
        assert_eq!(merged.count(), 700);
        assert_near(merged.mean(), whole.mean(), 1e-13);
        assert_near(&merged.covariance(), &whole.covariance(), 1e-13);
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let set = features(3000, 4, 0.5);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool").install(|| FeatureStats::from_features(&set)).expect("statistics")
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn bad_input_is_an_error() {
        let text = |result: Result<FeatureStats>| result.expect_err("bad").to_string();
        assert_eq!(
            text(FeatureStats::from_features(&features(1, 2, 0.0))),
            "covariance: too few rows, 1 of at least 2"
        );
        assert_eq!(
            text(FeatureStats::new(1, vec![0.0], &[0.0])),
            "covariance: too few rows, 1 of at least 2"
        );
        assert_eq!(
            text(FeatureStats::new(2, vec![0.0; 2], &[0.0; 3])),
            "3 values are not rows of 2 features"
        );
        assert_eq!(
            text(FeatureStats::new(2, vec![0.0], &[f64::NAN])),
            "covariance: value 0 is NaN, not a finite number"
        );
        let (two, three) = (
            FeatureStats::from_features(&features(4, 2, 0.0)),
            FeatureStats::from_features(&features(4, 3, 0.0)),
        );
        assert_eq!(
            text(two.expect("statistics").merge(&three.expect("statistics"))),
            "rows of 2 features cannot be compared with rows of 3"
        );
    }
}

//! Mean and covariance of features.

use crate::error::{Error, Result};
use crate::features::Features;
use rayon::prelude::*;

/// Rows whose moments one task computes: fixed, so that sums do not depend on the number of
/// threads.
const CHUNK: usize = 256;
/// Chunks whose moments are in memory at a time.
const WAVE: usize = 8;

/// Count, mean and covariance of a set of rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    count: usize,
    mean: Vec<f64>,
    /// Sum over the rows of (row - mean) (row - mean)^T; row after row, both triangles.
    scatter: Vec<f64>,
}

impl Moments {
    /// The moments of all rows, computed in f64 in one pass: those of chunks, around the chunk's
    /// own mean so that nothing cancels, merged in order.
    ///
    /// # Errors
    /// Fewer than 2 rows, which have no covariance.
    /// # Reference
    /// Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm for computing
    /// sample variances".
    pub fn of(features: &Features) -> Result<Self> {
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

    /// Moments that are known.
    ///
    /// # Shapes
    /// `mean`: (dim), `covariance`: (dim * dim), row after row, symmetric.
    /// # Errors
    /// A count below 2, a covariance of another size, values that are not finite.
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

    /// The moments of both sets together: up to rounding those of one pass over all rows.
    ///
    /// # Errors
    /// Where the other's rows are longer or shorter.
    pub fn merge(&self, other: &Self) -> Result<Self> {
        self.check_comparable(other)?;
        let mut total = self.clone();
        total.add(other);
        Ok(total)
    }

    /// How many rows there were, at least 2.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Features of a row, at least 1.
    pub fn dim(&self) -> usize {
        self.mean.len()
    }

    /// The mean of each feature.
    ///
    /// # Shapes
    /// (dim).
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// The unbiased covariance, divided by the count less one, as NumPy's `cov` does.
    ///
    /// # Shapes
    /// (dim * dim), row after row; both triangles are the same.
    pub fn covariance(&self) -> Vec<f64> {
        self.scatter.iter().map(|value| value / (self.count - 1) as f64).collect()
    }

    /// The sum of the features' variances: the covariance's trace, and half the mean squared
    /// distance of two different rows.
    ///
    /// # Range
    /// At least 0.
    pub fn total_variance(&self) -> f64 {
        let trace: f64 = self.scatter.iter().step_by(self.dim() + 1).sum();
        trace / (self.count - 1) as f64
    }

    /// # Errors
    /// Where the other's rows are longer or shorter.
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
    fn known_moments() {
        let set = Features::new(vec![1.0, 2.0, 3.0, 6.0, 5.0, 1.0], 2).expect("3 rows");
        let moments = Moments::of(&set).expect("moments");
        assert_eq!((moments.count(), moments.dim()), (3, 2));
        assert_near(moments.mean(), &[3.0, 3.0], 1e-15);
        // Around the mean: (-2, -1), (0, 3), (2, -2).
        assert_near(&moments.covariance(), &[4.0, -1.0, -1.0, 7.0], 1e-14);
        assert!((moments.total_variance() - 11.0).abs() < 1e-14);
        let again = Moments::new(3, vec![3.0, 3.0], &[4.0, -1.0, -1.0, 7.0]).expect("moments");
        assert_near(&again.covariance(), &moments.covariance(), 1e-14);
    }

    #[test]
    fn many_chunks_are_as_one_direct_sum() {
        // A mean 2000 times the deviation, more rows than a wave has.
        let (rows, dim) = (WAVE * CHUNK + 300, 3);
        let set = features(rows, dim, 1024.0);
        let moments = Moments::of(&set).expect("moments");
        let column = |j: usize| set.rows().map(move |row| f64::from(row[j]));
        let mean: Vec<f64> = (0..dim).map(|j| column(j).sum::<f64>() / rows as f64).collect();
        let product = |i: usize, j: usize| -> f64 {
            column(i).zip(column(j)).map(|(x, y)| (x - mean[i]) * (y - mean[j])).sum()
        };
        let covariance: Vec<f64> =
            (0..dim * dim).map(|k| product(k / dim, k % dim) / (rows - 1) as f64).collect();
        assert_near(moments.mean(), &mean, 1e-10);
        assert_near(&moments.covariance(), &covariance, 1e-10);
    }

    #[test]
    fn halves_merged_are_one_pass() {
        let set = features(700, 5, -3.0);
        let whole = Moments::of(&set).expect("moments");
        let part = |start, count| Moments::of(&set.narrow(start, count)).expect("moments");
        let merged = part(0, 123).merge(&part(123, 577)).expect("the same features");
        assert_eq!(merged.count(), 700);
        assert_near(merged.mean(), whole.mean(), 1e-13);
        assert_near(&merged.covariance(), &whole.covariance(), 1e-13);
    }

    #[test]
    fn threads_change_nothing() {
        let set = features(3000, 4, 0.5);
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("a pool").install(|| Moments::of(&set)).expect("moments")
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn bad_input_is_refused() {
        let text = |result: Result<Moments>| result.expect_err("bad").to_string();
        assert_eq!(
            text(Moments::of(&features(1, 2, 0.0))),
            "covariance: too few rows, 1 of at least 2"
        );
        assert_eq!(
            text(Moments::new(1, vec![0.0], &[0.0])),
            "covariance: too few rows, 1 of at least 2"
        );
        assert_eq!(
            text(Moments::new(2, vec![0.0; 2], &[0.0; 3])),
            "3 values are not rows of 2 features"
        );
        assert_eq!(
            text(Moments::new(2, vec![0.0], &[f64::NAN])),
            "covariance: value 0 is NaN, not a finite number"
        );
        let (two, three) = (Moments::of(&features(4, 2, 0.0)), Moments::of(&features(4, 3, 0.0)));
        assert_eq!(
            text(two.expect("moments").merge(&three.expect("moments"))),
            "rows of 2 features cannot be compared with rows of 3"
        );
    }
}

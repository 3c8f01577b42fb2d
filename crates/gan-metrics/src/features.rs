//! Features: one row of numbers per image.

use crate::error::{Error, Result};
use std::fmt;
use std::sync::Arc;

/// A set of feature rows, one row per image. Clones share the values.
#[derive(Clone, PartialEq)]
pub struct Features {
    values: Arc<Vec<f32>>,
    dim: usize,
}

impl Features {
    /// Creates a set of rows of `dim` features each.
    ///
    /// # Shapes
    /// `values`: (rows * dim), row-major; rows may be 0, `dim` may not.
    /// # Errors
    /// [`Error::Ragged`] if the values are not whole rows; [`Error::NotFinite`] for NaN or infinite values.
    pub fn new(values: Vec<f32>, dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            return Err(Error::Ragged { values: values.len(), dim });
        }
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let value = f64::from(values[index]);
            return Err(Error::NotFinite { what: "features", index, value });
        }
        Ok(Self { values: Arc::new(values), dim })
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Returns whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Returns the number of features in a row, at least 1.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Returns all values, row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns the row at `index`, or `None` past the last.
    pub fn row(&self, index: usize) -> Option<&[f32]> {
        self.rows().nth(index)
    }

    /// Returns all rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dim)
    }

    /// Returns the rows at `indices`, in that order. Indices past the last row are skipped.
    pub fn take(&self, indices: &[usize]) -> Self {
        let mut values = Vec::with_capacity(indices.len() * self.dim);
        indices.iter().filter_map(|&index| self.row(index)).for_each(|row| values.extend(row));
        Self { values: Arc::new(values), dim: self.dim }
    }

    /// Returns up to `count` rows, starting at `start`.
    pub fn narrow(&self, start: usize, count: usize) -> Self {
        let start = start.min(self.len());
        let end = start + count.min(self.len() - start);
        let values = self.values[start * self.dim..end * self.dim].to_vec();
        Self { values: Arc::new(values), dim: self.dim }
    }

    /// Checks that both sets have the same number of features.
    ///
    /// # Errors
    /// [`Error::Lengths`].
    pub(crate) fn check_comparable(&self, other: &Self) -> Result<()> {
        if self.dim == other.dim {
            Ok(())
        } else {
            Err(Error::Lengths { left: self.dim, right: other.dim })
        }
    }

    /// Checks that there are at least `needed` rows.
    ///
    /// # Errors
    /// [`Error::TooFew`].
    pub(crate) fn check_rows(&self, metric: &'static str, needed: usize) -> Result<()> {
        if self.len() < needed {
            Err(Error::TooFew { metric, rows: self.len(), needed })
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Features").field("len", &self.len()).field("dim", &self.dim).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_subsets() {
        let features = Features::new((0..12).map(|i| i as f32).collect(), 3).expect("4 rows");
        assert_eq!((features.len(), features.dim(), features.is_empty()), (4, 3, false));
        assert_eq!(features.row(2), Some(&[6.0, 7.0, 8.0][..]));
        assert_eq!(features.row(4), None);
        assert_eq!(features.rows().len(), 4);
        assert_eq!(features.rows().nth(3), Some(&[9.0, 10.0, 11.0][..]));
        assert_eq!(features.take(&[3, 0, 9]).values(), [9.0, 10.0, 11.0, 0.0, 1.0, 2.0]);
        assert_eq!(features.narrow(1, 1).values(), [3.0, 4.0, 5.0]);
        assert_eq!(features.narrow(3, usize::MAX).len(), 1);
        assert!(features.narrow(5, 1).is_empty());
        assert_eq!(format!("{features:?}"), "Features { len: 4, dim: 3 }");
    }

    #[test]
    fn empty_sets_are_allowed() {
        let features = Features::new(vec![], 3).expect("no rows");
        assert!(features.is_empty());
        assert_eq!((features.len(), features.rows().len()), (0, 0));
    }

    #[test]
    fn bad_values_are_errors() {
        let text = |values: Vec<f32>, dim| Features::new(values, dim).expect_err("bad").to_string();
        assert_eq!(text(vec![0.0; 7], 2), "7 values are not rows of 2 features");
        assert_eq!(text(vec![0.0; 7], 0), "7 values are not rows of 0 features");
        assert_eq!(
            text(vec![0.0, f32::NEG_INFINITY], 1),
            "features: value 1 is -inf, not a finite number"
        );
    }
}

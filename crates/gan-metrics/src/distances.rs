//! Distances between all rows of two sets, in tiles, so that memory does not grow with the sets.
//!
//! A matrix product bounds all squared distances from below: `|a|^2 + |b|^2 - 2 a b`, less the
//! possible rounding error. If a bound cannot decide, which is rare, the squared distance is computed
//! from the two rows in f64. The results are therefore those of f64, whatever instruction set the
//! product used.

use crate::error::Result;
use crate::features::Features;
use candle_core::{Device, Storage, Tensor};
use gan_kernels::{Epilogue, Geometry};
use rayon::prelude::*;
use std::sync::Arc;

/// Rows of the first set in a tile.
const TILE_ROWS: usize = 1024;
/// Rows of the second set in a tile.
const TILE_COLUMNS: usize = 2048;
/// Minimum number of rows per task.
const TASK_ROWS: usize = 16;

/// Bounds of the rounding error of a product, relative to the larger mean square of the factors: for
/// 16-bit factors ([`gan_kernels::Precision::High`]), and per addition in f32.
const PRODUCT_ERROR: f32 = 6e-5;
const SUM_ERROR: f32 = 2.4e-7;
/// Bound of the underflow error per feature.
const UNDERFLOW: f32 = 4e-38;

/// One row of the first set against a tile of rows of the second.
pub(crate) struct RowTile<'a> {
    pub(crate) a: &'a Features,
    pub(crate) b: &'a Features,
    /// Index of the row in the first set.
    pub(crate) row: usize,
    /// Index of the tile's first row in the second set.
    pub(crate) first: usize,
    /// For each row of the tile, a lower bound of the squared distance, at least 0.
    pub(crate) lower: &'a [f32],
    row_square: f32,
    squares: &'a [f32],
}

impl RowTile<'_> {
    /// Returns the squared distance to row `j` of the tile.
    pub(crate) fn exact(&self, j: usize) -> f64 {
        let (a, b) = (self.a.row(self.row), self.b.row(self.first + j));
        a.zip(b).map_or(f64::INFINITY, |(a, b)| squared_distance(a, b))
    }

    /// Returns whether the squared distance to row `j` of the tile is below `limit`.
    pub(crate) fn is_below(&self, j: usize, limit: f64) -> bool {
        let lower = self.lower[j];
        // Twice the possible rounding error; comparisons with NaN and infinity are false.
        let slack = 2.0 * relative_error(self.a.dim()) * (self.row_square + self.squares[j])
            + 2.0 * absolute_error(self.a.dim());
        let is_certain = lower > 0.0 && f64::from(lower + slack) < limit;
        f64::from(lower) < limit && (is_certain || self.exact(j) < limit)
    }
}

/// Calls `visit` for each row of `a` with all rows of `b`, tile by tile and in order. Each row of `a`
/// has its own state.
///
/// # Shapes
/// `states`: one per row of `a`.
/// # Errors
/// Sets with different numbers of features; a failed tensor operation.
pub(crate) fn for_each_row<S: Send>(
    a: &Features,
    b: &Features,
    states: &mut [S],
    visit: impl Fn(&mut S, &RowTile) + Sync,
) -> Result<()> {
    a.check_comparable(b)?;
    let dim = a.dim();
    // Centering keeps the distances and reduces rounding.
    let center = center(a);
    let (relative, absolute) = (relative_error(dim), absolute_error(dim));
    for (tile, columns) in b.values().chunks(TILE_COLUMNS * dim).enumerate() {
        let first = tile * TILE_COLUMNS;
        let columns = centered(columns, &center);
        let squares = squares(&columns, dim);
        let columns = self::columns(&columns, dim)?;
        let tiles = a.values().chunks(TILE_ROWS * dim).zip(states.chunks_mut(TILE_ROWS));
        for (tile, (rows, states)) in tiles.enumerate() {
            let rows = centered(rows, &center);
            let row_squares = self::squares(&rows, dim);
            with_product(rows, &columns, dim, |products| {
                let work = states
                    .par_iter_mut()
                    .zip(products.par_chunks(squares.len()))
                    .zip(&row_squares)
                    .enumerate()
                    .with_min_len(TASK_ROWS);
                let scratch = || vec![0.0; squares.len()];
                work.for_each_init(scratch, |lower, (row, ((state, products), &row_square))| {
                    for ((lower, product), square) in lower.iter_mut().zip(products).zip(&squares) {
                        let bound = (1.0 - relative) * (row_square + square) - 2.0 * product;
                        let bound = bound - absolute;
                        // False for infinity and NaN.
                        *lower = if bound < f32::MAX { bound.max(0.0) } else { 0.0 };
                    }
                    let row = tile * TILE_ROWS + row;
                    visit(
                        state,
                        &RowTile { a, b, row, first, lower, row_square, squares: &squares },
                    );
                });
            })?;
        }
    }
    Ok(())
}

/// Calls `f` with the product of the matrices `rows` and `columns`, row-major.
///
/// # Shapes
/// `rows`: (n * dim), `columns`: (dim * m), products: (n * m).
/// # Errors
/// A failed tensor operation.
pub(crate) fn with_product<T>(
    rows: Vec<f32>,
    columns: &Tensor,
    dim: usize,
    f: impl FnOnce(&[f32]) -> T,
) -> Result<T> {
    let shape = (1, 1, rows.len() / dim, dim);
    let rows = Tensor::from_vec(rows, shape, &Device::Cpu)?;
    let geometry = Arc::new(Geometry::dense());
    let plain = Epilogue::NONE;
    let products = gan_kernels::layer(&rows, columns, None, &geometry, plain)?;
    let (storage, layout) = products.storage_and_layout();
    match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(storage), Some((start, end))) => Ok(f(&storage.as_slice()?[start..end])),
        _ => Err(candle_core::Error::Msg("a product that is not on the CPU".into()).into()),
    }
}

/// Transposes rows to the right factor of [`with_product`].
///
/// # Errors
/// A tensor that cannot be created.
pub(crate) fn columns(rows: &[f32], dim: usize) -> Result<Tensor> {
    let count = rows.len() / dim;
    let mut columns = vec![0.0; rows.len()];
    for (j, row) in rows.chunks_exact(dim).enumerate() {
        row.iter().enumerate().for_each(|(k, value)| columns[k * count + j] = *value);
    }
    Ok(Tensor::from_vec(columns, (1, 1, dim, count), &Device::Cpu)?)
}

/// Returns the squared distance of two rows. It is exactly symmetric.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let square = |a: f32, b: f32| (f64::from(a) - f64::from(b)).powi(2);
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_chunks.remainder().iter().zip(b_chunks.remainder());
    let rest: f64 = rest.map(|(a, b)| square(*a, *b)).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a_chunks.zip(b_chunks) {
        (0..LANES).for_each(|i| sums[i] += square(a[i], b[i]));
    }
    sums.iter().sum::<f64>() + rest
}

fn relative_error(dim: usize) -> f32 {
    PRODUCT_ERROR + SUM_ERROR * dim as f32
}

fn absolute_error(dim: usize) -> f32 {
    UNDERFLOW * dim as f32
}

/// Returns the mean row, or zeros if there are no rows.
fn center(features: &Features) -> Vec<f32> {
    let mut sums = vec![0.0f64; features.dim()];
    for row in features.rows() {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let count = features.len().max(1) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

fn centered(values: &[f32], center: &[f32]) -> Vec<f32> {
    let rows = values.chunks_exact(center.len());
    rows.flat_map(|row| row.iter().zip(center).map(|(value, center)| value - center)).collect()
}

fn squares(values: &[f32], dim: usize) -> Vec<f32> {
    let square = |row: &[f32]| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    values.chunks_exact(dim).map(|row| square(row) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(rows: usize, dim: usize, offset: f32) -> Features {
        let value = |k: usize| ((k * k * 31 + k * 17) % 1009) as f32 / 512.0 + offset;
        Features::new((0..rows * dim).map(value).collect(), dim).expect("features")
    }

    /// The lower bounds and whether each pair is below `limit`.
    fn visited(a: &Features, b: &Features, limit: f64) -> Vec<Vec<(f32, bool)>> {
        let mut seen = vec![Vec::new(); a.len()];
        for_each_row(a, b, &mut seen, |seen: &mut Vec<(f32, bool)>, tile| {
            assert_eq!(seen.len(), tile.first);
            let pair = |j| (tile.lower[j], tile.is_below(j, limit));
            seen.extend((0..tile.lower.len()).map(pair));
        })
        .expect("distances");
        seen
    }

    #[test]
    fn squared_distances() {
        assert_eq!(squared_distance(&[1.0, 2.0], &[4.0, -2.0]), 25.0);
        let (a, b) = ([1.5; 19], [-0.5; 19]);
        assert_eq!(squared_distance(&a, &b), 4.0 * 19.0);
    }

    #[test]
    fn bounds_are_near_and_below() {
        // More rows than a tile has, and an offset that a product without a center would feel.
        for (rows, columns, dim, offset) in
            [(TILE_ROWS + 3, TILE_COLUMNS + 5, 32, 100.0), (7, 9, 5, 0.0), (40, 33, 128, -3.0)]
        {
            let (a, b) = (features(rows, dim, offset), features(columns, dim, offset + 0.25));
            let limit = dim as f64 * 0.7;
            for (row, seen) in visited(&a, &b, limit).iter().enumerate() {
                assert_eq!(seen.len(), columns);
                for (column, (lower, is_below)) in seen.iter().enumerate() {
                    let (x, y) = (a.row(row).expect("a row"), b.row(column).expect("a row"));
                    let exact = squared_distance(x, y);
                    let lower = f64::from(*lower);
                    assert!(lower <= exact, "{lower} above {exact}");
                    assert!(lower > exact - 1e-3 * dim as f64, "{lower} for {exact}");
                    assert_eq!(*is_below, exact < limit);
                }
            }
        }
    }

    #[test]
    fn values_that_overflow_or_underflow_in_products() {
        for scale in [1e-30f32, 1e-22, 1e-20, 1e30] {
            let set = Features::new(vec![0.0, 3.0 * scale, -4.0 * scale], 1).expect("features");
            let one = f64::from(scale).powi(2);
            let below = |limit: f64| -> Vec<Vec<bool>> {
                let seen = visited(&set, &set, limit * one);
                let near = f64::from(seen[0][1].0);
                assert!(near < 8.99 * one, "{near} above {one}");
                seen.iter().map(|row| row.iter().map(|(_, below)| *below).collect()).collect()
            };
            assert_eq!(
                below(10.0),
                [[true, true, false], [true, true, false], [false, false, true]],
                "{scale}"
            );
            assert_eq!(below(49.5), [[true; 3]; 3], "{scale}");
        }
    }

    #[test]
    fn different_lengths_are_an_error() {
        let (a, b) = (features(3, 2, 0.0), features(3, 4, 0.0));
        let error = for_each_row(&a, &b, &mut [(); 3], |_, _| {}).expect_err("two lengths");
        assert_eq!(error.to_string(), "rows of 2 features cannot be compared with rows of 4");
    }
}

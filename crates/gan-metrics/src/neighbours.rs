//! Nearest neighbours.

use crate::distances::{RowTile, for_each_row, squared_distance};
use crate::error::Result;
use crate::features::Features;
use rayon::prelude::*;

/// Number of lower bounds that are checked in one pass before each is checked alone.
pub(crate) const SCAN: usize = 64;

/// Returns the distance of each row to its `k`-th nearest neighbour. Equal rows are neighbours at
/// distance 0.
///
/// # Shapes
/// Result: (rows).
/// # Range
/// `k` is at most the number of rows less one; 0 means the row itself.
/// # Errors
/// A set of `k` rows or fewer; a failed tensor operation.
pub fn radii(features: &Features, k: usize) -> Result<Vec<f32>> {
    features.check_rows("distances to neighbours", k.saturating_add(1))?;
    if k == 0 {
        return Ok(vec![0.0; features.len()]);
    }
    let squares = smallest(features, features, k, true)?;
    Ok(squares.chunks_exact(k).map(|squares| squares[k - 1].sqrt() as f32).collect())
}

/// Returns the distance of each row of `a` to the nearest row of `b`. It is exactly 0 for equal rows.
///
/// # Shapes
/// Result: (rows of `a`).
/// # Errors
/// No rows in `b`; sets with different numbers of features; a failed tensor operation.
pub fn nearest(a: &Features, b: &Features) -> Result<Vec<f32>> {
    b.check_rows("distances to the nearest row", 1)?;
    Ok(smallest(a, b, 1, false)?.into_iter().map(|square| square.sqrt() as f32).collect())
}

/// Returns the index of the row of `b` that is nearest to each row of `a`, the first of several.
///
/// It computes the distance of every pair, for a few rows of `a`.
///
/// # Shapes
/// Result: (rows of `a`).
/// # Errors
/// No rows in `b`; sets with different numbers of features.
pub fn nearest_rows(a: &Features, b: &Features) -> Result<Vec<usize>> {
    a.check_comparable(b)?;
    b.check_rows("the nearest row", 1)?;
    let nearest_row = |row: &[f32]| {
        let squares = b.rows().map(|other| squared_distance(row, other)).enumerate();
        squares.min_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(index, _)| index)
    };
    Ok(a.values().par_chunks(a.dim()).map(nearest_row).collect())
}

/// Returns the squared distances of each row of `a` to the `k` nearest rows of `b`, sorted.
/// `is_same` says that both are one set, in which a row is not its own neighbour.
///
/// # Shapes
/// Result: (rows of `a` * k), `k` at least 1; infinity if `b` has too few rows.
/// # Errors
/// Sets with different numbers of features; a failed tensor operation.
pub(crate) fn smallest(a: &Features, b: &Features, k: usize, is_same: bool) -> Result<Vec<f64>> {
    let mut squares = vec![f64::INFINITY; a.len() * k];
    let mut states: Vec<&mut [f64]> = squares.chunks_mut(k).collect();
    for_each_row(a, b, &mut states, |best, tile| improve(best, tile, is_same))?;
    Ok(squares)
}

/// Inserts the distances of a tile that are smaller than the largest of `best`, which stays sorted.
fn improve(best: &mut [f64], tile: &RowTile, is_same: bool) {
    let last = best.len() - 1;
    for (block, bounds) in tile.lower.chunks(SCAN).enumerate() {
        if best[last] == 0.0 {
            return;
        }
        let limit = best[last] as f32;
        if !bounds.iter().fold(false, |any, bound| any | (*bound <= limit)) {
            continue;
        }
        for (j, bound) in (block * SCAN..).zip(bounds) {
            if f64::from(*bound) >= best[last] || is_same && tile.first + j == tile.row {
                continue;
            }
            let square = tile.exact(j);
            if square < best[last] {
                let place = best.partition_point(|other| *other <= square);
                best[place..].rotate_right(1);
                best[place] = square;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[f32]) -> Features {
        Features::new(values.to_vec(), 1).expect("features")
    }

    fn features(rows: usize, dim: usize, seed: usize) -> Features {
        let value = |k: usize| ((k * k * 31 + k * seed) % 1009) as f32 / 512.0;
        Features::new((0..rows * dim).map(value).collect(), dim).expect("features")
    }

    /// All squared distances of each row to others, in order.
    fn sorted(a: &Features, b: &Features, is_same: bool) -> Vec<Vec<f64>> {
        let of_row = |(i, x): (usize, &[f32])| {
            let others = b.rows().enumerate().filter(|(j, _)| !is_same || i != *j);
            let mut squares: Vec<f64> = others.map(|(_, y)| squared_distance(x, y)).collect();
            squares.sort_by(f64::total_cmp);
            squares
        };
        a.rows().enumerate().map(of_row).collect()
    }

    #[test]
    fn points_on_a_line() {
        let set = line(&[0.0, 1.0, 3.0, 7.0]);
        assert_eq!(radii(&set, 0).expect("radii"), [0.0; 4]);
        assert_eq!(radii(&set, 1).expect("radii"), [1.0, 1.0, 2.0, 4.0]);
        assert_eq!(radii(&set, 2).expect("radii"), [3.0, 2.0, 3.0, 6.0]);
        assert_eq!(radii(&set, 3).expect("radii"), [7.0, 6.0, 4.0, 7.0]);
        let near = nearest(&line(&[-2.0, 3.0, 5.5]), &set).expect("distances");
        assert_eq!(near, [2.0, 0.0, 1.5]);
        assert_eq!(nearest(&line(&[]), &set).expect("none"), [0.0f32; 0]);
        assert_eq!(nearest_rows(&line(&[-2.0, 3.0, 5.5, 2.0]), &set).expect("rows"), [0, 2, 3, 1]);
    }

    #[test]
    fn the_nearest_may_come_last() {
        let mut values = vec![2.0; 200];
        (values[0], values[199]) = (1.0, 0.5);
        assert_eq!(nearest(&line(&[0.0]), &line(&values)).expect("distances"), [0.5]);
    }

    #[test]
    fn equal_rows_are_neighbours() {
        let set = line(&[5.0, 5.0, 5.0, 6.0]);
        assert_eq!(radii(&set, 1).expect("radii"), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(radii(&set, 2).expect("radii"), [0.0, 0.0, 0.0, 1.0]);
        assert_eq!(radii(&set, 3).expect("radii"), [1.0; 4]);
    }

    #[test]
    fn equal_to_brute_force() {
        // Several tiles, distances that tie.
        for (rows, dim) in [(2100, 6), (300, 130)] {
            let (a, b) = (features(rows, dim, 17), features(rows - 111, dim, 29));
            for k in [1, 3, 7] {
                let got = smallest(&a, &a, k, true).expect("distances");
                for (got, wanted) in got.chunks(k).zip(sorted(&a, &a, true)) {
                    assert_eq!(got, &wanted[..k]);
                }
            }
            let got = nearest(&a, &b).expect("distances");
            for (got, wanted) in got.iter().zip(sorted(&a, &b, false)) {
                assert_eq!(*got, wanted[0].sqrt() as f32);
            }
        }
    }

    #[test]
    fn copies_far_from_the_center_are_found() {
        let mut values: Vec<f32> = features(50, 64, 17).values().to_vec();
        values[64..128].iter_mut().for_each(|value| *value += 1000.0);
        let set = Features::new(values, 64).expect("features");
        assert_eq!(nearest(&set.take(&[1, 7]), &set).expect("distances"), [0.0, 0.0]);
    }

    #[test]
    fn bad_input_is_an_error() {
        let text = |result: Result<Vec<f32>>| result.expect_err("bad").to_string();
        assert_eq!(
            text(radii(&line(&[1.0, 2.0]), 2)),
            "distances to neighbours: too few rows, 2 of at least 3"
        );
        assert!(radii(&line(&[1.0]), usize::MAX).is_err());
        assert_eq!(
            text(nearest(&line(&[1.0]), &line(&[]))),
            "distances to the nearest row: too few rows, 0 of at least 1"
        );
        let error = nearest_rows(&line(&[1.0]), &line(&[])).expect_err("bad").to_string();
        assert_eq!(error, "the nearest row: too few rows, 0 of at least 1");
        assert!(nearest_rows(&line(&[1.0]), &features(3, 2, 17)).is_err());
        assert_eq!(
            text(nearest(&line(&[1.0]), &features(3, 2, 17))),
            "rows of 1 features cannot be compared with rows of 2"
        );
    }
}

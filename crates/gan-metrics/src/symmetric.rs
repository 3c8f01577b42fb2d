//! Eigenvalues and eigenvectors of symmetric matrices: Householder's reduction to a tridiagonal
//! matrix, then the QL algorithm with implicit shifts.
//!
//! Bowdler, Martin, Reinsch and Wilkinson 1968, "The QR and QL algorithms for symmetric
//! matrices"; Golub and Van Loan, "Matrix computations", chapter 8.

use crate::error::{Error, Result};

/// Steps for one eigenvalue; two are usual.
const MAX_STEPS: usize = 60;
/// The size below which what stands on the diagonal is not told from 0, as a share of the largest
/// value: where a matrix has no full rank, all that is left of it is rounding, which never settles.
const NEGLIGIBLE: f64 = 1e-3;

/// A symmetric matrix taken apart: `matrix = vectors^T * diag(values) * vectors`.
#[derive(Clone, Debug)]
pub(crate) struct Eigen {
    /// In no order.
    pub(crate) values: Vec<f64>,
    /// Row after row, the eigenvector of each value, of length 1.
    pub(crate) vectors: Vec<f64>,
}

/// Takes a symmetric matrix apart, of which the lower triangle counts.
///
/// # Shapes
/// `matrix`: (n * n), row after row.
/// # Range
/// Values agree with the exact ones within a small multiple of the largest one's rounding.
/// # Errors
/// A matrix with values that are not finite.
pub(crate) fn eigen(mut matrix: Vec<f64>, n: usize) -> Result<Eigen> {
    if !matrix.iter().all(|value| value.is_finite()) {
        return Err(Error::Eigenvalues);
    }
    let scale = matrix.iter().fold(0.0f64, |scale, value| scale.max(value.abs()));
    let mut vectors = vec![0.0; n * n];
    (0..n).for_each(|i| vectors[i * n + i] = 1.0);
    if scale == 0.0 {
        return Ok(Eigen { values: vec![0.0; n], vectors });
    }
    // So that no square overflows or vanishes.
    matrix.iter_mut().for_each(|value| *value /= scale);
    let (mut diagonal, mut beside) = tridiagonal(&mut matrix, &mut vectors, n);
    ql(&mut diagonal, &mut beside, &mut vectors)?;
    diagonal.iter_mut().for_each(|value| *value *= scale);
    Ok(Eigen { values: diagonal, vectors })
}

/// The diagonal of a tridiagonal matrix with the same eigenvalues, and what stands beside it (the
/// last is 0). The reflections that lead there are applied to the rows of `vectors`.
fn tridiagonal(matrix: &mut [f64], vectors: &mut [f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut beside = vec![0.0; n];
    for k in 0..n.saturating_sub(1) {
        let first = k + 1;
        let mut v: Vec<f64> = (first..n).map(|i| matrix[i * n + k]).collect();
        let below: f64 = v[1..].iter().map(|x| x * x).sum();
        beside[k] = v[0];
        if below == 0.0 {
            continue;
        }
        // The reflection I - 2 v v^T / (v^T v) that turns the column into (-sign * norm, 0, ...).
        let norm = (v[0] * v[0] + below).sqrt();
        beside[k] = -norm.copysign(v[0]);
        v[0] -= beside[k];
        let square = v[0] * v[0] + below;
        // From both sides, on the matrix that is left: A - v w^T - w v^T.
        let mut w: Vec<f64> = (first..n)
            .map(|i| 2.0 / square * dot(&matrix[i * n + first..][..n - first], &v))
            .collect();
        let along = dot(&v, &w) / square;
        w.iter_mut().zip(&v).for_each(|(w, v)| *w -= along * v);
        for i in 0..v.len() {
            let row = &mut matrix[(first + i) * n + first..][..n - first];
            for ((value, v_j), w_j) in row.iter_mut().zip(&v).zip(&w) {
                *value -= v[i] * w_j + w[i] * v_j;
            }
        }
        // From one side on the vectors: Q - 2 v (v^T Q) / (v^T v).
        let mut projection = vec![0.0; n];
        for (v, row) in v.iter().zip(vectors[first * n..].chunks_exact(n)) {
            projection.iter_mut().zip(row).for_each(|(sum, x)| *sum += 2.0 / square * v * x);
        }
        for (v, row) in v.iter().zip(vectors[first * n..].chunks_exact_mut(n)) {
            row.iter_mut().zip(&projection).for_each(|(x, p)| *x -= v * p);
        }
    }
    ((0..n).map(|i| matrix[i * n + i]).collect(), beside)
}

/// Rotates what stands beside the diagonal away, and the rows of `vectors` along.
fn ql(diagonal: &mut [f64], beside: &mut [f64], vectors: &mut [f64]) -> Result<()> {
    let n = diagonal.len();
    for l in 0..n {
        let mut steps = 0;
        loop {
            let small = |m: &usize| {
                let near = diagonal[*m].abs() + diagonal[m + 1].abs();
                beside[*m].abs() <= f64::EPSILON * near.max(NEGLIGIBLE)
            };
            let m = (l..n - 1).find(small).unwrap_or(n - 1);
            if m == l {
                break;
            }
            steps += 1;
            if steps > MAX_STEPS {
                return Err(Error::Eigenvalues);
            }
            step(diagonal, beside, vectors, l, m);
        }
    }
    Ok(())
}

/// One QL step on rows `l` to `m`, shifted by the eigenvalue of the first two that is nearer to
/// the first.
fn step(diagonal: &mut [f64], beside: &mut [f64], vectors: &mut [f64], l: usize, m: usize) {
    let n = diagonal.len();
    let slope = (diagonal[l + 1] - diagonal[l]) / (2.0 * beside[l]);
    let shift = beside[l] / (slope + slope.hypot(1.0).copysign(slope));
    let mut g = diagonal[m] - diagonal[l] + shift;
    let (mut sine, mut cosine, mut change) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let (f, b) = (sine * beside[i], cosine * beside[i]);
        let r = f.hypot(g);
        beside[i + 1] = r;
        if r == 0.0 {
            diagonal[i + 1] -= change;
            beside[m] = 0.0;
            return;
        }
        (sine, cosine) = (f / r, g / r);
        g = diagonal[i + 1] - change;
        let r = (diagonal[i] - g) * sine + 2.0 * cosine * b;
        change = sine * r;
        diagonal[i + 1] = g + change;
        g = cosine * r - b;
        let (upper, lower) = vectors[i * n..(i + 2) * n].split_at_mut(n);
        for (x, y) in upper.iter_mut().zip(lower) {
            (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
        }
    }
    diagonal[l] -= change;
    beside[l] = g;
    beside[m] = 0.0;
}

/// The sum of products, in an order of its own.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0; LANES];
    for (a, b) in a_chunks.zip(b_chunks) {
        (0..LANES).for_each(|i| sums[i] += a[i] * b[i]);
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(matrix: &[f64], n: usize) -> Vec<f64> {
        let mut values = eigen(matrix.to_vec(), n).expect("eigenvalues").values;
        values.sort_by(f64::total_cmp);
        values
    }

    /// What rounding leaves of a matrix without full rank comes to an end too.
    #[test]
    fn a_matrix_of_one_row() {
        let n = 128;
        let row: Vec<f64> = (0..n).map(|i| (i as f64 * 0.37).sin() * 1e-3).collect();
        let noise = |i: usize, j: usize| ((i * j * 29 + i + j) % 97) as f64 * 1e-21;
        let value = |k: usize| row[k / n] * row[k % n] + noise(k / n, k % n);
        let values = sorted(&(0..n * n).map(value).collect::<Vec<_>>(), n);
        let length: f64 = row.iter().map(|x| x * x).sum();
        assert!((values[n - 1] / length - 1.0).abs() < 1e-12, "{values:?}");
        assert!(values[..n - 1].iter().all(|value| value.abs() < 1e-13 * length), "{values:?}");
    }

    fn assert_near(got: &[f64], wanted: &[f64]) {
        assert_eq!(got.len(), wanted.len());
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((got - wanted).abs() < 1e-12, "{got}, not {wanted}");
        }
    }

    #[test]
    fn known_eigenvalues() {
        assert_near(&sorted(&[3.0], 1), &[3.0]);
        assert_near(&sorted(&[2.0, 1.0, 1.0, 2.0], 2), &[1.0, 3.0]);
        assert_near(&sorted(&[0.0; 9], 3), &[0.0; 3]);
        assert_near(&sorted(&[1.0; 16], 4), &[0.0, 0.0, 0.0, 4.0]);
        let diagonal = [5.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 2.0];
        assert_near(&sorted(&diagonal, 3), &[-1.0, 2.0, 5.0]);
        // The second difference of n points: 2 - 2 cos(i pi / (n + 1)).
        let n = 9;
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            matrix[i * n + i] = 2.0;
            if i > 0 {
                matrix[i * n + i - 1] = -1.0;
                matrix[(i - 1) * n + i] = -1.0;
            }
        }
        let angle = |i: usize| std::f64::consts::PI * i as f64 / (n + 1) as f64;
        let wanted: Vec<f64> = (1..=n).map(|i| 2.0 - 2.0 * angle(i).cos()).collect();
        assert_near(&sorted(&matrix, n), &wanted);
    }

    #[test]
    fn parts_make_the_matrix_again() {
        for n in [1, 2, 3, 17, 40] {
            let at = |i: usize, j: usize| (((i + j) * 37 + i * j * 11) % 23) as f64 / 23.0 - 0.4;
            let matrix: Vec<f64> = (0..n * n).map(|k| at(k / n, k % n)).collect();
            let Eigen { values, vectors } = eigen(matrix.clone(), n).expect("eigenvalues");
            for i in 0..n {
                for j in 0..n {
                    let sum = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
                    let value = sum(&|k| values[k] * vectors[k * n + i] * vectors[k * n + j]);
                    assert!((value - matrix[i * n + j]).abs() < 1e-12, "{n} {i} {j}");
                    let unit = sum(&|k| vectors[i * n + k] * vectors[j * n + k]);
                    assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-12, "{n} {i} {j}");
                }
            }
        }
    }

    #[test]
    fn a_column_that_is_nearly_reduced() {
        let matrix = [0.0, 1.0, 1e-9, 1.0, 2.0, 3.0, 1e-9, 3.0, 5.0];
        let Eigen { values, vectors } = eigen(matrix.to_vec(), 3).expect("eigenvalues");
        let corner: f64 = (0..3).map(|k| values[k] * vectors[k * 3] * vectors[k * 3 + 2]).sum();
        assert!((corner - 1e-9).abs() < 1e-14, "{corner}");
    }

    #[test]
    fn extremes() {
        let scaled = |by: f64| sorted(&[2.0, 1.0, 1.0, 2.0].map(|x: f64| x * by), 2);
        for by in [1e-300, 1e300] {
            assert_near(&scaled(by).iter().map(|x| x / by).collect::<Vec<_>>(), &[1.0, 3.0]);
        }
        assert!(eigen(vec![f64::NAN; 4], 2).is_err());
        assert!(eigen(vec![f64::INFINITY; 4], 2).is_err());
        assert!(eigen(vec![], 0).expect("nothing").values.is_empty());
    }
}

//! Precision, recall, density and coverage (PRDC).
//!
//! Around each row lies a ball that reaches to the row's k-th nearest neighbour in the same set. The
//! scores count which rows of one set lie in balls of the other.

use crate::distances::{RowTile, for_each_row};
use crate::error::Result;
use crate::features::Features;
use crate::neighbours::{SCAN, smallest};
use std::sync::atomic::{AtomicBool, Ordering};

/// The k of precision and recall (Kynkäänniemi et al. 2019).
pub const PRECISION_NEIGHBOURS: usize = 3;
/// The k of density and coverage (Naeem et al. 2020).
pub const DENSITY_NEIGHBOURS: usize = 5;

/// A set of rows with the distances to their nearest neighbours.
///
/// Finding the neighbours is the slowest part of the metric, so prepare a reference set once.
#[derive(Clone, Debug)]
pub struct Manifold {
    features: Features,
    /// Squared distances to the nearest neighbours, (rows * DENSITY_NEIGHBOURS).
    squares: Vec<f64>,
}

impl Manifold {
    /// Finds the nearest neighbours of every row.
    ///
    /// # Errors
    /// Fewer than 6 rows; a failed tensor operation.
    pub fn from_features(features: &Features) -> Result<Self> {
        features.check_rows("precision and density", DENSITY_NEIGHBOURS + 1)?;
        let squares = smallest(features, features, DENSITY_NEIGHBOURS, true)?;
        Ok(Self { features: features.clone(), squares })
    }

    /// Returns the rows.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Returns the distance of each row to its `k`-th nearest neighbour. `k` is clamped to 1 to
    /// [`DENSITY_NEIGHBOURS`].
    ///
    /// # Shapes
    /// Result: (rows).
    pub fn radii(&self, k: usize) -> Vec<f32> {
        let rows = self.squares.chunks_exact(DENSITY_NEIGHBOURS);
        rows.map(|squares| squares[index(k)].sqrt() as f32).collect()
    }
}

/// Precision, recall, density and coverage. All but `density` are fractions in [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prdc {
    /// Fraction of fake rows in the ball of a real row: whether generated images look real.
    pub precision: f64,
    /// Fraction of real rows in the ball of a fake row: whether the generator covers the real images.
    pub recall: f64,
    /// Mean number of real balls that a fake row lies in, divided by k; at least 0. It is 1 for two
    /// sets of one distribution, and larger if the fake rows crowd where real rows are dense.
    pub density: f64,
    /// Fraction of real rows whose ball contains a fake row.
    pub coverage: f64,
}

/// Computes precision, recall, density and coverage of a generated set.
///
/// Balls are open, as in Naeem et al.'s program. Kynkäänniemi et al. use closed balls; the results
/// differ only if distances tie.
///
/// # Errors
/// Fewer than 4 fake rows; sets with different numbers of features; a failed tensor operation.
/// # Reference
/// Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative
/// models"; Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models".
pub fn prdc(real: &Manifold, fake: &Features) -> Result<Prdc> {
    prdc_with(real, fake, PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS)
}

/// [`prdc`] with other values of k, each from 1 to [`DENSITY_NEIGHBOURS`].
pub(crate) fn prdc_with(
    real: &Manifold,
    fake: &Features,
    precision_k: usize,
    density_k: usize,
) -> Result<Prdc> {
    real.features.check_comparable(fake)?;
    fake.check_rows("precision and recall", precision_k + 1)?;
    let fake_squares = smallest(fake, fake, precision_k, true)?;
    let fake_squares: Vec<f64> =
        fake_squares.chunks_exact(precision_k).map(|squares| squares[precision_k - 1]).collect();
    let reach = Reach {
        bounds: fake_squares.iter().map(|square| *square as f32).collect(),
        squares: fake_squares,
        found: fake.rows().map(|_| AtomicBool::new(false)).collect(),
    };
    let ball = |squares: &[f64]| Ball {
        precise: squares[index(precision_k)],
        dense: squares[index(density_k)],
        inside: 0,
        is_recalled: false,
    };
    let mut balls: Vec<Ball> = real.squares.chunks_exact(DENSITY_NEIGHBOURS).map(ball).collect();
    for_each_row(&real.features, fake, &mut balls, |ball, tile| ball.visit(tile, &reach))?;

    let (reals, fakes) = (balls.len() as f64, fake.len() as f64);
    let fraction =
        |is_so: fn(&Ball) -> bool| balls.iter().filter(|ball| is_so(ball)).count() as f64 / reals;
    let found = reach.found.iter().filter(|found| found.load(Ordering::Relaxed)).count();
    let inside: u64 = balls.iter().map(|ball| ball.inside).sum();
    Ok(Prdc {
        precision: found as f64 / fakes,
        recall: fraction(|ball| ball.is_recalled),
        density: inside as f64 / (density_k as f64 * fakes),
        coverage: fraction(|ball| ball.inside > 0),
    })
}

fn index(k: usize) -> usize {
    k.clamp(1, DENSITY_NEIGHBOURS) - 1
}

/// The balls of the fake rows, and which of their centers lie in a real ball.
struct Reach {
    squares: Vec<f64>,
    /// The same as f32, to compare with lower bounds.
    bounds: Vec<f32>,
    found: Vec<AtomicBool>,
}

/// The squared radii of the balls around one real row, and what was found in them.
struct Ball {
    precise: f64,
    dense: f64,
    /// Number of fake rows in the ball of radius `dense`.
    inside: u64,
    /// Whether the row lies in a fake ball.
    is_recalled: bool,
}

impl Ball {
    fn visit(&mut self, tile: &RowTile, reach: &Reach) {
        let own = self.precise.max(self.dense);
        let own_bound = own as f32;
        let reaches = &reach.bounds[tile.first..][..tile.lower.len()];
        for (block, (bounds, reaches)) in
            tile.lower.chunks(SCAN).zip(reaches.chunks(SCAN)).enumerate()
        {
            let in_own = bounds.iter().fold(false, |any, bound| any | (*bound <= own_bound));
            let in_other = !self.is_recalled
                && bounds.iter().zip(reaches).fold(false, |any, (b, reach)| any | (b <= reach));
            if !in_own && !in_other {
                continue;
            }
            for j in block * SCAN..block * SCAN + bounds.len() {
                let fake = tile.first + j;
                self.is_recalled = self.is_recalled || tile.is_below(j, reach.squares[fake]);
                if f64::from(tile.lower[j]) >= own {
                    continue;
                }
                self.inside += u64::from(tile.is_below(j, self.dense));
                if tile.is_below(j, self.precise) {
                    reach.found[fake].store(true, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn line(values: impl IntoIterator<Item = f32>) -> Features {
        Features::new(values.into_iter().collect(), 1).expect("features")
    }

    fn of(real: &Features, fake: &Features) -> Prdc {
        prdc(&Manifold::from_features(real).expect("a manifold"), fake).expect("scores")
    }

    fn features(rows: usize, dim: usize, seed: usize) -> Features {
        let value = |k: usize| ((k * k * 31 + k * seed) % 1009) as f32 / 512.0;
        Features::new((0..rows * dim).map(value).collect(), dim).expect("features")
    }

    #[test]
    fn points_on_a_line() {
        let real = line([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        let manifold = Manifold::from_features(&real).expect("a manifold");
        assert_eq!(manifold.radii(3), [4.0, 3.0, 2.0, 4.0, 7.0, 14.0, 28.0]);
        assert_eq!(manifold.radii(5), [16.0, 15.0, 14.0, 12.0, 8.0, 16.0, 31.0]);
        assert_eq!(manifold.features(), &real);
        let fake = line([-8.0, 22.0, 100.0, 110.5, 120.5]);
        let scores = prdc(&manifold, &fake).expect("scores");
        // To third neighbours, only 22 is in a ball: those of 16 and 32.
        assert_eq!(scores.precision, 0.2);
        // The third neighbour of 22 is at 110.5, so its ball holds all.
        assert_eq!(scores.recall, 1.0);
        // To fifth ones, 22 is in the same two, -8 in those of 0, 1 and 2, and on the rim of 4's.
        assert_eq!(scores.density, 5.0 / (5.0 * 5.0));
        assert_eq!(scores.coverage, 5.0 / 7.0);
    }

    #[test]
    fn recall_uses_the_balls_of_the_fakes() {
        // Balls of 30, 20, 20 and 30 around 100, 110, 120 and 130: from 70 to 160, open.
        let fake = line([100.0, 110.0, 120.0, 130.0]);
        let real = line([10.0, 69.0, 70.0, 71.0, 105.0, 159.0, 160.0, 161.0]);
        let scores = of(&real, &fake);
        assert_eq!(scores.recall, 3.0 / 8.0);
    }

    #[test]
    fn a_set_and_itself() {
        for (rows, dim) in [(2200, 3), (300, 128)] {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            let values = (0..rows * dim).map(|_| rng.random()).collect();
            let set = Features::new(values, dim).expect("features");
            let Prdc { precision, recall, density, coverage } = of(&set, &set);
            // Each ball holds its centre and all neighbours but the last.
            assert_eq!((precision, recall, density, coverage), (1.0, 1.0, 1.0, 1.0));
        }
    }

    #[test]
    fn two_halves_of_one_distribution() {
        let set = features(2000, 4, 17);
        let scores = of(&set.narrow(0, 1000), &set.narrow(1000, 1000));
        let Prdc { precision, recall, density, coverage } = scores;
        assert!(precision > 0.7 && recall > 0.7 && coverage > 0.9, "{scores:?}");
        assert!((density - 1.0).abs() < 0.15, "{scores:?}");
    }

    #[test]
    fn a_collapsed_set_is_precise_and_recalls_nothing() {
        let real = features(500, 4, 17);
        let scores = of(&real, &real.take(&[7; 100]));
        assert_eq!((scores.precision, scores.recall), (1.0, 0.0));
        assert!(scores.coverage < 0.05, "{scores:?}");
    }

    #[test]
    fn distant_sets_score_zero() {
        let real = features(200, 4, 17);
        let far = real.values().iter().map(|value| value + 50.0).collect();
        let far = Features::new(far, 4).expect("features");
        let Prdc { precision, recall, density, coverage } = of(&real, &far);
        assert_eq!((precision, recall, density, coverage), (0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn bad_input_is_an_error() {
        let text = |result: Result<Prdc>| result.expect_err("bad").to_string();
        let error = Manifold::from_features(&features(5, 2, 17)).expect_err("too few").to_string();
        assert_eq!(error, "precision and density: too few rows, 5 of at least 6");
        let real = Manifold::from_features(&features(6, 2, 17)).expect("a manifold");
        assert_eq!(
            text(prdc(&real, &features(3, 2, 17))),
            "precision and recall: too few rows, 3 of at least 4"
        );
        assert_eq!(
            text(prdc(&real, &features(9, 3, 17))),
            "rows of 2 features cannot be compared with rows of 3"
        );
    }
}

//! Precision, recall, density and coverage: what two sets share, told from balls around their
//! rows that reach to the k-th nearest other row of the same set.

use crate::distances::{Stretch, for_each_row};
use crate::error::Result;
use crate::features::Features;
use crate::neighbours::{GLANCE, smallest};
use std::sync::atomic::{AtomicBool, Ordering};

/// Neighbours that a ball holds for precision and recall (Kynkäänniemi et al. 2019).
pub const PRECISION_NEIGHBOURS: usize = 3;
/// Neighbours that a ball holds for density and coverage (Naeem et al. 2020).
pub const DENSITY_NEIGHBOURS: usize = 5;

/// A set of rows with the distances to their nearest neighbours, which take the longest to find:
/// to be made once for a set that others are compared with.
#[derive(Clone, Debug)]
pub struct Manifold {
    features: Features,
    /// (rows * DENSITY_NEIGHBOURS).
    squares: Vec<f64>,
}

impl Manifold {
    /// Finds the nearest neighbours of every row.
    ///
    /// # Errors
    /// Fewer than 6 rows; a product that failed.
    pub fn of(features: &Features) -> Result<Self> {
        features.check_rows("precision and density", DENSITY_NEIGHBOURS + 1)?;
        let squares = smallest(features, features, DENSITY_NEIGHBOURS, true)?;
        Ok(Self { features: features.clone(), squares })
    }

    /// The rows.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The distance of each row to its `k`-th nearest other row, `k` from 1 to
    /// [`DENSITY_NEIGHBOURS`]; smaller ones count as 1, larger ones as the largest.
    ///
    /// # Shapes
    /// Result: (rows).
    pub fn radii(&self, k: usize) -> Vec<f32> {
        let rows = self.squares.chunks_exact(DENSITY_NEIGHBOURS);
        rows.map(|squares| squares[index(k)].sqrt() as f32).collect()
    }
}

/// How much of one set is in the other. Each is a share in [0, 1], but for `density`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ManifoldScores {
    /// Fake rows that lie in the ball of a real one: whether what is generated looks real.
    pub precision: f64,
    /// Real rows that lie in the ball of a fake one: whether all that is real is generated.
    pub recall: f64,
    /// In how many balls of real rows a fake row lies, over the neighbours of a ball: 1 for two
    /// sets of one distribution, more where the fakes are crowded; at least 0.
    pub density: f64,
    /// Real rows whose ball holds a fake row.
    pub coverage: f64,
}

/// Compares a generated set with a real one. A row lies in a ball that is nearer to its centre
/// than the radius, as in Naeem et al.'s program; with "not farther", as in Kynkäänniemi et al.,
/// scores differ only where distances tie.
///
/// # Errors
/// Fewer than 4 fake rows; rows of two lengths; a product that failed.
/// # Reference
/// Kynkäänniemi et al. 2019, "Improved precision and recall metric for assessing generative
/// models"; Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models".
pub fn manifold_scores(real: &Manifold, fake: &Features) -> Result<ManifoldScores> {
    scores(real, fake, PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS)
}

/// [`manifold_scores`] with balls of other sizes, each from 1 to [`DENSITY_NEIGHBOURS`].
pub(crate) fn scores(
    real: &Manifold,
    fake: &Features,
    precision_k: usize,
    density_k: usize,
) -> Result<ManifoldScores> {
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
    for_each_row(&real.features, fake, &mut balls, |ball, stretch| ball.visit(stretch, &reach))?;

    let (reals, fakes) = (balls.len() as f64, fake.len() as f64);
    let share =
        |is_so: fn(&Ball) -> bool| balls.iter().filter(|ball| is_so(ball)).count() as f64 / reals;
    let found = reach.found.iter().filter(|found| found.load(Ordering::Relaxed)).count();
    let inside: u64 = balls.iter().map(|ball| ball.inside).sum();
    Ok(ManifoldScores {
        precision: found as f64 / fakes,
        recall: share(|ball| ball.is_recalled),
        density: inside as f64 / (density_k as f64 * fakes),
        coverage: share(|ball| ball.inside > 0),
    })
}

fn index(k: usize) -> usize {
    k.clamp(1, DENSITY_NEIGHBOURS) - 1
}

/// The fake rows' balls, and which of their centres are in a real row's.
struct Reach {
    squares: Vec<f64>,
    /// The same in less digits, to compare with bounds.
    bounds: Vec<f32>,
    found: Vec<AtomicBool>,
}

/// The balls around one real row, squared, and what was met.
struct Ball {
    precise: f64,
    dense: f64,
    /// Fake rows in the ball of `dense`.
    inside: u64,
    /// Whether the row is in a fake row's ball.
    is_recalled: bool,
}

impl Ball {
    fn visit(&mut self, stretch: &Stretch, reach: &Reach) {
        let own = self.precise.max(self.dense);
        let own_bound = own as f32;
        let reaches = &reach.bounds[stretch.first..][..stretch.lower.len()];
        for (glance, (bounds, reaches)) in
            stretch.lower.chunks(GLANCE).zip(reaches.chunks(GLANCE)).enumerate()
        {
            let in_own = bounds.iter().fold(false, |any, bound| any | (*bound <= own_bound));
            let in_other = !self.is_recalled
                && bounds.iter().zip(reaches).fold(false, |any, (b, reach)| any | (b <= reach));
            if !in_own && !in_other {
                continue;
            }
            for j in glance * GLANCE..glance * GLANCE + bounds.len() {
                let fake = stretch.first + j;
                self.is_recalled = self.is_recalled || stretch.is_below(j, reach.squares[fake]);
                if f64::from(stretch.lower[j]) >= own {
                    continue;
                }
                self.inside += u64::from(stretch.is_below(j, self.dense));
                if stretch.is_below(j, self.precise) {
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

    fn of(real: &Features, fake: &Features) -> ManifoldScores {
        manifold_scores(&Manifold::of(real).expect("a manifold"), fake).expect("scores")
    }

    fn features(rows: usize, dim: usize, seed: usize) -> Features {
        let value = |k: usize| ((k * k * 31 + k * seed) % 1009) as f32 / 512.0;
        Features::new((0..rows * dim).map(value).collect(), dim).expect("features")
    }

    #[test]
    fn points_on_a_line() {
        let real = line([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
        let manifold = Manifold::of(&real).expect("a manifold");
        assert_eq!(manifold.radii(3), [4.0, 3.0, 2.0, 4.0, 7.0, 14.0, 28.0]);
        assert_eq!(manifold.radii(5), [16.0, 15.0, 14.0, 12.0, 8.0, 16.0, 31.0]);
        assert_eq!(manifold.features(), &real);
        let fake = line([-8.0, 22.0, 100.0, 110.5, 120.5]);
        let scores = manifold_scores(&manifold, &fake).expect("scores");
        // To third neighbours, only 22 is in a ball: those of 16 and 32.
        assert_eq!(scores.precision, 0.2);
        // The third neighbour of 22 is at 110.5, so its ball holds all.
        assert_eq!(scores.recall, 1.0);
        // To fifth ones, 22 is in the same two, -8 in those of 0, 1 and 2, and on the rim of 4's.
        assert_eq!(scores.density, 5.0 / (5.0 * 5.0));
        assert_eq!(scores.coverage, 5.0 / 7.0);
    }

    #[test]
    fn recall_is_of_the_fakes_balls() {
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
            let ManifoldScores { precision, recall, density, coverage } = of(&set, &set);
            // Each ball holds its centre and all neighbours but the last.
            assert_eq!((precision, recall, density, coverage), (1.0, 1.0, 1.0, 1.0));
        }
    }

    #[test]
    fn two_halves_of_one_distribution() {
        let set = features(2000, 4, 17);
        let scores = of(&set.narrow(0, 1000), &set.narrow(1000, 1000));
        let ManifoldScores { precision, recall, density, coverage } = scores;
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
    fn a_set_far_away_shares_nothing() {
        let real = features(200, 4, 17);
        let far = real.values().iter().map(|value| value + 50.0).collect();
        let far = Features::new(far, 4).expect("features");
        let ManifoldScores { precision, recall, density, coverage } = of(&real, &far);
        assert_eq!((precision, recall, density, coverage), (0.0, 0.0, 0.0, 0.0));
    }

    #[test]
    fn bad_input_is_refused() {
        let text = |result: Result<ManifoldScores>| result.expect_err("bad").to_string();
        let error = Manifold::of(&features(5, 2, 17)).expect_err("too few").to_string();
        assert_eq!(error, "precision and density: too few rows, 5 of at least 6");
        let real = Manifold::of(&features(6, 2, 17)).expect("a manifold");
        assert_eq!(
            text(manifold_scores(&real, &features(3, 2, 17))),
            "precision and recall: too few rows, 3 of at least 4"
        );
        assert_eq!(
            text(manifold_scores(&real, &features(9, 3, 17))),
            "rows of 2 features cannot be compared with rows of 3"
        );
    }
}

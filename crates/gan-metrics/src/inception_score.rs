//! The Inception score.

use crate::error::{Error, Result};
use crate::features::Features;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The Inception score of a set, over its splits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InceptionScore {
    /// Mean over the splits.
    pub mean: f64,
    /// Standard deviation over the splits, with divisor n.
    pub std: f64,
}

/// Returns the Inception score, `exp(mean of KL(p(y|x) || p(y)))`, where `p(y|x)` is a row of
/// probabilities and `p(y)` the mean of all rows.
///
/// The rows are put into an order that the seed determines and cut into `splits` equal parts, up to one
/// row; 10 are usual. The score of each is computed alone. Scores of few rows are smaller.
///
/// # Shapes
/// `probabilities`: N rows, one value per class.
/// # Range
/// 1 to the number of classes. `splits` of 0 counts as 1.
/// # Errors
/// Fewer rows than splits.
/// # Reference
/// Salimans et al. 2016, "Improved techniques for training GANs".
pub fn inception_score(
    probabilities: &Features,
    splits: usize,
    seed: u64,
) -> Result<InceptionScore> {
    let (rows, splits) = (probabilities.len(), splits.max(1));
    if rows < splits {
        return Err(Error::TooFew { metric: "Inception score", rows, needed: splits });
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    let part = |i: usize| &order[i * rows / splits..(i + 1) * rows / splits];
    let scores: Vec<f64> = (0..splits).map(|i| score(&probabilities.take(part(i)))).collect();
    let mean = scores.iter().sum::<f64>() / splits as f64;
    let variance = scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / splits as f64;
    Ok(InceptionScore { mean, std: variance.sqrt() })
}

/// Returns the score of one split: the mean of `sum p log p` of the rows less that of their mean.
fn score(probabilities: &Features) -> f64 {
    let negative_entropy = |p: f64| if p > 0.0 { p * p.ln() } else { 0.0 };
    let rows = probabilities.len() as f64;
    let (mut marginal, mut conditional) = (vec![0.0; probabilities.dim()], 0.0);
    for row in probabilities.rows() {
        for (sum, &p) in marginal.iter_mut().zip(row) {
            *sum += f64::from(p);
            conditional += negative_entropy(f64::from(p));
        }
    }
    let marginal: f64 = marginal.iter().map(|sum| negative_entropy(sum / rows)).sum();
    (conditional / rows - marginal).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(values: Vec<f32>, dim: usize) -> Features {
        Features::new(values, dim).expect("rows")
    }

    #[test]
    fn known_scores() -> Result<()> {
        let of = |values: &[f32], dim| inception_score(&features(values.to_vec(), dim), 1, 0);
        // One class each, all classes alike: the number of classes.
        assert!((of(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], 3)?.mean - 3.0).abs() < 1e-12);
        // The same for all images: 1.
        assert!((of(&[0.2, 0.8, 0.2, 0.8], 2)?.mean - 1.0).abs() < 1e-12);
        // ln 2 + 0.9 ln 0.9 + 0.1 ln 0.1 = 0.368064, to f32's precision of 0.9 and 0.1.
        let score = of(&[0.9, 0.1, 0.1, 0.9], 2)?;
        assert!((score.mean - 0.368_064f64.exp()).abs() < 1e-5, "{score:?}");
        assert_eq!(score.std, 0.0);
        // One of two splits has one row of another class than the other row: scores 1 and 2.
        let rows = features(vec![1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0], 2);
        let score = inception_score(&rows, 2, 0)?;
        assert!((score.mean - 1.5).abs() < 1e-12 && (score.std - 0.5).abs() < 1e-12, "{score:?}");
        Ok(())
    }

    /// Rows of one class in a row would make splits of one class, of score 1.
    #[test]
    fn splits_are_drawn_from_the_seed() -> Result<()> {
        let one_hot = |i: usize| (0..4).map(move |class| if i / 250 == class { 1.0 } else { 0.0 });
        let rows = features((0..1000).flat_map(one_hot).collect(), 4);
        let score = inception_score(&rows, 10, 7)?;
        assert!((3.7..4.0).contains(&score.mean) && (0.0..0.2).contains(&score.std), "{score:?}");
        assert_eq!(inception_score(&rows, 10, 7)?, score);
        assert_ne!(inception_score(&rows, 10, 8)?, score);
        assert!((inception_score(&rows, 0, 7)?.mean - 4.0).abs() < 1e-12);
        let error = inception_score(&rows, 1001, 7).expect_err("splits").to_string();
        assert_eq!(error, "Inception score: too few rows, 1000 of at least 1001");
        Ok(())
    }
}

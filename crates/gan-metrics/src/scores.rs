//! All distances of a set of pictures from a real one.

use crate::error::Result;
use crate::features::Features;
use crate::frechet::frechet_distance;
use crate::kernel::{Estimate, SUBSET_SIZE, SUBSETS, kernel_distance};
use crate::manifold::{Manifold, ManifoldScores, manifold_scores};
use crate::moments::Moments;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};

/// A real set, prepared for measuring others against it.
#[derive(Clone, Debug)]
pub struct Reference {
    features: Features,
    moments: Moments,
    manifold: Manifold,
}

/// How a set compares with a real one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// [`frechet_distance`]: 0 is best.
    pub frechet: f64,
    /// [`kernel_distance`] over the usual subsets: 0 is best.
    pub kernel: Estimate,
    /// Share of the set that looks real.
    pub precision: f64,
    /// Share of the real set that the set reaches.
    pub recall: f64,
    /// How densely real pictures lie around the set's.
    pub density: f64,
    /// Share of the real pictures with one of the set nearby.
    pub coverage: f64,
}

impl Reference {
    /// Prepares a real set.
    ///
    /// # Errors
    /// Fewer rows than the metrics need.
    pub fn of(features: Features) -> Result<Self> {
        let (moments, manifold) = (Moments::of(&features)?, Manifold::of(&features)?);
        Ok(Self { features, moments, manifold })
    }

    /// Mean and covariance.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// [`frechet_distance`] of a set.
    ///
    /// # Errors
    /// Features of another length; fewer than 2 rows.
    pub fn frechet(&self, set: &Features) -> Result<f64> {
        frechet_distance(&self.moments, &Moments::of(set)?)
    }

    /// [`manifold_scores`] of a set.
    ///
    /// # Errors
    /// Features of another length; fewer rows than the metrics need.
    pub fn manifold_scores(&self, set: &Features) -> Result<ManifoldScores> {
        manifold_scores(&self.manifold, set)
    }

    /// Measures a set in every way. The kernel distance's subsets are drawn from the seed.
    ///
    /// # Errors
    /// Features of another length; fewer rows than the metrics need.
    pub fn scores(&self, set: &Features, seed: u64) -> Result<Scores> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let manifold = self.manifold_scores(set)?;
        Ok(Scores {
            frechet: self.frechet(set)?,
            kernel: kernel_distance(&self.features, set, SUBSETS, SUBSET_SIZE, &mut rng)?,
            precision: manifold.precision,
            recall: manifold.recall,
            density: manifold.density,
            coverage: manifold.coverage,
        })
    }
}

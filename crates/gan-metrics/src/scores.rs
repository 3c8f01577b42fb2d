//! All metrics of a generated set against a real one.

use crate::error::Result;
use crate::feature_stats::FeatureStats;
use crate::features::Features;
use crate::frechet::frechet_distance;
use crate::mmd::{MmdEstimate, SUBSET_SIZE, SUBSETS, polynomial_mmd};
use crate::prdc::{Manifold, Prdc, prdc};
use serde::{Deserialize, Serialize};

/// A real set, prepared as the reference of the metrics.
#[derive(Clone, Debug)]
pub struct Reference {
    features: Features,
    stats: FeatureStats,
    manifold: Manifold,
}

/// All metrics of a generated set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scores {
    /// [`frechet_distance`]; 0 is best.
    pub frechet: f64,
    /// [`polynomial_mmd`] with the usual subsets; 0 is best.
    pub mmd: MmdEstimate,
    /// See [`Prdc::precision`].
    pub precision: f64,
    /// See [`Prdc::recall`].
    pub recall: f64,
    /// See [`Prdc::density`].
    pub density: f64,
    /// See [`Prdc::coverage`].
    pub coverage: f64,
}

impl Reference {
    /// Prepares a real set.
    ///
    /// # Errors
    /// Fewer than 6 rows; a failed tensor operation.
    pub fn new(features: Features) -> Result<Self> {
        let (stats, manifold) =
            (FeatureStats::from_features(&features)?, Manifold::from_features(&features)?);
        Ok(Self { features, stats, manifold })
    }

    /// Returns the mean and covariance of the real set.
    pub fn stats(&self) -> &FeatureStats {
        &self.stats
    }

    /// Returns the [`frechet_distance`] of a generated set.
    ///
    /// # Errors
    /// Different numbers of features; fewer than 2 rows.
    pub fn frechet(&self, set: &Features) -> Result<f64> {
        frechet_distance(&self.stats, &FeatureStats::from_features(set)?)
    }

    /// Returns the [`prdc`] of a generated set.
    ///
    /// # Errors
    /// Different numbers of features; fewer than 4 rows.
    pub fn prdc(&self, set: &Features) -> Result<Prdc> {
        prdc(&self.manifold, set)
    }

    /// Computes all metrics of a generated set. The subsets of the MMD are drawn from the seed.
    ///
    /// # Errors
    /// Different numbers of features; fewer than 4 rows.
    pub fn scores(&self, set: &Features, seed: u64) -> Result<Scores> {
        let prdc = self.prdc(set)?;
        Ok(Scores {
            frechet: self.frechet(set)?,
            mmd: polynomial_mmd(&self.features, set, SUBSETS, SUBSET_SIZE, seed)?,
            precision: prdc.precision,
            recall: prdc.recall,
            density: prdc.density,
            coverage: prdc.coverage,
        })
    }
}

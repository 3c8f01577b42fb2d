//! Metrics of generated images: Fréchet distance, MMD (as in the KID), precision, recall, density and
//! coverage.
//!
//! All metrics compare [`Features`], one row of numbers per image, of a generated and a real set:
//! [`frechet_distance`] compares their [`FeatureStats`], [`polynomial_mmd`] their means in a kernel
//! space, and [`prdc`] measures whether the generated images look real and cover the real ones.
//! [`nearest`] returns the distance of each row to a set, which finds copies of training images.
//! [`Reference`] computes all of them. [`sliced_wasserstein`] compares patches of the images themselves.
//! [`inception_score`] takes probabilities of classes.
//!
//! ```
//! use gan_metrics::{FeatureStats, Features, frechet_distance};
//!
//! # fn main() -> gan_metrics::Result<()> {
//! let real = Features::new(vec![0.0, 0.0, 1.0, 1.0, 0.0, 1.0], 2)?;
//! let fake = Features::new(vec![2.0, 0.0, 3.0, 1.0, 2.0, 1.0], 2)?;
//! let real = FeatureStats::from_features(&real)?;
//! let fake = FeatureStats::from_features(&fake)?;
//! assert!((frechet_distance(&real, &fake)? - 4.0).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! Results do not depend on the number of threads.
//!
//! # Features
//!
//! - `classifier` (on by default): networks whose features the metrics can compare. `Classifier`
//!   tells classes apart: its training is here, and weights for MNIST (2 MB). `RandomNetwork` takes
//!   images of any kind. `Inception` is the network of the FID, whose weights are not here. Without it
//!   the crate depends on neither networks nor weights.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "classifier")]
mod classifier;
mod distances;
#[cfg(feature = "classifier")]
mod distort;
mod error;
mod feature_stats;
mod features;
mod frechet;
#[cfg(feature = "classifier")]
mod inception;
mod inception_score;
mod mmd;
mod neighbours;
mod prdc;
mod pyramid;
#[cfg(feature = "classifier")]
mod random_network;
#[cfg(test)]
mod reference;
mod scores;
mod sliced_wasserstein;

/// The tensor library of this crate's public types. Its version must match the caller's.
pub use candle_core;
#[cfg(feature = "classifier")]
pub use classifier::{Classifier, ClassifierTraining, FEATURES, Predictions, TrainedClassifier};
pub use error::{Error, Result};
pub use feature_stats::FeatureStats;
pub use features::Features;
pub use frechet::frechet_distance;
#[cfg(feature = "classifier")]
pub use inception::{INCEPTION_CLASSES, INCEPTION_FEATURES, Inception};
pub use inception_score::{InceptionScore, inception_score};
pub use mmd::{MmdEstimate, SUBSET_SIZE, SUBSETS, polynomial_mmd};
pub use neighbours::{nearest, nearest_rows, radii};
pub use prdc::{DENSITY_NEIGHBOURS, Manifold, PRECISION_NEIGHBOURS, Prdc, prdc};
#[cfg(feature = "classifier")]
pub use random_network::{RANDOM_FEATURES, RandomNetwork};
pub use scores::{Reference, Scores};
pub use sliced_wasserstein::{LevelDistance, sliced_wasserstein};

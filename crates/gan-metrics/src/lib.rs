//! How near generated pictures are to real ones, told from features of both.
//!
//! [`Features`] are rows of numbers, one row for each picture. Two sets of them are compared as
//! a whole by [`frechet_distance`] (of their [`Moments`]) and [`kernel_distance`], and by
//! [`manifold_scores`] in two directions: whether what is generated looks real, and whether all
//! that is real is generated. [`nearest`] tells how far each row is from a set.
//!
//! ```
//! use gan_metrics::{Features, Moments, frechet_distance};
//!
//! # fn main() -> gan_metrics::Result<()> {
//! let real = Features::new(vec![0.0, 0.0, 1.0, 1.0, 0.0, 1.0], 2)?;
//! let fake = Features::new(vec![2.0, 0.0, 3.0, 1.0, 2.0, 1.0], 2)?;
//! let distance = frechet_distance(&Moments::of(&real)?, &Moments::of(&fake)?)?;
//! assert!((distance - 4.0).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```
//!
//! Results are the same bytes for every number of threads.
#![forbid(unsafe_code)]

mod augment;
mod classifier;
mod distances;
mod error;
mod features;
mod frechet;
mod kernel;
mod manifold;
mod moments;
mod neighbours;
#[cfg(test)]
mod reference;
mod scores;
mod symmetric;

pub use classifier::{Classifier, FEATURES, Observations, Trained, Training};
pub use error::{Error, Result};
pub use features::Features;
pub use frechet::frechet_distance;
pub use kernel::{Estimate, SUBSET_SIZE, SUBSETS, kernel_distance};
pub use manifold::{
    DENSITY_NEIGHBOURS, Manifold, ManifoldScores, PRECISION_NEIGHBOURS, manifold_scores,
};
pub use moments::Moments;
pub use neighbours::{nearest, radii};
pub use scores::{Reference, Scores};

//! The record of a run's statistics: a line of `stats.jsonl`.

use crate::quality::Extractor;
use gan_training::{StepStats, UpdateCounts};
use serde::{Deserialize, Serialize};
use std::ops::Add;

/// The largest `stats.jsonl` that is read: 1 GiB, the lines of 50 million steps with the usual intervals.
pub(crate) const STATS_LIMIT: u64 = 1 << 30;

/// A Frechet distance of 2,000 generated images from real ones, by the network whose features it
/// compares.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Distance {
    /// Of the classifier of digits.
    #[serde(rename = "fd-mnistnet-2k")]
    Digits(f64),
    /// Of the random network.
    #[serde(rename = "fd-r64-2k")]
    Random(f64),
}

impl Distance {
    pub(crate) fn new(extractor: &Extractor, distance: f64) -> Self {
        match extractor {
            Extractor::Digits(_) => Self::Digits(distance),
            Extractor::Random(..) => Self::Random(distance),
        }
    }

    /// The distance if it is of the classifier of digits.
    pub(crate) fn digits(self) -> Option<f64> {
        match self {
            Self::Digits(distance) => Some(distance),
            Self::Random(_) => None,
        }
    }

    /// The distance if it is of the random network.
    pub(crate) fn random(self) -> Option<f64> {
        match self {
            Self::Random(distance) => Some(distance),
            Self::Digits(_) => None,
        }
    }

    /// Whether this is less than the best distance so far. One of another network does not count: an
    /// earlier version may have measured the run by it.
    pub(crate) fn improves_on(self, best: Self) -> bool {
        match (self, best) {
            (Self::Digits(distance), Self::Digits(best))
            | (Self::Random(distance), Self::Random(best)) => distance < best,
            _ => true,
        }
    }
}

/// Metrics of a generator, measured during training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quality {
    /// Number of generated images.
    #[serde(alias = "pictures")]
    pub(crate) images: usize,
    /// Frechet distance from real images.
    #[serde(flatten)]
    pub(crate) distance: Distance,
    pub(crate) precision: f64,
    pub(crate) recall: f64,
    /// Fraction of images classified as the intended class. `None` if an unconditional generator has
    /// several classes.
    #[serde(alias = "agreement")]
    pub(crate) accuracy: Option<f64>,
    /// The reason, if the images have collapsed.
    pub(crate) collapse: Option<String>,
}

/// One line of `stats.jsonl`: means over the steps since the previous line.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StatsLine {
    pub(crate) step: u64,
    pub(crate) epoch: f64,
    pub(crate) discriminator_loss: f64,
    pub(crate) generator_loss: f64,
    pub(crate) real_score: f64,
    pub(crate) fake_score: f64,
    /// Fraction of images that the discriminator classified correctly.
    #[serde(default)]
    pub(crate) accuracy: f64,
    /// Number of updates since the previous line, if updates can be skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) updates: Option<UpdateCounts>,
    pub(crate) images_per_second: f64,
    /// The probability of augmentation after this step, if it is adaptive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) augmentation_probability: Option<f64>,
    /// Metrics of the generator at this step, if measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) quality: Option<Quality>,
}

impl StatsLine {
    /// The means over `window`, which is not empty and ends with `step`.
    pub(crate) fn new(
        step: u64,
        steps_per_epoch: f64,
        window: &[StepStats],
        images_per_second: f64,
    ) -> Self {
        let mean = |value: fn(&StepStats) -> f32| {
            window.iter().map(|stats| f64::from(value(stats))).sum::<f64>() / window.len() as f64
        };
        Self {
            step,
            epoch: step as f64 / steps_per_epoch,
            discriminator_loss: mean(|stats| stats.discriminator_loss),
            generator_loss: mean(|stats| stats.generator_loss),
            real_score: mean(|stats| stats.real_score),
            fake_score: mean(|stats| stats.fake_score),
            accuracy: mean(|stats| stats.accuracy),
            updates: window.iter().filter_map(|stats| stats.updates).reduce(Add::add),
            images_per_second,
            augmentation_probability: None,
            quality: None,
        }
    }
}

#[cfg(test)]
impl StatsLine {
    /// A line of zeros.
    pub(crate) fn blank(step: u64) -> Self {
        Self::new(step, 1.0, &[StepStats::default()], 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_means_over_their_window() {
        let stats = |loss| {
            let mut stats = StepStats::default();
            stats.discriminator_loss = loss;
            stats
        };
        let line = StatsLine::new(10, 4.0, &[stats(1.0), stats(2.0)], 3.0);
        assert_eq!((line.discriminator_loss, line.epoch, line.generator_loss), (1.5, 2.5, 0.0));
        assert_eq!(line.updates, None);
        let counts = |real, fake, generator| {
            let mut counts = UpdateCounts::default();
            (counts.real, counts.fake, counts.generator) = (real, fake, generator);
            counts
        };
        let updates = |real, fake| {
            let mut stats = StepStats::default();
            stats.updates = Some(counts(real, fake, 1));
            stats
        };
        let line = StatsLine::new(10, 4.0, &[updates(1, 0), updates(1, 0), updates(0, 1)], 3.0);
        assert_eq!(line.updates, Some(counts(2, 1, 3)));
    }

    /// Other programs read these lines, and runs of earlier versions are resumed.
    #[test]
    fn the_keys_of_a_measurement_stay_and_earlier_ones_are_read() -> anyhow::Result<()> {
        let text = r#"{"images":2000,"fd-mnistnet-2k":0.5,"precision":0.8,"recall":0.7,"accuracy":0.99,"collapse":null}"#;
        let earlier = text.replace("images", "pictures").replace("accuracy", "agreement");
        for text in [text, &earlier] {
            let quality: Quality = serde_json::from_str(text)?;
            assert_eq!((quality.images, quality.accuracy), (2000, Some(0.99)));
        }
        let quality: Quality = serde_json::from_str(&earlier)?;
        assert_eq!(serde_json::to_string(&quality)?, text);
        assert_eq!(quality.distance, Distance::Digits(0.5));
        let text = text.replace("mnistnet", "r64");
        let quality: Quality = serde_json::from_str(&text)?;
        assert_eq!(quality.distance, Distance::Random(0.5));
        assert_eq!(serde_json::to_string(&quality)?, text);
        Ok(())
    }

    #[test]
    fn distances_of_different_networks_do_not_compare() {
        let (digits, random) = (Distance::Digits, Distance::Random);
        for of in [digits, random] {
            assert!(of(1.0).improves_on(of(2.0)));
            assert!(!of(2.0).improves_on(of(1.0)) && !of(1.0).improves_on(of(1.0)));
        }
        assert!(digits(2.0).improves_on(random(1.0)) && random(2.0).improves_on(digits(1.0)));
        assert_eq!((digits(2.0).random(), random(2.0).digits()), (None, None));
    }
}

//! What the numbers of a run mean for the person who trains, said once.

use crate::run::record::StatsLine;
use gan_training::{GanLoss, Hyperparameters};

/// Lines of statistics that are looked at together.
const LINES: usize = 20;
/// The discriminator is winning where it tells more than this fraction of images apart.
const WINNING: f64 = 0.97;
/// Measurements without a better one, after which the distance counts as standing still.
const PATIENCE: usize = 6;

/// Looks at the statistics of a session.
pub(super) struct Advice {
    /// What would help, if the loss has an accuracy.
    remedies: Option<String>,
    /// The discriminator's accuracy, the last lines.
    accuracies: Vec<f64>,
    has_warned: bool,
    /// Measurements since the best one.
    since_best: usize,
}

impl Advice {
    /// Prepares to look at a run with these settings.
    pub(super) fn new(training: &Hyperparameters) -> Self {
        let augmentation = training.regularization.augmentation;
        let mut remedies = Vec::new();
        if !augmentation.colour {
            remedies.push("--set colour=true");
        }
        remedies.push(match augmentation.translation {
            0 => "--translation PIXELS",
            _ => "a larger --translation",
        });
        remedies.push("a lower second value of --lr");
        // A Wasserstein critic has no value that divides real from fake.
        let has_accuracy = training.loss != GanLoss::Wasserstein;
        Self {
            remedies: has_accuracy.then(|| remedies.join(", ")),
            accuracies: Vec::new(),
            has_warned: false,
            since_best: 0,
        }
    }

    /// Looks at a line of statistics. Returns a warning the first time that the discriminator is
    /// winning.
    pub(super) fn of_line(&mut self, line: &StatsLine) -> Option<String> {
        let remedies = self.remedies.as_ref()?;
        self.accuracies.push(line.accuracy);
        let first = self.accuracies.len().checked_sub(LINES)?;
        self.accuracies.drain(..first);
        let mean = self.accuracies.iter().sum::<f64>() / LINES as f64;
        if mean <= WINNING || self.has_warned {
            return None;
        }
        self.has_warned = true;
        Some(format!(
            "the discriminator is winning: it tells {:.0}% of the images apart, so the generator \
             learns little; what may help: {remedies}",
            100.0 * mean
        ))
    }

    /// Looks at a measurement, which may be the best so far. Returns a note when the distance has
    /// stopped falling.
    pub(super) fn of_measurement(&mut self, is_best: bool) -> Option<String> {
        self.since_best = if is_best { 0 } else { self.since_best + 1 };
        (self.since_best == PATIENCE).then(|| {
            format!(
                "the distance has not fallen for {PATIENCE} measurements; the best generator is \
                 kept, and more steps may not help"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gan_training::{Recipe, StepStats};

    fn line(accuracy: f64) -> StatsLine {
        let window = [StepStats::default()];
        StatsLine { accuracy, ..StatsLine::new(1, 1.0, &window, 1.0) }
    }

    fn advice(recipe: &str) -> Advice {
        let recipe = Recipe::built_in(recipe).expect("readable").expect("known");
        Advice::new(&recipe.training)
    }

    #[test]
    fn remedies_are_those_that_are_off() {
        let of = |recipe| advice(recipe).remedies.expect("an accuracy");
        assert_eq!(
            of("default"),
            "--set colour=true, --translation PIXELS, a lower second value of --lr"
        );
        assert_eq!(of("icons"), "a larger --translation, a lower second value of --lr");
        let mut training = Recipe::built_in("default").expect("readable").expect("known").training;
        training.loss = GanLoss::Wasserstein;
        assert_eq!(Advice::new(&training).remedies, None);
    }

    #[test]
    fn a_winning_discriminator_is_noticed_once() {
        let mut advice = advice("default");
        for _ in 0..2 * LINES {
            assert_eq!(advice.of_line(&line(0.9)), None);
        }
        let said: Vec<String> =
            (0..3 * LINES).filter_map(|_| advice.of_line(&line(0.99))).collect();
        assert_eq!(said.len(), 1);
        assert!(said[0].starts_with("the discriminator is winning: it tells 97%"), "{}", said[0]);
    }

    #[test]
    fn a_distance_that_stands_still_is_noticed() {
        let mut advice = advice("default");
        let mut said = |is_best| advice.of_measurement(is_best).is_some();
        assert!(!said(true));
        assert_eq!((0..PATIENCE + 3).filter(|_| said(false)).count(), 1);
        assert!(!said(true));
        assert_eq!((0..PATIENCE).filter(|_| said(false)).count(), 1);
    }
}

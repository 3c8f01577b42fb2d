//! What the numbers of a run mean for the person who trains, said once.

use crate::run::record::StatsLine;

/// Lines of statistics that are looked at together.
const LINES: usize = 20;
/// The discriminator is winning where it tells more than this fraction of images apart.
const WINNING: f64 = 0.97;
/// Measurements without a better one, after which the distance counts as standing still.
const PATIENCE: usize = 6;

/// Looks at the statistics of a session.
#[derive(Default)]
pub(super) struct Advice {
    /// The discriminator's accuracy, the last lines.
    accuracies: Vec<f64>,
    has_warned: bool,
    /// Measurements since the best one.
    since_best: usize,
}

impl Advice {
    /// Looks at a line of statistics. Returns a warning the first time that the discriminator is
    /// winning.
    pub(super) fn of_line(&mut self, line: &StatsLine) -> Option<String> {
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
             learns little; --set colour=true and --translation make its task harder, and a lower \
             second value of --lr makes it slower",
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
    use gan_training::StepStats;

    fn line(accuracy: f64) -> StatsLine {
        let window = [StepStats::default()];
        StatsLine { accuracy, ..StatsLine::new(1, 1.0, &window, 1.0) }
    }

    #[test]
    fn a_winning_discriminator_is_noticed_once() {
        let mut advice = Advice::default();
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
        let mut advice = Advice::default();
        let mut said = |is_best| advice.of_measurement(is_best).is_some();
        assert!(!said(true));
        assert_eq!((0..PATIENCE + 3).filter(|_| said(false)).count(), 1);
        assert!(!said(true));
        assert_eq!((0..PATIENCE).filter(|_| said(false)).count(), 1);
    }
}

//! Decides which reports and checkpoints are due after a step.

use crate::config::TrainConfig;
use gan_training::Intervals;

/// The intervals of a run's reports and checkpoints, and its last step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// The last step.
    pub(crate) steps: u64,
    /// Steps between two reports of a kind.
    pub(crate) intervals: Intervals,
}

/// The reports and checkpoints that are due after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// A measurement of the generator's quality.
    pub(crate) measure: Option<Measurement>,
    /// A line of statistics.
    pub(crate) stats: bool,
    /// A sample grid.
    pub(crate) sample: bool,
    /// A checkpoint; the one of the last step is written when the loop has ended.
    pub(crate) checkpoint: bool,
}

/// The kind of measurement that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measurement {
    /// One of the interval's; the best of them is kept.
    Regular,
    /// That of the last step, which does not count for the best: where a session happens to end must
    /// not decide what is kept.
    Final,
}

impl Schedule {
    /// The schedule of a run.
    pub(crate) fn new(config: &TrainConfig) -> Self {
        Self { steps: config.steps, intervals: config.schedule }
    }

    /// Whether the quality is measured at all; in shorter runs, the preparation is not worth it.
    pub(crate) fn measures(&self) -> bool {
        (1..=self.steps).contains(&self.intervals.measure_every)
    }

    /// Whether a sample grid is due before the first step of a session, which begins at `step`.
    pub(crate) fn samples_at_start(&self, step: u64) -> bool {
        step.is_multiple_of(self.intervals.sample_every)
    }

    /// What is due after `step`, which counts from 1.
    pub(crate) fn due(&self, step: u64) -> Due {
        let is_last = step == self.steps;
        let every = |interval: u64| step.is_multiple_of(interval);
        let measure = match self.measures() {
            true if every(self.intervals.measure_every) => Some(Measurement::Regular),
            true if is_last => Some(Measurement::Final),
            _ => None,
        };
        Due {
            measure,
            stats: every(self.intervals.stats_every) || is_last,
            sample: every(self.intervals.sample_every) || is_last,
            checkpoint: every(self.intervals.checkpoint_every) && !is_last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: Schedule = Schedule {
        steps: 11,
        intervals: Intervals {
            sample_every: 4,
            stats_every: 3,
            checkpoint_every: 5,
            measure_every: 2,
        },
    };

    /// The steps of 1 to 11 after which something is due.
    fn steps(schedule: Schedule, is_due: impl Fn(Due) -> bool) -> Vec<u64> {
        (1..=11).filter(|&step| is_due(schedule.due(step))).collect()
    }

    #[test]
    fn everything_comes_at_its_interval_and_at_the_end() {
        assert_eq!(steps(SCHEDULE, |due| due.sample), [4, 8, 11]);
        assert_eq!(steps(SCHEDULE, |due| due.stats), [3, 6, 9, 11]);
        assert_eq!(steps(SCHEDULE, |due| due.checkpoint), [5, 10]);
        let regular = |due: Due| due.measure == Some(Measurement::Regular);
        assert_eq!(steps(SCHEDULE, regular), [2, 4, 6, 8, 10]);
        assert_eq!(steps(SCHEDULE, |due| due.measure == Some(Measurement::Final)), [11]);
        assert_eq!([0, 3, 8].map(|step| SCHEDULE.samples_at_start(step)), [true, false, true]);
    }

    #[test]
    fn the_last_step_is_due_once() {
        let schedule = Schedule {
            intervals: Intervals { checkpoint_every: 11, measure_every: 11, ..SCHEDULE.intervals },
            ..SCHEDULE
        };
        assert_eq!(steps(schedule, |due| due.checkpoint), [0; 0]);
        assert_eq!(schedule.due(11).measure, Some(Measurement::Regular));
    }

    #[test]
    fn a_short_run_is_not_measured() {
        for measure_every in [0, 12] {
            let schedule = Schedule {
                intervals: Intervals { measure_every, ..SCHEDULE.intervals },
                ..SCHEDULE
            };
            assert!(!schedule.measures());
            assert_eq!(steps(schedule, |due| due.measure.is_some()), [0; 0]);
        }
    }
}

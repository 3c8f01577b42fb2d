//! `--budget`: a run that is laid out for the time that there is.

use crate::cli::train::TrainArgs;
use crate::config::TrainConfig;
use crate::config::resolve::Request;
use crate::device;
use crate::format::duration;
use crate::ranks::Ranks;
use crate::step_time::{StepTimer, median};
use anyhow::{Result, ensure};
use gan_data::Split;

/// Steps that are timed; the median counts.
const TIMED: usize = 11;
/// The part of the time that is left for samples, measurements and checkpoints; it is not measured.
const REPORTS: f64 = 0.1;
/// The half-life of the EMA is at most this part of the run.
const EMA_PART: f64 = 0.05;
/// Reports of each kind that a run has at least. Measurements cost the most.
const MIN_REPORTS: u64 = 10;
const MIN_MEASUREMENTS: u64 = 4;

/// The same options with a number of steps and with schedules that fit into this many minutes.
///
/// # Errors
/// A time that is not above 0 or too short for a step; whatever the run itself would fail with.
pub(super) fn lay_out(args: &TrainArgs, minutes: f64, ranks: &Ranks) -> Result<TrainArgs> {
    let size = ranks.size();
    ensure!(size == 1, "--budget times one process, not {size} ranks; give --steps instead");
    ensure!(minutes > 0.0 && minutes.is_finite(), "--budget {minutes}: must be above 0 minutes");
    let request = Request::new(args)?;
    let info = request.data().info(Split::Train)?;
    let config = request.resolve(&info)?;
    device::set_precision(config.precision);
    let name = args.session.device.device;
    let device = device::device(name)?;
    let device = device::trusted(device, name, &config.generator, Some(&config.discriminator))?;
    tracing::info!("timing a step of {}", config.recipe);
    let mut gan = config.gan(&device)?;
    let mut timer = StepTimer::new(&config, &gan)?;
    timer.warm_up(&mut gan)?;
    let seconds = median((0..TIMED).map(|_| timer.time(&mut gan)).collect::<Result<_>>()?);
    let steps = (60.0 * minutes * (1.0 - REPORTS) / seconds) as u64;
    ensure!(
        steps > 0,
        "--budget {minutes}: one step of {} takes {}",
        config.recipe,
        duration(seconds)
    );
    let mut set = changes(&config, steps);
    // What is typed stays.
    let typed: Vec<_> = args.run.set.iter().map(|assignment| last_key(assignment)).collect();
    set.retain(|assignment| !typed.contains(&last_key(assignment)));
    tracing::info!(
        "a step takes {:.1} ms, so {} are {steps} steps; the same run on any machine is --steps \
         {steps} --set {}",
        1e3 * seconds,
        duration(60.0 * minutes),
        set.join(" --set ")
    );
    let mut args = args.clone();
    (args.run.budget, args.session.steps) = (None, Some(steps));
    args.run.set = [set, args.run.set].concat();
    Ok(args)
}

/// The last part of the key of a `KEY=VALUE`.
fn last_key(assignment: &str) -> Option<&str> {
    assignment.split('=').next()?.rsplit('.').next()
}

/// The changes to a recipe for a run of this many steps.
fn changes(config: &TrainConfig, steps: u64) -> Vec<String> {
    let mut set = vec![format!("schedule_steps={steps}")];
    let decay = config.training.ema_decay;
    let longest = 0.5f64.powf(1.0 / (EMA_PART * steps as f64).max(1.0));
    if decay > longest {
        set.push(format!("ema_decay={longest:.6}"));
    }
    let schedule = &config.schedule;
    let intervals = [
        ("sample_every", schedule.sample_every, MIN_REPORTS),
        ("checkpoint_every", schedule.checkpoint_every, MIN_REPORTS),
        ("measure_every", schedule.measure_every, MIN_MEASUREMENTS),
    ];
    for (key, every, least) in intervals {
        let longest = (steps / least).max(1);
        if every > longest {
            set.push(format!("{key}={longest}"));
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::configuration;

    #[test]
    fn schedules_follow_the_steps() -> Result<()> {
        let config = configuration(&["5"], None)?;
        // The recipe: an EMA decay of 0.998, samples every 50 steps, checkpoints every 1,000.
        // A half-life of 100 steps, ten checkpoints; four measurements are fewer than the recipe's.
        let want = ["schedule_steps=2000", "ema_decay=0.993092", "checkpoint_every=200"];
        assert_eq!(changes(&config, 2000), want);
        assert_eq!(changes(&config, 1_000_000), ["schedule_steps=1000000"]);
        Ok(())
    }

    #[test]
    fn a_key_may_be_typed_with_its_path() {
        for typed in ["ema_decay=0.5", "training.ema_decay=0.5"] {
            assert_eq!(last_key(typed), Some("ema_decay"));
        }
    }

    #[test]
    fn a_time_of_nothing_is_an_error() {
        for minutes in [0.0, -1.0, f64::NAN, 1e-12] {
            let mut args = TrainArgs::default();
            args.run.recipe = Some("mlp-small".to_string());
            let error = lay_out(&args, minutes, &Ranks::alone()).expect_err("no time").to_string();
            assert!(error.starts_with(&format!("--budget {minutes}: ")), "{error}");
        }
    }
}

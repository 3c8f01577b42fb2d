//! The run that `--resume` names.

use crate::cli::train::SessionOptions;
use crate::config::TrainConfig;
use crate::ranks::Ranks;
use crate::run::checkpoint::Newest;
use crate::run::directory::RunDirectory;
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A run that is resumed. Rank 0 reads it for all: other machines need not see its directory.
pub(super) struct Resumed {
    pub(super) path: PathBuf,
    pub(super) config: TrainConfig,
    /// The newest checkpoint; none where the run begins again.
    pub(super) checkpoint: Option<Newest>,
    /// On rank 0.
    pub(super) directory: Option<RunDirectory>,
}

impl Resumed {
    /// Reads the run of the options, if they name one, and locks it unless it is only looked at.
    ///
    /// # Errors
    /// On all ranks: an option that not all have; a directory that is not a run's, or that another
    /// process writes to; a checkpoint that cannot be read.
    pub(super) fn read(session: &SessionOptions, ranks: &Ranks) -> Result<Option<Self>> {
        // Ranks that do not make the same calls would wait for each other.
        let given = |is_given| if is_given { "given" } else { "not given" };
        let options = [("--resume", session.resume.is_some()), ("--dry-run", session.dry_run)];
        ranks.check_same(&options.map(|(name, is_given)| (name.into(), given(is_given).into())))?;
        let Some(path) = &session.resume else { return Ok(None) };
        let own = ranks.is_first().then(|| Self::open(path, !session.dry_run)).transpose();
        let own = ranks.agree(own)?;
        let communicator = &*ranks.communicator();
        let config = own.as_ref().map(|own| serde_json::to_vec(&own.config)).transpose()?;
        let config = communicator.broadcast(0, config.unwrap_or_default())?;
        let (checkpoint, directory) =
            own.map_or((None, None), |own| (own.checkpoint, own.directory));
        Ok(Some(Self {
            path: path.clone(),
            config: ranks.agree(TrainConfig::from_json(&config).map_err(anyhow::Error::from))?,
            checkpoint: Newest::of_first_rank(checkpoint, communicator)?,
            directory,
        }))
    }

    fn open(path: &Path, locks: bool) -> Result<Self> {
        let (mut directory, config) = RunDirectory::open(path)?;
        if locks {
            directory.lock()?;
        }
        let begun = directory.has_begun()?;
        let checkpoint = begun.then(|| Newest::read(&directory.checkpoints())).transpose()?;
        Ok(Self { path: path.to_path_buf(), config, checkpoint, directory: Some(directory) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::train::{NewRunOptions, TrainArgs};
    use crate::cli::values::DeviceName;
    use crate::commands::train::Session;
    use crate::config::resolve::resolved;
    use crate::ranks::on_ranks;
    use crate::run::checkpoint;
    use candle_core::Device;
    use gan_data::{Batches, Stream};
    use gan_training::Gan;

    /// Trains until a step.
    fn train(gan: &mut Gan, batches: &Batches, until: u64) -> Result<()> {
        let mut stream = Stream::new(batches.clone(), gan.step())?;
        while gan.step() < until {
            let batch = stream.next()?;
            gan.train_step(&batch.images, &batch.labels)?;
        }
        Ok(())
    }

    /// What a checkpoint of the networks holds.
    fn bytes(gan: &Gan) -> Result<Vec<Vec<u8>>> {
        let directory = tempfile::tempdir()?;
        let checkpoint = directory.path().join("checkpoint");
        gan.save(&checkpoint)?;
        let files = ["state.json", "state.safetensors"];
        Ok(files
            .into_iter()
            .map(|name| std::fs::read(checkpoint.join(name)))
            .collect::<Result<_, _>>()?)
    }

    /// Options of a rank, of which rank 0 alone sees the run.
    fn args(rank: usize, run: &Path) -> TrainArgs {
        let mut args = TrainArgs::default();
        args.session.device.device = DeviceName::Cpu;
        args.session.resume = Some(if rank == 0 { run.into() } else { "of-rank-0-alone".into() });
        args
    }

    #[test]
    fn ranks_that_do_not_see_the_run_go_on_with_its_bytes() -> Result<()> {
        let mut options = NewRunOptions::default();
        options.data.classes.digit = vec!["5".to_string()];
        options.recipe = Some("mlp-small".to_string());
        options.micro_batches = Some(2);
        let (config, batches) = resolved(options)?;
        let runs = tempfile::tempdir()?;
        let directory = RunDirectory::create(runs.path(), &config)?;
        let run = directory.path().to_path_buf();
        let mut alone = config.gan(&Device::Cpu)?;
        // Before and after the first checkpoint.
        for step in [0, 2] {
            if step > 0 {
                train(&mut alone, &batches, step)?;
                checkpoint::save(&alone, &directory.checkpoints())?;
            }
            let resumed = on_ranks(2, |rank, ranks| -> Result<_> {
                let args = args(rank, &run);
                let resumed = Resumed { directory: None, ..read_unlocked(&args, &ranks)? };
                let mut session = Session::begin(&args, Some(resumed), &ranks)?;
                let first = session.gan.step();
                train(&mut session.gan, &session.images.batches, step + 2)?;
                Ok((first, bytes(&session.gan)?))
            });
            let mut whole = config.gan(&Device::Cpu)?;
            train(&mut whole, &batches, step + 2)?;
            let want = (step, bytes(&whole)?);
            for (rank, resumed) in resumed.into_iter().enumerate() {
                assert!(resumed? == want, "rank {rank} from step {step}");
            }
        }
        Ok(())
    }

    /// The run of the options, which this test has locked.
    fn read_unlocked(args: &TrainArgs, ranks: &Ranks) -> Result<Resumed> {
        let mut session = args.session.clone();
        session.dry_run = true;
        Ok(Resumed::read(&session, ranks)?.expect("a run is named"))
    }

    #[test]
    fn an_option_that_some_ranks_lack_ends_all() {
        for with in [0, 1] {
            let errors = on_ranks(2, |rank, ranks| {
                let mut session = args(1, Path::new("nowhere")).session;
                session.resume = session.resume.filter(|_| rank == with);
                Resumed::read(&session, &ranks).err().map(|error| error.to_string())
            });
            let own = ["not given, on rank 0 given", "given, on rank 0 not given"][with];
            let own = format!("--resume differs: {own}; every rank needs the same");
            assert_eq!(errors, [Some(format!("rank 1: {own}")), Some(own)]);
        }
    }

    #[test]
    fn a_run_that_rank_0_cannot_read_ends_all() {
        let errors = on_ranks(2, |rank, ranks| {
            let session = args(rank, Path::new("nowhere")).session;
            Resumed::read(&session, &ranks).err().map(|error| error.to_string())
        });
        let want = ["nowhere: no such run directory", "rank 0: nowhere: no such run directory"];
        assert_eq!(errors, want.map(|error| Some(error.to_string())));
    }
}

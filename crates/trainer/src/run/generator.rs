//! Finds and loads the trained generator that the options name.

use crate::cli::options::GeneratorOptions;
use crate::cli::values::PrecisionName;
use crate::run::directory::RunDirectory;
use crate::run::grid;
use crate::run::model_card::{CARD_FILE, IMAGE_FILE, ModelCard};
use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use gan_models::{CONFIG_FILE, Generator, Parameters, WEIGHTS_FILE};
use std::path::{Path, PathBuf};

/// The directory of a trained generator, and its run.
#[derive(Debug)]
pub(crate) struct GeneratorLocation {
    /// The run that it belongs to, if it is a run's.
    pub(crate) run: Option<PathBuf>,
    /// The directory of its configuration and weights.
    pub(crate) directory: PathBuf,
}

impl GeneratorLocation {
    /// Finds the generator of the weights or the run asked for, else of the newest run; the run's
    /// last generator or its best one.
    ///
    /// # Errors
    /// No such directory; a run without a generator.
    pub(crate) fn find(options: &GeneratorOptions) -> Result<Self> {
        if let Some(weights) = &options.weights {
            return Ok(Self { run: None, directory: weights.clone() });
        }
        let run = RunDirectory::named_or_newest(options.run.as_deref())?;
        let directory = generator_of(&run, options.best)?;
        Ok(Self { run: Some(run), directory })
    }

    /// The precision asked for, else that of the run: then its sample grids and the images that its
    /// generator makes later come from the same arithmetic.
    pub(crate) fn precision(&self, asked: Option<PrecisionName>) -> PrecisionName {
        let of_run = |run: &Path| Some(RunDirectory::open(run).ok()?.1.precision);
        asked.or_else(|| of_run(self.run.as_deref()?)).unwrap_or_default()
    }
}

/// The names of the files in a generator's directory.
const FILES: [&str; 4] = [CONFIG_FILE, WEIGHTS_FILE, IMAGE_FILE, CARD_FILE];

/// A trained generator, and what is written beside its weights.
pub(crate) struct SavedGenerator<'a> {
    pub(crate) generator: &'a Generator,
    pub(crate) weights: &'a Parameters,
    /// The generator's input of the images that the card shows.
    pub(crate) samples: &'a Tensor,
    pub(crate) card: ModelCard<'a>,
}

impl SavedGenerator<'_> {
    /// Writes the files into a directory of a run. The run is not made again where it is gone.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn write(&self, place: &Path) -> Result<()> {
        gan_files::make(place).with_context(|| format!("making {}", place.display()))?;
        self.generator.save(self.weights, place)?;
        grid::write(&place.join(IMAGE_FILE), (self.generator, self.samples))?;
        let card = place.join(CARD_FILE);
        gan_files::write(&card, self.card.text().as_bytes())
            .with_context(|| format!("writing {}", card.display()))
    }

    /// Writes them if other files, or none, are there. Returns whether it did.
    ///
    /// # Errors
    /// Files that cannot be written.
    pub(crate) fn write_if_other(&self, run: &RunDirectory, place: &Path) -> Result<bool> {
        let staged = gan_files::staging(run.path())
            .with_context(|| format!("writing {}", run.path().display()))?;
        self.write(staged.path())?;
        let bytes = |directory: &Path, name: &str| gan_files::read(&directory.join(name)).ok();
        let differs = |name: &&str| bytes(staged.path(), name) != bytes(place, name);
        let other = FILES.iter().any(differs);
        if other {
            self.write(place)?;
        }
        Ok(other)
    }
}

/// The generator's directory in a run's.
fn generator_of(run: &Path, best: bool) -> Result<PathBuf> {
    let (name, missing) = match best {
        true => (
            "best-generator",
            "no best generator in it; training keeps one where it measures, every `measure_every` \
             steps",
        ),
        false => ("generator", "no generator in it; training writes one with each checkpoint"),
    };
    let directory = run.join(name);
    ensure!(directory.is_dir(), "{}: {missing}", run.display());
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolve::configuration;

    #[test]
    fn images_are_generated_as_their_run_was_trained() -> Result<()> {
        let runs = tempfile::tempdir()?;
        let mut config = configuration(&["5"], None)?;
        config.precision = PrecisionName::Highest;
        let run = RunDirectory::create(runs.path(), &config)?;
        let of = |run: Option<&Path>, asked| {
            let run = run.map(Path::to_path_buf);
            GeneratorLocation { run, directory: PathBuf::new() }.precision(asked)
        };
        let run = Some(run.path());
        assert_eq!(of(run, None), PrecisionName::Highest);
        assert_eq!(of(run, Some(PrecisionName::High)), PrecisionName::High);
        assert_eq!(of(None, None), PrecisionName::High);
        assert_eq!(of(Some(runs.path()), None), PrecisionName::High);
        Ok(())
    }
}

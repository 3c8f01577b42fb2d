//! Checkpoints: a directory with everything that training continues from.

use crate::communicator::Communicator;
use crate::error::{Error, Result};
use crate::gan::Gan;
use crate::hyperparameters::{AdamConfig, Hyperparameters};
use crate::optimizer::Optimizer;
use candle_core::{Device, Tensor};
use gan_files::SETTINGS_LIMIT;
use gan_models::{
    Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, Parameters, weights,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

const TENSORS: &str = "state.safetensors";
const STATE: &str = "state.json";
/// What a checkpoint calls the networks and the moments of their optimizers.
const NETWORKS: [&str; 2] = ["generator", "discriminator"];
const ADAMS: [&str; 2] = ["generator_adam", "discriminator_adam"];

/// The most steps or updates that a checkpoint may claim, 2^53: f64 counts that far, and no run gets
/// there.
const MAX_COUNT: u64 = 1 << 53;

/// What a checkpoint holds beside tensors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    step: u64,
    generator_updates: u64,
    discriminator_updates: u64,
    /// The random generator's key, stream and position in it (in 32-bit words).
    rng_seed: [u8; 32],
    rng_stream: u64,
    rng_position: u128,
    /// The probability of augmentation, where it is adaptive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    augmentation_probability: Option<f64>,
}

/// The files of a checkpoint in memory, of which ranks that do not see its directory make the same
/// networks.
#[derive(Debug, Default)]
pub struct CheckpointFiles {
    /// The directory, for messages.
    directory: PathBuf,
    state: String,
    tensors: Vec<u8>,
}

impl CheckpointFiles {
    /// Reads a checkpoint that [`Gan::save`] wrote.
    ///
    /// # Errors
    /// Files that are missing or cannot be read.
    pub fn read(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref().to_path_buf();
        let state = read_text(&directory)?;
        let path = directory.join(TENSORS);
        let tensors = gan_files::read(&path).map_err(|error| failed(&path, error))?;
        Ok(Self { directory, state, tensors })
    }

    /// Returns rank 0's files, or none, on all ranks. What the others give does not count.
    ///
    /// # Errors
    /// A rank that failed.
    pub fn of_first_rank(
        own: Option<Self>,
        communicator: &dyn Communicator,
    ) -> Result<Option<Self>> {
        if !communicator.decide(own.is_some())? {
            return Ok(None);
        }
        let own = own.unwrap_or_default();
        let text = |own: String| {
            let bytes = communicator.broadcast(0, own.into_bytes())?;
            Ok::<_, Error>(String::from_utf8_lossy(&bytes).into_owned())
        };
        let directory = text(own.directory.display().to_string())?.into();
        let state = text(own.state)?;
        let tensors = communicator.broadcast(0, own.tensors)?;
        Ok(Some(Self { directory, state, tensors }))
    }
}

/// Reads the step of a checkpoint, without its tensors.
///
/// # Errors
/// A missing or damaged file.
pub fn checkpoint_step(directory: &Path) -> Result<u64> {
    Ok(parse_state(directory, &read_text(directory)?)?.step)
}

impl<G, D> Gan<G, D> {
    /// Writes a checkpoint: both networks, the EMA, both optimizers, the step and the random state.
    /// It appears whole or not at all, and takes the place of an earlier one in `directory`.
    ///
    /// # Errors
    /// A directory or file that cannot be written; an earlier checkpoint there is then still whole.
    pub fn save(&self, directory: impl AsRef<Path>) -> Result<()> {
        let path = directory.as_ref();
        if path.file_name().is_none() {
            return Err(failed(path, "names no directory"));
        }
        // Not its parents: a run that was moved or removed must not come back in part.
        let staged =
            gan_files::staging(gan_files::parent(path)).map_err(|error| failed(path, error))?;
        self.write(staged.path())?;
        gan_files::replace(staged, path).map_err(|error| failed(path, error))
    }

    fn write(&self, directory: &Path) -> Result<()> {
        let mut tensors = Vec::new();
        for (part, parameters) in self.parts() {
            for (name, var) in parameters.iter() {
                tensors.push((format!("{part}/{name}"), var.as_detached_tensor()));
            }
        }
        let optimizers = [&self.generator.optimizer, &self.discriminator.optimizer];
        for (part, optimizer) in ADAMS.into_iter().zip(optimizers) {
            for (name, tensor) in optimizer.state() {
                tensors.push((format!("{part}/{name}"), tensor));
            }
        }
        weights::save_tensors(&directory.join(TENSORS), tensors)?;
        let state = State {
            step: self.step,
            generator_updates: self.generator.optimizer.step(),
            discriminator_updates: self.discriminator.optimizer.step(),
            rng_seed: self.rng.get_seed(),
            rng_stream: self.rng.get_stream(),
            rng_position: self.rng.get_word_pos(),
            augmentation_probability: self.augmentation_probability(),
        };
        let path = directory.join(STATE);
        let text = serde_json::to_vec_pretty(&state).map_err(|error| failed(&path, error))?;
        gan_files::write(&path, &text).map_err(|error| failed(&path, error))
    }

    /// Restores a checkpoint that [`Gan::save`] wrote.
    ///
    /// # Errors
    /// A checkpoint that is missing, damaged or of other networks, naming the first tensor that
    /// differs and both shapes. Nothing is then changed.
    pub fn restore(&mut self, directory: impl AsRef<Path>) -> Result<()> {
        let files = CheckpointFiles::read(directory)?;
        self.continue_from(Checkpoint::new(&files, &self.device().clone())?)
    }

    /// Starts from the networks and the EMA of another training's checkpoint. Optimizers, step and
    /// random state stay as they are.
    ///
    /// # Errors
    /// As [`Gan::restore`]. Nothing is then changed.
    pub fn init_from(&mut self, directory: impl AsRef<Path>) -> Result<()> {
        let files = CheckpointFiles::read(directory)?;
        let Checkpoint { path, mut parts, .. } = Checkpoint::new(&files, &self.device().clone())?;
        let networks = self.parts().map(|(part, _)| parts.remove(part).unwrap_or_default());
        self.for_networks(&path, &networks, weights::check)?;
        self.for_networks(&path, &networks, weights::restore)
    }

    /// Checks or restores the networks and the EMA, of which `networks` has the tensors.
    fn for_networks(
        &self,
        path: &Path,
        networks: &[HashMap<String, Tensor>; 3],
        act: impl Fn(&Path, &HashMap<String, Tensor>, &Parameters) -> gan_models::Result<()>,
    ) -> Result<()> {
        self.parts().into_iter().zip(networks).try_for_each(|((part, parameters), tensors)| {
            act(path, tensors, parameters).map_err(|error| in_part(part, error))
        })
    }

    /// Takes the state of a checkpoint, if it fits.
    fn continue_from(&mut self, checkpoint: Checkpoint) -> Result<()> {
        let Checkpoint { path, state, mut parts } = checkpoint;
        let device = self.device().clone();
        let mut take = |part: &str| parts.remove(part).unwrap_or_default();
        let networks = self.parts().map(|(part, _)| take(part));
        let moments = ADAMS.map(take);
        if let Some(part) = parts.keys().min() {
            return Err(failed(&path, format!("unknown part {part}")));
        }
        // Everything is checked before anything is changed.
        self.for_networks(&path, &networks, weights::check)?;
        let adam = |part: &str, updates, moments, (parameters, adam): (&Parameters, AdamConfig)| {
            let mut optimizer = Optimizer::new(adam.adam());
            let restored = optimizer.restore(updates, moments, parameters, &device);
            restored.map(|()| optimizer).map_err(|error| match error {
                Error::OptimizerState(reason) => failed(&path, format!("{part}: {reason}")),
                other => other,
            })
        };
        let Hyperparameters { generator_adam, discriminator_adam, .. } = self.hyperparameters;
        let [of_generator, of_discriminator] = moments;
        let generator = (&self.generator.parameters, generator_adam);
        let generator = adam(ADAMS[0], state.generator_updates, of_generator, generator)?;
        let discriminator = (&self.discriminator.parameters, discriminator_adam);
        let discriminator =
            adam(ADAMS[1], state.discriminator_updates, of_discriminator, discriminator)?;
        self.for_networks(&path, &networks, weights::restore)?;
        self.generator.optimizer = generator;
        self.discriminator.optimizer = discriminator;
        self.rng = ChaCha8Rng::from_seed(state.rng_seed);
        self.rng.set_stream(state.rng_stream);
        self.rng.set_word_pos(state.rng_position);
        self.step = state.step;
        self.augmentation_probability = state.augmentation_probability.unwrap_or(0.0);
        Ok(())
    }

    /// Everything with parameters, and what a checkpoint calls it.
    fn parts(&self) -> [(&'static str, &Parameters); 3] {
        [
            (NETWORKS[0], &self.generator.parameters),
            (NETWORKS[1], &self.discriminator.parameters),
            ("ema", self.ema.parameters()),
        ]
    }
}

impl Gan {
    /// Creates the networks of two configurations as a checkpoint holds them. No weights are drawn, and
    /// networks that the checkpoint is not of take no memory.
    ///
    /// # Errors
    /// Those of [`Gan::init`] and of [`Gan::restore`].
    pub fn load(
        generator: &GeneratorConfig,
        discriminator: &DiscriminatorConfig,
        hyperparameters: Hyperparameters,
        device: &Device,
        directory: impl AsRef<Path>,
    ) -> Result<Self> {
        let files = CheckpointFiles::read(directory)?;
        Self::of_files(generator, discriminator, hyperparameters, device, &files)
    }

    /// Creates the networks of two configurations as a checkpoint's files hold them.
    ///
    /// # Errors
    /// Those of [`Gan::load`].
    pub fn of_files(
        generator: &GeneratorConfig,
        discriminator: &DiscriminatorConfig,
        hyperparameters: Hyperparameters,
        device: &Device,
        files: &CheckpointFiles,
    ) -> Result<Self> {
        let checkpoint = Checkpoint::new(files, device)?;
        let [of_generator, of_discriminator] = NETWORKS.map(|part| checkpoint.part(part));
        let latent = generator.latent();
        let generator = Parameters::from_tensors(of_generator, device, |vars| {
            Generator::new(generator.clone(), vars)
        });
        let discriminator = Parameters::from_tensors(of_discriminator, device, |vars| {
            Discriminator::new(discriminator, vars)
        });
        let mut gan = Self::new(
            generator.map_err(|error| in_part(NETWORKS[0], error))?,
            discriminator.map_err(|error| in_part(NETWORKS[1], error))?,
            latent,
            hyperparameters,
            // The random state is the checkpoint's.
            0,
        )?;
        gan.continue_from(checkpoint)?;
        Ok(gan)
    }
}

/// What the files of a checkpoint hold.
struct Checkpoint {
    /// The file of the tensors.
    path: PathBuf,
    state: State,
    /// Tensors by part and name.
    parts: HashMap<String, HashMap<String, Tensor>>,
}

impl Checkpoint {
    fn new(files: &CheckpointFiles, device: &Device) -> Result<Self> {
        let CheckpointFiles { directory, state, tensors } = files;
        let (path, state) = (directory.join(TENSORS), parse_state(directory, state)?);
        let parts = parts_of(weights::tensors_from_bytes(&path, tensors, device)?, &path)?;
        Ok(Self { path, state, parts })
    }

    /// The tensors of a part, and their file.
    fn part(&self, part: &str) -> (&Path, HashMap<String, Tensor>) {
        (&self.path, self.parts.get(part).cloned().unwrap_or_default())
    }
}

/// Reads the file of a checkpoint's [`State`].
fn read_text(directory: &Path) -> Result<String> {
    let path = directory.join(STATE);
    gan_files::read_to_string(&path, SETTINGS_LIMIT).map_err(|error| failed(&path, error))
}

fn parse_state(directory: &Path, text: &str) -> Result<State> {
    let path = directory.join(STATE);
    let state: State = serde_json::from_str(text).map_err(|error| failed(&path, error))?;
    if let Some(chance) = state.augmentation_probability.filter(|p| !(0.0..=1.0).contains(p)) {
        return Err(failed(&path, format!("augmentation_probability {chance} is not in [0, 1]")));
    }
    let counts = [state.step, state.generator_updates, state.discriminator_updates];
    match counts.into_iter().find(|count| *count > MAX_COUNT) {
        Some(count) => {
            Err(failed(&path, format!("{count} steps or updates are at most {MAX_COUNT}")))
        }
        None => Ok(state),
    }
}

/// The parts of tensors named PART/NAME.
fn parts_of(
    tensors: HashMap<String, Tensor>,
    path: &Path,
) -> Result<HashMap<String, HashMap<String, Tensor>>> {
    let mut parts: HashMap<String, HashMap<String, Tensor>> = HashMap::new();
    for (name, tensor) in tensors {
        let Some((part, name)) = name.split_once('/') else {
            return Err(failed(path, format!("unknown tensor {name}")));
        };
        parts.entry(part.to_string()).or_default().insert(name.to_string(), tensor);
    }
    Ok(parts)
}

fn failed(path: &Path, reason: impl ToString) -> Error {
    Error::Checkpoint { path: path.into(), reason: reason.to_string() }
}

/// An error of the weights of one part.
fn in_part(part: &str, error: gan_models::Error) -> Error {
    match error {
        gan_models::Error::Architecture { path, difference, .. } => Error::Checkpoint {
            path,
            reason: format!("weights of another architecture: {part}: {difference}"),
        },
        gan_models::Error::NotFinite { path, tensor, .. } => Error::Checkpoint {
            path,
            reason: format!("{part}: {tensor} holds values that are NaN or infinite"),
        },
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Recipe;
    use gan_models::Gradients;

    /// A huge gradient makes a second moment infinite and its parameter stays finite: no checkpoint must
    /// be made that cannot be restored.
    #[test]
    fn moments_are_checked_before_they_are_saved() -> Result<()> {
        let recipe = Recipe::built_in("mlp-small")?.expect("a recipe");
        let shape = (1, 28, 28).into();
        let generator = recipe.network.generator(shape, Vec::new(), false)?;
        let discriminator = recipe.network.discriminator(shape, None)?;
        let mut gan = Gan::init(&generator, &discriminator, recipe.training, 3, &Device::Cpu)?;
        gan.check_parameters()?;
        let name = "layers.0.bias".to_string();
        let bias = gan.generator_parameters().get(&name).expect("a bias");
        let gradients = Gradients::from([(name, (bias.ones_like()? * 1e30)?)]);
        gan.update_generator(&gradients)?;
        let text = gan.check_parameters().expect_err("an infinite moment").to_string();
        assert_eq!(text, "step 0: the generator's moment second.layers.0.bias holds inf");
        Ok(())
    }
}

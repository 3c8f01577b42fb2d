//! Checkpoints: a directory with everything that training continues from.

use crate::error::{Error, Result};
use crate::gan::Gan;
use candle_core::{Device, Tensor};
use gan_models::{Parameters, weights};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

const TENSORS: &str = "state.safetensors";
const STATE: &str = "state.json";

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
}

/// Reads the step of a checkpoint, without its tensors.
///
/// # Errors
/// A missing or damaged file.
pub fn checkpoint_step(directory: &Path) -> Result<u64> {
    Ok(read_state(directory)?.step)
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
        let optimizers = [
            ("generator_adam", &self.generator.optimizer),
            ("discriminator_adam", &self.discriminator.optimizer),
        ];
        for (part, optimizer) in optimizers {
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
        let state = read_state(directory.as_ref())?;
        let path = directory.as_ref().join(TENSORS);
        let device = self.device().clone();
        let mut parts = read_parts(&path, &device)?;
        let mut take = |part: &str| parts.remove(part).unwrap_or_default();
        let networks = self.parts().map(|(part, _)| take(part));
        let (generator_state, discriminator_state) =
            (take("generator_adam"), take("discriminator_adam"));
        if let Some(part) = parts.keys().min() {
            return Err(failed(&path, format!("unknown part {part}")));
        }
        // Everything is checked before anything is changed.
        for ((part, parameters), tensors) in self.parts().into_iter().zip(&networks) {
            weights::check(&path, tensors, parameters).map_err(|error| in_part(part, error))?;
        }
        let of = |updates, state, parameters: &Parameters, adam: crate::AdamConfig| {
            let mut optimizer = crate::Optimizer::new(adam.adam());
            optimizer.restore(updates, state, parameters, &device).map(|()| optimizer)
        };
        let generator_optimizer = of(
            state.generator_updates,
            generator_state,
            &self.generator.parameters,
            self.hyperparameters.generator_adam,
        )?;
        let discriminator_optimizer = of(
            state.discriminator_updates,
            discriminator_state,
            &self.discriminator.parameters,
            self.hyperparameters.discriminator_adam,
        )?;
        for ((part, parameters), tensors) in self.parts().into_iter().zip(&networks) {
            weights::restore(&path, tensors, parameters).map_err(|error| in_part(part, error))?;
        }
        self.generator.optimizer = generator_optimizer;
        self.discriminator.optimizer = discriminator_optimizer;
        self.rng = ChaCha8Rng::from_seed(state.rng_seed);
        self.rng.set_stream(state.rng_stream);
        self.rng.set_word_pos(state.rng_position);
        self.step = state.step;
        Ok(())
    }

    /// Everything with parameters, and what a checkpoint calls it.
    fn parts(&self) -> [(&'static str, &Parameters); 3] {
        [
            ("generator", &self.generator.parameters),
            ("discriminator", &self.discriminator.parameters),
            ("ema", self.ema.parameters()),
        ]
    }
}

fn read_state(directory: &Path) -> Result<State> {
    let path = directory.join(STATE);
    let text = gan_files::read(&path).map_err(|error| failed(&path, error))?;
    let state: State = serde_json::from_slice(&text).map_err(|error| failed(&path, error))?;
    let counts = [state.step, state.generator_updates, state.discriminator_updates];
    match counts.into_iter().find(|count| *count > MAX_COUNT) {
        Some(count) => {
            Err(failed(&path, format!("{count} steps or updates are at most {MAX_COUNT}")))
        }
        None => Ok(state),
    }
}

/// Reads tensors named PART/NAME.
fn read_parts(path: &Path, device: &Device) -> Result<HashMap<String, HashMap<String, Tensor>>> {
    let mut parts: HashMap<String, HashMap<String, Tensor>> = HashMap::new();
    for (name, tensor) in weights::load_tensors(path, device)? {
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

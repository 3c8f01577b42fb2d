//! Checkpoints: one directory with everything that training continues from, written whole or not at all.

use crate::gan::Gan;
use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use gan_models::{Optimizer, Parameters, weights};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Checkpoints that a run keeps. If the last is damaged, for example by a power cut, there is another.
const KEPT: usize = 2;

const TENSORS: &str = "state.safetensors";
const STATE: &str = "state.json";

/// What a checkpoint holds besides tensors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    step: u64,
    generator_updates: u64,
    discriminator_updates: u64,
    /// State of the random number generator: key, stream, and position in the stream (in 32-bit
    /// words).
    rng_seed: [u8; 32],
    rng_stream: u64,
    rng_position: u128,
}

/// The checkpoint of the step that measured best.
const BEST: &str = "best";

/// Writes the checkpoint of the current step into `directory` and removes all but the newest and
/// the best.
///
/// # Errors
/// A directory or file that cannot be written; older checkpoints are kept then.
pub(crate) fn save(gan: &Gan, directory: &Path) -> Result<()> {
    write(gan, directory, &format!("{:06}", gan.step))?;
    let mut all = list(directory)?;
    all.truncate(all.len().saturating_sub(KEPT));
    for (_, old) in all {
        fs::remove_dir_all(&old).with_context(|| format!("removing {}", old.display()))?;
    }
    Ok(())
}

/// Writes the checkpoint of the current step as the best one.
///
/// # Errors
/// A directory or file that cannot be written.
pub(crate) fn save_best(gan: &Gan, directory: &Path) -> Result<()> {
    write(gan, directory, BEST)
}

/// Returns the step of the best checkpoint, if there is one.
pub(crate) fn best_step(directory: &Path) -> Option<u64> {
    let text = fs::read(directory.join(BEST).join(STATE)).ok()?;
    let state: State = serde_json::from_slice(&text).ok()?;
    Some(state.step)
}

/// Removes the best checkpoint, if there is one.
///
/// # Errors
/// A directory that cannot be removed.
pub(crate) fn remove_best(directory: &Path) -> Result<()> {
    remove(&directory.join(BEST))
}

/// Removes a directory, if it exists.
///
/// # Errors
/// A directory that cannot be removed.
pub(crate) fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", directory.display()))
        }
        _ => Ok(()),
    }
}

fn write(gan: &Gan, directory: &Path, name: &str) -> Result<()> {
    let path = directory.join(name);
    let unfinished = directory.join(format!(".{name}.unfinished"));
    let write = || -> Result<()> {
        // Left by a program that was killed.
        remove(&unfinished)?;
        // Only this directory, not its parents: a run that was moved must not reappear in part.
        fs::create_dir(&unfinished)?;
        weights::save_tensors(&unfinished.join(TENSORS), tensors(gan))?;
        let state = State {
            step: gan.step,
            generator_updates: gan.generator_optimizer.step(),
            discriminator_updates: gan.discriminator_optimizer.step(),
            rng_seed: gan.rng.get_seed(),
            rng_stream: gan.rng.get_stream(),
            rng_position: gan.rng.get_word_pos(),
        };
        fs::write(unfinished.join(STATE), serde_json::to_vec_pretty(&state)?)?;
        if !path.exists() {
            return Ok(fs::rename(&unfinished, &path)?);
        }
        let old = directory.join(format!(".{name}.old"));
        // Left by a program that was killed between the next two lines.
        remove(&old)?;
        fs::rename(&path, &old)?;
        fs::rename(&unfinished, &path)?;
        Ok(fs::remove_dir_all(&old)?)
    };
    if let Err(error) = write() {
        // The first error is reported.
        let _ = fs::remove_dir_all(&unfinished);
        return Err(error).with_context(|| format!("writing checkpoint {}", path.display()));
    }
    Ok(())
}

/// Restores the newest checkpoint in `directory`.
///
/// # Errors
/// No checkpoint; one that is damaged or of another network.
pub(crate) fn restore_newest(gan: &mut Gan, directory: &Path, device: &Device) -> Result<()> {
    let mut all = list(directory)?;
    let Some((_, path)) = all.pop() else {
        bail!("{}: no checkpoint to resume from", directory.display());
    };
    restore(gan, &path, device).with_context(|| match all.pop() {
        Some((step, _)) => format!(
            "checkpoint {} (without this directory, the one of step {step} is resumed)",
            path.display()
        ),
        None => format!("checkpoint {}", path.display()),
    })
}

fn restore(gan: &mut Gan, directory: &Path, device: &Device) -> Result<()> {
    let path = directory.join(STATE);
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    let state: State = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let path = directory.join(TENSORS);
    let mut parts: HashMap<String, HashMap<String, Tensor>> = HashMap::new();
    for (name, tensor) in weights::load_tensors(&path, device)? {
        let Some((part, name)) = name.split_once('/') else {
            bail!("{}: unknown tensor {name}", path.display());
        };
        parts.entry(part.to_string()).or_default().insert(name.to_string(), tensor);
    }
    let mut take = |part: &str| parts.remove(part).unwrap_or_default();
    for (part, parameters) in networks(gan) {
        weights::restore(&path, &take(part), parameters).with_context(|| part.to_string())?;
    }
    let optimizers: [(&str, &mut Optimizer, &Parameters, u64); 2] = [
        (
            "generator_adam",
            &mut gan.generator_optimizer,
            &gan.generator_parameters,
            state.generator_updates,
        ),
        (
            "discriminator_adam",
            &mut gan.discriminator_optimizer,
            &gan.discriminator_parameters,
            state.discriminator_updates,
        ),
    ];
    for (part, optimizer, parameters, updates) in optimizers {
        optimizer.restore(updates, take(part), parameters, device)?;
    }
    let unknown: Vec<&str> = parts.keys().map(String::as_str).collect();
    ensure!(unknown.is_empty(), "{}: unknown parts {}", path.display(), unknown.join(", "));
    gan.rng = ChaCha8Rng::from_seed(state.rng_seed);
    gan.rng.set_stream(state.rng_stream);
    gan.rng.set_word_pos(state.rng_position);
    gan.step = state.step;
    Ok(())
}

/// The parts with parameters, by their names in a checkpoint.
fn networks(gan: &Gan) -> [(&str, &Parameters); 3] {
    [
        ("generator", &gan.generator_parameters),
        ("discriminator", &gan.discriminator_parameters),
        ("ema", gan.ema.parameters()),
    ]
}

/// All tensors of both networks and optimizers, each named PART/NAME.
fn tensors(gan: &Gan) -> Vec<(String, Tensor)> {
    let mut all = Vec::new();
    for (part, parameters) in networks(gan) {
        for (name, var) in parameters.iter() {
            all.push((format!("{part}/{name}"), var.as_detached_tensor()));
        }
    }
    let optimizers = [
        ("generator_adam", &gan.generator_optimizer),
        ("discriminator_adam", &gan.discriminator_optimizer),
    ];
    for (part, optimizer) in optimizers {
        for (name, tensor) in optimizer.state() {
            all.push((format!("{part}/{name}"), tensor));
        }
    }
    all
}

/// Checkpoints by step, the newest last.
fn list(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let context = || format!("reading checkpoints in {}", directory.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let step = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(step) = step {
            all.push((step, path));
        }
    }
    all.sort();
    Ok(all)
}

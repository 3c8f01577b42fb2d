//! Checkpoints: one folder with everything that training goes on from, whole or not there.

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

/// Checkpoints that a run keeps: should the last be damaged, by a power cut say, there is another.
const KEPT: usize = 2;

const TENSORS: &str = "state.safetensors";
const STATE: &str = "state.json";

/// What a checkpoint holds beside tensors.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    step: u64,
    generator_updates: u64,
    discriminator_updates: u64,
    /// Of the generator of random numbers: key, stream and position in it (in 32-bit words).
    rng_seed: [u8; 32],
    rng_stream: u64,
    rng_position: u128,
}

/// The checkpoint of the step that measured best.
const BEST: &str = "best";

/// Writes the checkpoint of the current step into `folder` and removes all but the newest, and the
/// best.
///
/// # Errors
/// A folder or file that cannot be written; older checkpoints are then still there.
pub(crate) fn save(gan: &Gan, folder: &Path) -> Result<()> {
    write(gan, folder, &format!("{:06}", gan.step))?;
    let mut all = list(folder)?;
    all.truncate(all.len().saturating_sub(KEPT));
    for (_, old) in all {
        fs::remove_dir_all(&old).with_context(|| format!("removing {}", old.display()))?;
    }
    Ok(())
}

/// Writes the checkpoint of the current step in the place of the best one.
///
/// # Errors
/// A folder or file that cannot be written.
pub(crate) fn save_best(gan: &Gan, folder: &Path) -> Result<()> {
    write(gan, folder, BEST)
}

/// The step of the best checkpoint, if there is one.
pub(crate) fn best_step(folder: &Path) -> Option<u64> {
    let text = fs::read(folder.join(BEST).join(STATE)).ok()?;
    let state: State = serde_json::from_slice(&text).ok()?;
    Some(state.step)
}

/// Removes the best checkpoint, if there is one.
///
/// # Errors
/// A folder that cannot be removed.
pub(crate) fn remove_best(folder: &Path) -> Result<()> {
    remove(&folder.join(BEST))
}

/// Removes a folder, if it is there.
///
/// # Errors
/// A folder that cannot be removed.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn write(gan: &Gan, folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(name);
    let unfinished = folder.join(format!(".{name}.unfinished"));
    let write = || -> Result<()> {
        // Of a program that was killed.
        remove(&unfinished)?;
        // Not what it is in: a run that was moved or removed is not to come back in part.
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
        let old = folder.join(format!(".{name}.old"));
        // Of one that was killed between the next two lines.
        remove(&old)?;
        fs::rename(&path, &old)?;
        fs::rename(&unfinished, &path)?;
        Ok(fs::remove_dir_all(&old)?)
    };
    if let Err(error) = write() {
        // What is left of it helps no one; the first error is the one to report.
        let _ = fs::remove_dir_all(&unfinished);
        return Err(error).with_context(|| format!("writing checkpoint {}", path.display()));
    }
    Ok(())
}

/// Takes up the newest checkpoint in `folder`.
///
/// # Errors
/// No checkpoint; one that is damaged or of another network.
pub(crate) fn restore_newest(gan: &mut Gan, folder: &Path, device: &Device) -> Result<()> {
    let mut all = list(folder)?;
    let Some((_, path)) = all.pop() else {
        bail!("{}: no checkpoint to resume from", folder.display());
    };
    restore(gan, &path, device).with_context(|| match all.pop() {
        Some((step, _)) => format!(
            "checkpoint {} (without this folder, the one of step {step} is resumed)",
            path.display()
        ),
        None => format!("checkpoint {}", path.display()),
    })
}

fn restore(gan: &mut Gan, folder: &Path, device: &Device) -> Result<()> {
    let path = folder.join(STATE);
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    let state: State = serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    let path = folder.join(TENSORS);
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
    ensure!(parts.is_empty(), "{}: unknown parts {:?}", path.display(), parts.keys());
    gan.rng = ChaCha8Rng::from_seed(state.rng_seed);
    gan.rng.set_stream(state.rng_stream);
    gan.rng.set_word_pos(state.rng_position);
    gan.step = state.step;
    Ok(())
}

/// Everything with parameters, and what a checkpoint calls it.
fn networks(gan: &Gan) -> [(&str, &Parameters); 3] {
    [
        ("generator", &gan.generator_parameters),
        ("discriminator", &gan.discriminator_parameters),
        ("ema", gan.ema.parameters()),
    ]
}

/// All tensors of the pair, each named PART/NAME.
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
fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let context = || format!("reading checkpoints in {}", folder.display());
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let step = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(step) = step {
            all.push((step, path));
        }
    }
    all.sort();
    Ok(all)
}

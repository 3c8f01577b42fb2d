//! What decides a run's results, and so must be the same on every rank.

use crate::config::TrainConfig;
use crate::device;
use anyhow::Result;
use candle_core::Device;
use gan_data::Images;
use gan_models::Parameters;
use gan_training::Gan;
use serde_json::Value;
use std::hash::{DefaultHasher, Hasher};

/// Names and values, in the order in which they are compared.
///
/// # Errors
/// Failures of the device; the program's file, if it cannot be read.
pub(super) fn facts(
    config: &TrainConfig,
    images: &Images,
    gan: &Gan,
    device: &Device,
) -> Result<Vec<(String, String)>> {
    let networks = [gan.generator_parameters(), gan.discriminator_parameters()];
    let mut facts = vec![
        ("the version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
        ("the checksum of the program".to_string(), format!("{:016x}", checksum_of_program()?)),
        ("the arithmetic".to_string(), device::describe_arithmetic(device)),
    ];
    leaves("configuration key ", &serde_json::to_value(config)?, &mut facts);
    facts.extend([
        (
            "the checksum of the data set".to_string(),
            format!("{:016x}", checksum_of_images(images)),
        ),
        ("the step".to_string(), gan.step().to_string()),
        ("the checksum of the networks".to_string(), format!("{:016x}", checksum_of(networks)?)),
    ]);
    Ok(facts)
}

/// Collects the values of an object, and of those in it, by their keys.
fn leaves(name: &str, value: &Value, facts: &mut Vec<(String, String)>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let separator = if name.ends_with(' ') { "" } else { "." };
                leaves(&format!("{name}{separator}{key}"), value, facts);
            }
        }
        other => facts.push((name.to_string(), other.to_string())),
    }
}

/// The checksum of images and labels in memory. Of sharded images it is their number: the configuration
/// has the checksums of their files.
fn checksum_of_images(images: &Images) -> u64 {
    match images {
        Images::Memory(dataset) => dataset.fingerprint(),
        Images::Sharded(_) => images.len() as u64,
    }
}

/// The checksum of the program's file: each rank makes its own updates, and another build may round
/// otherwise.
///
/// # Errors
/// A file that cannot be read.
fn checksum_of_program() -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    hasher.write(&std::fs::read(std::env::current_exe()?)?);
    Ok(hasher.finish())
}

/// The checksum of networks' parameters.
///
/// # Errors
/// Failures of the device.
fn checksum_of(networks: [&Parameters; 2]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for (name, var) in networks.into_iter().flat_map(Parameters::iter) {
        hasher.write(name.as_bytes());
        for value in var.flatten_all()?.to_vec1::<f32>()? {
            hasher.write_u32(value.to_bits());
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::train::NewRunOptions;
    use crate::config::resolve::resolved;

    /// The names of the facts that differ between two runs.
    fn differing(change: impl FnOnce(&mut NewRunOptions)) -> Result<Vec<String>> {
        let facts_of = |run: NewRunOptions| -> Result<Vec<(String, String)>> {
            let (config, batches) = resolved(run)?;
            let device = Device::Cpu;
            facts(&config, batches.images(), &config.gan(&device)?, &device)
        };
        let mut run = NewRunOptions::default();
        run.data.classes.digit = vec!["5".to_string()];
        run.recipe = Some("mlp-small".to_string());
        let first = facts_of(run.clone())?;
        change(&mut run);
        let second = facts_of(run)?;
        let others = second.into_iter().filter(|fact| !first.contains(fact));
        Ok(others.map(|(name, _)| name).collect())
    }

    #[test]
    fn what_differs_is_named() -> Result<()> {
        assert_eq!(differing(|_| ())?, [""; 0]);
        let set = differing(|run| run.set = vec!["generator_adam.lr=0.5".to_string()])?;
        let key = "configuration key training.generator_adam.lr";
        assert!(set.contains(&key.to_string()), "{set:?}");
        let seed = differing(|run| run.seed.seed = Some(1))?;
        assert_eq!(seed, ["configuration key seed", "the checksum of the networks"]);
        let digit = differing(|run| run.data.classes.digit = vec!["6".to_string()])?;
        assert!(digit.contains(&"the checksum of the data set".to_string()), "{digit:?}");
        Ok(())
    }
}

//! Checkpoints: exact, whole, and refused where they do not fit.

use crate::{all_values, gan, gan_of, gan_with, images};
use gan_training::candle_core::{DType, Device};
use gan_training::gan_models::weights;
use gan_training::{AdaptiveProbability, Gan, checkpoint_step};
use std::fs;

fn train(gan: &mut Gan, until: u64) {
    while gan.step() < until {
        gan.train_step(&images(gan.step()), &[]).unwrap();
    }
}

fn state(gan: &Gan) -> Vec<f32> {
    let parameters =
        [gan.generator_parameters(), gan.discriminator_parameters(), gan.ema_parameters()];
    parameters.into_iter().flat_map(all_values).collect()
}

/// Both networks and the EMA are those of the checkpoint; step, optimizers and random state are new.
#[test]
fn a_new_pair_starts_from_the_networks_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint");
    let mut first = gan_of("default", 3);
    train(&mut first, 3);
    first.save(&checkpoint).unwrap();
    let mut second = gan_of("default", 4);
    second.init_from(&checkpoint).unwrap();
    assert!(state(&second) == state(&first));
    assert_eq!(second.step(), 0);
    train(&mut first, 6);
    train(&mut second, 3);
    assert!(state(&second) != state(&first), "other latents, no moments");
    let mut other = gan_of("mlp", 4);
    let before = state(&other);
    let error = other.init_from(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("weights of another architecture: generator: "), "{error}");
    assert!(state(&other) == before);
}

/// Ten steps are six, a checkpoint and four more: batch normalisation, dropout, augmentation and
/// skipped updates included.
#[test]
fn a_restored_pair_continues_with_the_same_bytes() {
    for recipe in ["default", "mlp", "mlp-bn", "mlp-small"] {
        let directory = tempfile::tempdir().unwrap();
        let checkpoint = directory.path().join("checkpoint");
        let mut whole = gan_of(recipe, 3);
        train(&mut whole, 10);
        let mut first = gan_of(recipe, 3);
        train(&mut first, 3);
        first.save(&checkpoint).unwrap();
        train(&mut first, 6);
        first.save(&checkpoint).unwrap();
        assert_eq!(checkpoint_step(&checkpoint).unwrap(), 6);
        // Another seed: everything comes from the checkpoint.
        let mut second = gan_of(recipe, 4);
        second.restore(&checkpoint).unwrap();
        train(&mut second, 10);
        assert!(state(&second) == state(&whole), "{recipe}");
        let (generator, discriminator) =
            (second.generator().config(), second.discriminator().config());
        let settings = *second.hyperparameters();
        let device = second.device();
        let mut third = Gan::load(generator, discriminator, settings, device, &checkpoint).unwrap();
        assert_eq!(third.step(), 6);
        train(&mut third, 10);
        assert!(state(&third) == state(&whole), "{recipe}, loaded");
        let entries = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(entries, 1, "nothing is left beside the checkpoint");
    }
}

/// The probability of augmentation goes on where it was; it is between its ends.
#[test]
fn an_adaptive_probability_is_restored() {
    let adaptive = |seed| {
        gan_with("mlp-small", seed, |settings| {
            let augmentation = &mut settings.regularization.augmentation;
            augmentation.translation = 3;
            augmentation.adaptive = Some(AdaptiveProbability { target: -0.9, images: 400 });
        })
    };
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint");
    let mut whole = adaptive(3);
    assert_eq!(whole.augmentation_probability(), Some(0.0));
    train(&mut whole, 30);
    let mut first = adaptive(3);
    train(&mut first, 20);
    first.save(&checkpoint).unwrap();
    let chance = first.augmentation_probability().unwrap();
    assert!(chance > 0.0 && chance < 1.0, "{chance}");
    let mut second = adaptive(4);
    second.restore(&checkpoint).unwrap();
    assert_eq!(second.augmentation_probability(), Some(chance));
    train(&mut second, 30);
    assert!(state(&second) == state(&whole));
    assert_eq!(second.augmentation_probability(), whole.augmentation_probability());
    let path = checkpoint.join("state.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("_probability\": ", "_probability\": -")).unwrap();
    let error = second.restore(&checkpoint).unwrap_err().to_string();
    assert!(error.contains("augmentation_probability -") && error.contains("[0, 1]"), "{error}");
    assert_eq!(gan_of("default", 3).augmentation_probability(), None);
}

#[test]
fn a_checkpoint_of_other_networks_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint");
    let mut other = gan_of("mlp", 3);
    train(&mut other, 2);
    other.save(&checkpoint).unwrap();
    let mut gan = gan();
    train(&mut gan, 1);
    let before = state(&gan);
    let text = gan.restore(&checkpoint).unwrap_err().to_string();
    let want = "generator: layers.0.weight has shape [1, 1, 100, 256], must have [1, 1, 64, 256]";
    assert!(text.contains(want), "{text}");
    assert!(state(&gan) == before && gan.step() == 1, "unchanged");
    let (generator, discriminator) = (gan.generator().config(), gan.discriminator().config());
    let load =
        Gan::load(generator, discriminator, *gan.hyperparameters(), gan.device(), &checkpoint);
    let text = load.err().expect("other networks").to_string();
    assert!(text.contains(want), "{text}");

    // The networks fit, the optimizer's state does not: nothing is changed either.
    train(&mut gan, 2);
    gan.save(&checkpoint).unwrap();
    let path = checkpoint.join("state.safetensors");
    let bytes = fs::read(&path).unwrap();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let at = text.find("generator_adam/first.layers.0.bias").expect("a moment");
    let mut renamed = bytes;
    renamed[at + "generator_adam/first.layers.".len()] = b'9';
    fs::write(&path, renamed).unwrap();
    let mut fresh = crate::gan();
    let before = state(&fresh);
    let text = fresh.restore(&checkpoint).unwrap_err().to_string();
    let want = "state.safetensors: generator_adam: optimizer state of layers.0.bias has one moment, not two";
    assert!(text.ends_with(want), "{text}");
    assert!(state(&fresh) == before && fresh.step() == 0, "unchanged");
}

/// Both would be refused by no one later: the step would overflow, the update would meet bytes that
/// are no f32.
#[test]
fn counts_and_moments_that_no_training_makes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let checkpoint = directory.path().join("checkpoint");
    let mut gan = gan();
    train(&mut gan, 1);
    gan.save(&checkpoint).unwrap();
    let (json, path) = (checkpoint.join("state.json"), checkpoint.join("state.safetensors"));
    let good = fs::read_to_string(&json).unwrap();
    for key in ["step", "generator_updates", "discriminator_updates"] {
        let bad = good.replace(&format!("\"{key}\": 1"), &format!("\"{key}\": {}", u64::MAX));
        assert_ne!(bad, good);
        fs::write(&json, bad).unwrap();
        let text = gan.restore(&checkpoint).unwrap_err().to_string();
        assert!(text.contains("18446744073709551615 steps or updates"), "{key}: {text}");
    }
    fs::write(&json, good).unwrap();
    let mut tensors = weights::load_tensors(&path, &Device::Cpu).unwrap();
    let moment = tensors.get_mut("generator_adam/second.layers.0.bias").unwrap();
    *moment = moment.to_dtype(DType::F64).unwrap();
    weights::save_tensors(&path, tensors).unwrap();
    let text = gan.restore(&checkpoint).unwrap_err().to_string();
    let want = "optimizer state second.layers.0.bias has type F64, its parameter F32";
    assert!(text.contains(want), "{text}");
}

#[test]
fn a_missing_or_damaged_checkpoint_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let mut gan = gan();
    let missing = directory.path().join("missing");
    let text = gan.restore(&missing).unwrap_err().to_string();
    assert!(text.contains("missing/state.json"), "{text}");
    let checkpoint = directory.path().join("checkpoint");
    gan.save(&checkpoint).unwrap();
    fs::write(checkpoint.join("state.json"), "{").unwrap();
    let text = gan.restore(&checkpoint).unwrap_err().to_string();
    assert!(text.contains("checkpoint/state.json"), "{text}");
}

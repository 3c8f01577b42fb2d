//! Damaged files: data sets, weights and checkpoints.

use std::fs;

use candle_core::Device;
use gan_models::weights;

use crate::{Place, SMALL, TINY, copy};

const IMAGES: &str = "set/images-idx3-ubyte";
const LABELS: &str = "set/labels-idx1-ubyte";

/// Trains on the small data set after `change` to one of its files. Checks the error.
fn damaged(file: &str, change: impl FnOnce(&mut Vec<u8>), parts: &[&str]) {
    let place = Place::new();
    let mut bytes = place.read(file);
    change(&mut bytes);
    place.write(file, bytes);
    let parts: Vec<&str> = parts.iter().copied().chain([file]).collect();
    place.refuse_saying(SMALL, &parts);
}

#[test]
fn idx_files_that_end_early_or_late() {
    let found = ["truncated", "18816", "18811"];
    damaged(IMAGES, |bytes| bytes.truncate(bytes.len() - 5), &found);
    damaged(IMAGES, |bytes| bytes.truncate(9), &["truncated header", "16", "9"]);
    damaged(IMAGES, Vec::clear, &["truncated header", "16", "0"]);
    damaged(IMAGES, |bytes| bytes.push(0), &["trailing", "18816", "18817"]);
    damaged(LABELS, |bytes| bytes.truncate(20), &["truncated", "24", "12"]);
    damaged(LABELS, |bytes| bytes.push(0), &["trailing", "24", "25"]);
}

#[test]
fn idx_files_of_something_else() {
    damaged(IMAGES, |bytes| bytes[2] = 0x0d, &["magic", "0x00000803", "0x00000d03"]);
    damaged(LABELS, |bytes| bytes[0] = b'x', &["magic", "0x00000801", "0x78000801"]);
    let place = Place::new();
    let (images, labels) = (place.read(IMAGES), place.read(LABELS));
    place.write(IMAGES, &labels);
    place.refuse_saying(SMALL, &[IMAGES, "labels where images are expected"]);
    place.write(IMAGES, &images);
    place.write(LABELS, &images);
    place.refuse_saying(SMALL, &[LABELS, "images where labels are expected"]);
}

#[test]
fn idx_files_that_claim_too_much_or_nothing() {
    let claim = |count: [u8; 4]| move |bytes: &mut Vec<u8>| bytes[4..8].copy_from_slice(&count);
    damaged(IMAGES, claim([0xff; 4]), &["too large", "4294967295", "2 GiB"]);
    damaged(IMAGES, claim([0, 1, 0, 0]), &["truncated body", "51380224", "18816"]);
    damaged(IMAGES, claim([0; 4]), &["zero sized", "0 images of 1 x 28 x 28"]);
    damaged(IMAGES, |bytes| bytes[4..16].fill(0xff), &["too large", "4294967295"]);
    damaged(IMAGES, |bytes| bytes[11] = 0, &["zero sized", "24 images of 1 x 0 x 28"]);
}

#[test]
fn idx_files_whose_counts_differ() {
    let place = Place::new();
    let mut labels = place.read(LABELS);
    labels.pop();
    labels[7] = 23;
    place.write(LABELS, labels);
    place.refuse_saying(SMALL, &[IMAGES, "24 images", LABELS, "23 labels"]);
}

#[test]
fn gzip_files_that_are_broken() {
    let place = Place::new();
    fs::remove_file(place.path(IMAGES)).unwrap();
    place.write("set/images-idx3-ubyte.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]);
    place.refuse_saying(SMALL, &["set/images-idx3-ubyte.gz", "gzip"]);
}

/// Trains a run of the small recipe, and one with a wider generator in `wide`.
fn two_runs() -> Place {
    let place = Place::new();
    place.write("wide.toml", TINY.replace("channels = [4, 3]", "channels = [5, 3]"));
    place.succeed(&format!("{SMALL} --steps 6"));
    place.succeed("--recipe wide.toml --dataset idx:set --steps 6 --out wide");
    place
}

const RUN: &str = "runs/00000-idx-set-tiny";
const WIDE: &str = "wide/00000-idx-set-wide";

#[test]
fn weights_that_are_damaged_or_of_another_network() {
    let place = two_runs();
    let generate = "generate --count 2 --format grid --out out.png --weights mine";
    copy(&place.path(&format!("{RUN}/generator")), &place.path("mine"));
    place.succeed(generate);
    fs::remove_file(place.path("out.png")).unwrap();

    let file = "mine/model.safetensors";
    let good = place.read(file);
    for length in [good.len() - 7, 100, 8, 5, 0] {
        place.write(file, &good[..length]);
        place.refuse_saying(generate, &[file, "cut short"]);
    }
    place.write(file, [&good[..], b"more"].concat());
    place.refuse_saying(generate, &[file, "damaged"]);
    place.write(file, place.read(&format!("{WIDE}/generator/model.safetensors")));
    place.refuse_saying(generate, &[file, "another architecture", "has shape", "must have"]);
    place.write(file, place.read("set/images-idx3-ubyte"));
    place.refuse_saying(generate, &[file, "not a whole safetensors file"]);
    fs::remove_file(place.path(file)).unwrap();
    place.refuse_saying(generate, &[file, "No such file"]);

    place.write(file, good);
    let config = "mine/config.json";
    let text = String::from_utf8(place.read(config)).unwrap();
    place.write(config, &text[..40]);
    place.refuse_saying(generate, &[config, "not a network's configuration"]);
    place.write(config, text.replace("latent_dim", "latent"));
    place.refuse_saying(generate, &[config, "latent"]);
}

/// Replaces the last value of a safetensors file's data.
fn with_last_value(bytes: &[u8], value: f32) -> Vec<u8> {
    [&bytes[..bytes.len() - 4], &value.to_le_bytes()].concat()
}

#[test]
fn weights_that_are_not_finite() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 6"));
    let file = format!("{RUN}/generator/model.safetensors");
    let good = place.read(&file);
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        place.write(&file, with_last_value(&good, value));
        for command in [
            "generate --count 2 --format grid --out out.png",
            "interpolate --out out.png",
            "evaluate",
        ] {
            place.refuse_saying(command, &[&file, "layers.", "NaN or infinite"]);
        }
    }
    let state = format!("{RUN}/checkpoints/000006/state.safetensors");
    let path = place.path(&state);
    let good = weights::load_tensors(&path, &Device::Cpu).unwrap();
    for (name, shown) in [
        ("discriminator/layers.0.weight", "discriminator: layers.0.weight"),
        ("ema/layers.0.weight", "ema: layers.0.weight"),
        (
            "generator_adam/first.layers.0.weight",
            "generator_adam: optimizer state first.layers.0.weight",
        ),
        (
            "discriminator_adam/second.layers.0.weight",
            "discriminator_adam: optimizer state second.layers.0.weight",
        ),
    ] {
        let mut tensors = good.clone();
        tensors.insert(name.to_string(), (&good[name] * f64::NAN).unwrap());
        weights::save_tensors(&path, tensors).unwrap();
        let parts = [state.as_str(), shown, "NaN or infinite"];
        for command in [format!("score --run {RUN} set"), format!("--resume {RUN} --steps 8")] {
            place.refuse_saying(&command, &parts);
        }
    }
}

#[test]
fn checkpoints_that_are_damaged_or_of_another_network() {
    let place = two_runs();
    let resume = format!("--resume {RUN} --steps 8");
    let tensors = format!("{RUN}/checkpoints/000006/state.safetensors");
    let state = format!("{RUN}/checkpoints/000006/state.json");
    let (good_tensors, good_state) = (place.read(&tensors), place.read(&state));

    for length in [good_tensors.len() - 1, 200, 0] {
        place.write(&tensors, &good_tensors[..length]);
        place.refuse_saying(&resume, &[&tensors, "cut short"]);
    }
    place.write(&tensors, place.read(&tensors.replace(RUN, WIDE)));
    place.refuse_saying(&resume, &[&tensors, "another architecture", "generator", "must have"]);
    fs::remove_file(place.path(&tensors)).unwrap();
    place.refuse_saying(&resume, &[&tensors, "No such file"]);

    place.write(&tensors, &good_tensors);
    place.write(&state, &good_state[..30]);
    place.refuse_saying(&resume, &[&state]);
    place.write(&state, "{}");
    place.refuse_saying(&resume, &[&state, "missing field"]);

    // With the file restored, the run resumes; without the last checkpoint, from the one before.
    place.write(&state, &good_state);
    place.succeed(&resume);
    fs::remove_dir_all(place.path(&format!("{RUN}/checkpoints/000008"))).unwrap();
    let said = place.succeed(&resume);
    assert!(said.err.contains("steps 6 to 8"), "{said:?}");
    let config = format!("{RUN}/config.json");
    let text = String::from_utf8(place.read(&config)).unwrap();
    place.write(&config, text.replace("ema_decay", "ema_deacy"));
    place.refuse_saying(&resume, &[&config, "ema_deacy"]);
    place.write(&config, text);
    fs::remove_dir_all(place.path(&format!("{RUN}/checkpoints"))).unwrap();
    place.refuse_saying(&resume, &[&format!("{RUN}/checkpoints")]);
    fs::create_dir(place.path(&format!("{RUN}/checkpoints"))).unwrap();
    place.refuse_saying(&resume, &[&format!("{RUN}/checkpoints"), "no checkpoint"]);
}

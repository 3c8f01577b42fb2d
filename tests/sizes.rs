//! Sizes that no machine has the memory for: each is an error at once, before any is asked for.

use std::time::{Duration, Instant};

use crate::{Place, SMALL, TINY, TINY_MLP, finish};

/// Every one of these takes seconds and gigabytes where the size is believed.
const AT_ONCE: Duration = Duration::from_secs(5);

fn refuse_at_once(place: &Place, args: &str, parts: &[&str]) {
    let started = Instant::now();
    place.refuse_saying(args, parts);
    assert!(started.elapsed() < AT_ONCE, "{args}: {:?}", started.elapsed());
}

#[test]
fn networks_of_recipes() {
    let place = Place::new();
    let wide = TINY_MLP.replace("units = [8, 16]", "units = [8, 1_000_000_000_000]");
    place.write("wide.toml", wide);
    for (from, to, name) in [
        ("latent_dim = 6", "latent_dim = 4_000_000_000_000", "latents.toml"),
        ("latent_dim = 6", "latent_dim = 9_223_372_036_854_775_807", "most-latents.toml"),
        ("channels = [4, 3]", "channels = [4_000_000_000_000, 3]", "channels.toml"),
        ("kernel = 4", "kernel = 4_000_000_000", "kernel.toml"),
    ] {
        place.write(name, TINY.replace(from, to));
    }
    for (recipe, layer) in [
        ("wide", "layer 2 (dense)"),
        ("latents", "layer 0 (project)"),
        ("most-latents", "layer 0 (project)"),
        ("channels", "layer 0 (project)"),
        ("kernel", "layer 3 (conv_transpose)"),
    ] {
        let recipe = format!("--recipe {recipe}.toml --dataset idx:set");
        for args in [recipe.clone(), format!("{recipe} --dry-run"), format!("summary {recipe}")] {
            refuse_at_once(&place, &args, &[layer, "memory"]);
        }
    }
}

/// As on a machine of a tenth of a megabyte.
#[test]
fn networks_in_the_memory_that_is_allowed() {
    let place = Place::new();
    let summary = || place.command(&format!("summary {SMALL}"));
    assert_eq!(finish(&mut summary()).code, Some(0));
    let said = finish(summary().env("CANDLE_GAN_MEMORY", "100000"));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("quarter of this machine's memory is used for a network, 0.0 GB"));
}

#[test]
fn networks_of_configurations() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 6"));
    let run = "runs/00000-idx-set-tiny";
    let commands = [
        (format!("{run}/generator/config.json"), "generate --count 2 --format grid --out out.png"),
        (format!("{run}/generator/config.json"), "interpolate --out out.png"),
        (format!("{run}/generator/config.json"), "evaluate"),
        (format!("{run}/config.json"), "score set"),
        (format!("{run}/config.json"), "summary --run runs/00000-idx-set-tiny"),
        (format!("{run}/config.json"), "--resume runs/00000-idx-set-tiny --steps 8 --dry-run"),
    ];
    for (file, command) in commands {
        let good = place.read(&file);
        let text = String::from_utf8(good.clone()).unwrap();
        for size in ["4000000000000", "9223372036854775807"] {
            let latent_dim = format!("\"latent_dim\": {size}");
            place.write(&file, text.replace("\"latent_dim\": 6", &latent_dim));
            refuse_at_once(&place, command, &["layer 0 (project)", "memory"]);
        }
        // This fits into memory, but the weights file does not hold it.
        if command.starts_with("generate") {
            let latent_dim = "\"latent_dim\": 400000";
            place.write(&file, text.replace("\"latent_dim\": 6", latent_dim));
            refuse_at_once(&place, command, &["another architecture", "400000"]);
        }
        place.write(&file, good);
    }
    let file = format!("{run}/config.json");
    let text = String::from_utf8(place.read(&file)).unwrap();
    for (from, to, wanted) in [
        ("\"batch_size\": 8", "\"batch_size\": 0", "batch_size 0 must be at least 1"),
        ("\"batch_size\": 8", "\"batch_size\": 18446744073709551615", "batch size"),
        ("\"checkpoint_every\": 5", "\"checkpoint_every\": 0", "at least 1 step"),
    ] {
        assert!(text.contains(from), "{text}");
        place.write(&file, text.replace(from, to));
        refuse_at_once(&place, &format!("--resume {run} --epochs 8"), &[wanted]);
    }
}

//! Invalid flags and recipes: each is an error of one line, and no file is left behind.

use serde_json::{Value, json};

use crate::{Place, SMALL, TINY, assert_same, tree};

#[test]
fn unknown_classes() {
    let place = Place::new();
    place.refuse_saying("--digit 11", &["mnist", "\"11\"", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"]);
    place.refuse_saying("--digit five", &["\"five\"", "0, 1, 2"]);
    place.refuse_saying("--digit 3,5,3", &["\"3\"", "twice"]);
    place.idx_images("gaps", (28, 28), &[0, 2].repeat(12));
    let gaps = "--recipe tiny.toml --dataset idx:gaps";
    place.refuse_saying(&format!("{gaps} --digit 1"), &["gaps", "no images of class \"1\""]);
    place.refuse_saying(&format!("{gaps} --digit 0,1"), &["no images of class \"1\""]);
    place.refuse_saying(&format!("{gaps} --digit 3"), &["\"3\"", "0, 1, 2"]);
}

#[test]
fn numbers_out_of_range() {
    let place = Place::new();
    for (args, parts) in [
        ("--batch-size 0", ["batch_size", "at least 1"]),
        ("--batch-size 25", ["batch size 25", "24 images"]),
        ("--steps 0", ["0 steps", "must"]),
        ("--epochs 0", ["0 steps", "must"]),
        ("--threads 0", ["--threads 0", "at least 1"]),
        ("--lr 0", ["lr 0", "above 0"]),
        ("--lr=-1", ["lr -1", "above 0"]),
        ("--lr 1e-3 inf", ["lr inf", "finite"]),
        ("--lr nan", ["lr NaN", "finite"]),
    ] {
        place.refuse_saying(&format!("{SMALL} {args}"), &parts);
    }
    place.refuse_saying("--digit 5 --batch-size 5422", &["5422", "5421 images"]);
}

#[test]
fn unknown_names() {
    let place = Place::new();
    place.refuse_saying(
        "--recipe dcgna",
        &[
            "--recipe dcgna",
            "default, conditional, garments, icons, sprites, dcgan, ezgan, mlp, mlp-bn, mlp-small",
            ".toml",
        ],
    );
    place.refuse_saying("--recipe gone.toml", &["gone.toml", "No such file"]);
    let known = "mnist, idx:DIR";
    place.refuse_saying("--dataset mnits", &["--dataset", "\"mnits\"", known]);
    place.refuse_saying("--dataset idx:", &["--dataset", "\"idx:\"", known]);
    place.refuse_saying("--dataset idx:gone --recipe tiny.toml", &["gone", "No such file"]);
    place.refuse_saying("--device cuda", &["--device cuda", "--features cuda"]);
    place.refuse_saying("--device metal", &["--device metal", "--features metal"]);
}

#[test]
fn flags_that_do_not_parse() {
    let place = Place::new();
    let before = tree(&place.path(""));
    for (args, parts) in [
        ("--digits 5", ["--digits", "--digit"]),
        ("--steps many", ["'many'", "--steps"]),
        ("--steps=-3", ["'-3'", "--steps"]),
        ("--steps 5 --epochs 5", ["--steps", "--epochs"]),
        ("--resume runs/00000 --lr 1", ["--resume", "--lr"]),
        ("--device gpu", ["'gpu'", "auto, cpu, cuda, metal"]),
        ("generate --format gif", ["'gif'", "grid, png, idx"]),
        ("generate --format grid --out x.png", ["--count", "required"]),
        ("generate --count 1 --run a --weights b --format grid --out x", ["--run", "--weights"]),
    ] {
        let said = place.run(args);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{args}");
        let found = parts.iter().all(|part| said.err.contains(part));
        assert!(found && said.err.starts_with("error: "), "{args}: {parts:?} in {}", said.err);
    }
    assert_same(&before, &tree(&place.path("")));
}

#[test]
fn recipes_with_wrong_keys() {
    let place = Place::new();
    for (from, to, key) in [
        ("ema_decay", "ema_deacy", "ema_deacy"),
        ("beta1", "beta", "beta"),
        ("kernel = 4", "kernel = 4\npadding = 1", "padding"),
        ("ema_decay = 0.9\n", "", "ema_decay"),
        ("latent_dim = 6\n", "", "latent_dim"),
        ("kernel = 4\n", "", "kernel"),
        ("\"simultaneous\"", "\"sometimes\"", "sometimes"),
        ("batch_size = 8", "batch_size = \"8\"", "8"),
        ("batch_size = 8", "batch_size = ", "line 3"),
    ] {
        assert!(TINY.contains(from));
        place.write("odd.toml", TINY.replacen(from, to, 1));
        place.refuse_saying("--recipe odd.toml --dataset idx:set", &["odd.toml", key]);
    }
}

#[test]
fn recipes_with_wrong_values() {
    let place = Place::new();
    for (from, to, parts) in [
        ("sample_every = 4", "sample_every = 0", ["sample_every", "at least 1"]),
        ("checkpoint_every = 5", "checkpoint_every = 0", ["checkpoint_every", "at least 1"]),
        ("ema_decay = 0.9", "ema_decay = 1.0", ["ema_decay 1", "below 1"]),
        ("real_label = 1.0", "real_label = 1.1", ["real_label 1.1", "at most 1"]),
        ("beta2 = 0.999", "beta2 = 1.0", ["beta2 1", "below 1"]),
        ("strides = [2, 2]", "strides = [2]", ["2 channels for 1 strides", "one number"]),
        ("strides = [2, 2]", "strides = [2, 3]", ["28x28", "[2, 3]"]),
        ("kernel = 4", "kernel = 0", ["conv_transpose", "kernel"]),
        ("channels = [4, 3]", "channels = [4, 0]", ["conv_transpose", "at least 1"]),
        ("latent_dim = 6", "latent_dim = 0", ["latent_dim 0", "at least one"]),
        (
            "norm = \"none\"",
            "norm = { batch = { epsilon = 1e-5, momentum = 0.1 } }",
            ["\"simultaneous\"", "\"alternating\""],
        ),
    ] {
        assert!(TINY.contains(from));
        place.write("odd.toml", TINY.replacen(from, to, 1));
        let parts = [parts[0], parts[1], "recipe odd"];
        place.refuse_saying("--recipe odd.toml --dataset idx:set", &parts);
    }
}

#[test]
fn runs_that_cannot_be_resumed() {
    let place = Place::new();
    place.succeed(SMALL);
    let run = "runs/00000-idx-set-tiny";
    place.refuse_saying("--resume gone", &["gone: no such run directory"]);
    place.refuse_saying("--resume tiny.toml", &["tiny.toml"]);
    place.refuse_saying("--resume set", &["set/config.json", "not a run directory"]);
    place.refuse_saying(&format!("--resume {run}/generator"), &["generator", "not a run"]);
    let made = [run, "step 12 is made already", "--steps", "not to 5"];
    place.refuse_saying(&format!("--resume {run} --steps 5"), &made);
    place.refuse_saying(&format!("--resume {run} --steps 20 --threads 0"), &["--threads 0"]);
}

#[test]
fn directories_that_cannot_be_written() {
    let place = Place::new();
    place.refuse_saying(&format!("{SMALL} --out tiny.toml"), &["tiny.toml", "File exists"]);
    place.refuse_saying(&format!("{SMALL} --out tiny.toml/runs"), &["tiny.toml/runs"]);
    if cfg!(target_os = "linux") {
        place.refuse_saying(&format!("{SMALL} --out /proc/runs"), &["/proc/runs"]);
        place.refuse_saying(&format!("{SMALL} --out /proc"), &["/proc/00000-idx-set-tiny"]);
    }
}

#[test]
fn a_nan_loss_ends_training() {
    let place = Place::new();
    let error = place.fail(&format!("{SMALL} --lr 1e30"));
    for part in ["step 2", "loss is", "layers.", "--lr"] {
        assert!(error.contains(part), "no {part:?} in {error:?}");
    }
    // The run holds the sample grid of step 0, and no checkpoint or generator.
    let run = "runs/00000-idx-set-tiny";
    assert_eq!(place.names(&format!("{run}/samples")), ["000000.png"]);
    assert!(place.names(&format!("{run}/checkpoints")).is_empty());
    assert!(!place.path(&format!("{run}/generator")).exists());
}

#[test]
fn the_last_checkpoint_survives_a_nan_loss() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 6 --out failed"));
    let run = "failed/00000-idx-set-tiny";
    let config = format!("{run}/config.json");
    let kept = ["checkpoints", "generator"].map(|part| tree(&place.path(&format!("{run}/{part}"))));
    let good = place.read(&config);
    let mut bad: Value = serde_json::from_slice(&good).unwrap();
    bad["training"]["generator_adam"]["lr"] = 1e30.into();
    bad["training"]["discriminator_adam"]["lr"] = 1e30.into();
    place.write(&config, serde_json::to_vec(&bad).unwrap());
    let error = place.fail(&format!("--resume {run} --steps 9"));
    assert!(error.contains("step 8"), "{error}");
    for (part, before) in ["checkpoints", "generator"].iter().zip(&kept) {
        assert_same(before, &tree(&place.path(&format!("{run}/{part}"))));
    }

    place.write(&config, good);
    place.succeed(&format!("--resume {run} --steps 9"));
    place.succeed(&format!("{SMALL} --steps 9 --out straight"));
    for part in ["checkpoints/000009", "generator"] {
        let straight = place.path("straight/00000-idx-set-tiny").join(part);
        assert_same(&tree(&straight), &tree(&place.path(run).join(part)));
    }
}

/// The loss of the only step is finite; its update makes the weights infinite.
#[test]
fn broken_weights_are_not_saved() {
    let place = Place::new();
    let wanted = ["step 1: the ", "layers.", "lower --lr"];
    let error = place.fail(&format!("{SMALL} --steps 1 --lr 1e39"));
    assert!(wanted.iter().all(|part| error.contains(part)), "{error}");
    assert!(!place.path("runs/00000-idx-set-tiny/generator").exists());
}

/// A run's configuration is checked like a recipe.
#[test]
fn configurations_with_wrong_values() {
    let place = Place::new();
    place.succeed(SMALL);
    let resume = "--resume runs/00000-idx-set-tiny --steps 20";
    let file = "runs/00000-idx-set-tiny/config.json";
    let good = place.json(file);
    for (key, value, wanted) in [
        ("/training/ema_decay", json!(2.0), "ema_decay 2 must be"),
        ("/training/generator_adam/lr", json!(-1.0), "generator_adam: lr -1 must be"),
        (
            "/training/discriminator_adam/beta2",
            json!(1.0),
            "discriminator_adam: beta1 0.5 and beta2 1",
        ),
        ("/training/loss", json!("wasserstein"), "loss: the Wasserstein loss needs"),
        ("/training/batch_size", json!(0), "batch_size 0 must be"),
        ("/schedule/sample_every", json!(0), "sample_every 0 must be"),
        ("/schedule/stats_every", json!(0), "stats_every 0 must be"),
        ("/schedule/checkpoint_every", json!(0), "checkpoint_every 0 must be"),
        ("/training/regularization/augmentation/cutout", json!(28), "cutout 28 must be below"),
    ] {
        let mut bad = good.clone();
        *bad.pointer_mut(key).unwrap_or_else(|| panic!("no {key}")) = value;
        place.write(file, serde_json::to_vec(&bad).unwrap());
        place.refuse_saying(resume, &[file, wanted]);
    }
    place.write(file, serde_json::to_vec_pretty(&good).unwrap());
    place.succeed(resume);
}

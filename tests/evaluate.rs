//! `evaluate` and `classifier` on images of known quality.

use gan_data::{Dataset, Source, Split, idx};
use serde_json::Value;

use crate::{Place, SMALL, assert_same};

/// Writes every `step`-th real image of these classes as IDX files.
fn real(place: &Place, directory: &str, split: Split, classes: &[&str], step: usize) -> Dataset {
    let classes: Vec<String> = classes.iter().map(|class| class.to_string()).collect();
    let dataset = Source::Mnist.load(split).unwrap().filter_classes(&classes).unwrap();
    let digits: Vec<u32> = classes.iter().map(|class| class.parse().unwrap()).collect();
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for i in (0..dataset.len()).step_by(step) {
        pixels.extend(dataset.image(i).unwrap());
        labels.push(digits[dataset.labels()[i] as usize]);
    }
    idx::write(&place.path(directory), dataset.shape(), &pixels, Some(&labels)).unwrap();
    dataset
}

fn evaluate(place: &Place, args: &str) -> Value {
    serde_json::from_str(&place.succeed(&format!("evaluate --json {args}")).out).unwrap()
}

fn metric(report: &Value, column: &str, name: &str) -> f64 {
    let value = &report[column]["metrics"][name];
    value.as_f64().unwrap_or_else(|| panic!("no {name} in {report}"))
}

#[test]
fn metrics_of_real_images_are_good() {
    let place = Place::new();
    let sevens = real(&place, "sevens", Split::Test, &["7"], 1);
    let report = evaluate(&place, "--images sevens --digit 7");
    assert_eq!(report["generated"]["images"], sevens.len());
    assert_eq!(report["training_images"], 6265);
    // The measured images are the test images, so both columns are equal.
    assert_eq!(report["generated"], report["real"]);
    let of = |name: &str| metric(&report, "generated", name);
    assert!((0.0..3.0).contains(&of("fd-mnistnet-1028")), "{report}");
    assert!(of("kid-mnistnet-1028").abs() < 0.05, "{report}");
    for name in ["precision-mnistnet-1028", "recall-mnistnet-1028", "density-mnistnet-1028"] {
        assert!((0.6..=1.0).contains(&of(name)), "{name}: {report}");
    }
    assert!(of("class-accuracy") > 0.98, "{report}");
    assert!(of("nearest-training-image") > 1.0, "{report}");
    assert_eq!(of("copies-of-training-images"), 0.0, "{report}");
    assert_eq!(report["collapse"], Value::Null);

    // Training images count as copies; sevens are far from twos.
    real(&place, "copies", Split::Train, &["7"], 20);
    let table = place.succeed("evaluate --images copies/images-idx3-ubyte --digit 7").out;
    let has = |name: &str, value: &str| {
        table.lines().any(|line| line.split_whitespace().take(2).eq([name, value]))
    };
    assert!(has("copies-of-training-images", "1.0000"), "{table}");
    assert!(has("class-accuracy", "-"), "{table}");
    for part in ["fd-mnistnet-314", "fd-mnistnet-1028", "6265 training images"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let wrong = evaluate(&place, "--images sevens --digit 2");
    let distance = metric(&wrong, "generated", "fd-mnistnet-1028");
    assert!(distance > 20.0 * metric(&wrong, "real", "fd-mnistnet-1032"), "{wrong}");
}

#[test]
fn metrics_of_an_untrained_generator_are_bad() {
    let place = Place::new();
    place.succeed("--digit 5 --recipe tiny.toml --steps 4");
    let report = evaluate(&place, "--count 200");
    assert_eq!(report["classes"], serde_json::json!(["5"]));
    assert_eq!(report["training_images"], 5421);
    let distance = metric(&report, "generated", "fd-mnistnet-200");
    assert!(distance > 20.0 * metric(&report, "real", "fd-mnistnet-892"), "{report}");
    assert!(metric(&report, "generated", "precision-mnistnet-200") < 0.1, "{report}");
    // For the run's report.
    assert_eq!(place.json("runs/00000-mnist-5-tiny/evaluation.json"), report);
    let by_weights = "--weights runs/00000-mnist-5-tiny/generator --count 200";
    let again = evaluate(&place, by_weights);
    assert_eq!(again["generated"], report["generated"]);
    assert!(report["collapse"].as_str().unwrap().contains("vary by"), "{report}");
}

#[test]
fn a_classifier_trained_on_labelled_images_is_tested_on_real_ones() {
    let place = Place::new();
    real(&place, "labelled", Split::Train, &["0", "1"], 30);
    let report = evaluate(&place, "--images labelled --digit 0,1 --train-on-fake");
    let of = |name: &str| report["train_on_fake"][name].as_f64().unwrap();
    assert_eq!(of("images"), 423.0);
    assert!((0.9..=1.0).contains(&of("accuracy")), "{report}");
    assert!(of("accuracy_trained_on_real") > 0.99, "{report}");
}

#[test]
fn the_built_in_classifier_has_its_stated_accuracy() {
    let dataset = Source::Mnist.load(Split::Test).unwrap();
    let images = gan_data::range::to_tensor(dataset.pixels(), dataset.shape()).unwrap();
    let seen = gan_metrics::Classifier::mnist().unwrap().predict(&images).unwrap();
    let accuracy = seen.accuracy(dataset.labels());
    assert!(accuracy >= 0.993, "{accuracy}");
}

#[test]
fn a_classifier_is_trained_and_written() {
    let place = Place::new();
    let said = place.succeed("classifier --dataset idx:set --epochs 2 --out made");
    assert!(said.out.contains("made/model.safetensors"), "{said:?}");
    assert!(said.out.contains("of 24 test images classified correctly"), "{said:?}");
    let weights = place.path("made/model.safetensors");
    assert!(gan_metrics::Classifier::load(&weights, (1, 28, 28)).is_ok());
}

#[test]
fn images_that_cannot_be_measured_are_errors() {
    let place = Place::new();
    place.refuse_saying("evaluate --images gone", &["--images", "gone"]);
    place.refuse_saying("evaluate", &["runs: no run directory"]);
    place.refuse_saying("evaluate --images tiny.toml", &["tiny.toml"]);
    place.refuse_saying("evaluate --images set --digit 12", &["no class \"12\""]);
    place.idx_images("small", (8, 8), &[0, 1, 2].repeat(4));
    place.refuse_saying("evaluate --images small --digit 5", &["28x28", "8x8"]);
    place.idx_images("few", (28, 28), &[0, 1]);
    place.refuse_saying("evaluate --images few --digit 5", &["too few", "2 of at least"]);
    place.refuse_saying("classifier --dataset idx:set --class 1", &["idx:set has one class"]);
    place.idx_images("tiny", (4, 28), &[0, 1]);
    place.refuse_saying("classifier --dataset idx:tiny", &["sides of 8 to 256 pixels", "4 x 28"]);
    place.succeed(&format!("{SMALL} --steps 2"));
    place.refuse_saying("evaluate --count 50", &["idx:set", "no test images of its own"]);
    place.refuse_saying("evaluate --count 5 --dataset mnist", &["--count 5", "at least 6"]);
    place.refuse_saying(
        "evaluate --count 50 --dataset mnist --train-on-fake --digit 1",
        &["--train-on-fake", "no labels"],
    );
}

/// Before an image is generated.
#[test]
fn weights_of_another_network_than_inception_are_errors() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 2"));
    place.write("weights.pth", b"PK\x03\x04 of PyTorch");
    place.write("none.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    let command = "`python3 docs/inception.py convert pt_inception-2015-12-05-6726825d.pth";
    for (file, reason) in [
        ("gone.safetensors", "No such file"),
        ("weights.pth", "not a whole safetensors file"),
        ("none.safetensors", "no Conv2d_1a_3x3.conv.weight, which must have shape [32, 3, 3, 3]"),
    ] {
        let error = place.refuse(&format!("evaluate --dataset mnist --inception {file}"));
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        for part in [&format!("--inception {file}: "), reason, command] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
    assert!(place.names("runs/00000-idx-set-tiny").iter().all(|name| name != "evaluation.json"));
}

/// `CANDLE_GAN_FID_PYTHON=.../bin/python cargo test -p trainer --test e2e pytorch_fid`.
#[test]
fn fid_and_inception_score_are_those_of_pytorch_fid() {
    let Some(python) = std::env::var_os("CANDLE_GAN_FID_PYTHON") else {
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/inception.py");
    let args = [script, "check", env!("CARGO_BIN_EXE_candle-gan")];
    let said = std::process::Command::new(python).args(args).output().unwrap();
    assert!(said.status.success(), "{said:?}");
}

#[test]
fn losses_and_regularisation_are_set_by_flags() {
    let place = Place::new();
    for (out, flags, key, value) in [
        ("a", "--loss hinge", "/training/loss", "\"hinge\""),
        (
            "b",
            "--loss wasserstein --spectral-norm 1",
            "/training/regularization/spectral_norm",
            "1.0",
        ),
        ("c", "--loss least-squares --r1-gamma 0.5", "/training/loss", "\"least_squares\""),
        ("d", "--translation 2 --cutout 6", "/training/regularization/augmentation/cutout", "6"),
        ("e", "--instance-noise 0.25", "/training/regularization/augmentation/noise", "0.25"),
    ] {
        place.succeed(&format!("{SMALL} --steps 6 --out {out} {flags}"));
        let run = format!("{out}/00000-idx-set-tiny");
        let config = place.json(&format!("{run}/config.json"));
        assert_eq!(config.pointer(key).unwrap().to_string(), value, "{flags}");
        // The run can be resumed.
        place.succeed(&format!("--resume {run} --steps 9"));
    }
    place.refuse_saying(&format!("{SMALL} --loss wasserstein"), &["Wasserstein", "r1_gamma"]);
    place.refuse_saying(&format!("{SMALL} --translation 28"), &["translation 28", "28 pixels"]);
    place.refuse_saying(&format!("{SMALL} --cutout 18446744073709551615"), &["cutout 1844674"]);
    place.refuse_saying(
        "--dataset idx:set --recipe mlp-like.toml --r1-gamma 1",
        &["r1_gamma", "dropout"],
    );
    place.refuse_saying(&format!("{SMALL} --r1-gamma=-1"), &["r1_gamma -1"]);
    place.write(
        "smooth.toml",
        crate::TINY.replace("real_label = 1.0", "real_label = 0.9\nloss = \"hinge\""),
    );
    place.refuse_saying(
        "--dataset idx:set --recipe smooth.toml",
        &["real_label 0.9", "no labels to smooth"],
    );
}

/// The old name of `--r1-gamma` is accepted with a warning and has the same effect.
#[test]
fn the_old_name_of_the_r1_penalty_warns() {
    let place = Place::new();
    let said = place.succeed(&format!("{SMALL} --steps 6 --out old --gradient-penalty 0.5"));
    assert!(said.err.contains("--r1-gamma"), "{said:?}");
    let said = place.succeed(&format!("{SMALL} --steps 6 --out new --r1-gamma 0.5"));
    assert!(!said.err.contains("WARN"), "{said:?}");
    let [old, new] = ["old", "new"].map(|out| place.result(&format!("{out}/00000-idx-set-tiny")));
    assert_same(&old, &new);
    let help = place.succeed("train --help").out;
    assert!(help.contains("--r1-gamma") && !help.contains("--gradient-penalty"), "{help}");
}

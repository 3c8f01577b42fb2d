//! Images that are no digits: measured by a random network, a part of them held out.

use std::fs;

use gan_data::{ImageShape, png};
use serde_json::{Value, json};

use crate::{Place, assert_same};

const SHAPE: ImageShape = ImageShape { channels: 3, height: 16, width: 16 };
/// Arguments that train on the images of [`discs`] and measure every 4 steps.
const TRAIN: &str = "--dataset folder:discs --size 16 --recipe by-class.toml";
const RUN: &str = "runs/00000-folder-discs-by-class";

/// The pixels of an image with a disc: its place, size and colours depend on the number.
fn disc(number: usize) -> Vec<u8> {
    let hash = |k: usize| (number * 7919 + k * 104_729 + number * number * 31) % 1009;
    let at = |k: usize| 3 + hash(k) % 10;
    let (row, column, radius) = (at(1), at(2), 2 + hash(3) % 5);
    let value = |i: usize| {
        let (channel, y, x) = (i / 256, i / 16 % 16, i % 16);
        let square = y.abs_diff(row).pow(2) + x.abs_diff(column).pow(2);
        let inside = square <= radius * radius;
        (hash(4 + channel + if inside { 3 } else { 0 }) % 256) as u8
    };
    (0..SHAPE.len()).map(value).collect()
}

/// Writes images as a directory of PNG files.
fn discs(place: &Place, directory: &str, numbers: impl Iterator<Item = usize>) {
    fs::create_dir_all(place.path(directory)).unwrap();
    for number in numbers {
        let path = place.path(&format!("{directory}/{number:03}.png"));
        png::write(&path, SHAPE, &disc(number)).unwrap();
    }
}

fn evaluate(place: &Place, args: &str) -> Value {
    serde_json::from_str(&place.succeed(&format!("evaluate --json {args}")).out).unwrap()
}

fn stats(place: &Place, run: &str) -> Vec<Value> {
    let text = String::from_utf8(place.read(&format!("{run}/stats.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_run_is_measured_against_images_that_it_never_sees() {
    let place = Place::new();
    discs(&place, "discs", 0..240);
    let said = place.succeed(&format!("{TRAIN} --steps 8"));
    assert!(said.err.contains("216 images of folder:discs, "), "{said:?}");
    assert!(said.err.contains("24 images are held out"), "{said:?}");
    let config = place.json(&format!("{RUN}/config.json"));
    assert_eq!((&config["images"], &config["holdout"]), (&json!(216), &json!(0.1)));
    let lines = stats(&place, RUN);
    let distances: Vec<f64> =
        lines.iter().filter_map(|line| line["quality"]["fd-r64-2k"].as_f64()).collect();
    assert_eq!(distances.len(), 2, "{lines:?}");
    assert!(place.path(&format!("{RUN}/best-generator/model.safetensors")).exists());
    let curves = String::from_utf8(place.read(&format!("{RUN}/curves.svg"))).unwrap();
    assert!(curves.contains("fd-r64-2k, minimum") && !curves.contains("mnistnet"), "{curves}");

    // A dry run counts the same images, and so does a run that is resumed.
    let said = place.succeed(&format!("{TRAIN} --dry-run"));
    assert!(said.out.contains("\"images\": 216") && said.out.contains("\"holdout\": 0.1"));
    place.succeed(&format!("--resume {RUN} --steps 12 --threads 1"));
    place.succeed(&format!("{TRAIN} --steps 12 --out whole"));
    let whole = "whole/00000-folder-discs-by-class";
    assert_same(&place.result(RUN), &place.result(whole));
    let qualities = |run| -> Vec<Value> {
        stats(&place, run).iter().map(|line| line["quality"].clone()).collect()
    };
    assert_eq!(qualities(RUN), qualities(whole));
}

/// The statistics hold the probability of augmentation, and a resumed run goes on with it.
#[test]
fn augmentation_adapts_and_goes_on() {
    let place = Place::new();
    discs(&place, "discs", 0..40);
    let train =
        "--dataset folder:discs --size 16 --recipe tiny.toml --translation 2 --set stats_every=4";
    let adaptive = "--set adaptive={\"target\":-0.99,\"images\":800}";
    place.succeed(&format!("{train} {adaptive} --steps 8 --out halves"));
    let run = "halves/00000-folder-discs-tiny";
    place.succeed(&format!("--resume {run} --steps 12"));
    place.succeed(&format!("{train} {adaptive} --steps 12 --out whole"));
    let whole = "whole/00000-folder-discs-tiny";
    assert_same(&place.result(run), &place.result(whole));
    let chances = |run| -> Vec<Value> {
        stats(&place, run).iter().map(|line| line["augmentation_probability"].clone()).collect()
    };
    assert!(chances(whole).iter().all(Value::is_f64), "{:?}", chances(whole));
    assert_eq!(chances(run), chances(whole));
    place.refuse_saying(
        &train.replace("--translation 2", adaptive),
        &["adaptive: is the probability of colour, flip, translation and cutout"],
    );
}

#[test]
fn columns_have_as_many_images() {
    let place = Place::new();
    discs(&place, "discs", 0..240);
    place.succeed(&format!("{TRAIN} --steps 4"));
    let report = evaluate(&place, "--nearest near.png");
    assert_eq!((&report["training_images"], &report["holdout"]), (&json!(216), &json!(0.1)));
    for column in ["generated", "real"] {
        assert_eq!(report[column]["images"], 24, "{report}");
        let metrics = report[column]["metrics"].as_object().unwrap();
        for name in ["fd-r64-24", "kid-r64-24", "coverage-r64-24", "swd-16-24", "swd-mean-24"] {
            assert!(metrics[name].is_f64(), "{name}: {report}");
        }
        assert!(!metrics.contains_key("class-accuracy"), "{report}");
    }
    let of = |column: &str, name: &str| report[column]["metrics"][name].as_f64().unwrap();
    for name in ["fd-r64-24", "swd-16-24"] {
        assert!(of("generated", name) > 2.0 * of("real", name), "{name}: {report}");
    }
    let ratio = |name: &str| report["nearest"][name].as_f64().unwrap();
    assert!(ratio("generated") > 0.3 && ratio("real") > 0.3, "{report}");
    let (grid, _) = png::read(&place.path("near.png")).unwrap();
    // 24 pairs in rows of 10.
    assert_eq!((grid.height, grid.width), (6 * 18 - 2, 10 * 18 - 2));

    let mut again = evaluate(&place, "--nearest near.png --threads 1");
    again["seconds"] = report["seconds"].clone();
    assert_eq!(again, report);
    let table = place.succeed("evaluate --count 40").out;
    let note = "figures of 40 images do not compare with those of 24; --count 24 makes them equal";
    assert!(table.contains(note) && table.contains("the 24 images held out"), "{table}");
    let report = evaluate(&place, "--count 12");
    assert_eq!(
        (&report["generated"]["images"], &report["real"]["images"]),
        (&json!(12), &json!(12))
    );
}

#[test]
fn copies_are_found() {
    let place = Place::new();
    discs(&place, "discs", 0..240);
    discs(&place, "copies", (0..240).step_by(9));
    discs(&place, "others", 300..327);
    let nearest = |directory: &str| {
        let args = format!("--images {directory} --dataset folder:discs --nearest near.png");
        let report = evaluate(&place, &args);
        ["generated", "real"].map(|column| report["nearest"][column].as_f64().unwrap())
    };
    let ([copies, real], [others, _]) = (nearest("copies"), nearest("others"));
    assert!(copies == 0.0 && others > 0.5 * real && real > 0.1, "{copies}, {others}, {real}");
    place.refuse_saying(
        "evaluate --images others --dataset folder:discs --nearest gone/near.png",
        &["--nearest gone/near.png", "no directory gone"],
    );
}

#[test]
fn the_part_held_out_is_an_option() {
    let place = Place::new();
    discs(&place, "discs", 0..240);
    place.succeed(&format!("{TRAIN} --steps 2 --holdout 0"));
    let config = place.json(&format!("{RUN}/config.json"));
    assert_eq!((&config["images"], &config["holdout"]), (&json!(240), &json!(0.0)));
    place.refuse_saying("evaluate", &["folder:discs: has no test images of its own", "--holdout"]);
    assert_eq!(evaluate(&place, "--holdout 0.25")["real"]["images"], 60);

    place.succeed(&format!("{TRAIN} --steps 2 --holdout 0.25"));
    let run = "runs/00001-folder-discs-by-class";
    assert_eq!(place.json(&format!("{run}/config.json"))["images"], 180);
    place
        .refuse_saying("evaluate --holdout 0.1", &["--holdout 0.1", "trained with --holdout 0.25"]);
    fs::remove_file(place.path("discs/000.png")).unwrap();
    place.refuse_saying("evaluate", &["179 images to train on now", "trained on 180"]);

    for (args, parts) in [
        (format!("{TRAIN} --holdout 0.7"), ["--holdout 0.7", "from 0, for none, to 0.5"]),
        (format!("{TRAIN} --holdout nan"), ["--holdout NaN", "from 0"]),
        (
            format!("{TRAIN} --holdout 0.01"),
            ["of the 239 images of folder:discs, that is 2", "6 or more"],
        ),
        ("--holdout 0.1".to_string(), ["mnist has test images of its own", "--holdout 0.1"]),
        (format!("{TRAIN} --batch-size 230"), ["24 more are held out", "--batch-size 215 fits"]),
    ] {
        place.refuse_saying(&args, &parts);
    }
}

/// Classes that are called digits are not measured as digits if they show none.
#[test]
fn an_idx_directory_holds_out_a_part_of_each_class() {
    let place = Place::new();
    place.idx_images("blots", (28, 28), &[0, 1, 2, 2].repeat(60));
    place.succeed("--dataset idx:blots --recipe by-class.toml --steps 4");
    let run = "runs/00000-idx-blots-by-class";
    let config = place.json(&format!("{run}/config.json"));
    assert_eq!((&config["images"], &config["holdout"]), (&json!(216), &json!(0.1)));
    assert!(stats(&place, run).last().unwrap()["quality"]["fd-r64-2k"].is_f64());
    let report = evaluate(&place, "");
    assert!(report["generated"]["metrics"]["fd-r64-24"].is_f64(), "{report}");
    // The images of a class that are held out are the same without the other classes.
    let report = evaluate(&place, "--digit 2");
    assert_eq!((&report["training_images"], &report["real"]["images"]), (&json!(108), &json!(12)));
}

/// A classifier is found by the images that it was trained on, wherever they are measured.
#[test]
fn a_classifier_of_the_set_recognises_its_classes() {
    let place = Place::new();
    place.idx_images("blots", (28, 28), &[0, 1, 2, 2].repeat(60));
    let said = place.succeed("--dataset idx:blots --recipe by-class.toml --steps 4");
    let command = "classifier --dataset idx:blots --holdout 0.1";
    assert!(said.err.contains(&format!("trained by candle-gan {command}")), "{said:?}");
    let report = evaluate(&place, "");
    assert_eq!(report["classifier"], json!(format!("candle-gan {command}")));
    assert!(report["generated"]["metrics"].get("class-accuracy").is_none(), "{report}");

    let said = place.succeed(&format!("{command} --epochs 20"));
    assert!(said.out.contains("cache/classifiers/"), "{said:?}");
    assert!(said.out.contains("% of 24 test images classified correctly"), "{said:?}");
    let report = evaluate(&place, "");
    let accuracy = |column: &str| report[column]["metrics"]["class-accuracy"].as_f64().unwrap();
    assert!(accuracy("real") > 0.7 && accuracy("generated") < 0.7, "{report}");
    assert_eq!(report["real"]["class_fractions"].as_array().map(Vec::len), Some(3));
    assert!(report["generated"]["metrics"]["fd-r64-24"].is_f64(), "{report}");
    assert!(report.get("classifier").is_none(), "{report}");
    let run = "runs/00000-idx-blots-by-class";
    let said = place.succeed(&format!("--resume {run} --steps 8"));
    assert!(!said.err.contains("classifier"), "{said:?}");
    assert!(stats(&place, run).last().unwrap()["quality"]["accuracy"].is_f64());
    assert!(place.succeed("evaluate").out.contains("recognised-as-2"));

    let args = "--images blots --dataset idx:blots --train-on-fake";
    let scores = &evaluate(&place, args)["train_on_fake"];
    assert!(scores["accuracy"].as_f64().unwrap() > 0.5, "{scores}");
    assert_eq!(scores["accuracy_trained_on_real"], report["real"]["metrics"]["class-accuracy"]);

    // Other images have another classifier, and a damaged one is not used.
    let report = evaluate(&place, "--images blots --dataset idx:blots --digit 2,0 --holdout 0.1");
    let command = "candle-gan classifier --dataset idx:blots --class 2,0 --holdout 0.1";
    assert_eq!(report["classifier"], json!(command));
    let name = place.names("cache/classifiers").remove(0);
    place.write(&format!("cache/classifiers/{name}"), "cut short");
    let said = place.succeed("evaluate");
    assert!(said.err.contains("header too large; the classifier is not used"), "{said:?}");
    assert!(said.out.contains("classes are not recognised yet"), "{said:?}");
}

/// A program that is compared with this one trains on what this one trains on.
#[test]
fn export_writes_the_images_that_are_held_out() {
    let place = Place::new();
    fs::create_dir_all(place.path("set")).unwrap();
    for number in 0..40 {
        png::write(&place.path(&format!("set/{number}.png")), SHAPE, &disc(number)).unwrap();
    }
    let files = |split: &str| -> Vec<Vec<u8>> {
        let export = "export --dataset folder:set --size 16 --holdout 0.25 --split";
        place.succeed(&format!("{export} {split} --out {split}"));
        let name = |name| place.read(&format!("{split}/set/{name}"));
        place.names(&format!("{split}/set")).into_iter().map(name).collect()
    };
    let (train, test) = (files("train"), files("test"));
    assert_eq!((train.len(), test.len()), (30, 10));
    assert!(test.iter().all(|image| !train.contains(image)));
    // They are those that `evaluate` holds out: both columns measure the same images.
    let report = evaluate(&place, "--images test/set --dataset folder:set --holdout 0.25");
    assert_eq!(report["generated"]["metrics"]["fd-r64-10"], report["real"]["metrics"]["fd-r64-10"]);
    let export = "export --dataset folder:set --size 16 --out new --split test --holdout";
    place.refuse_saying(&format!("{export} 0.01"), &["--holdout 0.01", "of the 40 images"]);
    place.refuse_saying(&format!("{export} 0"), &["--holdout 0", "no image is held out"]);
    let export = "export --dataset folder:set --size 16 --out new --split test";
    place.refuse_saying(export, &["folder:set has no test images of its own; --holdout 0.1"]);
}

/// Classes have names, images colour and any size.
#[test]
fn a_class_folder_has_a_classifier() {
    let place = Place::new();
    for class in ["dark", "light"] {
        fs::create_dir_all(place.path(&format!("set/{class}"))).unwrap();
        for number in 0..40 {
            let dim = |value: u8| if class == "dark" { value / 3 } else { 160 + value / 3 };
            let pixels: Vec<u8> = disc(number).into_iter().map(dim).collect();
            let path = place.path(&format!("set/{class}/{number}.png"));
            png::write(&path, SHAPE, &pixels).unwrap();
        }
    }
    let said = place.succeed("classifier --dataset folder:set --size 16 --epochs 20 --holdout 0.1");
    assert!(said.out.contains(": 100.00% of 8 test images"), "{said:?}");
    place.succeed("export --dataset folder:set --size 16 --class light --out light");
    let args = "--images light/light --dataset folder:set --holdout 0.1";
    let report = evaluate(&place, args);
    let fractions = &report["generated"]["class_fractions"];
    assert!(fractions[1].as_f64().unwrap() > 0.9, "{report}");
    // One of fewer epochs does not take its place, and the report names the one that counts.
    let by = json!({ "epochs": 20, "seed": 0, "precision": "high" });
    assert_eq!(report["recognised_by"], by);
    place.succeed("classifier --dataset folder:set --size 16 --epochs 1 --seed 3 --holdout 0.1");
    assert_eq!(place.names("cache/classifiers").len(), 2);
    assert_eq!(evaluate(&place, args)["recognised_by"], by);
    assert!(report["collapse"].as_str().unwrap().ends_with("of class light"), "{report}");
}

#[test]
fn scores_are_of_images_of_any_size() {
    let place = Place::new();
    discs(&place, "discs", 0..30);
    place.succeed("--dataset folder:discs --size 24 --recipe tiny.toml --steps 2");
    let said = place.succeed("score discs discs/003.png");
    assert_eq!(said.out.lines().count(), 31, "{said:?}");
    place
        .refuse_saying("score set", &["set: 28x28 pixels in grey", "takes 24x24 pixels in colour"]);
}

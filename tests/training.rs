//! The files that training writes and the messages that it prints.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use candle_core::Device;
use gan_models::{Generator, Mode};
use png::{BitDepth, ColorType, Decoder};
use serde_json::{Value, json};

use crate::{Place, SMALL, tree};

/// Returns width and height of a PNG image, which must be grey with 8 bits per pixel.
fn grey_size(path: &Path) -> (u32, u32) {
    let reader = Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let info = reader.info();
    assert_eq!((info.color_type, info.bit_depth), (ColorType::Grayscale, BitDepth::Eight));
    info.size()
}

#[test]
fn a_run_on_fives_writes_its_directory() {
    let place = Place::new();
    place.succeed("--digit 5 --recipe tiny.toml --seed 3 --lr 1e-3 2e-3 --batch-size 9");
    let run = "runs/00000-mnist-5-tiny";
    assert_eq!(place.names("runs"), ["00000-mnist-5-tiny"]);
    let files = [
        "checkpoints",
        "config.json",
        "curves.png",
        "curves.svg",
        "generator",
        "real.png",
        "run.lock",
        "samples",
        "stats.jsonl",
    ];
    let mut names = place.names(run);
    let events = names.iter().position(|name| name.starts_with("events.out.tfevents."));
    names.remove(events.unwrap());
    assert_eq!(names, files);
    let curves = String::from_utf8(place.read(&format!("{run}/curves.svg"))).unwrap();
    assert!(curves.starts_with("<svg") && curves.ends_with("</svg>\n"), "{curves}");
    // One line of statistics is a point of each curve. There are two panels of two curves.
    assert_eq!(curves.matches("<circle").count(), 4, "{curves}");
    let curves = Decoder::new(Cursor::new(place.read(&format!("{run}/curves.png"))));
    assert_eq!(curves.read_info().unwrap().info().size(), (1600, 992));

    let config = place.json(&format!("{run}/config.json"));
    for (key, value) in [
        ("recipe", json!("tiny")),
        ("dataset", json!("mnist")),
        ("classes", json!(["5"])),
        ("images", json!(5421)),
        ("seed", json!(3)),
        ("steps", json!(12)),
        ("training/batch_size", json!(9)),
        ("training/update", json!("simultaneous")),
        ("schedule/sample_every", json!(4)),
        ("training/generator_adam", json!({ "lr": 1e-3, "beta1": 0.5, "beta2": 0.999 })),
        ("training/discriminator_adam", json!({ "lr": 2e-3, "beta1": 0.5, "beta2": 0.999 })),
    ] {
        assert_eq!(config.pointer(&format!("/{key}")), Some(&value), "{key}");
    }
    assert_eq!(config["generator"]["image"], json!([1, 28, 28]));

    let samples = place.names(&format!("{run}/samples"));
    assert_eq!(samples, ["000000.png", "000004.png", "000008.png", "000012.png"]);
    for sample in samples {
        // Ten by ten images, two pixels apart.
        assert_eq!(grey_size(&place.path(&format!("{run}/samples/{sample}"))), (298, 298));
    }
    // Checkpoints are written at steps 5, 10 and 12; two are kept.
    assert_eq!(place.names(&format!("{run}/checkpoints")), ["000010", "000012"]);
    for step in ["000010", "000012"] {
        let files = place.names(&format!("{run}/checkpoints/{step}"));
        assert_eq!(files, ["state.json", "state.safetensors"]);
    }
    let state = place.json(&format!("{run}/checkpoints/000010/state.json"));
    for key in ["step", "generator_updates", "discriminator_updates"] {
        assert_eq!(state[key], 10, "{key}");
    }
}

#[test]
fn the_generator_of_a_run_loads_in_another_program() {
    let place = Place::new();
    place.succeed("--digit 5 --recipe tiny.toml --steps 6");
    let directory = place.path("runs/00000-mnist-5-tiny/generator");
    assert_eq!(
        place.names("runs/00000-mnist-5-tiny/generator"),
        ["README.md", "config.json", "model.safetensors", "samples.png"]
    );
    let card =
        String::from_utf8(place.read("runs/00000-mnist-5-tiny/generator/README.md")).unwrap();
    assert!(card.starts_with("---\nlicense: cc-by-sa-3.0\nlibrary_name: candle\n"), "{card}");
    assert!(card.contains("![Generated images](samples.png)"), "{card}");
    assert!(card.contains("candle-gan --recipe tiny.toml \\\n  --class 5 \\\n"), "{card}");
    // The card is for people and hubs; earlier versions wrote none.
    for name in ["README.md", "samples.png"] {
        std::fs::remove_file(directory.join(name)).unwrap();
    }
    let generator = Generator::load(directory, &Device::Cpu).unwrap();
    assert_eq!(generator.config().latent_dim, 6);
    assert_eq!(generator.config().classes, ["5"]);
    let latents: Vec<f32> = (0..18).map(|i| (i as f32 - 9.0) / 5.0).collect();
    let latents = candle_core::Tensor::from_vec(latents, (3, 6), &Device::Cpu).unwrap();
    let images = generator.forward(&latents, Mode::Eval).unwrap();
    assert_eq!(images.dims(), [3, 1, 28, 28]);
    let values: Vec<f32> = images.flatten_all().unwrap().to_vec1().unwrap();
    assert!(values.iter().all(|value| (-1.0..=1.0).contains(value)));
    assert!(values.iter().any(|&value| value != values[0]), "all values are equal");
}

#[test]
fn runs_are_numbered_and_named_by_their_data() {
    let place = Place::new();
    place.succeed("--recipe tiny.toml --digit 3,5 --steps 1");
    place.succeed(&format!("train {SMALL} --steps 1"));
    place.succeed("--recipe mlp-like.toml --dataset idx:set --class 2,0 --steps 1");
    assert_eq!(
        place.names("runs"),
        ["00000-mnist-3+5-tiny", "00001-idx-set-tiny", "00002-idx-set-2+0-mlp-like"]
    );
    place.write("elsewhere/00041-mine/x", "");
    place.succeed(&format!("{SMALL} --steps 1 --out elsewhere"));
    assert_eq!(place.names("elsewhere"), ["00041-mine", "00042-idx-set-tiny"]);
    assert_eq!(place.names("runs").len(), 3);
}

#[test]
fn statistics_are_lines_of_finite_numbers() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 110"));
    let text = String::from_utf8(place.read("runs/00000-idx-set-tiny/stats.jsonl")).unwrap();
    assert!(text.ends_with('\n'));
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [50, 100, 110]);
    // The last curves show all lines.
    let curves = String::from_utf8(place.read("runs/00000-idx-set-tiny/curves.svg")).unwrap();
    let red = curves.lines().find(|line| line.contains("class=\"red\"")).unwrap();
    let points = red.split('"').nth(1).unwrap();
    assert_eq!(points.split(' ').count(), steps.len(), "{red}");
    for line in &lines {
        let number = |key: &str| line[key].as_f64().unwrap_or_else(|| panic!("{key}: {line}"));
        // 24 images in batches of 8.
        assert!((number("epoch") - number("step") / 3.0).abs() < 1e-9, "{line}");
        for key in ["discriminator_loss", "generator_loss", "images_per_second"] {
            assert!(number(key) > 0.0 && number(key) < 1e9, "{key}: {line}");
        }
        for key in ["real_score", "fake_score"] {
            assert!((0.0..=1.0).contains(&number(key)), "{key}: {line}");
        }
    }
}

#[test]
fn epochs_count_images() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --epochs 2 --batch-size 9"));
    let run = "runs/00000-idx-set-tiny";
    assert_eq!(place.json(&format!("{run}/config.json"))["steps"], 6);
    assert_eq!(place.names(&format!("{run}/checkpoints")), ["000005", "000006"]);
}

#[test]
fn the_last_message_says_where_everything_is() {
    let place = Place::new();
    let said = place.succeed(SMALL);
    let run = "runs/00000-idx-set-tiny";
    for part in [
        "trained to step 12 (4.0 epochs)",
        "images/s",
        &format!("run         {run}\n"),
        &format!("samples     {run}/samples, 4 grids, the last 000012.png\n"),
        &format!("generator   {run}/generator\n"),
        &format!("cargo xtask gif --run {run}\n"),
        &format!("cargo xtask report --run {run}\n"),
        &format!("cargo run -p trainer -- generate --run {run} --count 100 --format grid --out "),
        &format!("cargo run -p trainer -- --resume {run} --steps 24\n"),
    ] {
        assert!(said.out.contains(part), "no {part:?} in {}", said.out);
    }
    // The printed commands work.
    let next: Vec<&str> = said
        .out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("cargo run -p trainer -- "))
        .collect();
    assert_eq!(next.len(), 2);
    for command in next {
        place.succeed(command);
    }
    assert_eq!(grey_size(&place.path("digits.png")), (298, 298));
    assert_eq!(place.names(&format!("{run}/checkpoints")), ["000020", "000024"]);
}

#[test]
fn progress_is_plain_lines_where_there_is_no_terminal() {
    let place = Place::new();
    let output = place.command(SMALL).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    let steps: Vec<&str> = err.lines().filter(|line| line.contains("step ")).collect();
    let last = steps.last().unwrap();
    assert!(steps[0].contains("step 1/12 "), "{err}");
    for part in ["step 12/12 ", "epoch 4.0/4.0", " D ", " G ", " images/s", "0 s left"] {
        assert!(last.contains(part), "no {part:?} in {last:?}");
    }
    for name in [" D ", " G "] {
        let value = last.split(name).nth(1).unwrap().split_whitespace().next().unwrap();
        let value: f64 = value.parse().unwrap_or_else(|error| panic!("{value}: {error}"));
        assert!(value > 0.0 && value < 10.0, "{last}");
    }
    assert!(err.contains("24 images of idx:set"), "{err}");
    assert!(err.contains("run directory runs/00000-idx-set-tiny"), "{err}");
    assert!(!err.contains(['\x1b', '\r']), "colours or a bar without a terminal: {err:?}");
}

#[test]
fn a_dry_run_prints_the_configuration_and_leaves_nothing() {
    let place = Place::new();
    let before = tree(&place.path(""));
    let said = place.succeed(&format!("{SMALL} --dry-run --steps 7"));
    assert_eq!(tree(&place.path("")), before);
    let end = said.out.find("\n}").unwrap() + 2;
    let config: Value = serde_json::from_str(&said.out[..end]).unwrap();
    assert_eq!(config["steps"], 7);
    assert_eq!(config["images"], 24);
    // Generator: 6 x 196 weights and 2 x 196 of normalisation; 4 x 3 x 16 and 2 x 3; 3 x 16.
    // Discriminator: 16 x 3 + 3, 3 x 16 x 4 + 4, 196 + 1.
    let totals: Vec<&str> =
        said.out.lines().filter(|line| line.trim_start().starts_with("total")).collect();
    for (total, want) in totals.iter().zip([6 * 196 + 2 * 196 + 192 + 6 + 48, 51 + 196 + 197]) {
        let count = total.split_whitespace().nth(1).unwrap().replace(',', "");
        assert_eq!(count.parse::<usize>().unwrap(), want, "{}", said.out);
    }
    assert_eq!(totals.len(), 2);

    place.succeed(SMALL);
    let before = tree(&place.path(""));
    place.succeed("--resume runs/00000-idx-set-tiny --steps 20 --dry-run");
    assert_eq!(tree(&place.path("")), before);
}

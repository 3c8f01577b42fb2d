//! `recipes`, `summary`, `score` and `interpolate`.

use std::fs;

use gan_data::{ImageSet, Source, Split, idx};
use serde_json::Value;

use crate::Place;

#[test]
fn recipes_are_listed_with_their_purpose() {
    let said = Place::new().succeed("recipes");
    for name in
        ["default", "conditional", "garments", "dcgan", "ezgan", "mlp", "mlp-bn", "mlp-small"]
    {
        let line = said.out.lines().find(|line| line.split_whitespace().next() == Some(name));
        assert!(line.is_some_and(|line| line.len() > 30), "{name} in {said:?}");
    }
}

#[test]
fn a_summary_describes_a_recipe_or_a_run() {
    let place = Place::new();
    let flags = "--recipe tiny.toml --dataset idx:set";
    let planned = place.succeed(&format!("summary {flags}"));
    assert!(planned.out.contains("generator") && planned.out.contains("conv_transpose"));
    assert!(!place.path("runs").exists(), "a summary leaves no run");
    place.succeed(&format!("{flags} --steps 2"));
    let run = place.succeed("summary --run runs/00000-idx-set-tiny");
    assert_eq!(planned.out, run.out);
}

/// A discriminator of 150 steps scores its generator's images below 0 and real images above 0.
#[test]
fn scores_separate_generated_from_real_images() {
    let place = Place::new();
    place.succeed("--digit 5 --recipe mlp-like.toml --steps 150 --batch-size 32");
    place.succeed("generate --count 40 --format idx --out generated");
    let fives = Source::Mnist.load(Split::Test).unwrap();
    let fives = fives.filter_classes(&["5".to_string()]).unwrap();
    let pixels = &fives.pixels()[..40 * fives.shape().len()];
    idx::write(&place.path("real"), fives.shape(), pixels, None).unwrap();
    let values = |directory: &str| -> Vec<f32> {
        let said = place.succeed(&format!("score {directory}"));
        let of = |line: &str| line.split_whitespace().next().unwrap().parse().unwrap();
        said.out.lines().map(of).collect()
    };
    let (real, generated) = (values("real"), values("generated"));
    assert_eq!((real.len(), generated.len()), (40, 40));
    let right =
        real.iter().filter(|&&v| v > 0.0).count() + generated.iter().filter(|&&v| v < 0.0).count();
    assert!(right >= 72, "{right} of 80: {real:?}, {generated:?}");
    // The score of an image does not depend on the others.
    place.succeed("generate --count 3 --format png --out png");
    let alone = place.succeed("score png/000001.png").out;
    let value = alone.split_whitespace().next().unwrap();
    let label = if value.starts_with('-') { "fake" } else { "real" };
    assert!(alone.ends_with(&format!("{value}  {label}  png/000001.png\n")), "{alone}");
    let all = place.succeed("score png").out;
    assert!(all.lines().nth(1).unwrap().trim_start().starts_with(value), "{all}");
}

#[test]
fn images_that_cannot_be_scored_are_errors() {
    let place = Place::new();
    place.succeed("--recipe by-class.toml --dataset idx:set --steps 2");
    place.idx_images("small", (12, 8), &[0]);
    place.refuse_saying("score set", &["--class", "0, 1, 2"]);
    place.refuse_saying("score set --class 7", &["--class 7", "0, 1, 2"]);
    place.refuse_saying("score small --class 1", &["small", "8x12", "28x28"]);
    // A PNG image is resized to the discriminator's shape.
    let shape = gan_data::ImageShape { channels: 3, height: 40, width: 60 };
    gan_data::png::write(&place.path("large.png"), shape, &[77; 7200]).unwrap();
    assert!(place.succeed("score large.png --class 1").out.ends_with("  large.png\n"));
    place.refuse_saying("score absent.png --class 1", &["absent.png"]);
    assert_eq!(place.succeed("score set --class 1").out.lines().count(), 24);
}

#[test]
fn an_interpolation_is_a_grid_or_an_animation() {
    let place = Place::new();
    place.succeed("--recipe by-class.toml --dataset idx:set --steps 2");
    place.succeed("interpolate --class 0,2 --points 1 --frames 4 --scale 1 --out grid.png");
    let grid = ImageSet::load(&place.path("grid.png")).unwrap();
    assert_eq!((grid.shape.width, grid.shape.height), (5 * 30 - 2, 28));
    // Both ends are images of the same latent; the images between them differ.
    let at = |column: usize| -> Vec<u8> {
        let rows = grid.pixels.chunks_exact(grid.shape.width);
        rows.flat_map(|row| row[column * 30..column * 30 + 28].to_vec()).collect()
    };
    place.succeed("generate --count 1 --class 0 --format png --out generated");
    assert_eq!(ImageSet::load(&place.path("generated/000000.png")).unwrap().pixels, at(0));
    assert!(at(2) != at(0) && at(2) != at(4));

    place.succeed(
        "interpolate --points 3 --frames 5 --scale 2 --fps 20 --format animation --out loop.png",
    );
    let file = std::io::Cursor::new(place.read("loop.png"));
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    assert_eq!((reader.info().width, reader.info().height), (56, 56));
    let control = reader.info().animation_control.unwrap();
    assert_eq!((control.num_frames, control.num_plays), (15, 0));
    let mut frame = vec![0; reader.output_buffer_size().unwrap()];
    for _ in 0..15 {
        reader.next_frame(&mut frame).unwrap();
        let timing = reader.info().frame_control.unwrap();
        assert_eq!((timing.delay_num, timing.delay_den), (1, 20));
    }
    // The old name of `--format animation`.
    place.succeed("interpolate --frames 2 --format film --out film.png");
    for (flags, parts) in [
        ("--points 1 --class 2", ["--points 1", "2 points"]),
        ("--class 0,9", ["--class 9", "0, 1, 2"]),
        ("--frames 0", ["--frames 0", "at least 1"]),
        ("--points 2 --class 0,1,2", ["--points 2", "each --class"]),
    ] {
        place.refuse_saying(&format!("interpolate {flags} --out x.png"), &parts);
    }
}

/// Statistics count the updates that are made, at the recipe's own interval.
#[test]
fn separate_updates_are_counted() {
    let place = Place::new();
    place.succeed("--digit 5 --recipe layers.toml --steps 12");
    let text = String::from_utf8(place.read("runs/00000-mnist-5-layers/stats.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = lines.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [5, 10, 12]);
    // The discriminator's initial losses are above both thresholds; the generator's threshold is out of
    // reach.
    let updates =
        |line: &Value| ["real", "fake", "generator"].map(|of| line["updates"][of].as_u64());
    assert_eq!(updates(&lines[0]), [Some(5), Some(5), Some(0)]);
    assert!(lines.iter().all(|line| (0.0..=1.0).contains(&line["accuracy"].as_f64().unwrap())));
}

/// Runs the Python program of model cards that begins like this, where a variable names a Python with what
/// it needs, and returns the shapes of what `read` finds.
#[allow(clippy::print_stderr, reason = "a test that is skipped says why")]
fn draw_by_model_card(variable: &str, begins: &str, read: fn(&Place) -> Vec<usize>) {
    let Some(python) = std::env::var_os(variable) else {
        eprintln!("skipped: {variable} names no Python");
        return;
    };
    let place = Place::new();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let script = fs::read(format!("{root}/docs/load_in_pytorch.py")).unwrap();
    for recipe in ["by-class", "layers"] {
        let run = format!("runs/{recipe}");
        place.succeed(&format!("--recipe {recipe}.toml --dataset idx:set --steps 4 --out {run}"));
        let run = format!("{run}/00000-idx-set-{recipe}");
        let card = String::from_utf8(place.read(&format!("{run}/generator/README.md"))).unwrap();
        let mut programs = card.split("```python\n").skip(1).map(|text| text.split("```").next());
        let program = programs.find_map(|text| text.filter(|text| text.starts_with(begins)));
        // From beside the generator, as the card says.
        place.write(&format!("{run}/draw.py"), program.unwrap());
        place.write(&format!("{run}/load_in_pytorch.py"), &script);
        place.succeed(&format!("export-onnx --weights {run}/generator --out {run}/generator.onnx"));
        let mut draw = std::process::Command::new(&python);
        let said = crate::finish(draw.arg("draw.py").current_dir(place.path(&run)));
        assert_eq!(said.code, Some(0), "{card}\n{said:?}");
        for name in ["images.npy", "images.safetensors"] {
            let _ = fs::rename(place.path(&run).join(name), place.path(name));
        }
        assert_eq!(read(&place), [16, 1, 28, 28]);
    }
}

/// `CANDLE_GAN_ONNX_PYTHON=.../bin/python cargo test -p trainer --test e2e model_card`.
#[test]
fn the_program_of_a_model_card_draws_with_onnxruntime() {
    draw_by_model_card("CANDLE_GAN_ONNX_PYTHON", "import numpy as np, onnxruntime\n", |place| {
        candle_core::Tensor::read_npy(place.path("images.npy")).unwrap().dims().to_vec()
    });
}

/// `CANDLE_GAN_TORCH_PYTHON=.../bin/python cargo test -p trainer --test e2e model_card`.
#[test]
fn the_program_of_a_model_card_draws_with_pytorch() {
    draw_by_model_card("CANDLE_GAN_TORCH_PYTHON", "import json, torch\n", |place| {
        let device = candle_core::Device::Cpu;
        let file = place.path("images.safetensors");
        candle_core::safetensors::load(file, &device).unwrap()["images"].dims().to_vec()
    });
}

#[test]
fn completions_are_scripts_for_each_shell() {
    let place = Place::new();
    for (shell, part) in [
        ("bash", "_candle__gan()"),
        ("zsh", "#compdef candle-gan"),
        ("fish", "complete -c candle-gan"),
    ] {
        let script = place.succeed(&format!("completions {shell}")).out;
        assert!(script.contains(part), "{script}");
        assert!(script.contains("interpolate") && script.contains("save-latents"), "{script}");
        assert!(!script.contains("u0009"), "tabs are kept: {script}");
    }
    assert_eq!(place.run("completions tcsh").code, Some(2));
}

/// Nothing but objects on standard output, from the start to the end; the same run otherwise.
#[test]
fn progress_is_lines_of_json_for_programs() {
    let place = Place::new();
    let flags = "--recipe by-class.toml --dataset idx:set --steps 8";
    let said = place.succeed(&format!("{flags} --progress json"));
    let events: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |name: &str| -> Vec<&Value> {
        events.iter().filter(|event| event["event"] == name).collect()
    };
    let run = "runs/00000-idx-set-by-class";
    assert_eq!(events[0]["event"], "start");
    assert_eq!((&events[0]["run"], &events[0]["steps"]), (&run.into(), &8.into()));
    let last = of("progress").pop().unwrap();
    assert_eq!(last["step"], 8);
    assert!(last["generator_loss"].is_f64() && last["seconds_left"] == 0.0, "{last}");
    let steps: Vec<_> = of("measurement").iter().map(|event| event["step"].clone()).collect();
    assert_eq!(steps, [4, 8]);
    assert!(of("measurement")[0]["fd-r64-2k"].is_f64(), "{events:?}");
    let end = events.last().unwrap();
    assert_eq!((&end["event"], &end["complete"]), (&"end".into(), &true.into()));
    let again = place.succeed(&format!("--resume {run} --progress json")).out;
    assert_eq!(again.lines().count(), 1);
    place.succeed(flags);
    let plain = place.result("runs/00001-idx-set-by-class");
    crate::assert_same(&place.result(run), &plain);
    // The bar and the lines go to standard error.
    let said = place.succeed(&format!("{flags} --progress plain"));
    assert!(said.err.contains("step 8/8 ") && !said.out.contains("step 8/8 "), "{said:?}");
}

#[test]
fn a_generator_is_written_as_a_page() {
    let place = Place::new();
    place.succeed("--recipe by-class.toml --dataset idx:set --steps 2");
    let said = place.succeed("export-html --out by-class.html");
    let page = String::from_utf8(place.read("by-class.html")).unwrap();
    let end = format!("by-class.html: {} bytes, weights in f16\n", page.len());
    assert!(said.out.ends_with(&end), "{said:?}");
    assert!(page.contains("<title>00000-idx-set-by-class</title>"), "{page}");
    place.refuse_saying("export-html --weights absent --out a.html", &["absent"]);
}

#[test]
fn a_generator_is_written_as_an_onnx_model() {
    let place = Place::new();
    place.succeed("--recipe by-class.toml --dataset idx:set --steps 2");
    let said = place.succeed("export-onnx --out by-class.onnx");
    let shapes = "z: float32 (N, 6), label: int64 (N) -> images: float32 (N, 1, 28, 28)\n";
    assert!(said.out.ends_with(&format!("by-class.onnx: {shapes}")), "{said:?}");
    // The first field is the version of the format, 8.
    let model = place.read("by-class.onnx");
    assert_eq!(model[..2], [8, 8]);
    place
        .succeed("export-onnx --weights runs/00000-idx-set-by-class/generator --out by-class.onnx");
    assert_eq!(place.read("by-class.onnx"), model);
    place.refuse_saying("export-onnx --weights absent --out a.onnx", &["absent"]);
    place.refuse_saying("export-onnx --out absent/a.onnx", &["absent/a.onnx"]);
    place.refuse_saying("export-onnx --out set", &["set"]);
}

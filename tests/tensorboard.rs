//! Event files, read by TensorBoard. The environment names a Python that has it.

#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::collections::BTreeMap;
use std::env;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::{Place, finish};

/// The variable that names a Python with the package `tensorboard`.
const PYTHON: &str = "CANDLE_GAN_TENSORBOARD_PYTHON";

/// Each tag with the JSON pointer of its value in a line of statistics.
const SCALARS: [(&str, &str); 13] = [
    ("loss/discriminator", "/discriminator_loss"),
    ("loss/generator", "/generator_loss"),
    ("score/real", "/real_score"),
    ("score/fake", "/fake_score"),
    ("score/accuracy", "/accuracy"),
    ("updates/discriminator_on_real", "/updates/real"),
    ("updates/discriminator_on_fake", "/updates/fake"),
    ("updates/generator", "/updates/generator"),
    ("speed/images_per_second", "/images_per_second"),
    ("quality/fd-mnistnet-2k", "/quality/fd-mnistnet-2k"),
    ("quality/precision", "/quality/precision"),
    ("quality/recall", "/quality/recall"),
    ("quality/class_accuracy", "/quality/accuracy"),
];

/// TensorBoard shows the values of `stats.jsonl` and the sample grids, also of a run that was resumed
/// from an earlier checkpoint.
#[test]
fn tensorboard_shows_the_statistics_of_a_run() {
    let Some(python) = env::var_os(PYTHON) else {
        eprintln!("skipped: {PYTHON} names no Python");
        return;
    };
    let place = Place::new();
    let run = "runs/00000-mnist-5+7-by-class";
    place.succeed("--digit 5,7 --recipe by-class.toml --steps 12");
    compare(&python, &place, run);
    std::fs::remove_dir_all(place.path(run).join("checkpoints/000012")).unwrap();
    place.succeed(&format!("--resume {run} --steps 14"));
    compare(&python, &place, run);
    place.succeed("--digit 5,7 --recipe layers.toml --steps 15");
    compare(&python, &place, "runs/00001-mnist-5+7-layers");
}

fn compare(python: &std::ffi::OsStr, place: &Place, run: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/read_events.py");
    let said = finish(Command::new(python).arg(script).arg(place.path(run)));
    assert_eq!(said.code, Some(0), "{said:?}");
    let found: Value = serde_json::from_str(&said.out).unwrap();

    let stats = String::from_utf8(place.read(&format!("{run}/stats.jsonl"))).unwrap();
    let lines: Vec<Value> = stats.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() >= 3, "{stats}");
    let series = |pointer: &str| -> Value {
        let value = |line: &Value| {
            let value = line.pointer(pointer)?.as_f64()?;
            Some(json!([line["step"], f64::from(value as f32)]))
        };
        lines.iter().filter_map(value).collect()
    };
    let wanted: BTreeMap<_, _> =
        SCALARS.iter().map(|(tag, pointer)| (*tag, series(pointer))).collect();
    let wanted: BTreeMap<_, _> =
        wanted.into_iter().filter(|(_, series)| *series != json!([])).collect();
    assert_eq!(found["scalars"], json!(wanted));

    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let grids: Value = place
        .names(&format!("{run}/samples"))
        .iter()
        .map(|name| {
            let step: u64 = name.strip_suffix(".png").unwrap().parse().unwrap();
            let png = place.read(&format!("{run}/samples/{name}"));
            let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
            json!([step, side(16), side(20), [hex(png)]])
        })
        .collect();
    // The message does not show the images, which are long.
    assert!(
        found["images"] == json!({ "samples": grids }),
        "images differ from those in {run}/samples"
    );
}

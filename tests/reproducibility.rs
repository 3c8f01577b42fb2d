//! The same seed gives the same bytes, in one session or in several.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Place, SMALL, assert_same, plain};

#[test]
fn one_seed_gives_one_result() {
    let place = Place::new();
    for (out, more) in [("a", "--seed 7"), ("b", "--seed 7"), ("c", "--seed 8")] {
        place.succeed(&format!("{SMALL} --out {out} {more}"));
    }
    let run = "00000-idx-set-tiny";
    let [a, b, c] = ["a", "b", "c"].map(|out| place.result(&format!("{out}/{run}")));
    assert_same(&a, &b);
    for file in [
        "samples/000000.png",
        "samples/000012.png",
        "generator/model.safetensors",
        "checkpoints/000012/state.safetensors",
    ] {
        assert_ne!(a[file], c[file], "{file}");
    }
    assert_ne!(a["samples/000000.png"], a["samples/000012.png"]);
    // All statistics but the speed are equal.
    let stats = |out: &str| -> Value {
        let text = place.read(&format!("{out}/{run}/stats.jsonl"));
        let mut line: Value = serde_json::from_slice(&text).unwrap();
        line.as_object_mut().unwrap().remove("images_per_second").unwrap();
        line
    };
    assert_eq!(stats("a"), stats("b"));
    for curves in ["curves.svg", "curves.png"] {
        let [a, b] = ["a", "b"].map(|out| place.read(&format!("{out}/{run}/{curves}")));
        assert!(a == b, "{curves}");
    }
    assert_ne!(stats("a"), stats("c"));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let place = Place::new();
    // Built-in recipes have layers large enough to be split between threads.
    for (recipe, run) in [
        ("default", "00000-mnist-5-default"),
        ("mlp", "00000-mnist-5-mlp"),
        ("ezgan", "00000-mnist-5-ezgan"),
        ("tiny.toml", "00000-mnist-5-tiny"),
    ] {
        let results = [1, 2, 3].map(|threads| {
            let out = format!("{recipe}-{threads}");
            let common = format!("--digit 5 --recipe {recipe} --steps 4");
            place.succeed(&format!("{common} --threads {threads} --out {out}"));
            place.result(&format!("{out}/{run}"))
        });
        assert_same(&results[0], &results[1]);
        assert_same(&results[0], &results[2]);
    }
}

/// A run of two sessions keeps the same best step as one of a single session.
#[test]
fn sessions_do_not_change_the_best_step() {
    let place = Place::new();
    let args = "--digit 5,7 --recipe by-class.toml";
    let run = "00000-mnist-5+7-by-class";
    place.succeed(&format!("{args} --steps 16 --out straight"));
    place.succeed(&format!("{args} --steps 6 --out halves"));
    place.succeed(&format!("--resume halves/{run} --steps 16"));
    let straight = place.result(&format!("straight/{run}"));
    let mut halves = place.result(&format!("halves/{run}"));
    assert!(halves.remove("samples/000006.png").is_some());
    assert_same(&straight, &halves);
    let best: Value = serde_json::from_slice(&straight["checkpoints/best/state.json"]).unwrap();
    let lines = String::from_utf8(place.read(&format!("straight/{run}/stats.jsonl"))).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let measured: Vec<&Value> = lines.iter().filter(|line| !line["quality"].is_null()).collect();
    let steps: Vec<u64> = measured.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [4, 8, 12, 16]);
    let distance = |line: &&&Value| line["quality"]["fd-mnistnet-2k"].as_f64().unwrap();
    let best_line = measured.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap();
    assert_eq!(best["step"], best_line["step"]);
    assert!(straight.contains_key("best-generator/model.safetensors"));
}

/// Compares a run of ten and ten more steps with one of twenty.
fn resumes_bit_for_bit(recipe: &str) {
    let place = Place::new();
    let run = format!("00000-idx-set-{recipe}");
    let args = format!("--recipe {recipe}.toml --dataset idx:set");
    place.succeed(&format!("{args} --steps 20 --out straight"));
    place.succeed(&format!("{args} --steps 10 --out halves"));
    let half = place.result(&format!("halves/{run}"));
    let said = place.succeed(&format!("--resume halves/{run} --steps 20"));
    assert!(said.out.contains("trained to step 20"), "{said:?}");
    assert!(said.out.contains(": 10 steps in "), "{said:?}");
    assert!(said.err.contains("steps 10 to 20"), "{said:?}");

    let straight = place.result(&format!("straight/{run}"));
    let mut halves = place.result(&format!("halves/{run}"));
    assert_eq!(place.names("halves"), [run.as_str()]);
    // The sample grid at the end of the first session.
    assert!(halves.remove("samples/000010.png").is_some());
    assert_same(&straight, &halves);
    let weights = "generator/model.safetensors";
    assert_ne!(half[weights], halves[weights], "ten more steps changed nothing");
    let steps = String::from_utf8(place.read(&format!("halves/{run}/stats.jsonl"))).unwrap();
    let steps: Vec<Value> = steps.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<u64> = steps.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert!(steps == [10, 20] || steps == [5, 10, 15, 20], "{steps:?}");
}

#[test]
fn a_regularised_run_resumes_bit_for_bit() {
    resumes_bit_for_bit("regularised");
}

#[test]
fn a_simultaneous_run_with_batch_norm_resumes_bit_for_bit() {
    resumes_bit_for_bit("tiny");
}

#[test]
fn an_alternating_run_with_dropout_resumes_bit_for_bit() {
    resumes_bit_for_bit("mlp-like");
}

#[test]
fn a_run_of_separate_updates_resumes_bit_for_bit() {
    resumes_bit_for_bit("layers");
}

#[test]
fn an_alternating_run_of_normalised_networks_resumes_bit_for_bit() {
    let place = Place::new();
    let norm = "norm = { batch = { epsilon = 1e-5, momentum = 0.1 } }";
    let text = crate::TINY.replace("simultaneous", "alternating").replace("norm = \"none\"", norm);
    place.write("both.toml", text);
    let args = "--recipe both.toml --dataset idx:set";
    place.succeed(&format!("{args} --steps 8 --out straight"));
    place.succeed(&format!("{args} --steps 5 --out halves"));
    place.succeed("--resume halves/00000-idx-set-both --steps 8");
    let mut halves = place.result("halves/00000-idx-set-both");
    halves.remove("samples/000005.png").unwrap();
    assert_same(&place.result("straight/00000-idx-set-both"), &halves);
}

/// Stops a run by a signal and resumes it.
#[cfg(unix)]
fn stops_and_resumes(signal: &str) {
    let place = Place::new();
    let mut command = place.command(&format!("{SMALL} --steps 1000000 --out stopped"));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("step 1/1000000") {
        line.clear();
        assert_ne!(err.read_line(&mut line).unwrap(), 0, "ended before the first step");
    }
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut err, &mut rest).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest}");
    assert!(rest.contains("finishing the step"), "{rest}");

    let run = "stopped/00000-idx-set-tiny";
    let out = plain(&String::from_utf8(output.stdout).unwrap());
    let step =
        out.strip_prefix("stopped at step ").and_then(|rest| rest.split_once(' ')).unwrap().0;
    let step: u64 = step.parse().unwrap();
    assert!((1..1_000_000).contains(&step), "{out}");
    assert!(out.contains(&format!("cargo run -p trainer -- --resume {run}\n")), "{out}");
    let checkpoints = place.names(&format!("{run}/checkpoints"));
    assert_eq!(checkpoints.last(), Some(&format!("{step:06}")));

    let end = step + 5;
    place.succeed(&format!("--resume {run} --steps {end}"));
    place.succeed(&format!("{SMALL} --steps {end} --out straight"));
    assert_same(&place.result("straight/00000-idx-set-tiny"), &place.result(run));
}

#[cfg(unix)]
#[test]
fn ctrl_c_writes_a_checkpoint_that_resumes_bit_for_bit() {
    stops_and_resumes("-INT");
}

#[cfg(unix)]
#[test]
fn sigterm_writes_a_checkpoint_too() {
    stops_and_resumes("-TERM");
}

//! FIFOs and devices in place of files: refused at once, where reading would never end.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::{Place, SMALL};

/// Puts a FIFO in place of a file, if there is one.
fn fifo(place: &Place, name: &str) {
    let path = place.path(name);
    let _ = fs::remove_file(&path);
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

/// Runs the trainer, which must fail at once. Returns the error.
fn refused(place: &Place, args: &str, name: &str) {
    let error = place.fail(args);
    for part in [name, "it is a FIFO; a regular file is needed"] {
        assert!(error.contains(part), "{args}: no {part:?} in {error:?}");
    }
}

#[test]
fn only_regular_files_are_read() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 6"));
    let run = "runs/00000-idx-set-tiny";
    let generate = "generate --count 2 --format grid --out out.png";
    let resume = format!("--resume {run} --steps 8");
    let evaluate = "evaluate --images pngs";
    for (name, args) in [
        ("given.toml", "--recipe given.toml --dataset idx:set"),
        ("a.npy", "generate --latents a.npy --format grid --out out.png"),
        ("pngs/a.png", evaluate),
        ("faces/a.jpg", "--recipe tiny.toml --dataset folder:faces --strict"),
        ("faces/a.jpg", "score faces/a.jpg"),
        ("stats.jsonl", &resume),
        ("checkpoints/000006/state.json", &resume),
        ("checkpoints/000006/state.safetensors", &resume),
        ("generator/model.safetensors", generate),
        ("generator/config.json", generate),
        ("config.json", &resume),
        ("run.lock", &resume),
        ("set/labels-idx1-ubyte", SMALL),
        ("set/images-idx3-ubyte", SMALL),
    ] {
        fs::create_dir_all(place.path("pngs")).unwrap();
        fs::create_dir_all(place.path("faces")).unwrap();
        let of_run = format!("{run}/{name}");
        let is_run_s = place.path(&of_run).exists();
        let path = if is_run_s { of_run.as_str() } else { name };
        let before = fs::read(place.path(path)).ok();
        fifo(&place, path);
        refused(&place, args, name);
        fs::remove_file(place.path(path)).unwrap();
        if let Some(before) = before {
            place.write(path, before);
        }
    }
}

#[test]
fn symbolic_links_to_regular_files_are_read() {
    let place = Place::new();
    symlink(place.path("tiny.toml"), place.path("link.toml")).unwrap();
    place.succeed("--recipe link.toml --dataset idx:set --dry-run");
    symlink("/dev/zero", place.path("zero.toml")).unwrap();
    let error = place.fail("--recipe zero.toml --dataset idx:set");
    assert!(error.contains("zero.toml: it is a device"), "{error}");
}

/// What a resumed run writes anew is not read from a FIFO first.
#[test]
fn a_fifo_in_place_of_a_result_is_replaced() {
    let place = Place::new();
    place.succeed(SMALL);
    let run = "runs/00000-idx-set-tiny";
    for name in ["curves.svg", "generator/config.json"] {
        let path = format!("{run}/{name}");
        let before = place.read(&path);
        fifo(&place, &path);
        place.succeed(&format!("--resume {run}"));
        assert!(fs::symlink_metadata(place.path(&path)).unwrap().is_file());
        assert_eq!(place.read(&path), before);
    }
}

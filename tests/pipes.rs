//! Standard output and standard error that nobody reads any more, as of `candle-gan ... | head -1`.
#![cfg(unix)]

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::{Place, SMALL, said};

/// The writing end of a pipe whose other end is closed.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// Runs the trainer with standard output closed, which must not be an error.
fn quietly(place: &Place, args: &str) {
    let output = place.command(args).stdout(closed()).stderr(Stdio::piped()).output();
    let said = said(&output.unwrap());
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{args}");
}

#[test]
fn a_closed_output_ends_a_program_quietly() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 2"));
    for args in [
        "recipes",
        "summary --recipe tiny.toml --dataset idx:set",
        "score set",
        "generate --count 1 --format grid --out a.png",
    ] {
        quietly(&place, args);
    }
    // An error is one still.
    let output = place.command("score no").stdout(closed()).stderr(Stdio::piped()).output();
    assert_eq!(said(&output.unwrap()).code, Some(2));
}

#[test]
fn training_goes_on_unread() {
    let place = Place::new();
    let train = |out: &str| place.command(&format!("{SMALL} --out {out}"));
    for (out, command) in [
        ("a", train("a").stdout(closed()).stderr(Stdio::null())),
        ("b", train("b").stdout(Stdio::null()).stderr(closed())),
        ("c", train("c").stdout(closed()).stderr(closed())),
    ] {
        let run = format!("{out}/00000-idx-set-tiny");
        assert_eq!(command.status().unwrap().code(), Some(0), "{out}");
        assert!(place.path(&format!("{run}/generator/config.json")).exists(), "{out}");
        let status = place.command(&format!("--resume {run}")).stdout(closed()).status().unwrap();
        assert_eq!(status.code(), Some(0), "{out}");
    }
}

#[test]
fn an_interrupted_run_says_so_by_its_exit_code_at_least() {
    let place = Place::new();
    let mut command = place.command(&format!("{SMALL} --steps 1000000"));
    let mut child: Child = command.stdout(closed()).stderr(closed()).spawn().unwrap();
    while !place.path("runs/00000-idx-set-tiny/checkpoints/000005").exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

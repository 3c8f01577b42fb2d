//! Two processes and one run, or one directory of runs.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::{Place, SMALL};

#[test]
fn a_run_has_one_writer() {
    let place = Place::new();
    let mut command = place.command(&format!("{SMALL} --steps 1000000"));
    let mut first = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = "runs/00000-idx-set-tiny";
    while !place.path(&format!("{run}/checkpoints/000005")).exists() {
        assert_eq!(first.try_wait().unwrap(), None);
        thread::sleep(Duration::from_millis(2));
    }
    let error = place.fail(&format!("--resume {run}"));
    let wanted = format!("{run}: process {} is training this run; wait until it ends", first.id());
    assert!(error.starts_with(&wanted), "{error}");
    // Those that only read need no lock.
    place.succeed(&format!("--resume {run} --dry-run"));

    first.kill().unwrap();
    first.wait().unwrap();
    let last = place.names(&format!("{run}/checkpoints")).pop().unwrap();
    let end = last.parse::<u64>().unwrap() + 1;
    place.succeed(&format!("--resume {run} --steps {end}"));
    assert_eq!(place.read(&format!("{run}/run.lock")), b"");
}

#[test]
fn runs_that_begin_together_have_their_own_directories() {
    let place = Place::new();
    let begin = || {
        let mut command = place.command(&format!("{SMALL} --steps 1"));
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut all: Vec<_> = (0..4).map(|_| begin()).collect();
    for child in &mut all {
        assert!(child.wait().unwrap().success());
    }
    let runs = (0..4).map(|number| format!("{number:05}-idx-set-tiny"));
    assert_eq!(place.names("runs"), runs.clone().collect::<Vec<_>>());
    for run in runs {
        assert_eq!(place.names(&format!("runs/{run}/checkpoints")), ["000001"]);
    }
}

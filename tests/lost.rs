//! Files that cannot be written while training, and run directories that disappear.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::{Place, SMALL, TINY, assert_same, said};

#[test]
fn a_failed_report_loses_no_step() {
    let place = Place::new();
    let args = "--digit 5,7 --recipe by-class.toml";
    let run = "runs/00000-mnist-5+7-by-class";
    place.succeed(&format!("{args} --steps 12 --out straight"));
    place.succeed(&format!("{args} --steps 6"));
    let curves = format!("{run}/curves.svg");
    fs::remove_file(place.path(&curves)).unwrap();
    place.write(&format!("{curves}/in the way"), "");
    // The curves are drawn after the measurement at step 8.
    let said = place.run(&format!("--resume {run} --steps 12"));
    let expected =
        format!("ERROR stopped at step 8, its checkpoint written: cannot write {curves}: ");
    assert!(said.err.lines().last().unwrap().starts_with(&expected), "{said:?}");
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    assert_eq!(place.names(&format!("{run}/checkpoints")), ["000006", "000008", "best"]);

    fs::remove_dir_all(place.path(&curves)).unwrap();
    place.succeed(&format!("--resume {run} --steps 12"));
    let mut result = place.result(run);
    // The sample grid at the end of the first session.
    assert!(result.remove("samples/000006.png").is_some());
    assert_same(&place.result("straight/00000-mnist-5+7-by-class"), &result);
}

#[test]
fn unreadable_statistics_are_an_error_before_training() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --steps 6"));
    let run = "runs/00000-idx-set-tiny";
    let stats = format!("{run}/stats.jsonl");
    fs::remove_file(place.path(&stats)).unwrap();
    place.write(&format!("{stats}/in the way"), "");
    let error = place.refuse(&format!("--resume {run} --steps 9"));
    assert!(error.starts_with(&stats), "{error}");
}

/// Moves the run directory while training, once `written` is there, after which only `part` is written.
/// Moving stands for removing.
#[cfg(unix)]
fn moves_away(recipe: &str, written: &str, part: &str) {
    let place = Place::new();
    place.write("tiny.toml", recipe);
    let mut command = place.command(&format!("{SMALL} --steps 1000000"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let run = place.path("runs/00000-idx-set-tiny");
    let reader = thread::spawn(move || said(&child.wait_with_output().unwrap()));
    while !run.join(written).exists() {
        assert!(!reader.is_finished());
        thread::sleep(Duration::from_millis(2));
    }
    fs::rename(&run, place.path("moved")).unwrap();
    let said = reader.join().unwrap();
    assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
    let error = said.err.lines().last().unwrap();
    assert!(
        error.contains("ERROR") && error.contains(&format!("runs/00000-idx-set-tiny/{part}")),
        "{error}"
    );
    assert!(error.contains("No such file or directory"), "{error}");
    assert!(!said.err.contains("panicked"), "{said:?}");
    assert_eq!(place.names("runs"), [""; 0]);

    let last = place.names("moved/checkpoints").pop().map_or(0, |last| last.parse().unwrap());
    place.succeed(&format!("--resume moved --steps {}", last + 1));
}

#[cfg(unix)]
#[test]
fn a_removed_run_directory_is_not_recreated() {
    let recipe = |samples: u64, checkpoints: u64| {
        TINY.replace("sample_every = 4", &format!("sample_every = {samples}"))
            .replace("checkpoint_every = 5", &format!("checkpoint_every = {checkpoints}"))
    };
    // The curves are drawn at step 50, then not for some seconds; the generator's card is the last of the
    // files beside a checkpoint.
    moves_away(&recipe(1, 1_000_000), "samples/000051.png", "samples");
    moves_away(&recipe(1_000_000, 200), "generator/README.md", "checkpoints");
}

/// What is removed from a run while it trains is made again from then on. What it held is lost.
#[cfg(unix)]
#[test]
fn removed_parts_of_a_run_are_made_again() {
    let place = Place::new();
    let recipe = TINY.replace("sample_every = 4", "sample_every = 100");
    place.write("tiny.toml", recipe.replace("checkpoint_every = 5", "checkpoint_every = 150"));
    place.succeed(&format!("{SMALL} --steps 400 --out straight"));
    let whole = place.result("straight/00000-idx-set-tiny");
    let mut command = place.command(&format!("{SMALL} --steps 400"));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let run = place.path("runs/00000-idx-set-tiny");
    // From then on nothing is written for 100 steps.
    while !run.join("samples/000200.png").exists() {
        assert_eq!(child.try_wait().unwrap(), None);
        thread::sleep(Duration::from_millis(2));
    }
    for part in ["samples", "checkpoints", "generator"] {
        fs::rename(run.join(part), place.path(part)).unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut result = place.result("runs/00000-idx-set-tiny");
    for (name, bytes) in &whole {
        let is_lost = ["000000", "000100", "000200"].map(|step| format!("samples/{step}.png"));
        let wanted = Some(bytes).filter(|_| !is_lost.contains(name));
        assert!(result.remove(name).as_ref() == wanted, "{name}");
    }
    assert_eq!(result.len(), 0);

    fs::remove_dir_all(run.join("samples")).unwrap();
    place.succeed("--resume runs/00000-idx-set-tiny --steps 401");
    fs::remove_dir_all(run.join("checkpoints")).unwrap();
    let error = place.refuse("--resume runs/00000-idx-set-tiny --steps 402");
    let wanted = "runs/00000-idx-set-tiny/checkpoints: no checkpoint to resume from";
    assert_eq!(error, wanted);
}

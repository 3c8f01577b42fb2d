//! Runs that died at an awkward moment are completed by `--resume`.

use std::fs;

use crate::{Place, SMALL, assert_same, finish};

const RUN: &str = "runs/00000-idx-set-tiny";

#[test]
fn a_finished_run_is_given_what_it_lacks() {
    let place = Place::new();
    place.succeed(SMALL);
    let whole = place.result(RUN);
    let path = |name: &str| place.path(&format!("{RUN}/{name}"));
    let curves = place.read(&format!("{RUN}/curves.png"));
    fs::remove_dir_all(path("generator")).unwrap();
    fs::remove_file(path("curves.png")).unwrap();
    fs::remove_file(path("samples/000012.png")).unwrap();
    fs::write(path("curves.svg"), "<svg").unwrap();
    let resume = format!("--resume {RUN}");
    let said = place.succeed(&resume);
    assert!(said.out.contains("is complete: step 12 is made; written now"), "{said:?}");
    assert!(said.out.contains(": generator, sample grid, curves\n"), "{said:?}");
    assert_same(&whole, &place.result(RUN));
    assert_eq!(place.read(&format!("{RUN}/curves.png")), curves);

    // Weights of an earlier step.
    fs::write(path("generator/model.safetensors"), "old").unwrap();
    assert!(place.succeed(&resume).out.contains("out of date: generator\n"));
    let said = place.succeed(&resume);
    assert!(said.out.contains("complete: step 12 is made, and nothing is missing"), "{said:?}");
    assert!(said.out.contains(&format!("--resume {RUN} --steps 24")), "{said:?}");
    assert_same(&whole, &place.result(RUN));
}

#[test]
fn temporary_files_of_dead_sessions_are_cleared() {
    let place = Place::new();
    place.succeed(SMALL);
    let whole = place.result(RUN);
    let leftovers = [
        ".gan-a1B2c3.tmp",
        "samples/.gan-000000.tmp",
        "generator/.weights-Xy12Ab",
        "checkpoints/.gan-a1B2c3.tmp/state.json",
        "checkpoints/.000012.unfinished/state.json",
        "checkpoints/.best.old/state.json",
    ];
    let own = [".notes.tmp", "samples/.mine.tmp", "training.gif.part", "checkpoints/.kept.old"];
    for name in leftovers.iter().chain(&own) {
        place.write(&format!("{RUN}/{name}"), "x");
    }
    place.succeed(&format!("--resume {RUN}"));
    let mut result = place.result(RUN);
    for name in own {
        assert!(result.remove(name).is_some(), "{name}");
    }
    assert_same(&whole, &result);
}

/// A process that dies before its first checkpoint leaves a run that begins again.
#[cfg(unix)]
#[test]
fn a_run_without_a_checkpoint_begins_again() {
    let place = Place::new();
    place.succeed(&format!("{SMALL} --out straight"));
    // Among the first operations are those that make the run; the first checkpoint comes later.
    let mut command = place.command(SMALL);
    let said = finish(command.env("CANDLE_GAN_FAULT", "kill:10"));
    assert_eq!(said.code, None, "{said:?}");
    assert_eq!(place.names(&format!("{RUN}/checkpoints")), [""; 0]);
    place.succeed(&format!("--resume {RUN}"));
    assert_same(&place.result("straight/00000-idx-set-tiny"), &place.result(RUN));
}

/// A process that dies while it makes a run leaves a temporary directory, which the next one removes,
/// unless another process is making a run there.
#[cfg(unix)]
#[test]
fn a_run_that_was_not_made_leaves_nothing() {
    let place = Place::new();
    for operation in 2..=4 {
        let mut command = place.command(SMALL);
        let said = finish(command.env("CANDLE_GAN_FAULT", format!("kill:{operation}")));
        assert_eq!(said.code, None, "{said:?}");
        let [left] = &place.names("runs")[..] else { panic!("{:?}", place.names("runs")) };
        assert!(left.starts_with(".gan-"), "{left}");
        let held = fs::File::open(place.path("runs")).unwrap();
        held.try_lock_shared().unwrap();
        place.succeed(&format!("{SMALL} --steps 1"));
        assert_eq!(place.names("runs"), [left, "00000-idx-set-tiny"]);
        drop(held);
        place.succeed(&format!("{SMALL} --steps 1"));
        assert_eq!(place.names("runs"), ["00000-idx-set-tiny", "00001-idx-set-tiny"]);
        fs::remove_dir_all(place.path("runs")).unwrap();
    }
}

/// Another program may be writing an animation or a report into the run.
#[cfg(unix)]
#[test]
fn a_file_that_is_being_written_is_kept() {
    let place = Place::new();
    place.succeed(SMALL);
    let mut resumed = false;
    gan_files::write_with(&place.path(&format!("{RUN}/training.gif")), |file| {
        place.succeed(&format!("--resume {RUN}"));
        resumed = true;
        gan_files::append(file, b"GIF89a")
    })
    .unwrap();
    assert!(resumed);
    assert_eq!(place.read(&format!("{RUN}/training.gif")), b"GIF89a");
}

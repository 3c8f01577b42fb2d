//! Disks that are full or read-only. These tests need the right to mount a small file system. Without
//! it they print a message and pass.

#![cfg(target_os = "linux")]
#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Place, SMALL, TINY, assert_same, copy, tree};

/// The name of the run's directory.
const RUN: &str = "00000-idx-set-tiny";

/// A small file system. Dropping it unmounts it.
struct Disk(PathBuf);

impl Disk {
    /// Mounts a file system of this many bytes, rounded up to pages. Returns `None` without the right to.
    fn mount(path: PathBuf, bytes: usize) -> Option<Self> {
        std::fs::create_dir(&path).unwrap();
        let size = format!("size={bytes}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&path).stderr(Stdio::null());
        let mounted = command.status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: no right to mount a file system");
        }
        mounted.then_some(Self(path))
    }
}

impl Disk {
    /// Makes the file system read-only, also for root.
    fn make_read_only(&self) {
        let mut command = Command::new("mount");
        command.args(["-o", "remount,ro"]).arg(&self.0);
        assert!(command.status().unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Returns the size of files on disk, in whole pages.
fn pages(directory: &Path) -> usize {
    tree(directory).values().map(|bytes| bytes.len().next_multiple_of(4096)).sum()
}

/// Trains until the disk is full, then resumes from a copy of the run elsewhere.
fn fills_up(recipe: &str, bytes: impl FnOnce(&Place, &str) -> usize, part: &str) {
    let place = Place::new();
    place.write("tiny.toml", recipe);
    let run = RUN;
    place.succeed(&format!("{SMALL} --steps 40 --out whole"));
    let bytes = bytes(&place, &format!("whole/{run}"));
    let Some(disk) = Disk::mount(place.path("disk"), bytes) else { return };
    let error = place.fail(&format!("{SMALL} --steps 40 --out disk"));
    let named = format!("disk/{run}/{part}");
    assert!(error.contains(&named), "no {named:?} in {error:?}");
    assert!(error.contains("No space left on device"), "{error}");

    // No partial file is left, visible or hidden.
    let files = tree(&disk.0.join(run));
    let whole = place.result(&format!("whole/{run}"));
    let odd = |name: &&String| name.contains("/.") || name.contains("tmp");
    assert_eq!(files.keys().filter(odd).collect::<Vec<_>>(), [""; 0]);
    for name in files.keys().filter(|name| name.starts_with("samples/")) {
        assert_eq!(files[name], whole[name], "{name}");
    }
    copy(&disk.0.join(run), &place.path(run));
    drop(disk);

    let checkpoints = place.names(&format!("{run}/checkpoints"));
    assert!((1..=2).contains(&checkpoints.len()), "{checkpoints:?}");
    place.succeed(&format!(
        "generate --weights {run}/generator --count 2 --format grid --out a.png"
    ));
    place.succeed(&format!("--resume {run} --steps 40"));
    for part in ["checkpoints", "generator"] {
        let [found, wanted] =
            [run.to_string(), format!("whole/{run}")].map(|run| tree(&place.path(&run).join(part)));
        assert_same(&wanted, &found);
    }
}

#[test]
fn a_disk_filled_by_samples_keeps_the_checkpoint() {
    let recipe = TINY
        .replace("sample_every = 4", "sample_every = 1")
        .replace("checkpoint_every = 5", "checkpoint_every = 3");
    // The disk fills at a sample or at a checkpoint.
    fills_up(&recipe, |place, run| pages(&place.path(run)) / 2, "");
}

#[test]
fn a_disk_too_small_for_another_checkpoint_keeps_those_before() {
    let recipe = TINY
        .replace("sample_every = 4", "sample_every = 1000")
        .replace("checkpoint_every = 5", "checkpoint_every = 3");
    // The third checkpoint is written before the first one is removed, so it does not fit.
    let bytes = |place: &Place, run: &str| {
        let run = place.path(run);
        let sample = pages(&run.join("samples")) / 2;
        let checkpoint = pages(&run.join("checkpoints")) / 2;
        let real = place.read(&format!("whole/{RUN}/real.png")).len().next_multiple_of(4096);
        4 * 4096 + real + sample + pages(&run.join("generator")) + checkpoint * 5 / 2
    };
    fills_up(&recipe, bytes, "checkpoints/000009");
}

/// Disks of different sizes fail at different files.
#[test]
fn a_disk_too_small_to_start_is_an_error_of_one_line() {
    let place = Place::new();
    let mut events = 0;
    for pages in 1..=8 {
        let name = format!("disk-{pages}");
        let Some(disk) = Disk::mount(place.path(&name), pages * 4096) else { return };
        let error = place.fail(&format!("{SMALL} --out {name}"));
        assert!(error.contains(&format!("{name}/00000-idx-set-tiny")), "{pages} pages: {error}");
        assert!(error.contains("No space left on device"), "{pages} pages: {error}");
        events += usize::from(error.contains("events.out.tfevents."));
        let left = tree(&disk.0);
        let hidden = left.keys().any(|name| name.contains("/.") || name.contains("tmp"));
        assert!(!hidden, "{pages} pages: {:?}", left.keys());
    }
    assert!(events > 0, "no event file was too large");
}

/// A session that cannot write to the run directory changes nothing in it.
#[test]
fn a_run_on_a_read_only_disk_is_unchanged() {
    let place = Place::new();
    let Some(disk) = Disk::mount(place.path("disk"), 4 << 20) else { return };
    place.succeed(&format!("{SMALL} --steps 6 --out disk"));
    disk.make_read_only();
    place.refuse_saying(
        "--resume disk/00000-idx-set-tiny --steps 9",
        &["disk/00000-idx-set-tiny/", "Read-only"],
    );
    place.refuse_saying(&format!("{SMALL} --out disk"), &["disk/00001-idx-set-tiny", "Read-only"]);
}

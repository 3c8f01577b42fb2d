//! Where `gif` and `report` write: never through links or over their inputs, and any number at once.

use std::fs;
use std::process::Stdio;

use crate::{Place, text};

#[cfg(unix)]
#[test]
fn links_are_replaced_and_not_followed() {
    use std::os::unix::fs::symlink;
    let place = Place::new();
    place.grey_frames("run", &[0, 1]);
    place.write("precious", "kept");
    for name in ["run/training.gif", "run/training.gif.part", "run/report.html.part", "f.gif"] {
        symlink(place.path("precious"), place.path(name)).unwrap();
    }
    place.succeed("gif --run run");
    place.succeed("gif --run run --out f.gif");
    place.succeed("report --run run");
    assert_eq!(fs::read(place.path("precious")).unwrap(), b"kept");
    for name in ["run/training.gif", "f.gif", "run/report.html"] {
        assert!(fs::symlink_metadata(place.path(name)).unwrap().is_file(), "{name}");
    }
}

#[test]
fn many_at_once_all_succeed() {
    let place = Place::new();
    place.grey_frames("run", &[0, 1, 2, 3]);
    let start = |args: &str| {
        place.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> =
        (0..24).map(|i| start(["gif --run run", "report --run run"][i % 2])).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    assert_eq!(place.names("run"), ["report.html", "samples", "training.gif"]);
    assert!(fs::read(place.path("run/training.gif")).unwrap().ends_with(b";"));
}

#[test]
fn outputs_in_the_run_are_refused() {
    let place = Place::new();
    place.grey_frames("run", &[0, 1]);
    let frame = fs::read(place.path("run/samples/000000.png")).unwrap();
    for (args, out, default) in [
        ("gif --run run", "run/samples/000000.png", "run/training.gif"),
        ("gif --run run", "./run/new.gif", "run/training.gif"),
        ("report --run run", "run/samples/../config.json", "run/report.html"),
    ] {
        let said = place.fail(&format!("{args} --out {out}"), 2);
        let want = format!(
            "error: --out {out}: inside the run that is read; name a file outside of it, or leave \
             --out away for {default}\n"
        );
        assert_eq!(said, want);
    }
    assert_eq!(fs::read(place.path("run/samples/000000.png")).unwrap(), frame);
    assert_eq!(place.names("run"), ["samples"]);
    place.succeed("gif --run run --out run/training.gif");
}

#[cfg(unix)]
#[test]
fn inputs_outside_the_run_are_not_overwritten_either() {
    let place = Place::new();
    place.grey_frames("run", &[0]);
    fs::rename(place.path("run/samples"), place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), place.path("run/samples")).unwrap();
    for task in ["gif", "report"] {
        let said = place.fail(&format!("{task} --run run --out elsewhere/000000.png"), 2);
        let want = "error: --out elsewhere/000000.png: the same file as run/samples/000000.png, \
                    which is read; name another file\n";
        assert_eq!(said, want);
    }
}

/// A closed pipe in place of standard output, as of `cargo xtask gif | true`.
#[test]
fn an_animation_is_made_whoever_reads_of_it() {
    let place = Place::new();
    place.grey_frames("run", &[0]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = place.command("gif --run run").stdout(writer).output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert_eq!(place.names("run"), ["samples", "training.gif"]);
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_read() {
    use std::process::Command;
    let place = Place::new();
    let fifo = |name: &str| {
        let _ = fs::remove_file(place.path(name));
        assert!(Command::new("mkfifo").arg(place.path(name)).status().unwrap().success());
    };
    place.grey_frames("run", &[0, 1]);
    for name in ["config.json", "stats.jsonl", "curves.svg", "samples/000002.png"] {
        fifo(&format!("run/{name}"));
    }
    let what = "it is a FIFO; a regular file is needed";
    let said = place.fail("gif --run run", 2);
    assert_eq!(said, format!("error: making run/training.gif: run/samples/000002.png: {what}\n"));
    let said = place.succeed("report --run run");
    for name in ["config.json", "stats.jsonl", "curves.svg", "samples/000002.png"] {
        assert!(said.contains(&format!("run/{name}: {what}")), "{said}");
    }
}

#[test]
fn long_text_is_left_out() {
    let place = Place::new();
    place.grey_frames("run", &[0]);
    for name in ["config.json", "stats.jsonl", "curves.svg"] {
        // A file of holes.
        fs::File::create(place.path("run").join(name)).unwrap().set_len(1 << 40).unwrap();
    }
    let said = place.succeed("report --run run");
    for name in ["config.json", "stats.jsonl", "curves.svg"] {
        let why = format!("run/{name}: it has 1099511627776 bytes; at most ");
        assert!(said.contains(&why), "{said}");
    }
}

/// Ends of lines and marks of direction.
#[test]
fn names_break_no_line() {
    let place = Place::new();
    let run = "a\nb\u{202e}c";
    let output = place.command("report --run").arg(run).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.starts_with(r"error: a\u000ab\u202ec: no such run directory; "), "{said}");
    place.grey_frames(run, &[0]);
    for task in ["gif", "report"] {
        let output = place.command(&format!("{task} --run")).arg(run).output().unwrap();
        let said = text(&output.stdout);
        assert!(said.starts_with(r"a\u000ab\u202ec/") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn names_do_not_control_the_terminal() {
    let place = Place::new();
    let run = "a b\u{1b}[31m";
    let output = place.command("gif --run").arg(run).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.starts_with(r"error: a b\u001b[31m: no such run directory; "), "{said}");
    place.grey_frames(run, &[0]);
    let output = place.command("gif --run").arg(run).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.starts_with(r"a b\u001b[31m/training.gif: 1 frame"), "{said}");
}

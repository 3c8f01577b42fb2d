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

#[test]
fn names_do_not_control_the_terminal() {
    let place = Place::new();
    let run = "a b\u{1b}[31m";
    let output = place.command("gif --run").arg(run).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.starts_with(r"error: a b\u{1b}[31m: no such run directory; "), "{said}");
    place.grey_frames(run, &[0]);
    let output = place.command("gif --run").arg(run).output().unwrap();
    let said = text(&output.stdout);
    assert!(said.starts_with(r"a b\u{1b}[31m/training.gif: 1 frame"), "{said}");
}

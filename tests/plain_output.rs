//! Names from outside neither control the terminal nor break a suggested command.

use crate::{Place, SMALL, finish};

#[test]
fn control_characters_are_escaped_in_errors() {
    let place = Place::new();
    let mut command = place.command("--dataset");
    let said = finish(command.arg("folder:no\u{1b}[31msuch\r"));
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.err.contains("no\\u001b[31msuch\\u000d"), "{said:?}");
    assert!(!said.err.contains(['\u{1b}', '\r']), "{said:?}");
}

#[cfg(unix)]
#[test]
fn paths_in_suggested_commands_are_quoted() {
    let place = Place::new();
    let mut command = place.command(&format!("{SMALL} --steps 2"));
    let said = finish(command.args(["--out", "my \u{1b}run's"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    let word = r"$'my \u001brun\'s/00000-idx-set-tiny'";
    assert!(said.out.contains(&format!("--resume {word} --steps 4")), "{said:?}");
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{said:?}");
}

/// Ends of lines and marks of direction in the names of files and directories.
#[cfg(unix)]
#[test]
fn names_break_no_line() {
    use std::fs;
    let place = Place::new();
    let name = "a\nb\u{202e}c";
    let shown = "a\\u000ab\\u202ec";
    let rename = |from: &str| fs::rename(place.path(from), place.path(name)).unwrap();
    let run_of = format!("{name}/00000-idx-set-tiny");
    let check = |args: &str, names: &[&str], code: i32| {
        let said = finish(place.command(args).args(names));
        assert_eq!(said.code, Some(code), "{said:?}");
        for text in [&said.out, &said.err] {
            assert!(!text.contains('\u{202e}'), "{said:?}");
            assert!(text.lines().all(|line| !line.starts_with('b')), "{said:?}");
        }
        assert!(said.out.contains(shown) || said.err.contains(shown), "{said:?}");
    };
    check(&format!("{SMALL} --steps 2"), &["--out", name], 0);
    let run = ["--run", &run_of];
    check("generate --count 1 --format grid --out a.png", &run, 0);
    check("interpolate --out a.png", &run, 0);
    check("generate --count 1 --format grid", &[&run[..], &["--out", name]].concat(), 2);
    check("--recipe", &[&format!("{name}.toml")], 2);
    check("--dataset", &[&format!("folder:{name}x")], 2);
    fs::rename(place.path(name), place.path("runs")).unwrap();
    rename("set");
    check("score", &[name], 0);
    check("export --out exported --dataset", &[&format!("idx:{name}")], 0);
}

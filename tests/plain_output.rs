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
    let word = "'my \\u001brun'\\''s/00000-idx-set-tiny'";
    assert!(said.out.contains(&format!("--resume {word} --steps 4")), "{said:?}");
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{said:?}");
}

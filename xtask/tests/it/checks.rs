//! `tidy` and `ci` on made-up workspaces.

use crate::Place;

const TIDY: &str = "//! Doc.\n\nfn main() {}\n";

impl Place {
    /// A run from elsewhere that takes this place for the workspace.
    fn workspace_command(&self, task: &str) -> std::process::Command {
        let mut command = self.command(task);
        command.env("CARGO_MANIFEST_DIR", self.path("xtask")).current_dir(std::env::temp_dir());
        command
    }
}

#[test]
fn tidy_lists_every_violation() {
    let place = Place::new();
    place.write("crates/a/src/lib.rs", "fn a() {} \n");
    place.write("crates/a/target/debug/made.rs", "made by a build script");
    place.write("crates/a/notes.md", "not a source ");
    place.write("tests/b.rs", "//! Doc.");
    place.write("xtask/src/main.rs", TIDY);
    place.write("src/main.rs", "outside of what is checked");
    let output = place.workspace_command("tidy").output().unwrap();
    let (out, err) = crate::said(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert_eq!(
        out.replace('\\', "/"),
        "crates/a/src/lib.rs:1: no module doc: begin the file with `//!`\n\
         crates/a/src/lib.rs:1: white space at the end of the line\n\
         tests/b.rs:1: no newline at the end of the file\n"
    );
    assert_eq!(err, "error: tidy failed, violations: 3\n");
}

#[test]
fn tidy_lists_the_dependencies_of_a_circle() {
    let place = Place::new();
    place.write("crates/a/src/lib.rs", "//! Doc.\n\nmod b;\nmod c;\n");
    place.write("crates/a/src/b.rs", "//! Doc.\n\nuse crate::c::C;\npub struct B(C);\n");
    place.write("crates/a/src/c.rs", "//! Doc.\n\npub struct C;\nfn f(b: super::b::B) {}\n");
    let output = place.workspace_command("tidy").output().unwrap();
    let (out, err) = crate::said(&output);
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert_eq!(
        out.replace('\\', "/"),
        "crates/a: a circle of 2 modules\n  \
         crates/a/src/b.rs -> crates/a/src/c.rs: C\n  \
         crates/a/src/c.rs -> crates/a/src/b.rs: B\n"
    );
    assert_eq!(err, "error: tidy failed, violations: 1\n");
}

#[test]
fn tidy_counts_the_files_in_order() {
    let place = Place::new();
    place.write("crates/a/src/lib.rs", TIDY);
    place.write("xtask/src/main.rs", TIDY);
    let output = place.workspace_command("tidy").output().unwrap();
    assert_eq!(crate::said(&output), ("tidy: files in order: 2\n".to_owned(), String::new()));
    assert_eq!(output.status.code(), Some(0));
}

/// `ci` with a stand-in for cargo, a shell script.
#[cfg(unix)]
mod ci {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::TIDY;
    use crate::{Place, said};

    /// Runs `ci` with a cargo that prints its arguments and fails as `script` says;
    /// returns the exit code, the lines without their times, and the error.
    fn ci(place: &Place, script: &str) -> (Option<i32>, Vec<String>, String) {
        let echo = r#"echo "$(basename "$PWD") ${RUSTDOCFLAGS:-none} $*""#;
        place.write("cargo", format!("#!/bin/sh\n{echo}\n{script}\n"));
        let cargo = place.path("cargo");
        fs::set_permissions(&cargo, Permissions::from_mode(0o755)).unwrap();
        let output = place
            .workspace_command("ci")
            .env("CARGO", cargo)
            .env_remove("RUSTDOCFLAGS")
            .output()
            .unwrap();
        let (out, err) = said(&output);
        let root = place.directory.path().file_name().unwrap().to_str().unwrap();
        let timeless = |line: &str| match line.rsplit_once(" in ") {
            Some((start, time)) if time.ends_with(" s") => start.to_owned(),
            _ => line.replace(root, "ROOT"),
        };
        (output.status.code(), out.lines().map(timeless).collect(), err)
    }

    #[test]
    fn the_cheapest_check_is_first() {
        let place = Place::new();
        place.write("crates/a/src/lib.rs", TIDY);
        let (code, lines, err) = ci(&place, "");
        assert_eq!((code, err.as_str()), (Some(0), ""));
        let want = [
            "ci: cargo fmt --all --check",
            "ROOT none fmt --all --check",
            "ci: passed",
            "ci: cargo xtask tidy",
            "tidy: files in order: 1",
            "ci: passed",
            "ci: cargo deny check",
            "ROOT none deny check licenses bans sources",
            "ROOT none deny check advisories",
            "ci: passed",
            "ci: cargo clippy --workspace --all-targets --features trainer/hub,trainer/parquet -- \
             -D warnings",
            "ROOT none clippy --workspace --all-targets --features trainer/hub,trainer/parquet -- \
             -D warnings",
            "ci: passed",
            "ci: RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps",
            "ROOT -D warnings doc --workspace --no-deps",
            "ci: passed",
            "ci: cargo xtask package --quick",
            "ROOT none xtask package --quick",
            "ci: passed",
            "ci: cargo test --workspace",
            "ROOT none test --workspace",
            "ci: passed",
            "ci: cargo test --package gan-data --features parquet --lib shards",
            "ROOT none test --package gan-data --features parquet --lib shards",
            "ci: passed",
            "ci: GAN_KERNELS_CHECKED='1' cargo test --profile checked --package gan-kernels",
            "ROOT none test --profile checked --package gan-kernels",
            "ci: passed",
            "ci: cargo xtask browser-test",
            "ROOT none xtask browser-test",
            "ci: passed",
            "ci: cargo xtask cluster-test",
            "ROOT none xtask cluster-test",
            "ci: passed",
            "ci: cargo xtask downstream",
            "ROOT none xtask downstream",
            "ci: passed",
            "ci: all 12 checks passed",
        ];
        assert_eq!(lines, want);
    }

    #[test]
    fn what_deny_lacks_is_skipped_and_named() {
        let place = Place::new();
        place.write("crates/a/src/lib.rs", TIDY);
        for (script, line) in [
            (
                "test $1 != deny || exit 101",
                "ci: skipped: no cargo-deny; `cargo install cargo-deny --locked` installs it",
            ),
            (
                "test $2 != fetch || exit 1",
                "ci: advisories skipped: their database cannot be downloaded",
            ),
        ] {
            let (code, lines, _) = ci(&place, script);
            assert_eq!(code, Some(0));
            assert!(lines.iter().any(|said| said == line), "{lines:?}");
            assert!(!lines.iter().any(|said| said.ends_with("advisories")), "{lines:?}");
        }
        let (code, _, err) = ci(&place, "test \"$3\" != licenses || exit 4");
        assert_eq!((code, err.as_str()), (Some(1), "error: deny failed with exit code 4\n"));
    }

    #[test]
    fn the_first_failure_is_the_last_check() {
        let place = Place::new();
        let (code, lines, err) = ci(&place, "test $1 != clippy || exit 101");
        assert_eq!(code, Some(1));
        assert_eq!(err, "error: clippy failed with exit code 101\n");
        let last = "ROOT none clippy --workspace --all-targets --features \
                    trainer/hub,trainer/parquet -- -D warnings";
        assert_eq!(lines.last().unwrap(), last);
    }

    #[test]
    fn tidy_is_one_of_the_checks() {
        let place = Place::new();
        place.write("tests/a.rs", "fn a() {}\n");
        let (code, lines, err) = ci(&place, "");
        assert_eq!(code, Some(1));
        assert_eq!(err, "error: tidy failed, violations: 1\n");
        let last = "tests/a.rs:1: no module doc: begin the file with `//!`";
        assert_eq!(lines.last().unwrap(), last);
    }

    #[test]
    fn a_killed_check_is_a_failed_one() {
        let (code, _, err) = ci(&Place::new(), "kill -9 $$");
        assert_eq!(code, Some(1));
        assert_eq!(err, "error: fmt failed with signal: 9 (SIGKILL)\n");
    }

    #[test]
    fn a_check_that_cannot_start_is_another_error() {
        let place = Place::new();
        let cargo = place.path("no-cargo");
        let output = place.workspace_command("ci").env("CARGO", &cargo).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let want = format!("error: starting {}: ", cargo.display());
        assert!(said(&output).1.starts_with(&want), "{output:?}");
    }
}

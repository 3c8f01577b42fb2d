//! `cargo xtask tidy`: rules for the sources that no other tool checks.
//!
//! Every `.rs` file under `crates/`, `fuzz/`, `xtask/` and `tests/` opens with a `//!`
//! module doc, has at most 600 lines, none of them ending in white space, and
//! ends with a newline. The modules of a crate do not depend on each other in a
//! circle. READMEs show the profile that `tests/downstream` tests.

mod circles;
mod modules;
mod profile;

use std::fmt;
use std::fs;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use anyhow::{Context, Result};

use crate::check::FailedCheck;
use crate::say::say;

/// Directories of the workspace that hold sources.
const DIRECTORIES: [&str; 4] = ["crates", "fuzz", "xtask", "tests"];

/// Maximum number of lines of a file.
const MAX_LINES: usize = 600;

/// A place where a file breaks a rule.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: PathBuf,
    line: usize,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.text)
    }
}

/// Checks the sources of the workspace at `root`, printing every violation.
///
/// # Errors
/// [`FailedCheck`] if there are violations; otherwise a file that cannot be read.
pub(crate) fn run(root: &Path) -> Result<String> {
    let files = sources(root)?;
    let mut violations = 0;
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        for violation in inspect(path.strip_prefix(root).unwrap_or(path), &text) {
            say(violation);
            violations += 1;
        }
    }
    for directory in crates(root)? {
        let name = directory.strip_prefix(root).unwrap_or(&directory).display().to_string();
        for circle in circles::circles(&directory)? {
            let circle = circle.replace(&format!("{}{MAIN_SEPARATOR}", root.display()), "");
            format!("{name}: {circle}").lines().for_each(say);
            violations += 1;
        }
    }
    for violation in profile::violations(root)? {
        say(violation);
        violations += 1;
    }
    match violations {
        0 => Ok(format!("tidy: files in order: {}", files.len())),
        n => Err(FailedCheck(format!("tidy failed, violations: {n}")).into()),
    }
}

/// The violations in one file.
fn inspect(path: &Path, text: &str) -> Vec<Violation> {
    let violation = |line: usize, text: &str| Violation {
        path: path.to_path_buf(),
        line,
        text: text.to_owned(),
    };
    let count = text.lines().count();
    let mut violations = Vec::new();
    if !text.starts_with("//!") {
        violations.push(violation(1, "no module doc: begin the file with `//!`"));
    }
    for (index, line) in text.lines().enumerate() {
        if line.ends_with(char::is_whitespace) {
            violations.push(violation(index + 1, "white space at the end of the line"));
        }
    }
    if count > MAX_LINES {
        let text = format!("{count} lines: split files of more than {MAX_LINES}");
        violations.push(violation(MAX_LINES + 1, &text));
    }
    if !text.ends_with('\n') {
        violations.push(violation(count.max(1), "no newline at the end of the file"));
    }
    violations
}

/// Every source file of the workspace, in the order of the paths.
fn sources(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting: Vec<_> = DIRECTORIES.iter().map(|name| root.join(name)).collect();
    while let Some(directory) = waiting.pop() {
        for path in entries(&directory)? {
            if path.is_dir() {
                if path.file_name().is_none_or(|name| name != "target") {
                    waiting.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The directories of the workspace's crates.
fn crates(root: &Path) -> Result<Vec<PathBuf>> {
    let mut crates = entries(&root.join("crates"))?;
    crates.push(root.join("xtask"));
    crates.sort();
    Ok(crates)
}

/// The paths in a directory; none if it does not exist.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let context = || format!("reading the directory {}", directory.display());
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).with_context(context)?;
    entries.map(|entry| Ok(entry.with_context(context)?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::workspace_root;

    #[test]
    fn the_workspace_is_tidy() -> Result<()> {
        run(&workspace_root()).map(drop)
    }

    #[test]
    fn a_tidy_file_passes() {
        assert_eq!(inspect(Path::new("a.rs"), "//! Doc.\n\nfn a() {}\n"), []);
        let longest = format!("//! Doc.\n{}", "\n".repeat(MAX_LINES - 1));
        assert_eq!(inspect(Path::new("a.rs"), &longest), []);
    }

    #[test]
    fn each_violation_is_placed() {
        let found = |text: &str| -> Vec<usize> {
            let violations = inspect(Path::new("a.rs"), text);
            violations.iter().map(|v| v.line).collect()
        };
        assert_eq!(found(""), [1, 1]);
        assert_eq!(found("fn a() {}\n"), [1]);
        assert_eq!(found("//! Doc.\n\nfn a() {}"), [3]);
        assert_eq!(found("//! Doc.\nfn a() {} \n\t\n"), [2, 3]);
        assert_eq!(found(&format!("//! Doc.\n{}", "\n".repeat(MAX_LINES))), [601]);
    }
}

//! Finds the files of a sharded set.

use std::fs;
use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// What a shard's name ends in.
const EXTENSIONS: [&str; 2] = ["tar", "parquet"];

/// Returns the shards that `place` names, sorted: those of a directory, or the files whose names match
/// its last component, in which `*` stands for any text.
///
/// # Errors
///
/// [`Error::Read`] for a directory; [`Error::NoImages`] if there are none.
pub(super) fn find(place: &Path) -> Result<Vec<PathBuf>> {
    let (directory, pattern) = match (place.is_dir(), place.file_name()) {
        (false, Some(name)) => (gan_files::parent(place), name.to_string_lossy().into_owned()),
        _ => (place, "*".to_owned()),
    };
    let unreadable = |source| Error::Read { path: directory.into(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_shard(&name) && matches(&pattern, &name) {
            found.push(entry.path());
        }
    }
    found.sort();
    if found.is_empty() {
        let looked_for = "*.tar and *.parquet; in a file's name, * stands for any text";
        return Err(Error::NoImages { path: place.into(), looked_for });
    }
    Ok(found)
}

fn is_shard(name: &str) -> bool {
    let extension = Path::new(name).extension();
    let is = |known: &&str| extension.is_some_and(|found| found.eq_ignore_ascii_case(known));
    !name.starts_with('.') && EXTENSIONS.iter().any(is)
}

/// Whether a name is a pattern's, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, name, want) in [
            ("*", "a.tar", true),
            ("a.tar", "a.tar", true),
            ("a.tar", "a.tar.tar", false),
            ("train-*.tar", "train-001.tar", true),
            ("train-*.tar", "train-.tar", true),
            ("train-*.tar", "val-001.tar", false),
            ("*-*-*.tar", "a-b-c.tar", true),
            ("*-*-*.tar", "a-b.tar", false),
            ("aba*aba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn shards_are_found_by_directory_and_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["b-1.tar", "b-0.TAR", "a.parquet", ".b-2.tar", "b.txt", "tar"] {
            fs::write(path.join(name), b"").unwrap();
        }
        let names = |place: &Path| -> Vec<String> {
            let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
            find(place).unwrap().iter().map(name).collect()
        };
        assert_eq!(names(path), ["a.parquet", "b-0.TAR", "b-1.tar"]);
        assert_eq!(names(&path.join("b-*")), ["b-0.TAR", "b-1.tar"]);
        assert_eq!(names(&path.join("b-1.tar")), ["b-1.tar"]);
        let none = find(&path.join("c*")).unwrap_err().to_string();
        assert!(none.contains("c*: no images in it; looked for *.tar and *.parquet"), "{none}");
        assert!(matches!(find(&path.join("absent/*")), Err(Error::Read { .. })));
    }
}

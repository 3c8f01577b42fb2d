//! The fuzz targets of `fuzz/`, on stable Rust: their seeds, and the inputs that once failed.

#[allow(unreachable_pub, reason = "the fuzz targets are programs of their own")]
#[path = "../fuzz/src/lib.rs"]
mod readers;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use readers::READERS;

/// The paths in a directory of `fuzz/`, in order; none if it does not exist.
fn paths(directory: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz").join(directory);
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Every kind of file has a target, and seeds from which the target starts.
#[test]
fn every_seed_is_read() {
    let mut names = READERS.map(|(name, _)| name);
    names.sort();
    let stems = |directory| -> Vec<String> {
        let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_string();
        paths(directory).into_iter().map(stem).collect()
    };
    assert_eq!(stems("targets"), names);
    assert_eq!(stems("seeds"), names);
    for (name, read) in READERS {
        for path in paths(&format!("seeds/{name}")) {
            read(&fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{}: {e:#}", path.display()));
        }
    }
}

/// Each is read or refused, without a panic and soon, also where no dependency is optimised.
#[test]
fn inputs_that_once_failed_do_no_harm() {
    for (name, read) in READERS {
        for path in paths(&format!("regressions/{name}")) {
            let (bytes, start) = (fs::read(&path).unwrap(), Instant::now());
            let _ = read(&bytes);
            assert!(start.elapsed() < Duration::from_secs(10), "{}", path.display());
        }
    }
}

//! A program that uses the libraries as a dependency, built without the workspace's profile.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The directory of a pretrained generator of the digit five, (1, 28, 28).
pub fn weights() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../assets/weights/fives")
}

/// The shortest of five runs, so that a busy machine does not count.
pub fn shortest(mut run: impl FnMut()) -> Duration {
    let mut time = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    (1..5).fold(time(), |shortest, _| shortest.min(time()))
}

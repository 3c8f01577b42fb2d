//! Freed memory stays in the process.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// The option `purge_delay`, by its place in mimalloc's list: the crate has no name for it.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps freed memory in the process, where the allocator is mimalloc.
///
/// A training step frees its buffers and asks for the same ones in the next step. mimalloc gives memory back
/// to the system that was free for a while, so that steps of a tenth of a second and more pay for page
/// faults. A value in the environment variable `MIMALLOC_PURGE_DELAY` is kept. Call this first in `main`.
pub fn keep_freed_memory() {
    // SAFETY: mimalloc compares the option with the length of its list and stores one number. A thread that
    // frees memory meanwhile reads the number before or after.
    unsafe { mi_option_set_default(PURGE_DELAY, -1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of the option is right: the environment variable of its name sets it.
    #[test]
    fn the_option_is_the_purge_delay() {
        const CHILD: &str = "GAN_KERNELS_PURGE_DELAY_CHILD";
        // SAFETY: reads a number.
        let read = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        if std::env::var_os(CHILD).is_some() {
            keep_freed_memory();
            assert_eq!(read(), 77);
            return;
        }
        keep_freed_memory();
        assert_eq!(read(), -1);
        let status =
            std::process::Command::new(std::env::current_exe().expect("a test has a path"))
                .args(["--exact", "memory::tests::the_option_is_the_purge_delay"])
                .env(CHILD, "1")
                .env("MIMALLOC_PURGE_DELAY", "77")
                .status();
        assert!(status.is_ok_and(|status| status.success()));
    }
}

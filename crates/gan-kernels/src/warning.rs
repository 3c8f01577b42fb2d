//! Messages to the user that no return value can carry.

use std::fmt;

/// Prints a warning to standard error.
#[expect(clippy::print_stderr, reason = "the crate has no logger, and the user must see this")]
pub(crate) fn print(message: fmt::Arguments) {
    eprintln!("warning: gan-kernels: {message}");
}

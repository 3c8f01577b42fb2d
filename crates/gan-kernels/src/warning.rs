//! Messages to the user that no return value can carry.

use std::fmt;

/// The lines for the Cargo.toml of a program that uses this crate. They stand in the README too.
const PROFILE: &str = "\
[profile.dev.package.gan-kernels]
opt-level = 3
debug-assertions = false
overflow-checks = false";

/// Prints a warning to standard error.
#[expect(clippy::print_stderr, reason = "the crate has no logger, and the user must see this")]
pub(crate) fn print(message: fmt::Arguments) {
    eprintln!("warning: gan-kernels: {message}");
}

/// Warns if this crate was compiled without optimisation.
pub(crate) fn print_if_unoptimized() {
    if cfg!(unoptimized) {
        print(format_args!(
            "compiled without optimisation, more than 100 times slower. Build with --release, or add \
             to Cargo.toml:\n\n{PROFILE}\n\nand the same for gan-models, if you use it"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_lines_of_the_warning() {
        assert!(include_str!("../README.md").contains(PROFILE));
    }
}

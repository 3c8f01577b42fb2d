//! What a task prints.

use std::fmt::Display;
use std::io::{self, Write};

use gan_files::Line;

/// Prints one line, whatever names are in it. What is done stays done where nobody reads it.
pub(crate) fn say(text: impl Display) {
    let _ = writeln!(io::stdout(), "{}", Line(text));
}

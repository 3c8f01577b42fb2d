//! Standard output, whose reader may go away: `candle-gan recipes | head -1`.

use gan_files::Plain;
use std::io::{ErrorKind, Result, Write};

/// What a program does when nobody reads its output any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It ends: its output was all that it is for.
    Ends,
    /// It goes on without printing.
    GoesOn,
}

/// Writes [plainly](Plain) until the output is closed.
pub(crate) struct Output<W> {
    plain: Plain<W>,
    unread: Unread,
    is_closed: bool,
}

impl<W: Write> Output<W> {
    pub(crate) fn new(inner: W, unread: Unread) -> Self {
        Self { plain: Plain::new(inner), unread, is_closed: false }
    }

    /// Whether the reader has gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Notes that the output is closed, which is no error where the program goes on.
    fn note<T>(&mut self, written: Result<T>, done: T) -> Result<T> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                if self.unread == Unread::GoesOn { Ok(done) } else { Err(error) }
            }
            other => other,
        }
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = self.plain.write(bytes);
        self.note(written, bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        let flushed = self.plain.flush();
        self.note(flushed, ())
    }
}

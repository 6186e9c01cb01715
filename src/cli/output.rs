//! Standard output: buffered, and told apart from a reader that has gone.

use super::exit::{Exit, Outcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

/// Buffered standard output; whoever writes flushes when there is nothing more to write for now.
pub(super) struct Output {
    buffer: BufWriter<File>,
}

impl Output {
    /// Standard output.
    pub(super) fn open() -> Outcome<Output> {
        // Not `io::stdout()`: that one flushes at each newline.
        let fd = io::stdout().as_fd().try_clone_to_owned().map_err(Exit::io("opening standard output"))?;
        Ok(Output { buffer: BufWriter::with_capacity(128 * 1024, File::from(fd)) })
    }

    /// Writes bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Outcome {
        self.buffer.write_all(bytes).map_err(Exit::output)
    }

    /// Writes a line.
    pub(super) fn line(&mut self, text: std::fmt::Arguments<'_>) -> Outcome {
        self.buffer.write_fmt(text).and_then(|()| self.buffer.write_all(b"\n")).map_err(Exit::output)
    }

    /// Writes a value as one line of JSON.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) -> Outcome {
        let written = serde_json::to_writer(&mut self.buffer, value).map_err(io::Error::from);
        written.and_then(|()| self.buffer.write_all(b"\n")).map_err(Exit::output)
    }

    /// Hands everything on.
    pub(super) fn flush(&mut self) -> Outcome {
        self.buffer.flush().map_err(Exit::output)
    }

    /// An error if nobody reads our output any more: without this, a command that has nothing to write never finds out.
    pub(super) fn check(&self) -> Outcome {
        let mut ready = [PollFd::new(self.buffer.get_ref().as_fd(), PollFlags::empty())];
        let closed = PollFlags::POLLERR | PollFlags::POLLHUP;
        match poll(&mut ready, PollTimeout::ZERO) {
            Ok(_) if ready[0].revents().is_some_and(|events| events.intersects(closed)) => Err(Exit::OutputClosed),
            _ => Ok(()),
        }
    }
}

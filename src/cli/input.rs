//! Standard input: whoever waits for more of it finds out about a signal.

use super::exit::{Exit, Outcome};
use super::interrupt::Interrupt;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

/// Standard input without a buffer, for whoever has one. A signal makes reading fail; [`Interrupt::check`] then says why.
pub(super) struct Input<'i> {
    file: File,
    interrupt: &'i Interrupt,
}

impl<'i> Input<'i> {
    /// Standard input.
    pub(super) fn open(interrupt: &'i Interrupt) -> Outcome<Self> {
        let fd = io::stdin().as_fd().try_clone_to_owned().map_err(Exit::io("opening standard input"))?;
        Ok(Input { file: File::from(fd), interrupt })
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let is_ready = wait_for(&self.file, self.interrupt)?;
            // Not `ErrorKind::Interrupted`, which means: read again.
            self.interrupt.check().map_err(|_| io::Error::other("interrupted"))?;
            if is_ready {
                match self.file.read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    read => return read,
                }
            }
        }
    }
}

/// Waits until there is input or a signal. Whether there is input, or its end.
pub(super) fn wait_for(input: &impl AsFd, interrupt: &Interrupt) -> io::Result<bool> {
    let mut ready =
        [PollFd::new(input.as_fd(), PollFlags::POLLIN), PollFd::new(interrupt.pipe().as_fd(), PollFlags::POLLIN)];
    match poll(&mut ready, PollTimeout::NONE) {
        Ok(_) => Ok(ready[0].any() == Some(true)),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

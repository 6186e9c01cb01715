//! Ctrl-C and SIGTERM, as something to look at and to poll on.

use super::exit::{Exit, Outcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether the user wants us to end. A second signal ends the process at once, whatever it is doing.
pub(super) struct Interrupt {
    seen: Arc<AtomicBool>,
    /// Readable after a signal.
    pipe: UnixStream,
}

impl Interrupt {
    /// From now on signals are noted and not deadly.
    pub(super) fn catch() -> Outcome<Interrupt> {
        Self::register().map_err(Exit::io("catching signals"))
    }

    fn register() -> io::Result<Interrupt> {
        let seen = Arc::new(AtomicBool::new(false));
        let (pipe, write) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal finds `seen` still unset.
            signal_hook::flag::register_conditional_default(signal, seen.clone())?;
            signal_hook::flag::register(signal, seen.clone())?;
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Interrupt { seen, pipe })
    }

    /// An error if there was a signal.
    pub(super) fn check(&self) -> Outcome {
        if self.seen.load(Ordering::Relaxed) { Err(Exit::Interrupted) } else { Ok(()) }
    }

    /// What becomes readable with a signal.
    pub(super) fn pipe(&self) -> &UnixStream {
        &self.pipe
    }

    /// Sleeps until there is a signal, or something else is readable, for so long at most. It may end early: look again.
    pub(super) fn sleep(&self, or: Option<BorrowedFd<'_>>, most: Duration) {
        let mut ready = vec![PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)];
        ready.extend(or.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let _ = poll(&mut ready, PollTimeout::try_from(most).unwrap_or(PollTimeout::MAX));
    }

    /// Sleeps until there is a signal.
    pub(super) fn wait(&self) {
        let mut byte = [0];
        while let Err(error) = (&self.pipe).read(&mut byte) {
            if error.kind() != io::ErrorKind::Interrupted {
                return;
            }
        }
    }
}

//! Messages over two descriptors of bytes: a socket's or two pipes'.

use crate::Result;
use crate::peer::{Plan, Work, check, fill};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::os::fd::OwnedFd;

/// One end.
pub struct Stream {
    out: OwnedFd,
    back: OwnedFd,
    sending: Part,
    receiving: Part,
}

/// A message of which some bytes may already be through.
struct Part {
    bytes: Vec<u8>,
    done: usize,
}

impl Part {
    fn new(size: usize) -> Part {
        Part { bytes: vec![0; size], done: 0 }
    }

    /// Counts what a call moved; whether that was the rest.
    #[inline(always)]
    fn moved(&mut self, moved: nix::Result<usize>) -> Result<bool> {
        match moved {
            // The other end has gone, as it does when the run is over.
            Ok(0) => Ok(false),
            Ok(count) => {
                self.done += count;
                let whole = self.done == self.bytes.len();
                self.done = if whole { 0 } else { self.done };
                Ok(whole)
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl Stream {
    /// Of descriptors, which are going to block if whoever waits is to sleep.
    pub fn new(out: OwnedFd, back: OwnedFd, plan: &Plan) -> Result<Stream> {
        let flags = if plan.work == Work::Wake { OFlag::empty() } else { OFlag::O_NONBLOCK };
        for end in [&out, &back] {
            fcntl(end, FcntlArg::F_SETFL(flags))?;
        }
        Ok(Stream { out, back, sending: Part::new(plan.size), receiving: Part::new(plan.size) })
    }

    #[inline(always)]
    pub fn try_send(&mut self, number: u64) -> Result<bool> {
        let part = &mut self.sending;
        if part.done == 0 {
            fill(&mut part.bytes, number);
        }
        let moved = nix::unistd::write(&self.out, &part.bytes[part.done..]);
        part.moved(moved)
    }

    #[inline(always)]
    pub fn try_receive(&mut self, number: u64) -> Result<u64> {
        let part = &mut self.receiving;
        let done = part.done;
        let moved = nix::unistd::read(&self.back, &mut part.bytes[done..]);
        if !part.moved(moved)? {
            return Ok(0);
        }
        check(&part.bytes, part.bytes.len(), number)?;
        Ok(1)
    }
}

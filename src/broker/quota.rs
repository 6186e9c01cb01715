//! How much there may be: limits, and the account of what is used. Whoever asks for more is refused; the broker goes on.

use crate::error::{Code, Error, Result};
use nix::unistd::{SysconfVar, sysconf};
use std::io;

/// What a broker grants at most. The limits of the layout (rows, eras and entries of a zone) apply as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections, those of processes that live on without one included. Default 4096.
    pub sessions: usize,
    /// Zones. Default 1024.
    pub zones: usize,
    /// Channels of one zone. Default 4096.
    pub channels: u32,
    /// Lanes of one zone. Default 4096.
    pub lanes: usize,
    /// Readers of one zone. Default 4096.
    pub readers: usize,
    /// Channels of one reader. Default 1024.
    pub subscriptions: usize,
    /// Pending waits and watches of one connection. Default 1024.
    pub waits: usize,
    /// Bytes of one lane's ring. Default 1 GiB, which is also the most that a lane can have.
    pub lane_bytes: u64,
    /// Tables of one zone. Default 1024.
    pub tables: usize,
    /// Bytes of one table. Default 4 GiB.
    pub table_bytes: u64,
    /// Bytes of all segments. Default: half of the machine's memory.
    pub bytes: u64,
    /// Events that a client has not taken from its socket before its connection is ended. Default 4096.
    pub unread: usize,
    /// Locks that one connection holds or waits for. Default 1024.
    pub locks: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            sessions: 4096,
            zones: 1024,
            channels: 4096,
            lanes: 4096,
            readers: 4096,
            subscriptions: 1024,
            waits: 1024,
            lane_bytes: crate::layout::lane::MAX_CAPACITY,
            tables: 1024,
            table_bytes: 4 << 30,
            bytes: half_of_memory(),
            unread: 4096,
            locks: 1024,
        }
    }
}

fn half_of_memory() -> u64 {
    let number = |what| sysconf(what).ok().flatten().and_then(|value| u64::try_from(value).ok());
    let bytes = number(SysconfVar::_PHYS_PAGES).zip(number(SysconfVar::PAGE_SIZE)).map(|(pages, size)| pages * size);
    // A system that does not say is a small one.
    bytes.unwrap_or(1 << 30) / 2
}

/// Bytes granted.
#[derive(Debug)]
pub(super) struct Ledger {
    limit: u64,
    used: u64,
}

impl Ledger {
    pub(super) fn new(limit: u64) -> Self {
        Ledger { limit, used: 0 }
    }

    pub(super) fn used(&self) -> u64 {
        self.used
    }

    pub(super) fn reserve(&mut self, bytes: u64) -> Result<()> {
        let left = self.limit - self.used;
        if bytes > left {
            let Ledger { limit, used } = self;
            return Err(refused(
                Code::Exhausted,
                format!(
                    "memory: expected at most {left} bytes more, since {used} of the broker's {limit} are in use, found \
                     {bytes}; ask for less, close something, or start the broker with a higher limit"
                ),
            ));
        }
        self.used += bytes;
        Ok(())
    }

    pub(super) fn release(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// A refusal.
pub(super) fn refused(code: Code, text: impl Into<String>) -> Error {
    Error::Refused { code, text: text.into() }
}

/// Whether there is room for `more` of `what`.
pub(super) fn check_room(what: &str, used: usize, more: usize, limit: usize) -> Result<()> {
    if used.saturating_add(more) <= limit {
        return Ok(());
    }
    let text = format!("{what}: expected room for {more} more, found {used} of {limit} in use; close some first");
    Err(refused(Code::Exhausted, text))
}

/// A refusal of what peers name and the broker does not have.
pub(super) fn unknown(what: &str, number: u64) -> Error {
    let text = format!("{what} {number}: expected one that this connection has opened, found none; open it first");
    refused(Code::Unknown, text)
}

/// What the system refused: running out of something is the asker's, not the broker's end.
pub(super) fn system(doing: impl Into<String>, source: io::Error) -> Error {
    use nix::errno::Errno;
    match Errno::from_raw(source.raw_os_error().unwrap_or(0)) {
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOSPC => {
            let doing = doing.into();
            refused(Code::Exhausted, format!("{doing}: {source}; close something, or raise the system's limit"))
        }
        _ => Error::io(doing)(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_refuses_what_it_does_not_have() {
        let mut ledger = Ledger::new(100);
        ledger.reserve(60).unwrap();
        let error = ledger.reserve(41).unwrap_err();
        assert_eq!(error.code(), Code::Exhausted);
        assert!(error.to_string().contains("at most 40"), "{error}");
        assert!(ledger.reserve(u64::MAX).is_err());
        ledger.reserve(40).unwrap();
        ledger.release(100);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn running_out_is_told_apart_from_failing() {
        let code = |errno: i32| system("x", io::Error::from_raw_os_error(errno)).code();
        assert_eq!(code(libc::EMFILE), Code::Exhausted);
        assert_eq!(code(libc::ENOSPC), Code::Exhausted);
        assert_eq!(code(libc::EPERM), Code::Io);
    }

    #[test]
    fn memory_of_this_machine() {
        assert!(Limits::default().bytes > 1 << 20);
    }
}

//! What can go wrong, in two kinds: **outcomes** that the caller handles here and now (`Full`, `Closed`, `Timeout`), and
//! **failures** that travel. Every message says what was expected, what was found and what to do. [`Code`] is the one table
//! that C and the wire share.

use std::io;

/// The result of most calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Outcome: the lane has no room, since a reliable reader has not taken what is in it. Nothing was published.
    #[error(
        "no room in the lane: a reader is {behind} bytes behind; publish again once it has read on, or wait for room with a deadline"
    )]
    Full {
        /// How far the slowest reader is behind the lane's end, in bytes.
        behind: u64,
    },
    /// Outcome: the deadline passed before there was what was waited for.
    #[error("nothing within the deadline")]
    Timeout,
    /// Outcome: a writer has left or died, and all it had published was read. Told once for each of its lanes.
    #[error("{0}")]
    Closed(Box<Closed>),
    /// Outcome: the zone is halted, and this writer does not wait for the end of that. Nothing was published.
    #[error("the zone is halted: nothing was published; go on when it is released")]
    Halted,
    /// Outcome: the era that is open was rolled back, by this participant or another: nothing published since the last edge is left. Told once.
    #[error("the open era was rolled back: nothing published since the last edge is left; do this round's work again")]
    RolledBack,
    /// Outcome: a participant asks everybody to finish and commit now. Told once for each time, to readers that want to know.
    #[error("a participant asks everybody to finish and commit now")]
    Early,
    /// Outcome: the era that was asked for is not there, or not whole, any more (or not yet). The reader is where it was.
    #[error("era {era} is not to be had: {}", oldest_text(*.oldest, *.generation))]
    Gone {
        /// The era that was asked for.
        era: u64,
        /// The oldest era that is still whole; `None`: no sealed one is.
        oldest: Option<u64>,
        /// The last sealed era.
        generation: u64,
    },
    /// Outcome: the deadline passed before every reader had done with an era.
    #[error("era {era} is not done with: {}", laggards_text(.laggards))]
    Laggards {
        /// The era.
        era: u64,
        /// Who has not done with it.
        laggards: Vec<Laggard>,
    },
    /// Outcome: the writer of a lossy channel did not wait for this reader, and has overwritten messages that it had not taken. It goes on with
    /// the oldest that is left. Told to live readers; synced ones lose whole eras ([`Error::ErasLost`]).
    #[error("{0}")]
    Lagged(Box<Lagged>),
    /// Outcome: writers of lossy channels did not wait for this synced reader, and have overwritten parts of these eras: none of them is handed
    /// out, in no channel. It goes on with the next that is whole.
    #[error(
        "eras {first} to {last} are lost: writers of lossy channels have overwritten parts of them; read faster, or give their lanes more room"
    )]
    ErasLost {
        /// The first lost era.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// Outcome: this reader took nothing for so long that the writer of a reliable channel waits for it no longer. It is not handed out that
    /// lane any more; open the reader anew to read on from the present.
    #[error("{0}")]
    Evicted(Box<Evicted>),
    /// Outcome: what is published since the last edge fills the lane, and a synced reader can not take it before the next: it can never fit.
    #[error(
        "an era with {len} bytes in this lane: {limit} fit; make an edge before, or open the lane with a larger capacity"
    )]
    EraTooLarge {
        /// Bytes that the open era would have in the lane, in its frames.
        len: u64,
        /// Bytes that fit.
        limit: u64,
    },
    /// Outcome: the writer of a table was faster than this reader at every try.
    #[error("the table's writer was faster at every try: try again, or read the table as of an era")]
    Overtaken,
    /// The handle was made before a `fork` and used in the child, which shares none of its memory.
    #[error("this handle belongs to the process before the fork: connect anew in the child")]
    Forked,
    /// A message is larger than its lane takes.
    #[error("message of {len} bytes: the lane's limit is {limit}; open it with a larger limit or capacity")]
    TooLarge {
        /// Length that was asked for, in bytes.
        len: u64,
        /// The lane's limit, in bytes.
        limit: u64,
    },
    /// A value that this call does not take.
    #[error("{0}")]
    Invalid(String),
    /// What shared memory holds is not what a sound peer writes there; nothing of it was used.
    #[error("corrupt shared memory: {0}; its writer is broken or hostile, detach from it")]
    Corrupt(String),
    /// The bytes of a message are not a value of the type that was asked for.
    #[error("message of {len} bytes is not a `{expected}` of {size} bytes with valid bits; read it as bytes")]
    BadValue {
        /// Name of the type asked for.
        expected: &'static str,
        /// Its size in bytes.
        size: usize,
        /// Length of the message in bytes.
        len: usize,
    },
    /// The broker refused; the text is the broker's.
    #[error("{text}")]
    Refused {
        /// Which kind of refusal.
        code: Code,
        /// What was expected, what was found, what to do.
        text: String,
    },
    /// There is no broker to ask.
    #[error("no broker at {path}: {source}; start one with `syncline broker`, or name its socket in SYNCLINE_SOCKET")]
    NoBroker {
        /// The socket's path.
        path: String,
        /// Why it could not be reached.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

fn oldest_text(oldest: Option<u64>, generation: u64) -> String {
    match oldest {
        Some(oldest) => {
            format!("the oldest that is whole is {oldest}, the last sealed one {generation}; ask for one from there on")
        }
        None => format!("no sealed era is whole, the last one is {generation}; ask for the latest"),
    }
}

fn laggards_text(laggards: &[Laggard]) -> String {
    let name = |laggard: &Laggard| {
        let Laggard { name, pid, taken } = laggard;
        format!("reader `{name}` (process {pid}) is at era {taken}")
    };
    laggards.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// A reader that has not done with an era; see [`Error::Laggards`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Laggard {
    /// Its name; empty if the broker can not be asked.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The last era that it has done with.
    pub taken: u64,
}

/// What a reader has lost of one lane; see [`Error::Lagged`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lagged {
    /// The channel.
    pub channel: String,
    /// The writer's row in its zone.
    pub writer: u32,
    /// The writer's name.
    pub name: String,
    /// How many messages, exactly.
    pub count: u64,
}

impl std::fmt::Display for Lagged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Lagged { channel, writer, name, count } = self;
        write!(
            f,
            "{count} messages of writer {writer} (`{name}`) in channel `{channel}` were overwritten before they were read; read faster, or give \
             the lane more room"
        )
    }
}

/// A lane that its writer has taken from a reader; see [`Error::Evicted`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evicted {
    /// The channel.
    pub channel: String,
    /// The writer's row in its zone.
    pub writer: u32,
    /// The writer's name.
    pub name: String,
}

impl std::fmt::Display for Evicted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Evicted { channel, writer, name } = self;
        write!(
            f,
            "evicted by writer {writer} (`{name}`) of channel `{channel}`, which this reader held up for too long; open the reader anew to read \
             on"
        )
    }
}

/// A lane that has come to its end; see [`Error::Closed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The channel.
    pub channel: String,
    /// The writer's row in its zone.
    pub writer: u32,
    /// The writer's name.
    pub name: String,
    /// Whether the writer died (and did not leave).
    pub died: bool,
}

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let how = if self.died { "died" } else { "left" };
        write!(
            f,
            "writer {} (`{}`) of channel `{}` {how}; all it had published was read",
            self.writer, self.name, self.channel
        )
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident = $value:literal, $text:literal;)*) => {
        /// The kinds of errors by number, the same in C (`SYNCLINE_E...`) and between client and broker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(i32)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])* $name = $value,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// A short text, without the details that the error itself has.
            pub const fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// The same for C.
            #[cfg(feature = "capi")]
            pub(crate) fn c_text(self) -> &'static std::ffi::CStr {
                let text = match self { $(Code::$name => concat!($text, "\0"),)* };
                std::ffi::CStr::from_bytes_with_nul(text.as_bytes()).unwrap_or_default()
            }
        }
    };
}

codes! {
    /// No room in the lane.
    Full = 1, "no room in the lane";
    /// The deadline passed.
    Timeout = 2, "nothing within the deadline";
    /// A writer has gone and its lane was read to the end.
    Closed = 3, "a writer has gone and its lane was read to the end";
    /// The handle was made before a fork.
    Forked = 4, "the handle was made before a fork";
    /// A message, lane or segment is too large.
    TooLarge = 5, "too large";
    /// A bad argument.
    Invalid = 6, "invalid argument";
    /// Shared memory does not hold what a sound peer writes.
    Corrupt = 7, "corrupt shared memory";
    /// The message is not a value of that type.
    BadValue = 8, "the message is not a value of that type";
    /// Another type, size, alignment or shape than the one declared.
    Mismatch = 9, "declared differently";
    /// No such zone, channel, writer or reader.
    Unknown = 10, "unknown name";
    /// A quota or table is exhausted.
    Exhausted = 11, "quota or table exhausted";
    /// Another protocol or layout version.
    Version = 12, "another protocol or layout version";
    /// Bytes that are no message.
    Protocol = 13, "not a message of this protocol";
    /// Access denied.
    Denied = 14, "access denied";
    /// No broker, or it went away.
    NoBroker = 15, "no broker";
    /// The operating system refused.
    Io = 16, "the operating system refused";
    /// An internal limit or a bug, caught at the boundary.
    Internal = 17, "internal error";
    /// The zone is halted.
    Halted = 18, "the zone is halted";
    /// The open era was rolled back.
    RolledBack = 19, "the open era was rolled back";
    /// A participant asks everybody to finish and commit now.
    Early = 20, "a participant asks everybody to finish and commit now";
    /// An era is not there, or not whole, any more.
    Gone = 21, "that era is not to be had any more, or not yet";
    /// Some readers have not done with an era.
    Laggards = 22, "some readers have not done with that era";
    /// Messages were overwritten before this reader came to them.
    Lagged = 23, "messages were overwritten before they were read";
    /// Eras were overwritten, in part, before this reader came to them.
    ErasLost = 24, "eras were overwritten before they were read";
    /// A writer waits for this reader no longer.
    Evicted = 25, "evicted by a writer that was held up for too long";
    /// The open era can not fit into a lane.
    EraTooLarge = 26, "the open era does not fit into the lane";
    /// A table's writer was faster than its reader at every try.
    Overtaken = 27, "the table's writer was faster at every try";
}

impl Code {
    /// The code of this number, if there is one.
    pub fn from_number(number: i32) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| *code as i32 == number)
    }
}

impl Error {
    /// The kind of this error, by number.
    pub fn code(&self) -> Code {
        match self {
            Error::Full { .. } => Code::Full,
            Error::Timeout => Code::Timeout,
            Error::Closed(_) => Code::Closed,
            Error::Halted => Code::Halted,
            Error::RolledBack => Code::RolledBack,
            Error::Early => Code::Early,
            Error::Gone { .. } => Code::Gone,
            Error::Laggards { .. } => Code::Laggards,
            Error::Lagged(_) => Code::Lagged,
            Error::ErasLost { .. } => Code::ErasLost,
            Error::Evicted(_) => Code::Evicted,
            Error::EraTooLarge { .. } => Code::EraTooLarge,
            Error::Overtaken => Code::Overtaken,
            Error::Forked => Code::Forked,
            Error::TooLarge { .. } => Code::TooLarge,
            Error::Invalid(_) => Code::Invalid,
            Error::Corrupt(_) => Code::Corrupt,
            Error::BadValue { .. } => Code::BadValue,
            Error::Refused { code, .. } => *code,
            Error::NoBroker { .. } => Code::NoBroker,
            Error::Io { .. } => Code::Io,
        }
    }

    /// An [`Error::Io`] that says what was being done.
    #[cfg_attr(loom, allow(dead_code, reason = "the models do no input or output"))]
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Io { doing, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_found_by_number() {
        for code in Code::ALL {
            assert_eq!(Code::from_number(*code as i32), Some(*code));
        }
        assert_eq!(Code::from_number(0), None, "0 is success in C");
    }
}

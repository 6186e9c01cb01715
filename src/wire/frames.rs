//! Frames: the eras of a zone as a stream of bytes, which any pipe or file can carry. Pure, like the rest of `wire`.
//!
//! ```text
//!  0       8         12
//!  +-------+---------+--------+--------+- -          +------+--------+--------------- - -
//!  | magic | version | record | record |     record: | kind | length | body, that long
//!  +-------+---------+--------+--------+- -          +------+--------+--------------- - -
//!                                                    0      2        6
//! ```
//!
//! A [`Channel`] says what a channel carries. It stands between eras, so that whoever publishes the stream has all lanes open before
//! a batch begins. An era is any number of messages, and the [`Edge`] that seals it. A message is its channel's index and then its
//! payload, as long as the record is. The stream may end between eras only; what comes after the last edge is no era.
//!
//! Nobody trusts a stream: each length is checked against the limit of its kind, and memory grows with the bytes that are there,
//! not with those that are announced. As for packets, a stream has one encoding. Any change of it raises [`VERSION`].

mod reader;
#[cfg(test)]
mod tests;

pub use reader::{ReadError, Reader};

use super::codec::{DecodeError, Input, Wire, messages, record};
use super::types::{TypeDesc, check_name};

/// What a stream begins with: not a text, and nothing that is often in a file.
pub const MAGIC: [u8; 8] = *b"\x8bSYNCFRM";
/// The version of the format, which follows.
pub const VERSION: u32 = 1;
/// Bytes of both.
pub const PREFIX: usize = 12;
/// Bytes of a record before its body.
pub const RECORD_HEAD: usize = 6;
/// The longest payload of a message, in bytes: no ring takes a longer one.
pub const MAX_PAYLOAD: u32 = 1 << 30;
/// The most channels that a stream can declare.
pub const MAX_CHANNELS: u32 = 4096;

/// The longest body of a channel, in bytes: 256 fields with names of 128 bytes, and then some.
const MAX_CHANNEL_BODY: u32 = 1 << 16;
/// The longest body of an edge, in bytes.
const MAX_EDGE_BODY: u32 = 64;
/// Bytes of a message's body before the payload.
const MESSAGE_HEAD: u32 = 4;

record! {
    /// A channel, before its first message.
    pub struct Channel {
        /// Its index in the stream: 0 for the first, 1 for the next, and so on.
        pub index: u32,
        /// Its name.
        pub name: String,
        /// What it carries.
        pub ty: TypeDesc,
        /// The longest message that its writers could send when this was written, in bytes; 0: not known. Writers that come later may
        /// send longer ones.
        pub max_len: u64,
        /// Bytes of all its writers' rings when this was written: what an era of it could have; 0: not known.
        pub rings: u64,
    }
}

record! {
    /// The end of an era.
    #[derive(Copy)]
    pub struct Edge {
        /// The era's number where the stream comes from. The first one in a stream may be any; there may be gaps.
        pub era: u64,
        /// Whether earlier eras came with this one: see [`Era::is_merged`](crate::Era::is_merged).
        pub merged: bool,
        /// The tag of the edge, if it has one.
        pub tag: Option<u64>,
        /// Why it passed: a [`Reason`](crate::Reason); 0: not known any more.
        pub reason: u8,
    }
}

messages! {
    /// A record without its payload.
    pub enum Head {
        /// Declares a channel.
        Channel = 1 (channel: Channel),
        /// A message; its payload follows.
        Message = 2 {
            /// Its channel's index in the stream.
            channel: u32,
        },
        /// Seals the era that the messages since the last edge are of.
        Edge = 3 (edge: Edge),
    }
}

/// A record of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it is.
    pub head: Head,
    /// A message's payload; empty for all others.
    pub payload: &'a [u8],
}

/// What is wrong with a stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Flaw {
    /// It begins with something else; this, at most as long as the magic.
    #[error("expected a stream of frames, found `{}`; feed it what `syncline sub --frames` writes", .0.escape_ascii())]
    Magic(Vec<u8>),
    /// Another version of the format.
    #[error("expected version {VERSION} of the format, found {0}; use the same release of syncline on both sides")]
    Version(u32),
    /// It ends inside a record.
    #[error(
        "expected {needed} bytes of {what}, found the end after {found}; what comes after its last edge is left out: send it again"
    )]
    Cut {
        /// What of.
        what: &'static str,
        /// How many there had to be.
        needed: u64,
        /// How many there are.
        found: u64,
    },
    /// It ends inside an era.
    #[error(
        "expected a message or the edge of the era, found the end; what comes after its last edge is left out: send it again"
    )]
    CutEra,
    /// No such record.
    #[error(
        "expected a record of kind 1 (channel), 2 (message) or 3 (edge), found kind {0}; the stream is damaged: send it again"
    )]
    Kind(u16),
    /// A record with a length that none of its kind has.
    #[error("{what}: expected at most {limit} bytes, found a length of {found}; the stream is damaged: send it again")]
    Length {
        /// What kind of record.
        what: &'static str,
        /// The most that it can have.
        limit: u32,
        /// What it says that it has.
        found: u32,
    },
    /// A body that is none.
    #[error("{what}: {error}; the stream is damaged: send it again")]
    Body {
        /// What kind of record.
        what: &'static str,
        /// Why it is none.
        error: DecodeError,
    },
    /// A name or type that can not be.
    #[error("{0}")]
    Channel(String),
    /// Channels are not counted from 0.
    #[error("expected channel {expected} to be declared next, found {found}; the stream is damaged: send it again")]
    Index {
        /// The next index.
        expected: u32,
        /// The one declared.
        found: u32,
    },
    /// Too many channels.
    #[error("expected at most {MAX_CHANNELS} channels, found more; send some of them in a stream of their own")]
    Channels,
    /// A channel inside an era.
    #[error(
        "expected channels to be declared between eras, found `{0}` inside one; declare it before the era's first message"
    )]
    Late(String),
    /// A message in a channel that is not there.
    #[error(
        "expected a message in one of the {declared} channels declared so far, found one in channel {found}; declare it first"
    )]
    Undeclared {
        /// How many there are.
        declared: u32,
        /// The one that is not there.
        found: u32,
    },
}

/// Appends what a stream begins with.
pub fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    VERSION.put(out);
}

/// Checks what a stream begins with: its first [`PREFIX`] bytes, or all there are.
///
/// # Errors
/// It is no stream of frames, of another version, or ends there.
pub fn check_prefix(bytes: &[u8]) -> Result<(), Flaw> {
    let Some((&MAGIC, version)) = bytes.split_first_chunk() else {
        return Err(Flaw::Magic(bytes[..bytes.len().min(MAGIC.len())].to_vec()));
    };
    match version.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)) {
        Some(VERSION) => Ok(()),
        Some(other) => Err(Flaw::Version(other)),
        None => Err(cut("the beginning", PREFIX as u64, bytes.len())),
    }
}

impl Head {
    /// Appends the record up to its payload, of which as many bytes are to follow (0 for all but messages, at most
    /// [`MAX_PAYLOAD`]).
    pub fn encode(&self, payload: u32, out: &mut Vec<u8>) {
        self.tag().put(out);
        let length = out.len();
        0u32.put(out);
        let body = out.len();
        self.put_body(out);
        // A body is far from 4 GiB: its lists are at most 65535 long.
        let len = payload.saturating_add((out.len() - body) as u32);
        out[length..body].copy_from_slice(&len.to_le_bytes());
    }
}

impl Record<'_> {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        self.head.encode(len, out);
        out.extend_from_slice(self.payload);
    }
}

/// The kind and length of a record, checked against what its kind can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    kind: u16,
    len: u32,
}

impl Shape {
    /// The shape that stands before a body.
    ///
    /// # Errors
    /// No such kind, or a length over its limit. (One that is too short shows when the body is decoded.)
    pub fn decode(bytes: [u8; RECORD_HEAD]) -> Result<Shape, Flaw> {
        let [a, b, length @ ..] = bytes;
        let shape = Shape { kind: u16::from_le_bytes([a, b]), len: u32::from_le_bytes(length) };
        let limit = match shape.kind {
            1 => MAX_CHANNEL_BODY,
            2 => MESSAGE_HEAD + MAX_PAYLOAD,
            3 => MAX_EDGE_BODY,
            other => return Err(Flaw::Kind(other)),
        };
        if shape.len > limit {
            return Err(Flaw::Length { what: shape.what(), limit, found: shape.len });
        }
        Ok(shape)
    }

    /// Bytes of the body.
    pub fn body(self) -> usize {
        self.len as usize
    }

    /// The record with this shape and body.
    ///
    /// # Errors
    /// The body is none of this kind.
    pub fn record(self, body: &[u8]) -> Result<Record<'_>, Flaw> {
        let flaw = |error| Flaw::Body { what: self.what(), error };
        let mut input = Input::new(body);
        let head = Head::take_body(self.kind, &mut input).map_err(flaw)?;
        let payload = match &head {
            Head::Message { .. } => input.rest(),
            Head::Edge(_) => input.finish().map(|()| &[][..]).map_err(flaw)?,
            Head::Channel(channel) => {
                input.finish().map_err(flaw)?;
                check_name("channel", &channel.name).map_err(Flaw::Channel)?;
                channel.ty.check().map_err(Flaw::Channel)?;
                &[]
            }
        };
        Ok(Record { head, payload })
    }

    /// The kind in words.
    fn what(self) -> &'static str {
        match self.kind {
            1 => "a channel",
            2 => "a message",
            _ => "an edge",
        }
    }
}

/// The end came too early.
fn cut(what: &'static str, needed: u64, found: usize) -> Flaw {
    Flaw::Cut { what, needed, found: found as u64 }
}

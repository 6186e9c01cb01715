//! What clients and the broker say to each other. Pure: bytes to values and back, no I/O.
//!
//! One packet of the socket is one message, little-endian, at most [`MAX_PACKET`](crate::os::socket::MAX_PACKET) bytes:
//!
//! ```text
//!  0     2           6
//!  +-----+-----------+----------------- - -
//!  | tag | id        | body
//!  +-----+-----------+----------------- - -
//! ```
//!
//! The tag says which message it is; the id is the request's, which all its answers carry. Id 0 is for what is not an answer:
//! events, and a refusal of the connection as such. In a body, numbers have their size, a text is its length (16 bits) and UTF-8, a list its
//! length (16 bits) and its elements, an option a byte and perhaps a value.
//!
//! A peer's bytes are hostile until decoded: every length is checked against what is left, nothing is allocated for a length
//! that is not there, and unknown tags, bad values and bytes left over are errors. So every message has one encoding.
//!
//! [`Ask::Hello`] and [`Tell::Refused`] stay as they are in every protocol version: two sides of different versions must be
//! able to find out.

mod ask;
mod codec;
pub mod frames;
mod listing;
mod schema;
mod tell;
#[cfg(test)]
mod tests;
mod types;

pub use ask::{Ask, Delivery, LockKind, Policy, Wanted, ZoneOptions};
pub use codec::DecodeError;
pub use listing::{ChannelInfo, EdgeInfo, LaneUse, ReaderInfo, WriterInfo, ZoneInfo};
pub use schema::{Group, Schema, TableInfo, TableItem};
pub use tell::{LaneInfo, LockState, Presence, PresenceKind, PresenceWhat, Tell};
pub use types::{Field, MAX_FIELDS, MAX_NAME, Scalar, TypeDesc, check_name};

use codec::{Input, Wire};

/// The version of this protocol; raised with any change of it.
pub const PROTOCOL: u32 = 5;

/// Client to broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Chosen by the client, not 0 if it wants an answer.
    pub id: u32,
    /// What it asks.
    pub body: Ask,
}

/// Broker to client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The request's; 0: nobody asked.
    pub id: u32,
    /// What it tells.
    pub body: Tell,
}

macro_rules! packets {
    ($($name:ident of $body:ident),*) => { $(
        impl $name {
            /// Appends the packet to `out`. (A text or list of more than 65535 makes a packet that is too long to be sent.)
            pub fn encode(&self, out: &mut Vec<u8>) {
                self.body.tag().put(out);
                self.id.put(out);
                self.body.put_body(out);
            }

            /// The packet in `bytes`, all of them.
            ///
            /// # Errors
            /// They are not one message of this protocol.
            pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
                let mut input = Input::new(bytes);
                let tag = u16::take(&mut input)?;
                let id = u32::take(&mut input)?;
                let body = $body::take_body(tag, &mut input)?;
                input.finish()?;
                Ok($name { id, body })
            }
        }
    )* };
}
packets!(Request of Ask, Reply of Tell);

/// Id and protocol version of a packet that begins like [`Ask::Hello`], of whatever version the rest may be.
pub fn hello_version(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut input = Input::new(bytes);
    let tag = u16::take(&mut input).ok()?;
    let id = u32::take(&mut input).ok()?;
    let protocol = u32::take(&mut input).ok()?;
    (tag == ask::HELLO).then_some((id, protocol))
}

/// The id of a packet that may otherwise be anything; 0 if it is too short for one.
pub fn id_of(bytes: &[u8]) -> u32 {
    let mut input = Input::new(bytes);
    u16::take(&mut input).and_then(|_tag| u32::take(&mut input)).unwrap_or(0)
}

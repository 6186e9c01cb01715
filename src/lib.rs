//! Syncline: shared-memory messages between processes, with SYNC edges.

pub mod error;
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod ring;
mod sync;

#[cfg(not(loom))]
pub mod broker;
#[cfg(not(loom))]
mod client;
#[cfg(all(feature = "capi", not(loom)))]
mod ffi;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod os;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod wire;

#[cfg(not(loom))]
pub use client::{
    Batch, Bus, Described, Era, Lane, LaneBuilder, Loan, Message, Origin, Payload, Reader, ReaderBuilder, Start, Watch,
    Writer, Zone, field,
};
pub use error::{Code, Error, Result};
#[cfg(not(loom))]
pub use ring::sequencer::Races;
#[cfg(not(loom))]
pub use wire::{
    ChannelInfo, Field, LaneUse, Presence, PresenceKind, PresenceWhat, ReaderInfo, Scalar, TypeDesc, WriterInfo,
    ZoneInfo,
};

//! Shared-memory messages between the processes of one Linux host, with **SYNC edges**: one atomic step makes a whole *era* of
//! messages, from many writers on many channels, visible at once. A reader never acts on half of what belongs together.
//!
//! # The promise
//!
//! - A synced reader is handed whole eras, the same ones in the same order as every other.
//! - A batch is seen whole or not at all, by live readers too, also when its writer is killed half-way.
//! - Nothing that was published is lost: a writer without room is told [`Error::Full`], or waits. In a channel that is made so, it goes on
//!   without readers that are too slow, and they are told exactly what they have lost.
//! - Publishing and reading make no system call while nobody sleeps; the broker is not on the way.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use syncline::Bus;
//!
//! # fn main() -> syncline::Result<()> {
//! // A broker on a thread of this process; `Bus::connect()` finds the one that runs on this host.
//! let bus = Bus::embedded()?;
//! let zone = bus.zone("robot");
//!
//! let mut reader = zone.reader("control").channel::<f64>("angle").channel::<f64>("speed").synced().open()?;
//!
//! let mut writer = zone.writer("sensors")?;
//! let angle = writer.channel("angle").open::<f64>()?;
//! let speed = writer.channel("speed").open::<f64>()?;
//! writer.publish(angle, &0.5)?;
//! writer.publish(speed, &1.5)?;
//! assert!(reader.try_era()?.is_none(), "nothing of this era is visible yet");
//! let number = writer.edge()?;
//!
//! let mut era = reader.next_era(Duration::from_secs(1))?;
//! assert_eq!(era.number(), number);
//! while let Some(message) = era.next()? {
//!     println!("{} = {}", message.channel(), message.copy::<f64>()?);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting
//!
//! A reader spins, sleeps, or does first the one and then the other ([`Wait`]). It can be waited for in `poll` and `epoll`
//! ([`Reader::pollable`]), with others and with sockets ([`WaitSet`]), and, with the feature `tokio`, in a task (`AsyncReader`). None of
//! this needs the broker.
//!
//! # Trade-offs
//!
//! - Linux only (5.14 or later), on x86-64 and aarch64; one host; the processes of one user.
//! - A reader that stops taking holds its writers up, unless the channel [evicts](LaneBuilder::evict_after) it or is
//!   [lossy](LaneBuilder::lossy).
//! - Each writer has a ring of its own in each channel: memory is writers x channels, 1 MiB each by default.
//! - An edge costs in proportion to the zone's writers, whatever the number of channels, readers and bytes.
//! - A reader copies messages out. Borrowing them in place is possible and `unsafe`, since their writer's process could change
//!   them under the reference: see [`Message::bytes_in_place`].
//!
//! # How it works
//!
//! Each writer has a [ring](ring::lane) per channel that only it can write: it stores a message, then its head. Commits are counted
//! in the writer's *row* of the zone. An [edge](ring::sequencer) notes for each row how far it had come (its *cut*) and moves the zone's
//! generation on by one CAS; the era is what lies between two cuts. Any participant can run an edge, several at once, and none waits for
//! another; in [lockstep](ring::lockstep) zones the last permit runs it. A zone can be brought to [rest](ring::halt). [Room](ring::floor) is
//! reclaimed under readers without their help, and round what readers [hold](ring::hold) that were passed. [Sleepers](ring::bell) cost a writer
//! one load while there are none, also those that leave the sleeping to [another thread](ring::relay) and wait in `epoll`. The [broker] makes
//! the segments, hands out descriptors, and cleans up after the [dead](ring::recovery).
//!
//! # Where to read on
//!
//! `docs/design.md` has the pictures. In the source: [`layout`] (what the words are), [`ring`] (the lock-free core and its proofs),
//! [`os`], [`wire`], [`broker`], then `client` (this interface) and `ffi` (the C one, `include/syncline.h`).

pub mod error;
#[doc(hidden)]
pub mod layout;
#[doc(hidden)]
pub mod ring;
mod sync;

#[cfg(not(loom))]
pub mod broker;
#[cfg(all(feature = "cli", not(loom)))]
#[doc(hidden)]
pub mod cli;
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

pub use error::{Closed, Code, Error, Evicted, Laggard, Lagged, Result};
pub use layout::zone::{Pace, Reason};

#[cfg(all(feature = "tokio", not(loom)))]
pub use client::{AsyncReader, Eras, Messages, OwnedEra, OwnedMessage};
#[cfg(not(loom))]
pub use client::{
    Batch, Bus, Change, Changes, Described, Edge, Era, Halt, HaltMode, HeldUpBy, Item, Lane, LaneBuilder, LaneStats,
    Live, Loan, Message, OnChange, Origin, Payload, Reader, ReaderBuilder, ReaderStats, Seen, Sleeps, Start, Stats,
    Table, TableBuilder, TableReader, TableWatch, TableWatchBuilder, Unrested, View, Wait, WaitSet, Watch, Writer,
    WriterStats, Zone, ZoneStats, field,
};
#[cfg(not(loom))]
pub use ring::sequencer::Races;
#[cfg(not(loom))]
pub use wire::{
    ChannelInfo, Delivery, EdgeInfo, Field, Group, LaneUse, Policy, Presence, PresenceKind, PresenceWhat, ReaderInfo,
    Scalar, TableInfo, TypeDesc, WriterInfo, ZoneInfo,
};

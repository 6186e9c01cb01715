//! What a program uses: [`Bus`] (a connection to the broker), [`Zone`], [`Writer`] and [`Reader`].
//!
//! The broker is asked when something is opened or closed. Publishing, reading and edges go through shared memory alone and
//! go on without it.

mod batch;
mod bus;
mod done;
mod driver;
mod edge;
mod era;
mod halt;
mod lanes;
mod link;
mod loan;
mod lock;
mod message;
mod payload;
mod reactions;
mod reader;
mod relay;
mod stats;
mod table;
#[cfg(feature = "tokio")]
mod tokio;
mod waiting;
mod waitset;
mod watch;
mod writer;
mod zone;

pub use batch::Batch;
pub use bus::Bus;
pub use edge::Edge;
pub use era::Era;
pub use halt::{Halt, Unrested};
pub use loan::Loan;
pub use lock::{Lock, LockGuard, LockWatch};
pub use message::{Message, Origin};
pub use payload::{Described, Payload, field};
pub use reader::{Live, Reader, ReaderBuilder, Start};
pub use stats::{LaneStats, ReaderStats, Stats, WriterStats, ZoneStats};
pub use table::{Change, Changes, Item, OnChange, Seen, TableReader, TableWatch, TableWatchBuilder, View};
#[cfg(feature = "tokio")]
pub use tokio::{AsyncReader, Eras, Messages, OwnedEra, OwnedMessage};
pub use waiting::{Sleeps, Wait};
pub use waitset::WaitSet;
pub use watch::Watch;
pub use writer::{HaltMode, HeldUpBy, Lane, LaneBuilder, Table, TableBuilder, Writer};
pub use zone::Zone;

#[cfg(feature = "capi")]
pub(crate) use lanes::Taken;
#[cfg(feature = "capi")]
pub(crate) use reader::Given;
#[cfg(any(feature = "cli", feature = "capi"))]
pub(crate) use table::Finder;
#[cfg(feature = "capi")]
pub(crate) use table::{Spot, copy_to_front};
#[cfg(feature = "capi")]
pub(crate) use writer::Key;
#[cfg(feature = "capi")]
pub(crate) use zone::milliseconds;

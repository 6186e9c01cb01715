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
#[doc(hidden)]
pub mod os;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod wire;

pub use error::{Code, Error, Result};

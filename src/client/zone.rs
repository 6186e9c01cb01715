//! A zone: the channels and writers that share one edge.

use super::link::{Link, unexpected};
use super::reader::ReaderBuilder;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::wire::{Ask, Tell, ZoneOptions};
use std::sync::Arc;
use std::time::Duration;

/// A zone by name. Nothing is made before a writer or reader is opened in it; it goes with the last of them.
#[derive(Clone)]
pub struct Zone {
    link: Arc<Link>,
    name: String,
    options: ZoneOptions,
}

impl Zone {
    pub(crate) fn new(link: Arc<Link>, name: &str) -> Self {
        Zone { link, name: name.to_owned(), options: ZoneOptions::default() }
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    pub(crate) fn options(&self) -> ZoneOptions {
        self.options
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The most writers at a time, 1 to 1024; 64 by default. A zone that is there keeps what it was made with, and refuses
    /// to be opened with another number.
    #[must_use]
    pub fn writers(mut self, most: u32) -> Self {
        self.options.writers = most;
        self
    }

    /// How many eras the generation ring holds: a power of two, 4 to 4096; 64 by default. A synced reader that falls behind by more
    /// gets the oldest ones merged.
    #[must_use]
    pub fn eras(mut self, held: u32) -> Self {
        self.options.eras = held;
        self
    }

    /// The most subscriptions (reader x lane) at a time, 1 to 65536; 1024 by default.
    #[must_use]
    pub fn subscriptions(mut self, most: u32) -> Self {
        self.options.entries = most;
        self
    }

    /// Opens a writer; `name` is for people.
    ///
    /// # Errors
    /// A bad name; options that differ from the zone's; no free row; no broker.
    pub fn writer(&self, name: &str) -> Result<Writer> {
        Writer::open(self, name)
    }

    /// Describes a reader; `name` is for people.
    pub fn reader(&self, name: &str) -> ReaderBuilder {
        ReaderBuilder::new(self.clone(), name)
    }

    /// Waits until at least `count` readers subscribe to a channel, and returns how many do. The channel need not exist yet.
    ///
    /// # Errors
    /// [`Error::Timeout`]; no broker.
    pub fn wait_readers(&self, channel: &str, count: u32, timeout: Duration) -> Result<u32> {
        let ask = Ask::WaitReaders { zone: self.name.clone(), channel: channel.to_owned(), count };
        let id = self.link.send(ask)?;
        let answer = self.link.next_reply(id, timeout);
        self.link.forget(id);
        match answer {
            Ok((Tell::Readers { count }, _)) => Ok(count),
            Ok((other, _)) => Err(unexpected("Readers", &other)),
            Err(error) => {
                if matches!(error, Error::Timeout) {
                    self.link.tell(Ask::Cancel { id })?;
                }
                Err(error)
            }
        }
    }
}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zone").field("name", &self.name).finish_non_exhaustive()
    }
}

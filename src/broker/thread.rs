//! A broker on a thread of this process, and what stops one.

use super::quota::refused;
use super::{Broker, Config};
use crate::error::{Code, Error, Result};
use crate::os::fork::Epoch;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Stops a broker, from any thread or signal handler.
#[derive(Clone, Debug)]
pub struct Stopper {
    pub(super) event: Arc<EventFd>,
}

impl Stopper {
    pub(super) fn new() -> Result<Stopper> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags);
        let event = event.map_err(|errno| Error::io("making an event descriptor")(errno.into()))?;
        Ok(Stopper { event: Arc::new(event) })
    }

    /// Asks the broker to stop. One `write`: safe in a signal handler.
    pub fn stop(&self) {
        // It can fail only because it was called 2^64 - 2 times.
        let _ = self.event.write(1);
    }
}

/// Numbers of a broker, for tests and tools: as of its last turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections, those included whose socket is closed while their process lives on and has something open.
    pub sessions: usize,
    /// Zones.
    pub zones: usize,
    /// Channels of all zones.
    pub channels: usize,
    /// Writers, that is, rows in use.
    pub rows: usize,
    /// Lanes, those included that ended and are not drained.
    pub lanes: usize,
    /// Readers.
    pub readers: usize,
    /// Reader entries in use.
    pub entries: usize,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Descriptors that are held for clients.
    pub fds: usize,
    /// Last commits of writers that were completed after they had gone.
    pub completed: u64,
    /// Last commits of writers that were buried after they had gone: batches that had begun to appear.
    pub buried: u64,
    /// Locks that somebody holds, waits for or watches, or whose last holder died.
    pub locks: usize,
}

/// Where a broker leaves its numbers.
pub(super) type StatsCell = Arc<Mutex<Stats>>;

/// A broker on a thread of this process. Dropped, it stops and the thread is joined; what clients share goes on working.
#[derive(Debug)]
pub struct BrokerThread {
    stopper: Stopper,
    stats: StatsCell,
    socket: PathBuf,
    thread: Option<JoinHandle<Result<()>>>,
    epoch: Epoch,
}

impl Broker {
    /// Binds the socket and runs the broker on a thread named `syncline-broker`.
    ///
    /// # Errors
    /// As [`Broker::bind`]; no thread can be made.
    pub fn spawn(config: Config) -> Result<BrokerThread> {
        let epoch = Epoch::current().map_err(Error::io("making the page that tells a fork"))?;
        let broker = Broker::bind(config)?;
        let (stopper, stats, socket) = (broker.stopper(), broker.stats.clone(), broker.socket.clone());
        let thread = std::thread::Builder::new().name("syncline-broker".to_owned()).spawn(move || broker.run());
        let thread = Some(thread.map_err(Error::io("starting the broker's thread"))?);
        Ok(BrokerThread { stopper, stats, socket, thread, epoch })
    }
}

impl BrokerThread {
    /// The broker's socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// What stops it.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Its numbers, as of its last turn.
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops it and waits for its end.
    ///
    /// # Errors
    /// Why it had ended before.
    pub fn stop(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        // A forked child has neither the thread nor a broker of its own to stop.
        if !self.epoch.is_current() {
            std::mem::forget(self.thread.take());
            return Err(Error::Forked);
        }
        let Some(thread) = self.thread.take() else { return Ok(()) };
        self.stopper.stop();
        thread
            .join()
            .unwrap_or_else(|_panic| Err(refused(Code::Internal, "the broker's thread panicked; please report this")))
    }
}

impl Drop for BrokerThread {
    fn drop(&mut self) {
        if let Err(error) = self.join() {
            tracing::debug!(%error, "the broker had ended");
        }
    }
}

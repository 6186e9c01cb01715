//! A connection to the broker.

use super::link::{Link, unexpected};
use super::watch::Watch;
use super::zone::Zone;
use crate::broker::{Broker, BrokerThread, Config};
use crate::error::Result;
use crate::os::fork::Epoch;
use crate::os::paths;
use crate::wire::{Ask, Tell, ZoneInfo};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A connection to the broker, from which zones are reached. Cheap to clone; any thread may use it.
#[derive(Clone)]
pub struct Bus {
    link: Arc<Link>,
    /// Ends with the last clone.
    broker: Option<Arc<Embedded>>,
}

impl Bus {
    /// Connects to the broker at `$SYNCLINE_SOCKET`, else `$XDG_RUNTIME_DIR/syncline/broker.sock`, else
    /// `/tmp/syncline-$UID/broker.sock`.
    ///
    /// # Errors
    /// [`Error::NoBroker`](crate::Error::NoBroker); a socket that is somebody else's; another protocol version.
    pub fn connect() -> Result<Bus> {
        Self::connect_to(&paths::default_socket()?)
    }

    /// Connects to the broker at `socket`.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub fn connect_to(socket: &Path) -> Result<Bus> {
        Ok(Bus { link: Link::connect(socket, &process_name())?, broker: None })
    }

    /// Starts a broker on a thread of this process and connects to it. Other processes reach it at [`Bus::socket`]. It ends with the
    /// last clone of this bus.
    ///
    /// # Errors
    /// No socket can be made; no memory.
    pub fn embedded() -> Result<Bus> {
        let socket = paths::private_socket()?;
        let thread = Broker::spawn(Config { socket: Some(socket.clone()), ..Config::default() })?;
        let link = Link::connect(&socket, &process_name())?;
        let embedded = Embedded { thread: Some(thread), socket, epoch: link.epoch() };
        Ok(Bus { link, broker: Some(Arc::new(embedded)) })
    }

    /// The broker's socket: what other processes connect to.
    pub fn socket(&self) -> &Path {
        self.link.path()
    }

    /// A zone by name.
    pub fn zone(&self, name: &str) -> Zone {
        Zone::new(self.link.clone(), name)
    }

    /// Presence events of a zone, or of every zone, on a connection of their own.
    ///
    /// # Errors
    /// As [`Bus::connect`].
    pub fn watch(&self, zone: Option<&str>) -> Result<Watch> {
        self.link.check_fork()?;
        let link = Link::connect(self.link.path(), &process_name())?;
        link.keep_presence()?;
        match link.call(Ask::Watch { zone: zone.unwrap_or_default().to_owned() })? {
            (Tell::Done, _) => Ok(Watch::new(link)),
            (other, _) => Err(unexpected("Done", &other)),
        }
    }

    /// What there is: zones with their channels, writers and readers.
    ///
    /// # Errors
    /// No broker.
    pub fn list(&self) -> Result<Vec<ZoneInfo>> {
        self.link.list()
    }

    /// The broker on a thread of this process, if there is one.
    pub fn embedded_broker(&self) -> Option<&BrokerThread> {
        self.broker.as_ref()?.thread.as_ref()
    }
}

/// A broker on a thread, at a socket of its own.
struct Embedded {
    /// Taken when dropped.
    thread: Option<BrokerThread>,
    socket: PathBuf,
    epoch: Epoch,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.thread.take());
        if self.epoch.is_current() {
            // A broker's lock file stays, since another may wait for it; this one's name is used once.
            let _ = std::fs::remove_file(self.socket.with_extension("sock.lock"));
        }
    }
}

/// The name that this process gives the broker.
pub(super) fn process_name() -> String {
    let comm = std::fs::read_to_string("/proc/self/comm").unwrap_or_default();
    let name: String = comm.chars().filter(|c| !c.is_control()).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").field("socket", &self.socket()).field("embedded", &self.broker.is_some()).finish()
    }
}

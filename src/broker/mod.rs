//! The broker: makes the segments, hands out their descriptors, and cleans up after the dead. It is never on the way of a
//! message: kill it, and messages go on flowing between those who have met.
//!
//! One thread, one epoll loop, no blocking call. A turn of the loop: requests of clients; then the processes that were found
//! dead; a slice of memory to be made; connections to be closed.
//!
//! | module | what |
//! | --- | --- |
//! | `registry` | the books: zones, channels, writers, lanes, readers |
//! | `writers`, `lanes`, `readers`, `tables` | what is done for each of them, and in which order |
//! | `edges` | edges that come by themselves, halts, the past |
//! | `reaper` | the dead and the disconnected |
//! | `notify`, `listing` | telling who is there |
//! | `segments` | shared memory: making it, and the calls into `ring` |
//! | `session`, `requests` | connections, and what clients say |
//! | `quota`, `slots` | limits, numbered places |
//! | `thread` | a broker beside other threads, and stopping one |
//!
//! **Rules.** Proof of death is the pidfd, or a client's own word that it closes something; a closed socket is neither. Running
//! out of anything is an answer to the one who asked. Bytes that are no message end the connection that they came from,
//! and nothing else. Everything that is handed to a client is announced in shared memory only after the packet was sent, so
//! whoever sees the announcement and then looks at its socket finds it.

mod edges;
mod inspect;
mod lanes;
mod listing;
mod notify;
mod quota;
mod readers;
mod reaper;
mod registry;
mod requests;
mod segments;
mod session;
mod slots;
mod tables;
#[cfg(test)]
mod tests;
mod thread;
mod writers;

pub(crate) use edges::HALT_LEASE_US;
pub use quota::Limits;
pub(crate) use tables::MAX_DECLARATION;
pub use thread::{BrokerThread, Stats, Stopper};

use crate::error::{Code, Error, Result};
use crate::os::clock::monotonic_us;
use crate::os::socket::{BindError, Conn, Listener, MAX_PACKET};
use crate::os::{paths, process};
use crate::wire::{self, Reply, Tell};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use quota::{check_room, refused};
use registry::{Owner, Registry};
use segments::ZoneSegments;
use session::{Sessions, Token};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use thread::StatsCell;

/// Events taken from the kernel at a time.
const EVENTS: usize = 64;
/// Connections accepted at a time.
const ACCEPTED: usize = 64;
/// How long to leave connections alone that can not even be refused, in milliseconds.
const PAUSE: u16 = 100;

/// How to set up a broker.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The socket's path; `None`: `$SYNCLINE_SOCKET`, else `$XDG_RUNTIME_DIR/syncline/broker.sock`, else
    /// `/tmp/syncline-$UID/broker.sock`.
    pub socket: Option<PathBuf>,
    /// What it grants at most.
    pub limits: Limits,
}

/// A broker that is bound to its socket.
#[derive(Debug)]
pub struct Broker {
    listener: Listener,
    socket: PathBuf,
    stopper: Stopper,
    sessions: Sessions,
    registry: Registry,
    stats: StatsCell,
    uid: u32,
    most_sessions: usize,
    /// Kept to be closed when there is no descriptor left: then a connection can at least be refused.
    spare: Option<File>,
    /// The listener is left alone for a moment.
    paused: bool,
    buffer: Vec<u8>,
}

impl Broker {
    /// Listens at the socket of `config`, and raises this process's limit of open files as far as it may: the broker keeps a descriptor
    /// for each lane and two for each connection.
    ///
    /// # Errors
    /// Another broker is there already; the path can not be used; no descriptors left.
    pub fn bind(config: Config) -> Result<Broker> {
        let Config { socket, limits } = config;
        let socket = match socket {
            Some(socket) => socket,
            None => paths::default_socket()?,
        };
        paths::prepare_directory(&socket)?;
        let listener = Listener::bind(&socket).map_err(|error| bind_error(&socket, error))?;
        if let Err(error) = process::raise_open_files() {
            tracing::warn!(%error, "the limit of open files stays as it is");
        }
        let failed = |errno: Errno| Error::io("setting up the broker's epoll")(errno.into());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(failed)?;
        let stopper = Stopper::new()?;
        let readable = |token: Token| EpollEvent::new(EpollFlags::EPOLLIN, token.number());
        epoll.add(listener.fd(), readable(Token::Listener)).map_err(failed)?;
        epoll.add(&*stopper.event, readable(Token::Stop)).map_err(failed)?;
        Ok(Broker {
            listener,
            socket,
            stopper,
            sessions: Sessions::new(epoll, &limits),
            most_sessions: limits.sessions,
            registry: Registry::new(limits),
            stats: StatsCell::default(),
            uid: nix::unistd::geteuid().as_raw(),
            spare: spare(),
            paused: false,
            buffer: vec![0; MAX_PACKET],
        })
    }

    /// What stops [`Broker::run`].
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// The socket that it listens at.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Serves until it is stopped. Then the socket's file is gone and every connection is closed; what clients share goes on
    /// working between them.
    ///
    /// # Errors
    /// The kernel refuses to wait for events.
    pub fn run(mut self) -> Result<()> {
        tracing::info!(socket = %self.socket.display(), "broker runs");
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.sessions.epoll().wait(&mut events, self.patience()) {
                Ok(count) => count,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(Error::io("waiting for clients")(errno.into())),
            };
            self.resume();
            let mut dead = Vec::new();
            for event in events.iter().take(count) {
                match Token::of(event.data()) {
                    Token::Stop => {
                        tracing::info!(socket = %self.socket.display(), "broker stops");
                        return Ok(());
                    }
                    Token::Listener => self.accept(),
                    Token::Process(client) => dead.push(client),
                    Token::Socket(client) => {
                        self.sessions.flush(client);
                        self.hear(client);
                    }
                }
            }
            for client in dead {
                self.bury(client);
            }
            self.registry.work(&mut self.sessions);
            self.registry.tick(&mut self.sessions);
            self.tidy();
            self.publish_stats();
        }
    }

    /// How long there is nothing to do unless something happens.
    fn patience(&self) -> EpollTimeout {
        if self.registry.has_work() {
            return EpollTimeout::ZERO;
        }
        let now = monotonic_us();
        // Rounded up: waking before it is due would be in vain.
        let due = self.registry.next_due(now).map(|due| due.saturating_sub(now).div_ceil(1000));
        let pause = self.paused.then_some(u64::from(PAUSE));
        match due.into_iter().chain(pause).min() {
            Some(wait) => EpollTimeout::from(u16::try_from(wait).unwrap_or(u16::MAX)),
            None => EpollTimeout::NONE,
        }
    }

    // ---- connections come ----

    fn accept(&mut self) {
        for _ in 0..ACCEPTED {
            match self.listener.accept() {
                Ok(Some(conn)) => self.take_up(conn),
                Ok(None) => return,
                Err(error) => return self.accept_in_need(&error),
            }
        }
    }

    fn take_up(&mut self, conn: Conn) {
        if let Err(error) = check_room("connections to this broker", self.sessions.len(), 1, self.most_sessions) {
            return self.turn_away(&conn, &error);
        }
        let known = conn.peer().and_then(|peer| Ok((peer, conn.peer_pidfd()?)));
        let (peer, pidfd) = match known {
            Ok(known) => known,
            // Dead already, or there is no descriptor left.
            Err(error) => return self.turn_away(&conn, &quota::system("asking who connects", error)),
        };
        let start = process::start_time(peer.pid).unwrap_or(0);
        let owner = |client| Owner { client, pid: u32::try_from(peer.pid).unwrap_or(0), uid: peer.uid, start };
        if let Err(errno) = self.sessions.add(conn, pidfd, owner) {
            tracing::warn!(%errno, "a connection can not be watched");
        }
    }

    /// No descriptor is left: gives up the spare one, so that the connection can be refused instead of waiting in vain.
    fn accept_in_need(&mut self, error: &io::Error) {
        tracing::warn!(%error, "a connection can not be accepted");
        let had_spare = self.spare.take().is_some();
        if had_spare && let Ok(Some(conn)) = self.listener.accept() {
            let text = "connection: expected a free descriptor, found none; close some, or raise the broker's limit of open files";
            self.turn_away(&conn, &refused(Code::Exhausted, text));
        }
        self.spare = spare();
        if self.spare.is_none() {
            self.paused = self.sessions.epoll().delete(self.listener.fd()).is_ok();
        }
    }

    /// Looks at the listener again, if it was left alone.
    fn resume(&mut self) {
        if self.paused {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, Token::Listener.number());
            self.spare = self.spare.take().or_else(spare);
            self.paused = self.sessions.epoll().add(self.listener.fd(), event).is_err();
        }
    }

    /// Refuses a connection; in answer to its hello, if that is there already.
    fn turn_away(&mut self, conn: &Conn, error: &Error) {
        tracing::warn!(%error, "a connection is refused");
        let hello = conn.recv(&mut self.buffer).ok().and_then(|packet| self.buffer.get(..packet.len));
        let id = hello.map_or(0, wire::id_of);
        let mut bytes = Vec::new();
        Reply { id, body: Tell::Refused { code: error.code() as i32, text: error.to_string() } }.encode(&mut bytes);
        // Who does not take it sees the end of the connection.
        let _ = conn.send(&bytes, &[]);
    }

    // ---- connections go ----

    /// A client's process is dead.
    fn bury(&mut self, client: u64) {
        self.hear_last_words(client);
        if let Some(session) = self.sessions.get_mut(client) {
            let Owner { pid, .. } = session.owner;
            tracing::info!(client, pid, "client is dead");
            self.registry.bury(client, &mut self.sessions);
            self.sessions.remove(client);
        }
    }

    /// Closes the connections that are to be closed, and reminds those that have taken what was held back.
    fn tidy(&mut self) {
        for client in self.sessions.take_drained() {
            self.registry.remind(client);
        }
        for client in self.sessions.take_broken() {
            self.registry.disconnect(client);
            if self.registry.owns_something(client) {
                tracing::debug!(client, "client has closed its connection and still has something open");
                self.sessions.close(client);
            } else {
                tracing::debug!(client, "client gone");
                self.sessions.remove(client);
            }
        }
    }

    fn publish_stats(&self) {
        let registry = &self.registry;
        let zones = || registry.zones.values();
        let stats = Stats {
            sessions: self.sessions.len(),
            zones: registry.zones.len(),
            channels: zones().map(|zone| zone.channels.len()).sum(),
            rows: registry.writers.len(),
            lanes: registry.lanes.len(),
            readers: registry.readers.len(),
            entries: zones().map(|zone| zone.entries.len()).sum(),
            bytes: registry.ledger.used(),
            fds: self.sessions.fds()
                + registry.zones.len() * ZoneSegments::FDS
                + registry.lane_fds()
                + registry.table_fds(),
            completed: registry.completed,
            buried: registry.buried,
        };
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
    }
}

fn spare() -> Option<File> {
    File::open("/dev/null").ok()
}

fn bind_error(socket: &Path, error: BindError) -> Error {
    let kind = match &error {
        BindError::InUse { .. } => io::ErrorKind::AddrInUse,
        BindError::Foreign { .. } => io::ErrorKind::AlreadyExists,
        BindError::Io { source, .. } => source.kind(),
    };
    Error::io(format!("binding the broker's socket {}", socket.display()))(io::Error::new(kind, error))
}

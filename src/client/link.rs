//! One connection to the broker, shared by everything that was opened through it.
//!
//! Calls may come from any thread. Whoever waits for a reply and finds nobody else at it reads the socket for all (the leader) and hands
//! the others theirs.

use super::reactions::Reactions;
use super::relay::Relay;
use crate::error::{Code, Error, Result};
use crate::os::fork::Epoch;
use crate::os::socket::{Conn, MAX_PACKET};
use crate::wire::{Ask, Presence, Reply, Request, TableInfo, Tell, ZoneInfo};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A message of the broker with the descriptors that came with it.
pub(crate) type Parcel = (Tell, Vec<OwnedFd>);

/// How long the broker may take for an ordinary answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// What a reader that does not look may leave in its inbox before the connection is given up.
const MOST_UNREAD: usize = 65_536;

pub(crate) struct Link {
    conn: Conn,
    path: PathBuf,
    epoch: Epoch,
    state: Mutex<State>,
    changed: Condvar,
    /// Wakes the leader, who waits for the socket, when somebody else has taken in what it waits for.
    taken_in: EventFd,
    /// Serves readers that wait in `epoll`.
    relay: Relay,
}

#[derive(Default)]
struct State {
    next_id: u32,
    replies: HashMap<u32, VecDeque<Parcel>>,
    readers: HashMap<u64, VecDeque<Parcel>>,
    reactions: HashMap<u64, Arc<Reactions>>,
    presence: VecDeque<Presence>,
    watched: bool,
    reading: bool,
    lost: bool,
    /// Why, if the broker said so.
    refused: Option<(i32, String)>,
}

impl Link {
    pub(crate) fn connect(path: &Path, name: &str) -> Result<Arc<Link>> {
        let no_broker = |source| Error::NoBroker { path: path.display().to_string(), source };
        let epoch = Epoch::current().map_err(Error::io("making the page that tells a fork"))?;
        crate::os::paths::check_socket(path)?;
        let conn = Conn::connect(path).map_err(no_broker)?;
        crate::os::paths::check_owner(path, conn.peer().map_err(no_broker)?.uid)?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let taken_in = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| Error::io("making an event descriptor")(errno.into()))?;
        let link = Link {
            conn,
            path: path.to_owned(),
            epoch,
            state: Mutex::default(),
            changed: Condvar::new(),
            taken_in,
            relay: Relay::new(epoch),
        };
        let hello = Ask::Hello {
            protocol: crate::wire::PROTOCOL,
            layout_hash: crate::layout::LAYOUT_HASH,
            name: name.to_owned(),
        };
        match link.call(hello)? {
            (Tell::Welcome { .. }, _) => Ok(Arc::new(link)),
            (other, _) => Err(unexpected("Welcome", &other)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn relay(&self) -> &Relay {
        &self.relay
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn check_fork(&self) -> Result<()> {
        if self.epoch.is_current() { Ok(()) } else { Err(Error::Forked) }
    }

    /// Asks, and waits for the one answer.
    pub(crate) fn call(&self, ask: Ask) -> Result<Parcel> {
        let id = self.send(ask)?;
        let parcel = self.next_reply(id, PATIENCE);
        self.forget(id);
        parcel
    }

    /// Asks; answers are taken with [`Link::next_reply`], and the id given up with [`Link::forget`].
    pub(crate) fn send(&self, ask: Ask) -> Result<u32> {
        let id = {
            let mut state = self.lock()?;
            state.next_id = state.next_id.wrapping_add(1).max(1);
            let id = state.next_id;
            state.replies.insert(id, VecDeque::new());
            id
        };
        if let Err(error) = self.post(id, ask) {
            self.forget(id);
            return Err(error);
        }
        Ok(id)
    }

    /// Tells the broker something that it does not answer.
    pub(crate) fn tell(&self, ask: Ask) -> Result<()> {
        self.check_fork()?;
        self.post(0, ask)
    }

    fn post(&self, id: u32, body: Ask) -> Result<()> {
        let mut bytes = Vec::with_capacity(256);
        Request { id, body }.encode(&mut bytes);
        if bytes.len() > MAX_PACKET {
            return Err(Error::Invalid(format!("request of {} bytes: the limit is {MAX_PACKET}", bytes.len())));
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.conn.send(&bytes, &[] as &[BorrowedFd<'_>]) {
                Ok(()) => return Ok(()),
                // The broker is behind; it never waits for us, so this passes.
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(self.lost(error)),
            }
        }
    }

    fn lost(&self, source: std::io::Error) -> Error {
        Error::NoBroker { path: self.path.display().to_string(), source }
    }

    pub(crate) fn forget(&self, id: u32) {
        if let Ok(mut state) = self.lock() {
            state.replies.remove(&id);
        }
    }

    /// The next answer to `id`; a refusal is an error. `Timeout` if there is none in time.
    pub(crate) fn next_reply(&self, id: u32, timeout: Duration) -> Result<Parcel> {
        let taken = self.wait(timeout, |state| state.replies.get_mut(&id).and_then(VecDeque::pop_front))?;
        match taken {
            (Tell::Refused { code, text }, _) => Err(refusal(code, text)),
            parcel => Ok(parcel),
        }
    }

    /// What there is: all zones.
    pub(crate) fn list(&self) -> Result<Vec<ZoneInfo>> {
        let id = self.send(Ask::List)?;
        let mut zones: Vec<ZoneInfo> = Vec::new();
        let listed = loop {
            match self.next_reply(id, PATIENCE) {
                Ok((Tell::Listing { zone, last }, _)) => {
                    if let Some(part) = zone {
                        match zones.last_mut() {
                            Some(zone) if zone.name == part.name => zone.append(part),
                            _ => zones.push(part),
                        }
                    }
                    if last {
                        break Ok(());
                    }
                }
                Ok((other, _)) => break Err(unexpected("Listing", &other)),
                Err(error) => break Err(error),
            }
        };
        self.forget(id);
        listed.map(|()| zones)
    }

    /// The tables of a zone; of all, if the name is empty.
    pub(crate) fn list_tables(&self, zone: &str) -> Result<Vec<TableInfo>> {
        let id = self.send(Ask::ListTables { zone: zone.to_owned() })?;
        let mut tables = Vec::new();
        let listed = loop {
            match self.next_reply(id, PATIENCE) {
                Ok((Tell::TableListed { table, last }, _)) => {
                    tables.extend(table);
                    if last {
                        break Ok(tables);
                    }
                }
                Ok((other, _)) => break Err(unexpected("TableListed", &other)),
                Err(error) => break Err(error),
            }
        };
        self.forget(id);
        listed
    }

    /// The next presence event.
    pub(crate) fn next_presence(&self, timeout: Duration) -> Result<Presence> {
        self.wait(timeout, |state| state.presence.pop_front())
    }

    /// Presence events are kept from now on.
    pub(crate) fn keep_presence(&self) -> Result<()> {
        self.lock()?.watched = true;
        Ok(())
    }

    /// Takes in all that has arrived, and returns what there is for `reader`.
    pub(crate) fn take_in(&self, reader: u64) -> Result<VecDeque<Parcel>> {
        let mut state = self.lock()?;
        let mut arrived = 0;
        // An error is the end of the connection: what was taken in before it counts.
        while let Ok(true) = self.receive(&mut state) {
            arrived += 1;
        }
        if arrived > 0 {
            self.changed.notify_all();
            if state.reading {
                // Full is as good as written: the leader wakes.
                let _ = self.taken_in.write(1);
            }
        }
        Ok(state.readers.get_mut(&reader).map(std::mem::take).unwrap_or_default())
    }

    /// Takes in all that has arrived; an error if that is the end of the connection.
    pub(crate) fn check(&self) -> Result<()> {
        self.take_in(0)?;
        if self.lock()?.lost { Err(self.lost(gone())) } else { Ok(()) }
    }

    /// What the readers and writers of a zone share in this process.
    pub(crate) fn reactions(&self, zone: u64, rows: usize) -> Result<Arc<Reactions>> {
        let mut state = self.lock()?;
        Ok(state.reactions.entry(zone).or_insert_with(|| Arc::new(Reactions::new(rows))).clone())
    }

    /// Forgets a reader's inbox.
    pub(crate) fn close_inbox(&self, reader: u64) {
        if let Ok(mut state) = self.lock() {
            state.readers.remove(&reader);
        }
    }

    fn lock(&self) -> Result<MutexGuard<'_, State>> {
        // In a forked child the lock may be held by a thread that is not there.
        self.check_fork()?;
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn wait<R>(&self, timeout: Duration, mut take: impl FnMut(&mut State) -> Option<R>) -> Result<R> {
        let deadline = Instant::now().checked_add(timeout);
        let left = || match deadline {
            Some(deadline) => deadline.saturating_duration_since(Instant::now()),
            None => Duration::MAX,
        };
        let mut state = self.lock()?;
        loop {
            if let Some(taken) = take(&mut state) {
                return Ok(taken);
            }
            if let Some((code, text)) = state.refused.clone() {
                return Err(refusal(code, text));
            }
            if state.lost {
                return Err(self.lost(gone()));
            }
            let left = left();
            if left.is_zero() {
                return Err(Error::Timeout);
            }
            if state.reading {
                let slice = left.min(Duration::from_secs(1));
                (state, _) = self.changed.wait_timeout(state, slice).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.reading = true;
            drop(state);
            let polled = self.conn.poll_readable_or(self.taken_in.as_fd(), Some(left.min(Duration::from_secs(3600))));
            state = self.lock()?;
            state.reading = false;
            // Nothing in it is fine.
            let _ = self.taken_in.read();
            let received = match polled {
                Ok(_) => self.receive(&mut state),
                Err(error) => Err(error),
            };
            if received.is_err() {
                state.lost = true;
            }
            self.changed.notify_all();
        }
    }

    /// Takes in one packet, if there is one.
    fn receive(&self, state: &mut State) -> std::io::Result<bool> {
        let mut buffer = vec![0; MAX_PACKET];
        let packet = match self.conn.recv(&mut buffer) {
            Ok(packet) => packet,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => return Ok(true),
            Err(error) => {
                state.lost = true;
                return Err(error);
            }
        };
        let reply = match Reply::decode(&buffer[..packet.len]) {
            Ok(reply) if !packet.truncated => reply,
            // Closed by the broker, or not the broker that we know.
            _ => {
                state.lost = true;
                return Err(std::io::ErrorKind::ConnectionAborted.into());
            }
        };
        if let Tell::LockGranted { fence, .. } = reply.body
            && !state.replies.contains_key(&reply.id)
        {
            // Whoever asked has given up: the lock is nobody's here.
            let _ = self.post(0, Ask::ReleaseLock { fence });
            return Ok(true);
        }
        state.file((reply.id, reply.body, packet.fds))
    }
}

impl State {
    /// Puts a message where it will be looked for.
    fn file(&mut self, (id, tell, fds): (u32, Tell, Vec<OwnedFd>)) -> std::io::Result<bool> {
        if let Some(queue) = self.replies.get_mut(&id) {
            queue.push_back((tell, fds));
            return Ok(true);
        }
        match tell {
            Tell::LaneAdded { reader, .. }
            | Tell::LaneEnded { reader, .. }
            | Tell::TableAdded { reader, .. }
            | Tell::TableEnded { reader, .. } => {
                let inbox = self.readers.entry(reader).or_default();
                inbox.push_back((tell, fds));
                if inbox.len() > MOST_UNREAD {
                    self.lost = true;
                    return Err(std::io::ErrorKind::OutOfMemory.into());
                }
            }
            Tell::Refused { code, text } if id == 0 => {
                self.lost = true;
                self.refused = Some((code, text));
            }
            Tell::Presence(presence) if self.watched => self.presence.push_back(presence),
            // An answer that nobody waits for any more.
            _ => {}
        }
        Ok(true)
    }
}

fn gone() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "the broker has gone")
}

fn refusal(code: i32, text: String) -> Error {
    Error::Refused { code: Code::from_number(code).unwrap_or(Code::Internal), text }
}

/// The broker said something that does not answer what was asked.
pub(crate) fn unexpected(expected: &str, found: &Tell) -> Error {
    Error::Refused { code: Code::Protocol, text: format!("expected {expected} from the broker, found {found:?}") }
}

/// The first descriptors of an answer.
pub(crate) fn take_fds<const N: usize>(fds: Vec<OwnedFd>) -> Result<[OwnedFd; N]> {
    let found = fds.len();
    fds.try_into().map_err(|_| Error::Refused {
        code: Code::Protocol,
        text: format!("expected {N} descriptors from the broker, found {found}"),
    })
}

//! Connections: what is sent to them, and what waits until they take it.
//!
//! A packet that the client's socket has no room for is queued. While anything is queued the broker reads no request of that
//! client, so answers can not pile up; events can, and a client that leaves too many of them is disconnected.

use super::quota::Limits;
use super::registry::Owner;
use super::segments::Fd;
use crate::error::Error;
use crate::os::socket::{Conn, MAX_PACKET};
use crate::wire::{Reply, Tell};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};

/// Where the broker's words go.
pub(super) trait Post {
    /// An event, or the only answer to a request.
    fn post(&mut self, client: u64, id: u32, tell: Tell, fds: Vec<Fd>);

    /// One of many answers to one request: not counted against the client.
    fn answer(&mut self, client: u64, id: u32, tell: Tell, fds: Vec<Fd>) {
        self.post(client, id, tell, fds);
    }

    /// No.
    fn refuse(&mut self, client: u64, id: u32, error: &Error) {
        tracing::warn!(client, code = ?error.code(), %error, "refused");
        self.post(client, id, Tell::Refused { code: error.code() as i32, text: error.to_string() }, Vec::new());
    }
}

/// What an epoll event is about, as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Listener,
    Stop,
    Socket(u64),
    Process(u64),
}

impl Token {
    pub(super) fn number(self) -> u64 {
        match self {
            Token::Listener => 0,
            Token::Stop => 1,
            Token::Socket(client) => client * 2,
            Token::Process(client) => client * 2 + 1,
        }
    }

    pub(super) fn of(number: u64) -> Token {
        match (number, number % 2) {
            (0, _) => Token::Listener,
            (1, _) => Token::Stop,
            (_, 0) => Token::Socket(number / 2),
            (_, _) => Token::Process(number / 2),
        }
    }
}

/// One connection, or what is left of it while its process lives on.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) owner: Owner,
    /// It has said hello.
    pub(super) greeted: bool,
    /// `None`: closed.
    conn: Option<Conn>,
    /// Readable once the process is dead.
    pidfd: OwnedFd,
    queue: VecDeque<Outgoing>,
    /// Of the queue: what counts against the client.
    weight: usize,
    /// It takes nothing any more, but may have something to say.
    deaf: bool,
}

/// A packet that waits for room.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    fds: Vec<Fd>,
    /// How much it counts against the client.
    weight: usize,
}

/// What came of receiving.
pub(super) enum Received {
    /// A packet of this many bytes.
    Packet(usize),
    /// Nothing to receive now.
    Nothing,
    /// It is no packet of this protocol.
    Garbage(&'static str),
    /// The connection is closed.
    Closed,
}

/// Every connection.
#[derive(Debug)]
pub(super) struct Sessions {
    epoll: Epoll,
    sessions: BTreeMap<u64, Session>,
    unread: usize,
    /// Connections to be closed at the end of the turn.
    broken: Vec<u64>,
    /// Connections whose queue has become empty.
    drained: Vec<u64>,
    last_client: u64,
}

impl Sessions {
    pub(super) fn new(epoll: Epoll, limits: &Limits) -> Self {
        Sessions {
            epoll,
            sessions: BTreeMap::new(),
            unread: limits.unread,
            broken: Vec::new(),
            drained: Vec::new(),
            last_client: 0,
        }
    }

    pub(super) fn epoll(&self) -> &Epoll {
        &self.epoll
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Descriptors that all the sessions hold.
    pub(super) fn fds(&self) -> usize {
        self.sessions.values().map(|session| 1 + usize::from(session.conn.is_some())).sum()
    }

    pub(super) fn get_mut(&mut self, client: u64) -> Option<&mut Session> {
        self.sessions.get_mut(&client)
    }

    /// Takes a connection up.
    pub(super) fn add(&mut self, conn: Conn, pidfd: OwnedFd, owner: impl FnOnce(u64) -> Owner) -> Result<u64, Errno> {
        self.last_client += 1;
        let client = self.last_client;
        let event = |token: Token| EpollEvent::new(EpollFlags::EPOLLIN, token.number());
        self.epoll.add(conn.fd(), event(Token::Socket(client)))?;
        // If it fails, the socket leaves the epoll with its descriptor.
        self.epoll.add(&pidfd, event(Token::Process(client)))?;
        let session = Session {
            owner: owner(client),
            greeted: false,
            conn: Some(conn),
            pidfd,
            queue: VecDeque::new(),
            weight: 0,
            deaf: false,
        };
        self.sessions.insert(client, session);
        Ok(client)
    }

    /// Receives a packet, unless answers to earlier ones still wait. `last_words`: in any case.
    pub(super) fn receive(&self, client: u64, buffer: &mut [u8], last_words: bool) -> Received {
        let Some(session) = self.sessions.get(&client) else { return Received::Nothing };
        let Some(conn) = &session.conn else { return Received::Nothing };
        if !session.queue.is_empty() && !last_words {
            return Received::Nothing;
        }
        match conn.recv(buffer) {
            Ok(packet) if packet.len == 0 && packet.fds.is_empty() => Received::Closed,
            Ok(packet) if packet.truncated => Received::Garbage("a packet that was cut off"),
            Ok(packet) if !packet.fds.is_empty() => Received::Garbage("descriptors"),
            Ok(packet) => Received::Packet(packet.len),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Received::Nothing,
            Err(_) => Received::Closed,
        }
    }

    /// Closes a connection at the end of the turn.
    pub(super) fn end(&mut self, client: u64) {
        self.broken.push(client);
    }

    pub(super) fn take_broken(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.broken)
    }

    pub(super) fn take_drained(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.drained)
    }

    /// Closes the socket, and keeps the rest.
    pub(super) fn close(&mut self, client: u64) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        session.queue.clear();
        session.weight = 0;
        if let Some(conn) = session.conn.take() {
            // A forked child may hold the socket too, and it would stay in the epoll.
            let _ = self.epoll.delete(conn.fd());
        }
    }

    /// Forgets a connection altogether.
    pub(super) fn remove(&mut self, client: u64) {
        self.close(client);
        if let Some(session) = self.sessions.remove(&client) {
            let _ = self.epoll.delete(&session.pidfd);
        }
    }

    /// The socket has room again.
    pub(super) fn flush(&mut self, client: u64) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        if session.queue.is_empty() {
            return;
        }
        while let Some(packet) = session.queue.front() {
            match session.send(&packet.bytes, &packet.fds) {
                Sent::Gone => {
                    session.weight -= packet.weight;
                    session.queue.pop_front();
                }
                Sent::Full => return,
                Sent::Deaf => {
                    session.give_up_sending();
                    break;
                }
                Sent::Failed => {
                    session.give_up_sending();
                    self.broken.push(client);
                    break;
                }
            }
        }
        self.drained.push(client);
        self.watch_for(client, EpollFlags::EPOLLIN);
    }

    fn watch_for(&mut self, client: u64, flags: EpollFlags) {
        let conn = self.sessions.get(&client).and_then(|session| session.conn.as_ref());
        let Some(conn) = conn else { return };
        let mut event = EpollEvent::new(flags, Token::Socket(client).number());
        if self.epoll.modify(conn.fd(), &mut event).is_err() {
            self.broken.push(client);
        }
    }

    fn send(&mut self, client: u64, id: u32, body: Tell, fds: Vec<Fd>, counted: bool) {
        let unread = self.unread;
        let Some(session) = self.sessions.get_mut(&client) else { return };
        if session.conn.is_none() || session.deaf {
            return;
        }
        let mut bytes = Vec::with_capacity(128);
        Reply { id, body }.encode(&mut bytes);
        if bytes.len() > MAX_PACKET {
            tracing::warn!(client, len = bytes.len(), "a packet is too long: the connection is closed");
            return self.broken.push(client);
        }
        // Large ones count for more.
        let weight = if counted { 1 + bytes.len() / 4096 } else { 0 };
        if session.queue.is_empty() {
            match session.send(&bytes, &fds) {
                Sent::Gone => return,
                Sent::Full => {}
                Sent::Deaf => return session.give_up_sending(),
                Sent::Failed => return self.broken.push(client),
            }
        } else if session.weight + weight > unread {
            tracing::warn!(client, unread, "a client takes nothing: the connection is closed");
            session.give_up_sending();
            return self.broken.push(client);
        }
        session.weight += weight;
        session.queue.push_back(Outgoing { bytes, fds, weight });
        if session.queue.len() == 1 {
            self.watch_for(client, EpollFlags::EPOLLOUT);
        }
    }
}

/// What came of sending.
enum Sent {
    Gone,
    /// No room now.
    Full,
    /// The peer has closed its end.
    Deaf,
    /// The system refuses.
    Failed,
}

impl Session {
    fn send(&self, bytes: &[u8], fds: &[Fd]) -> Sent {
        let Some(conn) = &self.conn else { return Sent::Deaf };
        let fds: Vec<_> = fds.iter().map(Fd::as_fd).collect();
        match conn.send(bytes, &fds) {
            Ok(()) => Sent::Gone,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::Full,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => Sent::Deaf,
            Err(error) => {
                tracing::warn!(client = self.owner.client, %error, "a packet can not be sent: the connection is closed");
                Sent::Failed
            }
        }
    }

    /// The client has closed its end, or takes nothing. What it sent before is still read.
    fn give_up_sending(&mut self) {
        self.queue.clear();
        self.weight = 0;
        self.deaf = true;
    }
}

impl Post for Sessions {
    fn post(&mut self, client: u64, id: u32, tell: Tell, fds: Vec<Fd>) {
        self.send(client, id, tell, fds, true);
    }

    fn answer(&mut self, client: u64, id: u32, tell: Tell, fds: Vec<Fd>) {
        self.send(client, id, tell, fds, false);
    }
}

//! What clients say: checked, and passed to where it is done.

use super::Broker;
use super::lanes::LaneAsked;
use super::locks::LockKey;
use super::quota::refused;
use super::readers::ReaderAsked;
use super::registry::Owner;
use super::session::{Post, Received};
use crate::error::{Code, Error, Result};
use crate::layout::LAYOUT_HASH;
use crate::wire::{self, Ask, PROTOCOL, Request, Tell, check_name};

/// Packets of one client that are handled before others have their turn.
const TURN: usize = 32;
/// Packets that a process that has died may have left.
const LAST_WORDS: usize = 1024;

impl Broker {
    /// A client's socket has something to say.
    pub(super) fn hear(&mut self, client: u64) {
        self.hear_up_to(client, TURN, false);
    }

    /// A process is dead: first what it said before.
    pub(super) fn hear_last_words(&mut self, client: u64) {
        self.hear_up_to(client, LAST_WORDS, true);
    }

    fn hear_up_to(&mut self, client: u64, most: usize, last_words: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        for _ in 0..most {
            let goes_on = match self.sessions.receive(client, &mut buffer, last_words) {
                Received::Packet(len) => self.handle(client, buffer.get(..len).unwrap_or_default()),
                Received::Nothing => break,
                Received::Garbage(found) => {
                    let text =
                        format!("expected a message of protocol {PROTOCOL}, found {found}; the connection is closed");
                    self.hang_up(client, 0, &refused(Code::Protocol, text))
                }
                Received::Closed => {
                    self.sessions.end(client);
                    false
                }
            };
            if !goes_on {
                break;
            }
        }
        self.buffer = buffer;
    }

    /// Handles one packet; false if it was the connection's last.
    pub(super) fn handle(&mut self, client: u64, bytes: &[u8]) -> bool {
        let Some(session) = self.sessions.get_mut(client) else { return false };
        let (owner, greeted) = (session.owner, session.greeted);
        if !greeted
            && let Some((id, protocol)) = wire::hello_version(bytes)
            && protocol != PROTOCOL
        {
            let text = format!(
                "protocol of the client: expected {PROTOCOL}, found {protocol}; use one version of Syncline in the broker and \
                 all its clients"
            );
            return self.hang_up(client, id, &refused(Code::Version, text));
        }
        let Request { id, body } = match Request::decode(bytes) {
            Ok(request) => request,
            Err(error) => {
                let text = format!("message of {} bytes: {error}; the connection is closed", bytes.len());
                return self.hang_up(client, wire::id_of(bytes), &refused(Code::Protocol, text));
            }
        };
        match (greeted, body) {
            (false, Ask::Hello { layout_hash, name, .. }) => self.greet(owner, id, layout_hash, &name),
            (true, Ask::Hello { .. }) => {
                let text = "expected one Hello, found a second; the connection is closed";
                self.hang_up(client, id, &refused(Code::Protocol, text))
            }
            (false, _) => {
                let text = "expected Hello first, found another request; the connection is closed";
                self.hang_up(client, id, &refused(Code::Protocol, text))
            }
            (true, body) => {
                tracing::debug!(client, id, ?body, "asked");
                if let Err(error) = self.dispatch(owner, id, body) {
                    self.sessions.refuse(client, id, &error);
                }
                true
            }
        }
    }

    fn greet(&mut self, owner: Owner, id: u32, layout_hash: u64, name: &str) -> bool {
        if layout_hash != LAYOUT_HASH {
            let text = format!(
                "memory layout of the client: expected {LAYOUT_HASH:#018x}, found {layout_hash:#018x}; use one version of \
                 Syncline in the broker and all its clients"
            );
            return self.hang_up(owner.client, id, &refused(Code::Version, text));
        }
        if owner.uid != self.uid && owner.uid != 0 {
            let text = format!(
                "user of the client: expected uid {}, whose socket this is, or 0, found {}; start a broker of your own",
                self.uid, owner.uid
            );
            return self.hang_up(owner.client, id, &refused(Code::Denied, text));
        }
        if let Err(text) = check_name("client", name) {
            return self.hang_up(owner.client, id, &refused(Code::Invalid, text));
        }
        if let Some(session) = self.sessions.get_mut(owner.client) {
            session.greeted = true;
        }
        tracing::info!(client = owner.client, name, pid = owner.pid, uid = owner.uid, "client came");
        let welcome = Tell::Welcome { protocol: PROTOCOL, pid: std::process::id(), client: owner.client };
        self.sessions.post(owner.client, id, welcome, Vec::new());
        true
    }

    /// Refuses and closes; false, for its callers.
    fn hang_up(&mut self, client: u64, id: u32, error: &Error) -> bool {
        self.sessions.refuse(client, id, error);
        self.sessions.end(client);
        false
    }

    fn dispatch(&mut self, owner: Owner, id: u32, body: Ask) -> Result<()> {
        let (registry, post) = (&mut self.registry, &mut self.sessions);
        let done = |post: &mut dyn Post| post.post(owner.client, id, Tell::Done, Vec::new());
        match body {
            // Handled before.
            Ask::Hello { .. } => {}
            Ask::OpenWriter { zone, options, name } => registry.open_writer(owner, id, (&zone, options, name), post)?,
            Ask::OpenLane { writer, channel, ty, capacity, max_payload, delivery } => {
                registry.open_lane(
                    owner,
                    id,
                    LaneAsked { writer, channel, ty, capacity, max_payload, delivery },
                    post,
                )?;
            }
            Ask::LaneMapped { lane } => registry.lane_mapped(owner, id, lane, post)?,
            // Where a reader starts is its own affair: it is joined at what is oldest, and may skip.
            Ask::OpenReader { zone, options, name, channels, must_exist, past, synced, marked } => {
                let asked = ReaderAsked { zone, options, name, channels, must_exist, past, synced, marked };
                registry.open_reader(owner, id, asked, post)?;
            }
            Ask::LaneDone { reader, entry } => {
                if let Err(error) = registry.lane_done(owner, reader, entry, post) {
                    tracing::debug!(client = owner.client, %error, "not answered");
                }
            }
            Ask::CloseWriter { writer } => {
                registry.own_writer(owner, writer)?;
                registry.close_writer(writer, false, post);
                done(post);
            }
            Ask::CloseReader { reader } => {
                registry.check_own_reader(owner, reader)?;
                registry.close_reader(reader, false, post);
                done(post);
            }
            Ask::WaitReaders { zone, channel, count } => {
                registry.wait_readers(owner, id, (zone, channel, count), post)?;
            }
            Ask::Watch { zone } => registry.watch(owner, id, zone, post)?,
            Ask::Cancel { id } => {
                registry.notify.cancel(owner.client, id);
                registry.cancel_table_wait(owner.client, id);
                registry.locks.unwatch(owner.client, id);
            }
            Ask::List => registry.list(owner, id, post),
            Ask::Sync => done(post),
            Ask::CreateZone { zone, options } => {
                registry.create_zone(&zone, options)?;
                done(post);
            }
            Ask::RemoveZone { zone } => {
                registry.remove_zone(&zone, post)?;
                done(post);
            }
            Ask::Edge { zone, tag } => {
                let sealed = registry.run_edge(&zone, tag)?;
                post.post(owner.client, id, sealed, Vec::new());
            }
            Ask::Attach { zone } => registry.attach(owner, id, &zone, post)?,
            Ask::HaltHeld { zone, token } => {
                if let Err(error) = registry.halt_held(owner, zone, token) {
                    tracing::debug!(client = owner.client, %error, "not answered");
                }
            }
            Ask::HaltReleased { zone, token } => registry.halt_released(owner.client, zone, token),
            Ask::Inspect { zone } => registry.inspect(owner, id, &zone, post)?,
            Ask::Barrier => {
                registry.barrier()?;
                done(post);
            }
            Ask::Early { zone } => {
                registry.raise_early(zone)?;
                done(post);
            }
            Ask::AcquireLock { zone, kind, name, wait } => {
                registry.acquire_lock(owner, id, (LockKey { zone, kind, name }, wait), post)?;
            }
            Ask::CancelLock { id: waiting } => {
                registry.cancel_lock(owner.client, waiting, post);
                done(post);
            }
            Ask::ReleaseLock { fence } => {
                registry.release_lock(owner.client, fence, post)?;
                done(post);
            }
            Ask::ReleaseLockAfter { fence, writer, version } => {
                if let Err(error) = registry.release_lock_after(owner, fence, writer, version) {
                    tracing::debug!(client = owner.client, %error, "not answered");
                }
            }
            Ask::WatchLock { zone, kind, name } => {
                registry.watch_lock(owner.client, id, LockKey { zone, kind, name }, post)?;
            }
            Ask::TableItems { writer, items } => {
                registry.table_items(owner, writer, items)?;
                done(post);
            }
            Ask::OpenTable { writer, table, fence } => registry.open_table(owner, id, (writer, table, fence), post)?,
            Ask::TableMapped { incarnation } => registry.table_mapped(owner, id, incarnation, post)?,
            Ask::ReadTable { zone, table, wait } => registry.read_table(owner, id, (zone, table, wait), post)?,
            Ask::CloseTableReader { reader } => {
                registry.close_table_reader(owner, reader)?;
                done(post);
            }
            Ask::ListTables { zone } => registry.list_tables(owner, id, &zone, post),
        }
        Ok(())
    }
}

//! Presence: telling watchers who came, left and died, and answering those who wait for readers.

use super::quota::check_room;
use super::registry::{LaneState, Owner, Registry, invalid};
use super::session::Post;
use crate::error::Result;
use crate::wire::{Presence, PresenceKind, PresenceWhat, Tell, check_name};
use std::collections::{BTreeMap, BTreeSet};

/// Who is to be told of what.
#[derive(Debug)]
pub(super) struct Notify {
    /// By connection: the zones that it watches; the empty name stands for all.
    watches: BTreeMap<u64, BTreeSet<String>>,
    waits: Vec<Wait>,
    /// The most watches, and the most waits, of one connection.
    limit: usize,
}

/// Somebody waits for readers of a channel.
#[derive(Debug)]
struct Wait {
    client: u64,
    id: u32,
    zone: String,
    channel: String,
    count: u32,
}

impl Notify {
    pub(super) fn new(limit: usize) -> Self {
        Notify { watches: BTreeMap::new(), waits: Vec::new(), limit }
    }

    /// Tells the watchers.
    pub(super) fn tell(&self, event: Presence, post: &mut dyn Post) {
        for (&client, zones) in &self.watches {
            if zones.contains("") || zones.contains(&event.zone) {
                post.post(client, 0, Tell::Presence(event.clone()), Vec::new());
            }
        }
    }

    /// A channel has `count` readers now.
    pub(super) fn subscribed(&mut self, zone: &str, channel: &str, count: u32, post: &mut dyn Post) {
        self.waits.retain(|wait| {
            let met = wait.zone == zone && wait.channel == channel && wait.count <= count;
            if met {
                post.post(wait.client, wait.id, Tell::Readers { count }, Vec::new());
            }
            !met
        });
    }

    /// A connection does not wait any more.
    pub(super) fn cancel(&mut self, client: u64, id: u32) {
        self.waits.retain(|wait| wait.client != client || wait.id != id);
    }

    /// A connection is no more.
    pub(super) fn forget(&mut self, client: u64) {
        self.watches.remove(&client);
        self.waits.retain(|wait| wait.client != client);
    }
}

/// A presence event; without an owner for a channel.
pub(super) fn presence(
    what: PresenceWhat,
    kind: PresenceKind,
    zone: &str,
    channel: &str,
    name: &str,
    owner: Option<Owner>,
) -> Presence {
    let (pid, uid) = owner.map_or((0, 0), |owner| (owner.pid, owner.uid));
    Presence { what, kind, zone: zone.to_owned(), channel: channel.to_owned(), name: name.to_owned(), pid, uid }
}

impl Registry {
    /// Answers as soon as a channel has `count` readers.
    pub(super) fn wait_readers(
        &mut self,
        owner: Owner,
        id: u32,
        (zone, channel, count): (String, String, u32),
        post: &mut dyn Post,
    ) -> Result<()> {
        check_name("zone", &zone).map_err(invalid)?;
        check_name("channel", &channel).map_err(invalid)?;
        let client = owner.client;
        let found = self.count_readers(&zone, &channel);
        if found >= count {
            post.post(client, id, Tell::Readers { count: found }, Vec::new());
            return Ok(());
        }
        let Notify { waits, limit, .. } = &mut self.notify;
        let pending = waits.iter().filter(|wait| wait.client == client).count();
        check_room("pending waits of this connection", pending, 1, *limit)?;
        waits.push(Wait { client, id, zone, channel, count });
        Ok(())
    }

    /// Tells a connection who is there, and from then on who comes and goes.
    pub(super) fn watch(&mut self, owner: Owner, id: u32, zone: String, post: &mut dyn Post) -> Result<()> {
        if !zone.is_empty() {
            check_name("zone", &zone).map_err(invalid)?;
        }
        let limit = self.notify.limit;
        let watched = self.notify.watches.entry(owner.client).or_default();
        check_room("watches of this connection", watched.len(), 1, limit)?;
        post.post(owner.client, id, Tell::Done, Vec::new());
        let mut replay = Vec::new();
        for there in self.zones.values().filter(|there| zone.is_empty() || there.name == zone) {
            let mut came = |kind, channel: &str, name: &str, owner| {
                replay.push(presence(PresenceWhat::Came, kind, &there.name, channel, name, owner));
            };
            for (_, channel) in there.channels.iter() {
                came(PresenceKind::Channel, &channel.name, "", None);
            }
            for writer in there.writers.iter().filter_map(|number| self.writers.get(number)) {
                came(PresenceKind::Writer, "", &writer.name, Some(writer.owner));
            }
            for lane in there.lanes.iter().filter_map(|number| self.lanes.get(number)) {
                if let (LaneState::Open(_), Some(channel)) = (&lane.state, there.channels.get(lane.channel)) {
                    came(PresenceKind::Writer, &channel.name, &lane.writer_name, Some(lane.owner));
                }
            }
            for reader in there.readers.iter().filter_map(|number| self.readers.get(number)) {
                for channel in reader.channels.iter().filter_map(|index| there.channels.get(*index)) {
                    came(PresenceKind::Reader, &channel.name, &reader.name, Some(reader.owner));
                }
            }
        }
        for event in replay {
            post.answer(owner.client, 0, Tell::Presence(event), Vec::new());
        }
        self.notify.watches.entry(owner.client).or_default().insert(zone);
        Ok(())
    }
}

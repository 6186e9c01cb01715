//! Readers: joined to the lanes that are there, told of those that come.
//!
//! A reader is joined to each lane before it is answered; from then on nothing at or after its cursor is overwritten.

use super::notify;
use super::quota::{check_room, refused, system, unknown};
use super::registry::{LaneState, Owner, Reader, Registry, invalid, lost};
use super::segments::{EntryKind, Fd, map_lane};
use super::session::Post;
use super::writers::twice;
use crate::error::{Code, Result};
use crate::layout::zone::Pace;
use crate::ring::floor::JoinError;
use crate::wire::{LaneInfo, PresenceKind, PresenceWhat, Tell, Wanted, ZoneOptions, check_name};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What a reader asks.
pub(super) struct ReaderAsked {
    pub(super) zone: String,
    pub(super) options: ZoneOptions,
    pub(super) name: String,
    pub(super) channels: Vec<Wanted>,
    pub(super) must_exist: bool,
    /// Also what is kept of writers that have gone.
    pub(super) past: bool,
    pub(super) synced: bool,
    pub(super) marked: bool,
}

/// A lane that a new reader has joined.
struct Joined {
    entry: u32,
    lane: LaneInfo,
    fd: Arc<OwnedFd>,
    /// It is kept: whether its writer died.
    ended: Option<bool>,
}

impl Registry {
    pub(super) fn open_reader(&mut self, owner: Owner, id: u32, asked: ReaderAsked, post: &mut dyn Post) -> Result<()> {
        check_name("reader", &asked.name).map_err(invalid)?;
        if asked.channels.is_empty() {
            return Err(invalid(format!(
                "reader `{}`: expected one channel at least, found none; name some",
                asked.name
            )));
        }
        check_room("channels of one reader", 0, asked.channels.len(), self.limits.subscriptions)?;
        let mut names = BTreeSet::new();
        if let Some(wanted) = asked.channels.iter().find(|wanted| !names.insert(&wanted.channel)) {
            check_name("channel", &wanted.channel).map_err(invalid)?;
            return Err(twice("reader's channel", &wanted.channel));
        }
        if asked.must_exist && !self.zone_names.contains_key(&asked.zone) {
            check_name("zone", &asked.zone).map_err(invalid)?;
            let text = format!("zone `{}`: expected it to exist, found none; open a writer in it first", asked.zone);
            return Err(refused(Code::Unknown, text));
        }
        let zone = self.zone_for(&asked.zone, asked.options)?;
        let is_revocable = |zone: &super::registry::Zone| zone.geometry.pace == Pace::Revocable;
        if !asked.synced && self.zones.get(&zone).is_some_and(is_revocable) {
            self.settle_zone(zone);
            return Err(invalid(format!(
                "reader `{}`: expected a synced one, since the eras of zone `{}` can be rolled back, found a live one; open it synced",
                asked.name, asked.zone
            )));
        }
        let opened = self.subscribe(owner, id, zone, asked, post);
        self.settle_zone(zone);
        opened
    }

    fn subscribe(&mut self, owner: Owner, id: u32, zone: u64, asked: ReaderAsked, post: &mut dyn Post) -> Result<()> {
        self.check_channels(zone, &asked)?;
        let mut channels = Vec::new();
        for Wanted { channel, ty } in &asked.channels {
            channels.push(self.declare_channel(zone, channel, ty.as_ref(), post)?);
        }
        let number = self.next_number();
        let takes_eras = asked.synced || asked.marked;
        let kind = EntryKind { takes_eras, synced: asked.synced, pins: false, name: &asked.name };
        let joined = match self.join_lanes(owner, zone, number, &channels, asked.past, kind) {
            Ok(joined) => joined,
            Err(error) => {
                channels.into_iter().for_each(|index| self.settle_channel(zone, index, post));
                return Err(error);
            }
        };
        let zone_number = zone;
        let zone = self.zones.get_mut(&zone).ok_or_else(lost)?;
        for &index in &channels {
            if let Some(channel) = zone.channels.get_mut(index) {
                channel.readers.insert(number);
            }
        }
        zone.readers.insert(number);
        let entries = joined.iter().map(|joined| (joined.entry, joined.lane.lane)).collect();
        let ReaderAsked { name, synced, channels: wanted, .. } = asked;
        let asked_names: Vec<String> = wanted.into_iter().map(|wanted| wanted.channel).collect();
        tracing::info!(zone = zone.name, reader = name, pid = owner.pid, synced, "reader came");

        let client = owner.client;
        let generation = zone.segments.generation();
        let (geometry, policy) = (zone.geometry, zone.policy);
        let names = asked_names.iter();
        let gone = names.filter_map(|name| zone.gone.get(name)).copied();
        // What others still drain is as good as gone for who comes now.
        let lanes = channels.iter().filter_map(|&index| zone.channels.get(index)).flat_map(|channel| &channel.lanes);
        let draining = lanes.filter_map(|number| self.lanes.get(number));
        let draining =
            draining.filter(|lane| matches!(lane.state, LaneState::Ended)).filter_map(|lane| lane.whole_without);
        let whole_from = gone.chain(draining).max().unwrap_or(0).max(zone.gone_before);
        let told = Tell::Reader { zone: zone_number, reader: number, geometry, policy, generation, whole_from };
        post.post(client, id, told, zone.segments.for_reader().into());
        let lanes = joined.len() as u32;
        // Once for each row: a reader that starts there must find the same commits in all lanes of a writer.
        let rows = joined.iter().map(|joined| joined.lane.row);
        let versions: BTreeMap<u32, u64> = rows.map(|row| (row, zone.segments.version(row))).collect();
        for Joined { entry, lane, fd, ended } in joined {
            let version = versions.get(&lane.row).copied().unwrap_or_default();
            let told = Tell::LaneAdded { reader: number, entry, lane, version, ended };
            post.answer(client, id, told, vec![Fd::ReadOnly(fd)]);
        }
        post.answer(client, id, Tell::ReaderOpen { reader: number, lanes }, Vec::new());

        for &index in &channels {
            let Some(channel) = zone.channels.get(index) else { continue };
            let came = notify::presence(
                PresenceWhat::Came,
                PresenceKind::Reader,
                &zone.name,
                &channel.name,
                &name,
                Some(owner),
            );
            self.notify.tell(came, post);
            let count = connected(&channel.readers, &self.readers) + 1;
            self.notify.subscribed(&zone.name, &channel.name, count, post);
        }
        self.owned_by(client).readers.insert(number);
        self.readers.insert(
            number,
            Reader { owner, zone: zone_number, name, synced, takes_eras, connected: true, channels, entries },
        );
        Ok(())
    }

    /// Whether the reader can have all the channels it wants.
    fn check_channels(&self, zone: u64, asked: &ReaderAsked) -> Result<()> {
        let zone = self.zones.get(&zone).ok_or_else(lost)?;
        check_room("readers of the zone", zone.readers.len(), 1, self.limits.readers)?;
        let mut new = 0;
        for Wanted { channel: name, ty } in &asked.channels {
            let found = zone.find_channel(name, ty.as_ref())?;
            new += usize::from(found.is_none());
            let is_written = |number: &u64| self.lanes.get(number).is_some_and(|lane| !lane.state.is_over());
            let has_writer = found.is_some_and(|(_, channel)| channel.lanes.iter().any(is_written));
            if asked.must_exist && !has_writer {
                let text = format!(
                    "channel `{name}` of zone `{}`: expected it to exist, found no writer; start one first, or do not ask for that",
                    zone.name
                );
                return Err(refused(Code::Unknown, text));
            }
        }
        check_room("channels of the zone", zone.channels.len(), new, self.limits.channels as usize)
    }

    /// Joins a reader to all lanes of its channels that are in use.
    fn join_lanes(
        &mut self,
        owner: Owner,
        zone: u64,
        reader: u64,
        channels: &[u32],
        past: bool,
        kind: EntryKind<'_>,
    ) -> Result<Vec<Joined>> {
        let zone = self.zones.get_mut(&zone).ok_or_else(lost)?;
        let generation = zone.segments.generation();
        let mut open = Vec::new();
        for channel in channels.iter().filter_map(|index| zone.channels.get(*index)) {
            for &number in &channel.lanes {
                let lane = self.lanes.get(&number).ok_or_else(lost)?;
                match &lane.state {
                    LaneState::Open(fd) => open.push((number, fd.clone(), lane.info(number, channel), None)),
                    LaneState::Kept(kept) if past && kept.is_wanted(zone.policy.keep_eras, generation) => {
                        let over = Some((kept.end, kept.died));
                        open.push((number, kept.fd.clone(), lane.info(number, channel), over));
                    }
                    _ => {}
                }
            }
        }
        let most = zone.geometry.entries as usize;
        check_room("reader entries of the zone", zone.entries.len(), open.len(), most)?;

        let mut joined = Vec::new();
        let mut failed = None;
        for (number, fd, lane, over) in open {
            let entry = zone.entries.insert(()).ok_or_else(lost)?;
            let may_pin = self.lanes.get(&number).is_some_and(|lane| (lane.pinning.len() as u32) < lane.pins);
            let kind = EntryKind { pins: may_pin, ..kind };
            let attempt = match map_lane(fd.as_fd(), lane.capacity) {
                Ok(map) => zone.segments.join(entry, number, &map, owner, kind).map_err(|error| match error {
                    // Nothing sound can be read there.
                    JoinError::Corrupt => None,
                    JoinError::Overrun => Some(refused(
                        Code::Timeout,
                        format!(
                            "lane of `{}`: its writer outran this reader while it joined; try again",
                            lane.writer_name
                        ),
                    )),
                }),
                Err(error) if error.kind() == ErrorKind::InvalidData => Err(None),
                Err(error) => Err(Some(system("mapping a lane", error))),
            };
            match attempt {
                Ok(_) => {
                    if let Some((end, _)) = over {
                        zone.segments.set_end(entry, end);
                    }
                    if may_pin && let Some(lane) = self.lanes.get_mut(&number) {
                        lane.pinning.insert(entry);
                    }
                    joined.push(Joined { entry, lane, fd, ended: over.map(|(_, died)| died) });
                }
                Err(why) => {
                    zone.segments.leave(entry);
                    zone.entries.remove(entry);
                    if why.is_some() {
                        failed = why;
                        break;
                    }
                    tracing::warn!(zone = zone.name, lane = number, "lane is corrupt: a reader was not joined to it");
                }
            }
        }
        for Joined { entry, lane, .. } in &joined {
            let entry = *entry;
            if failed.is_some() {
                zone.segments.leave(entry);
                zone.entries.remove(entry);
                if let Some(lane) = self.lanes.get_mut(&lane.lane) {
                    lane.pinning.remove(&entry);
                }
            } else if let Some(lane) = self.lanes.get_mut(&lane.lane) {
                lane.entries.insert(entry, reader);
            }
        }
        failed.map_or(Ok(joined), Err)
    }

    /// The client's own reader of this number.
    pub(super) fn check_own_reader(&self, owner: Owner, number: u64) -> Result<()> {
        let owned = self.readers.get(&number).is_some_and(|reader| reader.owner.client == owner.client);
        if owned { Ok(()) } else { Err(unknown("reader", number)) }
    }

    /// A reader is done with a lane.
    pub(super) fn lane_done(&mut self, owner: Owner, number: u64, entry: u32, post: &mut dyn Post) -> Result<()> {
        self.check_own_reader(owner, number)?;
        let reader = self.readers.get_mut(&number).ok_or_else(lost)?;
        let zone = reader.zone;
        let lane = reader.entries.remove(&entry).ok_or_else(|| unknown("reader's entry", entry.into()))?;
        self.release_entry(zone, entry, lane, post);
        if let Some(zone) = self.zones.get(&zone) {
            zone.segments.ring_room();
        }
        Ok(())
    }

    /// A reader leaves, by its own word or dead.
    pub(super) fn close_reader(&mut self, number: u64, died: bool, post: &mut dyn Post) {
        let Some(reader) = self.readers.remove(&number) else { return };
        self.disown(reader.owner.client, number);
        for (&entry, &lane) in &reader.entries {
            self.release_entry(reader.zone, entry, lane, post);
        }
        let what = if died { PresenceWhat::Died } else { PresenceWhat::Left };
        if let Some(zone) = self.zones.get_mut(&reader.zone) {
            zone.segments.ring_room();
            zone.readers.remove(&number);
            tracing::info!(zone = zone.name, reader = reader.name, pid = reader.owner.pid, died, "reader gone");
            for &index in &reader.channels {
                let Some(channel) = zone.channels.get_mut(index) else { continue };
                channel.readers.remove(&number);
                let gone = notify::presence(
                    what,
                    PresenceKind::Reader,
                    &zone.name,
                    &channel.name,
                    &reader.name,
                    Some(reader.owner),
                );
                self.notify.tell(gone, post);
            }
        }
        for &index in &reader.channels {
            self.settle_channel(reader.zone, index, post);
        }
        self.settle_zone(reader.zone);
    }

    /// How many readers of a channel can be told of new lanes.
    pub(super) fn count_readers(&self, zone: &str, channel: &str) -> u32 {
        let zone = self.zone_names.get(zone).and_then(|number| self.zones.get(number));
        let channel = zone.and_then(|zone| zone.channels.get(*zone.channel_names.get(channel)?));
        channel.map_or(0, |channel| connected(&channel.readers, &self.readers))
    }
}

fn connected(numbers: &BTreeSet<u64>, readers: &std::collections::BTreeMap<u64, Reader>) -> u32 {
    numbers.iter().filter(|number| readers.get(number).is_some_and(|reader| reader.connected)).count() as u32
}

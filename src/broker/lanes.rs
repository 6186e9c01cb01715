//! Lanes: made, filled with memory, mapped by their writer, sealed, given to readers.
//!
//! The memory of a large lane is made in slices, between which the broker does other things. The lane is sealed after its
//! writer has mapped it and before any reader has it. Every reader that subscribes to the channel gets an entry at position 0
//! and the lane's descriptor; only then is the writer told that it may publish. So whatever it publishes, nobody misses.

use super::notify;
use super::quota::{check_room, refused, system, unknown};
use super::registry::{Lane, LaneState, Owner, Registry, invalid, lost};
use super::segments::{EntryKind, Fd, create_lane};
use super::session::Post;
use super::writers::twice;
use crate::error::{Code, Result};
use crate::layout::lane::{self, MAX_PINS, MIN_CAPACITY, segment_size};
use crate::layout::zone::Pace;
use crate::wire::{Delivery, LaneInfo, PresenceKind, PresenceWhat, Tell, TypeDesc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes of a ring if nobody says otherwise.
const DEFAULT_CAPACITY: u64 = 1 << 20;
/// Memory made at a time: a few milliseconds.
pub(super) const SLICE: u64 = 16 << 20;

/// What a writer asks for its lane.
pub(super) struct LaneAsked {
    pub(super) writer: u64,
    pub(super) channel: String,
    pub(super) ty: TypeDesc,
    pub(super) capacity: u64,
    pub(super) max_payload: u64,
    pub(super) delivery: Option<Delivery>,
}

impl Registry {
    pub(super) fn open_lane(&mut self, owner: Owner, id: u32, asked: LaneAsked, post: &mut dyn Post) -> Result<()> {
        let LaneAsked { writer: serial, channel: channel_name, ty, capacity, max_payload, delivery } = asked;
        let writer = self.own_writer(owner, serial)?;
        let (zone_number, row, writer_name) = (writer.zone, writer.row, writer.name.clone());
        let zone = self.zones.get(&zone_number).ok_or_else(lost)?;
        let found = zone.find_channel(&channel_name, Some(&ty))?;
        let has = found.and_then(|(_, channel)| channel.delivery);
        let delivery = delivery_for(&channel_name, zone.geometry.pace, has, delivery)?;
        if let Some((index, _)) = found {
            let here = |number: &u64| self.lanes.get(number).is_some_and(|lane| lane.channel == index);
            if writer.lanes.iter().any(here) {
                return Err(twice("lane of this writer in channel", &channel_name));
            }
        }
        check_room("lanes of the zone", zone.lanes.len(), 1, self.limits.lanes)?;
        let capacity = capacity.max(history(zone.policy.keep_bytes));
        let (capacity, max_payload, pins) = ring_size(&ty, capacity, max_payload, self.limits.lane_bytes, delivery)?;
        let zone_name = zone.name.clone();

        self.ledger.reserve(segment_size(capacity))?;
        let number = self.next_number();
        let uid = owner.uid;
        let name = format!("syncline:lane:row{row}:uid{uid}:serial{number}:{zone_name}:{channel_name}");
        let made = create_lane(name, number, capacity)
            .map_err(|error| system(format!("making a lane in channel `{channel_name}`"), error))
            .and_then(|segment| Ok((segment, self.declare_channel(zone_number, &channel_name, Some(&ty), post)?)));
        let (segment, channel) = match made {
            Ok(made) => made,
            Err(error) => {
                self.ledger.release(segment_size(capacity));
                return Err(error);
            }
        };
        let state = LaneState::Filling { segment, done: 0, request: id };
        let align = ty.align;
        let entries = BTreeMap::new();
        let writer = serial;
        let lane = Lane {
            zone: zone_number,
            channel,
            writer,
            writer_name,
            row,
            owner,
            capacity,
            max_payload,
            align,
            delivery,
            pins,
            pinning: BTreeSet::new(),
            state,
            whole_without: None,
            entries,
        };
        self.lanes.insert(number, lane);
        if let Some(writer) = self.writers.get_mut(&serial) {
            writer.lanes.insert(number);
        }
        if let Some(zone) = self.zones.get_mut(&zone_number) {
            zone.lanes.insert(number);
            if let Some(channel) = zone.channels.get_mut(channel) {
                channel.delivery = Some(delivery);
                channel.lanes.insert(number);
            }
        }
        self.fill(number, post);
        Ok(())
    }

    /// Whether there is memory to be made.
    pub(super) fn has_work(&self) -> bool {
        !self.filling.is_empty()
    }

    /// Makes a slice of memory, if there is any to be made.
    pub(super) fn work(&mut self, post: &mut dyn Post) {
        if let Some(number) = self.filling.pop_front() {
            match self.incarnations.contains_key(&number) {
                true => self.fill_table(number, post),
                false => self.fill(number, post),
            }
        }
    }

    /// Makes the next slice of a lane's memory; after the last, its writer gets it.
    fn fill(&mut self, number: u64, post: &mut dyn Post) {
        // Its writer may be gone by now.
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let LaneState::Filling { segment, done, request } = &mut lane.state else { return };
        let (client, id) = (lane.owner.client, *request);
        let next = segment.size().min(*done + SLICE);
        if let Err(error) = segment.populate(*done, next) {
            let error = system(format!("making {} bytes of memory for a lane", segment.size()), error);
            self.drop_lane(number, post);
            post.refuse(client, id, &error);
            return;
        }
        *done = next;
        if next < segment.size() {
            self.filling.push_back(number);
            return;
        }
        let LaneState::Filling { segment, .. } = std::mem::replace(&mut lane.state, LaneState::Ended) else { return };
        let segment = Arc::new(segment);
        lane.state = LaneState::Made(segment.clone());
        let Lane { channel, capacity, max_payload, align, delivery, pins, .. } = *lane;
        let told = Tell::LaneMade { lane: number, channel, capacity, max_payload, align, delivery, pins };
        post.post(client, id, told, vec![Fd::Writable(segment)]);
    }

    /// The writer has mapped its lane. If it can not be opened, it is no more.
    pub(super) fn lane_mapped(&mut self, owner: Owner, id: u32, number: u64, post: &mut dyn Post) -> Result<()> {
        match self.lanes.get(&number) {
            Some(lane) if lane.owner.client == owner.client => match lane.state {
                LaneState::Made(_) => {}
                _ => {
                    let text =
                        format!("lane {number}: expected one that was made and not mapped yet, found one that was not");
                    return Err(invalid(text));
                }
            },
            _ => return Err(unknown("lane", number)),
        }
        let opened = self.share_lane(number, post);
        if opened.is_err() {
            self.drop_lane(number, post);
            return opened;
        }
        post.post(owner.client, id, Tell::LaneOpen { lane: number }, Vec::new());
        if let Some(lane) = self.lanes.get(&number)
            && let Some(zone) = self.zones.get(&lane.zone)
            && let Some(channel) = zone.channels.get(lane.channel)
        {
            let (zone, channel, name) = (&zone.name, &channel.name, &lane.writer_name);
            let came = notify::presence(PresenceWhat::Came, PresenceKind::Writer, zone, channel, name, Some(owner));
            self.notify.tell(came, post);
        }
        Ok(())
    }

    /// Seals a lane and gives it to the readers that are there.
    fn share_lane(&mut self, number: u64, post: &mut dyn Post) -> Result<()> {
        let lane = self.lanes.get_mut(&number).ok_or_else(lost)?;
        let zone = self.zones.get_mut(&lane.zone).ok_or_else(lost)?;
        let channel = zone.channels.get(lane.channel).ok_or_else(lost)?;
        let LaneState::Made(segment) = &lane.state else { return Err(lost()) };
        let is_connected = |number: &u64| self.readers.get(number).is_some_and(|reader| reader.connected);
        let subscribed: Vec<u64> = channel.readers.iter().copied().filter(is_connected).collect();
        let most = zone.geometry.entries as usize;
        check_room("reader entries of the zone", zone.entries.len(), subscribed.len(), most)?;
        let fd = segment.read_only().map_err(|error| system("opening a lane for its readers", error))?;
        segment.seal_lane().map_err(|error| system("sealing a lane", error))?;
        let fd = Arc::new(fd);
        lane.state = LaneState::Open(fd.clone());

        let mut told = Vec::new();
        for number_of_reader in subscribed {
            let Some(reader) = self.readers.get_mut(&number_of_reader) else { continue };
            let entry = zone.entries.insert(()).ok_or_else(lost)?;
            let kind = EntryKind {
                takes_eras: reader.takes_eras,
                synced: reader.synced,
                pins: (lane.pinning.len() as u32) < lane.pins,
                name: &reader.name,
            };
            if kind.pins {
                lane.pinning.insert(entry);
            }
            zone.segments.enter(entry, number, reader.owner, kind);
            lane.entries.insert(entry, number_of_reader);
            reader.entries.insert(entry, number);
            told.push((reader.owner.client, number_of_reader, entry));
        }
        let info = lane.info(number, channel);
        for (client, reader, entry) in told {
            let lane = info.clone();
            post.post(
                client,
                0,
                Tell::LaneAdded { reader, entry, lane, version: 0, ended: None },
                vec![Fd::ReadOnly(fd.clone())],
            );
        }
        zone.segments.announce();
        Ok(())
    }
}

impl Lane {
    /// What readers are told of this lane.
    pub(super) fn info(&self, number: u64, channel: &super::registry::Channel) -> LaneInfo {
        LaneInfo {
            lane: number,
            channel: self.channel,
            channel_name: channel.name.clone(),
            row: self.row,
            writer_name: self.writer_name.clone(),
            writer_pid: self.owner.pid,
            capacity: self.capacity,
            max_payload: self.max_payload,
            align: self.align,
            delivery: self.delivery,
            serial: self.writer,
            ty: channel.ty.clone().unwrap_or_else(TypeDesc::bytes),
        }
    }
}

/// The ring that holds `keep` bytes of history beside as many new ones; 0: whatever is usual.
fn history(keep: u64) -> u64 {
    if keep == 0 { 0 } else { keep.saturating_mul(2).max(DEFAULT_CAPACITY) }
}

/// What the writers of a channel do when a reader is behind, for what it has and what is asked.
fn delivery_for(channel: &str, pace: Pace, has: Option<Delivery>, asked: Option<Delivery>) -> Result<Delivery> {
    if let (Some(has), Some(asked)) = (has, asked)
        && has != asked
    {
        return Err(refused(
            Code::Mismatch,
            format!(
                "channel `{channel}`: expected it {}, as its first writer opened it, found {}; ask for that, or for nothing to take what it has",
                delivery_text(has),
                delivery_text(asked)
            ),
        ));
    }
    let delivery = has.or(asked).unwrap_or_default();
    if delivery.lossy && delivery.evict_ms != 0 {
        return Err(invalid(format!(
            "channel `{channel}`: expected it lossy, or with a time to evict after, found both; a lossy one waits for nobody"
        )));
    }
    if (delivery.lossy || delivery.evict_ms != 0) && pace == Pace::Revocable {
        return Err(invalid(format!(
            "channel `{channel}`: expected it reliable, since the eras of its zone can be rolled back, found it {}; use another zone",
            delivery_text(delivery)
        )));
    }
    Ok(delivery)
}

fn delivery_text(delivery: Delivery) -> String {
    match delivery {
        Delivery { lossy: true, .. } => "lossy".to_owned(),
        Delivery { evict_ms: 0, .. } => "reliable".to_owned(),
        Delivery { evict_ms, .. } => format!("reliable with eviction after {evict_ms} ms"),
    }
}

/// Bytes of the ring and of the largest payload, and how many readers may pin, for what was asked.
fn ring_size(
    ty: &TypeDesc,
    capacity: u64,
    max_payload: u64,
    limit: u64,
    delivery: Delivery,
) -> Result<(u64, u64, u32)> {
    let too_large = |text| refused(Code::TooLarge, text);
    let align = u64::from(ty.align);
    let limit = 1 << limit.clamp(MIN_CAPACITY, lane::MAX_CAPACITY).ilog2();
    // What one message needs at least.
    let needed = max_payload.max(if ty.variable { 0 } else { ty.size.into() });
    let mut ring = match capacity {
        0 => DEFAULT_CAPACITY.min(limit),
        asked if asked > limit => {
            let text = format!(
                "ring: expected at most {limit} bytes, found {asked}; ask for less, or raise the broker's limit"
            );
            return Err(too_large(text));
        }
        asked => asked.max(MIN_CAPACITY).next_power_of_two(),
    };
    // Only what passes readers goes round them. A ring whose size nobody has asked for has room for two such at least.
    let passes = delivery.lossy || delivery.evict_ms != 0;
    let (wanted_pins, most_pins) = if passes { (2, MAX_PINS) } else { (0, 0) };
    while capacity == 0 && ring < limit && lane::max_payload(ring, align, wanted_pins) < needed {
        ring *= 2;
    }
    let fits = |&pins: &u32| lane::max_payload(ring, align, pins) >= needed;
    let pins = (0..=most_pins).rev().find(fits).unwrap_or(0);
    let most = lane::max_payload(ring, align, pins);
    if needed > most {
        return Err(too_large(format!(
            "message: expected at most {most} bytes in a ring of {ring}, found {needed}; ask for a larger ring (up to {limit}) \
             or smaller messages"
        )));
    }
    Ok((ring, if max_payload == 0 { most } else { needed }, pins))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::lane::MAX_CAPACITY;

    fn size(ty: &TypeDesc, capacity: u64, max_payload: u64) -> Option<(u64, u64)> {
        let (ring, most, _) = ring_size(ty, capacity, max_payload, MAX_CAPACITY, Delivery::default()).ok()?;
        Some((ring, most))
    }

    #[test]
    fn rings_fit_what_is_asked() {
        let bytes = TypeDesc::bytes();
        let most = |ring| lane::max_payload(ring, 1, 0);
        assert_eq!(size(&bytes, 0, 0), Some((1 << 20, most(1 << 20))));
        assert_eq!(size(&bytes, 1, 0), Some((4096, most(4096))));
        assert_eq!(size(&bytes, 5000, 10), Some((8192, 10)));
        assert_eq!(size(&bytes, 0, 1 << 20), Some((2 << 20, 1 << 20)));
        assert_eq!(size(&bytes, 0, most(MAX_CAPACITY)), Some((MAX_CAPACITY, most(MAX_CAPACITY))));
        assert_eq!(size(&bytes, MAX_CAPACITY, 0).map(|(ring, _)| ring), Some(MAX_CAPACITY));
        for (capacity, max_payload) in
            [(4096, 4096), (0, MAX_CAPACITY), (0, u64::MAX), (MAX_CAPACITY + 1, 0), (u64::MAX, 0)]
        {
            let error = ring_size(&bytes, capacity, max_payload, MAX_CAPACITY, Delivery::default()).unwrap_err();
            assert_eq!(error.code(), Code::TooLarge);
            assert!(error.to_string().contains("expected at most"), "{error}");
        }
    }

    #[test]
    fn a_value_has_room_in_its_lane() {
        let ty = |size| TypeDesc { name: "x".to_owned(), size, align: 4096, variable: false, fields: Vec::new() };
        assert_eq!(size(&ty(2 << 20), 0, 0).map(|(ring, _)| ring), Some(4 << 20));
        assert_eq!(size(&ty(4096), 0, 8), Some((1 << 20, 4096)));
        assert_eq!(size(&ty(8192), 8192, 0), None);
    }

    #[test]
    fn the_brokers_limit_counts() {
        let bytes = TypeDesc::bytes();
        assert_eq!(ring_size(&bytes, 0, 0, 70_000, Delivery::default()).unwrap().0, 65_536);
        assert!(ring_size(&bytes, 0, 65_536, 70_000, Delivery::default()).is_err());
        assert!(ring_size(&bytes, 65_537, 0, 70_000, Delivery::default()).is_err());
    }
}

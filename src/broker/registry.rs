//! Who is there: zones, channels, writers, lanes, readers. What they do is in the modules named after them.
//!
//! Everything has a number, unique in this broker and never 0, and refers to the rest by number. A zone is made by the first
//! who names it and goes with the last writer and reader; a channel likewise, within its zone.

use super::notify::{self, Notify};
use super::quota::{Ledger, Limits, check_room, refused, system};
use super::segments::ZoneSegments;
use super::session::Post;
use super::slots::Slots;
use crate::error::{Code, Error, Result};
use crate::layout::lane::segment_size;
use crate::layout::zone::Geometry;
use crate::os::memfd::Segment;
use crate::wire::{PresenceKind, PresenceWhat, TypeDesc, ZoneOptions, check_name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The shape of a zone if nobody says otherwise.
const DEFAULT_GEOMETRY: Geometry = Geometry { writers: 64, eras: 64, entries: 1024 };

/// The process behind a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The connection's number.
    pub(super) client: u64,
    pub(super) pid: u32,
    pub(super) uid: u32,
    /// The process's start time, in clock ticks since boot.
    pub(super) start: u64,
}

#[derive(Debug)]
pub(super) struct Zone {
    pub(super) number: u64,
    pub(super) name: String,
    pub(super) geometry: Geometry,
    pub(super) segments: ZoneSegments,
    /// Rows in use or used up.
    pub(super) rows: Slots<()>,
    pub(super) channels: Slots<Channel>,
    pub(super) channel_names: BTreeMap<String, u32>,
    pub(super) entries: Slots<()>,
    pub(super) writers: BTreeSet<u64>,
    pub(super) lanes: BTreeSet<u64>,
    pub(super) readers: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: String,
    /// `None` while nobody has said.
    pub(super) ty: Option<TypeDesc>,
    /// Also those that ended and are not drained yet.
    pub(super) lanes: BTreeSet<u64>,
    pub(super) readers: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct Writer {
    pub(super) owner: Owner,
    pub(super) zone: u64,
    pub(super) row: u32,
    pub(super) name: String,
    pub(super) lanes: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) zone: u64,
    pub(super) channel: u32,
    /// Its writer's number, name, row and process; the lane may outlive the writer.
    pub(super) writer: u64,
    pub(super) writer_name: String,
    pub(super) row: u32,
    pub(super) owner: Owner,
    pub(super) capacity: u64,
    pub(super) max_payload: u64,
    pub(super) align: u32,
    pub(super) state: LaneState,
    /// The reader of each of its entries.
    pub(super) entries: BTreeMap<u32, u64>,
}

/// From making to end.
#[derive(Debug)]
pub(super) enum LaneState {
    /// Its memory is being made there; `request` is who waits for that.
    Filling { segment: Segment, done: u64, request: u32 },
    /// Its writer has not mapped it yet.
    Made(Arc<Segment>),
    /// In use.
    Open(Arc<OwnedFd>),
    /// Its writer is gone. Stays until its readers have drained it.
    Ended,
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) owner: Owner,
    pub(super) zone: u64,
    pub(super) name: String,
    pub(super) synced: bool,
    /// It can be told of new lanes.
    pub(super) connected: bool,
    pub(super) channels: Vec<u32>,
    /// The lane of each of its entries.
    pub(super) entries: BTreeMap<u32, u64>,
}

/// What a connection has opened.
#[derive(Debug, Default)]
pub(super) struct Owned {
    pub(super) writers: BTreeSet<u64>,
    pub(super) readers: BTreeSet<u64>,
}

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) limits: Limits,
    pub(super) ledger: Ledger,
    pub(super) zones: BTreeMap<u64, Zone>,
    pub(super) zone_names: BTreeMap<String, u64>,
    pub(super) writers: BTreeMap<u64, Writer>,
    pub(super) lanes: BTreeMap<u64, Lane>,
    pub(super) readers: BTreeMap<u64, Reader>,
    pub(super) owned: BTreeMap<u64, Owned>,
    pub(super) notify: Notify,
    /// Lanes whose memory is being made.
    pub(super) filling: VecDeque<u64>,
    /// Last commits of writers that were gone: completed, buried.
    pub(super) completed: u64,
    pub(super) buried: u64,
    last_number: u64,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        Registry {
            ledger: Ledger::new(limits.bytes),
            notify: Notify::new(limits.waits),
            limits,
            zones: BTreeMap::new(),
            zone_names: BTreeMap::new(),
            writers: BTreeMap::new(),
            lanes: BTreeMap::new(),
            readers: BTreeMap::new(),
            owned: BTreeMap::new(),
            filling: VecDeque::new(),
            completed: 0,
            buried: 0,
            last_number: 0,
        }
    }

    /// A number that nothing had before.
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Whether a connection has opened anything that is still there.
    pub(super) fn owns_something(&self, client: u64) -> bool {
        self.owned.contains_key(&client)
    }

    pub(super) fn owned_by(&mut self, client: u64) -> &mut Owned {
        self.owned.entry(client).or_default()
    }

    /// Forgets that a connection has opened a writer or reader.
    pub(super) fn disown(&mut self, client: u64, number: u64) {
        if let Some(owned) = self.owned.get_mut(&client) {
            owned.writers.remove(&number);
            owned.readers.remove(&number);
            if owned.writers.is_empty() && owned.readers.is_empty() {
                self.owned.remove(&client);
            }
        }
    }

    // ---- zones ----

    /// The zone of this name, made if it is not there. If then nobody joins it, [`Registry::settle_zone`].
    pub(super) fn zone_for(&mut self, name: &str, options: ZoneOptions) -> Result<u64> {
        check_name("zone", name).map_err(invalid)?;
        if let Some(number) = self.zone_names.get(name) {
            let zone = self.zones.get(number).ok_or_else(lost)?;
            check_options(name, zone.geometry, options)?;
            return Ok(*number);
        }
        let or = |asked, default| if asked == 0 { default } else { asked };
        let geometry = Geometry {
            writers: or(options.writers, DEFAULT_GEOMETRY.writers),
            eras: or(options.eras, DEFAULT_GEOMETRY.eras),
            entries: or(options.entries, DEFAULT_GEOMETRY.entries),
        };
        check_geometry(name, geometry)?;
        check_room("zones", self.zones.len(), 1, self.limits.zones)?;
        let bytes = ZoneSegments::bytes(&geometry);
        self.ledger.reserve(bytes)?;
        let number = self.next_number();
        let segments = ZoneSegments::create(name, number, geometry).map_err(|error| {
            self.ledger.release(bytes);
            system(format!("making the segments of zone `{name}`"), error)
        })?;
        let zone = Zone {
            number,
            name: name.to_owned(),
            geometry,
            segments,
            rows: Slots::new(geometry.writers),
            channels: Slots::new(self.limits.channels),
            channel_names: BTreeMap::new(),
            entries: Slots::new(geometry.entries),
            writers: BTreeSet::new(),
            lanes: BTreeSet::new(),
            readers: BTreeSet::new(),
        };
        tracing::info!(zone = name, "zone made");
        self.zones.insert(number, zone);
        self.zone_names.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Lets a zone go if nobody is left in it.
    pub(super) fn settle_zone(&mut self, number: u64) {
        let is_left = |zone: &mut Zone| zone.writers.is_empty() && zone.readers.is_empty();
        if self.zones.get_mut(&number).is_some_and(is_left)
            && let Some(zone) = self.zones.remove(&number)
        {
            self.zone_names.remove(&zone.name);
            self.ledger.release(ZoneSegments::bytes(&zone.geometry));
            tracing::info!(zone = zone.name, "zone gone");
        }
    }

    // ---- channels ----

    /// Makes a channel, or declares the type of one that has none yet.
    pub(super) fn declare_channel(
        &mut self,
        zone: u64,
        name: &str,
        ty: Option<&TypeDesc>,
        post: &mut dyn Post,
    ) -> Result<u32> {
        let zone = self.zones.get_mut(&zone).ok_or_else(lost)?;
        if let Some(index) = zone.channel_names.get(name) {
            let channel = zone.channels.get_mut(*index).ok_or_else(lost)?;
            if channel.ty.is_none() {
                channel.ty = ty.cloned();
            }
            return Ok(*index);
        }
        let channel =
            Channel { name: name.to_owned(), ty: ty.cloned(), lanes: BTreeSet::new(), readers: BTreeSet::new() };
        check_room("channels of the zone", zone.channels.len(), 1, self.limits.channels as usize)?;
        let index = zone.channels.insert(channel).ok_or_else(lost)?;
        zone.channel_names.insert(name.to_owned(), index);
        let event = notify::presence(PresenceWhat::Came, PresenceKind::Channel, &zone.name, name, "", None);
        self.notify.tell(event, post);
        Ok(index)
    }

    /// Lets a channel go if nobody has a use for it.
    pub(super) fn settle_channel(&mut self, zone: u64, index: u32, post: &mut dyn Post) {
        let Some(zone) = self.zones.get_mut(&zone) else { return };
        let is_left = |channel: &Channel| channel.lanes.is_empty() && channel.readers.is_empty();
        if zone.channels.get(index).is_some_and(is_left)
            && let Some(channel) = zone.channels.remove(index)
        {
            zone.channel_names.remove(&channel.name);
            let event =
                notify::presence(PresenceWhat::Left, PresenceKind::Channel, &zone.name, &channel.name, "", None);
            self.notify.tell(event, post);
        }
    }

    // ---- lanes and entries ----

    /// Descriptors that are held for lanes.
    pub(super) fn lane_fds(&self) -> usize {
        self.lanes.values().filter(|lane| !matches!(lane.state, LaneState::Ended)).count()
    }

    /// Takes a lane out of the books.
    pub(super) fn drop_lane(&mut self, number: u64, post: &mut dyn Post) {
        let Some(lane) = self.lanes.remove(&number) else { return };
        self.ledger.release(segment_size(lane.capacity));
        if let Some(writer) = self.writers.get_mut(&lane.writer) {
            writer.lanes.remove(&number);
        }
        if let Some(zone) = self.zones.get_mut(&lane.zone) {
            zone.lanes.remove(&number);
            if let Some(channel) = zone.channels.get_mut(lane.channel) {
                channel.lanes.remove(&number);
            }
        }
        self.settle_channel(lane.zone, lane.channel, post);
    }

    /// Closes a reader's entry for a lane; a lane that has ended goes with its last.
    pub(super) fn release_entry(&mut self, zone: u64, entry: u32, lane_number: u64, post: &mut dyn Post) {
        if let Some(zone) = self.zones.get_mut(&zone) {
            zone.segments.leave(entry);
            zone.entries.remove(entry);
        }
        if let Some(lane) = self.lanes.get_mut(&lane_number) {
            lane.entries.remove(&entry);
            if matches!(lane.state, LaneState::Ended) && lane.entries.is_empty() {
                self.drop_lane(lane_number, post);
            }
        }
    }
}

impl Zone {
    /// The channel of this name, if it is there and of this type.
    pub(super) fn find_channel(&self, name: &str, ty: Option<&TypeDesc>) -> Result<Option<(u32, &Channel)>> {
        check_name("channel", name).map_err(invalid)?;
        if let Some(ty) = ty {
            ty.check().map_err(invalid)?;
        }
        let Some(&index) = self.channel_names.get(name) else { return Ok(None) };
        let channel = self.channels.get(index).ok_or_else(lost)?;
        let difference = channel.ty.as_ref().zip(ty).and_then(|(declared, asked)| declared.difference(asked));
        match difference {
            None => Ok(Some((index, channel))),
            Some(difference) => Err(refused(
                Code::Mismatch,
                format!(
                    "channel `{name}` of zone `{}`: {difference}; open it with the type it has, or use another channel",
                    self.name
                ),
            )),
        }
    }
}

fn check_options(name: &str, has: Geometry, asked: ZoneOptions) -> Result<()> {
    let pairs = [
        ("writers", has.writers, asked.writers),
        ("eras", has.eras, asked.eras),
        ("reader entries", has.entries, asked.entries),
    ];
    match pairs.into_iter().find(|&(_, has, asked)| asked != 0 && asked != has) {
        None => Ok(()),
        Some((what, expected, found)) => Err(refused(
            Code::Mismatch,
            format!(
                "zone `{name}`: expected {expected} {what}, as it was made with, found {found}; ask for that, or for 0 to take \
                 what it has"
            ),
        )),
    }
}

fn check_geometry(name: &str, geometry: Geometry) -> Result<()> {
    use crate::layout::zone::{MAX_ENTRIES, MAX_ERAS, MAX_WRITERS, MIN_ERAS};
    if geometry.is_valid() {
        return Ok(());
    }
    let Geometry { writers, eras, entries } = geometry;
    Err(invalid(format!(
        "zone `{name}`: expected 1 to {MAX_WRITERS} writers, a power of two from {MIN_ERAS} to {MAX_ERAS} of eras, 1 to \
         {MAX_ENTRIES} reader entries, found {writers}, {eras}, {entries}"
    )))
}

pub(super) fn invalid(text: String) -> Error {
    refused(Code::Invalid, text)
}

/// The books contradict each other.
pub(super) fn lost() -> Error {
    refused(Code::Internal, "the broker's books contradict each other; please report this")
}

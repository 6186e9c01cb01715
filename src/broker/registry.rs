//! Who is there: zones, channels, writers, lanes, readers. What they do is in the modules named after them.
//!
//! Everything has a number, unique in this broker and never 0, and refers to the rest by number. A zone is made by the first
//! who names it and goes with the last writer and reader; a channel likewise, within its zone.

use super::edges::{Timing, policy_for};
use super::locks::Locks;
use super::notify::{self, Notify};
use super::quota::{Ledger, Limits, check_room, refused, system};
use super::segments::ZoneSegments;
use super::session::Post;
use super::slots::Slots;
use super::tables::{Table, TableWait};
use crate::error::{Code, Error, Result};
use crate::layout::lane::segment_size;
use crate::layout::zone::{Geometry, MAX_ERAS, Pace};
use crate::os::memfd::Segment;
use crate::wire::{Delivery, Policy, PresenceKind, PresenceWhat, Schema, TypeDesc, ZoneOptions, check_name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// The shape of a zone if nobody says otherwise.
const DEFAULT_GEOMETRY: Geometry = Geometry { writers: 64, eras: 64, entries: 1024, pace: Pace::Free };

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
    pub(super) policy: Policy,
    /// It stays when nobody is in it.
    pub(super) created: bool,
    pub(super) segments: ZoneSegments,
    /// Rows in use or used up.
    pub(super) rows: Slots<()>,
    pub(super) channels: Slots<Channel>,
    pub(super) channel_names: BTreeMap<String, u32>,
    pub(super) entries: Slots<()>,
    pub(super) writers: BTreeSet<u64>,
    pub(super) lanes: BTreeSet<u64>,
    pub(super) readers: BTreeSet<u64>,
    /// Edges that come by themselves, and a halt.
    pub(super) timing: Timing,
    /// By channel: of the eras before this one, lanes have gone.
    pub(super) gone: BTreeMap<String, u64>,
    /// The same for all channels, once there are too many to tell apart.
    pub(super) gone_before: u64,
}

#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: String,
    /// `None` while nobody has said.
    pub(super) ty: Option<TypeDesc>,
    /// `None` while it has had no writer.
    pub(super) delivery: Option<Delivery>,
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
    /// What it has declared of the table that it is going to open.
    pub(super) draft: Option<Schema>,
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
    pub(super) delivery: Delivery,
    /// How many entries' pins its writer goes round, and those entries.
    pub(super) pins: u32,
    pub(super) pinning: BTreeSet<u32>,
    pub(super) state: LaneState,
    /// Its writer is gone and had published something: the first era of which nothing is missing once this lane is gone.
    pub(super) whole_without: Option<u64>,
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
    /// Its writer is gone. Stays until so many eras have been sealed since; readers that come before get it, too.
    Kept(Kept),
}

/// A lane whose writer is gone, for those who want the past.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) end: u64,
    pub(super) died: bool,
    /// The last era that has something of it.
    pub(super) since: u64,
}

impl Kept {
    /// Whether a reader that joins now is to have it: in a zone that keeps so many eras, or since a part of it is not sealed yet.
    pub(super) fn is_wanted(&self, keep_eras: u32, generation: u64) -> bool {
        keep_eras != 0 || self.since > generation
    }
}

impl LaneState {
    /// Whether its writer is gone.
    pub(super) fn is_over(&self) -> bool {
        matches!(self, LaneState::Ended | LaneState::Kept(_))
    }
}

#[derive(Debug)]
pub(super) struct Reader {
    pub(super) owner: Owner,
    pub(super) zone: u64,
    pub(super) name: String,
    pub(super) synced: bool,
    /// It is told of edges: synced, or live with markers.
    pub(super) takes_eras: bool,
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
    /// Zones that it has halted.
    pub(super) halts: BTreeSet<u64>,
    /// Readers of tables, and of which.
    pub(super) table_readers: BTreeMap<u64, (u64, String)>,
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
    /// By zone and name.
    pub(super) tables: BTreeMap<(u64, String), Table>,
    /// The table of each incarnation.
    pub(super) incarnations: BTreeMap<u64, (u64, String)>,
    pub(super) table_waits: Vec<TableWait>,
    pub(super) owned: BTreeMap<u64, Owned>,
    pub(super) notify: Notify,
    /// Lanes and tables whose memory is being made.
    pub(super) filling: VecDeque<u64>,
    /// Last commits of writers that were gone: completed, buried.
    pub(super) completed: u64,
    pub(super) buried: u64,
    last_number: u64,
    pub(super) locks: Locks,
}

impl Registry {
    pub(super) fn new(limits: Limits) -> Self {
        Registry {
            ledger: Ledger::new(limits.bytes),
            notify: Notify::new(limits.waits),
            locks: Locks::new(limits.locks, limits.waits),
            limits,
            zones: BTreeMap::new(),
            zone_names: BTreeMap::new(),
            writers: BTreeMap::new(),
            lanes: BTreeMap::new(),
            readers: BTreeMap::new(),
            tables: BTreeMap::new(),
            incarnations: BTreeMap::new(),
            table_waits: Vec::new(),
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

    /// Whether a connection has opened anything that is still there, or holds a lock.
    pub(super) fn owns_something(&self, client: u64) -> bool {
        self.owned.contains_key(&client) || self.locks.holds_any(client)
    }

    pub(super) fn owned_by(&mut self, client: u64) -> &mut Owned {
        self.owned.entry(client).or_default()
    }

    /// Forgets that a connection has opened a writer or reader.
    pub(super) fn disown(&mut self, client: u64, number: u64) {
        if let Some(owned) = self.owned.get_mut(&client) {
            owned.writers.remove(&number);
            owned.readers.remove(&number);
            owned.table_readers.remove(&number);
        }
        self.forget_if_idle(client);
    }

    /// Forgets that a connection has halted a zone.
    pub(super) fn disown_halt(&mut self, client: u64, zone: u64) {
        if let Some(owned) = self.owned.get_mut(&client) {
            owned.halts.remove(&zone);
        }
        self.forget_if_idle(client);
    }

    fn forget_if_idle(&mut self, client: u64) {
        let is_idle = |owned: &Owned| {
            let Owned { writers, readers, halts, table_readers } = owned;
            writers.is_empty() && readers.is_empty() && halts.is_empty() && table_readers.is_empty()
        };
        if self.owned.get(&client).is_some_and(is_idle) {
            self.owned.remove(&client);
        }
    }

    // ---- zones ----

    /// The zone of this name, made if it is not there. If then nobody joins it, [`Registry::settle_zone`].
    pub(super) fn zone_for(&mut self, name: &str, options: ZoneOptions) -> Result<u64> {
        check_name("zone", name).map_err(invalid)?;
        if let Some(number) = self.zone_names.get(name) {
            let zone = self.zones.get(number).ok_or_else(lost)?;
            check_options(name, zone, options)?;
            return Ok(*number);
        }
        let or = |asked, default| if asked == 0 { default } else { asked };
        let eras = DEFAULT_GEOMETRY.eras.max(options.policy.keep_eras.saturating_add(2)).min(MAX_ERAS);
        let geometry = Geometry {
            writers: or(options.writers, DEFAULT_GEOMETRY.writers),
            eras: or(options.eras, eras.next_power_of_two()),
            entries: or(options.entries, DEFAULT_GEOMETRY.entries),
            pace: options.pace.unwrap_or(DEFAULT_GEOMETRY.pace),
        };
        check_geometry(name, geometry)?;
        let policy = policy_for(name, &geometry, options.policy)?;
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
            policy,
            created: false,
            segments,
            rows: Slots::new(geometry.writers),
            channels: Slots::new(self.limits.channels),
            channel_names: BTreeMap::new(),
            entries: Slots::new(geometry.entries),
            writers: BTreeSet::new(),
            lanes: BTreeSet::new(),
            readers: BTreeSet::new(),
            timing: Timing::new(&policy),
            gone: BTreeMap::new(),
            gone_before: 0,
        };
        tracing::info!(zone = name, "zone made");
        self.zones.insert(number, zone);
        self.zone_names.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Lets a zone go if nobody is left in it or holds it, and nothing is kept there.
    pub(super) fn settle_zone(&mut self, number: u64) {
        let is_left = |zone: &mut Zone| {
            let is_empty = zone.writers.is_empty() && zone.readers.is_empty() && zone.lanes.is_empty();
            is_empty && !zone.created && !zone.timing.is_held()
        };
        if !self.has_table_readers(number)
            && self.zones.get_mut(&number).is_some_and(is_left)
            && let Some(zone) = self.zones.remove(&number)
        {
            self.zone_names.remove(&zone.name);
            self.drop_tables(number);
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
        let channel = Channel {
            name: name.to_owned(),
            ty: ty.cloned(),
            delivery: None,
            lanes: BTreeSet::new(),
            readers: BTreeSet::new(),
        };
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
        let most = self.limits.channels as usize;
        if let Some(zone) = self.zones.get_mut(&lane.zone) {
            zone.lanes.remove(&number);
            if let Some(whole_from) = lane.whole_without {
                zone.forget_before(lane.channel, whole_from, most);
            }
            if let Some(channel) = zone.channels.get_mut(lane.channel) {
                channel.lanes.remove(&number);
            }
            if matches!(lane.state, LaneState::Kept(_)) {
                // Nobody sleeps for that; who has it mapped to look at finds out.
                zone.segments.raise_roster();
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
            lane.pinning.remove(&entry);
            if lane.entries.is_empty() && self.has_passed(lane_number) {
                self.drop_lane(lane_number, post);
            }
        }
    }
}

impl Zone {
    /// A lane of this channel goes: of the eras before `whole_from` something is missing.
    fn forget_before(&mut self, channel: u32, whole_from: u64, most: usize) {
        let Some(channel) = self.channels.get(channel) else { return };
        // What the generation ring has forgotten is not to be had in any case.
        let remembered = (self.segments.generation() + 2).saturating_sub(self.geometry.eras.into());
        self.gone.retain(|_, whole_from| *whole_from > remembered);
        if self.gone.len() >= most {
            self.gone_before = self.gone.values().copied().max().unwrap_or(0).max(self.gone_before);
            self.gone.clear();
        }
        let known = self.gone.entry(channel.name.clone()).or_default();
        *known = whole_from.max(*known);
    }

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

fn check_options(name: &str, zone: &Zone, asked: ZoneOptions) -> Result<()> {
    let (has, policy) = (zone.geometry, zone.policy);
    let pairs = [
        ("writers", u64::from(has.writers), u64::from(asked.writers)),
        ("eras", has.eras.into(), asked.eras.into()),
        ("reader entries", has.entries.into(), asked.entries.into()),
        ("ms between clicks", policy.click_ms.into(), asked.policy.click_ms.into()),
        ("commits between edges", policy.commits, asked.policy.commits),
        ("bytes between edges", policy.bytes, asked.policy.bytes),
        ("ms of deadline", policy.deadline_ms.into(), asked.policy.deadline_ms.into()),
        ("eras to keep", policy.keep_eras.into(), asked.policy.keep_eras.into()),
        ("bytes to keep", policy.keep_bytes, asked.policy.keep_bytes),
    ];
    let differ = |expected: String, found: String, neutral: &str| {
        refused(
            Code::Mismatch,
            format!(
                "zone `{name}`: expected {expected}, as it was made with, found {found}; ask for that, or for {neutral} to take what it has"
            ),
        )
    };
    if let Some(pace) = asked.pace.filter(|pace| *pace != has.pace) {
        return Err(differ(format!("the pace {:?}", has.pace), format!("{pace:?}"), "none"));
    }
    match pairs.into_iter().find(|&(_, has, asked)| asked != 0 && asked != has) {
        None => Ok(()),
        Some((what, expected, found)) => Err(differ(format!("{expected} {what}"), found.to_string(), "0")),
    }
}

fn check_geometry(name: &str, geometry: Geometry) -> Result<()> {
    use crate::layout::zone::{MAX_ENTRIES, MAX_ERAS, MAX_WRITERS, MIN_ERAS};
    if geometry.is_valid() {
        return Ok(());
    }
    let Geometry { writers, eras, entries, .. } = geometry;
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

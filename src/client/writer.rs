//! Publishing into a zone: one row, a lane for each channel.

mod commit;
mod edges;
mod room;
mod tables;

pub use edges::HaltMode;
pub use room::HeldUpBy;
pub use tables::{Table, TableBuilder};

use super::batch::Batch;
use super::driver::Driver;
use super::link::{Link, take_fds, unexpected};
use super::loan::Loan;
use super::payload::{Payload, bytes_of};
use super::reactions::Reactions;
use super::table::next_tag;
use super::waiting::{self, Wait};
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::layout::lane::{MAX_VERSION, max_commit};
use crate::layout::zone::Pace;
use crate::layout::{meeting, zone};
use crate::os::fork::Epoch;
use crate::os::mapping::{Access, LaneMap, MeetingMap, Shared, ZoneMap};
use crate::ring::floor::Floor;
use crate::ring::item::Keeper;
use crate::ring::lane;
use crate::ring::sequencer::Races;
use crate::ring::{bell, halt, order};
use crate::wire::{Ask, Delivery, Tell, TypeDesc};
use bytemuck::NoUninit;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// A writer goes no further: looked at whenever a lane enters a page, between which there are fewer commits than the rest.
const LAST_VERSION: u64 = MAX_VERSION - (1 << 40);

/// A lane of one writer, typed by what it carries; from [`LaneBuilder::open`]. A lane of another writer is refused.
pub struct Lane<P: ?Sized> {
    key: Key,
    payload: PhantomData<fn(&P)>,
}

impl<P: ?Sized> Clone for Lane<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: ?Sized> Copy for Lane<P> {}

impl<P: ?Sized> std::fmt::Debug for Lane<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Lane").field(&self.key.index).finish()
    }
}

impl<P: ?Sized> Lane<P> {
    #[inline(always)]
    pub(crate) fn key(&self) -> Key {
        self.key
    }
}

/// Which lane of which writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    writer: u32,
}

#[cfg(feature = "capi")]
impl Key {
    /// As one number, for C.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.writer) << 32 | u64::from(self.index)
    }

    /// From that number; any number makes a key, which then may be nobody's.
    #[inline(always)]
    pub(crate) fn from_bits(bits: u64) -> Key {
        Key { index: bits as u32, writer: (bits >> 32) as u32 }
    }
}

/// One lane as its writer sees it.
struct LaneOut {
    map: LaneMap,
    ring: lane::Writer,
    floor: Floor,
    max_payload: u64,
    /// The most bytes of one commit, in its frames.
    max_commit: u64,
    delivery: Delivery,
    /// Readers may hold pages that the floor has passed.
    has_pins: bool,
    /// The last sealed cut, and where what comes after it begins.
    open_era: (u64, u64),
    /// Who holds this lane up, and since when.
    held_up: Option<room::HeldSince>,
    /// The channel's bit on the live bell.
    mask: bell::Mask,
    number: u64,
    channel: String,
    /// Revocable zones: where this lane's part of the last sealed era ends, and of the last permit.
    sealed: lane::Reader,
    permitted: lane::Reader,
}

/// Describes a lane to open; from [`Writer::channel`].
#[derive(Debug)]
#[must_use = "nothing happens before `open`"]
pub struct LaneBuilder<'w> {
    writer: &'w mut Writer,
    channel: &'w str,
    capacity: u64,
    max_payload: u64,
    delivery: Option<Delivery>,
}

impl<'w> LaneBuilder<'w> {
    /// Size of the ring in bytes, rounded up to a power of two; 1 MiB by default, 4 KiB to 1 GiB. It holds what readers have
    /// not taken, and history for those who start at the oldest.
    pub fn capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// The longest message in bytes; by default what the capacity allows, about 15/16 of it. If only this is given, the capacity
    /// is made to fit.
    pub fn max_len(mut self, bytes: u64) -> Self {
        self.max_payload = bytes;
        self
    }

    /// The channel is lossy: its writers wait for nobody. A reader that is too slow loses the oldest messages, and is told how many
    /// ([`Error::Lagged`]), or which eras ([`Error::ErasLost`]). A commit, which in a batch is all of its messages in this lane, can be as
    /// large as a thirteenth of the capacity; larger, up to 15/16, if [`max_len`](LaneBuilder::max_len) asks for it, but then fewer readers
    /// can read in place.
    ///
    /// The first writer of a channel decides; who says nothing takes what the channel has, or else reliable without eviction.
    pub fn lossy(mut self) -> Self {
        self.delivery = Some(Delivery { lossy: true, evict_ms: 0 });
        self
    }

    /// The channel is reliable: a reader that is too slow holds its writers up ([`Error::Full`]). See [`LaneBuilder::lossy`].
    pub fn reliable(mut self) -> Self {
        self.delivery = Some(Delivery::default());
        self
    }

    /// The channel is reliable, but a reader that holds its writers up and takes nothing for so long, while there is something for it to
    /// take, is evicted ([`Error::Evicted`]): they go on without it. In whole milliseconds, 1 at least. The limits of a commit are those
    /// of [`LaneBuilder::lossy`].
    pub fn evict_after(mut self, time: Duration) -> Self {
        let evict_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1);
        self.delivery = Some(Delivery { lossy: false, evict_ms });
        self
    }

    /// Opens the lane for messages of `P`: a type, a slice of it, or `[u8]` for bytes. When this returns, every reader of the
    /// channel is going to see what is published.
    ///
    /// # Errors
    /// The channel has another type, or treats readers that are behind in another way; this writer has a lane there already; sizes out of
    /// range; quotas; no broker.
    pub fn open<P: Payload + ?Sized>(self) -> Result<Lane<P>> {
        let key = self.open_described(P::type_desc())?;
        Ok(Lane { key, payload: PhantomData })
    }

    /// Opens the lane for messages of a type that is known at run time only; it is published as bytes.
    ///
    /// # Errors
    /// As [`LaneBuilder::open`].
    pub fn open_as(self, ty: TypeDesc) -> Result<Lane<[u8]>> {
        let key = self.open_described(ty)?;
        Ok(Lane { key, payload: PhantomData })
    }

    pub(crate) fn open_described(self, ty: TypeDesc) -> Result<Key> {
        let LaneBuilder { writer, channel, capacity, max_payload, delivery } = self;
        writer.open_lane(channel, ty, capacity, max_payload, delivery)
    }
}

/// One participant that publishes into a zone. Send, not Sync: one thread at a time; a process may have several.
///
/// ```compile_fail
/// fn needs_sync<T: Sync>() {}
/// needs_sync::<syncline::Writer>();
/// ```
pub struct Writer {
    epoch: Epoch,
    link: Arc<Link>,
    zone: ZoneMap,
    meeting: MeetingMap,
    /// Of the zone and the meeting: what every commit touches.
    header: Shared<zone::Header>,
    own: Shared<zone::Row>,
    bells: Shared<meeting::Header>,
    reactions: Arc<Reactions>,
    row: u32,
    pace: Pace,
    /// The zone's name, and the broker's number for it, and for this writer.
    zone_name: String,
    number: u64,
    serial: u64,
    /// Tells this writer's lanes from those of others in this process, of whatever broker they are; not 0.
    tag: u32,
    /// `tag`, but 0 while a batch is open: who may publish singly.
    gate: u32,
    /// Version of the last commit.
    version: u64,
    /// The last era whose closing this writer has reacted to.
    settled: u64,
    /// The last of the reactions completed.
    reacted: u64,
    fence: bell::Fence,
    lanes: Vec<LaneOut>,
    /// Lanes with frames of the open batch.
    touched: Vec<u32>,
    /// Tables, given-up ones included.
    tables: Vec<tables::TableOut>,
    /// Tables with items of the open batch.
    touched_tables: Vec<u32>,
    keeper: Keeper,
    room_timeout: Duration,
    room_wait: Wait,
    /// The hints to finish that this writer has heeded, and whether it has told of the last.
    early: u64,
    early_asked: bool,
    on_halt: HaltMode,
    left: commit::Left,
    /// Lockstep: the last permit given.
    permit: edges::Permit,
    /// Revocable zones: the roll-backs carried out.
    rolled: u64,
    driver: Arc<Driver>,
    scratch: Vec<u64>,
    races: Races,
    not_sync: PhantomData<std::cell::Cell<()>>,
}

impl Writer {
    pub(crate) fn open(zone: &Zone, name: &str) -> Result<Writer> {
        let link = zone.link().clone();
        let ask = Ask::OpenWriter { zone: zone.name().to_owned(), options: zone.options(), name: name.to_owned() };
        let (told, fds) = link.call(ask)?;
        let Tell::Writer { zone: number, row, geometry, policy, version, serial } = told else {
            return Err(unexpected("Writer", &told));
        };
        let [zone_fd, meeting_fd] = take_fds(fds)?;
        let zone_name = zone.name().to_owned();
        let zone = ZoneMap::new(zone_fd.as_fd(), geometry, Access::ReadWrite)
            .map_err(Error::io("mapping the zone segment"))?;
        let meeting =
            MeetingMap::new(meeting_fd.as_fd(), geometry.entries).map_err(Error::io("mapping the meeting segment"))?;
        let Some(own) = zone.row(row) else {
            return Err(Error::Corrupt(format!("row {row}: the zone has {}", zone.view().rows.len())));
        };
        let reactions = link.reactions(number, geometry.writers as usize)?;
        let fence = waiting::attach(&meeting, &link)?;
        let driver = reactions.driver(|| Driver::new(zone.clone(), meeting.clone(), policy, fence));
        let header = zone.header();
        // As the broker has found it: of what came since, this writer is told, and says in its row that it knows.
        let rolled = own.rolled.load(order::RELAXED.get());
        reactions.add_writer(rolled);
        let zone_early = header.control.0.early.load(Ordering::Relaxed);
        let tag = next_tag();
        Ok(Writer {
            epoch: link.epoch(),
            link,
            header,
            own,
            bells: meeting.bells(),
            zone,
            meeting,
            reactions,
            row,
            pace: geometry.pace,
            zone_name,
            number,
            serial,
            tag,
            gate: tag,
            version,
            settled: 0,
            reacted: 0,
            fence,
            lanes: Vec::new(),
            touched: Vec::new(),
            tables: Vec::new(),
            touched_tables: Vec::new(),
            keeper: Keeper::new(row as usize),
            room_timeout: Duration::ZERO,
            room_wait: Wait::default(),
            early: zone_early,
            early_asked: false,
            on_halt: HaltMode::default(),
            left: commit::Left::new(&policy),
            permit: edges::Permit::default(),
            rolled,
            driver,
            scratch: vec![0; geometry.writers as usize],
            races: Races::default(),
            not_sync: PhantomData,
        })
    }

    /// This writer's row in its zone: the number that its messages carry.
    pub fn row(&self) -> u32 {
        self.row
    }

    /// Describes this writer's lane in a channel; the channel is made if it is not there.
    pub fn channel<'w>(&'w mut self, channel: &'w str) -> LaneBuilder<'w> {
        LaneBuilder { writer: self, channel, capacity: 0, max_payload: 0, delivery: None }
    }

    fn open_lane(
        &mut self,
        channel: &str,
        ty: TypeDesc,
        capacity: u64,
        max_payload: u64,
        delivery: Option<Delivery>,
    ) -> Result<Key> {
        let ask =
            Ask::OpenLane { writer: self.serial, channel: channel.to_owned(), ty, capacity, max_payload, delivery };
        let (told, fds) = self.link.call(ask)?;
        let Tell::LaneMade { lane, channel: index, capacity, max_payload, align, delivery, pins } = told else {
            return Err(unexpected("LaneMade", &told));
        };
        let [fd] = take_fds(fds)?;
        let map = LaneMap::new(fd.as_fd(), capacity, Access::ReadWrite)
            .map_err(Error::io(format!("mapping the lane of channel `{channel}`")))?;
        // Only now can the broker seal it and give it to readers.
        let (told, _) = self.link.call(Ask::LaneMapped { lane })?;
        let Tell::LaneOpen { .. } = told else { return Err(unexpected("LaneOpen", &told)) };
        self.lanes.push(LaneOut {
            map,
            ring: lane::Writer::new(capacity, u64::from(align)),
            floor: if delivery.lossy { Floor::lossy(lane) } else { Floor::new(lane) },
            max_payload,
            max_commit: max_commit(capacity, pins),
            delivery,
            has_pins: pins > 0,
            open_era: (0, 0),
            held_up: None,
            mask: bell::Mask::of(bell::bit(u64::from(index))),
            number: lane,
            channel: channel.to_owned(),
            sealed: lane::Reader { position: 0, sequence: 0 },
            permitted: lane::Reader { position: 0, sequence: 0 },
        });
        Ok(Key { index: (self.lanes.len() - 1) as u32, writer: self.tag })
    }

    /// How long `publish`, `loan` and `push` wait for room in a lane before they say [`Error::Full`]; not at all by default.
    pub fn set_room_timeout(&mut self, timeout: Duration) {
        self.room_timeout = timeout;
    }

    /// How they wait for it; by default as readers do.
    pub fn set_room_wait(&mut self, wait: Wait) {
        self.room_wait = wait;
    }

    /// The longest message that a lane takes, in bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a lane of another writer.
    pub fn max_len<P: ?Sized>(&self, lane: Lane<P>) -> Result<u64> {
        match self.lanes.get(lane.key.index as usize) {
            Some(open) if lane.key.writer == self.tag => Ok(open.max_payload),
            _ => Err(wrong_lane()),
        }
    }

    /// Publishes one message: a commit of its own.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::TooLarge`], [`Error::Forked`]; [`Error::Invalid`] for a lane of another writer; [`Error::Halted`], if the
    /// writer does not wait for the end of a halt; [`Error::RolledBack`]. Nothing was published then.
    #[inline]
    pub fn publish<P: Payload + ?Sized>(&mut self, lane: Lane<P>, message: &P) -> Result<()>
    where
        P::Item: NoUninit,
    {
        self.publish_bytes(lane.key, bytes_of(message))
    }

    #[inline(always)]
    pub(crate) fn publish_bytes(&mut self, key: Key, bytes: &[u8]) -> Result<()> {
        // The way of nearly every message; whatever is special about one goes the long way.
        if self.epoch.is_current() && key.writer == self.gate {
            self.begin_commit()?;
            if let Some(lane) = self.lanes.get_mut(key.index as usize)
                && bytes.len() as u64 <= lane.max_payload
                && let Some(claim) = lane.ring.claim_easy(bytes.len() as u32)
            {
                lane.map.fill(claim.payload(), bytes);
                let version = self.version + 1;
                lane.ring.show_easy(lane.map.view(), claim, version);
                self.own.version.store(version, order::COMMIT.get());
                halt::leave(&self.own);
                self.version = version;
                if bell::ring(&self.bells.live.0, lane.mask, self.fence, waiting::wake) {
                    commit::count(&self.own.wakes);
                }
                if self.left.take(bytes.len()) {
                    self.edge_if_due();
                }
                return Ok(());
            }
            halt::leave(&self.own);
        }
        self.publish_special(key, bytes)
    }

    #[cold]
    fn publish_special(&mut self, key: Key, bytes: &[u8]) -> Result<()> {
        let claim = self.claim_single(key, bytes.len())?;
        self.payload_mut(key, claim).copy_from_slice(bytes);
        self.commit_single(key, claim)
    }

    /// A place in the lane to write one message in, without a copy. Dropping it publishes nothing.
    ///
    /// # Errors
    /// As [`Writer::publish`].
    pub fn loan<T: Payload>(&mut self, lane: Lane<T>) -> Result<Loan<'_, T>>
    where
        T::Item: NoUninit,
    {
        Loan::single(self, lane.key, size_of::<T::Item>())
    }

    /// A place in the lane to write one message of up to `count` elements in, without a copy. Dropping it publishes nothing.
    ///
    /// # Errors
    /// As [`Writer::publish`].
    pub fn loan_slice<T>(&mut self, lane: Lane<[T]>, count: usize) -> Result<Loan<'_, [T]>>
    where
        [T]: Payload<Item = T>,
        T: NoUninit,
    {
        let len = count.saturating_mul(size_of::<T>());
        Loan::single(self, lane.key, len)
    }

    /// Begins a batch: messages of any of this writer's lanes, which one commit makes visible, all or none.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn batch(&mut self) -> Result<Batch<'_>> {
        self.link.check_fork()?;
        // A batch that was leaked and not dropped.
        self.roll_back();
        Ok(Batch::new(self))
    }

    /// How often this writer's edges met others'.
    pub fn races(&self) -> Races {
        self.races
    }

    /// The number of the zone's last sealed era; 0 before the first.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn generation(&self) -> Result<u64> {
        self.link.check_fork()?;
        Ok(self.zone.view().generation())
    }

    /// Whether this is the process that opened the writer, and not a forked child of it.
    #[inline(always)]
    pub(crate) fn is_current(&self) -> bool {
        self.epoch.is_current()
    }

    pub(crate) fn link(&self) -> &Arc<Link> {
        &self.link
    }

    #[cfg(feature = "capi")]
    pub(crate) fn check_fork(&self) -> Result<()> {
        self.link.check_fork()
    }
}

#[cold]
fn batch_open() -> Error {
    Error::Invalid("a batch is open: commit it or roll it back before publishing singly".to_owned())
}

#[cold]
fn wrong_lane() -> Error {
    Error::Invalid("the lane belongs to another writer: use one that this writer opened".to_owned())
}

impl Drop for Writer {
    fn drop(&mut self) {
        // In a forked child all this is the parent's.
        if self.epoch.is_current() {
            self.roll_back();
            self.reactions.remove_writer(self.rolled);
            // Without a broker, the row goes with the process.
            let _ = self.link.call(Ask::CloseWriter { writer: self.serial });
        }
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let channels: Vec<_> = self.lanes.iter().map(|lane| &lane.channel).collect();
        f.debug_struct("Writer").field("row", &self.row).field("channels", &channels).finish_non_exhaustive()
    }
}

//! Reading: several channels of a zone, live or by whole eras.

mod eras;
mod live;
mod open;
mod pollable;
mod wait;

#[cfg(feature = "capi")]
pub(crate) use live::Given;
pub use live::Live;
pub use open::{ReaderBuilder, Start};

use super::edge::Edge;
use super::era::Era;
use super::lanes::{LaneIn, Next, Taken, give_up};
use super::link::{Link, Parcel};
use super::message::Message;
use super::reactions::Reactions;
use crate::error::{Error, Result};
use crate::layout::zone::Pace;
use crate::layout::{meeting, zone};
use crate::os::clock::monotonic_us;
use crate::os::fork::Epoch;
use crate::os::mapping::{MeetingMap, Shared, ZoneMap};
use crate::ring::lane::{Frame, Glance};
use crate::ring::{bell, halt, lockstep, order, sequencer};
use crate::wire::{Ask, LaneInfo, Tell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// The roster before anything was announced in the zone. A new reader has this one, whatever the zone's is when it maps it: a
/// lane that was announced between the broker's answers and that moment lies unread in its inbox.
const NEVER_LOOKED: u64 = 0;
/// A live reader that always has something goes on to the next lane, and looks for new ones, after so many messages: a look at the other
/// lanes costs as much as many messages, if these are many and idle.
const LOOK_AFTER: u32 = 16;
/// For that, a message counts as another for each so many of its bytes: large ones are taken in turn.
const HEAVY: u32 = 256;
/// A take-in of this many messages may have been cut short by a full socket: ask the broker whether that was all.
const LARGE_TAKE_IN: usize = 3;

/// Reads several channels of a zone. Send, not Sync: one thread at a time.
///
/// A *live* reader is handed each message as soon as it is committed, in order of each lane; of lanes that have several short ones waiting, up
/// to 16 of each in turn. A *synced* reader is handed whole eras, as they are sealed. Writers do not overwrite what a reader has not taken: one
/// that stops taking holds them up ([`Error::Full`]).
pub struct Reader {
    epoch: Epoch,
    link: Arc<Link>,
    zone: ZoneMap,
    meeting: MeetingMap,
    /// Of the zone and the meeting: what is looked at again and again.
    header: Shared<zone::Header>,
    bells: Shared<meeting::Header>,
    reactions: Arc<Reactions>,
    id: u64,
    /// The broker's number for the zone.
    number: u64,
    synced: bool,
    fence: bell::Fence,
    /// Bells' bits: the channels that we sleep for.
    mask: u32,
    /// Bells' bits to sleep for in place of those; 0: none.
    sleep_bits: u32,
    /// Sorted by channel and row: the order inside an era.
    lanes: Vec<LaneIn>,
    /// The roster at the last take-in, or [`NEVER_LOOKED`].
    roster: u64,
    /// Lanes that came during an era; they join before the next.
    waiting: VecDeque<Parcel>,
    /// Live: where the round robin goes on. Synced: the lane that the era is at.
    turn: usize,
    /// Live: messages handed out since the roster was looked at, large ones counted as several.
    given: u32,
    /// Synced: the last era begun.
    era: u64,
    /// Synced: the lanes' cuts of one era.
    cuts: Vec<Option<u64>>,
    /// Synced: an era is being handed out.
    in_era: bool,
    /// Synced: what was handed out of an era is not left behind yet.
    unreleased: bool,
    /// Synced: parts of the era that was open when this reader came are missing, so the next may not be whole.
    first: bool,
    /// There are lanes whose writers may pass this reader.
    guarded: bool,
    /// Of the eras before this one, lanes have gone.
    whole_from: u64,
    /// Live, and handed the edges among the messages.
    marked: bool,
    /// Live, and not marked.
    is_plain: bool,
    /// The era that `cuts` are of; marked only.
    cuts_of: u64,
    /// What the zone keeps of writers that have gone, in eras.
    keep_eras: u64,
    /// The hints to finish that were told; `None`: not wanted.
    early: Option<u64>,
    /// Revocable zones: the roll-backs that were told.
    rolls: u64,
    /// An error met where none could be told: the next call tells it.
    untold: Option<Error>,
    waits: wait::Waits,
}

impl Reader {
    fn add_lane(
        &mut self,
        info: LaneInfo,
        entry: u32,
        version: u64,
        ended: Option<bool>,
        fds: Vec<OwnedFd>,
    ) -> Result<()> {
        let mut lane = LaneIn::open(info, entry, version, fds, &self.zone, &self.meeting)
            .inspect_err(|_| give_up(&self.link, self.id, entry))?;
        if let Some(died) = ended {
            lane.end_with(died);
        }
        self.guarded |= lane.is_guarded();
        self.mask |= bell::bit(u64::from(lane.info.channel));
        let key = |lane: &LaneIn| (lane.info.channel, lane.info.row, lane.info.lane);
        let place = self.lanes.partition_point(|other| key(other) < key(&lane));
        self.lanes.insert(place, lane);
        self.cuts_of = 0;
        Ok(())
    }

    /// Takes in lanes that have come or ended, if the roster says that there may be some.
    #[inline(always)]
    fn keep_up(&mut self) -> Result<bool> {
        let roster = self.header.control.0.roster.load(order::ROSTER_SEE.get());
        if roster == self.roster && self.waiting.is_empty() {
            return Ok(false);
        }
        self.take_in(roster)
    }

    #[cold]
    fn take_in(&mut self, roster: u64) -> Result<bool> {
        self.roster = roster;
        let mut news = self.link.take_in(self.id)?;
        if news.len() >= LARGE_TAKE_IN {
            // The broker may hold more back than the socket could take; its answer comes after all of that.
            let _ = self.link.call(Ask::Sync);
            news.extend(self.link.take_in(self.id)?);
        }
        self.waiting.append(&mut news);
        let any = !self.waiting.is_empty();
        while let Some((told, fds)) = self.waiting.pop_front() {
            match told {
                Tell::LaneAdded { entry, lane, version, .. } => self.add_lane(lane, entry, version, None, fds)?,
                Tell::LaneEnded { entry, died, .. } => {
                    if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.entry == entry) {
                        lane.end_with(died);
                    }
                }
                _ => {}
            }
        }
        Ok(any)
    }

    #[inline(always)]
    pub(crate) fn check_fork(&self) -> Result<()> {
        if self.epoch.is_current() { Ok(()) } else { Err(Error::Forked) }
    }

    /// Whether the zone is halted: nothing is handed out then.
    #[inline(always)]
    fn is_halted(&self) -> bool {
        halt::found(&self.header.control.0).is_some() && self.is_halted_still()
    }

    #[cold]
    fn is_halted_still(&self) -> bool {
        halt::found(&self.header.control.0).is_some_and(|halt| halt.expiry_us() > monotonic_us())
    }

    /// What a caller that waits is to be told, if anything.
    fn check_news(&mut self) -> Result<()> {
        let early = self.header.control.0.early.load(order::RELAXED.get());
        if let Some(told) = &mut self.early
            && *told != early
        {
            *told = early;
            return Err(Error::Early);
        }
        if self.zone.view().geometry.pace == Pace::Revocable {
            // The roll-backs first: whoever knows of one knows of the eras sealed before it. What is sealed comes first.
            let rolls = lockstep::rolls(&self.header);
            if rolls != self.rolls && self.zone.view().generation() <= self.era {
                self.rolls = rolls;
                // Told by its writer, this process has begun anew since: told again, it would do the work of the round twice.
                return if self.reactions.all_know(rolls) { Ok(()) } else { Err(Error::RolledBack) };
            }
        }
        Ok(())
    }

    /// Asks everybody in the zone to finish and commit now; see [`Writer::request_early`](super::Writer::request_early).
    ///
    /// # Errors
    /// [`Error::Forked`]; no broker, unless this process has a writer in the zone.
    pub fn request_early(&self) -> Result<()> {
        self.check_fork()?;
        match self.reactions.known_driver() {
            Some(driver) => driver.raise_early(),
            None => drop(self.link.call(Ask::Early { zone: self.number })?),
        }
        Ok(())
    }

    /// The next message, if there is one now. Synced: of the era begun, or of the next sealed one.
    ///
    /// # Errors
    /// [`Error::Closed`] once for each lane whose writer has gone, after its last message (the reader goes on with others, and
    /// with those to come). [`Error::Corrupt`] for a lane that holds what no sound writer writes; it is given up, the rest goes on.
    /// [`Error::Forked`].
    #[inline(always)]
    pub fn try_recv(&mut self) -> Result<Option<Message<'_>>> {
        // Not through `try_next`, whose result would go through memory on the way of each message.
        match self.poll()? {
            Some(taken) => Ok(Some(Message::new(self, taken))),
            None if self.has_pollable() => self.try_at_last(),
            None => Ok(None),
        }
    }

    /// There is nothing: whoever waits for the descriptor is told of what comes.
    #[cold]
    fn try_at_last(&mut self) -> Result<Option<Message<'_>>> {
        Ok(self.arm(Self::poll)?.map(|taken| Message::new(self, taken)))
    }

    /// The next message; spins until there is one. For a core of one's own: nothing is quicker.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`Reader::try_recv`].
    pub fn spin_recv(&mut self, timeout: Duration) -> Result<Message<'_>> {
        let taken = self.spin_for(timeout, Self::poll)?;
        Ok(Message::new(self, taken))
    }

    /// The next message; waits until there is one, as [`Reader::set_wait`] says.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`Reader::try_recv`].
    pub fn recv(&mut self, timeout: Duration) -> Result<Message<'_>> {
        let taken = self.wait_for(timeout, Self::poll)?;
        Ok(Message::new(self, taken))
    }

    /// The next sealed era, if there is one. What is left of the one before is skipped.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a live reader; else as [`Reader::try_recv`].
    pub fn try_era(&mut self) -> Result<Option<Era<'_>>> {
        let begun = self.try_next(Self::begin_next_era)?;
        Ok(begun.map(|(number, merged)| Era::new(self, number, merged)))
    }

    /// The next sealed era; spins until there is one.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`Reader::try_era`].
    pub fn spin_era(&mut self, timeout: Duration) -> Result<Era<'_>> {
        let (number, merged) = self.spin_for(timeout, Self::begin_next_era)?;
        Ok(Era::new(self, number, merged))
    }

    /// The next sealed era; waits until there is one, as [`Reader::set_wait`] says.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`Reader::try_era`].
    pub fn next_era(&mut self, timeout: Duration) -> Result<Era<'_>> {
        let (number, merged) = self.wait_for(timeout, Self::begin_next_era)?;
        Ok(Era::new(self, number, merged))
    }

    /// What is on record of a sealed era; `None`: the zone does not remember it, or it is not sealed yet.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn edge_info(&self, era: u64) -> Result<Option<Edge>> {
        self.check_fork()?;
        Ok(Edge::of(self.zone.view(), era))
    }

    /// How many lanes this reader has: writer x channel, those that ended but are not read to their end included.
    pub fn lanes(&self) -> usize {
        // What the zone keeps of writers that are gone is here for those who go back.
        self.lanes.iter().filter(|lane| lane.told().is_none()).count()
    }

    /// The number of the zone's last sealed era; 0 before the first.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn generation(&self) -> Result<u64> {
        self.check_fork()?;
        Ok(self.zone.view().generation())
    }

    /// The next message, as [`Reader::try_recv`]. (Inlined, as `poll_live` is: two threads of one core that live on few instructions pass a
    /// third of the messages if this is a call, whose result goes through memory.)
    #[inline(always)]
    pub(crate) fn poll(&mut self) -> Result<Option<Taken>> {
        self.check_fork()?;
        if self.is_halted() {
            return Ok(None);
        }
        if self.is_plain { self.poll_live() } else { self.poll_others() }
    }

    #[inline(never)]
    fn poll_others(&mut self) -> Result<Option<Taken>> {
        if self.synced {
            return self.poll_synced();
        }
        Err(Error::Invalid(
            "recv by a reader with markers: expected next_live, which hands out the edges too".to_owned(),
        ))
    }

    #[inline(always)]
    fn poll_live(&mut self) -> Result<Option<Taken>> {
        if self.given >= LOOK_AFTER {
            self.given = 0;
            self.turn += 1;
            self.keep_up()?;
        }
        loop {
            let count = self.lanes.len();
            for _ in 0..count {
                let index = if self.turn < count { self.turn } else { 0 };
                let lane = &mut self.lanes[index];
                let frame = match lane.glance() {
                    Glance::Frame(frame) => frame,
                    Glance::Empty => {
                        self.turn = index + 1;
                        continue;
                    }
                    Glance::Other => match self.look(index)? {
                        Some(frame) => frame,
                        None => continue,
                    },
                };
                let lane = &mut self.lanes[index];
                let sequence = lane.take(&frame);
                self.reactions.note(lane.row(), frame.version);
                self.turn = index;
                self.given += 1 + frame.len / HEAVY;
                return Ok(Some(Taken { lane: index, frame, sequence, era: 0 }));
            }
            if !self.keep_up()? {
                return Ok(None);
            }
        }
    }

    /// What is next in a lane, when that is nothing usual.
    #[inline(never)]
    fn look(&mut self, index: usize) -> Result<Option<Frame>> {
        match self.lanes[index].next_live() {
            Ok(Next::Frame(frame)) => return Ok(Some(frame)),
            Ok(Next::Nothing) => self.turn = index + 1,
            Ok(Next::Lost(count)) => return Err(self.lanes[index].lagged(count)),
            Ok(Next::Drained) => return Err(self.close(index)),
            Err(error) => {
                self.remove(index);
                return Err(error);
            }
        }
        Ok(None)
    }

    /// A lane has come to its end: the error that says so. It stays, if the zone keeps what is gone and this reader may go back.
    #[cold]
    fn close(&mut self, index: usize) -> Error {
        let closed = self.lanes[index].closed();
        if self.synced && self.keep_eras > 0 {
            self.lanes[index].tell(self.era);
        } else {
            self.remove(index);
        }
        Error::Closed(Box::new(closed))
    }

    fn remove(&mut self, index: usize) {
        let lane = self.lanes.remove(index);
        self.whole_from = self.whole_from.max(lane.whole_without(self.zone.view(), self.era));
        self.cuts_of = 0;
        give_up(&self.link, self.id, lane.entry);
    }

    /// Gives up the lanes that the zone keeps no longer.
    #[cold]
    fn give_up_the_past(&mut self, generation: u64) {
        let keep = self.keep_eras;
        while let Some(index) =
            self.lanes.iter().position(|lane| lane.told().is_some_and(|era| era + keep < generation))
        {
            self.remove(index);
        }
    }

    /// Whether it takes whole eras.
    pub(crate) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(crate) fn lane_info(&self, taken: &Taken) -> &LaneInfo {
        &self.lanes[taken.lane].info
    }

    pub(crate) fn era_of(&self, taken: &Taken) -> Option<u64> {
        if taken.era != 0 || !self.epoch.is_current() {
            return Some(taken.era).filter(|&era| era != 0);
        }
        sequencer::era_of(self.zone.view(), self.lanes[taken.lane].row(), taken.frame.version)
    }

    /// Copies a message out; `buffer` is as long as it.
    #[inline]
    pub(crate) fn copy_payload(&self, taken: &Taken, buffer: &mut [u8]) -> Result<()> {
        self.check_fork()?;
        self.lanes[taken.lane].copy_payload(&taken.frame, buffer);
        Ok(())
    }

    /// Where the message is. Valid to read from until it is released, though its writer may be writing there.
    #[cfg(feature = "capi")]
    #[inline(always)]
    pub(crate) fn payload_pointer(&self, taken: &Taken) -> *const u8 {
        let lane = &self.lanes[taken.lane];
        match lane.copy_of(&taken.frame) {
            Some(copy) => copy.as_ptr(),
            None => lane.map.view().ring.payload(taken.frame.payload).as_ptr(),
        }
    }

    /// The message in place.
    ///
    /// # Safety
    /// Nobody writes these bytes while the slice lives.
    pub(crate) unsafe fn payload_in_place(&self, taken: &Taken) -> &[u8] {
        if !self.epoch.is_current() {
            return &[];
        }
        let lane = &self.lanes[taken.lane];
        match lane.copy_of(&taken.frame) {
            Some(copy) => copy,
            // SAFETY: passed on to our caller.
            None => unsafe { lane.map.payload(taken.frame.payload, taken.frame.len as usize) },
        }
    }

    /// Done with a message.
    #[inline(always)]
    pub(crate) fn release(&mut self, taken: &Taken) {
        if self.epoch.is_current() {
            self.lanes[taken.lane].release(&self.bells, self.fence);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // In a forked child these are the parent's.
        if self.epoch.is_current() {
            self.link.close_inbox(self.id);
            // Without a broker, the entries go with the process.
            let _ = self.link.call(Ask::CloseReader { reader: self.id });
        }
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("synced", &self.synced).field("lanes", &self.lanes.len()).finish_non_exhaustive()
    }
}

//! Reading: several channels of a zone, live or by whole eras.

use super::era::Era;
use super::lanes::{Gone, LaneIn, Next, Taken, cut_of, give_up};
use super::link::{Link, Parcel, take_fds, unexpected};
use super::message::Message;
use super::payload::Payload;
use super::reactions::Reactions;
use super::waiting::{self, Deadline};
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::layout::{meeting, zone};
use crate::os::fork::Epoch;
use crate::os::mapping::{Access, MeetingMap, Shared, ZoneMap};
use crate::ring::{bell, order, sequencer};
use crate::wire::{Ask, LaneInfo, Tell, TypeDesc, Wanted};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// How often a reader follows a generation ring that turns faster than it can look before it lets its caller breathe.
const ERA_TRIES: u32 = 64;
/// The roster before anything was announced in the zone. A new reader has this one, whatever the zone's is when it maps it: a
/// lane that was announced between the broker's answers and that moment lies unread in its inbox.
const NEVER_LOOKED: u64 = 0;
/// A live reader that always has something looks for new lanes after so many messages.
const LOOK_AFTER: u32 = 64;
/// A take-in of this many messages may have been cut short by a full socket: ask the broker whether that was all.
const LARGE_TAKE_IN: usize = 3;

/// Where a new reader starts in the lanes that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Start {
    /// With what comes after it has joined.
    #[default]
    Latest,
    /// With all that the lanes still hold; a synced reader with the oldest era that is still whole.
    Oldest,
}

/// Describes a reader to open; from [`Zone::reader`].
#[derive(Debug)]
#[must_use = "nothing happens before `open`"]
pub struct ReaderBuilder {
    zone: Zone,
    name: String,
    channels: Vec<Wanted>,
    must_exist: bool,
    synced: bool,
    start: Start,
}

impl ReaderBuilder {
    pub(crate) fn new(zone: Zone, name: &str) -> Self {
        let name = name.to_owned();
        ReaderBuilder { zone, name, channels: Vec::new(), must_exist: false, synced: false, start: Start::default() }
    }

    /// Subscribes to a channel of messages of `P`: a type, a slice of it, or `[u8]` for bytes. The channel need not exist yet.
    pub fn channel<P: Payload + ?Sized>(mut self, channel: &str) -> Self {
        self.channels.push(Wanted { channel: channel.to_owned(), ty: Some(P::type_desc()) });
        self
    }

    /// Subscribes to a channel of whatever type.
    pub fn any(mut self, channel: &str) -> Self {
        self.channels.push(Wanted { channel: channel.to_owned(), ty: None });
        self
    }

    /// Subscribes to a channel of the type described.
    pub fn described(mut self, channel: &str, ty: TypeDesc) -> Self {
        self.channels.push(Wanted { channel: channel.to_owned(), ty: Some(ty) });
        self
    }

    /// Refuses channels that do not exist yet; without this the reader waits for their writers.
    pub fn must_exist(mut self) -> Self {
        self.must_exist = true;
        self
    }

    /// Whole sealed eras, in the same order for every reader. Without this: each message as soon as it is committed.
    pub fn synced(mut self) -> Self {
        self.synced = true;
        self
    }

    /// Where to start in lanes that are there already.
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Joins. When this returns, nothing that is published afterwards can be missed.
    ///
    /// # Errors
    /// A channel has another type; a bad name; a channel that does not exist, if it must; quotas; no broker.
    pub fn open(self) -> Result<Reader> {
        Reader::open(self)
    }
}

/// Reads several channels of a zone. Send, not Sync: one thread at a time.
///
/// A *live* reader is handed each message as soon as it is committed, in order of each lane. A *synced* reader is handed whole eras, as
/// they are sealed. Writers do not overwrite what a reader has not taken: one that stops taking holds them up ([`Error::Full`]).
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
    synced: bool,
    fence: bell::Fence,
    /// Bells' bits: the channels that we sleep for.
    mask: u32,
    /// Sorted by channel and row: the order inside an era.
    lanes: Vec<LaneIn>,
    /// The roster at the last take-in, or [`NEVER_LOOKED`].
    roster: u64,
    /// Lanes that came during an era; they join before the next.
    waiting: VecDeque<Parcel>,
    /// Live: where the round robin goes on. Synced: the lane that the era is at.
    turn: usize,
    /// Live: messages handed out since the roster was looked at.
    given: u32,
    /// Synced: the last era begun.
    era: u64,
    /// Synced: the lanes' cuts of one era.
    cuts: Vec<Option<u64>>,
    /// Synced: an era is being handed out.
    in_era: bool,
    /// Synced: parts of the era that was open when this reader came are missing, so the next may not be whole.
    first: bool,
}

impl Reader {
    fn open(builder: ReaderBuilder) -> Result<Reader> {
        let ReaderBuilder { zone, name, channels, must_exist, synced, start } = builder;
        let link = zone.link().clone();
        let id = link.send(Ask::OpenReader {
            zone: zone.name().to_owned(),
            options: zone.options(),
            name,
            channels,
            must_exist,
            latest: start == Start::Latest,
            synced,
        })?;
        let opened = Self::join(&link, id, synced, start);
        link.forget(id);
        opened
    }

    /// The answers to `OpenReader`: the segments, each lane there is, and that it was all.
    fn join(link: &Arc<Link>, id: u32, synced: bool, start: Start) -> Result<Reader> {
        let patience = Duration::from_secs(30);
        let (told, fds) = link.next_reply(id, patience)?;
        let Tell::Reader { zone: number, reader, geometry, generation } = told else {
            return Err(unexpected("Reader", &told));
        };
        let [zone_fd, meeting_fd] = take_fds(fds)?;
        let zone =
            ZoneMap::new(zone_fd.as_fd(), geometry, Access::ReadOnly).map_err(Error::io("mapping the zone segment"))?;
        let meeting =
            MeetingMap::new(meeting_fd.as_fd(), geometry.entries).map_err(Error::io("mapping the meeting segment"))?;
        let mut reader = Reader {
            epoch: link.epoch(),
            reactions: link.reactions(number, geometry.writers as usize)?,
            link: link.clone(),
            roster: NEVER_LOOKED,
            header: zone.header(),
            bells: meeting.bells(),
            zone,
            meeting,
            id: reader,
            synced,
            fence: waiting::ringer_fence(),
            mask: 0,
            lanes: Vec::new(),
            waiting: VecDeque::new(),
            turn: 0,
            given: 0,
            era: 0,
            cuts: Vec::new(),
            in_era: false,
            first: true,
        };
        loop {
            match link.next_reply(id, patience)? {
                (Tell::LaneAdded { entry, lane, version, .. }, fds) => reader.add_lane(lane, entry, version, fds)?,
                (Tell::ReaderOpen { .. }, _) => break,
                (other, _) => return Err(unexpected("LaneAdded or ReaderOpen", &other)),
            }
        }
        reader.seek(start, generation)?;
        Ok(reader)
    }

    /// Goes to where this reader starts. `joined`: the generation when the broker joined it. Not the present one: a writer that has
    /// waited for this reader may have published and sealed since.
    fn seek(&mut self, start: Start, joined: u64) -> Result<()> {
        match (start, self.synced) {
            (Start::Latest, true) => self.seek_next_era(joined),
            (Start::Latest, false) => self.skip_to_latest(),
            (Start::Oldest, true) => self.seek_oldest_era(),
            (Start::Oldest, false) => Ok(()),
        }
    }

    /// Goes behind what was committed when this reader joined.
    fn skip_to_latest(&mut self) -> Result<()> {
        for lane in &mut self.lanes {
            lane.skip_to_latest()?;
            lane.release(&self.bells, self.fence);
        }
        Ok(())
    }

    /// Goes to the beginning of the era after `joined`. If a lane has lost a part of it, the first whole one is found as eras
    /// are sealed. If the zone has forgotten where it began, what came after this reader is merged into the first one.
    fn seek_next_era(&mut self, joined: u64) -> Result<()> {
        self.era = joined;
        match self.skip_before(joined + 1)? {
            Before::Whole => self.first = false,
            Before::Parts => {}
            Before::Gone => {
                self.skip_to_latest()?;
                self.first = false;
            }
        }
        Ok(())
    }

    /// Goes to the beginning of the oldest era of which nothing is missing. If there is none yet (a lane has lost a part of the era
    /// that is open now), the first whole one is found as eras are sealed.
    fn seek_oldest_era(&mut self) -> Result<()> {
        for _ in 0..ERA_TRIES {
            let generation = self.zone.view().generation();
            let oldest = match sequencer::oldest_era(self.zone.view(), generation) {
                1 => 1,
                // The era before has to be known.
                oldest => oldest + 1,
            };
            self.era = generation;
            let mut gone = false;
            for era in oldest..=generation + 1 {
                match self.skip_before(era)? {
                    Before::Whole => {
                        (self.era, self.first) = (era - 1, false);
                        return Ok(());
                    }
                    Before::Parts => {}
                    Before::Gone => gone = true,
                }
            }
            if !gone {
                return Ok(());
            }
        }
        Ok(())
    }

    fn add_lane(&mut self, info: LaneInfo, entry: u32, version: u64, fds: Vec<OwnedFd>) -> Result<()> {
        let lane = LaneIn::open(info, entry, version, fds, &self.zone, &self.meeting)
            .inspect_err(|_| give_up(&self.link, self.id, entry))?;
        self.mask |= bell::bit(u64::from(lane.info.channel));
        let key = |lane: &LaneIn| (lane.info.channel, lane.info.row, lane.info.lane);
        let place = self.lanes.partition_point(|other| key(other) < key(&lane));
        self.lanes.insert(place, lane);
        Ok(())
    }

    /// Takes in lanes that have come or ended, if the roster says that there may be some.
    #[inline(always)]
    fn keep_up(&mut self) -> Result<bool> {
        let roster = self.header.roster.0.load(order::ROSTER_SEE.get());
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
                Tell::LaneAdded { entry, lane, version, .. } => self.add_lane(lane, entry, version, fds)?,
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

    /// The next message, if there is one now. Synced: of the era begun, or of the next sealed one.
    ///
    /// # Errors
    /// [`Error::Closed`] once for each lane whose writer has gone, after its last message (the reader goes on with others, and
    /// with those to come). [`Error::Corrupt`] for a lane that holds what no sound writer writes; it is given up, the rest goes on.
    /// [`Error::Forked`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<Option<Message<'_>>> {
        Ok(self.poll()?.map(|taken| Message::new(self, taken)))
    }

    /// The next message; spins until there is one. For a core of one's own: nothing is quicker.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`Reader::try_recv`].
    pub fn spin_recv(&mut self, timeout: Duration) -> Result<Message<'_>> {
        let taken = self.spin_for(timeout, Self::poll)?;
        Ok(Message::new(self, taken))
    }

    /// The next message; sleeps until there is one.
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
        let begun = self.begin_next_era()?;
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

    /// The next sealed era; sleeps until there is one.
    ///
    /// # Errors
    /// [`Error::Timeout`]; else as [`Reader::try_era`].
    pub fn next_era(&mut self, timeout: Duration) -> Result<Era<'_>> {
        let (number, merged) = self.wait_for(timeout, Self::begin_next_era)?;
        Ok(Era::new(self, number, merged))
    }

    /// How many lanes this reader has: writer x channel, those that ended but are not read to their end included.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The number of the zone's last sealed era; 0 before the first.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn generation(&self) -> Result<u64> {
        self.check_fork()?;
        Ok(self.zone.view().generation())
    }

    pub(crate) fn spin_for<R>(
        &mut self,
        timeout: Duration,
        mut poll: impl FnMut(&mut Self) -> Result<Option<R>>,
    ) -> Result<R> {
        let mut deadline = None;
        loop {
            // The clock is looked at rarely: it costs as much as many polls.
            for _ in 0..256 {
                if let Some(found) = poll(self)? {
                    return Ok(found);
                }
                std::hint::spin_loop();
            }
            if deadline.get_or_insert_with(|| Deadline::after(timeout)).has_passed() {
                return Err(Error::Timeout);
            }
        }
    }

    pub(crate) fn wait_for<R>(
        &mut self,
        timeout: Duration,
        mut poll: impl FnMut(&mut Self) -> Result<Option<R>>,
    ) -> Result<R> {
        let deadline = Deadline::after(timeout);
        if let Some(found) = waiting::spin(|| poll(self))? {
            return Ok(found);
        }
        loop {
            if deadline.has_passed() {
                return Err(Error::Timeout);
            }
            let bells = &self.bells;
            let (bell, mask) =
                if self.synced { (&bells.synced.0, u32::MAX) } else { (&bells.live.0, self.sleep_mask()) };
            let expected = waiting::announce(bell, mask);
            if let Some(found) = poll(self)? {
                return Ok(found);
            }
            let bells = &self.bells;
            let bell = if self.synced { &bells.synced.0 } else { &bells.live.0 };
            waiting::sleep(bell, expected, deadline);
            if let Some(found) = poll(self)? {
                return Ok(found);
            }
        }
    }

    /// The bits to sleep on: with no lane yet, any.
    fn sleep_mask(&self) -> u32 {
        if self.mask == 0 { u32::MAX } else { self.mask }
    }

    /// The next message, as [`Reader::try_recv`].
    #[inline]
    pub(crate) fn poll(&mut self) -> Result<Option<Taken>> {
        self.check_fork()?;
        if self.synced { self.poll_synced() } else { self.poll_live() }
    }

    #[inline]
    fn poll_live(&mut self) -> Result<Option<Taken>> {
        if self.given >= LOOK_AFTER {
            self.given = 0;
            self.keep_up()?;
        }
        loop {
            let count = self.lanes.len();
            for _ in 0..count {
                let index = if self.turn < count { self.turn } else { 0 };
                let lane = &mut self.lanes[index];
                self.turn = index + 1;
                match lane.next_live() {
                    Ok(Next::Frame(frame)) => {
                        let sequence = lane.take(&frame);
                        self.reactions.note(lane.row(), frame.version);
                        self.given += 1;
                        return Ok(Some(Taken { lane: index, frame, sequence, era: 0 }));
                    }
                    Ok(Next::Nothing) => {}
                    Ok(Next::Drained) => return Err(self.close(index)),
                    Err(error) => {
                        self.remove(index);
                        return Err(error);
                    }
                }
            }
            if !self.keep_up()? {
                return Ok(None);
            }
        }
    }

    /// A lane has come to its end: the error that says so.
    #[cold]
    fn close(&mut self, index: usize) -> Error {
        Error::Closed(Box::new(self.remove(index).closed()))
    }

    fn remove(&mut self, index: usize) -> LaneIn {
        let lane = self.lanes.remove(index);
        give_up(&self.link, self.id, lane.entry);
        lane
    }

    fn poll_synced(&mut self) -> Result<Option<Taken>> {
        loop {
            if self.in_era
                && let Some(taken) = self.next_of_era()?
            {
                return Ok(Some(taken));
            }
            if self.begin_next_era()?.is_none() {
                return Ok(None);
            }
        }
    }

    /// The next message of the era begun; `None` when it is through.
    pub(crate) fn next_of_era(&mut self) -> Result<Option<Taken>> {
        self.check_fork()?;
        while self.in_era && self.turn < self.lanes.len() {
            let lane = &mut self.lanes[self.turn];
            match lane.next_sealed() {
                Ok(Next::Frame(frame)) => {
                    let sequence = lane.take(&frame);
                    return Ok(Some(Taken { lane: self.turn, frame, sequence, era: self.era }));
                }
                Ok(Next::Nothing | Next::Drained) => self.turn += 1,
                Err(error) => {
                    self.remove(self.turn);
                    return Err(error);
                }
            }
        }
        self.in_era = false;
        Ok(None)
    }

    pub(crate) fn check_synced(&self) -> Result<()> {
        self.check_fork()?;
        if self.synced {
            return Ok(());
        }
        Err(Error::Invalid("a live reader has no eras: open it as a synced one".to_owned()))
    }

    /// Ends the era begun and begins the next one that is sealed and whole: its number and whether it is merged.
    pub(crate) fn begin_next_era(&mut self) -> Result<Option<(u64, bool)>> {
        self.check_synced()?;
        self.finish_era()?;
        for _ in 0..ERA_TRIES {
            let generation = self.zone.view().generation();
            // After the generation: whoever has committed something in this era has announced its lane before.
            let news = self.keep_up()?;
            if let Some(index) = self.lanes.iter().position(|lane| lane.is_drained()) {
                return Err(self.close(index));
            }
            if generation == self.era {
                if news {
                    continue;
                }
                return Ok(None);
            }
            match self.begin_era_of(generation)? {
                Begun::Era { merged } => return Ok(Some((self.era, merged))),
                Begun::Skipped | Begun::Gone => {}
            }
        }
        Ok(None)
    }

    /// Skips what is left of the era begun, and leaves it behind.
    fn finish_era(&mut self) -> Result<()> {
        if !self.in_era {
            return Ok(());
        }
        while let Some(_skipped) = self.next_of_era()? {}
        for lane in &mut self.lanes {
            lane.release(&self.bells, self.fence);
        }
        Ok(())
    }

    /// Begins the era after the last one, or the oldest that the generation ring still knows.
    fn begin_era_of(&mut self, generation: u64) -> Result<Begun> {
        let oldest = sequencer::oldest_era(self.zone.view(), generation);
        let mut era = (self.era + 1).max(oldest);
        let mut merged = era != self.era + 1;
        if self.first {
            // The cuts of the era before have to be known, to tell whether this one is whole.
            if era == oldest && oldest > 1 {
                era += 1;
            }
            merged = false;
            match self.skip_before(era)? {
                Before::Whole => {}
                Before::Parts => {
                    self.era = era;
                    return Ok(Begun::Skipped);
                }
                Before::Gone => return Ok(Begun::Gone),
            }
        }
        let Ok(()) = self.load_cuts(era) else { return Ok(Begun::Gone) };
        for (lane, cut) in self.lanes.iter_mut().zip(&self.cuts) {
            lane.set_cut(*cut);
        }
        (self.era, self.in_era, self.turn, self.first) = (era, true, 0, false);
        Ok(Begun::Era { merged })
    }

    /// The cuts of an era for all our lanes.
    fn load_cuts(&mut self, era: u64) -> Result<(), Gone> {
        let zone = self.zone.view();
        self.cuts.clear();
        for lane in &self.lanes {
            self.cuts.push(if era == 0 { Some(0) } else { cut_of(zone, era, lane.row())? });
        }
        Ok(())
    }

    /// Goes to the beginning of `era` in every lane, and finds out whether anything of it is missing.
    fn skip_before(&mut self, era: u64) -> Result<Before> {
        let Ok(()) = self.load_cuts(era - 1) else { return Ok(Before::Gone) };
        let mut whole = true;
        for (lane, cut) in self.lanes.iter_mut().zip(&self.cuts) {
            let cut = cut.unwrap_or(0);
            lane.skip_to_cut(cut)?;
            lane.release(&self.bells, self.fence);
            whole &= lane.is_whole_after(cut);
        }
        Ok(if whole { Before::Whole } else { Before::Parts })
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
        self.lanes[taken.lane].map.copy_payload(taken.frame.payload, buffer);
        Ok(())
    }

    /// Where the message is. Valid to read from until it is released, though its writer may be writing there.
    #[cfg(feature = "capi")]
    #[inline(always)]
    pub(crate) fn payload_pointer(&self, taken: &Taken) -> *const u8 {
        self.lanes[taken.lane].map.view().ring.payload(taken.frame.payload).as_ptr()
    }

    /// The message in place.
    ///
    /// # Safety
    /// Nobody writes these bytes while the slice lives.
    pub(crate) unsafe fn payload_in_place(&self, taken: &Taken) -> &[u8] {
        if !self.epoch.is_current() {
            return &[];
        }
        // SAFETY: passed on to our caller.
        unsafe { self.lanes[taken.lane].map.payload(taken.frame.payload, taken.frame.len as usize) }
    }

    /// Done with a message.
    #[inline(always)]
    pub(crate) fn release(&mut self, taken: &Taken) {
        if self.epoch.is_current() {
            self.lanes[taken.lane].release(&self.bells, self.fence);
        }
    }
}

/// What came of looking at an era.
enum Begun {
    /// It is being handed out.
    Era { merged: bool },
    /// Parts of it were gone when this reader came.
    Skipped,
    /// The generation ring went on meanwhile: look again.
    Gone,
}

/// What is known of the time before the first era.
enum Before {
    Whole,
    Parts,
    Gone,
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

//! The lanes of one reader, and its place in each.

mod guard;

use super::link::{Link, take_fds};
use super::waiting;
use crate::error::{Closed, Error, Result};
use crate::layout::lane::PAGES;
use crate::layout::meeting::{self, Entry};
use crate::layout::zone::Row;
use crate::os::mapping::{Access, LaneMap, MeetingMap, Shared, ZoneMap};
use crate::ring::floor::{join_again, leave_behind};
use crate::ring::lane::{Frame, Glance, Peek, Reader as Place, Start as Mark, behind, starts};
use crate::ring::view::Zone;
use crate::ring::{bell, order, recovery, sequencer};
use crate::sync::prefetch_for_read;
use crate::wire::{Ask, LaneInfo};
use guard::Guard;
use std::os::fd::{AsFd, OwnedFd};

/// A message that a reader has taken: where it is, and what it is. Its lane keeps it until it is released.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) lane: usize,
    pub(crate) frame: Frame,
    pub(crate) sequence: u64,
    /// The era that it was handed out in; 0 for a live reader.
    pub(crate) era: u64,
}

/// One lane as its reader sees it.
pub(crate) struct LaneIn {
    pub(crate) info: LaneInfo,
    pub(crate) map: LaneMap,
    pub(crate) entry: u32,
    /// This reader's entry for the lane.
    own: Shared<Entry>,
    /// The writer's row.
    writer: Shared<Row>,
    place: Place,
    /// The page that our cursor is in: leaving it may make room.
    page: u64,
    /// log2 of the page size.
    page_shift: u32,
    /// The lane's bit on the bell for room.
    mask: bell::Mask,
    /// The version of the last commit when this reader joined.
    joined: u64,
    /// Of the first era only: the version of the last commit that was gone before this reader came.
    missed: u64,
    /// The cut of the era being handed out; `None`: the era has nothing of this lane.
    cut: Option<u64>,
    /// The broker has said that the writer is gone; whether it died.
    ended: Option<bool>,
    /// The last commit of which a message was taken.
    last: u64,
    /// Readers with markers: the last commit that is known to be in the open era.
    pub(crate) known: u64,
    /// What this reader has not taken of what lies before its place: the messages, and the bytes of ring.
    skipped: Place,
    /// The writer may pass this reader: `None` if it never does.
    guard: Option<Box<Guard>>,
    /// The era at which the end of this lane was told. It stays as long as the zone keeps what is gone.
    told: Option<u64>,
}

/// Where a reader was in a lane.
pub(crate) struct Saved {
    place: Place,
    missed: u64,
}

/// What is next in a lane.
pub(crate) enum Next {
    /// Nothing now.
    Nothing,
    /// A message.
    Frame(Frame),
    /// Nothing ever again: the writer is gone and all was read.
    Drained,
    /// So many messages were overwritten before they were read.
    Lost(u64),
}

impl LaneIn {
    /// Maps a lane that the broker has announced. The entry keeps all at or after its cursor for us.
    pub(crate) fn open(
        info: LaneInfo,
        entry: u32,
        joined: u64,
        fds: Vec<OwnedFd>,
        zone: &ZoneMap,
        meeting: &MeetingMap,
    ) -> Result<LaneIn> {
        let [fd] = take_fds(fds)?;
        let (Some(own), Some(writer)) = (meeting.entry(entry), zone.row(info.row)) else {
            let LaneInfo { row, .. } = info;
            return Err(Error::Corrupt(format!("entry {entry} and row {row}: the zone has fewer")));
        };
        let doing = || format!("mapping the lane of `{}` in channel `{}`", info.writer_name, info.channel_name);
        let map = LaneMap::new(fd.as_fd(), info.capacity, Access::ReadOnly).map_err(Error::io(doing()))?;
        let cursor = own.cursor.load(order::RELAXED.get());
        let guard = Guard::of(&info, entry, zone)?;
        let is_lossy = guard.as_ref().is_some_and(|guard| guard.is_lossy());
        let Mark { reader: place, after: missed } = if cursor == 0 || is_lossy {
            // From the beginning; in a lossy lane that is looked for below.
            Mark::default()
        } else {
            // The mark there was seen by the broker before it told us of the lane.
            let first = starts(map.view(), cursor).next().filter(|mark| mark.reader.position == cursor);
            first.ok_or_else(|| Error::Corrupt(format!("{}: no page mark at {cursor}", doing())))?
        };
        let page_shift = (info.capacity / PAGES).trailing_zeros();
        let mask = bell::Mask::of(bell::bit(info.lane));
        let page = cursor >> page_shift;
        let mut lane = LaneIn {
            info,
            map,
            entry,
            own,
            writer,
            place,
            page,
            page_shift,
            mask,
            joined,
            missed,
            cut: None,
            ended: None,
            last: 0,
            known: 0,
            skipped: place,
            guard,
            told: None,
        };
        lane.own.skipped.store(place.position, order::RELAXED.get());
        // What is lost of a lane that this reader has had from its beginning shows when it looks.
        if is_lossy && cursor != 0 {
            lane.begin_at_the_floor()?;
        }
        Ok(lane)
    }

    pub(crate) fn row(&self) -> usize {
        self.info.row as usize
    }

    pub(crate) fn end_with(&mut self, died: bool) {
        self.ended = Some(died);
    }

    pub(crate) fn closed(&self) -> Closed {
        Closed {
            channel: self.info.channel_name.clone(),
            writer: self.info.row,
            name: self.info.writer_name.clone(),
            died: self.ended.unwrap_or(true),
        }
    }

    /// What is next, if that is one of the usual things; else [`LaneIn::next_live`] says.
    #[inline(always)]
    pub(crate) fn glance(&self) -> Glance {
        if self.guard.is_some() {
            return Glance::Other;
        }
        match self.place.glance(self.map.view(), self.info.max_payload) {
            Glance::Empty if self.ended.is_some() => Glance::Other,
            glance => glance,
        }
    }

    /// The next message that is committed.
    pub(crate) fn next_live(&mut self) -> Result<Next> {
        if self.guard.is_some() {
            return self.next_guarded(Self::judge_live);
        }
        self.judge_live(self.place.peek(self.map.view(), self.info.max_payload))
    }

    #[inline(always)]
    fn judge_live(&self, peek: Peek) -> Result<Next> {
        match peek {
            Peek::Frame(frame) if !frame.joint => Ok(Next::Frame(frame)),
            Peek::Frame(frame) => {
                let committed = self.writer.version.load(order::COMMIT_SEE.get()) >= frame.version;
                // The end after the version: a version raised by the row's next owner comes after the end.
                if self.place.position >= self.end() {
                    Ok(self.nothing())
                } else if committed {
                    Ok(Next::Frame(frame))
                } else {
                    Ok(Next::Nothing)
                }
            }
            Peek::Empty => Ok(self.nothing()),
            Peek::Skip(_) | Peek::Corrupt(_) => Err(self.corrupt(stray(peek).unwrap_or_default())),
        }
    }

    /// The next message of the era whose cut was set.
    #[inline(always)]
    pub(crate) fn next_sealed(&mut self) -> Result<Next> {
        if self.cut.is_none() {
            return Ok(Next::Nothing);
        }
        if self.guard.is_some() {
            return self.next_sealed_guarded();
        }
        self.judge_sealed(self.place.peek(self.map.view(), self.info.max_payload))
    }

    #[inline(always)]
    fn judge_sealed(&self, peek: Peek) -> Result<Next> {
        let cut = self.cut.unwrap_or(0);
        match peek {
            Peek::Frame(frame) if frame.version <= cut && self.place.position < self.end() => Ok(Next::Frame(frame)),
            Peek::Frame(_) | Peek::Empty => Ok(Next::Nothing),
            Peek::Skip(_) | Peek::Corrupt(_) => Err(self.corrupt(stray(peek).unwrap_or_default())),
        }
    }

    /// Whether the writer is gone and all it had committed was read.
    #[inline(always)]
    pub(crate) fn is_drained(&self) -> bool {
        self.ended.is_some() && self.place.position >= self.end()
    }

    #[inline(always)]
    fn nothing(&self) -> Next {
        if self.is_drained() { Next::Drained } else { Next::Nothing }
    }

    #[inline(always)]
    fn end(&self) -> u64 {
        recovery::end(&self.own)
    }

    #[cold]
    fn corrupt(&self, what: &str) -> Error {
        let LaneInfo { channel_name, writer_name, .. } = &self.info;
        Error::Corrupt(format!(
            "lane of `{writer_name}` in channel `{channel_name}`: {what} at {}",
            self.place.position
        ))
    }

    /// Asks for the next message's line: it travels while something else is looked at.
    #[inline(always)]
    pub(crate) fn prefetch(&self) {
        prefetch_for_read(self.map.view().ring.word(self.place.position));
    }

    /// Takes the message that was next; its sequence number.
    #[inline(always)]
    pub(crate) fn take(&mut self, frame: &Frame) -> u64 {
        let sequence = self.place.sequence;
        self.place.pass(frame);
        self.last = frame.version;
        sequence
    }

    /// Whether its end is to be told.
    #[inline(always)]
    pub(crate) fn is_to_be_told(&self) -> bool {
        self.told.is_none() && self.is_drained()
    }

    /// Its end was told at this era.
    pub(crate) fn tell(&mut self, era: u64) {
        self.told = Some(era);
    }

    /// The era at which its end was told.
    pub(crate) fn told(&self) -> Option<u64> {
        self.told
    }

    /// The first era of which nothing of this lane is missing once it is given up; `era`: the last one begun.
    pub(crate) fn whole_without(&self, zone: Zone<'_>, era: u64) -> u64 {
        if self.last == 0 && self.missed == 0 {
            return 0;
        }
        let last = self.last.max(self.missed);
        sequencer::era_of(zone, self.row(), last).unwrap_or(era) + 1
    }

    /// The reader of this lane has done with the era.
    #[inline(always)]
    pub(crate) fn done_with(&self, era: u64) {
        self.own.taken.store(era, order::TAKEN_SET.get());
    }

    /// Goes back to the oldest message that the lane holds, and keeps it from then on; where the reader was.
    pub(crate) fn go_to_floor(&mut self) -> Result<Saved> {
        let saved = Saved { place: self.place, missed: self.missed };
        if self.is_lossy() {
            self.begin_at_the_floor()?;
            return Ok(saved);
        }
        let overrun = |_| Error::Timeout;
        let cursor = join_again(self.map.view(), &self.own).map_err(overrun)?;
        let first = starts(self.map.view(), cursor).next().filter(|mark| mark.reader.position == cursor);
        let Some(Mark { reader, after }) = first else {
            self.go_to(&saved);
            return Err(self.corrupt("no page mark at the floor"));
        };
        self.jump(reader);
        self.missed = if reader.position == 0 { 0 } else { after };
        Ok(saved)
    }

    /// Goes on where the reader was.
    pub(crate) fn go_to(&mut self, saved: &Saved) {
        self.jump(saved.place);
        self.missed = saved.missed;
        leave_behind(&self.own, self.place.position);
    }

    /// Leaves everything taken behind: the writer may overwrite it.
    #[inline(always)]
    pub(crate) fn release(&mut self, bells: &meeting::Header, fence: bell::Fence) {
        leave_behind(&self.own, self.place.position);
        // Relaxed: for whoever counts, not for whoever acts.
        self.own.messages.store(self.place.sequence.wrapping_sub(self.skipped.sequence), order::RELAXED.get());
        let page = self.place.position >> self.page_shift;
        if page != self.page {
            self.page = page;
            bell::ring(&bells.room.0, self.mask, fence, waiting::wake);
        }
    }

    /// Goes on somewhere else: what lies between is not taken.
    fn jump(&mut self, place: Place) {
        let Place { position, sequence } = self.place;
        self.skipped.position = self.skipped.position.wrapping_add(place.position).wrapping_sub(position);
        self.skipped.sequence = self.skipped.sequence.wrapping_add(place.sequence).wrapping_sub(sequence);
        self.place = place;
        self.own.skipped.store(self.skipped.position, order::RELAXED.get());
    }

    /// Its reader goes to sleep.
    pub(crate) fn count_sleep(&self) {
        // Relaxed: for whoever counts. This reader is the only one that stores it.
        let sleeps = self.own.sleeps.load(order::RELAXED.get());
        self.own.sleeps.store(sleeps.wrapping_add(1), order::RELAXED.get());
    }

    /// Sets the cut of the era to hand out.
    pub(crate) fn set_cut(&mut self, cut: Option<u64>) {
        self.cut = cut;
        if let Some(guard) = &mut self.guard {
            guard.forget();
        }
    }

    /// Whether nothing of the era after `before` was gone when this reader came.
    pub(crate) fn is_whole_after(&self, before: u64) -> bool {
        self.missed <= before
    }

    /// Goes on behind all that was committed when this reader joined.
    pub(crate) fn skip_to_latest(&mut self) -> Result<()> {
        self.skip_to_cut(self.joined)
    }

    /// Goes on behind all commits up to `cut`.
    pub(crate) fn skip_to_cut(&mut self, cut: u64) -> Result<()> {
        if self.guard.is_some() {
            return self.skip_guarded(cut);
        }
        let (place, there) = behind(self.map.view(), self.place, cut, self.end(), self.info.max_payload, false);
        if let Some(what) = stray(there) {
            return Err(self.corrupt(what));
        }
        self.jump(place);
        self.set_cut(None);
        Ok(())
    }
}

/// What no sound writer makes in a lane whose readers all hold it up, if this is it.
fn stray(peek: Peek) -> Option<&'static str> {
    match peek {
        Peek::Frame(_) | Peek::Empty => None,
        Peek::Skip(_) => Some("a head to skip what nobody holds"),
        Peek::Corrupt(what) => Some(what),
    }
}

/// The name in a reader's entry.
pub(crate) fn name_in(entry: &Entry) -> String {
    let bytes: Vec<u8> = entry.name.iter().flat_map(|word| word.load(order::RELAXED.get()).to_le_bytes()).collect();
    String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned()
}

/// Tells the broker that a lane is done with.
pub(crate) fn give_up(link: &Link, reader: u64, entry: u32) {
    // Without a broker, the entry goes with the process.
    let _ = link.tell(Ask::LaneDone { reader, entry });
}

/// The lane's cut of an era: `Ok(None)`: the era has nothing of it; `Err`: the generation ring has lost the era.
pub(crate) fn cut_of(zone: Zone<'_>, era: u64, row: usize) -> Result<Option<u64>, Gone> {
    match sequencer::cut(zone, era, row) {
        sequencer::Cut::Version(version) => Ok(Some(version)),
        sequencer::Cut::NoRow => Ok(None),
        sequencer::Cut::Gone => Err(Gone),
    }
}

/// The generation ring does not hold the era any more.
pub(crate) struct Gone;

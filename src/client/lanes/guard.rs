//! Lanes whose writer may pass this reader: lossy ones, and reliable ones that readers can be evicted from.
//!
//! The protocol is in [`crate::ring::hold`]: what this reader pins, it reads in place; if its pins do not count, it copies, and looks
//! whether that was there all the time. A synced reader makes sure of a whole era of a lossy lane before it hands out any of it: in place, if
//! it lies in the pinned page, else it copies all of it.

use super::{LaneIn, Next, Place};
use crate::error::{Code, Error, Evicted, Lagged, Result};
use crate::layout::zone::{ENTRY_EVICTED, ENTRY_PINS};
use crate::os::mapping::{LaneMap, Shared, ZoneMap};
use crate::ring::hold::{Hold, is_passed, still_there};
use crate::ring::lane::{Frame, Peek, Start as Mark, behind};
use crate::ring::order;
use crate::sync::AtomicU64;
use crate::wire::LaneInfo;

/// Looks at a lane whose writer is faster before the caller may breathe.
const TRIES: u32 = 16;
/// The same for one that goes on behind what it is not to have: it has to look at all of that.
const SKIP_TRIES: u32 = 256;
/// In a frame's payload: it is in the copies, at this offset.
const COPIED: u64 = 1 << 63;

/// What a reader knows of a lane whose writer may pass it.
pub(super) struct Guard {
    lossy: bool,
    hold: Hold,
    /// The word of this reader's entry that says whether it was evicted.
    listed: Shared<AtomicU64>,
    copies: Copies,
    /// The writer has passed this reader, and not all eras that this concerns have been told.
    lapped: bool,
    /// What was copied of an era, and how much of that is handed out; `None`: the era is read in place.
    era: Option<(Vec<Frame>, usize)>,
}

impl Guard {
    /// The guard of a lane that has to have one.
    pub(super) fn of(info: &LaneInfo, entry: u32, zone: &ZoneMap) -> Result<Option<Box<Guard>>> {
        if !info.delivery.lossy && info.delivery.evict_ms == 0 {
            return Ok(None);
        }
        let Some(listed) = zone.entry_lane(entry) else {
            return Err(Error::Corrupt(format!("entry {entry}: the zone has fewer")));
        };
        let pins = listed.load(order::RELAXED.get()) & ENTRY_PINS != 0;
        Ok(Some(Box::new(Guard {
            lossy: info.delivery.lossy,
            hold: Hold::new(info.capacity, pins),
            listed,
            copies: Copies::new(info.align),
            lapped: false,
            era: None,
        })))
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.lossy
    }

    /// Forgets the era that was copied.
    pub(super) fn forget(&mut self) {
        self.era = None;
    }
}

/// Whether the writer has passed `position`.
#[inline(always)]
fn passed(lossy: bool, listed: &AtomicU64, map: &LaneMap, position: u64) -> bool {
    if lossy {
        is_passed(map.view(), position)
    } else {
        // Relaxed: ordered by the same fences as the floor.
        listed.load(order::RELAXED.get()) & ENTRY_EVICTED != 0
    }
}

impl LaneIn {
    pub(crate) fn is_lossy(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.lossy)
    }

    /// Whether its writer may pass this reader.
    pub(crate) fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Whether its writer has passed this reader since [`LaneIn::has_caught_up`].
    pub(crate) fn is_lapped(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.lapped)
    }

    /// The next era is whole again.
    pub(crate) fn has_caught_up(&mut self) {
        if let Some(guard) = &mut self.guard {
            guard.lapped = false;
        }
    }

    /// Takes hold of what is at this reader's place; false: the writer has passed it.
    #[inline(always)]
    fn take_hold(&mut self) -> bool {
        let Some(guard) = &mut self.guard else { return true };
        let Guard { lossy, hold, listed, .. } = &mut **guard;
        let position = self.place.position;
        hold.take(&self.own, position, || passed(*lossy, listed, &self.map, position))
    }

    /// Whether what was read at the place since [`LaneIn::take_hold`] was there all the time.
    #[inline(always)]
    fn has_held(&self) -> bool {
        let Some(guard) = &self.guard else { return true };
        guard.hold.held(|| passed(guard.lossy, &guard.listed, &self.map, self.place.position))
    }

    /// Goes on where the writer's floor is now: how many messages are lost; `None`: the floor moves too fast, look again later.
    #[cold]
    fn catch_up(&mut self) -> Result<Option<u64>> {
        let Some(guard) = &mut self.guard else { return Ok(Some(0)) };
        if !guard.lossy {
            let (channel, name) = (self.info.channel_name.clone(), self.info.writer_name.clone());
            return Err(Error::Evicted(Box::new(Evicted { channel, writer: self.info.row, name })));
        }
        let found = guard.hold.rejoin(self.map.view(), &self.own);
        let Some(Mark { reader, after }) = found.map_err(|what| self.corrupt(what))? else { return Ok(None) };
        let Some(guard) = &mut self.guard else { return Ok(Some(0)) };
        // A hostile writer's marks may say anything.
        let lost = reader.sequence.wrapping_sub(self.place.sequence);
        guard.lapped = true;
        self.jump(reader);
        self.missed = after;
        if lost > 0 {
            // Relaxed: for whoever counts. This reader is the only one that stores them.
            let add = |word: &AtomicU64, more: u64| {
                word.store(word.load(order::RELAXED.get()).wrapping_add(more), order::RELAXED.get());
            };
            add(&self.own.lost, lost);
            add(&self.own.lags, 1);
        }
        Ok(Some(lost))
    }

    /// Begins with the oldest message of a lossy lane that is there now: what was before is not this reader's.
    ///
    /// # Errors
    /// [`Error::Timeout`]: the writer overwrites faster than this can look.
    #[cold]
    pub(super) fn begin_at_the_floor(&mut self) -> Result<()> {
        let Some(guard) = &mut self.guard else { return Ok(()) };
        for _ in 0..SKIP_TRIES {
            let found = guard.hold.rejoin(self.map.view(), &self.own).map_err(|what| {
                let LaneInfo { channel_name, writer_name, .. } = &self.info;
                Error::Corrupt(format!("lane of `{writer_name}` in channel `{channel_name}`: {what}"))
            })?;
            if let Some(Mark { reader, after }) = found {
                self.jump(reader);
                self.missed = if reader.position == 0 { 0 } else { after };
                return Ok(());
            }
        }
        Err(Error::Timeout)
    }

    /// What `judge` says of what is next; in place if it is pinned, else a copy.
    #[inline(never)]
    pub(super) fn next_guarded(&mut self, judge: impl Fn(&LaneIn, Peek) -> Result<Next>) -> Result<Next> {
        for _ in 0..TRIES {
            if !self.take_hold() {
                match self.catch_up()? {
                    None => return Ok(Next::Nothing),
                    Some(0) => continue,
                    Some(lost) => return Ok(Next::Lost(lost)),
                }
            }
            let peek = self.place.peek(self.map.view(), self.info.max_payload);
            let next = if let Peek::Skip(_) = peek { Ok(Next::Nothing) } else { judge(self, peek) };
            let next = match next {
                Ok(Next::Frame(frame)) => self.copy_unless_pinned(frame).map(Next::Frame),
                other => other,
            };
            if !self.has_held() {
                continue;
            }
            if let Peek::Skip(position) = peek {
                self.jump(Place { position, ..self.place });
                continue;
            }
            return next;
        }
        Ok(Next::Nothing)
    }

    fn copy_unless_pinned(&mut self, frame: Frame) -> Result<Frame> {
        let Some(guard) = &mut self.guard else { return Ok(frame) };
        if guard.hold.pins() {
            return Ok(frame);
        }
        guard.copies.begin(frame.len.into())?;
        Ok(guard.copies.take(&self.map, &frame))
    }

    /// The next message of the era whose cut was set.
    #[inline(never)]
    pub(super) fn next_sealed_guarded(&mut self) -> Result<Next> {
        if let Some(guard) = &mut self.guard
            && let Some((frames, handed_out)) = &mut guard.era
        {
            let frame = frames.get(*handed_out).copied();
            *handed_out += 1;
            return Ok(frame.map_or(Next::Nothing, Next::Frame));
        }
        self.next_guarded(Self::judge_sealed)
    }

    /// Makes sure that all of the era whose cut was set can be handed out; false: parts of it are lost, and the place is behind them.
    pub(crate) fn secure(&mut self) -> Result<bool> {
        if !self.take_hold() {
            self.catch_up()?;
            return Ok(false);
        }
        let (Some(cut), true) = (self.cut, self.is_lossy()) else { return Ok(true) };
        let (frames, bytes, in_place, damage) = self.walk(cut)?;
        let Some(guard) = &mut self.guard else { return Ok(true) };
        let Guard { lossy, hold, listed, copies, era, .. } = &mut **guard;
        let is_there = || still_there(|| passed(*lossy, listed, &self.map, self.place.position));
        if in_place && hold.pins() {
            return Ok(true);
        }
        // What is not there any more may have looked like anything.
        if !is_there() {
            self.catch_up()?;
            return Ok(false);
        }
        if let Some(what) = damage {
            return Err(self.corrupt(what));
        }
        copies.begin(bytes)?;
        let copied: Vec<Frame> = frames.iter().map(|frame| copies.take(&self.map, frame)).collect();
        if !is_there() {
            self.catch_up()?;
            return Ok(false);
        }
        *era = Some((copied, 0));
        Ok(true)
    }

    /// The messages up to `cut`, as they seem to be: how many bytes to copy, whether all begin in the page that is held, and what is wrong.
    fn walk(&self, cut: u64) -> Result<(Vec<Frame>, u64, bool, Option<&'static str>)> {
        let mut place = self.place;
        let (mut frames, mut bytes) = (Vec::<Frame>::new(), 0);
        let holds = |place: &Place| self.guard.as_ref().is_some_and(|guard| guard.hold.covers(place.position));
        let mut in_place = true;
        // No further than a sound writer gets while this place is there.
        let most = place.position + self.info.capacity;
        while place.position < most {
            in_place &= holds(&place);
            match place.peek(self.map.view(), self.info.max_payload) {
                Peek::Frame(frame) if frame.version <= cut && place.position < self.end() => {
                    bytes += Copies::room(frame.len.into(), self.info.align);
                    frames.try_reserve(1).map_err(|_| no_memory(bytes))?;
                    frames.push(frame);
                    place.pass(&frame);
                }
                Peek::Skip(position) => place.go_on_at(position),
                Peek::Frame(_) | Peek::Empty => break,
                Peek::Corrupt(what) => return Ok((frames, bytes, in_place, Some(what))),
            }
        }
        Ok((frames, bytes, in_place, None))
    }

    /// Goes on behind all commits up to `cut` that are still there.
    ///
    /// # Errors
    /// [`Error::Timeout`]: the writer overwrites faster than this can look.
    pub(super) fn skip_guarded(&mut self, cut: u64) -> Result<()> {
        for _ in 0..SKIP_TRIES {
            if !self.take_hold() {
                self.catch_up()?;
                continue;
            }
            let (place, _) = behind(self.map.view(), self.place, cut, self.end(), self.info.max_payload, true);
            let Some(guard) = &self.guard else { return Ok(()) };
            // Pinned or not: the way may have left the page that is held.
            let is_held = guard.hold.pins() && guard.hold.covers(place.position);
            if is_held || still_there(|| passed(guard.lossy, &guard.listed, &self.map, self.place.position)) {
                self.jump(place);
                return Ok(());
            }
            // Of what comes after the page that is held, the beginning is lost.
            self.catch_up()?;
        }
        Err(Error::Timeout)
    }

    /// The error that says how much was lost.
    #[cold]
    pub(crate) fn lagged(&self, count: u64) -> Error {
        let (channel, name) = (self.info.channel_name.clone(), self.info.writer_name.clone());
        Error::Lagged(Box::new(Lagged { channel, writer: self.info.row, name, count }))
    }

    /// Copies a message out; `buffer` is as long as it.
    #[inline(always)]
    pub(crate) fn copy_payload(&self, frame: &Frame, buffer: &mut [u8]) {
        if frame.payload & COPIED == 0 {
            return self.map.copy_payload(frame.payload, buffer);
        }
        if let Some(copy) = self.copy_of(frame) {
            buffer.copy_from_slice(copy);
        }
    }

    /// The copy of a message, if it was copied.
    pub(crate) fn copy_of(&self, frame: &Frame) -> Option<&[u8]> {
        let guard = self.guard.as_ref()?;
        if frame.payload & COPIED == 0 {
            return None;
        }
        Some(guard.copies.get(frame.payload & !COPIED, frame.len.into()))
    }
}

fn no_memory(bytes: u64) -> Error {
    let text = format!(
        "memory for a copy of {bytes} bytes: expected to get it, found none left; free some, or send less at once"
    );
    Error::Refused { code: Code::Exhausted, text }
}

/// Messages copied out of a ring, each aligned as it was there.
struct Copies {
    bytes: Vec<u8>,
    align: usize,
    /// Where the aligned part begins.
    base: usize,
    used: usize,
}

impl Copies {
    fn new(align: u32) -> Copies {
        Copies { bytes: Vec::new(), align: align.max(8) as usize, base: 0, used: 0 }
    }

    /// Bytes that a message takes here.
    fn room(len: u64, align: u32) -> u64 {
        len.next_multiple_of(align.max(8).into())
    }

    /// Forgets what is there and makes room for `bytes` bytes.
    fn begin(&mut self, bytes: u64) -> Result<()> {
        self.used = 0;
        let needed = bytes as usize + 2 * self.align;
        if self.bytes.len() < needed {
            self.bytes.try_reserve(needed - self.bytes.len()).map_err(|_| no_memory(bytes))?;
            self.bytes.resize(needed, 0);
        }
        self.base = self.bytes.as_ptr().align_offset(self.align).min(self.align);
        Ok(())
    }

    /// Copies a message; its frame says where to.
    fn take(&mut self, map: &LaneMap, frame: &Frame) -> Frame {
        let at = self.used;
        let from = self.base + at;
        if let Some(buffer) = self.bytes.get_mut(from..from + frame.len as usize) {
            map.copy_payload(frame.payload, buffer);
        }
        self.used += (frame.len as usize).next_multiple_of(self.align);
        Frame { payload: at as u64 | COPIED, ..*frame }
    }

    fn get(&self, at: u64, len: u64) -> &[u8] {
        let from = self.base + at as usize;
        self.bytes.get(from..from + len as usize).unwrap_or_default()
    }
}

//! The lane: a single-writer ring of frames. The writer's private half and the reader's, over one shared [`Lane`].
//!
//! **Promise.** A reader gets every committed message of the lane, whole, in the order of publication, and never a part of a
//! batch.
//!
//! **Publish.** Positions are byte counts that only grow. A frame is written at the writer's private tail: payload, version,
//! then [`EMPTY`] over the place of the *next* head, and last its own head, with release. So whoever sees the head sees all
//! of the frame and, after it, either an empty place or the next frame: bytes of an earlier lap are never taken for a head.
//! There is no shared tail and no read-modify-write; a small message travels in one cache line, head and all.
//!
//! **Batch.** All frames of a batch carry one version. The first head of each lane is withheld until the commit: what is
//! behind an empty head does not exist for any reader. Rolling back is forgetting the private tail. At the commit the first
//! heads appear lane by lane, so when there are several, each is *joint*: a reader takes it only when the row's version, which is
//! stored after all of them, has reached the frame's. The frames behind a joint head need no mark of their own: a reader
//! comes to them only through it, or through a page mark, which is written after the commit.
//!
//! **Stopped writer.** Wherever it stops, the heads shown are of whole frames, and joint ones are not handed out; see
//! [`super::recovery`].

use super::frame::{self, EMPTY, Head};
use super::order::{FRAME_SEE, FRAME_SHOW, MARK_SEE, MARK_SET, RELAXED};
use super::view::Lane;
use crate::layout::lane::{FRAME_HEADER, MARKS, MAX_VERSION, PAGES};

/// The writer's private half of a lane.
#[derive(Debug)]
pub struct Writer {
    /// Where the next frame of the next commit begins.
    tail: u64,
    /// `tail`, plus the frames of the open batch.
    pending: u64,
    /// Frames of the open batch.
    pending_count: u64,
    /// The first head of the open batch, not yet shown; [`EMPTY`] when there is none.
    withheld: u64,
    /// Nothing may be written at or after this position: the floor plus the capacity.
    limit: u64,
    /// What ends below this needs neither room nor a mark nor padding: the limit, or the end of the tail's page.
    easy: u64,
    /// Sequence number of the next message committed.
    sequence: u64,
    /// log2 of the page size.
    page_shift: u32,
    /// Alignment of payloads; at least 8.
    align: u64,
}

/// Room for one frame, not yet visible.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// Where the frame's head goes. Between the tail and here there is padding.
    head: u64,
    /// Payload bytes.
    len: u32,
}

impl Claim {
    /// Where the payload goes.
    #[inline(always)]
    pub fn payload(&self) -> u64 {
        self.head + FRAME_HEADER
    }

    /// Payload bytes.
    #[inline(always)]
    pub fn payload_len(&self) -> u32 {
        self.len
    }

    /// The same claim for a shorter payload.
    #[inline(always)]
    pub fn shortened(self, len: u32) -> Claim {
        Claim { len: len.min(self.len), ..self }
    }

    /// Position after the frame.
    #[inline(always)]
    pub fn end(&self) -> u64 {
        self.head + frame::size(self.len)
    }
}

/// There is no room below the limit: the floor must reach this position first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom(pub u64);

impl Writer {
    /// The writer of a fresh, zeroed lane of `capacity` bytes for payloads aligned to `align` (a power of two).
    pub fn new(capacity: u64, align: u64) -> Self {
        let page_shift = (capacity / PAGES).trailing_zeros();
        Writer {
            tail: 0,
            pending: 0,
            pending_count: 0,
            withheld: EMPTY,
            limit: capacity,
            easy: if align <= 8 { capacity / PAGES } else { 0 },
            sequence: 0,
            page_shift,
            align: align.max(8),
        }
    }

    /// Position after the last committed frame.
    pub fn tail(&self) -> u64 {
        self.tail
    }

    /// Sequence number of the next message committed, from 0.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Position after the last frame of the open batch, or after the last committed one.
    pub fn pending(&self) -> u64 {
        self.pending
    }

    /// Nothing may be written at or after this position without more room.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Whether frames wait for the commit.
    pub fn is_pending(&self) -> bool {
        self.pending_count != 0
    }

    /// The floor has moved: nothing may be written at or after `floor + capacity`.
    pub fn set_limit(&mut self, limit: u64) {
        self.limit = limit;
        self.set_easy();
    }

    fn set_easy(&mut self) {
        let page_end = ((self.tail >> self.page_shift) + 1) << self.page_shift;
        // Larger alignments may need padding: never easy.
        self.easy = if self.align == 8 { page_end.min(self.limit) } else { 0 };
    }

    /// Where the next frame's head goes: its payload is aligned.
    #[inline(always)]
    fn next_head(&self) -> u64 {
        // `align` is a power of two.
        ((self.pending + FRAME_HEADER + self.align - 1) & !(self.align - 1)) - FRAME_HEADER
    }

    /// Room for a single message that needs nothing else done: neither the floor nor a page's mark. `None`: ask
    /// [`Writer::claim`]. Not during a batch.
    #[inline(always)]
    pub fn claim_easy(&self, len: u32) -> Option<Claim> {
        let claim = Claim { head: self.pending, len };
        (claim.end() + 8 <= self.easy).then_some(claim)
    }

    /// [`Writer::show`] and [`Writer::committed`] in one, for an easy claim; the row's version must be stored next.
    #[inline(always)]
    pub fn show_easy(&mut self, lane: Lane<'_>, claim: Claim, version: u64) {
        self.show_easy_as(lane, claim, version, frame::message(claim.len));
    }

    /// The same for a message that is one of several things that the commit makes visible.
    #[inline(always)]
    pub fn show_easy_joint(&mut self, lane: Lane<'_>, claim: Claim, version: u64) {
        self.show_easy_as(lane, claim, version, frame::joint(frame::message(claim.len)));
    }

    #[inline(always)]
    fn show_easy_as(&mut self, lane: Lane<'_>, claim: Claim, version: u64, head: u64) {
        let end = claim.end();
        lane.ring.word(claim.head + 8).store(version, RELAXED.get());
        lane.ring.word(end).store(EMPTY, RELAXED.get());
        lane.ring.word(claim.head).store(head, FRAME_SHOW.get());
        self.tail = end;
        self.pending = end;
        self.sequence += 1;
    }

    /// Room for a payload of `len` bytes after what is pending.
    #[inline(always)]
    pub fn claim(&self, lane: Lane<'_>, len: u32) -> Result<Claim, NoRoom> {
        let claim = Claim { head: self.next_head(), len };
        // Eight bytes more, for the empty head that follows.
        let end = claim.end() + 8;
        if end > self.limit { Err(NoRoom(end - lane.ring.capacity())) } else { Ok(claim) }
    }

    /// Writes all of the frame but the head that makes it visible, and returns that: where it goes and what it is.
    #[inline(always)]
    fn prepare(&self, lane: Lane<'_>, claim: Claim, version: u64) -> (u64, u64) {
        let head = frame::message(claim.len);
        lane.ring.word(claim.head + 8).store(version, RELAXED.get());
        lane.ring.word(claim.end()).store(EMPTY, RELAXED.get());
        if claim.head == self.pending {
            (claim.head, head)
        } else {
            lane.ring.word(claim.head).store(head, RELAXED.get());
            (self.pending, frame::padding((claim.head - self.pending - 8) as u32))
        }
    }

    /// Shows a single frame; the row's version must be stored next, then [`Writer::committed`] called. Not during a batch.
    #[inline(always)]
    pub fn show(&mut self, lane: Lane<'_>, claim: Claim, version: u64) {
        debug_assert!(!self.is_pending());
        let (position, head) = self.prepare(lane, claim, version);
        lane.ring.word(position).store(head, FRAME_SHOW.get());
        self.pending = claim.end();
        self.pending_count = 1;
    }

    /// Adds a frame to the open batch: written, but behind a head that is not shown.
    #[inline]
    pub fn push(&mut self, lane: Lane<'_>, claim: Claim, version: u64) {
        let (position, head) = self.prepare(lane, claim, version);
        if self.is_pending() {
            // Behind the withheld head, whose release publishes this one too.
            lane.ring.word(position).store(head, RELAXED.get());
        } else {
            self.withheld = head;
        }
        self.pending = claim.end();
        self.pending_count += 1;
    }

    /// Shows the open batch of this lane. `joint`: other lanes have frames of it too.
    #[inline]
    pub fn show_batch(&mut self, lane: Lane<'_>, joint: bool) {
        if self.withheld != EMPTY {
            let head = if joint { frame::joint(self.withheld) } else { self.withheld };
            lane.ring.word(self.tail).store(head, FRAME_SHOW.get());
            self.withheld = EMPTY;
        }
    }

    /// Everything shown is committed (the row's version is stored): takes the frames over and marks the pages entered.
    #[inline(always)]
    pub fn committed(&mut self, lane: Lane<'_>, version: u64) {
        let entered = self.pending >> self.page_shift != self.tail >> self.page_shift;
        let first_page = (self.tail >> self.page_shift) + 1;
        self.tail = self.pending;
        self.sequence += self.pending_count;
        self.pending_count = 0;
        if entered {
            self.mark(lane, first_page, version, self.tail);
        }
    }

    /// Marks the pages from `first` to the tail's: their first frame will be at the tail. What comes before ends at `ends`.
    #[cold]
    fn mark(&mut self, lane: Lane<'_>, first: u64, version: u64, ends: u64) {
        for page in first..=self.tail >> self.page_shift {
            let mark = &lane.header.marks[page as usize % MARKS];
            mark.sequence.store(self.sequence, RELAXED.get());
            mark.after.store(version, RELAXED.get());
            mark.ends.store(ends, RELAXED.get());
            mark.position.store(self.tail, MARK_SET.get());
        }
        self.set_easy();
    }

    /// Goes on at `position`, round what readers hold between here and there. There must be room for a head there. `version`: of the last
    /// commit. Not during a batch.
    #[cold]
    pub fn skip_to(&mut self, lane: Lane<'_>, position: u64, version: u64) {
        debug_assert!(!self.is_pending() && position >= self.tail + 8);
        let from = self.tail;
        lane.ring.word(position).store(EMPTY, RELAXED.get());
        lane.ring.word(from).store(frame::skip((position - from - 8) as u32), FRAME_SHOW.get());
        self.tail = position;
        self.pending = position;
        self.mark(lane, (from >> self.page_shift) + 1, version, from + 8);
    }

    /// Where the next commit begins: what [`Writer::go_back`] can go back to.
    pub fn place(&self) -> Reader {
        Reader { position: self.tail, sequence: self.sequence }
    }

    /// Forgets all that was committed after `place`, none of which is in a sealed era, in a zone without live readers: nobody has taken
    /// it. A synced reader may be looking at the head there; its version is after every cut, whichever frame's it is. So that there is a
    /// way back, the floor stays at or before `place` (`place` is what [`super::floor::Floor::advance`] is given for the tail), and whoever joins
    /// goes no further than the last sealed cut.
    pub fn go_back(&mut self, lane: Lane<'_>, place: Reader) {
        self.roll_back();
        // Before anything else is committed: the frames there are older than the next cut.
        lane.ring.word(place.position).store(EMPTY, FRAME_SHOW.get());
        for page in (place.position >> self.page_shift) + 1..=self.tail >> self.page_shift {
            lane.header.marks[page as usize % MARKS].position.store(0, MARK_SET.get());
        }
        self.tail = place.position;
        self.pending = place.position;
        self.sequence = place.sequence;
        self.set_easy();
    }

    /// Forgets the open batch. Nothing of it was ever visible.
    pub fn roll_back(&mut self) {
        self.pending = self.tail;
        self.pending_count = 0;
        self.withheld = EMPTY;
    }
}

/// A message found by a reader. Its numbers have been checked against the ring; its payload may still be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where the payload begins.
    pub payload: u64,
    /// Payload bytes.
    pub len: u32,
    /// Valid only once the row's version has reached `version`.
    pub joint: bool,
    /// The commit that published it.
    pub version: u64,
    /// Where the next head is.
    pub next: u64,
}

/// What a reader finds at its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peek {
    /// Nothing yet.
    Empty,
    /// A message.
    Frame(Frame),
    /// Nothing here: the writer has gone on at this position.
    Skip(u64),
    /// What no sound writer makes; the text says what.
    Corrupt(&'static str),
}

/// What [`Reader::glance`] finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Glance {
    /// Nothing yet.
    Empty,
    /// A message that is not joint.
    Frame(Frame),
    /// Anything else: see [`Reader::peek`].
    Other,
}

/// A reader's private place in a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reader {
    /// Where the next head is.
    pub position: u64,
    /// The sequence number of the message there.
    pub sequence: u64,
}

impl Reader {
    /// Looks at the next message without taking it.
    #[inline(always)]
    pub fn peek(&self, lane: Lane<'_>, max_payload: u64) -> Peek {
        let word = lane.ring.word(self.position).load(FRAME_SEE.get());
        // Nearly always one of these two.
        if word == EMPTY {
            Peek::Empty
        } else if frame::is_message(word) {
            message_at(lane, self.position, word, max_payload)
        } else {
            self.peek_special(lane, word, max_payload)
        }
    }

    /// The same for what is next nearly always, without a detour through memory.
    #[inline(always)]
    pub fn glance(&self, lane: Lane<'_>, max_payload: u64) -> Glance {
        let word = lane.ring.word(self.position).load(FRAME_SEE.get());
        if word == EMPTY {
            return Glance::Empty;
        }
        if frame::is_message(word)
            && let Peek::Frame(frame) = message_at(lane, self.position, word, max_payload)
            && !frame.joint
        {
            return Glance::Frame(frame);
        }
        Glance::Other
    }

    #[cold]
    fn peek_special(&self, lane: Lane<'_>, word: u64, max_payload: u64) -> Peek {
        match frame::decode(word) {
            (Head::Padding { len }, joint) if u64::from(len) + 8 + FRAME_HEADER <= lane.ring.capacity() => {
                let position = self.position + 8 + u64::from(len);
                // Shown by the padding's head: no order of its own.
                let word = lane.ring.word(position).load(RELAXED.get());
                if !frame::is_message(word) {
                    return Peek::Corrupt("padding that no message follows");
                }
                match message_at(lane, position, word, max_payload) {
                    Peek::Frame(frame) => Peek::Frame(Frame { joint, ..frame }),
                    other => other,
                }
            }
            (Head::Skip { len }, _) if u64::from(len) + 8 <= lane.ring.capacity() => {
                Peek::Skip(self.position + 8 + u64::from(len))
            }
            (Head::Padding { .. } | Head::Skip { .. }, _) => Peek::Corrupt("padding longer than the ring"),
            _ => Peek::Corrupt("head with unknown flags"),
        }
    }

    /// Goes on where the writer has, after [`Peek::Skip`].
    #[inline(always)]
    pub fn go_on_at(&mut self, position: u64) {
        self.position = position;
    }

    /// Goes on behind `frame`.
    #[inline(always)]
    pub fn pass(&mut self, frame: &Frame) {
        self.position = frame.next;
        // A hostile writer's marks may have begun it anywhere.
        self.sequence = self.sequence.wrapping_add(1);
    }
}

/// The message whose head, at `position`, is `word`.
#[inline(always)]
fn message_at(lane: Lane<'_>, position: u64, word: u64, max_payload: u64) -> Peek {
    let (len, joint) = frame::of_message(word);
    if u64::from(len) > max_payload {
        return Peek::Corrupt("message over the lane's limit");
    }
    let version = lane.ring.word(position + 8).load(RELAXED.get());
    if version > MAX_VERSION {
        return Peek::Corrupt("version over 46 bits");
    }
    let next = position + frame::size(len);
    Peek::Frame(Frame { payload: position + FRAME_HEADER, len, joint, version, next })
}

/// A page's mark, checked: where its first frame is, that one's sequence number, and the version of the commit before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The reader's place.
    pub reader: Reader,
    /// The version of the last commit before.
    pub after: u64,
}

/// Goes on from a place behind all that was committed up to `cut`, but no further than `end`, and not through what no sound writer makes; what
/// is there then. With `round`, past what the writer has gone round. No further than a lap: a sound writer gets no further while the place is
/// kept.
pub fn behind(lane: Lane<'_>, from: Reader, cut: u64, end: u64, max_payload: u64, round: bool) -> (Reader, Peek) {
    let marks = starts(lane, from.position).take_while(|mark| mark.after <= cut);
    let mut reader = marks.last().map_or(from, |mark| mark.reader);
    let most = from.position + lane.ring.capacity();
    loop {
        match reader.peek(lane, max_payload) {
            _ if reader.position >= most.min(end) => return (reader, Peek::Empty),
            Peek::Frame(frame) if frame.version <= cut => reader.pass(&frame),
            Peek::Skip(position) if round => reader.go_on_at(position),
            there => return (reader, there),
        }
    }
}

/// The oldest place that a reader may start from, given that its entry keeps the floor at or below `cursor`; then each later
/// mark, in order. At most one for each page; ends at the first mark that is not there yet, or not sound.
pub fn starts(lane: Lane<'_>, cursor: u64) -> impl Iterator<Item = Start> {
    let capacity = lane.ring.capacity();
    let shift = (capacity / PAGES).trailing_zeros();
    let first = cursor >> shift;
    let mut least = cursor;
    (first..=first + PAGES).map_while(move |page| {
        let mark = &lane.header.marks[page as usize % MARKS];
        let position = mark.position.load(MARK_SEE.get());
        let sound = position.is_multiple_of(8) && position >= least && position - cursor <= capacity;
        let entered = position >> shift >= page;
        if !(sound && entered) {
            return None;
        }
        least = position;
        let sequence = mark.sequence.load(RELAXED.get());
        let after = mark.after.load(RELAXED.get());
        Some(Start { reader: Reader { position, sequence }, after })
    })
}

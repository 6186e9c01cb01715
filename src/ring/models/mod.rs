//! Loom models of the protocols: every interleaving of a few participants, and every value that a load may return.
//!
//! One file a protocol; each says what it explores and what would break. They run the code of `ring` itself over loom's
//! atomics, in segments shrunk to a few words ([`Segments`]), with participants that do what the client does ([`Writer`],
//! [`Reader`]).
//!
//! - Every role runs on a spawned thread; loom's main thread sets up and joins only.
//! - [`check`] bounds the preemptions, so that each model takes seconds. [`at_every_stop`] runs a model once for every access
//!   at which one participant can stop for good.
//! - Each word of a ring has a shadow, a plain cell ([`Segments::shadow`]): loom reports whoever reads a message while it may be
//!   overwritten, which loads alone can not show, since loom performs them in program order.
//!
//! loom knows more than the memory model promises in two places: a SeqCst fence passes on all that came before it, and an acquire fence
//! takes what others have read that it has heard of. So an ordering next to a fence can be needed and no model shows it. Where one was
//! weakened, the argument beside its use does without the fence's excess.

mod batch;
mod bell;
mod cause;
mod count;
mod done;
mod edge;
mod floor;
mod halt;
mod hold;
mod item;
mod lane;
mod lockstep;
mod marker;
mod record;
mod recovery;
mod relay;
mod revocable;
mod stale;
mod straddler;

use super::floor::{Floor, leave_behind};
use super::lane::{Claim, Frame, NoRoom, Peek};
use super::order::{COMMIT, COMMIT_SEE, RELAXED, SITES, stop};
use super::sequencer::{self, Cut, Proposal, Races};
use super::view::{self, Ring};
use super::{lane as ring_lane, recovery as ring_recovery};
use crate::layout::lane::FRAME_HEADER;
use crate::layout::zone::{Geometry, NO_LANE, Pace, Reason};
use crate::layout::{lane as lane_layout, meeting, word, zone};
use crate::sync::AtomicU64;
use loom::cell::UnsafeCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Names the orderings for `cargo xtask mutants`.
#[test]
fn sites() {
    for (name, kind, order) in SITES {
        println!("site {name} {kind} {order}");
    }
}

/// Explores a model with at most `preemptions` preemptions.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(model);
}

/// Where one participant of a model stops for good, as by `kill -9`.
#[derive(Clone)]
struct Stop {
    accesses: u32,
    stopped: Arc<AtomicBool>,
}

impl Stop {
    /// Runs `body` until the stop; `None` if it came.
    fn run<R>(&self, body: impl FnOnce() -> R) -> Option<R> {
        let result = stop::after(self.accesses, body);
        if result.is_none() {
            self.stopped.store(true, Relaxed);
        }
        result
    }
}

/// A stop that does not come.
fn never() -> Stop {
    Stop { accesses: u32::MAX, stopped: Arc::default() }
}

/// Explores a model with a participant that stops before its first access, its second, and so on until it is never stopped.
fn at_every_stop(preemptions: usize, model: impl Fn(&Stop) + Clone + Send + Sync + 'static) {
    for accesses in 0..u32::MAX {
        let stop = Stop { accesses, stopped: Arc::default() };
        let (stopped, model) = (stop.stopped.clone(), model.clone());
        check(preemptions, move || model(&stop));
        if !stopped.load(Relaxed) {
            return;
        }
    }
}

/// A lane segment of loom's atomics, and the plain shadow of its ring.
struct LaneSegment {
    header: lane_layout::Header,
    words: Vec<AtomicU64>,
    shadow: Vec<UnsafeCell<()>>,
}

/// The segments of one zone. Shared by `Rc`: loom's threads are coroutines of one thread.
struct Segments {
    lanes: Vec<LaneSegment>,
    header: zone::Header,
    rows: Vec<zone::Row>,
    slots: Vec<AtomicU64>,
    entry_lane: Vec<AtomicU64>,
    geometry: Geometry,
    bells: meeting::Header,
    entries: Vec<meeting::Entry>,
}

/// What the edges of most models propose; the era's time is left open, so that they stay small.
const EXACT: Proposal = Proposal { reason: Reason::Exact, proposer: 0, tagged: false };

fn no_clock() -> Option<u64> {
    None
}

/// Eras in the generation ring of a model.
const ERAS: u32 = 4;

impl Segments {
    /// A zone of `rows` rows, all in use, with `lanes` lanes of `capacity` bytes and as many reader entries: entry `n` is for lane `n`,
    /// and not on the roster yet.
    fn new(rows: u32, lanes: usize, capacity: usize) -> Rc<Segments> {
        Segments::of_pace(Pace::Free, rows, lanes, capacity)
    }

    /// The same for a zone of this pace.
    fn of_pace(pace: Pace, rows: u32, lanes: usize, capacity: usize) -> Rc<Segments> {
        fn many<T>(n: usize, make: fn() -> T) -> Vec<T> {
            (0..n).map(|_| make()).collect()
        }
        let geometry = Geometry { writers: rows, eras: ERAS, entries: lanes as u32, pace };
        let segments = Segments {
            lanes: (0..lanes)
                .map(|_| LaneSegment {
                    header: lane_layout::Header::zeroed(),
                    words: many(capacity / 8, word),
                    shadow: many(capacity / 8, || UnsafeCell::new(())),
                })
                .collect(),
            header: zone::Header::zeroed(),
            rows: many(rows as usize, zone::Row::zeroed),
            slots: many(ERAS as usize * geometry.slot_stride(), word),
            entry_lane: many(lanes, || AtomicU64::new(NO_LANE)),
            geometry,
            bells: meeting::Header::zeroed(),
            entries: many(lanes, meeting::Entry::open),
        };
        segments.header.high.0.rows.store(rows.into(), RELAXED.get());
        Rc::new(segments)
    }

    fn zone(&self) -> view::Zone<'_> {
        view::Zone {
            header: &self.header,
            rows: &self.rows,
            slots: &self.slots,
            entry_lane: &self.entry_lane,
            geometry: self.geometry,
        }
    }

    fn meeting(&self) -> view::Meeting<'_> {
        view::Meeting { header: &self.bells, entries: &self.entries }
    }

    fn lane(&self, lane: usize) -> view::Lane<'_> {
        let LaneSegment { header, words, .. } = &self.lanes[lane];
        view::Lane { header, ring: Ring::new(words) }
    }

    /// The number of a lane, as in `entry_lane`.
    fn number(lane: usize) -> u64 {
        lane as u64 + 1
    }

    /// The plain word beside the ring's at `position`.
    fn shadow(&self, lane: usize, position: u64) -> &UnsafeCell<()> {
        let shadow = &self.lanes[lane].shadow;
        &shadow[(position / 8) as usize % shadow.len()]
    }

    /// Puts entry `lane` on the roster, as the broker does before the lane's writer may publish.
    fn enter(&self, lane: usize) {
        super::floor::enter(self.zone(), &self.entries[lane], lane, Self::number(lane), 0);
    }

    /// A row's last commit.
    fn version(&self, row: usize) -> u64 {
        self.rows[row].version.load(COMMIT_SEE.get())
    }

    fn seal(&self) -> u64 {
        sequencer::seal(self.zone(), &EXACT, no_clock, &mut Races::default())
    }

    fn edge(&self) -> u64 {
        let mut scratch = vec![0; self.rows.len()];
        sequencer::edge(self.zone(), &mut scratch, &EXACT, no_clock, &mut Races::default())
            .expect("an edge overtaken for ever")
    }

    /// A row's cut of a sealed era; `None`: the generation has gone too far on.
    fn cut(&self, era: u64, row: usize) -> Option<u64> {
        match sequencer::cut(self.zone(), era, row) {
            Cut::Version(version) => Some(version),
            Cut::NoRow => Some(0),
            Cut::Gone => {
                let oldest = sequencer::oldest_era(self.zone(), self.zone().generation());
                assert!(era < oldest, "era {era} is in the generation ring, and its cut is not");
                None
            }
        }
    }
}

/// A writer as the client has it: one row and some of the lanes.
struct Writer<'a> {
    segments: &'a Segments,
    row: usize,
    version: u64,
    settled: u64,
    lanes: Vec<(usize, ring_lane::Writer, Floor)>,
}

impl<'a> Writer<'a> {
    /// The owner of `row`, with fresh `lanes`.
    fn new(segments: &'a Segments, row: usize, lanes: &[usize]) -> Self {
        let lane = |&lane: &usize| {
            let capacity = segments.lane(lane).ring.capacity();
            (lane, ring_lane::Writer::new(capacity, 8), Floor::new(Segments::number(lane)))
        };
        let version = segments.version(row);
        Writer { segments, row, version, settled: 0, lanes: lanes.iter().map(lane).collect() }
    }

    /// Room for `words` words in the `index`-th lane.
    fn claim(&mut self, index: usize, words: u32) -> Option<Claim> {
        let segments = self.segments;
        let (number, lane, floor) = &mut self.lanes[index];
        let view = segments.lane(*number);
        lane.claim(view, words * 8)
            .or_else(|NoRoom(wanted)| {
                let need = wanted + view.ring.capacity() - lane.pending();
                let room = floor
                    .room(view, segments.zone(), segments.meeting(), lane.tail(), lane.pending(), need)
                    .map_err(drop)?;
                if room.start != lane.pending() {
                    lane.skip_to(view, room.start, self.version);
                }
                lane.set_limit(room.limit);
                lane.claim(view, words * 8).map_err(drop)
            })
            .ok()
    }

    /// Writes `value` into every word of a claim. The shadow is written as far as the frame will be: from its head to the empty one after.
    fn fill(&self, index: usize, claim: Claim, value: u64) {
        let lane = self.lanes[index].0;
        let end = claim.payload() + u64::from(claim.payload_len());
        for position in (claim.payload()..end).step_by(8) {
            self.segments.lane(lane).ring.word(position).store(payload(value), RELAXED.get());
        }
        for position in (claim.payload() - FRAME_HEADER..=end).step_by(8) {
            self.segments.shadow(lane, position).with_mut(|_| ());
        }
    }

    /// Before any commit.
    fn settle(&mut self) {
        let zone = self.segments.zone();
        sequencer::settle(zone.header, || zone, self.row, self.version, &mut self.settled);
    }

    fn store_version(&mut self) {
        self.version += 1;
        self.segments.rows[self.row].version.store(self.version, COMMIT.get());
    }

    /// Publishes a message of one word; false: there is no room.
    fn publish(&mut self, index: usize, value: u64) -> bool {
        if let Some(claim) = self.lanes[index].1.claim_easy(8) {
            self.fill(index, claim, value);
            self.settle();
            let (number, lane, _) = &mut self.lanes[index];
            lane.show_easy(self.segments.lane(*number), claim, self.version + 1);
            self.store_version();
            return true;
        }
        let Some(claim) = self.claim(index, 1) else { return false };
        self.fill(index, claim, value);
        self.settle();
        let version = self.version + 1;
        let (number, lane, _) = &mut self.lanes[index];
        let view = self.segments.lane(*number);
        lane.show(view, claim, version);
        self.store_version();
        self.lanes[index].1.committed(view, version);
        true
    }

    /// Adds a message of `words` words to the open batch.
    fn push(&mut self, index: usize, value: u64, words: u32) {
        let claim = self.claim(index, words).expect("room for the batch");
        self.fill(index, claim, value);
        let version = self.version + 1;
        let (number, lane, _) = &mut self.lanes[index];
        lane.push(self.segments.lane(*number), claim, version);
    }

    /// Commits the open batch.
    fn commit(&mut self) {
        self.settle();
        let segments = self.segments;
        let joint = self.lanes.iter().filter(|(_, lane, _)| lane.is_pending()).count() > 1;
        for (number, lane, _) in &mut self.lanes {
            lane.show_batch(segments.lane(*number), joint);
        }
        self.store_version();
        for (number, lane, _) in &mut self.lanes {
            if lane.is_pending() {
                lane.committed(segments.lane(*number), self.version);
            }
        }
    }

    fn roll_back(&mut self) {
        for (_, lane, _) in &mut self.lanes {
            lane.roll_back();
        }
    }

    /// Where the next commit begins, in each lane.
    fn places(&self) -> Vec<ring_lane::Reader> {
        self.lanes.iter().map(|(_, lane, _)| lane.place()).collect()
    }

    /// Forgets what was committed since then.
    fn go_back(&mut self, places: &[ring_lane::Reader]) {
        for ((number, lane, _), &place) in self.lanes.iter_mut().zip(places) {
            lane.go_back(self.segments.lane(*number), place);
        }
    }
}

/// The word that stands for `value` in a payload: it looks like the head of a message.
fn payload(value: u64) -> u64 {
    super::frame::message(value as u32)
}

/// A reader of one lane as the client has it.
struct Reader<'a> {
    segments: &'a Segments,
    lane: usize,
    row: usize,
    place: ring_lane::Reader,
}

/// What is next for a reader.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Nothing,
    Message { value: u64, version: u64 },
    Closed,
}

impl<'a> Reader<'a> {
    /// A reader of `lane`, whose writer has `row`, from its beginning.
    fn new(segments: &'a Segments, lane: usize, row: usize) -> Self {
        Reader { segments, lane, row, place: ring_lane::Reader { position: 0, sequence: 0 } }
    }

    fn peek(&self) -> Peek {
        self.place.peek(self.segments.lane(self.lane), 64)
    }

    fn end(&self) -> u64 {
        ring_recovery::end(&self.segments.entries[self.lane])
    }

    /// Takes the next message that is committed.
    fn live(&mut self) -> Next {
        match self.peek() {
            Peek::Frame(frame) if !frame.joint => self.take(frame),
            Peek::Frame(frame) => {
                let committed = self.segments.version(self.row) >= frame.version;
                // The end after the version: if the row's next owner has raised that, the end is there.
                if self.place.position >= self.end() {
                    Next::Closed
                } else if committed {
                    self.take(frame)
                } else {
                    Next::Nothing
                }
            }
            Peek::Empty | Peek::Skip(_) => self.nothing(),
            Peek::Corrupt(what) => panic!("{what}"),
        }
    }

    /// Takes the next message of the eras up to the one with this cut.
    fn synced(&mut self, cut: u64) -> Next {
        match self.peek() {
            Peek::Frame(frame) if frame.version <= cut && self.place.position < self.end() => self.take(frame),
            Peek::Frame(_) => Next::Nothing,
            Peek::Empty | Peek::Skip(_) => self.nothing(),
            Peek::Corrupt(what) => panic!("{what}"),
        }
    }

    fn nothing(&self) -> Next {
        if self.place.position < self.end() { Next::Nothing } else { Next::Closed }
    }

    fn take(&mut self, frame: Frame) -> Next {
        let ring = self.segments.lane(self.lane).ring;
        let value = ring.word(frame.payload).load(RELAXED.get()) as u32 as u64;
        for position in (frame.payload..frame.payload + u64::from(frame.len)).step_by(8) {
            assert_eq!(ring.word(position).load(RELAXED.get()), payload(value), "a message in pieces");
        }
        for position in (frame.payload - FRAME_HEADER..frame.next).step_by(8) {
            self.segments.shadow(self.lane, position).with(|_| ());
        }
        self.place.pass(&frame);
        Next::Message { value, version: frame.version }
    }

    /// Leaves behind what was taken.
    fn release(&self) {
        leave_behind(&self.segments.entries[self.lane], self.place.position);
    }

    /// Takes the messages of the eras up to the one with this cut.
    fn all_synced(&mut self, cut: u64) -> Vec<(u64, u64)> {
        let mut taken = Vec::new();
        while let Next::Message { value, version } = self.synced(cut) {
            taken.push((value, version));
        }
        taken
    }
}

//! Live readers that hand out edges among the messages: each message is between the edges of its era.

use super::{Next, Peek, RELAXED, Reader, Segments, Stop, Writer, at_every_stop, check, never, no_clock, sequencer};
use crate::layout::zone::{Pace, ROW_FREE, ROW_OPEN, Reason};
use crate::ring::lockstep;
use crate::ring::order::{COMMIT, CUT_DECIDE, FLIP, ROSTER_RAISE, STATE_SET};
use crate::ring::sequencer::{Proposal, Races};
use loom::thread;
use std::rc::Rc;

/// A live reader of one lane that has handed out the edges up to `generation`, as the client has it.
struct Marked<'a> {
    reader: Reader<'a>,
    generation: u64,
    known: u64,
    /// What was handed out: the version, and the era that was open for whoever was given it.
    given: Vec<(u64, u64)>,
}

impl<'a> Marked<'a> {
    fn new(segments: &'a Segments, lane: usize, row: usize) -> Self {
        Marked { reader: Reader::new(segments, lane, row), generation: 0, known: 0, given: Vec::new() }
    }

    /// Hands out the next message or edge; false: there is none, or it has to wait.
    fn step(&mut self) -> bool {
        let segments = self.reader.segments;
        let row = self.reader.row;
        if segments.zone().generation() > self.generation {
            // What is in the era comes before its edge.
            let Some(cut) = segments.cut(self.generation + 1, row) else { panic!("an edge that was forgotten") };
            for (_, version) in self.reader.all_synced(cut) {
                self.given.push((version, self.generation + 1));
            }
            self.generation += 1;
            return true;
        }
        let Peek::Frame(frame) = self.reader.peek() else { return false };
        let zone = || segments.zone();
        if !sequencer::is_in_open_era(zone, self.generation, row, frame.version, &mut self.known) {
            return false;
        }
        let Next::Message { version, .. } = self.reader.take(frame) else { unreachable!() };
        self.given.push((version, self.generation + 1));
        true
    }
}

/// Once all is sealed: what was handed out while an era was open is in that era, and not in an earlier one, whose edge was handed out.
fn looks_back(segments: Rc<Segments>, row: usize, given: Vec<(u64, u64)>, seal: impl FnOnce(&Segments) + 'static) {
    let after = thread::spawn(move || {
        seal(&segments);
        let mut reader = Marked::new(&segments, row, row);
        while reader.step() {}
        assert_eq!(reader.given.len() as u64, segments.version(row), "a message that no reader is given");
        for (version, era) in given {
            let [before, cut] = [era - 1, era].map(|era| if era == 0 { Some(0) } else { segments.cut(era, row) });
            assert!(cut.unwrap() >= version, "version {version} was handed out before the edge of era {era}");
            assert!(before.unwrap() < version, "version {version} was handed out after the edge of its era");
        }
    });
    after.join().unwrap();
}

/// A writer of `messages` messages, edges, and a reader that takes `steps` steps.
fn story(writer: Stop, messages: u64, edge: Stop, edges: u32, steps: u32) {
    let segments = Segments::new(1, 1, 128);
    let shared = segments.clone();
    let writer = thread::spawn(move || {
        writer.run(|| {
            let mut writer = Writer::new(&shared, 0, &[0]);
            (0..messages).for_each(|n| assert!(writer.publish(0, n + 8)));
        });
    });
    let shared = segments.clone();
    let edge = thread::spawn(move || {
        edge.run(|| (0..edges).for_each(|_| assert!(shared.seal() > 0)));
    });
    let shared = segments.clone();
    let reader = thread::spawn(move || {
        let mut reader = Marked::new(&shared, 0, 0);
        let _ = (0..steps).all(|_| reader.step());
        reader.given
    });
    writer.join().unwrap();
    edge.join().unwrap();
    let given = reader.join().unwrap();
    looks_back(segments, 0, given, |segments| assert!(segments.seal() > 0));
}

/// Would break: a message handed out while its era is taken for the open one, and an edge that has begun already to leave it out (no
/// fence; `closing` looked at before the version; a cut that is not decided taken for one that includes it).
#[test]
fn a_message_comes_before_the_edge_of_its_era() {
    check(3, || story(never(), 1, never(), 1, 2));
}

/// The same, with a message that may be after the edge.
#[test]
fn a_message_comes_after_the_edge_before_its_era() {
    check(2, || story(never(), 2, never(), 1, 3));
}

/// The same, with a writer that stops anywhere.
#[test]
fn a_stopped_writers_message_comes_before_the_edge_of_its_era() {
    at_every_stop(2, |stop| story(stop.clone(), 1, never(), 1, 2));
}

/// The same, with an edge that stops anywhere.
#[test]
fn a_message_comes_before_a_stopped_edge() {
    at_every_stop(2, |stop| story(never(), 2, stop.clone(), 1, 2));
}

/// A writer joins and publishes, meanwhile an edge is run that may not count its row.
///
/// Would break: its message, handed out in an era that it has no cut of.
#[test]
fn a_joining_writers_message_comes_before_the_edge_of_its_era() {
    check(3, || {
        let segments = Segments::new(2, 2, 64);
        segments.header.high.0.rows.store(1, RELAXED.get());
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            shared.header.high.0.rows.fetch_add(1, ROSTER_RAISE.get());
            Writer::new(&shared, 1, &[1]).publish(0, 8);
        });
        let shared = segments.clone();
        let edge = thread::spawn(move || shared.seal());
        let shared = segments.clone();
        let reader = thread::spawn(move || {
            let mut reader = Marked::new(&shared, 1, 1);
            let _ = (0..2).all(|_| reader.step());
            reader.given
        });
        writer.join().unwrap();
        edge.join().unwrap();
        let given = reader.join().unwrap();
        looks_back(segments, 1, given, |segments| assert!(segments.seal() > 0));
    });
}

/// A lockstep zone, whose writer commits on as soon as it has given its permit, or whose deadline passes without that.
///
/// Would break: a message of after the permit, or one that comes too late for the deadline, handed out in the era that is closing.
#[test]
fn a_message_of_lockstep_comes_before_the_edge_of_its_era() {
    check(2, || {
        let segments = Segments::of_pace(Pace::Lockstep, 1, 1, 128);
        let pass = |segments: &Segments, round, reason| {
            let proposal = Proposal { reason, proposer: 0, tagged: false };
            lockstep::pass(segments.zone(), round, &proposal, no_clock, &mut Races::default())
        };
        segments.rows[0].state.store(ROW_OPEN, RELAXED.get());
        let round = lockstep::round(segments.zone());
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0]);
            writer.publish(0, 8);
            let round = lockstep::permit(shared.zone(), &shared.rows[0], writer.version);
            pass(&shared, round, Reason::Permits);
            writer.publish(0, 9);
        });
        let shared = segments.clone();
        let broker = thread::spawn(move || pass(&shared, round, Reason::Deadline));
        let shared = segments.clone();
        let reader = thread::spawn(move || {
            let mut reader = Marked::new(&shared, 0, 0);
            let _ = (0..3).all(|_| reader.step());
            reader.given
        });
        writer.join().unwrap();
        broker.join().unwrap();
        let given = reader.join().unwrap();
        looks_back(segments, 0, given, move |segments| {
            segments.rows[0].state.store(ROW_FREE, STATE_SET.get());
            assert!(pass(segments, lockstep::round(segments.zone()), Reason::Rest));
        });
    });
}

/// A reader that stops in its look at the closing era's cut, until the slot is of an era with the same lap, all laps later.
///
/// Would break: that era's cut taken for the one of the era that is open for the reader.
#[test]
fn a_stale_reader_takes_no_other_cut_for_the_open_eras() {
    check(3, || {
        let segments = Segments::new(1, 0, 64);
        segments.rows[0].version.store(1, COMMIT.get());
        let shared = segments.clone();
        let others = thread::spawn(move || {
            assert_eq!(shared.seal(), 1);
            // As in `stale`: up to era 13 in the same slot, then era 17, which has the slot and the lap of era 1.
            let [begun, cut] = [5, 9].map(|word| &shared.slots[word]);
            begun.store(1, CUT_DECIDE.get());
            cut.store(5, CUT_DECIDE.get());
            shared.header.generation.0.store(16, FLIP.get());
            shared.rows[0].version.store(9, COMMIT.get());
            assert_eq!(shared.seal(), 17);
        });
        let reader = thread::spawn(move || {
            let zone = || segments.zone();
            assert!(!sequencer::is_in_open_era(zone, 0, 0, 2, &mut 0), "version 2 is not in era 1");
        });
        others.join().unwrap();
        reader.join().unwrap();
    });
}

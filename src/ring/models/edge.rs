//! The SYNC edge: helpers, committing and joining writers, synced readers.

use super::{Cut, Reader, Segments, Writer, at_every_stop, check, sequencer};
use crate::ring::order::{COMMIT, ROSTER_RAISE, ROSTER_SEE};
use loom::thread;

/// The cuts of the era that an edge seals, as whoever ran it sees them.
fn sealed(segments: &Segments) -> (u64, [Cut; 2]) {
    let era = segments.seal();
    (era, [0, 1].map(|row| sequencer::cut(segments.zone(), era, row)))
}

/// Two edges at the same time as a writer joins and commits: it raises `high`, then publishes.
///
/// Would break: two participants that see different cuts, or row counts, of one era; an era that one of them has sealed and
/// can not look at.
#[test]
fn two_edges_agree_while_a_writer_joins() {
    check(2, || {
        let segments = Segments::new(2, 2, 64);
        segments.header.high.0.rows.store(1, super::RELAXED.get());
        let edges = [0, 1].map(|_| {
            let segments = segments.clone();
            thread::spawn(move || sealed(&segments))
        });
        let writer = thread::spawn(move || {
            segments.header.high.0.rows.fetch_add(1, ROSTER_RAISE.get());
            Writer::new(&segments, 1, &[1]).publish(0, 8);
        });
        writer.join().unwrap();
        let [(one, cuts), (other, other_cuts)] = edges.map(|edge| edge.join().unwrap());
        assert!(!cuts.contains(&Cut::Gone) && !other_cuts.contains(&Cut::Gone));
        assert!(one != other || cuts == other_cuts, "{cuts:?} {other_cuts:?}");
    });
}

/// A writer commits and runs an edge; another edge meets it; a third participant seals the next era as soon as it sees the first.
///
/// Would break: a cut of a later era before that of an earlier one (whoever flips the generation must pass on what the cuts of
/// others stand for).
#[test]
fn cuts_only_grow() {
    check(3, || {
        let segments = Segments::new(1, 0, 64);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            shared.rows[0].version.store(1, COMMIT.get());
            shared.seal()
        });
        let shared = segments.clone();
        let other = thread::spawn(move || shared.seal());
        let next = thread::spawn(move || {
            if segments.zone().generation() == 1 {
                let era = segments.seal();
                let [before, cut] = [era - 1, era].map(|era| segments.cut(era, 0).unwrap());
                assert!(cut >= before, "era {era} ends at {cut}, the one before at {before}");
            }
        });
        writer.join().unwrap();
        other.join().unwrap();
        next.join().unwrap();
    });
}

/// A synced reader of two lanes, a writer of batches over both, and an edge.
///
/// Would break: an era with a part of a batch; a generation that goes back; a cut that a reader of the generation does not find; a
/// message that its cut includes and its lane does not show.
#[test]
fn a_synced_reader_gets_whole_batches() {
    check(2, || {
        let segments = Segments::new(1, 2, 128);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0, 1]);
            for value in [8, 9] {
                writer.push(0, value, 1);
                writer.push(1, value, 1);
                writer.commit();
            }
        });
        let shared = segments.clone();
        let edge = thread::spawn(move || [shared.seal(), shared.seal()]);
        let reader = thread::spawn(move || {
            let mut lanes = [0, 1].map(|lane| Reader::new(&segments, lane, 0));
            let (mut era, mut taken) = (0, 0);
            for _ in 0..2 {
                let generation = segments.zone().generation();
                assert!(generation >= era, "the generation went from {era} to {generation}");
                if generation > era {
                    era = generation;
                    let cut = segments.cut(era, 0).unwrap();
                    let [one, other] = lanes.each_mut().map(|lane| lane.all_synced(cut));
                    assert_eq!(one, other);
                    taken += one.len() as u64;
                    assert_eq!(taken, cut, "a commit of the era is not there");
                }
            }
        });
        writer.join().unwrap();
        edge.join().unwrap();
        reader.join().unwrap();
    });
}

/// An exact edge by a participant that commits nothing, after a writer has told it of its commit by other means; another
/// edge on the way may have decided the cuts already.
///
/// Would break: an era returned without that commit.
#[test]
fn an_exact_edge_covers_what_was_committed_before() {
    check(2, || {
        let segments = Segments::new(2, 2, 64);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            Writer::new(&shared, 1, &[1]).publish(0, 8);
            shared.header.control.0.roster.fetch_add(1, ROSTER_RAISE.get());
        });
        let shared = segments.clone();
        let other = thread::spawn(move || shared.seal());
        let exact = thread::spawn(move || {
            let told = segments.header.control.0.roster.load(ROSTER_SEE.get()) != 0;
            let era = segments.edge();
            let cut = segments.cut(era, 1).unwrap();
            assert!(!told || cut == 1, "era {era} lacks a commit from before its edge");
            assert_eq!(Reader::new(&segments, 1, 1).all_synced(cut).len() as u64, cut);
        });
        writer.join().unwrap();
        other.join().unwrap();
        exact.join().unwrap();
    });
}

/// An edge that stops anywhere, a writer that finds it so, and an exact edge after that writer's commit.
///
/// Would break: an edge that waits for the stopped one, or flips over cuts that are not decided; a commit that is lost between
/// the eras.
#[test]
fn a_stopped_edge_holds_nobody_up() {
    at_every_stop(2, |stop| {
        let segments = Segments::new(2, 2, 64);
        let (shared, stop) = (segments.clone(), stop.clone());
        let stopped = thread::spawn(move || {
            stop.run(|| shared.seal());
        });
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            Writer::new(&shared, 1, &[1]).publish(0, 8);
            let era = shared.edge();
            assert_eq!(shared.cut(era, 1), Some(1));
        });
        let reader = thread::spawn(move || {
            let mut lane = Reader::new(&segments, 1, 1);
            if segments.zone().generation() > 0 {
                let cut = segments.cut(1, 1).unwrap();
                assert_eq!(lane.all_synced(cut).len() as u64, cut);
                assert_eq!(segments.cut(1, 1), Some(cut), "a cut that changes");
            }
        });
        stopped.join().unwrap();
        writer.join().unwrap();
        reader.join().unwrap();
    });
}

/// An exact edge by a writer that has just joined, after its first commit; another edge on the way may have counted the rows before.
///
/// Would break: an era returned that has all cuts of the rows that it counts, and not this row.
#[test]
fn an_exact_edge_covers_a_row_that_has_just_joined() {
    check(2, || {
        let segments = Segments::new(2, 2, 64);
        segments.header.high.0.rows.store(1, super::RELAXED.get());
        let shared = segments.clone();
        let other = thread::spawn(move || shared.seal());
        let joining = thread::spawn(move || {
            segments.header.high.0.rows.fetch_add(1, ROSTER_RAISE.get());
            Writer::new(&segments, 1, &[1]).publish(0, 8);
            let era = segments.edge();
            assert_eq!(segments.cut(era, 1), Some(1), "era {era} lacks a commit from before its edge");
        });
        other.join().unwrap();
        joining.join().unwrap();
    });
}

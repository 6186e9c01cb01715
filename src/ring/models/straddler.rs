//! Straddlers: batches that are open when an edge passes.

use super::{Cut, Segments, Stop, Writer, at_every_stop, check, never, no_clock, sequencer};
use crate::ring::order::{ROSTER_RAISE, ROSTER_SEE};
use crate::ring::sequencer::Races;
use loom::thread;

/// How far the writer is, as it tells others by means of its own.
fn tell(segments: &Segments) {
    segments.header.control.0.early.fetch_add(1, ROSTER_RAISE.get());
}

const OPEN: u64 = 1;
const COMMITTED: u64 = 2;

/// How a batch ends.
#[derive(Clone, Copy)]
enum Ending {
    Commit,
    RollBack,
}

/// A batch, which would have version 1; then a single message.
fn writes(segments: &Segments, ending: Ending) {
    let mut writer = Writer::new(segments, 0, &[0]);
    sequencer::open_batch(&segments.rows[0], writer.version + 1);
    tell(segments);
    writer.push(0, 8, 1);
    match ending {
        Ending::Commit => writer.commit(),
        Ending::RollBack => writer.roll_back(),
    }
    sequencer::close_batch(&segments.rows[0]);
    tell(segments);
    writer.publish(0, 9);
}

/// A sealed era: its cut of the row, and whether it is marked. The same whenever it is looked at.
fn row(segments: &Segments, era: u64) -> (u64, bool) {
    let look = || (sequencer::cut(segments.zone(), era, 0), sequencer::straddled(segments.zone(), era, 0));
    let found = look();
    assert_eq!(look(), found, "era {era} has changed");
    match found {
        (Cut::Version(version), Some(is_marked)) => (version, is_marked),
        found => panic!("{found:?}"),
    }
}

/// A batch while an edge passes, which may stop.
fn story(ending: Ending, stop: &Stop) {
    let segments = Segments::new(1, 1, 128);
    let shared = segments.clone();
    let writer = thread::spawn(move || writes(&shared, ending));
    let (shared, stop) = (segments.clone(), stop.clone());
    let edge = thread::spawn(move || {
        let told = shared.header.control.0.early.load(ROSTER_SEE.get());
        let era = stop.run(|| shared.seal());
        (told, era.map(|era| row(&shared, era)))
    });
    writer.join().unwrap();
    let (told, seen) = edge.join().unwrap();
    let after = thread::spawn(move || {
        sequencer::finish_begun(segments.zone(), no_clock, &mut Races::default());
        if segments.zone().generation() == 0 {
            return;
        }
        let (version, is_marked) = row(&segments, 1);
        assert!(seen.is_none_or(|seen| seen == (version, is_marked)));
        assert!(!is_marked || version == 0, "a mark on a batch that is in the era");
        match (told, ending) {
            (OPEN, Ending::Commit) => {
                assert!(is_marked || version >= 1, "an open batch, neither in the era nor marked")
            }
            (COMMITTED, Ending::Commit) => assert!(version >= 1),
            (COMMITTED, Ending::RollBack) => assert!(!is_marked, "a mark on a batch that was over"),
            _ => {}
        }
    });
    after.join().unwrap();
}

/// Would break: an era whose edge began when the batch was open, and that has neither the batch nor its mark (`open` looked at after the
/// version, or cleared before that is seen); a mark on a batch that is in the era.
#[test]
fn an_open_batch_is_in_the_era_or_marked() {
    check(4, || story(Ending::Commit, &never()));
}

#[test]
fn a_batch_that_was_rolled_back_is_not_marked() {
    check(4, || story(Ending::RollBack, &never()));
}

/// The same, with an edge that stops anywhere: whoever finishes it, or the writer itself, decides.
#[test]
fn an_open_batch_is_in_a_stopped_edges_era_or_marked() {
    at_every_stop(3, |stop| story(Ending::Commit, stop));
}

/// Two edges at once, one that knows of the batch.
#[test]
fn two_edges_agree_on_a_straddler() {
    check(2, || {
        let segments = Segments::new(1, 1, 128);
        sequencer::open_batch(&segments.rows[0], 1);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0]);
            writer.push(0, 8, 1);
            writer.commit();
            sequencer::close_batch(&shared.rows[0]);
        });
        let edges = [0, 1].map(|_| {
            let segments = segments.clone();
            thread::spawn(move || {
                let era = segments.seal();
                (era, row(&segments, era))
            })
        });
        writer.join().unwrap();
        let [one, other] = edges.map(|edge| edge.join().unwrap());
        for (era, (version, is_marked)) in [one, other] {
            assert!(version == 1 || is_marked, "an open batch, neither in era {era} nor marked");
            assert!(version == 0 || !is_marked, "a mark on a batch that is in era {era}");
        }
        assert!(one.0 != other.0 || one == other, "{one:?}, {other:?}");
    });
}

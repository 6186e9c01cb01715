//! Lockstep: permits, deadlines, and writers that come and go while an era waits for them.

use super::{Cut, ERAS, RELAXED, Reader, Segments, Stop, Writer, at_every_stop, check, never, no_clock, sequencer};
use crate::layout::zone::{Pace, ROW_FREE, ROW_OPEN, Reason, SLOT_WORDS};
use crate::ring::lockstep::{self, Round};
use crate::ring::order::{COMMIT, FLIP, ROSTER_RAISE, STATE_SET};
use crate::ring::sequencer::{Proposal, Races};
use loom::thread;
use std::rc::Rc;

/// A lockstep zone whose rows all have writers.
fn segments(rows: u32, lanes: usize) -> Rc<Segments> {
    let segments = Segments::of_pace(Pace::Lockstep, rows, lanes, 128);
    for row in &segments.rows {
        row.state.store(ROW_OPEN, RELAXED.get());
    }
    segments
}

/// Passes a round for this reason, if it can be passed.
fn pass(segments: &Segments, round: Round, reason: Reason) -> bool {
    let proposal = Proposal { reason, proposer: 0, tagged: false };
    lockstep::pass(segments.zone(), round, &proposal, no_clock, &mut Races::default())
}

/// A row's last commit, without lanes.
fn commit(segments: &Segments, row: usize, version: u64) {
    segments.rows[row].version.store(version, COMMIT.get());
}

/// Gives a row's permit with the commits up to `version`, and passes the era if it is the last; its number.
fn permit(segments: &Segments, row: usize, version: u64) -> u64 {
    let round = lockstep::permit(segments.zone(), &segments.rows[row], version);
    pass(segments, round, Reason::Permits);
    round.era
}

/// The deadline of a round has passed.
fn deadline(segments: &Segments, round: Round) {
    pass(segments, round, Reason::Deadline);
}

/// A row of a sealed era: its cut, and whether it is marked.
fn row(segments: &Segments, era: u64, row: usize) -> (Cut, bool) {
    (sequencer::cut(segments.zone(), era, row), sequencer::straddled(segments.zone(), era, row) == Some(true))
}

/// Writers that each commit, give their permit, and commit on right after.
fn writers(segments: &Rc<Segments>, rows: std::ops::Range<usize>, stop: &Stop) -> Vec<thread::JoinHandle<()>> {
    let writer = |row: usize| {
        let (segments, stop) = (segments.clone(), if row == 0 { stop.clone() } else { never() });
        thread::spawn(move || {
            stop.run(|| {
                commit(&segments, row, 1);
                assert_eq!(permit(&segments, row, 1), 1);
                commit(&segments, row, 2);
            });
        })
    };
    rows.map(writer).collect()
}

/// The only sealed era is the first, with all permits.
fn looks_at_the_first(segments: &Segments, rows: usize) {
    assert_eq!(segments.zone().generation(), 1, "all have given their permit, and nobody has passed the era");
    for index in 0..rows {
        assert_eq!(row(segments, 1, index), (Cut::Version(1), false), "of row {index}");
        assert_eq!(lockstep::was_taken(segments.zone(), 1, index, 1), Some(true));
    }
}

/// Would break: two writers that each take the other for the last (the fence), and an era that nobody passes; a cut with a commit that was
/// made after the permit.
#[test]
fn the_last_of_two_permits_passes_the_era() {
    check(4, || {
        let segments = segments(2, 0);
        for writer in writers(&segments, 0..2, &never()) {
            writer.join().unwrap();
        }
        let after = thread::spawn(move || looks_at_the_first(&segments, 2));
        after.join().unwrap();
    });
}

#[test]
fn the_last_of_three_permits_passes_the_era() {
    check(2, || {
        let segments = segments(3, 0);
        for writer in writers(&segments, 0..3, &never()) {
            writer.join().unwrap();
        }
        let after = thread::spawn(move || looks_at_the_first(&segments, 3));
        after.join().unwrap();
    });
}

/// Two writers with a lane each, and a synced reader.
///
/// Would break: a cut whose message its lane does not show (what a permit names has to be passed on by whoever takes it); a cut that
/// changes.
#[test]
fn a_synced_reader_finds_what_was_permitted() {
    check(2, || {
        let segments = segments(2, 2);
        let writers = [0, 1].map(|row| {
            let segments = segments.clone();
            thread::spawn(move || {
                let mut writer = Writer::new(&segments, row, &[row]);
                writer.publish(0, 8);
                permit(&segments, row, writer.version);
                writer.publish(0, 9);
            })
        });
        let reader = thread::spawn(move || {
            if segments.zone().generation() > 0 {
                for row in [0, 1] {
                    assert_eq!(segments.cut(1, row), Some(1));
                    assert_eq!(Reader::new(&segments, row, row).all_synced(1), [(8, 1)]);
                }
            }
        });
        for writer in writers {
            writer.join().unwrap();
        }
        reader.join().unwrap();
    });
}

/// Of two writers, one has given its permit; the other gives it while the deadline passes.
fn late(stop: &Stop, stopped: [bool; 2]) {
    let segments = segments(2, 0);
    commit(&segments, 0, 1);
    permit(&segments, 0, 1);
    let [writers, broker] = stopped.map(|stopped| if stopped { stop.clone() } else { never() });
    let round = lockstep::round(segments.zone());
    let shared = segments.clone();
    let writer = thread::spawn(move || {
        let told = writers.run(|| {
            commit(&shared, 1, 1);
            // If the deadline has passed already, the permit is for the next era.
            let is_for_this = permit(&shared, 1, 1) == 1;
            let was_taken = lockstep::was_taken(shared.zone(), 1, 1, 1);
            assert!(was_taken.is_some(), "a permit was given, and its era is not sealed");
            assert!(is_for_this || was_taken == Some(false));
            was_taken
        });
        told.flatten()
    });
    let shared = segments.clone();
    let broker = thread::spawn(move || {
        broker.run(|| {
            deadline(&shared, round);
            row(&shared, 1, 1)
        })
    });
    let told = writer.join().unwrap();
    let seen = broker.join().unwrap();
    let after = thread::spawn(move || {
        // Whoever was stopped has left no more than an edge that has begun.
        sequencer::finish_begun(segments.zone(), no_clock, &mut Races::default());
        assert_eq!(segments.zone().generation(), 1, "the round after was passed too, or none was");
        assert_eq!(row(&segments, 1, 0), (Cut::Version(1), false));
        let found = row(&segments, 1, 1);
        assert!([(Cut::Version(1), false), (Cut::Version(0), true)].contains(&found), "{found:?}");
        let was_taken = lockstep::was_taken(segments.zone(), 1, 1, 1);
        assert_eq!(was_taken, Some(!found.1));
        assert!(told.is_none_or(|told| Some(told) == was_taken), "the writer was told {told:?}: {found:?}");
        assert!(seen.is_none_or(|seen| seen == found), "{seen:?} has become {found:?}");
    });
    after.join().unwrap();
}

/// Would break: a permit that counts for one and is late for another; a writer that is told wrong; a deadline that was for this round, and
/// passes the next one.
#[test]
fn a_permit_counts_or_is_late() {
    check(3, || late(&never(), [false, false]));
}

/// The same, with a writer that stops anywhere in its permit or in passing the era.
#[test]
fn a_stopped_writers_permit_counts_or_is_late() {
    at_every_stop(2, |stop| late(stop, [true, false]));
}

/// The same, with an edge that stops anywhere.
#[test]
fn a_permit_counts_or_is_late_for_a_stopped_deadline() {
    at_every_stop(2, |stop| late(stop, [false, true]));
}

/// A writer that gives a late permit with which it has committed nothing is told that it was late.
#[test]
fn a_late_permit_for_nothing_is_late() {
    check(1, || {
        let segments = segments(2, 0);
        let writer = thread::spawn(move || {
            permit(&segments, 0, 0);
            deadline(&segments, lockstep::round(segments.zone()));
            assert_eq!(row(&segments, 1, 1), (Cut::Version(0), true));
            assert_eq!([0, 1].map(|row| lockstep::was_taken(segments.zone(), 1, row, 0)), [Some(true), Some(false)]);
        });
        writer.join().unwrap();
    });
}

/// A row whose writer gave its last permit for an era whose number is the same as this one's, as far as a permit names it.
///
/// Would break: a cut that goes back to that permit.
#[test]
fn a_permit_of_long_ago_takes_nothing_back() {
    check(1, || {
        let segments = segments(1, 0);
        let writer = thread::spawn(move || {
            commit(&segments, 0, 1);
            assert_eq!(permit(&segments, 0, 1), 1);
            commit(&segments, 0, 5);
            leaves(&segments, 0);
            // The eras up to this one are left out; it has the first slot, and the next has the second.
            let sealed = 1 << 17;
            let second = segments.geometry.slot_stride();
            for (word, value) in [(0, 1 << 48 | 1), (SLOT_WORDS, 1 << 48 | 5), (second, 0), (second + SLOT_WORDS, 0)] {
                segments.slots[word].store(value, RELAXED.get());
            }
            segments.header.generation.0.store(sealed, FLIP.get());
            segments.header.closing.0.store(sealed << 16, RELAXED.get());
            assert_eq!(segments.cut(sealed, 0), Some(5));
            assert!(pass(&segments, lockstep::round(segments.zone()), Reason::Rest));
            assert_eq!(segments.cut(sealed + 1, 0), Some(5));
        });
        writer.join().unwrap();
    });
}

/// A helper that stops anywhere while another goes round the generation ring, era by era, and then goes on.
fn survives(reason: Reason, seal: impl Fn(&Segments, u64) + 'static) {
    let segments = segments(1, 0);
    let shared = segments.clone();
    let stale = thread::spawn(move || {
        let round = lockstep::round(shared.zone());
        pass(&shared, round, reason);
    });
    let shared = segments.clone();
    let others = thread::spawn(move || {
        (1..=u64::from(ERAS) + 1).for_each(|version| seal(&shared, version));
        let generation = shared.zone().generation();
        // The helper may pass one more.
        let eras = sequencer::oldest_era(shared.zone(), generation + 1)..=generation;
        let look = |era| (era, row(&shared, era, 0), sequencer::record(shared.zone(), era));
        eras.map(look).collect::<Vec<_>>()
    });
    stale.join().unwrap();
    let seen = others.join().unwrap();
    let after = thread::spawn(move || {
        for (era, cut, record) in seen {
            assert_eq!(row(&segments, era, 0), cut, "the cut of era {era} has changed");
            assert_eq!(sequencer::record(segments.zone(), era), record, "the record of era {era} has changed");
        }
        commit(&segments, 0, 9);
        let era = permit(&segments, 0, 9);
        assert_eq!(segments.cut(era, 0), Some(9), "the eras do not go on");
    });
    after.join().unwrap();
}

/// Would break: a word of a later era that the helper overwrites.
#[test]
fn a_stale_helper_of_permits_overwrites_nothing() {
    let seal = |segments: &Segments, version| {
        commit(segments, 0, version);
        permit(segments, 0, version);
    };
    check(2, move || survives(Reason::Permits, seal));
}

/// The same, with deadlines: there is no fence on the way, so whatever is found decided has to pass on that the era before is sealed.
#[test]
fn a_stale_helper_of_a_deadline_overwrites_nothing() {
    let seal = |segments: &Segments, _| deadline(segments, lockstep::round(segments.zone()));
    check(2, move || survives(Reason::Deadline, seal));
}

/// A writer gives its permit, which one deadline's edge takes, and another finds taken.
///
/// Would break: a cut that does not pass on the commits which it names.
#[test]
fn a_cut_that_another_decided_has_its_messages() {
    check(2, || {
        let segments = segments(1, 1);
        let round = lockstep::round(segments.zone());
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0]);
            writer.publish(0, 8);
            lockstep::permit(shared.zone(), &shared.rows[0], writer.version);
        });
        let edges = [0, 1].map(|_| {
            let segments = segments.clone();
            thread::spawn(move || {
                deadline(&segments, round);
                let cut = segments.cut(1, 0).unwrap();
                assert_eq!(Reader::new(&segments, 0, 0).all_synced(cut).len() as u64, cut);
            })
        });
        writer.join().unwrap();
        for edge in edges {
            edge.join().unwrap();
        }
    });
}

/// The broker gives a row to a writer, as it does: the era that is closing does not wait for it.
fn joins(segments: &Segments, row: usize) {
    let (closing, _) = sequencer::closing(segments.zone().header);
    let version = segments.version(row);
    segments.rows[row].permit.store(0, RELAXED.get());
    segments.rows[row].inherited.store(version, RELAXED.get());
    segments.rows[row].joined.store(closing + 1, RELAXED.get());
    segments.rows[row].state.store(ROW_OPEN, STATE_SET.get());
    segments.header.high.0.rows.fetch_max(row as u64 + 1, ROSTER_RAISE.get());
}

/// The broker takes a row back, once its lanes have their ends, and passes the era if that was the last that it waited for.
fn leaves(segments: &Segments, row: usize) {
    segments.rows[row].state.store(ROW_FREE, STATE_SET.get());
    let round = lockstep::departed(segments.zone());
    pass(segments, round, Reason::Permits);
}

/// A writer joins, commits and gives its permit at once, while another gives its own.
///
/// Would break: an era that waits for a permit that was given; a joining writer that is told that its permit was taken, and it was not.
#[test]
fn a_writer_joins_while_another_gives_its_permit() {
    check(3, || {
        let segments = segments(2, 0);
        segments.header.high.0.rows.store(1, RELAXED.get());
        segments.rows[1].state.store(ROW_FREE, RELAXED.get());
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            commit(&shared, 0, 1);
            assert_eq!(permit(&shared, 0, 1), 1);
        });
        let shared = segments.clone();
        let joining = thread::spawn(move || {
            joins(&shared, 1);
            commit(&shared, 1, 1);
            let era = permit(&shared, 1, 1);
            commit(&shared, 1, 2);
            era
        });
        writer.join().unwrap();
        let era = joining.join().unwrap();
        let after = thread::spawn(move || {
            assert_eq!(segments.zone().generation(), 1, "the era waits for a permit that was given");
            assert_eq!(row(&segments, 1, 0), (Cut::Version(1), false));
            let found = row(&segments, 1, 1);
            assert!([Cut::Version(1), Cut::Version(0), Cut::NoRow].contains(&found.0) && !found.1, "{found:?}");
            assert!(era == 1 || found.0 != Cut::Version(1), "a permit for another era was taken");
            let was_taken = lockstep::was_taken(segments.zone(), 1, 1, 1);
            assert_eq!(was_taken, Some(found.0 == Cut::Version(1)));
        });
        after.join().unwrap();
    });
}

/// Of two for whom an era waits, one leaves as the other gives its permit, and perhaps stops. What it committed last it has no permit for.
fn departure(stop: &Stop) {
    let segments = segments(2, 0);
    let shared = segments.clone();
    let leaving = thread::spawn(move || {
        commit(&shared, 1, 1);
        leaves(&shared, 1);
    });
    let (shared, stop) = (segments.clone(), stop.clone());
    let writer = thread::spawn(move || {
        let permit = stop.run(|| {
            commit(&shared, 0, 1);
            permit(&shared, 0, 1)
        });
        permit.is_some()
    });
    leaving.join().unwrap();
    let lives = writer.join().unwrap();
    let after = thread::spawn(move || {
        assert!(!lives || segments.zone().generation() == 1, "the era waits for nobody, and nobody has passed it");
        if !lives {
            // The broker finds it dead, and then a zone without writers.
            sequencer::finish_begun(segments.zone(), no_clock, &mut Races::default());
            leaves(&segments, 0);
            let round = lockstep::round(segments.zone());
            if round.era == 1 {
                pass(&segments, round, Reason::Rest);
            }
        }
        assert_eq!(segments.zone().generation(), 1);
        assert_eq!(row(&segments, 1, 1), (Cut::Version(1), false), "of the row that was left");
        assert_eq!(row(&segments, 1, 0), (Cut::Version(segments.version(0)), false));
    });
    after.join().unwrap();
}

/// Would break: two of whom each takes the other for the last (the same fence), and an era without what was left.
#[test]
fn a_writer_leaves_while_another_gives_its_permit() {
    check(4, || departure(&never()));
}

#[test]
fn a_writer_leaves_while_another_stops_in_its_permit() {
    at_every_stop(2, departure);
}

/// A writer leaves that has given its permit, and somebody else is given its row and commits, while another writer passes the era.
///
/// Would break: an era without what was permitted, or with what the next owner of the row has given no permit for.
#[test]
fn what_was_permitted_stays_when_the_row_has_a_new_owner() {
    check(3, || {
        let segments = segments(2, 0);
        commit(&segments, 1, 1);
        assert_eq!(permit(&segments, 1, 1), 1);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            commit(&shared, 0, 1);
            assert_eq!(permit(&shared, 0, 1), 1);
        });
        let shared = segments.clone();
        let owners = thread::spawn(move || {
            leaves(&shared, 1);
            joins(&shared, 1);
            commit(&shared, 1, 2);
        });
        writer.join().unwrap();
        owners.join().unwrap();
        let after = thread::spawn(move || {
            let round = lockstep::round(segments.zone());
            if round.era == 1 {
                // It waits for the new owner.
                deadline(&segments, round);
            }
            assert_eq!(row(&segments, 1, 0), (Cut::Version(1), false));
            assert_eq!(row(&segments, 1, 1).0, Cut::Version(1), "of the row with two owners");
        });
        after.join().unwrap();
    });
}

/// Somebody finishes what was begun, while the others pass the era, and perhaps one of them stops on the way.
///
/// Would break: an edge that is not finished, one that is begun for nobody, and a cut past the permit.
fn finishes(stop: &Stop, finish: impl FnOnce(&Segments) + 'static) {
    let segments = segments(2, 0);
    commit(&segments, 1, 1);
    assert_eq!(permit(&segments, 1, 1), 1);
    commit(&segments, 1, 2);
    let (shared, stop) = (segments.clone(), stop.clone());
    let writer = thread::spawn(move || stop.run(|| permit(&shared, 0, 0)).is_some());
    let shared = segments.clone();
    let other = thread::spawn(move || finish(&shared));
    let lives = writer.join().unwrap();
    other.join().unwrap();
    let after = thread::spawn(move || {
        sequencer::finish_begun(segments.zone(), no_clock, &mut Races::default());
        let generation = segments.zone().generation();
        assert!(generation == 1 || (generation == 0 && !lives), "{generation} eras");
        if generation == 1 {
            assert_eq!(row(&segments, 1, 1), (Cut::Version(1), false));
        }
    });
    after.join().unwrap();
}

#[test]
fn an_edge_is_finished_and_none_begun() {
    at_every_stop(2, |stop| {
        finishes(stop, |segments| sequencer::finish_begun(segments.zone(), no_clock, &mut Races::default()));
    });
}

#[test]
fn an_edge_is_finished_before_a_tag_is_put_down() {
    at_every_stop(2, |stop| {
        finishes(stop, |segments| {
            let proposed = sequencer::propose_tag(segments.zone(), 1, 7, no_clock, &mut Races::default());
            assert_eq!(proposed, Ok(()));
        });
    });
}

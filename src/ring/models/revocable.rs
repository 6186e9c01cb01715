//! Rolling an era back that is open, against permits, deadlines and synced readers.

use super::{
    Cut, RELAXED, Reader, Segments, Stop, Writer, at_every_stop, check, never, no_clock, ring_lane, sequencer,
};
use crate::layout::zone::{Pace, ROW_FREE, ROW_OPEN, Reason};
use crate::ring::lockstep::{self, Round, TooLate};
use crate::ring::order::{COMMIT, STATE_SET};
use crate::ring::recovery::{finish, set_end};
use crate::ring::sequencer::{Proposal, Races};
use loom::thread;
use std::rc::Rc;

/// A revocable zone whose rows all have writers.
fn segments(rows: u32, lanes: usize) -> Rc<Segments> {
    let segments = Segments::of_pace(Pace::Revocable, rows, lanes, 128);
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

/// Rolls the open era back on behalf of a row.
fn roll_back(segments: &Segments, row: usize) -> Result<u64, TooLate> {
    lockstep::roll_back(segments.zone(), &segments.rows[row])
}

/// Whoever finds that the era was rolled back does what it did again, as its second commit, and gives its permit for that.
fn does_again(segments: &Segments, row: usize, rolls: u64) {
    lockstep::rolled_back(&segments.rows[row], rolls);
    commit(segments, row, 2);
    permit(segments, row, 2);
}

/// One writer gives its permit; the other does not, and rolls the era back. Both do it again, and give their permits.
///
/// Would break: an era with what was permitted before the roll-back; one that waits for a permit that was given after it.
#[test]
fn no_permit_of_before_a_roll_back_counts() {
    check(3, || {
        let segments = segments(2, 0);
        let shared = segments.clone();
        let permits = thread::spawn(move || {
            commit(&shared, 0, 1);
            permit(&shared, 0, 1);
            let rolls = lockstep::rolls(&shared.header);
            if rolls != 0 {
                does_again(&shared, 0, rolls);
            }
            rolls != 0
        });
        let shared = segments.clone();
        let revokes = thread::spawn(move || {
            commit(&shared, 1, 1);
            let rolls = roll_back(&shared, 1).expect("an era without this row's permit");
            does_again(&shared, 1, rolls);
        });
        let again = permits.join().unwrap();
        revokes.join().unwrap();
        let after = thread::spawn(move || {
            if !again {
                does_again(&segments, 0, 1);
            }
            assert_eq!(segments.zone().generation(), 1, "all have given their permit, and nobody has passed the era");
            assert_eq!([0, 1].map(|row| segments.cut(1, row)), [Some(2); 2]);
        });
        after.join().unwrap();
    });
}

/// One writer has given its permit; the other rolls the era back while a deadline's edge begins. Either may stop.
fn against_a_deadline(stop: &Stop, stopped: [bool; 2]) {
    let segments = segments(2, 0);
    commit(&segments, 0, 1);
    permit(&segments, 0, 1);
    let [revokes, broker] = stopped.map(|stopped| if stopped { stop.clone() } else { never() });
    let round = lockstep::round(segments.zone());
    let shared = segments.clone();
    let revokes = thread::spawn(move || revokes.run(|| roll_back(&shared, 1).is_ok()));
    let shared = segments.clone();
    let broker = thread::spawn(move || broker.run(|| pass(&shared, round, Reason::Deadline)));
    let rolled_back = revokes.join().unwrap();
    let passed = broker.join().unwrap();
    let after = thread::spawn(move || {
        sequencer::finish_begun(segments.zone(), no_clock, &mut Races::default());
        let is_sealed = segments.zone().generation() == 1;
        let is_rolled_back = lockstep::rolls(&segments.header) == 1;
        assert!(rolled_back.is_none_or(|told| told == is_rolled_back));
        assert!(passed.is_none_or(|told| told == is_sealed));
        if is_sealed {
            // Before the roll-back, which is of the era after, if it is of any.
            assert_eq!([0, 1].map(|row| segments.cut(1, row)), [Some(1), Some(0)]);
        } else if is_rolled_back {
            // The next deadline passes, before anybody has given a permit.
            assert!(pass(&segments, lockstep::round(segments.zone()), Reason::Deadline));
            assert_eq!([0, 1].map(|row| segments.cut(1, row)), [Some(0); 2], "a permit of before the roll-back");
        }
    });
    after.join().unwrap();
}

/// Would break: an era that is sealed and was rolled back; a deadline that was for the round before the roll-back and passes the one after.
#[test]
fn a_roll_back_or_a_deadline_comes_first() {
    check(4, || against_a_deadline(&never(), [false, false]));
}

/// The same, with either of them stopped anywhere.
#[test]
fn a_stopped_roll_back_or_deadline_holds_nobody_up() {
    at_every_stop(3, |stop| against_a_deadline(stop, [true, false]));
    at_every_stop(3, |stop| against_a_deadline(stop, [false, true]));
}

/// An era passes, and whoever passed it rolls back the next one.
///
/// Would break: a writer that finds the roll-back and not that its commits are sealed, and forgets them.
#[test]
fn a_roll_back_forgets_nothing_that_is_sealed() {
    check(4, || {
        let segments = segments(2, 0);
        let shared = segments.clone();
        let keeps = thread::spawn(move || {
            commit(&shared, 0, 1);
            permit(&shared, 0, 1);
            if lockstep::rolls(&shared.header) != 0 {
                assert_eq!(shared.zone().generation(), 1);
                assert_eq!(shared.cut(1, 0), Some(1));
            }
        });
        let revokes = thread::spawn(move || {
            permit(&segments, 1, 0);
            if segments.zone().generation() == 1 {
                assert_eq!(roll_back(&segments, 1), Ok(1));
            }
        });
        keeps.join().unwrap();
        revokes.join().unwrap();
    });
}

/// Whoever rolls an era back resets its deadline, and a permit that was given since sets it.
///
/// Would break: a permit whose deadline never comes.
#[test]
fn a_round_begins_anew_after_a_roll_back() {
    check(4, || {
        let segments = segments(3, 0);
        let clock = || Some(7);
        lockstep::start_round(segments.zone(), lockstep::round(segments.zone()), clock);
        let shared = segments.clone();
        let permits = thread::spawn(move || {
            let rolls = lockstep::rolls(&shared.header);
            if rolls == 1 {
                lockstep::rolled_back(&shared.rows[0], rolls);
                let round = lockstep::permit(shared.zone(), &shared.rows[0], 0);
                lockstep::start_round(shared.zone(), round, clock);
            }
            rolls == 1
        });
        let shared = segments.clone();
        let revokes = thread::spawn(move || assert_eq!(roll_back(&shared, 1), Ok(1)));
        let permitted = permits.join().unwrap();
        revokes.join().unwrap();
        let after = thread::spawn(move || {
            let began = lockstep::round_began(segments.zone(), lockstep::round(segments.zone()));
            assert_eq!(began.is_some(), permitted);
        });
        after.join().unwrap();
    });
}

/// What a writer did in the era that is rolled back, and does instead.
#[derive(Clone, Copy)]
struct Story {
    before: fn(&mut Writer<'_>),
    after: fn(&mut Writer<'_>),
    /// What the first two eras have in each of two lanes.
    eras: [[&'static [u64]; 2]; 2],
}

/// The first era; the second one, rolled back and done again.
fn writes(segments: &Segments, story: Story) {
    let mut writer = Writer::new(segments, 0, &[0, 1]);
    writer.publish(0, 8);
    permit(segments, 0, writer.version);
    let places = writer.places();
    (story.before)(&mut writer);
    let rolls = roll_back(segments, 0).expect("an era without this row's permit");
    writer.go_back(&places);
    lockstep::rolled_back(&segments.rows[0], rolls);
    (story.after)(&mut writer);
    permit(segments, 0, writer.version);
}

/// A synced reader of a lane: takes what is sealed, perhaps from the last page that it can start from.
fn reads(segments: &Segments, lane: usize, story: Story, jumps: bool) {
    let mut reader = Reader::new(segments, lane, 0);
    for _ in 0..2 {
        let generation = segments.zone().generation();
        if generation == 0 {
            // What a reader finds before an era is sealed is nothing to it.
            assert_eq!(reader.all_synced(0), []);
            continue;
        }
        let cut = segments.cut(generation, 0).unwrap();
        let expected = story.eras[generation as usize - 1][lane];
        if jumps {
            let view = segments.lane(lane);
            let sealed = ring_lane::starts(view, reader.place.position).take_while(|start| start.after <= cut);
            reader.place = sealed.last().map_or(reader.place, |start| start.reader);
        }
        let from = reader.place.sequence as usize;
        let taken: Vec<u64> = reader.all_synced(cut).into_iter().map(|(value, _)| value).collect();
        assert_eq!(Some(&taken[..]), expected.get(from..), "era {generation}, from message {from}");
    }
}

/// A writer that goes back, and a synced reader.
///
/// Would break: a message that was rolled back, or a part of one, handed out: in the era that is sealed then, or where a lane was written
/// before and not since; a page mark into what was rolled back.
fn goes_back(story: Story, lane: usize) {
    for jumps in [false, true] {
        check(3, move || {
            let segments = segments(1, 2);
            let shared = segments.clone();
            let writer = thread::spawn(move || writes(&shared, story));
            let reader = thread::spawn(move || reads(&segments, lane, story, jumps));
            writer.join().unwrap();
            reader.join().unwrap();
        });
    }
}

const SHORTER: Story = Story {
    before: |writer| {
        writer.push(0, 66, 2);
        writer.push(0, 67, 1);
        writer.commit();
    },
    after: |writer| assert!(writer.publish(0, 9)),
    eras: [[&[8], &[]], [&[8, 9], &[]]],
};

const ELSEWHERE: Story = Story {
    before: |writer| assert!(writer.publish(1, 66)),
    after: |writer| assert!(writer.publish(0, 9)),
    eras: [[&[8], &[]], [&[8, 9], &[]]],
};

const JOINT: Story = Story {
    before: |writer| {
        writer.push(0, 66, 1);
        writer.push(1, 67, 1);
        writer.commit();
    },
    after: |writer| {
        writer.push(0, 9, 2);
        writer.push(1, 10, 1);
        writer.commit();
    },
    eras: [[&[8], &[]], [&[8, 9], &[10]]],
};

#[test]
fn what_was_rolled_back_is_written_over() {
    goes_back(SHORTER, 0);
}

#[test]
fn what_was_rolled_back_is_not_there_where_nothing_follows() {
    goes_back(ELSEWHERE, 1);
}

#[test]
fn a_batch_that_was_rolled_back_is_written_over() {
    goes_back(JOINT, 0);
    goes_back(JOINT, 1);
}

/// A writer that stops anywhere in its story; the broker, which has seen it die and keeps what it had permitted; a synced reader.
#[test]
fn what_a_stopped_writer_had_not_permitted_is_not_handed_out() {
    at_every_stop(2, |stop| {
        let segments = segments(1, 2);
        let (shared, stop) = (segments.clone(), stop.clone());
        let owner = thread::spawn(move || {
            if stop.run(|| writes(&shared, SHORTER)).is_none() {
                buries(&shared);
            }
        });
        let shared = segments.clone();
        let reader = thread::spawn(move || reads_what_is_left(&shared));
        owner.join().unwrap();
        reader.join().unwrap();
        let after = thread::spawn(move || {
            pass(&segments, lockstep::round(segments.zone()), Reason::Rest);
            reads_what_is_left(&segments);
        });
        after.join().unwrap();
    });
}

/// What the broker does for a dead writer of a revocable zone.
fn buries(segments: &Segments) {
    let (zone, row) = (segments.zone(), &segments.rows[0]);
    sequencer::finish_begun(zone, no_clock, &mut Races::default());
    let generation = zone.generation();
    let sealed = match sequencer::cut(zone, generation, 0) {
        Cut::Version(version) if generation > 0 => version,
        _ => 0,
    };
    let is_current = row.rolled.load(RELAXED.get()) == lockstep::rolls(&segments.header);
    let permitted = lockstep::permit_of(row, generation + 1).filter(|_| is_current).unwrap_or(0);
    let finished = finish(row, &[0, 1].map(|lane| (segments.lane(lane), 64)), permitted.max(sealed));
    for (lane, &end) in finished.ends.iter().enumerate() {
        set_end(&segments.entries[lane], end);
    }
    row.state.store(ROW_FREE, STATE_SET.get());
}

/// Takes all that is sealed: what the story has, and nothing else.
fn reads_what_is_left(segments: &Segments) {
    let generation = segments.zone().generation();
    if generation == 0 {
        return;
    }
    let cut = segments.cut(generation, 0).unwrap();
    let taken: Vec<u64> = Reader::new(segments, 0, 0).all_synced(cut).into_iter().map(|(value, _)| value).collect();
    assert!([8, 9].starts_with(&taken), "{taken:?}");
}

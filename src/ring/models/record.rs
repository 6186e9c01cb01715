//! What is on record of an era: why and when its edge passed, and whose tag it carries.

use super::{ERAS, RELAXED, Segments, Stop, at_every_stop, check, never, sequencer};
use crate::layout::zone::Reason;
use crate::ring::sequencer::{Proposal, Races, Record};
use loom::thread;
use std::rc::Rc;

/// The `n`-th tag of a proposer: both halves say whose it is, and which.
fn tag(proposer: u32, n: u64) -> u64 {
    let half = u64::from(proposer + 1) << 8 | n;
    half << 32 | half
}

/// A proposer's reason.
fn reason(proposer: u32) -> Reason {
    [Reason::Exact, Reason::Click][proposer as usize]
}

/// A proposer's clock.
fn time(proposer: u32) -> u64 {
    100 + u64::from(proposer)
}

/// A zone of two proposers, of whose rows none is counted, so that an era is its record.
fn segments() -> Rc<Segments> {
    let segments = Segments::new(2, 0, 64);
    segments.header.high.0.rows.store(0, RELAXED.get());
    segments
}

/// Puts down the `n`-th tag of a proposer.
fn propose(segments: &Segments, proposer: u32, n: u64) {
    let clock = || Some(time(proposer));
    let proposed = sequencer::propose_tag(segments.zone(), proposer, tag(proposer, n), clock, &mut Races::default());
    assert_eq!(proposed, Ok(()));
}

fn proposal(proposer: u32) -> Proposal {
    Proposal { reason: reason(proposer), proposer, tagged: true }
}

/// Seals an era with the tag that was put down, if nobody else is first.
fn seal(segments: &Segments, proposer: u32) -> u64 {
    let clock = || Some(time(proposer));
    sequencer::seal(segments.zone(), &proposal(proposer), clock, &mut Races::default())
}

/// Seals an era with the tag that was put down.
fn edge(segments: &Segments, proposer: u32) -> u64 {
    let clock = || Some(time(proposer));
    let era = sequencer::edge(segments.zone(), &mut [0; 2], &proposal(proposer), clock, &mut Races::default());
    era.expect("an edge overtaken for ever")
}

/// The record of a sealed era that is in the generation ring: one proposer's reason, and that one's tag.
fn sound(segments: &Segments, era: u64) -> Record {
    let record = sequencer::record(segments.zone(), era).expect("a sealed era without a record");
    let Record { proposer, time_us, .. } = record;
    assert!([time(0), time(1)].contains(&time_us), "{record:?}");
    match record.tag {
        Some(found) => {
            assert_eq!(record.reason, reason(proposer));
            assert!([0, 1].map(|n| tag(proposer, n)).contains(&found), "a tag of nobody: {record:?}");
        }
        // An edge that is finished before a tag is put down.
        None => assert!([Reason::Exact, Reason::Rest].contains(&record.reason)),
    }
    record
}

/// Looks at an era twice, if it is sealed.
fn looks_twice(segments: &Segments, era: u64) -> Option<Record> {
    (segments.zone().generation() >= era).then(|| {
        let record = sound(segments, era);
        assert_eq!(sound(segments, era), record, "the record of era {era} has changed");
        record
    })
}

/// Two proposers of one era or two, and a reader. The first may stop.
fn story(stop: &Stop) {
    let segments = segments();
    let proposers = [0, 1].map(|proposer| {
        let (segments, stop) = (segments.clone(), if proposer == 0 { stop.clone() } else { never() });
        thread::spawn(move || {
            stop.run(|| {
                propose(&segments, proposer, 0);
                seal(&segments, proposer)
            });
        })
    });
    let shared = segments.clone();
    let reader = thread::spawn(move || looks_twice(&shared, 1));
    for proposer in proposers {
        proposer.join().unwrap();
    }
    let seen = reader.join().unwrap();
    let after = thread::spawn(move || {
        let record = looks_twice(&segments, 1).expect("one proposer was not stopped");
        assert!(seen.is_none_or(|seen| seen == record), "{seen:?}, {record:?}");
    });
    after.join().unwrap();
}

/// Would break: a reason of one proposer with the tag of another, a tag of two halves, a record that two participants see different
/// (whoever helps copies the tag of whom was decided, and finds it as it was put down).
#[test]
fn an_era_is_one_proposers() {
    check(2, || story(&never()));
}

/// The same, with a proposer that stops anywhere.
#[test]
fn a_stopped_proposers_era_is_one_proposers() {
    at_every_stop(1, story);
}

/// Two proposers that each want an era with a tag of their own.
///
/// Would break: an era returned that carries another's tag, or none.
#[test]
fn who_tags_is_given_an_era_with_that_tag() {
    check(3, || {
        let segments = segments();
        let proposers = [0, 1].map(|proposer| {
            let segments = segments.clone();
            thread::spawn(move || {
                propose(&segments, proposer, 0);
                let era = edge(&segments, proposer);
                let record = sound(&segments, era);
                assert_eq!((record.proposer, record.tag), (proposer, Some(tag(proposer, 0))), "of era {era}");
            })
        });
        for proposer in proposers {
            proposer.join().unwrap();
        }
    });
}

/// A proposer that tags two eras in a row, and a helper that stops anywhere in the first.
///
/// Would break: an era with a half of the tag that comes after it.
#[test]
fn a_tag_is_not_taken_for_the_one_before() {
    check(2, || {
        let segments = segments();
        segments.rows[0].tag.store(tag(0, 0), RELAXED.get());
        let shared = segments.clone();
        let helper = thread::spawn(move || {
            let untagged = Proposal { reason: Reason::Exact, proposer: 1, tagged: false };
            sequencer::seal(shared.zone(), &untagged, || Some(time(1)), &mut Races::default())
        });
        let shared = segments.clone();
        let proposer = thread::spawn(move || {
            seal(&shared, 0);
            propose(&shared, 0, 1);
            seal(&shared, 0);
        });
        helper.join().unwrap();
        proposer.join().unwrap();
        let after = thread::spawn(move || {
            let generation = segments.zone().generation();
            let eras = sequencer::oldest_era(segments.zone(), generation)..=generation;
            let tags: Vec<u64> = eras.filter_map(|era| sound(&segments, era).tag).collect();
            assert!([tag(0, 0), tag(0, 1)].ends_with(&tags) || tags == [tag(0, 0)], "{tags:x?}");
        });
        after.join().unwrap();
    });
}

/// A helper that stops anywhere while others go round the generation ring, and then goes on.
///
/// Would break: a word of a later era's record that the helper overwrites.
#[test]
fn a_stale_helper_leaves_records_alone() {
    check(2, || {
        let segments = segments();
        segments.rows[1].tag.store(tag(1, 0), RELAXED.get());
        let shared = segments.clone();
        let stale = thread::spawn(move || seal(&shared, 1));
        let shared = segments.clone();
        let others = thread::spawn(move || {
            for n in 0..u64::from(ERAS) + 1 {
                propose(&shared, 0, n % 2);
                seal(&shared, 0);
            }
            let generation = shared.zone().generation();
            // The stale helper may seal one more.
            let eras = sequencer::oldest_era(shared.zone(), generation + 1)..=generation;
            eras.map(|era| (era, sound(&shared, era))).collect::<Vec<_>>()
        });
        stale.join().unwrap();
        let records = others.join().unwrap();
        let after = thread::spawn(move || {
            for (era, record) in records {
                assert_eq!(sound(&segments, era), record, "the record of era {era} has changed");
            }
        });
        after.join().unwrap();
    });
}

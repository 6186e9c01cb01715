//! Cause before effect: no era holds a reaction without what it reacts to.

use super::{Next, Reader, Segments, Stop, Writer, at_every_stop, check, never, sequencer};
use loom::thread;
use std::rc::Rc;

/// What the reacting writer publishes of its own, and as its reaction.
const OWN: u64 = 7;
const EFFECT: u64 = 9;

/// A writer publishes a cause; another, whose row an edge takes later, reads it live and publishes a reaction, perhaps after
/// something of its own.
fn reacts(segments: &Segments, of_its_own: bool) {
    let mut reader = Reader::new(segments, 0, 0);
    let mut writer = Writer::new(segments, 1, &[1]);
    if of_its_own {
        writer.publish(0, OWN);
    }
    if let Next::Message { version, .. } = reader.live() {
        sequencer::complete(segments.zone(), 0, version);
        sequencer::reaction_fence();
        writer.publish(0, EFFECT);
    }
}

/// Takes the eras up to `era`: the cause is there if the reaction is.
fn looks_at(segments: &Segments, era: u64) {
    let [Some(cause_cut), Some(effect_cut)] = [0, 1].map(|row| segments.cut(era, row)) else { return };
    let effects = Reader::new(segments, 1, 1).all_synced(effect_cut);
    let causes = Reader::new(segments, 0, 0).all_synced(cause_cut);
    assert_eq!(
        [effects.len() as u64, causes.len() as u64],
        [effect_cut, cause_cut],
        "a commit of the era is not there"
    );
    let reacted = effects.iter().any(|&(value, _)| value == EFFECT);
    assert!(!reacted || !causes.is_empty(), "an effect without its cause in era {era}");
}

/// A cause, a reaction, and edges; each may stop somewhere.
fn story(cause: Stop, reaction: Stop, of_its_own: bool, edges: u32, edge: Stop) {
    let segments = Segments::new(2, 2, 64);
    let shared = segments.clone();
    let cause = thread::spawn(move || {
        cause.run(|| Writer::new(&shared, 0, &[0]).publish(0, 8));
    });
    let shared = segments.clone();
    let reaction = thread::spawn(move || {
        reaction.run(|| reacts(&shared, of_its_own));
    });
    let shared = segments.clone();
    let edge = thread::spawn(move || {
        edge.run(|| {
            for _ in 0..edges {
                shared.seal();
            }
        });
    });
    cause.join().unwrap();
    reaction.join().unwrap();
    edge.join().unwrap();
    after(&segments);
}

/// Whatever has stopped: the next edges keep the order too.
fn after(segments: &Rc<Segments>) {
    let segments = segments.clone();
    let reader = thread::spawn(move || {
        let era = segments.zone().generation();
        (1..=era).for_each(|era| looks_at(&segments, era));
        let era = segments.seal();
        looks_at(&segments, era);
    });
    reader.join().unwrap();
}

/// Would break: the edge takes the cause's row before the cause and the reaction's after the reaction (a writer that does not look at
/// `closing`, or too early; an edge that takes cuts before it says so; a reaction to a frame whose commit is not stored yet).
#[test]
fn no_effect_without_its_cause() {
    check(2, || story(never(), never(), false, 2, never()));
}

/// The reacting writer commits something of its own first, when an era is closing already.
///
/// Would break: a writer that has seen that an era is closing, and takes for settled an older one.
#[test]
fn no_effect_without_its_cause_after_another_commit() {
    check(2, || story(never(), never(), true, 2, never()));
}

/// The same, with a cause whose writer stops anywhere: a reader may have its frame, and its row's version lack it.
#[test]
fn no_effect_without_its_cause_when_that_writer_stops() {
    at_every_stop(2, |stop| story(stop.clone(), never(), false, 1, never()));
}

/// The same, with a reacting writer that stops anywhere.
#[test]
fn no_effect_without_its_cause_when_the_reacting_writer_stops() {
    at_every_stop(2, |stop| story(never(), stop.clone(), false, 1, never()));
}

/// The same, with edges that stop anywhere.
#[test]
fn no_effect_without_its_cause_when_the_edge_stops() {
    at_every_stop(2, |stop| story(never(), never(), false, 1, stop.clone()));
}

/// A frame whose commit somebody else completes, while its writer may have stopped, and a synced reader that seals.
///
/// Would break: an era that names the commit and whose reader does not see the frame.
#[test]
fn what_is_completed_is_there() {
    at_every_stop(2, |stop| {
        let segments = Segments::new(1, 1, 64);
        let (shared, stop) = (segments.clone(), stop.clone());
        let writer = thread::spawn(move || {
            stop.run(|| Writer::new(&shared, 0, &[0]).publish(0, 8));
        });
        let shared = segments.clone();
        let live = thread::spawn(move || {
            if let Next::Message { version, .. } = Reader::new(&shared, 0, 0).live() {
                sequencer::complete(shared.zone(), 0, version);
            }
        });
        let synced = thread::spawn(move || {
            let cut = segments.cut(segments.seal(), 0).unwrap();
            assert_eq!(Reader::new(&segments, 0, 0).all_synced(cut).len() as u64, cut);
        });
        writer.join().unwrap();
        live.join().unwrap();
        synced.join().unwrap();
    });
}

/// An exact edge by whoever has been given a message live, and completes that.
///
/// Would break: an era returned without the message.
#[test]
fn an_exact_edge_covers_what_its_caller_was_given() {
    check(2, || {
        let segments = Segments::new(1, 1, 64);
        let shared = segments.clone();
        let writer = thread::spawn(move || Writer::new(&shared, 0, &[0]).publish(0, 8));
        let shared = segments.clone();
        let other = thread::spawn(move || shared.seal());
        let reader = thread::spawn(move || {
            if let Next::Message { version, .. } = Reader::new(&segments, 0, 0).live() {
                sequencer::complete(segments.zone(), 0, version);
                let era = segments.edge();
                assert_eq!(segments.cut(era, 0), Some(1));
            }
        });
        writer.join().unwrap();
        other.join().unwrap();
        reader.join().unwrap();
    });
}

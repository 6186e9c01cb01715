//! A live reader with markers is handed each edge after exactly the messages of its era.

use super::stage::{Stage, act};
use super::support::ledger::Note;
use super::support::*;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use syncline::{Bus, Error, Live, Message, Start, Zone};

type Eras = BTreeMap<u64, Vec<Note>>;

fn note(message: &Message<'_>) -> Note {
    let (origin, value) = (message.origin(), message.copy().expect("a number"));
    let channel = origin.channel.chars().next().expect("a name");
    Note { row: origin.writer, pid: origin.pid, channel, value }
}

/// Messages by era, as a live reader with markers is handed them; how many of them before their era was sealed. Ends with the era `last`,
/// once that is known.
fn read_marked(bus: &Bus, last: &dyn Fn() -> Option<u64>, ready: &AtomicBool) -> (Eras, u64) {
    let reader = bus.zone("z").reader("marked").channel::<u64>("a").channel::<u64>("b").markers();
    let mut reader = reader.start(Start::Latest).open().expect("reader");
    ready.store(true, Ordering::Release);
    let (mut eras, mut open, mut early, mut era) = (Eras::new(), Vec::new(), 0, 0);
    while last().is_none_or(|last| era < last) {
        match reader.next_live(Duration::from_millis(20)) {
            Ok(Live::Message(message)) => {
                early += u64::from(message.era().is_none());
                open.push(note(&message));
            }
            Ok(Live::Edge(edge)) => {
                assert!(edge.time > Duration::ZERO, "the zone has forgotten era {}", edge.era);
                assert!(edge.era == era + 1 || era == 0, "edge {} after {era}", edge.era);
                era = edge.era;
                eras.insert(era, std::mem::take(&mut open));
            }
            Err(Error::Timeout | Error::Closed(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    (eras, early)
}

/// Lets the reader with markers end when the test fails: it would be waited for.
struct EndsReader<'a>(&'a Mutex<Option<u64>>);

impl Drop for EndsReader<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(0);
    }
}

/// Two compete for edges; a reader with markers and a synced one read all that they publish.
fn compete(test: &str, role_name: &str, rows: u32, options: impl Fn(Zone) -> Zone) {
    if let Some(role) = role() {
        return act(&role);
    }
    let work = times(20_000, 1_000_000);
    let mut stage = Stage::new(test, |zone| options(zone.eras(4096).writers(1024)));
    stage.pause = Duration::ZERO;
    let bus = stage.bus.clone();
    let (ready, last) = (AtomicBool::new(false), Mutex::new(None));
    std::thread::scope(|scope| {
        let _ends = EndsReader(&last);
        let marked = scope.spawn(|| read_marked(&bus, &|| *last.lock().unwrap(), &ready));
        eventually("the reader with markers is there", || ready.load(Ordering::Acquire));
        let (one, two) = (stage.start(role_name, "one"), stage.start(role_name, "two"));
        // Rows without work: an edge is longer at it, between the cuts of the two and the flip.
        let idle: Vec<_> = (0..rows).map(|_| bus.zone("z").writer("idle").expect("writer")).collect();
        let mut synced = Eras::new();
        // While it opened those, the observer may have fallen behind: what it gets merged can not be compared.
        let opened = stage.observer.reader.generation().expect("generation");
        while stage.observer.era < opened {
            let seen = stage.observer.next(LONG).expect("an era");
            if !seen.merged {
                synced.insert(seen.number, seen.notes);
            }
        }
        let mut add = |all: Vec<ledger::Seen>| {
            for seen in all {
                assert!(!seen.merged);
                synced.insert(seen.number, seen.notes);
            }
        };
        while stage.observer.last_of(one.pid()) + stage.observer.last_of(two.pid()) < work {
            add(stage.more(&[&one, &two], 1));
        }
        *last.lock().unwrap() = Some(stage.observer.era);
        // While nobody reads, writers wait for room.
        while !marked.is_finished() {
            let _ = stage.observer.next(Duration::from_millis(1));
        }
        let (mut eras, early) = marked.join().unwrap();
        let mut messages = 0;
        let first = eras.keys().next().copied().unwrap();
        for (era, notes) in synced.range(first..) {
            // In order of each lane, though not of the lanes: that is what the order of an era is.
            let marked = eras.get_mut(era).unwrap_or_else(|| panic!("no edge {era}"));
            messages += marked.len();
            marked.sort_by_key(|note| (note.channel, note.row));
            assert_eq!(marked, notes, "era {era}");
        }
        println!("\n{messages} messages in {} eras; {early} of them were handed out before their edge", synced.len());
        assert!(early > 0 || role_name != "bursts", "every message came with its edge");
        assert!(early < messages as u64, "no message waited for its edge");
        drop(idle);
        stage.finish(vec![one, two], Vec::new());
    });
}

#[test]
fn come_after_exactly_their_eras() {
    compete("markers::come_after_exactly_their_eras", "bursts", 500, |zone| zone);
}

#[test]
fn come_after_exactly_their_eras_of_one_batch() {
    compete("markers::come_after_exactly_their_eras_of_one_batch", "runner", 0, |zone| zone);
}

#[test]
fn come_after_exactly_their_eras_in_a_heartbeat() {
    let click = |zone: Zone| zone.click(Duration::from_millis(1));
    compete("markers::come_after_exactly_their_eras_in_a_heartbeat", "bursts", 500, click);
}

#[test]
fn come_after_exactly_their_rounds() {
    let lockstep = |zone: Zone| zone.lockstep(10 * LONG);
    compete("markers::come_after_exactly_their_rounds", "member", 0, lockstep);
}

//! The heartbeat: what it leaves behind, what an edge does inside it, and who runs it when the broker does not.

use super::puppets::{Puppet, Theatre};
use super::support::*;
use std::time::Duration;
use syncline::{Reason, Zone};

fn click(zone: Zone) -> Zone {
    zone.click(Duration::from_millis(4)).eras(4096)
}

/// Eras go on to come, with `other`'s work in each.
fn beats(theatre: &mut Theatre, other: &mut Puppet, value: &mut u64) {
    for _ in 0..10 {
        *value += 1;
        other.publish(*value);
        let row = other.row;
        let mut is_there = false;
        while !is_there {
            // Without a broker it is the next commit that sees that it is time.
            let seen = match theatre.observer.take(Duration::from_millis(20)) {
                Ok(seen) => seen,
                Err(syncline::Error::Timeout) => {
                    *value += 1;
                    other.publish(*value);
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            assert_eq!(seen.record().reason, Reason::Click);
            is_there = seen.of(row).contains(value);
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Broker {
    Runs,
    Stopped,
    Killed,
}

/// A writer is stopped in the middle of a batch: eras go on without it, and say so; the batch is whole in a later one.
fn leaves_a_batch_behind(test: &'static str, broker: Broker) {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let mut theatre = Theatre::new(test, click);
    let (mut puppet, mut other) = (theatre.puppet("stopped"), theatre.puppet("other"));
    let mut value = 100;
    // Readers know all lanes: they ask the broker about those that have just come.
    beats(&mut theatre, &mut other, &mut value);
    match broker {
        Broker::Runs => {}
        Broker::Stopped => theatre.broker.stop(),
        Broker::Killed => theatre.broker.kill(),
    }
    puppet.must("batch");
    puppet.must("push a 1");
    puppet.must("push b 1");
    puppet.process.stop();
    beats(&mut theatre, &mut other, &mut value);
    let first = theatre.observer.era + 1;
    beats(&mut theatre, &mut other, &mut value);
    // What is on record of all that were begun and ended while it was stopped.
    for era in first..=theatre.observer.era {
        let edge = theatre.observer.reader.edge_info(era).unwrap().expect("a record");
        assert_eq!(edge.straddlers, [puppet.row], "in era {era}");
    }
    if broker == Broker::Runs {
        let listed = theatre.listed(puppet.row);
        assert!(listed.open_batch && listed.straddles >= 20, "{listed:?}");
    }
    puppet.process.resume();
    puppet.must("push a 2");
    let before = theatre.observer.reader.generation().unwrap();
    puppet.must("commit");
    // In one era, whole.
    let (row, mut found) = (puppet.row, None);
    while found.is_none() {
        value += 1;
        other.publish(value);
        let Ok(seen) = theatre.observer.take(Duration::from_millis(20)) else { continue };
        let mut notes = seen.notes.iter().filter(|note| note.row == row);
        let parts: Vec<_> = notes.by_ref().map(|note| (note.channel, note.value)).collect();
        if parts.is_empty() {
            continue;
        }
        assert_eq!(parts, [('a', 1), ('a', 2), ('b', 1)], "a part of the batch in era {}", seen.number);
        assert!(seen.number > before);
        found = Some(seen.number);
    }
    beats(&mut theatre, &mut other, &mut value);
    let generation = theatre.observer.reader.generation().unwrap();
    let edge = theatre.observer.reader.edge_info(generation).unwrap().expect("a record");
    assert_eq!(edge.straddlers, [] as [u32; 0], "the batch is over");
    if broker == Broker::Stopped {
        theatre.broker.resume();
        let listed = theatre.listed(puppet.row);
        assert!(!listed.open_batch && listed.straddles == 0, "{listed:?}");
        // Its own beat needs nobody's commits.
        for _ in 0..5 {
            assert_eq!(theatre.next_edge().reason, Reason::Click);
        }
    }
}

#[test]
fn a_stopped_batch_is_left_behind() {
    leaves_a_batch_behind("click::a_stopped_batch_is_left_behind", Broker::Runs);
}

#[test]
fn a_stopped_batch_is_left_behind_while_the_broker_is_stopped() {
    let test = "click::a_stopped_batch_is_left_behind_while_the_broker_is_stopped";
    leaves_a_batch_behind(test, Broker::Stopped);
}

#[test]
fn a_stopped_batch_is_left_behind_without_a_broker() {
    leaves_a_batch_behind("click::a_stopped_batch_is_left_behind_without_a_broker", Broker::Killed);
}

#[test]
fn the_broker_beats_for_writers_that_are_all_stopped() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let mut theatre = Theatre::new("click::the_broker_beats_for_writers_that_are_all_stopped", click);
    let mut puppets = [theatre.puppet("one"), theatre.puppet("two")];
    for (value, puppet) in (1..).zip(&mut puppets) {
        puppet.publish(value);
        puppet.process.stop();
    }
    let mut seen = Vec::new();
    while theatre.observer.era < 10 || seen.len() < 2 {
        seen.extend(theatre.next().notes);
    }
    assert!(puppets.iter().zip(&seen).all(|(puppet, note)| puppet.row == note.row), "{seen:?}");
    for puppet in &puppets {
        puppet.process.resume();
    }
}

#[test]
fn without_a_broker_a_waiting_participant_beats() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let mut theatre = Theatre::new("click::without_a_broker_a_waiting_participant_beats", click);
    let (mut puppet, mut waits) = (theatre.puppet("writes"), theatre.puppet("waits"));
    theatre.broker.kill();
    puppet.publish(1);
    // Nobody commits from now on.
    let (mut found, mut beats) = (0, 0);
    while found == 0 || beats < 10 {
        waits.number("next");
        while let Ok(seen) = theatre.observer.take(Duration::ZERO) {
            assert_eq!(seen.record().reason, Reason::Click);
            beats += 1;
            found += seen.notes.len();
        }
    }
    assert_eq!(found, 1);
}

#[test]
fn an_edge_inside_a_heartbeat() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let edges = times(200, 2000);
    let options = |zone: Zone| zone.click(Duration::from_millis(1)).eras(4096);
    let mut theatre = Theatre::new("click::an_edge_inside_a_heartbeat", options);
    let mut puppet = theatre.puppet("writer");
    let (mut clicks, mut last, mut merged) = (0, 0, 0);
    for value in 1..=edges {
        puppet.publish(value);
        // Now and then long enough for a click.
        std::thread::sleep(Duration::from_micros(value % 4 * 200));
        let era = puppet.number(&format!("edge {}", value + 1000));
        for seen in theatre.up_to(era) {
            let edge = seen.record();
            match edge.reason {
                // Rest: a click that had just begun when the writer came with its tag, which finished it first.
                Reason::Click | Reason::Rest => clicks += 1,
                Reason::Exact => assert!(edge.tag.is_some()),
                other => panic!("{other:?}"),
            }
            assert_eq!(edge.tag, (seen.number == era).then_some(value + 1000), "era {}", seen.number);
            merged += u64::from(seen.number == era && seen.of(puppet.row).is_empty());
            for note in &seen.notes {
                assert_eq!(note.value, last + 1);
                last = note.value;
            }
        }
        assert_eq!(last, value, "what was committed before the edge is in no era up to {era}");
    }
    println!("\n{edges} edges among {clicks} clicks; a click came between a commit and its edge {merged} times");
    assert!(clicks > 0 && merged > 0, "no click came between");
}

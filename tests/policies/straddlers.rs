//! A batch that is open while edges pass is in a later era, whole; nobody waits for it, and everybody can see it.

use super::puppets::Theatre;
use super::support::*;
use syncline::{Bus, Reason};

const EDGES: u64 = 40;

/// A process with two writers: one has a batch open, the other publishes and seals eras meanwhile.
fn pair() {
    let bus = Bus::connect().unwrap();
    let zone = bus.zone("z");
    let (mut holds, mut goes_on) = (zone.writer("holds").unwrap(), zone.writer("goes on").unwrap());
    let lanes = ["a", "b"].map(|channel| holds.channel(channel).open::<u64>().unwrap());
    let others = ["a", "b"].map(|channel| goes_on.channel(channel).open::<u64>().unwrap());
    say("ready", holds.row());
    say("other", goes_on.row());
    let mut number = 0;
    let mut seal = |count: u64| {
        for _ in 0..count {
            number += 1;
            let mut batch = goes_on.batch().unwrap();
            for lane in others {
                batch.push(lane, &number).unwrap();
            }
            batch.commit().unwrap();
            goes_on.edge().unwrap();
        }
        say("did", number);
    };
    while let Some(how) = hear() {
        let mut batch = holds.batch().unwrap();
        for value in 1..=3 {
            batch.push(lanes[0], &value).unwrap();
        }
        seal(EDGES);
        hear();
        // It may grow meanwhile.
        batch.push(lanes[1], &4).unwrap();
        seal(EDGES);
        hear();
        match &how[..] {
            "commit" => batch.commit().unwrap(),
            _ => batch.roll_back(),
        }
        seal(2);
    }
}

#[test]
fn a_batch_over_many_edges_is_in_one_era() {
    if role().is_some() {
        return pair();
    }
    let mut theatre = Theatre::new("straddlers::a_batch_over_many_edges_is_in_one_era", |zone| zone.eras(256));
    let mut pair = theatre.puppet("pair");
    let other: u32 = pair.process.wait_for("other").parse().unwrap();
    for (round, how) in ["commit", "roll back", "commit"].into_iter().enumerate() {
        let first = round as u64 * (2 * EDGES + 2) + 1;
        for half in 1..=2 {
            let line = if half == 1 { how } else { "on" };
            pair.process.send(line);
            assert_eq!(pair.process.wait_for("did").parse::<u64>().unwrap(), first - 1 + half * EDGES);
            let listed = theatre.listed(pair.row);
            assert_eq!((listed.open_batch, listed.straddles), (true, (half * EDGES) as u32), "{listed:?}");
            let listed = theatre.listed(other);
            assert_eq!((listed.open_batch, listed.straddles), (false, 0), "{listed:?}");
            let last = &theatre.bus.list().unwrap()[0].last_edge.clone().unwrap();
            assert_eq!((last.reason, &last.straddlers[..]), (Reason::Exact as u8, &[pair.row][..]));
        }
        pair.process.send("end");
        pair.process.wait_for("did");
        assert_eq!(theatre.listed(pair.row).straddles, 0);
        let seen = theatre.up_to(first + 2 * EDGES + 1);
        for seen in &seen {
            // The other's work is in its era, whatever the batch does.
            assert_eq!(seen.of(other), [seen.number]);
            let parts: Vec<_> = seen.notes.iter().filter(|note| note.row == pair.row).collect();
            let parts: Vec<_> = parts.iter().map(|note| (note.channel, note.value)).collect();
            let is_open = seen.number < first + 2 * EDGES;
            let straddlers = if is_open { vec![pair.row] } else { Vec::new() };
            assert_eq!(seen.record().straddlers, straddlers, "in era {}", seen.number);
            let whole = [('a', 1), ('a', 2), ('a', 3), ('b', 4)];
            let expected = if seen.number == first + 2 * EDGES && how == "commit" { &whole[..] } else { &[] };
            assert_eq!(parts, expected, "in era {}", seen.number);
        }
    }
}

#[test]
fn nobody_straddles_after_its_death() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let mut theatre = Theatre::new("straddlers::nobody_straddles_after_its_death", |zone| zone);
    let (mut dies, mut lives) = (theatre.puppet("dies"), theatre.puppet("lives"));
    dies.must("batch");
    dies.must("push a 1");
    dies.must("push b 1");
    let era = lives.number("edge");
    assert_eq!(theatre.up_to(era)[0].record().straddlers, [dies.row]);
    dies.process.kill();
    eventually("the broker has buried it", || theatre.bus.list().unwrap()[0].writers.len() == 1);
    lives.publish(7);
    let era = lives.number("edge");
    let seen = theatre.up_to(era);
    assert_eq!(seen.last().unwrap().record().straddlers, [] as [u32; 0]);
    assert!(seen.iter().flat_map(|seen| &seen.notes).all(|note| note.row == lives.row), "{seen:?}");
    // Whoever has its row next has no batch open.
    let mut next = theatre.puppet("next");
    assert_eq!(next.row, dies.row);
    next.publish(8);
    let era = next.number("edge");
    let seen = theatre.up_to(era);
    assert_eq!((seen[0].of(next.row), &seen[0].record().straddlers[..]), (vec![8], &[][..]));
}

//! Lockstep: the round passes with the last permit, or at the deadline; who is late is named, and its work is in the next era that it
//! permits.

use super::puppets::{Puppet, Theatre};
use super::stage::{Stage, act};
use super::support::ledger::Seen;
use super::support::*;
use std::time::Duration;
use syncline::{Reason, Zone};

/// So long that nobody waits for it: what passes does so with the last permit.
const NEVER: Duration = Duration::from_secs(3600);
/// A deadline that is waited for; long enough for two puppets to give their permits one after the other.
const SHORT: Duration = Duration::from_millis(400);

/// The same in lockstep, and in a zone whose eras can be rolled back.
type Options = fn(Zone, Duration) -> Zone;
const KINDS: [(&str, Options); 2] =
    [("lockstep", |zone, deadline| zone.lockstep(deadline)), ("revocable", |zone, deadline| zone.revocable(deadline))];

/// Each publishes the value and gives its permit; the era.
fn round(puppets: &mut [&mut Puppet], value: u64) -> u64 {
    let mut eras = Vec::new();
    for puppet in puppets {
        puppet.publish(value);
        eras.push(puppet.number("permit"));
    }
    assert!(eras.windows(2).all(|eras| eras[0] == eras[1]), "{eras:?}");
    eras[0]
}

fn expect(seen: &Seen, reason: Reason, late: &[u32], work: &[(&Puppet, &[u64])]) {
    let edge = seen.record();
    assert_eq!((edge.reason, &edge.straddlers[..]), (reason, late), "{seen:?}");
    for (puppet, values) in work {
        assert_eq!(seen.of(puppet.row), *values, "row {} in {seen:?}", puppet.row);
    }
    let count: usize = work.iter().map(|(_, values)| values.len()).sum();
    assert_eq!(seen.notes.len(), count, "{seen:?}");
}

#[test]
fn a_round_passes_with_the_last_permit() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    for (_, options) in KINDS {
        let test = "lockstep::a_round_passes_with_the_last_permit";
        let mut theatre = Theatre::new(test, |zone| options(zone, NEVER));
        let mut puppets = ["one", "two", "three"].map(|name| theatre.puppet(name));
        for era in 1..=20 {
            // Another is the last each time, and does not wait.
            puppets.rotate_left(1);
            let [first, second, third] = &mut puppets;
            assert_eq!(round(&mut [&mut *first, &mut *second], era), era);
            assert_eq!(first.ask("permit"), "Invalid", "a second one for the same era");
            assert!(theatre.listed(first.row).permits && !theatre.listed(third.row).permits);
            // What comes after the permit is in the next era.
            first.must(&format!("publish b {era}"));
            third.publish(era);
            assert_eq!(theatre.observer.reader.generation().unwrap(), era - 1, "it did not wait for the last permit");
            assert_eq!(third.number("permit"), era);
            while first.number("next") < era {}
            let seen = theatre.next();
            let before = if era == 1 { 3 } else { 4 };
            assert_eq!((seen.number, seen.notes.len()), (era, before), "{seen:?}");
            assert_eq!((seen.record().reason, &seen.record().straddlers[..]), (Reason::Permits, &[][..]));
            assert!(puppets.iter().all(|puppet| seen.of(puppet.row) == [era]), "{seen:?}");
            let rest = seen.notes.iter().filter(|note| note.channel == 'b').map(|note| note.value);
            assert_eq!(rest.collect::<Vec<_>>(), if era == 1 { vec![] } else { vec![era - 1] });
        }
    }
}

#[test]
fn whoever_is_killed_leaves_the_round_at_once() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    for (kind, options) in KINDS {
        let test = "lockstep::whoever_is_killed_leaves_the_round_at_once";
        let mut theatre = Theatre::new(test, |zone| options(zone, NEVER));
        let (mut one, mut two) = (theatre.puppet("one"), theatre.puppet("two"));
        let (mut owes, mut gave) = (theatre.puppet("owes"), theatre.puppet("gave"));
        round(&mut [&mut one, &mut two, &mut owes, &mut gave], 1);
        expect(&theatre.next(), Reason::Permits, &[], &[(&one, &[1]), (&two, &[1]), (&owes, &[1]), (&gave, &[1])]);
        // One has given its permit when it is killed, the other has only committed.
        owes.publish(2);
        round(&mut [&mut one, &mut two, &mut gave], 2);
        gave.process.kill();
        owes.process.kill();
        let left: &[u64] = if kind == "lockstep" { &[2] } else { &[] };
        let seen = theatre.next();
        expect(&seen, Reason::Permits, &[], &[(&one, &[2]), (&two, &[2]), (&owes, left), (&gave, &[2])]);
        // The others go on, and so does one who comes.
        round(&mut [&mut one, &mut two], 3);
        expect(&theatre.next(), Reason::Permits, &[], &[(&one, &[3]), (&two, &[3])]);
        let mut new = theatre.puppet("new");
        round(&mut [&mut one, &mut new, &mut two], 4);
        expect(&theatre.next(), Reason::Permits, &[], &[(&one, &[4]), (&two, &[4]), (&new, &[4])]);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Broker {
    Runs,
    Stopped,
    Killed,
}

/// One is stopped with work that it has not permitted. Each round without it passes at the deadline, and names it.
fn names_whoever_is_late(test: &'static str, broker: Broker) {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    for (_, options) in KINDS {
        let mut theatre = Theatre::new(test, |zone| options(zone, SHORT));
        let (mut one, mut two, mut late) = (theatre.puppet("one"), theatre.puppet("two"), theatre.puppet("late"));
        // Until all know all: who waits minds the deadline, too.
        let era = late.number("permit");
        theatre.up_to(era);
        for puppet in [&mut one, &mut two, &mut late] {
            puppet.number("next");
        }
        match broker {
            Broker::Runs => {}
            Broker::Stopped => theatre.broker.stop(),
            Broker::Killed => theatre.broker.kill(),
        }
        late.publish(1);
        late.process.stop();
        for value in 2..=4 {
            let era = round(&mut [&mut one, &mut two], value);
            // It waits, as a participant does; without a broker it is those who wait that mind the deadline.
            while one.number("next") < era {}
            let seen = theatre.next();
            expect(&seen, Reason::Deadline, &[late.row], &[(&one, &[value]), (&two, &[value]), (&late, &[])]);
        }
        late.process.resume();
        // Nobody has begun a round: its permit comes in time, and brings all that it had committed.
        late.publish(5);
        let era = late.number("permit");
        while late.number("next") < era {}
        let seen = theatre.next();
        expect(&seen, Reason::Deadline, &[one.row, two.row], &[(&one, &[]), (&two, &[]), (&late, &[1, 5])]);
        if broker == Broker::Stopped {
            theatre.broker.resume();
        }
    }
}

#[test]
fn whoever_is_late_is_named() {
    names_whoever_is_late("lockstep::whoever_is_late_is_named", Broker::Runs);
}

#[test]
fn those_who_wait_mind_the_deadline_while_the_broker_is_stopped() {
    let test = "lockstep::those_who_wait_mind_the_deadline_while_the_broker_is_stopped";
    names_whoever_is_late(test, Broker::Stopped);
}

#[test]
fn those_who_wait_mind_the_deadline_without_a_broker() {
    names_whoever_is_late("lockstep::those_who_wait_mind_the_deadline_without_a_broker", Broker::Killed);
}

#[test]
fn without_a_broker_the_dead_are_late() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    for (kind, options) in KINDS {
        let mut theatre = Theatre::new("lockstep::without_a_broker_the_dead_are_late", |zone| options(zone, SHORT));
        let (mut one, mut two, mut dead) = (theatre.puppet("one"), theatre.puppet("two"), theatre.puppet("dead"));
        let era = dead.number("permit");
        theatre.up_to(era);
        theatre.broker.kill();
        dead.publish(1);
        dead.process.kill();
        for value in 2..=3 {
            let era = round(&mut [&mut one, &mut two], value);
            while one.number("next") < era {}
            let seen = theatre.next();
            expect(&seen, Reason::Deadline, &[dead.row], &[(&one, &[value]), (&two, &[value])]);
        }
        assert!(theatre.observer.closed.is_empty(), "{kind}: nobody can have told of its death");
    }
}

/// Members in rounds while readers, members and the broker are stopped and killed.
#[test]
fn rounds_go_on() {
    if let Some(role) = role() {
        return act(&role);
    }
    for (_, options) in KINDS {
        let mut stage = Stage::new("lockstep::rounds_go_on", |zone| options(zone, SHORT / 8));
        let (one, two, three) =
            (stage.start("member", "one"), stage.start("member", "two"), stage.start("member", "three"));
        let (mut reader, reads) = (stage.start("reader", "reader"), stage.start("reader", "reads"));
        let all = [&one, &two, &three];
        stage.more(&all, 20);
        // A reader: nobody waits for it.
        reader.process.stop();
        let was = reader.progress();
        stage.more(&all, 20);
        assert_eq!(reader.progress(), was, "it was not stopped");
        let goal = stage.observer.era;
        reader.process.resume();
        eventually("a reader that was stopped catches up", || reader.progress() >= goal);
        reader.process.stop();
        reader.process.kill();
        stage.more(&all, 20);
        // A member: from some round on it is late, and the only one.
        three.process.stop();
        let noted = three.progress();
        let seen = stage.more(&[&one, &two], 5);
        let is_named = |seen: &&Seen| seen.record().straddlers.contains(&three.row);
        let named: Vec<_> = seen.iter().filter(is_named).collect();
        assert!(named.len() >= 3, "{seen:?}");
        assert!(named.iter().all(|seen| seen.record().reason == Reason::Deadline && seen.of(three.row).is_empty()));
        assert_eq!(three.progress(), noted);
        three.process.resume();
        stage.more(&all, 20);
        stage.broker.stop();
        stage.more(&all, 20);
        stage.broker.resume();
        stage.more(&all, 20);
        stage.broker.kill();
        stage.more(&all, 20);
        two.process.stop();
        stage.more(&[&one, &three], 3);
        two.process.resume();
        stage.more(&all, 20);
        stage.finish(vec![one, two, three], vec![reads]);
    }
}

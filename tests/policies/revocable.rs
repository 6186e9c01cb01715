//! Rolling back: nobody is ever handed what was rolled back, and everybody whom it concerns is told; also who was stopped meanwhile, and
//! without a broker.

use super::puppets::{Puppet, Theatre};
use super::support::*;
use std::time::Duration;
use syncline::{Code, Reason};

/// So long that nobody waits for it.
const NEVER: Duration = Duration::from_secs(3600);
/// A deadline that is waited for; long enough for two puppets to give their permits one after the other.
const SHORT: Duration = Duration::from_millis(400);
/// What is to be rolled back.
const JUNK: u64 = 7777;

/// A round that is kept: each publishes the number of the era and permits it, and it is what the observer is handed, and nothing else.
fn keep(theatre: &mut Theatre, puppets: &mut [&mut Puppet], era: u64) {
    let last = puppets.len() - 1;
    for (index, puppet) in puppets.iter_mut().enumerate() {
        puppet.publish(era);
        assert_eq!(puppet.number("permit"), era);
        if index < last {
            assert_eq!(puppet.ask("roll-back"), "Invalid", "after its permit");
        }
    }
    for puppet in &mut *puppets {
        assert_eq!(puppet.number("next"), era);
    }
    let seen = theatre.next();
    assert_eq!((seen.number, seen.record().reason), (era, Reason::Permits));
    assert!(puppets.iter().all(|puppet| seen.of(puppet.row) == [era]), "{seen:?}");
    assert_eq!(seen.notes.len(), puppets.len(), "{seen:?}");
}

#[test]
fn everybody_is_told_of_a_roll_back() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let test = "revocable::everybody_is_told_of_a_roll_back";
    let mut theatre = Theatre::new(test, |zone| zone.revocable(NEVER));
    let mut puppets = ["one", "two", "three"].map(|name| theatre.puppet(name));
    keep(&mut theatre, &mut puppets.each_mut(), 1);
    for era in 2..=12 {
        if era == 7 {
            theatre.broker.kill();
        }
        puppets.rotate_left(1);
        let [one, two, rolls] = &mut puppets;
        // One has given its permit, another is in the middle of a batch, the third rolls all back.
        one.publish(JUNK);
        assert_eq!(one.number("permit"), era);
        two.publish(JUNK);
        for line in ["batch", "push a 7777", "push b 7777"] {
            two.must(line);
        }
        rolls.publish(JUNK);
        rolls.must("roll-back");
        // Each is told by its next call, or where it waits; its reader does not tell what its writer has told.
        assert_eq!(two.ask("commit"), "RolledBack");
        assert_eq!(one.ask("next"), "RolledBack");
        assert_eq!(one.ask("permit"), "RolledBack");
        assert_eq!(two.ask("look"), "Timeout");
        assert_eq!(rolls.ask("look"), "Timeout");
        // Once each.
        for puppet in [&mut *one, &mut *two, &mut *rolls] {
            assert_eq!(puppet.ask("look"), "Timeout");
        }
        let told = theatre.observer.take(Duration::from_millis(1)).unwrap_err();
        assert_eq!(told.code(), Code::RolledBack);
        // Also if nothing was published since.
        if era % 2 == 0 {
            two.must("roll-back");
            assert_eq!(one.ask("publish a 7777"), "RolledBack");
            assert_eq!(rolls.ask("permit"), "RolledBack");
            for puppet in [&mut *one, &mut *two, &mut *rolls] {
                assert_eq!(puppet.ask("look"), "Timeout");
            }
            assert!(theatre.observer.take(Duration::from_millis(1)).is_err());
        }
        assert_eq!(theatre.observer.reader.generation().unwrap(), era - 1, "permits of before the roll-back counted");
        keep(&mut theatre, &mut puppets.each_mut(), era);
    }
}

/// One is stopped; whether it had given its permit, its round is rolled back meanwhile.
fn is_told_when_it_goes_on(test: &'static str, has_permitted: bool) {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let mut theatre = Theatre::new(test, |zone| zone.revocable(SHORT));
    let (mut one, mut two, mut stopped) = (theatre.puppet("one"), theatre.puppet("two"), theatre.puppet("stopped"));
    keep(&mut theatre, &mut [&mut one, &mut two, &mut stopped], 1);
    one.publish(JUNK);
    stopped.publish(JUNK);
    if has_permitted {
        stopped.number("permit");
    }
    stopped.process.stop();
    one.must("roll-back");
    assert_eq!(two.ask("publish a 7777"), "RolledBack");
    for puppet in [&mut one, &mut two] {
        assert_eq!(puppet.ask("look"), "Timeout");
        puppet.publish(2);
        assert_eq!(puppet.number("permit"), 2);
    }
    assert_eq!(one.number("next"), 2);
    let seen = theatre.next();
    assert_eq!((seen.record().reason, &seen.record().straddlers[..]), (Reason::Deadline, &[stopped.row][..]));
    assert_eq!((seen.of(one.row), seen.of(two.row), seen.notes.len()), (vec![2], vec![2], 2), "{seen:?}");
    stopped.process.resume();
    assert_eq!(stopped.ask("publish a 7777"), "RolledBack");
    assert_eq!(stopped.number("next"), 2);
    assert_eq!(stopped.ask("look"), "Timeout");
    assert_eq!(two.number("next"), 2);
    theatre.observer.take(Duration::from_millis(1)).unwrap_err();
    keep(&mut theatre, &mut [&mut stopped, &mut one, &mut two], 3);
}

#[test]
fn whoever_was_stopped_is_told_when_it_goes_on() {
    is_told_when_it_goes_on("revocable::whoever_was_stopped_is_told_when_it_goes_on", false);
}

#[test]
fn whoever_was_stopped_after_its_permit_is_told_when_it_goes_on() {
    is_told_when_it_goes_on("revocable::whoever_was_stopped_after_its_permit_is_told_when_it_goes_on", true);
}

/// What one leaves behind that dies with a round rolled back that it was not told of, or with more than it had permitted.
#[test]
fn of_the_dead_only_what_they_had_permitted_stays() {
    if let Some(name) = role() {
        return puppet::run(&name);
    }
    let test = "revocable::of_the_dead_only_what_they_had_permitted_stays";
    let mut theatre = Theatre::new(test, |zone| zone.revocable(NEVER));
    let (mut one, mut was_rolled_back, mut had_much) =
        (theatre.puppet("one"), theatre.puppet("was rolled back"), theatre.puppet("had much"));
    keep(&mut theatre, &mut [&mut one, &mut was_rolled_back, &mut had_much], 1);
    was_rolled_back.publish(JUNK);
    was_rolled_back.number("permit");
    one.must("roll-back");
    assert_eq!(had_much.ask("publish a 7777"), "RolledBack");
    // More than a page of the one lane, less of the other.
    for value in 0..6000 {
        had_much.must("batch");
        had_much.must(&format!("push a {value}"));
        had_much.must(&format!("push b {value}"));
        if value % 2 == 0 {
            had_much.must(&format!("push a {value}"));
        }
        had_much.must("commit");
    }
    one.publish(2);
    assert_eq!(one.number("permit"), 2);
    theatre.observer.take(Duration::from_millis(1)).unwrap_err();
    had_much.process.kill();
    was_rolled_back.process.kill();
    let seen = theatre.next();
    assert_eq!((seen.of(one.row), seen.notes.len()), (vec![2], 1), "{} notes", seen.notes.len());
    assert_eq!(seen.record().reason, Reason::Permits);
    assert_eq!(one.number("next"), 2);
    assert_eq!(one.ask("look"), "Timeout");
    keep(&mut theatre, &mut [&mut one], 3);
    assert_eq!(theatre.observer.closed.len(), 4, "two writers, two channels");
}

//! Rounds that can be rolled back.

mod support;

use std::time::Duration;
use support::*;
use syncline::{Bus, Error, Zone};

fn zone(bus: &Bus) -> Zone {
    bus.zone("rounds").revocable(LONG).eras(1024)
}

/// Would break: a permit that another's roll-back has taken back counts as one for the round that has begun anew.
#[test]
fn whoever_was_told_by_its_reader_can_roll_back_in_turn() {
    let bus = Bus::embedded().unwrap();
    let zone = zone(&bus);
    let [mut one, mut other] = ["one", "other"].map(|name| zone.writer(name).unwrap());
    let lane = one.channel("a").open::<u32>().unwrap();
    let mut reader = zone.reader("r").channel::<u32>("a").synced().open().unwrap();
    one.publish(lane, &1).unwrap();
    one.permit().unwrap();
    other.roll_back_era().unwrap();
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
    one.roll_back_era().unwrap();
    one.publish(lane, &2).unwrap();
    one.permit().unwrap();
    assert!(matches!(other.permit(), Err(Error::RolledBack)));
    other.permit().unwrap();
    let mut era = reader.next_era(LONG).unwrap();
    assert_eq!(era.next().unwrap().unwrap().copy::<u32>().unwrap(), 2);
    assert!(era.next().unwrap().is_none());
}

/// Would break: a reader that waits for a round that is sealed is told that the next one was rolled back, and its participant does the sealed
/// one again.
#[test]
fn what_is_sealed_comes_before_the_roll_back_of_the_next_round() {
    let bus = Bus::embedded().unwrap();
    let zone = zone(&bus);
    let [mut one, mut other] = ["one", "other"].map(|name| zone.writer(name).unwrap());
    let mut reader = zone.reader("r").channel::<u32>("a").synced().open().unwrap();
    one.permit().unwrap();
    other.permit().unwrap();
    other.roll_back_era().unwrap();
    // The halt holds back what is sealed, as if the reader had looked a moment before that.
    let halt = zone.halt(LONG).unwrap();
    assert!(matches!(reader.next_era(Duration::from_millis(20)), Err(Error::Timeout)));
    assert!(matches!(reader.spin_era(Duration::from_millis(20)), Err(Error::Timeout)));
    halt.release();
    assert_eq!(reader.next_era(LONG).unwrap().number(), 1);
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
}

/// Would break: who was told by its writer, has begun anew and given its permit is told again by its reader, and does its work twice.
#[test]
fn what_all_writers_of_a_process_know_its_readers_do_not_tell() {
    let bus = Bus::embedded().unwrap();
    // A connection of its own, as of another process.
    let elsewhere = zone(&Bus::connect_to(bus.socket()).unwrap());
    let zone = zone(&bus);
    let (mut one, mut other) = (zone.writer("one").unwrap(), elsewhere.writer("other").unwrap());
    let open = |zone: &Zone| zone.reader("r").channel::<u32>("a").synced().open().unwrap();
    let (mut reader, mut reader_elsewhere) = (open(&zone), open(&elsewhere));
    other.roll_back_era().unwrap();
    assert!(matches!(one.permit(), Err(Error::RolledBack)));
    one.permit().unwrap();
    for reader in [&mut reader, &mut reader_elsewhere] {
        assert!(matches!(reader.next_era(Duration::from_millis(20)), Err(Error::Timeout)));
    }
    // Another writer of the process has no part in that, until it knows, too.
    let mut third = zone.writer("third").unwrap();
    other.roll_back_era().unwrap();
    assert!(matches!(third.permit(), Err(Error::RolledBack)));
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
    other.roll_back_era().unwrap();
    for writer in [&mut one, &mut third] {
        assert!(matches!(writer.permit(), Err(Error::RolledBack)));
    }
    assert!(matches!(reader.next_era(Duration::from_millis(20)), Err(Error::Timeout)));
    drop(third);
    other.roll_back_era().unwrap();
    assert!(matches!(reader.next_era(LONG), Err(Error::RolledBack)));
}

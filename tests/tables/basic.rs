//! Tables in short: one of each.

use std::time::Duration;
use syncline::{Bus, Error, HaltMode, TableWatch};

const PATIENCE: Duration = Duration::from_secs(10);

#[test]
fn values_are_read_live_and_as_of_eras() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let mut writer = zone.writer("w").unwrap();
    let table = writer.table("t").items::<u64>("n", 4).bytes("text", 20).item::<f32>("x").open().unwrap();
    let [a, b] = [0, 1].map(|n| writer.item_of::<u64>(table, "n", n).unwrap());
    let text = writer.item::<[u8]>(table, "text").unwrap();

    let mut reader = zone.table("t").unwrap();
    let [ra, rb] = [0, 1].map(|n| reader.item_of::<u64>("n", n).unwrap());
    let never = reader.item_of::<u64>("n", 3).unwrap();
    let rtext = reader.item::<[u8]>("text").unwrap();
    assert_eq!(reader.get(ra).unwrap(), 0);
    assert!(matches!(reader.current(), Err(Error::Gone { era: 0, .. })));
    writer.set(a, &1).unwrap();
    writer.set(text, b"hello".as_slice()).unwrap();
    assert_eq!((reader.get(ra).unwrap(), reader.get_bytes(rtext).unwrap()), (1, b"hello".to_vec()));
    assert_eq!(writer.edge().unwrap(), 1);
    let mut batch = writer.batch().unwrap();
    batch.set(a, &2).unwrap();
    batch.set(b, &2).unwrap();
    batch.set(a, &3).unwrap();
    assert_eq!((batch.get(a).unwrap(), reader.get(ra).unwrap()), (3, 1));
    batch.commit().unwrap();
    assert_eq!((reader.get(ra).unwrap(), reader.get(rb).unwrap()), (3, 2));
    assert_eq!(reader.current().unwrap().get(ra).unwrap(), 1);
    writer.edge().unwrap();
    let current = reader.current().unwrap();
    let previous = current.previous().unwrap();
    assert_eq!(
        [current.get(ra), current.get(rb), previous.get(ra), previous.get(rb)].map(Result::unwrap),
        [3, 2, 1, 0]
    );
    assert_eq!(
        [current.changed(ra), current.changed(rb), current.changed(rtext)].map(Result::unwrap),
        [true, true, false]
    );
    let sets = |view: &syncline::View<'_>| [ra, rb, never].map(|item| view.is_set(item).unwrap());
    assert_eq!([sets(&current), sets(&previous)], [[true, true, false], [true, false, false]]);
    // A view of an era is had until two more were sealed.
    writer.set(a, &4).unwrap();
    writer.edge().unwrap();
    assert_eq!(current.get(ra).unwrap(), 3);
    writer.edge().unwrap();
    assert!(matches!(current.get(ra), Err(Error::Gone { era: 2, oldest: Some(3), generation: 4 })));

    let mut batch = writer.batch().unwrap();
    batch.set(a, &9).unwrap();
    batch.roll_back();
    writer.set(b, &5).unwrap();
    assert_eq!((reader.get(ra).unwrap(), reader.get(rb).unwrap()), (4, 5));
}

#[test]
fn the_next_owner_goes_on() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let mut reader = {
        let mut writer = zone.writer("first").unwrap();
        let table = writer.table("t").items::<u64>("n", 100).open().unwrap();
        for n in 0..50 {
            let item = writer.item_at::<u64>(table, n).unwrap();
            writer.set(item, &u64::from(n)).unwrap();
        }
        writer.edge().unwrap();
        zone.table("t").unwrap()
    };
    let item = reader.item_at::<u64>(7).unwrap();
    assert_eq!(reader.get(item).unwrap(), 7);
    assert_eq!(reader.writer().unwrap(), None);
    let seen = reader.current().unwrap().seen();
    let mut writer = zone.writer("second").unwrap();
    let table = writer.table("t").open().unwrap();
    let own = writer.item_at::<u64>(table, 7).unwrap();
    assert_eq!(writer.get(own).unwrap(), 7);
    assert_eq!(reader.get(item).unwrap(), 7);
    assert_eq!(reader.current().unwrap().get(item).unwrap(), 7);
    writer.set(own, &70).unwrap();
    assert_eq!((reader.get(item).unwrap(), reader.current().unwrap().get(item).unwrap()), (70, 7));
    writer.edge().unwrap();
    let current = reader.current().unwrap();
    assert_eq!((current.get(item).unwrap(), current.previous().unwrap().get(item).unwrap()), (70, 7));
    assert_eq!(current.changes_since(seen).unwrap(), [7]);
    let never = reader.item_at::<u64>(50).unwrap();
    let other = reader.item_at::<u64>(8).unwrap();
    let current = reader.current().unwrap();
    assert_eq!([current.changed(item), current.changed(other)].map(Result::unwrap), [true, false]);
    assert_eq!([other, never].map(|item| current.is_set(item).unwrap()), [true, false]);
}

#[test]
fn changes_are_told() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let mut writer = zone.writer("w").unwrap();
    let table = writer.table("t").items::<u64>("n", 1000).open().unwrap();
    let reader = zone.table("t").unwrap();
    let mut live = reader.watch("live").range(10..20).open().unwrap();
    let mut synced = reader.watch("synced").synced().open().unwrap();
    let mut slow = reader.watch("slow").index(15).every(Duration::from_millis(50)).open().unwrap();
    assert_eq!(live.try_next().unwrap(), None);
    for n in [5, 15, 12, 15] {
        let item = writer.item_at::<u64>(table, n).unwrap();
        writer.set(item, &1).unwrap();
    }
    assert_eq!(live.try_next().unwrap().unwrap().items, [12, 15]);
    assert_eq!((live.try_next().unwrap(), live.ignored()), (None, 1));
    assert_eq!(slow.next(PATIENCE).unwrap().items, [15]);
    let item = writer.item_at::<u64>(table, 15).unwrap();
    writer.set(item, &2).unwrap();
    assert_eq!(slow.try_next().unwrap(), None, "too early");
    assert_eq!(slow.next(PATIENCE).unwrap().items, [15]);
    assert_eq!(synced.try_next().unwrap(), None);
    let era = writer.edge().unwrap();
    let changes = synced.next(PATIENCE).unwrap();
    assert_eq!((changes.items, changes.era), (vec![5, 12, 15], Some(era)));
    // More than a commit says, and more than the lane holds.
    let items: Vec<_> = (0..500).map(|n| writer.item_at::<u64>(table, n * 2).unwrap()).collect();
    assert_eq!(live.try_next().unwrap().unwrap().items, [15]);
    let mut batch = writer.batch().unwrap();
    items.into_iter().for_each(|item| batch.set(item, &3).unwrap());
    batch.commit().unwrap();
    assert_eq!(live.try_next().unwrap().unwrap().items, [10, 12, 14, 16, 18]);
    for round in 0..5000 {
        let item = writer.item_at::<u64>(table, 11 + round % 2 * 500).unwrap();
        writer.set(item, &u64::from(round)).unwrap();
    }
    assert_eq!(live.next(PATIENCE).unwrap().items, [11]);
}

/// Would break: half an element reaching readers; a table that was given up read or written on, or its memory kept.
#[test]
fn what_was_given_up_and_what_is_no_element_is_refused() {
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains("syncline:table:")).count()
    };
    let bus = Bus::embedded().unwrap();
    let mut writer = bus.zone("plant").writer("w").unwrap();
    let mut last = None;
    for round in 0..20 {
        let table = writer.table("t").slices::<u64>("n", 1, 4).open().unwrap();
        let item = writer.any_item(table, 0).unwrap();
        assert!(
            matches!(writer.set_raw(item, &[1; 9]), Err(Error::Invalid(text)) if text.contains("elements of 8 bytes"))
        );
        let mut batch = writer.batch().unwrap();
        assert!(matches!(batch.set_raw(item, &[1; 15]), Err(Error::Invalid(_))));
        batch.commit().unwrap();
        writer.set_raw(item, &[round; 16]).unwrap();
        assert_eq!(writer.get_bytes(item).unwrap(), [round; 16]);
        if let Some(last) = last.replace(item) {
            assert!(matches!(writer.get_bytes(last), Err(Error::Invalid(_))));
            assert!(matches!(writer.set_raw(last, &[0; 8]), Err(Error::Invalid(_))));
        }
        writer.close_table(table).unwrap();
        assert!(matches!(writer.get_bytes(item), Err(Error::Invalid(_))));
    }
    assert!(mapped() < 10, "{} mappings", mapped());
}

/// Would break: the present era looked up once, and gone when it is used, since two more have been sealed meanwhile.
#[test]
fn the_present_era_is_there_however_fast_edges_pass() {
    const EDGES: u64 = 100_000;
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let mut writer = zone.writer("w").unwrap();
    let table = writer.table("t").item::<u64>("n").open().unwrap();
    let number = writer.item::<u64>(table, "n").unwrap();
    let mut edge = move |value: u64| {
        writer.set(number, &value).unwrap();
        writer.edge().unwrap()
    };
    assert_eq!(edge(1), 1);
    let mut reader = zone.table("t").unwrap();
    let number = reader.item::<u64>("n").unwrap();
    let sealer = std::thread::spawn(move || (2..=EDGES).for_each(|value| assert_eq!(edge(value), value)));
    let (mut eras, mut passed) = (0, 0);
    loop {
        let era = reader.current().unwrap();
        match era.get(number) {
            Ok(value) => assert_eq!(Some(value), era.era()),
            Err(Error::Gone { .. }) => passed += 1,
            Err(error) => panic!("{error}"),
        }
        eras += 1;
        if era.era() == Some(EDGES) {
            break;
        }
    }
    sealer.join().unwrap();
    println!("{eras} eras looked up, of which {passed} were gone when they were read");
    assert!(eras > 100 && passed > 0, "{eras} eras, {passed} of them passed");
}

/// Would break: a watch that tells again what it has told, or leaves something out, when an owner has left.
#[test]
fn changes_are_told_once_when_owners_change() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let stays = zone.writer("stays").unwrap();
    let mut writer = zone.writer("first").unwrap();
    let mut table = writer.table("t").items::<u64>("n", 5).open().unwrap();
    let reader = zone.table("t").unwrap();
    // The one begins before there is an era to begin from, the others after.
    let mut watches = vec![reader.watch("early").synced().open().unwrap()];
    let item = writer.item_at::<u64>(table, 0).unwrap();
    writer.set(item, &1).unwrap();
    writer.edge().unwrap();
    assert_eq!(watches[0].next(PATIENCE).unwrap().items, [0]);
    watches.push(reader.watch("live").open().unwrap());
    watches.push(reader.watch("synced").synced().open().unwrap());
    for owner in 1..5 {
        let mut next = zone.writer("next").unwrap();
        let item = writer.item_at::<u64>(table, owner).unwrap();
        writer.set(item, &1).unwrap();
        writer.close_table(table).unwrap();
        table = next.table("t").open().unwrap();
        let item = next.item_at::<u64>(table, 0).unwrap();
        next.set(item, &1).unwrap();
        next.edge().unwrap();
        let mut told = vec![Vec::new(); watches.len()];
        let mut take = |watches: &mut Vec<TableWatch>| {
            for (watch, told) in watches.iter_mut().zip(&mut told) {
                while let Some(changes) = watch.try_next().unwrap() {
                    told.extend(changes.items);
                }
            }
        };
        take(&mut watches);
        // Its lanes come to their end.
        drop(std::mem::replace(&mut writer, next));
        for _ in 0..20 {
            std::thread::sleep(Duration::from_millis(2));
            take(&mut watches);
        }
        told.iter_mut().for_each(|told| told.sort_unstable());
        assert_eq!(told, vec![[0, owner]; watches.len()]);
    }
    drop(stays);
}

#[test]
fn a_table_that_could_not_be_begun_is_free() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let mut writer = zone.writer("w").unwrap();
    writer.on_halt(HaltMode::Refuse);
    let halt = zone.halt(PATIENCE).unwrap();
    assert!(matches!(writer.table("t").item::<u64>("n").open(), Err(Error::Halted)));
    halt.release();
    let table = writer.table("t").item::<u64>("n").open().unwrap();
    writer.set(writer.item::<u64>(table, "n").unwrap(), &1).unwrap();
}

#[test]
fn the_next_owners_commits_do_not_hide_the_last_ones() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    zone.create().unwrap();
    let mut writer = zone.writer("first").unwrap();
    let table = writer.table("t").items::<u64>("n", 2).open().unwrap();
    let mut watch = zone.table("t").unwrap().watch("watch").open().unwrap();
    // One change comes after many, so that its watch looks at the next owner's before it: that is in the same row.
    let [one, other] = [0, 1].map(|n| writer.item_at::<u64>(table, n).unwrap());
    (0..1600).for_each(|n| writer.set(other, &n).unwrap());
    writer.set(one, &1).unwrap();
    let row = writer.row();
    drop(writer);
    let mut writer = zone.writer("second").unwrap();
    assert_eq!(writer.row(), row);
    let table = writer.table("t").open().unwrap();
    writer.set(writer.item_at::<u64>(table, 1).unwrap(), &1).unwrap();
    assert_eq!(watch.next(PATIENCE).unwrap().items, [0, 1]);
    assert_eq!(watch.try_next().unwrap(), None);
}

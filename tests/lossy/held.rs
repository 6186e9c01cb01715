//! Readers that stop with something in their hands; and reliable channels, whose writers evict them.

use super::support::*;
use super::{CAPACITY, check, lossy, payload, whole};
use std::time::Duration;
use syncline::{Bus, Delivery, Error, Lane, Reader, Writer};

const TEST: &str = "held::stopped_readers_that_hold_something_stop_nobody";
/// Twice as many as can pin.
const STOPPED: usize = 8;
const MOST: usize = 200;

/// A reader that takes one message, says so, and looks at it again when it is told to.
fn holder() {
    let bus = Bus::connect().expect("connect");
    let mut reader = bus.zone("z").reader("holder").channel::<[u8]>("a").open().expect("reader");
    say("ready", "");
    let message = reader.recv(LONG).expect("a message");
    let n = whole(&message, MOST);
    say("holds", n);
    hear();
    assert_eq!(whole(&message, MOST), n, "what is held was overwritten");
    drop(message);
    let (mut next, mut lost) = (n + 1, 0);
    loop {
        match reader.try_recv() {
            Ok(Some(message)) => {
                assert_eq!(whole(&message, MOST), next);
                next += 1;
            }
            Ok(None) => break,
            Err(Error::Lagged(lagged)) => {
                next += lagged.count;
                lost += lagged.count;
            }
            Err(error) => panic!("{error}"),
        }
    }
    say("did", format!("{next} {lost}"));
    hear();
}

/// Would break: a writer that has no room because of readers that stopped while they hold messages in place, at whatever places; a message that
/// is overwritten under one of them; a wrong count.
#[test]
fn stopped_readers_that_hold_something_stop_nobody() {
    if role().is_some() {
        return holder();
    }
    let bus = Bus::embedded().unwrap();
    let (mut writer, lane) = lossy(&bus);
    let mut published = 0u64;
    let mut publish = |writer: &mut Writer, count: u64| {
        for _ in 0..count {
            writer.publish(lane, &payload(published, MOST)[..]).unwrap();
            published += 1;
        }
        published
    };
    let mut random = Random(11);
    let mut holders = Vec::new();
    for _ in 0..STOPPED {
        let mut holder = Process::start(TEST, "holder", bus.socket(), &[]);
        holder.wait_for("ready");
        // Somewhere else in the ring each time.
        publish(&mut writer, 1 + random.below(12));
        holder.wait_for("holds");
        holder.stop();
        holders.push(holder);
    }
    // Hundreds of laps.
    let all = publish(&mut writer, 20_000);
    for mut holder in holders {
        holder.resume();
        let said = holder.ask("look");
        let (next, lost) = said.split_once(' ').unwrap();
        assert_eq!(next.parse(), Ok(all), "messages unaccounted for");
        assert!(lost.parse::<u64>().unwrap() > 19_000);
        holder.send("leave");
        holder.finish();
    }
    // What they held is used again.
    publish(&mut writer, 1_000);
}

/// A reliable channel whose readers are evicted after 20 ms.
fn evicting(bus: &Bus) -> (Writer, Lane<[u8]>) {
    let mut writer = bus.zone("z").writer("w").unwrap();
    let evict_after = Duration::from_millis(20);
    let lane = writer.channel("a").capacity(CAPACITY).evict_after(evict_after).open::<[u8]>().unwrap();
    writer.set_room_timeout(LONG);
    (writer, lane)
}

/// The first message after what this reader has lost.
fn one_of(reader: &mut Reader) -> syncline::Message<'_> {
    // What is left of the page that it had comes first.
    while let Ok(_before) = reader.recv(LONG) {}
    reader.recv(LONG).unwrap()
}

fn next(reader: &mut Reader) -> u64 {
    whole(&reader.recv(LONG).unwrap(), MOST)
}

/// Would break: a writer that waits for ever for a reader that takes nothing; one that evicts a reader that goes on; a message that is overwritten
/// while the evicted one holds it; an eviction that nobody is told.
#[test]
fn a_reader_that_takes_nothing_is_evicted_and_keeps_what_it_holds() {
    let bus = Bus::embedded().unwrap();
    let (mut writer, lane) = evicting(&bus);
    let open = |name: &str| bus.zone("z").reader(name).channel::<[u8]>("a").open().unwrap();
    // The first of these pin, the others copy.
    let mut idle: Vec<Reader> = (0..6).map(|_| open("idle")).collect();
    let mut diligent = open("diligent");
    writer.publish(lane, &payload(0, MOST)[..]).unwrap();
    let held: Vec<_> = idle.iter_mut().map(|reader| reader.recv(LONG).unwrap()).collect();
    assert_eq!(next(&mut diligent), 0);
    for n in 1..500 {
        writer.publish(lane, &payload(n, MOST)[..]).unwrap();
        assert_eq!(next(&mut diligent), n);
    }
    for message in &held {
        assert_eq!(whole(message, MOST), 0, "what is held was overwritten");
    }
    drop(held);
    for reader in &mut idle {
        // What is left of the page that it had is handed out; then it is told.
        let mut expected = 1;
        let evicted = loop {
            match reader.recv(LONG) {
                Ok(message) => assert_eq!(whole(&message, MOST), expected),
                Err(Error::Evicted(evicted)) => break evicted,
                Err(error) => panic!("{error}"),
            }
            expected += 1;
        };
        assert_eq!((evicted.channel.as_str(), evicted.name.as_str()), ("a", "w"));
        assert!(matches!(reader.try_recv(), Ok(None)), "told once");
    }
    let info = bus.list().unwrap().remove(0);
    assert_eq!(info.channels[0].delivery, Some(Delivery { lossy: false, evict_ms: 20 }));
    assert!(info.readers.iter().any(|reader| reader.name == "diligent" && reader.lanes == 1));
}

/// Would break: a writer that says nothing of who holds it up.
#[test]
fn who_holds_a_lane_up_is_named() {
    let bus = Bus::embedded().unwrap();
    let mut writer = bus.zone("z").writer("w").unwrap();
    let lane = writer.channel("a").capacity(CAPACITY).open::<[u8]>().unwrap();
    assert_eq!(writer.held_up_by(lane).unwrap(), None);
    let mut quick = bus.zone("z").reader("quick").channel::<[u8]>("a").open().unwrap();
    let slow = bus.zone("z").reader("slow, with a name of many words").channel::<[u8]>("a").synced().open().unwrap();
    let mut bytes = 0;
    let behind = loop {
        match writer.publish(lane, &[1; 104]) {
            Ok(()) => bytes += 120,
            Err(Error::Full { behind } | Error::EraTooLarge { len: behind, .. }) => break behind,
            Err(error) => panic!("{error}"),
        }
        quick.try_recv().unwrap();
    };
    assert!(behind >= bytes, "{behind} of {bytes}");
    let by = writer.held_up_by(lane).unwrap().unwrap();
    assert_eq!(
        (by.name.as_str(), by.pid, by.behind, by.synced),
        ("slow, with a name of man", std::process::id(), bytes, true)
    );
    assert_eq!(by.uid, nix::unistd::geteuid().as_raw());
    drop(slow);
    writer.publish(lane, &[1; 104]).unwrap();
}

/// Would break: an era that fills its lane, for which the writer would wait for ever; a synced reader that is evicted though nothing is sealed.
#[test]
fn an_era_that_can_never_fit_is_said_so() {
    for evict in [false, true] {
        let bus = Bus::embedded().unwrap();
        let mut writer = bus.zone("z").writer("w").unwrap();
        let builder = writer.channel("a").capacity(CAPACITY);
        let builder = if evict { builder.evict_after(Duration::from_millis(1)) } else { builder.reliable() };
        let lane = builder.open::<[u8]>().unwrap();
        let mut reader = bus.zone("z").reader("r").channel::<[u8]>("a").synced().open().unwrap();
        let fill = |writer: &mut Writer| loop {
            match writer.publish(lane, &[7; 100]) {
                Ok(()) => {}
                Err(Error::EraTooLarge { len, limit }) => {
                    break assert!(len > limit && limit > CAPACITY / 2, "{len} {limit}");
                }
                Err(error) => panic!("{error}"),
            }
        };
        fill(&mut writer);
        std::thread::sleep(Duration::from_millis(5));
        fill(&mut writer);
        writer.edge().unwrap();
        if evict {
            continue;
        }
        // Now a reader holds it up, and not the era.
        assert!(matches!(writer.publish(lane, &[7; 100]), Err(Error::Full { .. })));
        let mut count = 0;
        let mut era = reader.next_era(LONG).unwrap();
        while era.next().unwrap().is_some() {
            count += 1;
        }
        drop(era);
        assert!(count > 20);
        writer.publish(lane, &[7; 100]).unwrap();
    }
}

/// Would break: two writers of a channel that treat its readers differently; a lossy channel where eras can be rolled back.
#[test]
fn the_first_writer_decides_and_others_must_agree() {
    let bus = Bus::embedded().unwrap();
    let (_first, _) = lossy(&bus);
    let mut second = bus.zone("z").writer("second").unwrap();
    let error = second.channel("a").reliable().open::<[u8]>().unwrap_err();
    assert_eq!(error.code(), syncline::Code::Mismatch);
    let text = error.to_string();
    assert!(text.contains("expected it lossy") && text.contains("found reliable"), "{text}");
    let error = second.channel("a").evict_after(Duration::from_millis(7)).open::<[u8]>().unwrap_err();
    assert!(error.to_string().contains("reliable with eviction after 7 ms"), "{error}");
    // Who says nothing takes what it has.
    let lane = second.channel("a").capacity(CAPACITY).open::<[u8]>().unwrap();
    let _stopped = bus.zone("z").reader("r").channel::<[u8]>("a").open().unwrap();
    (0..1000).for_each(|n| second.publish(lane, &payload(n, MOST)[..]).unwrap());

    let mut revocable = bus.zone("r").revocable(Duration::from_secs(1)).writer("w").unwrap();
    let error = revocable.channel("a").lossy().open::<[u8]>().unwrap_err();
    assert_eq!(error.code(), syncline::Code::Invalid);
}

/// Would break: a message over the limit that is taken, or one under it that is not, at whatever limit a lossy lane was made with.
#[test]
fn lossy_lanes_take_what_they_say() {
    let bus = Bus::embedded().unwrap();
    for max_len in [8, 100, 300, 600, 1_000, 1_600, 3_000] {
        let mut writer = bus.zone("z").writer("w").unwrap();
        let lane =
            writer.channel(&max_len.to_string()).capacity(CAPACITY).max_len(max_len).lossy().open::<[u8]>().unwrap();
        assert_eq!(writer.max_len(lane).unwrap(), max_len);
        // Readers hold a message each, wherever they are; the first ones in place.
        let channel = max_len.to_string();
        let mut readers: Vec<Reader> = Vec::new();
        let mut n = 0;
        for _ in 0..6 {
            let mut reader = bus.zone("z").reader("r").channel::<[u8]>(&channel).open().unwrap();
            writer.publish(lane, &payload(n, max_len as usize)[..]).unwrap();
            n += 1;
            assert!(reader.recv(LONG).is_ok());
            // Now it is somewhere else than the others.
            (0..5).for_each(|more| writer.publish(lane, &payload(n + more, max_len as usize)[..]).unwrap());
            n += 5;
            readers.push(reader);
        }
        (0..600).for_each(|more| writer.publish(lane, &payload(n + more, max_len as usize)[..]).unwrap());
        let mut held = Vec::new();
        for reader in &mut readers {
            held.push(one_of(reader));
        }
        let numbers: Vec<u64> = held.iter().map(|message| whole(message, max_len as usize)).collect();
        for more in 0..500 {
            writer
                .publish(lane, &vec![3; max_len as usize][..])
                .unwrap_or_else(|error| panic!("{max_len}: {more}: {error}"));
        }
        for (message, n) in held.iter().zip(numbers) {
            check(&message.to_vec().unwrap(), n, max_len as usize);
        }
        let error = writer.publish(lane, &vec![3; max_len as usize + 1][..]).unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit, .. } if limit == max_len), "{error}");
    }
}

/// Would break: a synced reader that waits for ever because the writer has passed a page that it still holds in one lane, while it goes on behind
/// what it has lost in another.
#[test]
fn a_page_that_is_held_is_left_when_eras_are_lost() {
    let bus = Bus::embedded().unwrap();
    let mut writer = bus.zone("z").writer("w").unwrap();
    let lanes = ["a", "b"].map(|name| writer.channel(name).capacity(CAPACITY).lossy().open::<u64>().unwrap());
    let mut reader = bus.zone("z").reader("r").channel::<u64>("a").channel::<u64>("b").synced().open().unwrap();
    let era = |writer: &mut Writer, number: u64| {
        lanes.iter().for_each(|lane| writer.publish(*lane, &number).unwrap());
        assert_eq!(writer.edge().unwrap(), number);
    };
    era(&mut writer, 1);
    assert_eq!(reader.try_era().unwrap().unwrap().number(), 1);
    const LAST: u64 = 1000;
    (2..=LAST).for_each(|number| era(&mut writer, number));
    let mut next = 2;
    let mut lost = 0;
    while next <= LAST {
        match reader.try_era() {
            Ok(Some(mut era)) => {
                assert_eq!(era.number(), next);
                for _ in 0..2 {
                    assert_eq!(era.next().unwrap().unwrap().copy::<u64>().unwrap(), next);
                }
                next += 1;
            }
            Ok(None) => panic!("era {next} is neither handed out nor lost"),
            Err(Error::ErasLost { first, last }) => {
                assert_eq!(first, next);
                (next, lost) = (last + 1, lost + last + 1 - first);
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(lost > 0 && lost < LAST - 10, "{lost}");
}

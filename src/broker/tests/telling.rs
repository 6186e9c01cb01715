use super::*;
use crate::wire::{PresenceKind, PresenceWhat, ZoneInfo};

/// The next presence event, in short.
fn presence(client: &mut Client) -> String {
    let (Tell::Presence(event), _) = client.event() else { panic!("no presence event") };
    let pid = if event.kind == PresenceKind::Channel { 0 } else { std::process::id() };
    assert_eq!(event.pid, pid);
    format!("{:?} {:?} {}/{}:{}", event.what, event.kind, event.zone, event.channel, event.name)
}

#[test]
fn watchers_are_told_who_comes_and_leaves() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer_named("z", "w");
        client.lane(&writer, "a");
        client.reader("z", &["a"]);
        client.writer_named("elsewhere", "e");

        let mut watcher = place.connect();
        watcher.done(Ask::Watch { zone: "z".to_owned() });
        let there: Vec<_> = (0..4).map(|_| presence(&mut watcher)).collect();
        assert_eq!(there, ["Came Channel z/a:", "Came Writer z/:w", "Came Writer z/a:w", "Came Reader z/a:reader"]);
        watcher.no_event();

        let mut all = place.connect();
        all.done(Ask::Watch { zone: String::new() });
        let there: Vec<_> = (0..5).map(|_| presence(&mut all)).collect();
        assert_eq!(there[4], "Came Writer elsewhere/:e");

        let second = client.writer_named("z", "v");
        client.lane(&second, "b");
        client.done(Ask::CloseWriter { writer: second.serial });
        for watcher in [&mut watcher, &mut all] {
            let told: Vec<_> = (0..6).map(|_| presence(watcher)).collect();
            assert_eq!(
                told,
                [
                    "Came Writer z/:v",
                    "Came Channel z/b:",
                    "Came Writer z/b:v",
                    "Left Writer z/b:v",
                    "Left Channel z/b:",
                    "Left Writer z/:v"
                ]
            );
        }
        client.writer_named("elsewhere", "f");
        assert_eq!(presence(&mut all), "Came Writer elsewhere/:f");
        watcher.no_event();
    });
}

#[test]
fn the_dead_are_told_apart() {
    isolated(|| {
        let place = Place::new();
        let mut watcher = place.connect();
        watcher.done(Ask::Watch { zone: String::new() });
        let child = crate::os::testing::spawn_child(|| {
            let mut client = place.connect();
            let writer = client.writer("z");
            client.lane(&writer, "a");
            client.reader("z", &["a"]);
            true
        });
        let told: Vec<_> = (0..8)
            .map(|_| match watcher.event().0 {
                Tell::Presence(event) => (event.what, event.kind, event.pid),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(crate::os::testing::join_child(child), 0);
        let pid = child.as_raw() as u32;
        use PresenceKind::{Channel, Reader, Writer};
        use PresenceWhat::{Came, Died, Left};
        assert_eq!(told[..4], [(Came, Writer, pid), (Came, Channel, 0), (Came, Writer, pid), (Came, Reader, pid)]);
        assert_eq!(told[4..], [(Died, Reader, pid), (Died, Writer, pid), (Left, Channel, 0), (Died, Writer, pid)]);
    });
}

#[test]
fn waiting_for_readers() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let wait = |count| Ask::WaitReaders { zone: "z".to_owned(), channel: "a".to_owned(), count };
        assert_eq!(client.call(wait(0)).0, Tell::Readers { count: 0 });
        let (one, two, cancelled) = (client.send(wait(1)), client.send(wait(2)), client.send(wait(1)));
        client.send(Ask::Cancel { id: cancelled });
        client.done(Ask::Sync);
        let mut readers = place.connect();
        readers.reader("z", &["other"]);
        let first = readers.reader("z", &["a", "b"]);
        assert_eq!(client.answer(one).0, Tell::Readers { count: 1 });
        readers.done(Ask::CloseReader { reader: first.number });
        readers.reader("z", &["a"]);
        client.done(Ask::Sync);
        assert!(client.others.is_empty(), "one left, one came: {:?}", client.others);
        readers.reader("z", &["a"]);
        assert_eq!(client.answer(two).0, Tell::Readers { count: 2 });
        assert_eq!(client.call(wait(1)).0, Tell::Readers { count: 2 });
        client.done(Ask::Sync);
        assert!(client.others.is_empty(), "{:?}", client.others);
        place.until("nothing was made for waiting", |stats| stats.zones == 1);
    });
}

fn list(client: &mut Client) -> Vec<ZoneInfo> {
    let id = client.send(Ask::List);
    let mut zones: Vec<ZoneInfo> = Vec::new();
    loop {
        let (Tell::Listing { zone, last }, _) = client.answer(id) else { panic!() };
        match (zones.last_mut(), zone) {
            (Some(before), Some(part)) if before.name == part.name => before.append(part),
            (_, zone) => zones.extend(zone),
        }
        if last {
            return zones;
        }
    }
}

#[test]
fn the_listing_has_all() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        assert_eq!(list(&mut client), []);
        let mut writer = client.writer("z");
        let mut lane = client.lane(&writer, "a");
        lane.publish(&mut writer, 1, true);
        client.reader("z", &["a", "b"]);
        client.writer("y");
        let zones = list(&mut client);
        let [z, y] = &zones[..] else { panic!("{zones:?}") };
        assert_eq!((&*z.name, &*y.name, z.entries, z.generation), ("z", "y", 1, 0));
        assert_eq!(z.channels.iter().map(|channel| &*channel.name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((z.channels[0].ty.as_ref(), z.channels[1].ty.as_ref()), (Some(&TypeDesc::bytes()), None));
        assert_eq!((z.writers[0].row, z.writers[0].version, z.writers[0].pid), (0, 1, std::process::id()));
        assert_eq!((z.lanes[0].lane, z.lanes[0].readers, z.lanes[0].capacity), (lane.number, 1, 4096));
        assert_eq!((&*z.readers[0].channels, z.readers[0].lanes), (&[0, 1][..], 1));
        assert_eq!(z.channel(1).map(|channel| channel.readers), Some(1));
        assert!(y.bytes > 0 && z.bytes > y.bytes);
    });
}

#[test]
fn a_long_listing_waits_for_its_client() {
    isolated(|| {
        let place = Place::with(Limits { unread: 4, ..Limits::default() });
        let mut client = place.connect();
        let name = |index| format!("{index:04}{}", "x".repeat(120));
        for zone in 0..4 {
            for reader in 0..4 {
                let names: Vec<_> = (0..200).map(|index| name(reader * 1000 + index)).collect();
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                client.reader(&format!("zone{zone}"), &names);
            }
        }
        // Far more than the socket takes, and not to be counted against who asked for it.
        let ids: Vec<_> = (0..20).map(|_| client.send(Ask::List)).collect();
        let mut other = place.connect();
        other.done(Ask::Sync);
        for id in ids {
            let mut channels = 0;
            loop {
                let (Tell::Listing { zone, last }, _) = client.answer(id) else { panic!() };
                channels += zone.map_or(0, |zone| zone.channels.len());
                if last {
                    break;
                }
            }
            assert_eq!(channels, 4 * 4 * 200);
        }
        client.done(Ask::Sync);
        let mut watcher = place.connect();
        watcher.done(Ask::Watch { zone: String::new() });
        for _ in 0..2 * 4 * 4 * 200 {
            presence(&mut watcher);
        }
        watcher.no_event();
    });
}

#[test]
fn who_takes_no_events_is_disconnected() {
    isolated(|| {
        let place = Place::with(Limits { unread: 64, ..Limits::default() });
        let mut idle = place.connect();
        idle.reader("z", &["quiet"]);
        idle.done(Ask::Watch { zone: String::new() });
        let mut client = place.connect();
        eventually("it is disconnected", || {
            let reader = client.reader("y", &["a", "b", "c", "d"]);
            client.done(Ask::CloseReader { reader: reader.number });
            let stats = place.stats();
            // Its reader stays: it lives.
            stats.readers == 1 && stats.fds == 1 + 2 + ZoneSegments::FDS
        });
        client.done(Ask::Sync);
        idle.ended();
        assert_eq!(place.stats().sessions, 2);
    });
}

#[test]
fn who_was_held_back_is_told_to_look_again() {
    isolated(|| {
        let place = Place::new();
        let mut slow = place.connect();
        let reader = slow.reader("z", &["a"]);
        slow.done(Ask::Watch { zone: String::new() });
        let mut client = place.connect();
        // Fills its socket with events, so that what comes next is held back.
        for _ in 0..200 {
            let other = client.reader("y", &["a", "b", "c", "d"]);
            client.done(Ask::CloseReader { reader: other.number });
        }
        let writer = client.writer("z");
        client.lane(&writer, "a");
        let roster = reader.roster();
        let mut added = None;
        while added.is_none() {
            if let (_, (Tell::LaneAdded { lane, .. }, _)) = slow.receive().unwrap() {
                added = Some(lane);
            }
        }
        eventually("the roster says so", || reader.roster() > roster);
        assert_eq!(added.unwrap().channel_name, "a");
    });
}

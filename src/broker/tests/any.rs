//! Any requests in any order, of clients that guess numbers: nothing panics, and the dead leave nothing.

use super::*;
use crate::wire::{Delivery, LockKind};
use proptest::collection::vec;
use proptest::prelude::*;

/// A request with numbers that are often right.
fn ask() -> impl Strategy<Value = Ask> {
    let name = || prop::sample::select(vec!["a", "b", "c", ""]).prop_map(str::to_owned);
    let number = || 0..24u64;
    let ty = || {
        prop::sample::select(vec![0, 8, 16]).prop_map(|size| match size {
            0 => TypeDesc::bytes(),
            size => TypeDesc { name: "t".to_owned(), size, align: 8, variable: false, fields: Vec::new() },
        })
    };
    let options = || {
        prop::sample::select(vec![0, 4, 5]).prop_map(|n| ZoneOptions {
            writers: n,
            eras: n,
            entries: n,
            ..ZoneOptions::default()
        })
    };
    let wanted = (name(), prop::option::of(ty())).prop_map(|(channel, ty)| Wanted { channel, ty });
    let capacity = prop::sample::select(vec![0, 4096, 1 << 21, u64::MAX]);
    let delivery = (any::<bool>(), 0..2u32).prop_map(|(lossy, evict_ms)| Delivery { lossy, evict_ms });
    let delivery = prop::option::of(delivery);
    prop_oneof![
        (name(), options(), name()).prop_map(|(zone, options, name)| Ask::OpenWriter { zone, options, name }),
        (number(), name(), ty(), capacity, prop::sample::select(vec![0, 64, u64::MAX]), delivery).prop_map(
            |(writer, channel, ty, capacity, max_payload, delivery)| Ask::OpenLane {
                writer,
                channel,
                ty,
                capacity,
                max_payload,
                delivery
            }
        ),
        number().prop_map(|lane| Ask::LaneMapped { lane }),
        (name(), options(), vec(wanted, 0..4), any::<bool>()).prop_map(|(zone, options, channels, must_exist)| {
            Ask::OpenReader {
                zone,
                options,
                name: "r".to_owned(),
                channels,
                must_exist,
                past: false,
                synced: false,
                marked: false,
            }
        }),
        (number(), 0..5u32).prop_map(|(reader, entry)| Ask::LaneDone { reader, entry }),
        number().prop_map(|writer| Ask::CloseWriter { writer }),
        number().prop_map(|reader| Ask::CloseReader { reader }),
        (name(), name(), 0..3u32).prop_map(|(zone, channel, count)| Ask::WaitReaders { zone, channel, count }),
        name().prop_map(|zone| Ask::Watch { zone }),
        (0..9u32).prop_map(|id| Ask::Cancel { id }),
        Just(Ask::List),
        Just(Ask::Sync),
        lock(),
    ]
}

/// A request that has to do with locks.
fn lock() -> impl Strategy<Value = Ask> {
    let name = || prop::sample::select(vec!["a", "b", ""]).prop_map(str::to_owned);
    let kind = || prop::sample::select(vec![LockKind::Named, LockKind::Table]);
    let number = || 0..24u64;
    prop_oneof![
        3 => (name(), kind(), name(), any::<bool>())
            .prop_map(|(zone, kind, name, wait)| Ask::AcquireLock { zone, kind, name, wait }),
        1 => (0..99u32).prop_map(|id| Ask::CancelLock { id }),
        2 => number().prop_map(|fence| Ask::ReleaseLock { fence }),
        1 => (number(), number(), 0..3u64)
            .prop_map(|(fence, writer, version)| Ask::ReleaseLockAfter { fence, writer, version }),
        1 => (name(), kind(), name()).prop_map(|(zone, kind, name)| Ask::WatchLock { zone, kind, name }),
    ]
}

/// What happens: a client asks, or closes its connection, or dies.
#[derive(Clone, Debug)]
enum Step {
    Ask(usize, Ask),
    Close(usize),
    Die(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 0..3usize;
    prop_oneof![
        60 => (client(), ask()).prop_map(|(client, ask)| Step::Ask(client, ask)),
        1 => client().prop_map(Step::Close),
        1 => client().prop_map(Step::Die),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_books_balance(steps in vec(step(), 1..120)) {
        let directory = tempfile::tempdir().unwrap();
        let socket = Some(directory.path().join("broker.sock"));
        let limits = Limits { lanes: 4, readers: 4, bytes: 8 << 20, ..Limits::default() };
        let mut broker = Broker::bind(Config { socket, limits }).unwrap();
        let mut peers = Vec::new();
        let mut clients = Vec::new();
        for _ in 0..3 {
            let (ours, theirs) = Conn::pair().unwrap();
            let pidfd = ours.peer_pidfd().unwrap();
            let owner = |client| Owner { client, pid: 1, uid: broker.uid, start: 0 };
            let client = broker.sessions.add(theirs, pidfd, owner).unwrap();
            broker.sessions.get_mut(client).unwrap().greeted = true;
            peers.push(ours);
            clients.push(client);
        }
        for (id, step) in (1..).zip(steps) {
            match step {
                Step::Ask(client, body) => {
                    let mut bytes = Vec::new();
                    Request { id, body }.encode(&mut bytes);
                    broker.handle(clients[client], &bytes);
                }
                Step::Close(client) => broker.sessions.end(clients[client]),
                Step::Die(client) => broker.bury(clients[client]),
            }
            broker.registry.work(&mut broker.sessions);
            broker.tidy();
            for peer in &peers {
                while peer.recv(&mut vec![0; MAX_PACKET]).is_ok_and(|packet| packet.len > 0) {}
            }
            check(&broker);
        }
        for client in clients {
            broker.bury(client);
        }
        broker.registry.work(&mut broker.sessions);
        broker.publish_stats();
        let stats = *broker.stats.lock().unwrap();
        // That some died with their locks, others are still to be told.
        prop_assert_eq!(stats, Stats { completed: 0, buried: 0, locks: stats.locks, ..Stats::default() });
        prop_assert!(broker.registry.owned.is_empty() && broker.registry.zone_names.is_empty());
    }
}

/// Whether all parts of the books agree.
fn check(broker: &Broker) {
    let books = &broker.registry;
    let mut bytes = 0;
    for zone in books.zones.values() {
        bytes += ZoneSegments::bytes(&zone.geometry);
        assert!(!zone.writers.is_empty() || !zone.readers.is_empty(), "an empty zone");
        assert_eq!(zone.channels.len(), zone.channel_names.len());
        assert!(zone.writers.iter().all(|number| books.writers[number].zone == zone.number));
        assert!(zone.readers.iter().all(|number| books.readers[number].zone == zone.number));
        let used: usize = zone.readers.iter().map(|number| books.readers[number].entries.len()).sum();
        assert_eq!(zone.entries.len(), used, "entries");
        for (index, channel) in zone.channels.iter() {
            assert!(!channel.lanes.is_empty() || !channel.readers.is_empty(), "an unused channel");
            assert!(channel.lanes.iter().all(|number| books.lanes[number].channel == index));
            assert!(channel.readers.iter().all(|number| books.readers[number].channels.contains(&index)));
        }
    }
    for (number, lane) in &books.lanes {
        bytes += crate::layout::lane::segment_size(lane.capacity);
        assert!(books.zones[&lane.zone].lanes.contains(number));
        assert_eq!(books.writers.contains_key(&lane.writer), !lane.state.is_over());
        assert!(lane.entries.iter().all(|(entry, reader)| books.readers[reader].entries[entry] == *number));
    }
    assert_eq!(books.ledger.used(), bytes);
    let owned: usize = books.owned.values().map(|owned| owned.writers.len() + owned.readers.len()).sum();
    assert_eq!(owned, books.writers.len() + books.readers.len());
}

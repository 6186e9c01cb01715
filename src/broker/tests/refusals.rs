use super::*;
use crate::os::testing::{join_child, spawn_child};
use crate::wire::{Field, Scalar};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};

fn pose() -> TypeDesc {
    TypeDesc { name: "pose".to_owned(), size: 16, align: 8, variable: false, fields: Vec::new() }
}

fn reader_of(ty: TypeDesc) -> Ask {
    let Ask::OpenReader { zone, options, name, must_exist, past, synced, marked, .. } = open_reader("z", &[]) else {
        panic!()
    };
    let channels = vec![Wanted { channel: "a".to_owned(), ty: Some(ty) }];
    Ask::OpenReader { zone, options, name, channels, must_exist, past, synced, marked }
}

#[test]
fn another_type_is_told_what_the_channel_has() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer("z");
        client.call(lane_of(&writer, "a", pose()));
        let x = Field { name: "x".to_owned(), offset: 0, count: 1, scalar: Scalar::F64 };
        let others = [
            TypeDesc { name: "twist".to_owned(), ..pose() },
            TypeDesc { size: 24, ..pose() },
            TypeDesc { align: 16, ..pose() },
            TypeDesc { variable: true, ..pose() },
            TypeDesc { fields: vec![x], ..pose() },
            TypeDesc::bytes(),
        ];
        let second = client.writer("z");
        for other in others {
            for ask in [reader_of(other.clone()), lane_of(&second, "a", other)] {
                let (code, text) = client.refused(ask);
                assert_eq!(code, Code::Mismatch);
                assert!(text.contains("channel `a` of zone `z`: expected `pose` (16 bytes, aligned to 8)"), "{text}");
            }
        }
        assert!(matches!(client.call(reader_of(pose())).0, Tell::Reader { .. }));
        assert!(matches!(client.call(lane_of(&second, "a", pose())).0, Tell::LaneMade { .. }));
        assert!(matches!(client.call(open_reader("z", &["a"])).0, Tell::Reader { .. }), "whatever it is");
        place.until("nothing of what was refused is left", |stats| (stats.lanes, stats.readers) == (2, 2));
    });
}

#[test]
fn the_first_reader_that_names_a_type_declares_it() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        client.reader("z", &["a"]);
        let id = client.send(reader_of(pose()));
        client.answer(id);
        assert!(matches!(client.answer(id).0, Tell::ReaderOpen { .. }));
        let writer = client.writer("z");
        assert_eq!(client.refused(lane_of(&writer, "a", TypeDesc::bytes())).0, Code::Mismatch);
    });
}

#[test]
fn zones_keep_their_shape() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let open = |options| Ask::OpenWriter { zone: "z".to_owned(), options, name: "w".to_owned() };
        for bad in [
            ZoneOptions { writers: 1025, ..NO_OPTIONS },
            ZoneOptions { eras: 5, ..NO_OPTIONS },
            ZoneOptions { eras: u32::MAX, ..NO_OPTIONS },
            ZoneOptions { entries: 65_537, ..NO_OPTIONS },
        ] {
            assert_eq!(client.refused(open(bad)).0, Code::Invalid);
        }
        let shape = ZoneOptions { writers: 2, eras: 8, ..NO_OPTIONS };
        let (Tell::Writer { geometry, .. }, _) = client.call(open(shape)) else { panic!() };
        assert_eq!(geometry, Geometry { writers: 2, eras: 8, entries: 1024, pace: Pace::Free });
        let (code, text) = client.refused(open(ZoneOptions { eras: 64, ..NO_OPTIONS }));
        assert_eq!(code, Code::Mismatch);
        assert!(text.contains("expected 8 eras") && text.contains("found 64"), "{text}");
        assert!(matches!(client.call(open(shape)).0, Tell::Writer { .. }));
        let (code, text) = client.refused(open(NO_OPTIONS));
        assert_eq!(code, Code::Exhausted, "both rows are taken");
        assert!(text.contains("2 of 2"), "{text}");
    });
}

#[test]
fn names_and_numbers_are_checked() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let writer = client.writer("z");
        let long = "x".repeat(129);
        let code = |(code, _): (Code, String)| code;
        for bad in ["", "a\nb", &long] {
            assert_eq!(code(client.refused(open_writer(bad))), Code::Invalid);
            assert_eq!(code(client.refused(open_lane(&writer, bad))), Code::Invalid);
            assert_eq!(code(client.refused(open_reader(bad, &["a"]))), Code::Invalid);
            assert_eq!(code(client.refused(open_reader("z", &["a", bad]))), Code::Invalid);
            let wait = Ask::WaitReaders { zone: "z".to_owned(), channel: bad.to_owned(), count: 1 };
            assert_eq!(code(client.refused(wait)), Code::Invalid);
        }
        assert_eq!(code(client.refused(Ask::Watch { zone: long })), Code::Invalid);
        assert_eq!(code(client.refused(open_reader("z", &[]))), Code::Invalid);
        assert_eq!(code(client.refused(open_reader("z", &["a", "b", "a"]))), Code::Invalid);
        let bad_type = TypeDesc { align: 3, ..pose() };
        assert_eq!(code(client.refused(lane_of(&writer, "a", bad_type.clone()))), Code::Invalid);
        assert_eq!(code(client.refused(reader_of(bad_type))), Code::Invalid);
        client.lane(&writer, "a");
        assert_eq!(code(client.refused(open_lane(&writer, "a"))), Code::Invalid, "one lane in each channel");
        let too_large = Ask::OpenLane {
            writer: writer.serial,
            channel: "b".to_owned(),
            ty: TypeDesc::bytes(),
            capacity: u64::MAX,
            max_payload: 0,
            delivery: None,
        };
        assert_eq!(code(client.refused(too_large)), Code::TooLarge);
        // What others have opened is not there for this client.
        let mut other = place.connect();
        let reader = client.reader("z", &["a"]);
        for ask in [
            open_lane(&writer, "c"),
            Ask::CloseWriter { writer: writer.serial },
            Ask::CloseReader { reader: reader.number },
            Ask::CloseReader { reader: 999 },
        ] {
            assert_eq!(code(other.refused(ask)), Code::Unknown);
        }
        other.send(Ask::LaneDone { reader: reader.number, entry: reader.lanes[0].entry });
        other.done(Ask::Sync);
        place.until("all is as it was", |stats| (stats.lanes, stats.readers, stats.entries) == (1, 1, 1));
    });
}

#[test]
fn what_must_exist_must_have_a_writer() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let must = |channels: &[&str]| match open_reader("z", channels) {
            Ask::OpenReader { zone, options, name, channels, past, synced, marked, .. } => {
                Ask::OpenReader { zone, options, name, channels, must_exist: true, past, synced, marked }
            }
            _ => panic!(),
        };
        assert_eq!(client.refused(must(&["a"])).0, Code::Unknown);
        place.until("no zone was made for that", |stats| stats.zones == 0);
        client.reader("z", &["b"]);
        let writer = client.writer("z");
        client.lane(&writer, "a");
        assert!(client.refused(must(&["a", "b"])).1.contains("channel `b`"));
        assert!(matches!(client.call(must(&["a"])).0, Tell::Reader { .. }));
    });
}

#[test]
fn quotas_are_answers() {
    isolated(|| {
        let limits = Limits {
            zones: 2,
            channels: 3,
            lanes: 2,
            readers: 2,
            subscriptions: 3,
            waits: 2,
            lane_bytes: 1 << 20,
            bytes: 4 << 20,
            ..Limits::default()
        };
        let place = Place::with(limits);
        let mut client = place.connect();
        let exhausted = |client: &mut Client, ask| assert_eq!(client.refused(ask).0, Code::Exhausted);
        let writer = client.writer("z");
        let second = client.writer("second");
        exhausted(&mut client, open_writer("third"));
        client.done(Ask::CloseWriter { writer: second.serial });

        client.lane(&writer, "a");
        client.lane(&writer, "b");
        exhausted(&mut client, open_lane(&writer, "c"));
        exhausted(&mut client, open_reader("z", &["a", "b", "c", "d"]));
        client.reader("z", &["a", "c"]);
        exhausted(&mut client, open_reader("z", &["a", "d", "e"]));
        client.reader("z", &["a"]);
        exhausted(&mut client, open_reader("z", &["a"]));

        let second = client.writer("second");
        let large = |capacity| Ask::OpenLane {
            writer: second.serial,
            channel: "x".to_owned(),
            ty: TypeDesc::bytes(),
            capacity,
            max_payload: 0,
            delivery: None,
        };
        assert_eq!(client.refused(large(2 << 20)).0, Code::TooLarge);
        place.until("as far as it goes", |stats| stats.bytes < 3 << 20);
        assert!(matches!(client.call(large(1 << 20)).0, Tell::LaneMade { .. }));
        let huge = ZoneOptions { writers: 1024, eras: 4096, entries: 65_536, ..NO_OPTIONS };
        client.done(Ask::CloseWriter { writer: second.serial });
        exhausted(&mut client, Ask::OpenWriter { zone: "huge".to_owned(), options: huge, name: "w".to_owned() });

        let wait = || Ask::WaitReaders { zone: "q".to_owned(), channel: "q".to_owned(), count: 1 };
        let first = client.send(wait());
        client.send(wait());
        exhausted(&mut client, wait());
        client.send(Ask::Cancel { id: first });
        client.send(wait());
        client.done(Ask::Watch { zone: "z".to_owned() });
        client.done(Ask::Watch { zone: "q".to_owned() });
        exhausted(&mut client, Ask::Watch { zone: String::new() });
    });
}

#[test]
fn entries_run_out_for_both_sides() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let options = ZoneOptions { entries: 2, ..NO_OPTIONS };
        let (Tell::Writer { serial, .. }, _) =
            client.call(Ask::OpenWriter { zone: "z".to_owned(), options, name: "w".to_owned() })
        else {
            panic!()
        };
        let open = |channel: &str| Ask::OpenLane {
            writer: serial,
            channel: channel.to_owned(),
            ty: TypeDesc::bytes(),
            capacity: 4096,
            max_payload: 0,
            delivery: None,
        };
        let mapped = |client: &mut Client, channel| {
            let (Tell::LaneMade { lane, .. }, _) = client.call(open(channel)) else { panic!() };
            Ask::LaneMapped { lane }
        };
        let ask = mapped(&mut client, "a");
        assert!(matches!(client.call(ask).0, Tell::LaneOpen { .. }));
        client.reader("z", &["a", "b"]);
        client.reader("z", &["a", "b"]);
        assert_eq!(client.refused(open_reader("z", &["a"])).0, Code::Exhausted);
        let ask = mapped(&mut client, "b");
        assert_eq!(client.refused(ask).0, Code::Exhausted);
        // The lane that could not be opened is no more, and can be asked for again.
        let ask = mapped(&mut client, "b");
        assert_eq!(client.refused(ask).0, Code::Exhausted);
        place.until("as before", |stats| (stats.lanes, stats.entries, stats.readers) == (1, 2, 2));
    });
}

#[test]
fn garbage_ends_its_connection_and_no_other() {
    isolated(|| {
        let place = Place::new();
        let mut bystander = place.connect();
        let hello_bytes = |body| {
            let mut bytes = Vec::new();
            Request { id: 7, body }.encode(&mut bytes);
            bytes
        };
        let mut trailing = hello_bytes(hello());
        trailing.push(0);
        let early = hello_bytes(Ask::List);
        let layout = hello_bytes(Ask::Hello { protocol: PROTOCOL, layout_hash: 1, name: "x".to_owned() });
        let unnamed = hello_bytes(Ask::Hello { protocol: PROTOCOL, layout_hash: LAYOUT_HASH, name: String::new() });
        let mut future = hello_bytes(Ask::Hello { protocol: PROTOCOL + 1, layout_hash: 1, name: "x".to_owned() });
        future.extend_from_slice(b"and more");
        let zeroes = vec![0; MAX_PACKET];
        let cases: [(&[u8], u32, Code); 8] = [
            (b"x", 0, Code::Protocol),
            (b"GET / HTTP/1.1", u32::from_le_bytes(*b"T / "), Code::Protocol),
            (&zeroes, 0, Code::Protocol),
            (&trailing, 7, Code::Protocol),
            (&early, 7, Code::Protocol),
            (&layout, 7, Code::Version),
            (&unnamed, 7, Code::Invalid),
            (&future, 7, Code::Version),
        ];
        for (bytes, id, code) in cases {
            let mut client = Client::silent(&place.socket());
            client.send_bytes(bytes);
            let (Tell::Refused { code: found, text }, _) = client.answer(id) else { panic!() };
            assert_eq!(Code::from_number(found), Some(code), "{text}");
            assert!(text.contains("expected") && text.contains("found"), "{text}");
            client.ended();
        }
        // After a sound beginning as well, and with descriptors.
        for bytes in [&b"x"[..], &trailing] {
            let client = place.connect();
            client.send_bytes(bytes);
            client.ended();
        }
        let client = place.connect();
        client.conn.send(&hello_bytes(Ask::Sync), &[client.conn.fd()]).unwrap();
        client.ended();
        bystander.done(Ask::Sync);
        place.until("only the bystander is left", |stats| stats.sessions == 1);
    });
}

#[test]
fn too_many_connections_are_turned_away() {
    isolated(|| {
        let place = Place::with(Limits { sessions: 2, ..Limits::default() });
        let first = place.connect();
        let _second = place.connect();
        let mut third = Client::silent(&place.socket());
        let (_, (told, _)) = third.receive().unwrap();
        assert!(matches!(told, Tell::Refused { code, .. } if code == Code::Exhausted as i32), "{told:?}");
        third.ended();
        drop(first);
        place.until("there is room again", |stats| stats.sessions == 1);
        place.connect();
    });
}

#[test]
fn running_out_of_descriptors_is_survived() {
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("broker.sock");
        let child = spawn_child(|| {
            let most = open_fds() as u64 + 20;
            setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
            Broker::bind(Config { socket: Some(socket.clone()), ..Config::default() }).unwrap().run().is_ok()
        });
        eventually("it is there", || Conn::connect(&socket).is_ok());
        let is_exhausted = |told: &Tell| matches!(told, Tell::Refused { code, .. } if *code == Code::Exhausted as i32);
        let mut first = Client::hello(&socket);
        let writer = first.writer("z");
        let mut others = Vec::new();
        loop {
            assert!(others.len() < 20, "descriptors never ran out");
            let mut other = Client::silent(&socket);
            let mut bytes = Vec::new();
            Request { id: 1, body: hello() }.encode(&mut bytes);
            // It may be refused before it has said anything.
            let _ = other.conn.send(&bytes, &[]);
            match other.receive().unwrap().1 {
                (Tell::Welcome { .. }, _) => others.push(other),
                (told, _) => {
                    assert!(is_exhausted(&told), "{told:?}");
                    other.ended();
                    break;
                }
            }
        }
        assert!(others.len() >= 3);
        // Segments are refused too: one descriptor may be left.
        let refused = ["a", "b", "c"].iter().find(|channel| is_exhausted(&first.call(open_lane(&writer, channel)).0));
        assert!(refused.is_some());
        drop(others);
        eventually("there is room again", || {
            let mut client = Client::silent(&socket);
            client.send(hello());
            matches!(client.receive(), Some((_, (Tell::Welcome { .. }, _))))
        });
        first.lane(&writer, "d");
        kill(child, Signal::SIGKILL).unwrap();
        join_child(child);
    });
}

//! What `pub --frames` does with a stream that is no sound one: it says what is wrong, keeps the eras that were whole, and shows
//! nobody a part of another.

use crate::harness::{Broker, Done, Running, eventually};
use nix::sys::signal::Signal;
use std::time::Duration;
use syncline::wire::frames::{Channel, Edge, Head, Record, begin};
use syncline::{Bus, TypeDesc};

/// A stream in the making.
#[derive(Clone)]
struct Stream(Vec<u8>);

impl Stream {
    fn new() -> Stream {
        let mut bytes = Vec::new();
        begin(&mut bytes);
        Stream(bytes)
    }

    fn record(mut self, head: Head, payload: &[u8]) -> Stream {
        Record { head, payload }.encode(&mut self.0);
        self
    }

    fn channel(self, index: u32, name: &str) -> Stream {
        self.typed(index, name, TypeDesc::bytes())
    }

    fn typed(self, index: u32, name: &str, ty: TypeDesc) -> Stream {
        self.record(Head::Channel(Channel { index, name: name.to_owned(), ty, max_len: 1000, rings: 0 }), b"")
    }

    fn message(self, channel: u32, text: &[u8]) -> Stream {
        self.record(Head::Message { channel }, text)
    }

    fn edge(self, era: u64) -> Stream {
        self.record(Head::Edge(Edge { era, merged: false, tag: None, reason: 0 }), b"")
    }

    fn bytes(mut self, bytes: &[u8]) -> Stream {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Without its last bytes.
    fn without(mut self, last: usize) -> Stream {
        self.0.truncate(self.0.len() - last);
        self
    }
}

/// Two channels, and an era of each.
fn sound() -> Stream {
    Stream::new().channel(0, "c").channel(1, "d").message(0, b"1").message(1, b"2").edge(7)
}

/// A live and a synced reader of both channels.
fn readers(broker: &Broker, zone: &str) -> [Running; 2] {
    ["--live", "--synced"].map(|kind| broker.spawn(&["sub", "c", "d", "--zone", zone, "--until-closed", kind]))
}

/// What they have seen, in the order of a synced reader.
fn seen(readers: [Running; 2]) -> [String; 2] {
    let [live, synced] = readers.map(|reader| reader.wait().succeeded().text().to_owned());
    let mut lines: Vec<_> = live.lines().map(|line| format!("{line}\n")).collect();
    lines.sort_unstable();
    [lines.concat(), synced]
}

/// Publishes a stream in a zone of its own, and what its readers saw.
fn publish(broker: &Broker, zone: &str, stream: &Stream, options: &[&str]) -> (Done, [String; 2]) {
    let readers = readers(broker, zone);
    let options = [&["pub", "--frames", "--zone", zone, "--wait-readers", "2"], options].concat();
    let done = broker.run(&options, &stream.0);
    (done, seen(readers))
}

#[test]
fn eras_that_were_whole_are_kept() {
    let broker = Broker::start();
    let next = || sound().message(0, b"3").message(1, b"4");
    let typed = TypeDesc { name: "f64".to_owned(), size: 8, align: 8, variable: false, fields: Vec::new() };
    for (number, (stream, said)) in [
        (sound().without(0).bytes(b"\x02"), "expected 6 bytes of a record's head, found the end after 1"),
        (sound().message(0, b"3").without(3), "bytes of a message, found the end after"),
        (sound().message(0, b"3").without(1), "expected 5 bytes of a message, found the end after 4"),
        (next(), "expected a message or the edge of the era, found the end"),
        (next().edge(8).without(1), "bytes of an edge, found the end after"),
        (next().bytes(&[3]), "expected 6 bytes of a record's head, found the end after 1"),
        (sound().channel(2, "e").without(1), "bytes of a channel, found the end after"),
        (next().bytes(&[9, 0, 0, 0, 0, 0]), "found kind 9"),
        (
            next().bytes(&[2, 0, 5, 0, 0, 64]),
            "a message: expected at most 1073741828 bytes, found a length of 1073741829",
        ),
        (next().bytes(&[2, 0, 4, 0, 0, 64]), "expected 1073741828 bytes of a message, found the end after 0"),
        (next().bytes(&[2, 0, 2, 0, 0, 0, 1, 1]), "a message: expected 4 bytes more, found 2"),
        (next().bytes(&[3, 0, 255, 0, 0, 0]), "an edge: expected at most 64 bytes, found a length of 255"),
        (next().message(2, b"x").edge(8), "one of the 2 channels declared so far, found one in channel 2"),
        (next().channel(2, "e").edge(8), "between eras, found `e` inside one"),
        (sound().channel(1, "e"), "expected channel 2 to be declared next, found 1"),
        (sound().channel(2, "c").message(2, b"3").edge(8), "channel `c`"),
        (sound().typed(2, "e", TypeDesc { align: 3, ..typed.clone() }), "expected a power of two up to 4096, found 3"),
        (
            next().message(1, &[0; 1001]).edge(8),
            "a message of 1001 bytes in channel `d`, whose lane takes 1000 at once",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (done, seen) = publish(&broker, &format!("zone {number}"), &stream, &[]);
        done.failed(1, &[said]);
        assert_eq!(seen, ["1\n2\n"; 2], "{said}");
    }
}

#[test]
fn what_ends_between_eras_is_sound() {
    let broker = Broker::start();
    let (done, seen) = publish(&broker, "whole", &sound(), &[]);
    done.succeeded();
    assert_eq!(seen, ["1\n2\n"; 2]);
    broker.run(&["pub", "--frames", "--zone", "none"], &Stream::new().0).succeeded();
}

#[test]
fn what_is_no_stream() {
    let broker = Broker::start();
    for (bytes, said) in [
        (&b""[..], "expected a stream of frames, found ``"),
        (b"\x8bSYNC", "expected a stream of frames, found `\\x8bSYNC`"),
        (b"1\n2\n3\n4\n5\n", "found `1\\n2\\n3\\n4\\n`; feed it what `syncline sub --frames` writes"),
        (b"\x8bSYNCFRM\x01\0\0", "expected 12 bytes of the beginning, found the end after 11"),
        (b"\x8bSYNCFRM\x02\0\0\0", "expected version 1 of the format, found 2; use the same release"),
        (&Stream::new().message(0, b"x").0, "one of the 0 channels declared so far"),
        (&Stream::new().channel(0, "a\x1b[31m").0, "expected no control characters"),
    ] {
        let done = broker.run(&["pub", "--frames", "--zone", "z"], bytes).failed(1, &[said]);
        assert!(!done.err.contains('\x1b'), "a control character reached the terminal: {:?}", done.err);
    }
    eventually("nobody is left", || broker.list().is_empty());
}

#[test]
fn an_era_has_to_fit() {
    let broker = Broker::start();
    let fits = |count| (0..count).fold(sound(), |stream, _| stream.message(0, &[b'x'; 64])).message(1, b"4").edge(8);
    let (done, seen) = publish(&broker, "fits", &fits(40), &["--capacity", "4K"]);
    done.succeeded();
    assert!(seen.iter().all(|text| text.len() == 4 + 40 * 65 + 2));
    let (done, seen) = publish(&broker, "does not", &fits(60), &["--capacity", "4K"]);
    let said = "what follows era 7 is left out: at least ";
    done.failed(1, &[said, "in channel `c`, whose lane takes 3832 at once; give it more with --capacity"]);
    assert_eq!(seen, ["1\n2\n"; 2]);
}

#[test]
fn a_channel_of_another_type_is_refused() {
    let broker = Broker::start();
    let writer = broker.spawn(&["pub", "c", "--zone", "z"]);
    eventually("the writer", || !broker.list().is_empty());
    let typed = TypeDesc { name: "f64".to_owned(), size: 8, align: 8, variable: false, fields: Vec::new() };
    let stream = Stream::new().typed(0, "c", typed).message(0, &[0; 8]).edge(1);
    let done = broker.run(&["pub", "--frames", "--zone", "z"], &stream.0);
    done.failed(1, &["`f64` (8 bytes, aligned to 8)", "plain bytes"]);
    writer.wait().succeeded();
}

#[test]
fn a_signal_rolls_the_open_era_back() {
    let broker = Broker::start();
    let readers = readers(&broker, "z");
    let mut sink = broker.spawn(&["pub", "--frames", "--zone", "z", "--wait-readers", "2"]);
    sink.write(&sound().message(0, b"3").message(1, b"4").0);
    eventually("the first era", || broker.list()[0]["era"] == 1);
    // Long enough for it to have taken the rest.
    std::thread::sleep(Duration::from_millis(200));
    sink.signal(Signal::SIGINT);
    assert_eq!(sink.wait().failed(130, &[]).err, "");
    assert_eq!(seen(readers), ["1\n2\n"; 2]);
}

#[test]
fn a_signal_ends_the_wait_for_room() {
    let broker = Broker::start();
    let zone = Bus::connect_to(&broker.socket()).unwrap().zone("z");
    let mut lazy = zone.reader("lazy").any("c").synced().open().unwrap();
    let mut sink = broker.spawn(&["pub", "--frames", "--zone", "z", "--capacity", "4K"]);
    let eras = 1..=20;
    let all = eras.fold(Stream::new().channel(0, "c"), |stream, era| {
        stream.message(0, &[era as u8; 500]).message(0, &[era as u8; 500]).edge(era)
    });
    sink.write(&all.0);
    eventually("an era", || lazy.generation().unwrap() > 0);
    // Long enough for the ring to be full.
    std::thread::sleep(Duration::from_millis(200));
    sink.signal(Signal::SIGINT);
    assert_eq!(sink.wait().failed(130, &[]).err, "");
    let published = lazy.generation().unwrap();
    assert!((1..=3).contains(&published), "{published}");
    for number in 1..=published {
        let mut era = lazy.try_era().unwrap().unwrap();
        for _ in 0..2 {
            assert_eq!(era.next().unwrap().unwrap().to_vec().unwrap(), [number as u8; 500]);
        }
        assert!(era.next().unwrap().is_none());
    }
}

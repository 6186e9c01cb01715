//! Whole eras from one broker to another: `sub --frames | pub --frames`.

use crate::harness::{Broker, Running, eventually};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::time::Duration;
use syncline::wire::frames::{Head, Reader as Frames};
use syncline::{Bus, Era, Error, Lane, Reader, Start, TypeDesc, Writer, Zone, describe};

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Pose {
    x: f64,
    quality: [u32; 2],
}

describe!(Pose as "robot.pose" { x: f64, quality: [u32; 2] });

const WAIT: Duration = Duration::from_secs(20);
const CHANNELS: [&str; 4] = ["pose", "scan", "log", "block"];

/// What an era has of each channel, in order; and its tag.
type Content = (BTreeMap<String, Vec<Vec<u8>>>, Option<u64>);

fn content(mut era: Era<'_>) -> Content {
    let tag = era.edge().expect("its record").tag;
    let mut content = BTreeMap::<String, Vec<Vec<u8>>>::new();
    while let Some(message) = era.next().unwrap() {
        content.entry(message.channel().to_owned()).or_default().push(message.to_vec().unwrap());
    }
    (content, tag)
}

/// The content of the next era, which has this number.
fn next(reader: &mut Reader, number: u64) -> Content {
    loop {
        match reader.next_era(WAIT) {
            Ok(era) => {
                assert_eq!((era.number(), era.is_merged()), (number, false));
                return content(era);
            }
            // The relay is through, and has nothing more in this lane.
            Err(Error::Closed(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn zone(broker: &Broker, name: &str) -> Zone {
    Bus::connect_to(&broker.socket()).unwrap().zone(name)
}

fn reader(zone: &Zone, channels: &[&str]) -> Reader {
    channels.iter().fold(zone.reader("test"), |builder, channel| builder.any(channel)).synced().open().unwrap()
}

/// `sub --frames | pub --frames`.
fn relay(from: (&Broker, &[&str]), to: (&Broker, &[&str])) -> (Running, Running) {
    let (source, output) = Running::with_output(&mut from.0.command(&[&["sub", "--frames"], from.1].concat()));
    let mut sink = to.0.command(&[&["pub", "--frames"], to.1].concat());
    (source, Running::with_input(&mut sink, output.into_inner()))
}

/// Waits until the relay's reader is there.
fn joined(broker: &Broker) {
    eventually("the relay's reader", || {
        let zones = broker.list();
        zones.iter().any(|zone| zone["readers"].as_array().unwrap().iter().any(|reader| reader["name"] == "sub"))
    });
}

/// Two writers over typed channels, both in `pose`, that do as a seed says.
struct Crew {
    left: Writer,
    left_pose: Lane<Pose>,
    scan: Lane<[f32]>,
    right: Writer,
    right_pose: Lane<Pose>,
    log: Lane<[u8]>,
    block: Lane<[u8]>,
    random: u64,
    messages: u64,
    batches: u64,
    empty: u64,
}

fn block() -> TypeDesc {
    TypeDesc { name: "test.block".to_owned(), size: 64, align: 64, variable: false, fields: Vec::new() }
}

impl Crew {
    fn new(zone: &Zone) -> Crew {
        let mut left = zone.writer("left").unwrap();
        let mut right = zone.writer("right").unwrap();
        Crew {
            left_pose: left.channel("pose").open().unwrap(),
            scan: left.channel("scan").open().unwrap(),
            right_pose: right.channel("pose").open().unwrap(),
            log: right.channel("log").open().unwrap(),
            block: right.channel("block").open_as(block()).unwrap(),
            left,
            right,
            random: 0x9e37_79b9_7f4a_7c15,
            messages: 0,
            batches: 0,
            empty: 0,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % end
    }

    /// Commits this and that, and seals it.
    fn era(&mut self) {
        let commits = self.below(5);
        self.empty += u64::from(commits == 0);
        for _ in 0..commits {
            let number = self.messages as u32;
            let value = Pose { x: f64::from(number), quality: [number, !number] };
            let floats = vec![number as f32; self.below(100) as usize];
            let text = vec![number as u8; self.below(300) as usize];
            let before = self.messages;
            match number % 5 {
                0 => self.left.publish(self.left_pose, &value).unwrap(),
                1 => self.right.publish(self.log, &text[..]).unwrap(),
                2 | 3 => {
                    let mut batch = self.left.batch().unwrap();
                    batch.push(self.scan, &floats[..]).unwrap();
                    batch.push(self.left_pose, &value).unwrap();
                    batch.push(self.left_pose, &value).unwrap();
                    batch.commit().unwrap();
                    self.messages += 2;
                }
                _ => {
                    let mut batch = self.right.batch().unwrap();
                    batch.push(self.right_pose, &value).unwrap();
                    batch.push(self.block, &[number as u8; 64][..]).unwrap();
                    batch.push(self.log, &text[..]).unwrap();
                    batch.commit().unwrap();
                    self.messages += 2;
                }
            }
            self.batches += u64::from(self.messages > before);
            self.messages += 1;
        }
        let writer = if self.below(2) == 0 { &mut self.left } else { &mut self.right };
        // Some with a tag.
        match self.messages % 3 {
            0 => writer.edge_tagged(self.messages).unwrap(),
            _ => writer.edge().unwrap(),
        };
    }
}

/// Carries eras from one broker to another, and compares what a reader on each side is given.
fn eras_arrive_as_they_were(start: Start) {
    let (near, far) = (Broker::start(), Broker::start());
    let (here, there) = (zone(&near, "here").eras(1024), zone(&far, "there").eras(1024));
    let mut at_far = reader(&there, &CHANNELS);
    let mut crew = Crew::new(&here);
    // One who sees it all on the near side: from the first era.
    let mut at_near = reader(&here, &CHANNELS);
    let before = 40;
    for _ in 0..before {
        crew.era();
    }
    let from = match start {
        Start::Oldest => "oldest",
        _ => {
            (1..=before).for_each(|number| drop(next(&mut at_near, number)));
            "latest"
        }
    };
    let names = if start == Start::Oldest { &[][..] } else { &CHANNELS };
    let options = [&["--zone", "here", "--from", from, "--until-closed"], names].concat();
    let (source, sink) = relay((&near, &options), (&far, &["--zone", "there"]));
    joined(&near);
    for _ in 0..200 {
        crew.era();
    }
    let (messages, batches, empty) = (crew.messages, crew.batches, crew.empty);
    assert!(messages > 500 && batches > 100 && empty > 10, "{messages} {batches} {empty}");

    let first = if start == Start::Oldest { 1 } else { before + 1 };
    for (index, number) in (first..=before + 200).enumerate() {
        let (expected, found) = (next(&mut at_near, number), next(&mut at_far, index as u64 + 1));
        assert!(expected == found, "era {number}: expected {expected:?}, found {found:?}");
    }
    assert!(at_far.try_era().unwrap().is_none(), "an era that nobody sealed");
    let types = |broker: &Broker| {
        let zones = broker.list();
        let channels = zones[0]["channels"].as_array().unwrap().iter();
        channels.map(|channel| (channel["channel"].to_string(), channel["type"].clone())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(types(&near), types(&far));
    drop(crew);
    source.wait().succeeded();
    sink.wait().succeeded();
}

#[test]
fn eras_from_the_latest() {
    eras_arrive_as_they_were(Start::Latest);
}

#[test]
fn eras_from_the_oldest_of_all_channels() {
    eras_arrive_as_they_were(Start::Oldest);
}

#[test]
fn channels_that_come_later() {
    let (near, far) = (Broker::start(), Broker::start());
    let mut at_far = reader(&zone(&far, "z"), &["a", "b"]);
    let options = ["--zone", "z", "a", "b", "never", "--count", "4"];
    let (source, sink) = relay((&near, &options), (&far, &["--zone", "z"]));
    joined(&near);
    let here = zone(&near, "z");
    let mut first = here.writer("first").unwrap();
    let a = first.channel("a").open::<[u8]>().unwrap();
    first.publish(a, b"1").unwrap();
    first.edge().unwrap();
    let content = |channels: &[(&str, &[u8])]| {
        let one = |&(name, bytes): &(&str, &[u8])| (name.to_owned(), vec![bytes.to_vec()]);
        (channels.iter().map(one).collect::<BTreeMap<_, _>>(), None)
    };
    assert_eq!(next(&mut at_far, 1), content(&[("a", b"1")]));
    let mut second = here.writer("second").unwrap();
    let b = second.channel("b").open::<u32>().unwrap();
    second.edge().unwrap();
    assert_eq!(next(&mut at_far, 2), content(&[]));
    first.publish(a, b"2").unwrap();
    second.publish(b, &0x0403_0201).unwrap();
    first.edge().unwrap();
    assert_eq!(next(&mut at_far, 3), content(&[("a", b"2"), ("b", &[1, 2, 3, 4])]));
    // A writer that is gone before anybody has looked.
    drop((first, second));
    let mut third = here.writer("third").unwrap();
    let c = third.channel("b").open::<u32>().unwrap();
    third.publish(c, &7).unwrap();
    third.edge().unwrap();
    assert_eq!(next(&mut at_far, 4), content(&[("b", &[7, 0, 0, 0])]));
    source.wait().succeeded();
    sink.wait().succeeded();
}

#[test]
fn large_eras_and_messages() {
    let (near, far) = (Broker::start(), Broker::start());
    let mut at_far = reader(&zone(&far, "z"), &["many", "big"]);
    let here = zone(&near, "z");
    let mut writer = here.writer("w").unwrap();
    let many = writer.channel("many").open::<[u8]>().unwrap();
    let big = writer.channel("big").max_len(20 << 20).open::<[u8]>().unwrap();
    let (source, sink) = relay((&near, &["--zone", "z", "--count", "3"]), (&far, &["--zone", "z"]));
    joined(&near);
    for number in 1..=2u8 {
        // As much as the ring takes, in one era.
        let mut messages = 0;
        while writer.publish(many, &[number; 1000][..]).is_ok() {
            messages += 1;
        }
        // A second one has to wait until the first was taken and makes room.
        assert!(messages > 1000 || number == 2, "{messages}");
        writer.edge().unwrap();
        let content = next(&mut at_far, number.into());
        assert_eq!(content.0["many"].len(), messages);
        assert!(content.0["many"].iter().all(|message| *message == [number; 1000]));
    }
    let bytes: Vec<u8> = (0..20 << 20).map(|at: u32| (at ^ at >> 8 ^ at >> 16) as u8).collect();
    writer.publish(big, &bytes[..]).unwrap();
    writer.edge().unwrap();
    assert!(next(&mut at_far, 3).0["big"] == [bytes], "what came out is not what went in");
    source.wait().succeeded();
    sink.wait().succeeded();
}

#[test]
fn eras_that_the_zone_forgot_come_merged() {
    let (near, far) = (Broker::start(), Broker::start());
    let here = zone(&near, "z").eras(4);
    let mut writer = here.writer("w").unwrap();
    let lane = writer.channel("c").capacity(16 << 20).open::<[u8]>().unwrap();
    let options = ["sub", "--frames", "--zone", "z", "--until-closed"];
    let (source, mut output) = Running::with_output(&mut near.command(&options));
    joined(&near);
    // More than the pipe takes, so it falls behind.
    for number in 0..20u8 {
        writer.publish(lane, &[number; 300_000][..]).unwrap();
        writer.edge().unwrap();
    }
    drop(writer);
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).unwrap();
    source.wait().succeeded();
    let mut stream = Frames::new(&bytes[..]);
    let (mut messages, mut merged, mut eras) = (0u8, 0, Vec::new());
    while let Some(record) = stream.next().unwrap() {
        match record.head {
            Head::Channel(channel) => assert_eq!((channel.max_len, channel.rings), (15_728_616, 16 << 20)),
            Head::Message { .. } => {
                assert!(record.payload == [messages; 300_000], "message {messages}");
                messages += 1;
            }
            Head::Edge(edge) => {
                merged += u32::from(edge.merged);
                eras.push(edge.era);
                // An exact one, or one that the zone had forgotten.
                assert!(edge.tag.is_none() && edge.reason <= 1, "{edge:?}");
            }
        }
    }
    assert_eq!((messages, eras.last()), (20, Some(&20)));
    assert!(merged > 0 && eras.len() < 20 && eras.is_sorted_by(|a, b| a < b), "{merged} merged of {eras:?}");

    let mut at_far = reader(&zone(&far, "z"), &["c"]);
    far.run(&["pub", "--frames", "--zone", "z"], &bytes).succeeded();
    let contents: Vec<_> = (1..=eras.len()).map(|number| next(&mut at_far, number as u64)).collect();
    assert_eq!(contents.iter().flat_map(|content| &content.0["c"]).count(), 20);
}

#[test]
fn eras_go_on_without_brokers() {
    let (mut near, mut far) = (Broker::start(), Broker::start());
    let mut at_far = reader(&zone(&far, "z"), &["c"]);
    let options = ["--zone", "z", "c", "never", "--count", "20"];
    let (source, sink) = relay((&near, &options), (&far, &["--zone", "z"]));
    joined(&near);
    let mut writer = zone(&near, "z").writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    for number in 1..=20u64 {
        writer.publish(lane, &number).unwrap();
        writer.edge().unwrap();
        assert_eq!(next(&mut at_far, number).0["c"], [number.to_le_bytes()]);
        if number == 1 {
            for broker in [&mut near, &mut far] {
                broker.child.kill().unwrap();
                broker.child.wait().unwrap();
            }
        }
    }
    source.wait().succeeded();
    sink.wait().succeeded();
}

#[test]
fn a_far_side_that_is_slow_is_waited_for() {
    let (near, far) = (Broker::start(), Broker::start());
    let mut at_far = reader(&zone(&far, "z"), &["c"]);
    let mut writer = zone(&near, "z").eras(1024).writer("w").unwrap();
    let lane = writer.channel("c").open::<[u8]>().unwrap();
    let sink_options = ["--zone", "z", "--capacity", "8K"];
    let (source, mut sink) = relay((&near, &["--zone", "z", "c", "--count", "100"]), (&far, &sink_options));
    joined(&near);
    for number in 0..100u8 {
        writer.publish(lane, &[number; 5000][..]).unwrap();
        writer.edge().unwrap();
    }
    eventually("the first era", || at_far.generation().unwrap() == 1);
    // It has all, and no room.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(at_far.generation().unwrap(), 1);
    assert!(sink.child.try_wait().unwrap().is_none());
    for number in 0..100u8 {
        assert_eq!(next(&mut at_far, u64::from(number) + 1).0["c"], [[number; 5000]]);
    }
    source.wait().succeeded();
    sink.wait().succeeded();
}

#[test]
fn a_recording_is_played() {
    let broker = Broker::start();
    let here = zone(&broker, "z");
    let mut writer = here.writer("w").unwrap();
    let lane = writer.channel("c").open::<[u8]>().unwrap();
    for text in ["1", "2", "3"] {
        writer.publish(lane, text.as_bytes()).unwrap();
        writer.edge().unwrap();
    }
    let recording =
        broker.run(&["sub", "--frames", "--zone", "z", "--from", "oldest", "--count", "2"], b"").succeeded();
    let played = broker.spawn(&["sub", "c", "--zone", "replay", "--synced", "--json", "--until-closed"]);
    broker.run(&["pub", "--frames", "--zone", "replay", "--wait-readers", "1"], &recording.out).succeeded();
    let messages = played.wait().succeeded().json();
    let told: Vec<_> = messages.iter().map(|message| (message["era"].as_u64(), message["text"].as_str())).collect();
    assert_eq!(told, [(Some(1), Some("1")), (Some(2), Some("2"))]);
}

#[test]
fn a_stream_has_an_end() {
    let broker = Broker::start();
    broker.run(&["sub", "--frames", "--zone", "z"], b"").failed(1, &["zone `z`: expected channels, found none yet"]);
    let nothing = |done: Vec<u8>| {
        let mut stream = Frames::new(&done[..]);
        assert_eq!(stream.next().unwrap(), None);
    };
    let none = broker.run(&["sub", "--frames", "--zone", "z", "c", "--timeout", "0.2", "--count", "5"], b"");
    nothing(none.failed(3, &["5 eras of --count still to come"]).out);
    nothing(broker.run(&["sub", "--frames", "--zone", "z", "c", "--count", "0"], b"").succeeded().out);
    broker
        .run(&["sub", "--frames", "--zone", "z", "c", "--must-exist"], b"")
        .failed(1, &["zone `z`: expected it to exist"]);
    let running = broker.spawn(&["sub", "--frames", "--zone", "z", "c"]);
    joined(&broker);
    running.signal(Signal::SIGINT);
    nothing(running.wait().failed(130, &[]).out);
    let done = broker.run(&["sub", "--frames", "--zone", "a\nb", "c"], b"").failed(1, &["control characters"]);
    assert!(done.out.is_empty());
}

#[test]
fn a_closed_output_ends_it_quietly() {
    let broker = Broker::start();
    let (source, output) = Running::with_output(&mut broker.command(&["sub", "--frames", "--zone", "z", "c"]));
    joined(&broker);
    drop(output);
    assert_eq!(source.wait().succeeded().err, "");
}

#[test]
fn terminals_are_refused() {
    let broker = Broker::start();
    let terminal = || File::options().read(true).write(true).open("/dev/ptmx").unwrap();
    let mut source = broker.command(&["sub", "--frames", "--zone", "z", "c"]);
    let source = source.stdin(std::process::Stdio::null()).stdout(terminal()).stderr(std::process::Stdio::piped());
    let done = source.spawn().unwrap().wait_with_output().unwrap();
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(done.status.code() == Some(1) && said.contains("standard output, found a terminal"), "{said}");
    let sink = Running::with_input(&mut broker.command(&["pub", "--frames", "--zone", "z"]), terminal());
    sink.wait().failed(1, &["standard input, found a terminal"]);
}

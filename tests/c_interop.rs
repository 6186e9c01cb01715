//! C and Rust talk to each other, in processes of their own: the examples of `examples/c` and the tests of `tests/c`, compiled with
//! every warning on and linked with the library that was built beside this test.

#![cfg(feature = "capi")]

#[path = "c_programs/mod.rs"]
mod programs;
mod support;

use programs::{Link, Program, finish};
use std::io::Read;
use std::time::Duration;
use support::LONG;
use syncline::{Bus, Described, Edge, Error, Field, Live, Message, Reader, Reason, Scalar, Start, field};

/// `struct pose` of `examples/c/pose.h`.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::NoUninit, bytemuck::CheckedBitPattern)]
#[repr(C)]
struct Pose {
    x: f64,
    y: f64,
    quality: [u32; 2],
    name: [u8; 7],
    good: bool,
}

// By hand and not by `describe!`, since the name is text and not numbers.
impl Described for Pose {
    const NAME: &'static str = "robot.pose";

    fn fields() -> Vec<Field> {
        vec![
            field::<f64>("x", 0),
            field::<f64>("y", 8),
            field::<[u32; 2]>("quality", 16),
            Field { name: "name".to_owned(), offset: 24, count: 7, scalar: Scalar::Char8 },
            field::<bool>("good", 31),
        ]
    }
}

/// The pose that `publisher.c` publishes with this number.
fn pose(i: u32) -> Pose {
    let (x, y) = (f64::from(i), -0.5 * f64::from(i));
    Pose { x, y, quality: [i, 2 * i], name: *b"arm\0\0\0\0", good: i.is_multiple_of(2) }
}

fn note(i: u32) -> String {
    format!("pose {i}")
}

/// Runs a test in C, which prints "ok".
fn conforms(source: &str, link: Link) {
    let bus = Bus::embedded().unwrap();
    assert_eq!(finish(Program::compile(source, link).start(&bus, &[])), "ok\n");
}

#[test]
fn bad_input_is_an_error() {
    conforms("tests/c/bad_input.c", Link::Shared);
}

#[test]
fn every_function_works() {
    conforms("tests/c/round_trip.c", Link::Shared);
}

#[test]
fn every_kind_of_edge_works() {
    conforms("tests/c/edges.c", Link::Shared);
}

#[test]
fn readers_go_back_and_see_edges() {
    conforms("tests/c/past.c", Link::Shared);
}

#[test]
fn c_is_told_what_it_loses() {
    conforms("tests/c/lossy.c", Link::Shared);
}

#[test]
fn counters_are_read() {
    conforms("tests/c/stats.c", Link::Shared);
}

/// Would break: an example that reads anything else than what was done here, or needs more than the names of what it counts.
#[test]
fn c_reads_the_counters_of_rust() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let mut writer = zone.writer("controller").unwrap();
    let level = writer.channel("level").open::<f64>().unwrap();
    let mut reader = zone.reader("log").channel::<f64>("level").open().unwrap();
    (0..5).for_each(|_| writer.publish(level, &0.5).unwrap());
    writer.edge().unwrap();
    // One is left.
    (0..4).for_each(|_| assert!(reader.try_recv().unwrap().is_some()));
    let program = Program::compile("examples/c/stat.c", Link::Shared);
    let printed = finish(program.start(&bus, &["plant"]));
    let expected = "\
plant: 1 eras
writer 0 (controller): 5 commits, 1 edges, 0 times without room
level of writer 0: 5 messages, 5 of them in 120 of 1048576 bytes
log in level of writer 0: 4 messages, 24 bytes behind
";
    assert_eq!(printed, expected);
    let rates = finish(program.start(&bus, &["plant", "1"]));
    assert!(rates.starts_with(expected) && rates.ends_with("level of writer 0: 0 messages a second\n"), "{rates}");
}

#[test]
fn locks_are_held_watched_and_given_back() {
    conforms("tests/c/locks.c", Link::Shared);
}

/// Would break: a lock that two have; a batch that is not there when the lock is given back.
#[test]
fn processes_in_c_take_turns() {
    const TURNS: usize = 40;
    let bus = Bus::embedded().unwrap();
    let mut log = bus.zone("bank").reader("log").channel::<u64>("turn").channel::<u64>("sum").open().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("sum");
    let program = Program::compile("examples/c/lock.c", Link::Shared);
    let start = |_| program.start(&bus, &[file.to_str().unwrap(), &TURNS.to_string()]);
    let children: Vec<_> = (0..3).map(start).collect();
    for child in children {
        assert_eq!(finish(child), format!("{TURNS} turns\n"));
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{}\n", 3 * TURNS), "nobody's turn is lost");
    let (mut turns, mut sums, mut closed) = (Vec::new(), Vec::new(), 0);
    while closed < 3 * 2 {
        match log.recv(LONG) {
            Ok(message) if message.channel() == "turn" => turns.push(message.copy::<u64>().unwrap()),
            Ok(message) => sums.push(message.copy::<u64>().unwrap()),
            Err(Error::Closed(_)) => closed += 1,
            Err(error) => panic!("{error}"),
        }
    }
    sums.sort_unstable();
    assert_eq!(sums, (1..=3 * TURNS as u64).collect::<Vec<_>>());
    turns.sort_unstable();
    turns.dedup();
    assert_eq!(turns.len(), 3 * TURNS, "each turn has a number of its own");
    let guard = bus.zone("bank").lock("account").try_acquire().unwrap().expect("given back");
    assert!(guard.fence() > turns[3 * TURNS - 1] && !guard.predecessor_died());
}

#[test]
fn tables_are_written_read_and_watched() {
    conforms("tests/c/tables.c", Link::Shared);
}

#[test]
fn zones_are_made_listed_and_rolled_back() {
    conforms("tests/c/zones.c", Link::Shared);
}

#[test]
fn every_way_to_wait_works() {
    conforms("tests/c/waiting.c", Link::Shared);
}

#[test]
fn epoll_in_c() {
    let bus = Bus::embedded().unwrap();
    let program = Program::compile("examples/c/epoll.c", Link::Shared);
    let child = program.start(&bus, &[]);
    bus.zone("plant").wait_readers("note", 1, LONG).unwrap();
    let publisher = Program::compile("examples/c/publisher.c", Link::Shared);
    assert_eq!(finish(publisher.start(&bus, &["25"])), "published 25 poses in 3 eras\n");
    assert_eq!(finish(child), "era 1: 20 messages\nera 2: 20 messages\nera 3: 10 messages\nthe timer has run\n");
}

#[test]
fn the_static_library_links() {
    conforms("tests/c/round_trip.c", Link::Static);
}

#[test]
fn cpp_17_takes_the_header() {
    conforms("tests/c/header.cpp", Link::Shared);
}

fn check_origin(message: &Message<'_>, pid: u32, sequence: u32) {
    let origin = message.origin();
    assert_eq!((origin.writer_name, origin.pid), ("publisher.c", pid));
    assert_eq!(message.sequence(), u64::from(sequence));
}

/// The next of its channel is what it must be.
fn count_checked(message: &Message<'_>, pid: u32, poses: &mut u32, notes: &mut u32) {
    let count = if message.channel() == "pose" { poses } else { notes };
    check_origin(message, pid, *count);
    if message.channel() == "pose" {
        assert_eq!(message.copy::<Pose>().unwrap(), pose(*count));
    } else {
        assert_eq!(message.to_vec().unwrap(), note(*count).into_bytes());
    }
    *count += 1;
}

/// A reader of what `publisher.c` publishes.
fn poses_and_notes(bus: &Bus, synced: bool) -> Reader {
    let reader = bus.zone("plant").reader("rust").channel::<Pose>("pose").channel::<[u8]>("note").start(Start::Oldest);
    let reader = if synced { reader.synced() } else { reader };
    reader.open().unwrap()
}

#[test]
fn c_publishes_whole_eras_to_rust() {
    let bus = Bus::embedded().unwrap();
    let mut reader = poses_and_notes(&bus, true);
    let program = Program::compile("examples/c/publisher.c", Link::Shared);
    let child = program.start(&bus, &["25"]);
    let pid = child.id();
    let mut next = 0;
    for (number, size) in [(1, 10), (2, 10), (3, 5)] {
        let mut era = reader.next_era(LONG).unwrap();
        assert_eq!((era.number(), era.is_merged()), (number, false));
        for i in next..next + size {
            let message = era.next().unwrap().unwrap();
            assert_eq!((message.channel(), message.era()), ("pose", Some(number)));
            check_origin(&message, pid, i);
            assert_eq!(message.copy::<Pose>().unwrap(), pose(i));
        }
        for i in next..next + size {
            let message = era.next().unwrap().unwrap();
            assert_eq!(message.channel(), "note");
            check_origin(&message, pid, i);
            assert_eq!(message.to_vec().unwrap(), note(i).into_bytes());
        }
        assert!(era.next().unwrap().is_none());
        next += size;
    }
    for _ in ["pose", "note"] {
        assert!(matches!(reader.next_era(LONG), Err(Error::Closed(closed)) if !closed.died));
    }
    assert_eq!(finish(child), "published 25 poses in 3 eras\n");
}

/// While Rust seals eras as fast as it can, each has both messages of a batch or neither.
#[test]
fn c_publishes_whole_batches_to_rust() {
    const COUNT: u32 = 20_000;
    let bus = Bus::embedded().unwrap();
    let mut reader = poses_and_notes(&bus, true);
    let mut sealer = bus.zone("plant").writer("sealer").unwrap();
    let program = Program::compile("examples/c/publisher.c", Link::Shared);
    let mut child = program.start(&bus, &[&COUNT.to_string()]);
    let pid = child.id();
    let (mut poses, mut notes, mut eras) = (0, 0, 0);
    while poses < COUNT {
        assert_eq!(child.try_wait().unwrap().filter(|status| !status.success()), None, "the program failed");
        // Not without a pause: an edge of the program's gives up when others' overtake it again and again.
        std::thread::yield_now();
        sealer.edge().unwrap();
        let mut era = reader.next_era(LONG).unwrap();
        while let Some(message) = era.next().unwrap() {
            count_checked(&message, pid, &mut poses, &mut notes);
        }
        assert_eq!(poses, notes, "an era with a part of a batch");
        eras += 1;
    }
    assert!(eras > 10, "only {eras} eras");
    finish(child);
}

#[test]
fn c_publishes_to_rust_live() {
    const COUNT: u32 = 2000;
    let bus = Bus::embedded().unwrap();
    let mut reader = poses_and_notes(&bus, false);
    let program = Program::compile("examples/c/publisher.c", Link::Shared);
    let child = program.start(&bus, &[&COUNT.to_string()]);
    let pid = child.id();
    let (mut poses, mut notes) = (0, 0);
    while poses < COUNT || notes < COUNT {
        let message = match reader.recv(LONG) {
            Ok(message) => message,
            // One lane can be through before the other.
            Err(Error::Closed(closed)) => {
                assert!(!closed.died);
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        count_checked(&message, pid, &mut poses, &mut notes);
    }
    finish(child);
}

/// Rust publishes `count` poses to `subscriber.c`, every other one with a loan, and an edge after every fourth; what that prints.
fn subscribe_in_c(count: u32, arguments: &[&str]) -> String {
    let bus = Bus::embedded().unwrap();
    let program = Program::compile("examples/c/subscriber.c", Link::Shared);
    let child = program.start(&bus, arguments);
    let zone = bus.zone("plant");
    zone.wait_readers("note", 1, LONG).unwrap();
    let mut writer = zone.writer("rust").unwrap();
    let poses = writer.channel("pose").open::<Pose>().unwrap();
    let notes = writer.channel("note").open::<[u8]>().unwrap();
    for i in 0..count {
        let mut batch = writer.batch().unwrap();
        if i % 2 == 0 {
            batch.push(poses, &pose(i)).unwrap();
        } else {
            let mut loan = batch.loan(poses).unwrap();
            loan.write(pose(i));
            loan.publish().unwrap();
        }
        batch.push(notes, note(i).as_bytes()).unwrap();
        batch.commit().unwrap();
        if i % 4 == 3 {
            writer.edge().unwrap();
        }
    }
    drop(writer);
    finish(child)
}

fn pose_line(i: u32) -> String {
    let Pose { x, y, quality: [a, b], good, .. } = pose(i);
    format!("pose {i}: ({x}, {y}) [{a}, {b}] arm {}", if good { "good" } else { "bad" })
}

fn note_line(i: u32) -> String {
    format!("note {i}: {}", note(i))
}

#[test]
fn rust_publishes_whole_eras_to_c() {
    let mut expected = String::new();
    for era in 0..3 {
        expected += &format!("era {}\n", era + 1);
        for line in [pose_line, note_line] {
            (era * 4..era * 4 + 4).for_each(|i| expected += &format!("{}\n", line(i)));
        }
    }
    assert_eq!(subscribe_in_c(12, &[]), expected);
}

#[test]
fn rust_publishes_to_c_live() {
    let printed = subscribe_in_c(10, &["live"]);
    let lines_of = |channel: &str| printed.lines().filter(|line| line.starts_with(channel)).collect::<Vec<_>>();
    assert_eq!(lines_of("pose"), (0..10).map(pose_line).collect::<Vec<_>>());
    assert_eq!(lines_of("note"), (0..10).map(note_line).collect::<Vec<_>>());
}

/// The next `count` things that a reader with markers is handed: a number, or the edge of an era.
fn handed(reader: &mut Reader, count: usize) -> Vec<Result<u32, Edge>> {
    let mut next = || match reader.next_live(LONG).unwrap() {
        Live::Message(message) => Ok(message.copy().unwrap()),
        Live::Edge(edge) => Err(edge),
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn rust_sees_the_edges_of_c() {
    const PRINTED: &str = "\
era 1 (commits): 1 2 3 4
era 2 (commits): 5 6 7 8
era 3 (exact) tag 0xc0ffee: 9 10
once more, from the second:
era 2 (commits): 5 6 7 8
and the one before:
era 1 (commits): 1 2 3 4
era 1000 is not to be had, but 1 to 3
halted
era 4 (exact): 11
";
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("tank").every_commits(4).keep_bytes(65536);
    zone.create().unwrap();
    let mut reader = zone.reader("rust").channel::<u32>("level").markers().open().unwrap();
    let program = Program::compile("examples/c/edges.c", Link::Shared);
    let child = program.start(&bus, &[]);
    let mut number = 0;
    for (era, last, reason, tag) in [
        (1, 4, Reason::Commits, None),
        (2, 8, Reason::Commits, None),
        (3, 10, Reason::Exact, Some(0xc0ffee)),
        (4, 11, Reason::Exact, None),
    ] {
        while number < last {
            number += 1;
            assert_eq!(handed(&mut reader, 1), [Ok(number)]);
        }
        let [Err(edge)] = &handed(&mut reader, 1)[..] else { panic!("expected the edge of era {era}") };
        assert_eq!((edge.era, edge.reason, edge.tag, &edge.straddlers[..]), (era, reason, tag, &[][..]));
        assert_eq!(reader.edge_info(era).unwrap().as_ref(), Some(edge));
    }
    assert_eq!(finish(child), PRINTED);
    assert!(!bus.list().unwrap()[0].created, "the example has removed its zone");
}

#[test]
fn c_sees_the_edges_of_rust() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("peers");
    let program = Program::compile("tests/c/peer.c", Link::Shared);
    let child = program.start(&bus, &["markers"]);
    zone.wait_readers("number", 1, LONG).unwrap();
    let mut writer = zone.writer("rust").unwrap();
    let mut late = zone.writer("late").unwrap();
    let numbers = writer.channel("number").open::<u64>().unwrap();
    let late_numbers = late.channel("number").open::<u64>().unwrap();
    let mut expected = String::new();
    let mut expect_edge = |writer: &syncline::Writer, era: u64, text: &str| {
        let time = writer.edge_info(era).unwrap().unwrap().time.as_nanos();
        expected += &text.replace("TIME", &time.to_string());
    };
    writer.publish(numbers, &1).unwrap();
    let era = writer.edge_tagged(u64::MAX).unwrap();
    expect_edge(&writer, era, "1\nedge 1 exact at TIME tag 18446744073709551615\n");
    let mut batch = late.batch().unwrap();
    batch.push(late_numbers, &3).unwrap();
    writer.publish(numbers, &2).unwrap();
    let era = writer.edge().unwrap();
    batch.commit().unwrap();
    expect_edge(&writer, era, "2\nedge 2 exact at TIME tag none straddled by 1\n");
    let era = zone.edge(Some(0)).unwrap();
    expect_edge(&writer, era, "3\nedge 3 exact at TIME tag 0\n");
    assert_eq!(finish(child), expected);
}

/// Each round passes when both have given their permit, whoever is first, and has what both did in it and nothing else.
#[test]
fn c_and_rust_go_in_lockstep() {
    const ROUNDS: u64 = 200;
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("peers").lockstep(Duration::from_secs(3600));
    let mut reader = zone.reader("rust").channel::<u64>("number").synced().open().unwrap();
    // The first round waits for both: for this one, which is there first, and for the other, whose reader comes after its writer.
    let mut writer = zone.writer("rust").unwrap();
    let numbers = writer.channel("number").open::<u64>().unwrap();
    let program = Program::compile("tests/c/peer.c", Link::Shared);
    let child = program.start(&bus, &["permits", &ROUNDS.to_string()]);
    zone.wait_readers("number", 2, LONG).unwrap();
    for round in 1..=ROUNDS {
        // Now the one, now the other is the last.
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        writer.publish(numbers, &(1000 + round)).unwrap();
        assert_eq!(writer.permit().unwrap(), round);
        let mut era = reader.next_era(LONG).unwrap();
        let edge = era.edge().unwrap();
        assert_eq!((edge.era, edge.reason, edge.straddlers.len()), (round, Reason::Permits, 0));
        let mut found = Vec::new();
        while let Some(message) = era.next().unwrap() {
            found.push(message.copy::<u64>().unwrap());
        }
        found.sort_unstable();
        assert_eq!(found, [round, 1000 + round]);
    }
    finish(child);
}

#[test]
fn a_forked_child_in_c_connects_anew() {
    let bus = Bus::embedded().unwrap();
    let mut reader = bus.zone("plant").reader("rust").channel::<[u8]>("status").open().unwrap();
    let program = Program::compile("examples/c/daemon.c", Link::Shared);
    let child = program.start(&bus, &[]);
    // A live reader has the order of each writer, and none among them.
    let (mut by_parent, mut by_child) = (Vec::new(), Vec::new());
    while by_parent.len() + by_child.len() < 3 {
        match reader.recv(LONG) {
            Ok(message) => {
                let said = if message.origin().writer_name == "child" { &mut by_child } else { &mut by_parent };
                said.push(String::from_utf8(message.to_vec().unwrap()).unwrap());
            }
            Err(Error::Closed(closed)) => assert!(!closed.died),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!((by_parent, by_child), (vec!["parent".to_owned(), "parent still".to_owned()], vec!["child".to_owned()]));
    finish(child);
}

/// While C sets all levels in one commit after another, Rust never finds two of different rounds; and each era is one round.
#[test]
fn rust_reads_the_table_of_c() {
    const ROUNDS: u32 = 20_000;
    let bus = Bus::embedded().unwrap();
    let program = Program::compile("examples/c/table.c", Link::Shared);
    let mut child = program.start(&bus, &["controller", &ROUNDS.to_string()]);
    let mut table = bus.zone("plant").wait_table("state", LONG).unwrap();
    let levels = [0, 1, 2, 3].map(|n| table.item_of::<f64>("level", n).unwrap());
    let mode = table.item::<[u8]>("mode").unwrap();
    let of_round = |values: [f64; 4]| {
        let round = values[0];
        let expected = if round == 0.0 { [0.0; 4] } else { [round, round + 0.25, round + 0.5, round + 0.75] };
        assert_eq!(values, expected);
        round
    };
    let (mut rounds, mut eras, mut last) = (0, 0, 0.0);
    loop {
        let read = table.read(|view| {
            let mut values = [0.0; 4];
            for (value, level) in values.iter_mut().zip(levels) {
                *value = view.get(level)?;
            }
            Ok((values, view.get_bytes(mode)?))
        });
        match read {
            Ok((values, mode)) => {
                let round = of_round(values);
                rounds += u32::from(round > last);
                last = round;
                if mode == b"off" {
                    break;
                }
            }
            Err(Error::Overtaken) => {}
            Err(error) => panic!("{error}"),
        }
        let era = table.current().and_then(|era| {
            let mut values = [0.0; 4];
            for (value, level) in values.iter_mut().zip(levels) {
                *value = era.get(level)?;
            }
            Ok((era.era(), values))
        });
        match era {
            Ok((number, values)) => {
                assert_eq!(of_round(values) as u64, number.unwrap().min(ROUNDS.into()));
                eras += 1;
            }
            Err(Error::Gone { .. } | Error::Overtaken) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(child.try_wait().unwrap().filter(|status| !status.success()), None, "the program failed");
    }
    assert_eq!(last, f64::from(ROUNDS));
    assert!(rounds > 10 && eras > 10, "only {rounds} rounds and {eras} eras");
    assert_eq!(finish(child), format!("{ROUNDS} rounds\n"));
}

#[test]
fn c_reads_the_table_of_rust() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("plant");
    let program = Program::compile("examples/c/table.c", Link::Shared);
    let mut child = program.start(&bus, &["panel"]);
    let mut writer = zone.writer("rust").unwrap();
    let table = writer.table("state").items::<f64>("level", 4).bytes("mode", 16).open().unwrap();
    let levels = [0, 1, 2, 3].map(|n| writer.item_of::<f64>(table, "level", n).unwrap());
    let mode = writer.item::<[u8]>(table, "mode").unwrap();
    let mut said = [0; 9];
    child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(said, *b"watching\n");
    let mut step = |sets: &[(usize, f64)], text: &str| {
        let mut batch = writer.batch().unwrap();
        sets.iter().for_each(|&(n, level)| batch.set(levels[n], &level).unwrap());
        batch.set(mode, text.as_bytes()).unwrap();
        batch.commit().unwrap();
        writer.edge().unwrap();
        // Eras that come faster than they are told are told together.
        let (mut lines, mut byte) = (Vec::new(), [0]);
        while lines.iter().filter(|&&byte| byte == b'\n').count() < 2 {
            child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
            lines.push(byte[0]);
        }
        String::from_utf8(lines).unwrap()
    };
    assert_eq!(step(&[(1, 1.5), (3, 2.5)], "on"), "era 1: level 1 0 -> 1.5 level 3 0 -> 2.5\nnow on: 4\n");
    assert_eq!(step(&[], "on"), "era 2:\nnow on: 4\n");
    assert_eq!(step(&[(1, 2.5)], "off"), "era 3: level 1 1.5 -> 2.5\nnow off: 5\n");
    assert_eq!(finish(child), "");
}

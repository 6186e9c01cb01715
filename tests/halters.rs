//! Whoever halts a zone: what the others are told, that one comes after the other, and that nobody is halted for good.

mod support;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use support::*;
use syncline::{Bus, Error, HaltMode, Lane, Live, Writer};

/// Longer than a halt lasts that nobody holds on to.
const LEASES: Duration = Duration::from_millis(2500);
/// How often something is looked for that must not happen.
const LOOKS: usize = 5;

// ---- the processes ----

fn broker() {
    let bus = Bus::embedded().expect("broker");
    say("ready", bus.socket().display());
    hear();
}

/// Halts, and holds on.
fn owner() {
    let bus = Bus::connect().expect("connect");
    let guard = bus.zone("z").halt(LONG).expect("halt");
    say("halted", guard.late().len());
    hear();
    assert!(guard.holds());
}

/// Publishes 2 when told, and waits for the end of a halt.
fn waiter() {
    let bus = Bus::connect().expect("connect");
    let (mut writer, lane) = writer(&bus, "waiter", HaltMode::Wait);
    say("ready", "");
    hear();
    say("going", "");
    writer.publish(lane, &2).expect("publish");
    say("published", "");
    hear();
}

fn writer(bus: &Bus, name: &str, mode: HaltMode) -> (Writer, Lane<u64>) {
    let mut writer = bus.zone("z").writer(name).expect("writer");
    writer.on_halt(mode);
    let lane = writer.channel("c").open::<u64>().expect("lane");
    (writer, lane)
}

fn start(test: &str, role: &str, socket: &Path, tag: &str) -> Process {
    let mut process = Process::start(test, role, socket, &[]);
    process.wait_for(tag);
    process
}

/// Whether it is refused, and not for anything else.
fn is_refused(writer: &mut Writer, lane: Lane<u64>) -> bool {
    match writer.publish(lane, &1) {
        Ok(()) => false,
        Err(Error::Halted) => true,
        Err(error) => panic!("{error}"),
    }
}

// ---- the ends of halts ----

/// Would break: a broker that moves a halt on for a dead process; a writer that waits and is not woken.
#[test]
fn a_halt_ends_with_its_owner() {
    const TEST: &str = "a_halt_ends_with_its_owner";
    match role().as_deref() {
        Some("owner") => return owner(),
        Some("waiter") => return waiter(),
        _ => {}
    }
    let bus = Bus::embedded().unwrap();
    let (mut refuser, lane) = writer(&bus, "refuser", HaltMode::Refuse);
    let mut live = bus.zone("z").reader("r").channel::<u64>("c").open().unwrap();
    let mut waiter = start(TEST, "waiter", bus.socket(), "ready");
    let mut owner = start(TEST, "owner", bus.socket(), "halted");
    assert!(bus.list().unwrap()[0].halted);
    waiter.send("go");
    waiter.wait_for("going");
    for _ in 0..LOOKS {
        std::thread::sleep(Duration::from_millis(2));
        assert!(is_refused(&mut refuser, lane), "it is halted");
        assert!(live.try_recv().unwrap().is_none(), "a writer that waits has published");
    }
    owner.kill();
    eventually("the halt of a dead process ends", || !is_refused(&mut refuser, lane));
    waiter.wait_for("published");
    let mut given = [(); 2].map(|()| live.recv(LONG).unwrap().copy::<u64>().unwrap());
    given.sort_unstable();
    assert_eq!(given, [1, 2]);
    assert!(!bus.list().unwrap()[0].halted);
    waiter.send("end");
    waiter.finish();
}

/// Would break: a lease that nobody looks at, or that a living owner does not move on.
#[test]
fn a_halt_ends_without_owner_and_broker() {
    const TEST: &str = "a_halt_ends_without_owner_and_broker";
    match role().as_deref() {
        Some("broker") => return broker(),
        Some("owner") => return owner(),
        Some("waiter") => return waiter(),
        _ => {}
    }
    for at_once in [false, true] {
        let mut broker = Process::start(TEST, "broker", Path::new(""), &[]);
        let socket = broker.wait_for("ready");
        let bus = Bus::connect_to(socket.as_ref()).unwrap();
        let (mut refuser, lane) = writer(&bus, "refuser", HaltMode::Refuse);
        let mut live = bus.zone("z").reader("r").channel::<u64>("c").open().unwrap();
        let mut waiter = start(TEST, "waiter", bus.socket(), "ready");
        let mut owner = start(TEST, "owner", bus.socket(), "halted");
        waiter.send("go");
        waiter.wait_for("going");
        if at_once {
            owner.stop();
        }
        broker.kill();
        if !at_once {
            // Its owner is enough to hold it, for longer than it would last by itself.
            let end = Instant::now() + LEASES;
            while Instant::now() < end {
                assert!(is_refused(&mut refuser, lane), "it is halted");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert!(live.try_recv().unwrap().is_none(), "a writer that waits has published");
        owner.kill();
        eventually("a halt that nobody holds ends", || !is_refused(&mut refuser, lane));
        waiter.wait_for("published");
        let mut given = [(); 2].map(|()| live.recv(LONG).unwrap().copy::<u64>().unwrap());
        given.sort_unstable();
        assert_eq!(given, [1, 2]);
        waiter.send("end");
        waiter.finish();
    }
}

/// Would break: a broker that leaves a halt to its owner alone.
#[test]
fn the_broker_holds_the_halt_of_a_stopped_process() {
    const TEST: &str = "the_broker_holds_the_halt_of_a_stopped_process";
    if role().is_some() {
        return owner();
    }
    let bus = Bus::embedded().unwrap();
    let (mut refuser, lane) = writer(&bus, "refuser", HaltMode::Refuse);
    let mut owner = start(TEST, "owner", bus.socket(), "halted");
    owner.stop();
    let end = Instant::now() + LEASES;
    while Instant::now() < end {
        assert!(is_refused(&mut refuser, lane), "its process lives");
        std::thread::sleep(Duration::from_millis(20));
    }
    owner.resume();
    owner.send("end");
    owner.finish();
    assert!(!is_refused(&mut refuser, lane), "dropping the guard lets go");
}

// ---- what the others are told ----

#[test]
fn a_writer_that_refuses_has_published_nothing() {
    let bus = Bus::embedded().unwrap();
    let (mut refuser, lane) = writer(&bus, "refuser", HaltMode::Refuse);
    let mut live = bus.zone("z").reader("r").channel::<u64>("c").open().unwrap();
    let zone = bus.zone("z");
    for round in 0..3 {
        let generation = refuser.generation().unwrap();
        let guard = zone.halt(LONG).unwrap();
        let before = guard.versions();
        let is_halted = |result: syncline::Result<()>| matches!(result, Err(Error::Halted));
        assert!(is_halted(refuser.publish(lane, &7)), "publish");
        let mut loan = refuser.loan(lane).unwrap();
        loan.write(7);
        assert!(is_halted(loan.publish()), "loan");
        let mut batch = refuser.batch().unwrap();
        batch.push(lane, &7).unwrap();
        assert!(is_halted(batch.commit()), "commit");
        assert!(is_halted(refuser.edge().map(drop)), "edge");
        assert!(is_halted(refuser.edge_tagged(1).map(drop)), "edge with a tag");
        assert!(is_halted(refuser.step().map(drop)), "step");
        assert!(is_halted(refuser.halt(Duration::ZERO).map(drop)), "a second halt");
        assert!(matches!(zone.edge(None), Err(Error::Refused { code: syncline::Code::Halted, .. })), "the broker's");
        assert_eq!((guard.versions(), refuser.generation().unwrap()), (before, generation));
        if round % 2 == 0 {
            guard.release()
        } else {
            drop(guard)
        }
        // The next one is the first that anybody sees.
        assert!(!is_refused(&mut refuser, lane));
        assert!(!refuser.step().unwrap());
        assert_eq!(refuser.edge().unwrap(), generation + 1);
        assert_eq!(live.recv(LONG).unwrap().copy::<u64>().unwrap(), 1);
        assert!(live.try_recv().unwrap().is_none());
    }
}

const READERS: [&str; 4] = ["live", "markers", "synced", "spinning"];

/// Takes what there is, message by message, and counts it; the synced ones inside an era.
fn taker(kind: &str) {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let word = words.at(READERS.iter().position(|known| *known == kind).expect("a kind"));
    let bus = Bus::connect().expect("connect");
    let builder = bus.zone("z").reader(kind).channel::<u64>("c");
    let builder = match kind {
        "live" => builder,
        "markers" => builder.markers(),
        _ => builder.synced(),
    };
    let mut reader = builder.open().expect("reader");
    say("ready", "");
    let mut last = 0;
    let mut take = |value: u64| {
        assert_eq!(value, last + 1);
        last = value;
        word.store(value, Ordering::Release);
        // The first is handed out before the halt, the rest after it.
        if value == 1 {
            hear();
        }
        if value == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    loop {
        let flow = match kind {
            "live" => take(reader.recv(LONG).expect("message").copy().expect("a value")),
            "markers" => match reader.next_live(LONG).expect("message or edge") {
                Live::Message(message) => take(message.copy().expect("a value")),
                Live::Edge(_) => ControlFlow::Continue(()),
            },
            "synced" => take(reader.recv(LONG).expect("message").copy().expect("a value")),
            _ => {
                let mut era = reader.spin_era(LONG).expect("era");
                let mut flow = ControlFlow::Continue(());
                while let Some(message) = era.next().expect("message") {
                    flow = take(message.copy().expect("a value"));
                }
                flow
            }
        };
        if flow.is_break() {
            return;
        }
    }
}

/// Two eras of two messages; each reader has the first, and gets no second while it is halted.
#[test]
fn readers_are_handed_nothing_while_a_zone_is_halted() {
    const TEST: &str = "readers_are_handed_nothing_while_a_zone_is_halted";
    if let Some(kind) = role() {
        return taker(&kind);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words");
    let words = SharedWord::new(&path);
    let bus = Bus::embedded().unwrap();
    let (mut publisher, lane) = writer(&bus, "publisher", HaltMode::Wait);
    let mut readers = READERS.map(|kind| {
        let mut process = Process::start(TEST, kind, bus.socket(), &[("WORDS", path.display().to_string())]);
        process.wait_for("ready");
        process
    });
    let mut own = bus.zone("z").reader("own").channel::<u64>("c").synced().open().unwrap();
    for value in 1..=4 {
        publisher.publish(lane, &value).unwrap();
        if value % 2 == 0 {
            publisher.edge().unwrap();
        }
    }
    let given = || [0, 1, 2, 3].map(|index| words.at(index).load(Ordering::Acquire));
    eventually("each reader has the first message", || given() == [1; 4]);
    let guard = publisher.halt(LONG).unwrap();
    readers.iter_mut().for_each(|process| process.send("go"));
    for _ in 0..LOOKS {
        assert!(matches!(own.next_era(Duration::from_millis(2)), Err(Error::Timeout)));
        assert!(own.try_recv().unwrap().is_none());
        assert_eq!(given(), [1; 4], "something was handed out under a halt");
    }
    drop(guard);
    for process in readers {
        process.finish();
    }
    assert_eq!(given(), [4; 4]);
    for number in [1, 2] {
        assert_eq!(own.next_era(LONG).unwrap().number(), number);
    }
}

// ---- several who halt ----

const HALTERS: usize = 3;

fn halter() {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let (inside, done) = (words.at(0), words.at(1));
    let bus = Bus::connect().expect("connect");
    let zone = bus.zone("z");
    let writer = zone.writer("halter").expect("writer");
    say("ready", "");
    hear();
    let mut waited = 0;
    for round in 0..times(30, 300) {
        // Each way: by the zone, and without the broker.
        let halt = |patience| if round % 2 == 0 { zone.halt(patience) } else { writer.halt(patience) };
        let guard = match halt(Duration::ZERO) {
            Ok(guard) => guard,
            Err(Error::Halted) => {
                waited += 1;
                halt(LONG).expect("halt")
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(inside.fetch_add(1, Ordering::AcqRel), 0, "another halts it, too");
        assert!(guard.late().is_empty() && guard.holds());
        std::thread::sleep(Duration::from_millis(1));
        assert!(guard.holds());
        assert_eq!(inside.fetch_sub(1, Ordering::AcqRel), 1, "another halts it, too");
        done.fetch_add(1, Ordering::AcqRel);
    }
    say("halted", waited);
}

/// Would break: a halt that does not wait for another's end, or that ends another's.
#[test]
fn one_halt_comes_after_the_other() {
    const TEST: &str = "one_halt_comes_after_the_other";
    if role().is_some() {
        return halter();
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words");
    let words = SharedWord::new(&path);
    let bus = Bus::embedded().unwrap();
    let (mut publisher, lane) = writer(&bus, "publisher", HaltMode::Wait);
    let mut halters = [(); HALTERS].map(|()| {
        let mut process = Process::start(TEST, "halter", bus.socket(), &[("WORDS", path.display().to_string())]);
        process.wait_for("ready");
        process
    });
    halters.iter_mut().for_each(|process| process.send("go"));
    let expected = HALTERS as u64 * times(30, 300);
    let mut published = 0u64;
    eventually("all have had their halts", || {
        publisher.publish(lane, &published).unwrap();
        published += 1;
        for process in &mut halters {
            assert!(process.child.try_wait().unwrap().is_none_or(|status| status.success()), "a halter failed");
        }
        words.at(1).load(Ordering::Acquire) == expected
    });
    let waited: u64 = halters.iter_mut().map(|process| process.wait_for("halted").parse::<u64>().unwrap()).sum();
    halters.into_iter().for_each(Process::finish);
    println!(
        "\n{expected} halts of {HALTERS} processes, {waited} of them after another's; {published} messages meanwhile"
    );
    assert!(waited > 0, "nobody had to wait for another");
    assert!(!bus.list().unwrap()[0].halted);
}

//! Hints to finish early, and waiting until an era is done with: each from one process to others.

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;
use support::*;
use syncline::{Bus, Error, Laggard, Live, Reader, Writer};

/// Too short for anybody to do anything, if it has not been done.
const BRIEFLY: Duration = Duration::from_millis(20);
const LOOKS: usize = 5;

// ---- hints ----

const TOLD: [&str; 6] = ["publisher", "committer", "stepper", "live", "markers", "synced"];

/// Is told of hints, in a way each, and counts them.
fn told(kind: &str) {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let word = words.at(TOLD.iter().position(|known| *known == kind).expect("a kind"));
    let bus = Bus::connect().expect("connect");
    let zone = bus.zone("z");
    let count = |is_told: bool| {
        word.fetch_add(u64::from(is_told), Ordering::AcqRel);
    };
    match kind {
        "publisher" | "committer" | "stepper" => {
            let mut writer = zone.writer(kind).expect("writer");
            let lane = writer.channel("unread").open::<u64>().expect("lane");
            say("ready", "");
            loop {
                match kind {
                    "publisher" => writer.publish(lane, &1).expect("publish"),
                    "committer" => {
                        let mut batch = writer.batch().expect("batch");
                        batch.push(lane, &1).expect("push");
                        batch.commit().expect("commit");
                    }
                    _ => {
                        count(writer.step().expect("step"));
                        assert!(!writer.early_requested(), "told twice");
                    }
                }
                count(writer.early_requested());
                assert!(!writer.early_requested(), "told twice");
                std::thread::sleep(Duration::from_micros(100));
            }
        }
        _ => {
            let builder = zone.reader(kind).channel::<u64>("silent").early();
            let builder = match kind {
                "live" => builder,
                "markers" => builder.markers(),
                _ => builder.synced(),
            };
            let mut reader = builder.open().expect("reader");
            say("ready", "");
            loop {
                let waited = match kind {
                    "live" => reader.recv(LONG).map(drop),
                    "markers" => reader.next_live(LONG).map(drop),
                    _ => reader.next_era(LONG).map(drop),
                };
                match waited {
                    Err(Error::Early) => count(true),
                    // Writers that have ended leave an edge.
                    Ok(()) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

/// Gives a hint in some way for each line, and says so.
fn hinter() {
    let bus = Bus::connect().expect("connect");
    let zone = bus.zone("z");
    // The process has no writer at first: its reader has to ask the broker.
    let reader = zone.reader("hinter").channel::<u64>("silent").open().expect("reader");
    let mut writer: Option<Writer> = None;
    say("ready", "");
    while let Some(way) = hear() {
        match way.as_str() {
            "reader" => reader.request_early().expect("hint"),
            "zone" => zone.request_early().expect("hint"),
            _ => {
                let writer = writer.get_or_insert_with(|| zone.writer("hinter").expect("writer"));
                writer.request_early().expect("hint");
                assert!(way == "writer" || reader.request_early().is_ok());
            }
        }
        say("hinted", "");
    }
}

/// Would break: a hint that is lost, told twice, or told to those who do not want it.
#[test]
fn a_hint_is_told_once_to_everybody() {
    const TEST: &str = "a_hint_is_told_once_to_everybody";
    match role().as_deref() {
        Some("hinter") => return hinter(),
        Some(kind) => return told(kind),
        None => {}
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words");
    let words = SharedWord::new(&path);
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut plain = zone.reader("plain").channel::<u64>("silent").open().unwrap();
    let mut start = |role: &str| {
        let mut process = Process::start(TEST, role, bus.socket(), &[("WORDS", path.display().to_string())]);
        process.wait_for("ready");
        process
    };
    let _told = TOLD.map(&mut start);
    let mut hinter = start("hinter");
    let told = || [0, 1, 2, 3, 4, 5].map(|index| words.at(index).load(Ordering::Acquire));
    let mut hints = 0;
    for way in ["reader", "zone", "writer", "reader", "zone", "writer"].repeat(times(5, 50) as usize) {
        hinter.send(way);
        hinter.wait_for("hinted");
        hints += 1;
        eventually("everybody is told", || told() == [hints; TOLD.len()]);
    }
    for _ in 0..LOOKS {
        assert!(matches!(plain.recv(Duration::from_millis(2)), Err(Error::Timeout)), "it does not want to know");
        assert_eq!(told(), [hints; TOLD.len()], "told without a hint");
    }
    println!("\n{hints} hints, each told once to {TOLD:?}");
}

/// Would break: a hint that is told before the commit after it, that is kept for those who come later, or that counts twice.
#[test]
fn a_hint_is_told_with_the_next_commit() {
    if role().is_some() {
        return hinter();
    }
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("w").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut hinter = Process::start("a_hint_is_told_with_the_next_commit", "hinter", bus.socket(), &[]);
    hinter.wait_for("ready");
    for ways in [&["writer"][..], &["reader"], &["zone"], &["both"], &["zone", "writer", "reader"]] {
        writer.publish(lane, &1).unwrap();
        assert!(!writer.early_requested(), "there was no hint");
        for way in ways {
            hinter.send(way);
            hinter.wait_for("hinted");
        }
        assert!(!writer.early_requested(), "there was no commit yet");
        let mut batch = writer.batch().unwrap();
        batch.push(lane, &2).unwrap();
        batch.commit().unwrap();
        let mut late = zone.writer("late").unwrap();
        assert!(writer.early_requested(), "{ways:?}");
        assert!(!writer.early_requested() && !writer.step().unwrap(), "told twice");
        assert!(!late.step().unwrap(), "the hint was before it came");
    }
}

// ---- having done with an era ----

/// Takes eras, or begins one and holds it, as it is told.
fn taker() {
    let bus = Bus::connect().expect("connect");
    let name = argument("NAME");
    let builder = bus.zone("z").reader(&name).channel::<u64>("c");
    let is_marked = name == "markers";
    let mut reader = if is_marked { builder.markers() } else { builder.synced() }.open().expect("reader");
    say("ready", "");
    while let Some(told) = hear() {
        match told.as_str() {
            "leave" => return,
            _ if is_marked => take_marked(&mut reader, told == "hold"),
            _ => {
                let era = reader.next_era(LONG).expect("era");
                if told == "hold" {
                    say("holds", "");
                    hear();
                }
                drop(era);
            }
        }
        say("took", "");
    }
}

/// Takes all messages up to the next edge, and the edge.
fn take_marked(reader: &mut Reader, hold: bool) {
    loop {
        match reader.next_live(LONG).expect("message or edge") {
            Live::Edge(_) => return,
            // The last one before the edge.
            Live::Message(_) if hold => {
                say("holds", "");
                hear();
            }
            Live::Message(_) => {}
        }
    }
}

/// A zone with readers in processes of their own, and its writer.
struct Scene {
    bus: Bus,
    writer: Writer,
    readers: Vec<(&'static str, Process)>,
    era: u64,
}

impl Scene {
    fn new(test: &str) -> Scene {
        let bus = Bus::embedded().unwrap();
        let mut writer = bus.zone("z").writer("w").unwrap();
        writer.channel("other").open::<u64>().unwrap();
        let start = |name: &'static str| {
            let mut process = Process::start(test, "taker", bus.socket(), &[("NAME", name.to_owned())]);
            process.wait_for("ready");
            (name, process)
        };
        let readers = ["one", "two", "markers"].map(start).into();
        Scene { bus, writer, readers, era: 0 }
    }

    fn reader(&mut self, name: &str) -> &mut Process {
        let found = self.readers.iter_mut().find(|(known, _)| *known == name);
        &mut found.expect("a reader of that name").1
    }

    /// The named readers take the next era.
    fn take(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.reader(name).send("take"));
        names.iter().for_each(|name| drop(self.reader(name).wait_for("took")));
    }

    /// Who has not done with the era: both ways to ask must agree.
    fn laggards(&self) -> Vec<(String, u64)> {
        let ask = |done: syncline::Result<()>| match done {
            Ok(()) => Vec::new(),
            Err(Error::Laggards { era, laggards }) => {
                assert_eq!(era, self.era);
                laggards
            }
            Err(error) => panic!("{error}"),
        };
        let laggards = ask(self.writer.wait_done(self.era, BRIEFLY));
        assert_eq!(ask(self.bus.zone("z").wait_done(self.era, BRIEFLY)), laggards);
        let named = |Laggard { name, pid, taken }| {
            let (_, process) = self.readers.iter().find(|(known, _)| *known == name).expect("a reader of ours");
            assert_eq!(pid, process.child.id());
            (name, taken)
        };
        laggards.into_iter().map(named).collect()
    }

    fn assert_laggards(&self, expected: &[&str]) {
        let expected: Vec<_> = expected.iter().map(|name| ((*name).to_owned(), self.era - 1)).collect();
        assert_eq!(self.laggards(), expected, "era {}", self.era);
    }
}

/// Would break: an era that counts as done with before it is, or never; readers that are not counted or not named; the dead, waited for.
#[test]
fn an_era_is_done_with_when_every_reader_is() {
    const TEST: &str = "an_era_is_done_with_when_every_reader_is";
    if role().is_some() {
        return taker();
    }
    let mut scene = Scene::new(TEST);
    let lane = scene.writer.channel("c").open::<u64>().unwrap();
    // It takes no eras, so that nobody waits for it.
    let mut live = scene.bus.zone("z").reader("live").channel::<u64>("c").open().unwrap();
    let seal = |scene: &mut Scene| {
        scene.writer.publish(lane, &scene.era).unwrap();
        scene.era = scene.writer.edge().unwrap();
    };

    seal(&mut scene);
    scene.assert_laggards(&["one", "two", "markers"]);
    scene.take(&["one"]);
    scene.assert_laggards(&["two", "markers"]);
    scene.take(&["two", "markers"]);
    scene.assert_laggards(&[]);

    // One that is stopped.
    seal(&mut scene);
    scene.reader("two").stop();
    scene.reader("two").send("take");
    scene.take(&["one", "markers"]);
    scene.assert_laggards(&["two"]);
    scene.reader("two").resume();
    scene.writer.wait_done(scene.era, LONG).unwrap();
    scene.reader("two").wait_for("took");

    // One that is in the middle of it; and one that has not come to its edge.
    for name in ["one", "markers"] {
        seal(&mut scene);
        scene.reader(name).send("hold");
        scene.reader(name).wait_for("holds");
        let others: Vec<&str> = ["one", "two", "markers"].into_iter().filter(|other| *other != name).collect();
        scene.take(&others);
        scene.assert_laggards(&[name]);
        scene.reader(name).send("drop");
        scene.bus.zone("z").wait_done(scene.era, LONG).unwrap();
        scene.reader(name).wait_for("took");
    }

    // One that dies while it is waited for.
    seal(&mut scene);
    scene.take(&["one", "markers"]);
    scene.assert_laggards(&["two"]);
    let era = scene.era;
    let (zone, (_, mut two)) = (scene.bus.zone("z"), scene.readers.remove(1));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || zone.wait_done(era, LONG));
        two.kill();
        waiting.join().unwrap().expect("nobody waits for the dead");
    });
    scene.assert_laggards(&[]);

    // One that leaves; and an era before, and the one that is open.
    seal(&mut scene);
    scene.take(&["one"]);
    scene.assert_laggards(&["markers"]);
    scene.writer.wait_done(scene.era - 1, Duration::ZERO).unwrap();
    let (_, mut markers) = scene.readers.remove(1);
    markers.send("leave");
    markers.finish();
    scene.writer.wait_done(scene.era, LONG).unwrap();
    scene.era += 1;
    scene.assert_laggards(&["one"]);
    for expected in 0..scene.era - 1 {
        assert_eq!(live.recv(LONG).unwrap().copy::<u64>().unwrap(), expected);
    }
}

//! The owner of a table is killed at random moments: in single sets, and in batches over many items, a second table and a channel. The next one goes
//! on from its last commit. Readers that are there all the time see whole commits only and never go back, also while the dead owner's row is
//! another writer's at once.

use super::support::*;
use std::sync::atomic::Ordering;
use std::time::Duration;
use syncline::{Bus, Error, Item, Reader, Result, TableReader, TableWatch, View, Writer, Zone};

const TEST: &str = "kill::readers_see_whole_commits_of_the_dead";
/// Items of the group in each of two tables; and those that are set alone.
const GROUP: u32 = 16;
const SECOND: u32 = 8;
const LONE: u32 = 4;
/// Channels beside the one that is read.
const OTHERS: [&str; 7] = ["c1", "c2", "c3", "c4", "c5", "c6", "c7"];
/// Lines of memory that the victim shares with the test: its last commit; whether it is in a batch.
const COMMITTED: usize = 0;
const IN_BATCH: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Wide {
    words: [u64; 6],
}

syncline::describe!(Wide as "test.wide" { words: [u64; 6] });

/// Opens a table as soon as the broker knows that its owner is dead.
fn open(writer: &mut Writer, name: &str, group: u32) -> syncline::Table {
    let mut table = None;
    eventually("the table is free", || {
        let found = writer.table(name).items::<u64>("group", group).items::<Wide>("lone", LONE).open();
        match found {
            Ok(open) => table = Some(open),
            Err(Error::Invalid(_) | Error::Refused { .. } | Error::Timeout) => {}
            Err(error) => panic!("{error}"),
        }
        table.is_some()
    });
    table.expect("a table")
}

/// The process that will be killed.
fn victim() -> ! {
    let bus = Bus::connect().expect("connect");
    let words = SharedWord::new(argument("WORDS").as_ref());
    let mut writer = bus.zone("fire").writer("victim").expect("writer");
    let first = open(&mut writer, "first", GROUP);
    let second = open(&mut writer, "second", SECOND);
    let lane = writer.channel("c").capacity(1 << 18).open::<u64>().expect("lane");
    // So that a commit takes longer to be shown.
    let others = OTHERS.map(|name| writer.channel(name).capacity(1 << 14).lossy().open::<u64>().expect("lane"));
    let items = |writer: &Writer, table, count| -> Vec<_> {
        (0..count).map(|n| writer.item_of::<u64>(table, "group", n).expect("item")).collect()
    };
    let group = [items(&writer, first, GROUP), items(&writer, second, SECOND)].concat();
    let lone: Vec<_> = (0..LONE).map(|n| writer.item_of::<Wide>(first, "lone", n).expect("item")).collect();
    // What the one before has left, all of one commit.
    let left: Vec<u64> = group.iter().map(|item| writer.get(*item).expect("get")).collect();
    assert!(left.iter().all(|number| *number == left[0]), "taken over from the dead: {left:?}");
    writer.set_room_timeout(LONG);
    say("ready", format!("{} {}", writer.row(), left[0]));
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    for number in left[0] + 1.. {
        for _ in 0..random.below(3) {
            let lone = lone[random.below(u64::from(LONE)) as usize];
            writer.set(lone, &Wide { words: [number; 6] }).expect("set");
        }
        words.at(IN_BATCH).store(1, Ordering::Release);
        let mut batch = writer.batch().expect("batch");
        for item in &group {
            batch.set(*item, &number).expect("set in a batch");
        }
        batch.push(lane, &number).expect("push");
        for lane in &others {
            batch.push(*lane, &number).expect("push");
        }
        batch.commit().expect("commit");
        words.at(COMMITTED).store(number, Ordering::Release);
        words.at(IN_BATCH).store(0, Ordering::Release);
        if random.below(8) == 0 {
            writer.edge().expect("edge");
        }
    }
    unreachable!()
}

/// A reader of both tables that is there all the time.
struct Observer {
    tables: [TableReader; 2],
    group: [Vec<Item<u64>>; 2],
    lone: Vec<Item<Wide>>,
    /// The last number seen: live, and of the last era.
    live: u64,
    synced: (u64, u64),
    looks: u64,
    gone: u64,
}

fn whole(view: &View<'_>, items: &[Item<u64>]) -> Result<u64> {
    let mut first = None;
    for item in items {
        let found = view.get(*item)?;
        assert_eq!(*first.get_or_insert(found), found, "part of a commit, {view:?}");
    }
    Ok(first.unwrap_or_default())
}

impl Observer {
    fn open(zone: &Zone) -> Observer {
        let tables = ["first", "second"].map(|name| zone.table(name).expect("table"));
        let items = |table: &TableReader, count| -> Vec<_> {
            (0..count).map(|n| table.item_of::<u64>("group", n).expect("item")).collect()
        };
        let group = [items(&tables[0], GROUP), items(&tables[1], SECOND)];
        let lone = (0..LONE).map(|n| tables[0].item_of("lone", n).expect("item")).collect();
        Observer { tables, group, lone, live: 0, synced: (0, 0), looks: 0, gone: 0 }
    }

    /// The commit that both tables have now: the second is looked at later, and so may have one more, but not one less.
    fn look(&mut self) -> [u64; 2] {
        let mut found = [0; 2];
        for (n, table) in self.tables.iter_mut().enumerate() {
            eventually("a table is read", || match table.read(|view| whole(view, &self.group[n])) {
                Ok(number) => {
                    found[n] = number;
                    true
                }
                Err(Error::Overtaken) => false,
                Err(error) => panic!("{error}"),
            });
        }
        assert!(self.live <= found[0] && found[0] <= found[1], "{found:?} after {}", self.live);
        self.live = found[1];
        for item in &self.lone {
            match self.tables[0].get(*item) {
                Ok(value) => assert_eq!(value.words, [value.words[0]; 6], "torn"),
                Err(Error::Overtaken) => {}
                Err(error) => panic!("{error}"),
            }
        }
        self.looks += 1;
        self.look_synced();
        found
    }

    /// The commit of the last era, in both tables the same.
    fn look_synced(&mut self) {
        let looked = || -> Result<(u64, u64)> {
            let [first, second] = &mut self.tables;
            let view = first.current()?;
            let era = view.era().expect("of an era");
            let number = whole(&view, &self.group[0])?;
            if let Ok(previous) = view.previous().and_then(|view| whole(&view, &self.group[0])) {
                assert!(previous <= number, "PREV of {era} has {previous}, CURR {number}");
            }
            let other = whole(&second.at(era)?, &self.group[1])?;
            assert_eq!(number, other, "in era {era} the tables have different commits");
            Ok((era, number))
        }();
        match looked {
            Ok((era, number)) => {
                let (before, last) = self.synced;
                assert!(
                    era >= before && number >= last && (era > before || number == last),
                    "{number} in era {era} after {:?}",
                    self.synced
                );
                self.synced = (era, number);
            }
            Err(Error::Gone { .. } | Error::Overtaken) => self.gone += 1,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Reads all numbers that there are; whether the lane was closed.
fn drain(stream: &mut Reader, last: &mut u64) -> bool {
    loop {
        match stream.try_recv() {
            Ok(Some(message)) => {
                let number = message.copy::<u64>().expect("a number");
                assert_eq!(number, *last + 1, "a commit is missing");
                *last = number;
            }
            Ok(None) => return false,
            Err(Error::Closed(closed)) if closed.died => return true,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Tells what was changed last, of what a watch is told.
fn drain_watch(watch: &mut TableWatch) -> u64 {
    let mut told = 0;
    loop {
        match watch.try_next() {
            Ok(None) => return told,
            Ok(Some(changes)) => told += changes.items.len() as u64,
            Err(Error::Overtaken) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Would break: a part of a batch in a table; a value that goes back, or is another than the channel says; a dead owner's table that another
/// writer's commits reach.
#[test]
fn readers_see_whole_commits_of_the_dead() {
    if role().is_some() {
        victim();
    }
    let kills = times(100, 2000);
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("words");
    let words = SharedWord::new(&path);
    let bus = Bus::embedded().expect("broker");
    let zone = bus.zone("fire");
    // Keeps the zone, and seals what the dead have committed.
    let mut sealer = zone.writer("sealer").expect("writer");
    let mut stream = zone.reader("stream").channel::<u64>("c").open().expect("reader");
    // Whoever comes first has nothing to take over.
    let first = open(&mut sealer, "first", GROUP);
    let second = open(&mut sealer, "second", SECOND);
    let mut observers = [Observer::open(&zone), Observer::open(&zone)];
    let mut watch = zone.table("first").expect("table").watch("watch").range(0..1).open().expect("watch");
    sealer.close_table(first).and_then(|()| sealer.close_table(second)).expect("close");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut last, mut reused, mut told, mut in_batch) = (0, 0, 0, 0);
    for kill in 0..kills {
        let before = last;
        words.at(COMMITTED).store(before, Ordering::Release);
        words.at(IN_BATCH).store(0, Ordering::Release);
        let mut process = Process::start(TEST, "victim", bus.socket(), &[("WORDS", path.display().to_string())]);
        let ready = process.wait_for("ready");
        let [row, left] = super::support::pace::numbers(&ready);
        assert_eq!(left, before, "the next owner does not go on from the last commit");
        let mut closed = false;
        let delay = Duration::from_micros(random.below(800));
        std::thread::scope(|scope| {
            let killer = scope.spawn(|| {
                std::thread::sleep(delay);
                process.kill();
            });
            while !killer.is_finished() {
                observers[0].look();
                closed |= drain(&mut stream, &mut last);
                // Whoever has the message finds the commit in the tables.
                let found = observers[0].look();
                assert!(found[0] >= last, "the channel says {last}, the tables {found:?}");
            }
        });
        in_batch += words.at(IN_BATCH).load(Ordering::Acquire);
        // Its row is another's at once, which commits more than the dead one has; the second reader has not looked since.
        if kill % 2 == 0 {
            let mut other = zone.writer("other").expect("writer");
            eventually("the dead one's row is another's", || {
                if u64::from(other.row()) != row {
                    other = zone.writer("other").expect("writer");
                }
                u64::from(other.row()) == row
            });
            let lane = other.channel("d").open::<u64>().expect("lane");
            for n in 0..1 + random.below(100) {
                other.publish(lane, &n).expect("publish");
                if random.below(10) == 0 {
                    other.edge().expect("edge");
                }
            }
            reused += 1;
        }
        let found = observers.each_mut().map(Observer::look);
        eventually("the live reader is told of the end", || {
            closed = closed || drain(&mut stream, &mut last);
            closed
        });
        let committed = words.at(COMMITTED).load(Ordering::Acquire);
        let found = [found, observers.each_mut().map(Observer::look)];
        // Nothing has changed since the first look after the death, whoever has the row by then.
        assert_eq!(found, [[[last; 2]; 2]; 2], "the channel says {last}");
        assert!(last == committed || last == committed + 1, "commit {committed} was noted, {last} is the last");
        // An edge has it whole, and the next has the same.
        for _ in 0..2 {
            let era = sealer.edge().expect("edge");
            for observer in &mut observers {
                observer.look();
                assert_eq!(observer.synced, (era, last), "after the edge");
            }
        }
        let more = drain_watch(&mut watch);
        assert!(more > 0 || last == before, "the watch was told nothing of {before} to {last}");
        told += more;
    }
    let stats = bus.embedded_broker().expect("embedded").stats();
    let [looks, gone] = [
        observers.iter().map(|observer| observer.looks).sum::<u64>(),
        observers.iter().map(|observer| observer.gone).sum(),
    ];
    println!(
        "\n{kills} kills, {in_batch} of them in a batch, {last} commits; the last one was completed {} times and buried {} times; the row was reused at once {reused} times; {looks} \
         looks, {gone} at eras that were gone; the watch was told {told} times",
        stats.completed, stats.buried
    );
    assert!(in_batch > kills / 10, "hardly an owner was killed in a batch");
    assert!(stats.buried > 0 || kills < 1000, "no owner was killed in the middle of a commit");
    assert!(last > kills * 10, "the owners were killed before they did anything");
}

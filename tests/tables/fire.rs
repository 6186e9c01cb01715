//! A table under fire: a writer process that sets items without pause, two that run edges against each other, and readers of all kinds, each in its own
//! process; all of them stopped at any instruction, and one of them always for long (SIGSTOP).
//!
//! A value is the number of the commit that has set it, in all of its words. A batch sets all items of the *group* and so do no others: read as of one
//! commit or era they are the same number. Most batches push it into a channel as well: the last message of an era is what the table has in it.

use super::support::pace::numbers;
use super::support::stops::Stops;
use super::support::*;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use syncline::{Bus, Error, Item, Result, TableReader, View, Zone};

const TEST: &str = "fire::values_and_commits_are_whole";
/// Words of a large value.
const WORDS: usize = 24;
/// Items of the group, of one word and of many.
const SMALL: u32 = 12;
const LARGE: u32 = 4;
/// Items that are set alone, of one word and of many.
const LONE: u32 = 16;
/// Readers: of single items, of the group as of a commit, of CURR and PREV, of CURR and a channel.
const READERS: [&str; 5] = ["single", "single", "live", "synced", "stream"];
/// Words that all share.
const STOP: usize = 0;
const FIRST: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Large {
    words: [u64; WORDS],
}

syncline::describe!(Large as "test.large" { words: [u64; WORDS] });

impl Large {
    fn new(number: u64) -> Large {
        Large { words: [number; WORDS] }
    }

    /// The number that it has in all of its words.
    fn whole(&self) -> u64 {
        assert_eq!(self.words, [self.words[0]; WORDS], "torn");
        self.words[0]
    }
}

struct Stage {
    zone: Zone,
    words: SharedWord,
}

impl Stage {
    fn of_role() -> Stage {
        let bus = Bus::connect().expect("connect");
        Stage { zone: bus.zone("fire"), words: SharedWord::new(argument("WORDS").as_ref()) }
    }

    fn is_over(&self) -> bool {
        self.words.at(STOP).load(Ordering::Relaxed) != 0
    }

    fn has_read(&self, items: u64) {
        let [index] = numbers(&argument("INDEX"));
        self.words.at(FIRST + index as usize).store(items, Ordering::Relaxed);
    }
}

// ---- the writer ----

fn writer() {
    let stage = Stage::of_role();
    let mut writer = stage.zone.writer("writer").expect("writer");
    let table =
        writer.table("t").items::<u64>("small", SMALL).items::<Large>("large", LARGE).items::<u64>("lone", LONE);
    let table = table.items::<Large>("wide", LONE).open().expect("table");
    let lane = writer.channel("c").capacity(1 << 16).lossy().open::<u64>().expect("lane");
    let small: Vec<_> = (0..SMALL).map(|n| writer.item_of::<u64>(table, "small", n).expect("item")).collect();
    let large: Vec<_> = (0..LARGE).map(|n| writer.item_of::<Large>(table, "large", n).expect("item")).collect();
    let lone: Vec<_> = (0..LONE).map(|n| writer.item_of::<u64>(table, "lone", n).expect("item")).collect();
    let wide: Vec<_> = (0..LONE).map(|n| writer.item_of::<Large>(table, "wide", n).expect("item")).collect();
    say("ready", "");
    hear();
    let stops = Stops::begin();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut number, mut overtaken, mut rolled_back) = (0u64, 0u64, 0u64);
    while !stage.is_over() {
        number += 1;
        let which = random.below(u64::from(LONE)) as usize;
        let done = match random.below(8) {
            0..3 => writer.set(lone[which], &number),
            3..6 => writer.set(wide[which], &Large::new(number)),
            kind => {
                let mut batch = writer.batch().expect("batch");
                let set = (|| {
                    // Some are set twice, and others are not what they are in the end.
                    batch.set(small[which % SMALL as usize], &!number)?;
                    for item in &small {
                        batch.set(*item, &number)?;
                    }
                    for item in &large {
                        batch.set(*item, &Large::new(number))?;
                    }
                    batch.push(lane, &number)
                })();
                if kind == 7 && which == 0 {
                    batch.roll_back();
                    rolled_back += 1;
                    Ok(())
                } else {
                    set.and_then(|()| batch.commit())
                }
            }
        };
        match done {
            Ok(()) => {}
            // Nothing is changed then.
            Err(Error::Overtaken) => overtaken += 1,
            Err(error) => panic!("{error}"),
        }
    }
    let races = writer.races();
    // It runs no edge of its own: a pass over the rows is one that it has helped.
    say("done", format!("{number} {rolled_back} {overtaken} {} {} {}", races.passes, races.flips, stops.end()));
    hear();
}

// ---- edges ----

fn sealer() {
    let stage = Stage::of_role();
    let mut writer = stage.zone.writer("sealer").expect("writer");
    say("ready", "");
    hear();
    let stops = Stops::begin();
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    while !stage.is_over() {
        // In runs, so that readers are passed, by much or little, and with pauses, so that they are not.
        let most = [2, 4, 20][random.below(3) as usize];
        for _ in 0..random.below(most) {
            writer.edge().expect("edge");
            (0..random.below(2000)).for_each(|_| std::hint::spin_loop());
        }
        if random.below(4) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(300)));
        }
    }
    let races = writer.races();
    say("done", format!("{} {} {}", races.flips, races.cuts_helped, stops.end()));
    hear();
}

// ---- readers ----

/// What a reader has met.
#[derive(Default)]
struct Met {
    items: u64,
    /// Looks that had to be made again, or were given up.
    overtaken: u64,
    gone: u64,
    /// Values that were others than those read before.
    fresh: u64,
    /// Of a synced reader: eras passed while it read; eras that it could compare.
    passed: u64,
    compared: u64,
}

impl Met {
    fn tell(&self, stops: u64) {
        let Met { items, overtaken, gone, fresh, passed, compared } = self;
        say("done", format!("{items} {overtaken} {gone} {fresh} {passed} {compared} {stops}"));
        hear();
    }

    fn note(&mut self, value: u64, last: &mut u64) {
        assert!(value >= *last, "{value} after {last}: back in time");
        self.fresh += u64::from(value != *last);
        *last = value;
    }
}

fn open(stage: &Stage) -> (TableReader, Group) {
    let reader = stage.zone.wait_table("t", LONG).expect("table");
    let small = (0..SMALL).map(|n| reader.item_of::<u64>("small", n).expect("item")).collect();
    let large = (0..LARGE).map(|n| reader.item_of::<Large>("large", n).expect("item")).collect();
    (reader, Group { small, large })
}

struct Group {
    small: Vec<Item<u64>>,
    large: Vec<Item<Large>>,
}

impl Group {
    /// The commit of the group in a view, which must be one; from another item on each time.
    fn number(&self, view: &View<'_>, from: u64) -> Result<u64> {
        let all = u64::from(SMALL + LARGE);
        let mut number = None;
        for n in from..from + all {
            let n = (n % all) as usize;
            let found = match self.small.get(n) {
                Some(item) => view.get(*item)?,
                None => view.get(self.large[n - SMALL as usize])?.whole(),
            };
            assert_eq!(*number.get_or_insert(found), found, "two commits in one view, item {n}, {view:?}");
        }
        Ok(number.unwrap_or_default())
    }
}

const GROUP: u64 = (SMALL + LARGE) as u64;

/// Reads single items, in all ways that there are for one.
fn single() {
    let stage = Stage::of_role();
    let (mut reader, group) = open(&stage);
    let lone: Vec<_> = (0..LONE).map(|n| reader.item_of::<u64>("lone", n).expect("item")).collect();
    let wide: Vec<_> = (0..LONE).map(|n| reader.item_of::<Large>("wide", n).expect("item")).collect();
    say("ready", "");
    let stops = Stops::begin();
    let mut met = Met::default();
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    let mut last = [0u64; 2 * LONE as usize + 2];
    while !stage.is_over() {
        for _ in 0..256 {
            let which = random.below(last.len() as u64 - 1) as usize;
            let value = match which {
                n if n < LONE as usize => reader.get(lone[n]),
                n if n < 2 * LONE as usize => reader.get(wide[n - LONE as usize]).map(|value| value.whole()),
                _ => reader.get(group.large[0]).map(|value| value.whole()),
            };
            match value {
                Ok(value) => met.note(value, &mut last[which]),
                Err(Error::Overtaken) => {
                    met.overtaken += 1;
                    continue;
                }
                Err(error) => panic!("{error}"),
            }
            met.items += 1;
        }
        // By a view it is told when the writer was faster, which `get` tries again.
        for n in 0..16 {
            let view = reader.latest().expect("view");
            match view.get(wide[n]) {
                Ok(value) => met.note(value.whole(), &mut last[LONE as usize + n]),
                Err(Error::Overtaken) => met.overtaken += 1,
                Err(error) => panic!("{error}"),
            }
            met.items += 1;
        }
        stage.has_read(met.items);
    }
    met.tell(stops.end());
}

/// Reads the group as of one commit.
fn live() {
    let stage = Stage::of_role();
    let (mut reader, group) = open(&stage);
    say("ready", "");
    let stops = Stops::begin();
    let (mut met, mut last, mut from) = (Met::default(), 0, 0);
    while !stage.is_over() {
        from += 1;
        let mut tries = 0;
        let read = reader.read(|view| {
            tries += 1;
            group.number(view, from)
        });
        met.overtaken += tries - 1;
        match read {
            Ok(number) => {
                met.note(number, &mut last);
                met.items += GROUP;
            }
            Err(Error::Overtaken) => met.overtaken += 1,
            Err(error) => panic!("{error}"),
        }
        if from % 64 == 0 {
            stage.has_read(met.items);
        }
    }
    met.tell(stops.end());
}

/// Reads the group as of CURR and PREV, as long as it is there.
fn synced() {
    let stage = Stage::of_role();
    let (mut reader, group) = open(&stage);
    say("ready", "");
    let stops = Stops::begin();
    let (mut met, mut last, mut from) = (Met::default(), 0, 0);
    let mut random = Random(u64::from(std::process::id()) << 20 | 1);
    // What the last era looked at had.
    let mut known = (0, 0);
    while !stage.is_over() {
        from += 1;
        let read = |met: &mut Met| -> Result<()> {
            let view = match reader.current() {
                Ok(view) => view,
                // None is sealed yet.
                Err(Error::Gone { era: 0, .. }) => return Ok(()),
                other => other?,
            };
            let era = view.era().expect("of an era");
            // As old as it may be when it is read, and older.
            if from % 2 == 0 {
                let begin = Instant::now();
                let wait = Duration::from_nanos(random.below(300_000));
                while begin.elapsed() < wait {
                    std::hint::spin_loop();
                }
            }
            let number = group.number(&view, from)?;
            met.items += GROUP;
            met.note(number, &mut last);
            if known.0 == era {
                assert_eq!(known.1, number, "era {era} has changed");
            }
            // Again, from PREV's side, and once more after that.
            if let Ok(previous) = view.previous() {
                let before = group.number(&previous, from)?;
                met.items += GROUP;
                assert!(before <= number, "PREV of {era} has {before}, CURR {number}");
                if known.0 == era - 1 {
                    assert_eq!(known.1, before, "era {} has changed", era - 1);
                    met.compared += 1;
                }
                assert_eq!(view.changed(group.small[0])?, before != number, "era {era}");
            }
            known = (era, number);
            assert_eq!(group.number(&view, from + 5)?, number, "era {era} has changed");
            met.items += GROUP;
            let now = reader.current()?.era().expect("of an era");
            met.passed += now - era;
            Ok(())
        }(&mut met);
        match read {
            Ok(()) => {}
            Err(Error::Gone { .. }) => met.gone += 1,
            Err(Error::Overtaken) => met.overtaken += 1,
            Err(error) => panic!("{error}"),
        }
        if from % 64 == 0 {
            stage.has_read(met.items);
        }
    }
    met.tell(stops.end());
}

/// Compares the table as of an era with the messages of that.
fn stream() {
    let stage = Stage::of_role();
    let (mut table, group) = open(&stage);
    let mut reader = stage.zone.reader("stream").channel::<u64>("c").synced().open().expect("reader");
    say("ready", "");
    let stops = Stops::begin();
    let (mut met, mut fresh, mut from) = (Met::default(), 0, 0);
    while !stage.is_over() {
        from += 1;
        let (era, last) = match reader.next_era(Duration::from_millis(20)) {
            Ok(mut era) => {
                let mut last = None;
                while let Some(message) = era.next().expect("a whole era") {
                    last = Some(message.copy::<u64>().expect("a number"));
                }
                (era.number(), last)
            }
            Err(Error::Timeout) => continue,
            Err(Error::ErasLost { .. }) => {
                met.passed += 1;
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        let Some(last) = last else { continue };
        let found = table.at(era).and_then(|view| group.number(&view, from));
        match found {
            Ok(found) => {
                assert_eq!(found, last, "in era {era} the table has another commit than the channel");
                met.note(found, &mut fresh);
                met.items += GROUP;
                met.compared += 1;
            }
            Err(Error::Gone { .. }) => met.gone += 1,
            Err(Error::Overtaken) => met.overtaken += 1,
            Err(error) => panic!("{error}"),
        }
        stage.has_read(met.items);
    }
    met.tell(stops.end());
}

// ---- the test ----

/// Would break: a torn value; two commits in one view; a value that goes back; an era that changes, or has another commit than its messages.
#[test]
fn values_and_commits_are_whole() {
    match role().as_deref() {
        Some("writer") => return writer(),
        Some("sealer") => return sealer(),
        Some("single") => return single(),
        Some("live") => return live(),
        Some("synced") => return synced(),
        Some("stream") => return stream(),
        _ => {}
    }
    let count = times(3_000_000, 1_000_000_000);
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("words");
    let words = SharedWord::new(&path);
    let bus = Bus::embedded().expect("broker");
    bus.zone("fire").eras(4096).create().expect("zone");
    let start = |role: &str, index: usize| {
        let arguments = [("WORDS", path.display().to_string()), ("INDEX", index.to_string())];
        let mut process = Process::start(TEST, role, bus.socket(), &arguments);
        process.wait_for("ready");
        process
    };
    let mut writer = start("writer", 0);
    let mut sealers = [start("sealer", 0), start("sealer", 1)];
    let mut readers: Vec<_> = READERS.iter().enumerate().map(|(index, role)| start(role, index)).collect();
    let began = Instant::now();
    writer.send("go");
    sealers.iter_mut().for_each(|sealer| sealer.send("go"));
    let mut all: Vec<&mut Process> =
        readers.iter_mut().chain(&mut sealers).chain(std::iter::once(&mut writer)).collect();
    let (mut random, mut stopped) = (Random(7), 0u64);
    let read = || (0..READERS.len()).map(|index| words.at(FIRST + index).load(Ordering::Relaxed)).sum::<u64>();
    while read() < count {
        let which = random.below(all.len() as u64) as usize;
        let process = &mut all[which];
        assert!(process.child.try_wait().expect("wait").is_none(), "a process failed");
        process.stop();
        stopped += 1;
        std::thread::sleep(Duration::from_micros(200 + random.below(3000)));
        process.resume();
    }
    words.at(STOP).store(1, Ordering::Relaxed);
    let [commits, rolled_back, overtaken, passes, flips, stops] = numbers(&writer.wait_for("done"));
    println!(
        "\n{} items read in {:.1?}; {commits} commits, {rolled_back} rolled back, {overtaken} overtaken; the writer helped {passes} edges on \
         ({flips} of them to the end), interrupted {stops} times; a process stopped {stopped} times",
        read(),
        began.elapsed()
    );
    let mut edges = 0;
    for sealer in &mut sealers {
        let [flips, helped, stops] = numbers(&sealer.wait_for("done"));
        println!("{flips} edges, {helped} cuts decided by others first, interrupted {stops} times");
        edges += flips;
    }
    let mut sums = [0; 6];
    for (role, reader) in READERS.iter().zip(&mut readers) {
        let [items, overtaken, gone, fresh, passed, compared, stops] = numbers(&reader.wait_for("done"));
        println!(
            "{role}: {items} items, {overtaken} times overtaken, {gone} times gone, {fresh} new values, {passed} times passed, {compared} \
             compared, interrupted {stops} times"
        );
        for (sum, one) in sums.iter_mut().zip([items, overtaken, gone, fresh, passed, compared]) {
            *sum += one;
        }
        assert!(items > 1000 && fresh > 100, "{role} has hardly seen anything");
        // What an era is made of is not overwritten as long as it may be asked for: such a reader is never overtaken.
        assert!(overtaken == 0 || !["synced", "stream"].contains(role), "{role} was overtaken");
    }
    for mut process in readers.into_iter().chain(sealers).chain([writer]) {
        process.send("leave");
        process.finish();
    }
    let [_, overtaken, gone, _, passed, compared] = sums;
    assert!(overtaken > 0 && gone > 0 && passed > 0, "no reader was ever passed");
    assert!(compared > 100 && edges > 1000 && rolled_back > 0, "hardly an era was compared");
}

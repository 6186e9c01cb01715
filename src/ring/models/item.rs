//! An item of a table against its readers, edges, and helpers of edges that know an older version.

use super::{EXACT, Segments, Stop, at_every_stop, check, never, no_clock};
use crate::layout::table::{self, Header};
use crate::layout::zone::Pace;
use crate::layout::{lane::Line, word};
use crate::ring::item::{self, Keeper};
use crate::ring::lockstep;
use crate::ring::order::{COMMIT, COMMIT_SEE, RELAXED};
use crate::ring::sequencer::{self, Races};
use crate::ring::view::Item;
use crate::sync::AtomicU64;
use loom::thread;
use std::rc::Rc;

/// Items of two words each, all of one table, whose writer has row 0. The value of an item at commit `n` is `n` in both words.
struct Table<const V: usize> {
    segments: Rc<Segments>,
    items: Vec<(Vec<AtomicU64>, Vec<AtomicU64>)>,
    header: Header,
}

const WORDS: usize = 2;

impl<const V: usize> Table<V> {
    fn new(pace: Pace, items: usize) -> Rc<Table<V>> {
        assert_eq!(V, table::versions(pace));
        let many = |n: usize| (0..n).map(|_| word()).collect::<Vec<_>>();
        let segments = Segments::of_pace(pace, 1, 0, 64);
        let items = (0..items).map(|_| (many(V), many(V * WORDS))).collect();
        let header = Header { preamble: crate::layout::Preamble, first: Line(word()) };
        Rc::new(Table { segments, items, header })
    }

    fn item(&self, n: usize) -> Item<'_, V> {
        let (versions, values) = &self.items[n];
        Item { versions: versions[..].try_into().unwrap(), values }
    }

    /// The last commit.
    fn version(&self) -> u64 {
        self.segments.version(0)
    }

    /// The value at a commit, if the writer was not faster.
    fn live(&self, n: usize, bound: u64) -> Option<u64> {
        let mut value = Vec::new();
        let version =
            item::read_live(self.item(n), (&self.segments.rows[0].version, bound), bound, |words| value = load(words))?;
        whole(&value);
        assert_eq!(value[0], version, "another value than its version's");
        Some(value[0])
    }

    /// The value in a sealed era; `None`: the era is not kept any more.
    fn synced(&self, n: usize, era: u64) -> Option<u64> {
        let cut = self.segments.cut(era, 0)?;
        for _ in 0..4 {
            let mut value = Vec::new();
            match item::read_synced(self.item(n), self.segments.zone(), era, cut, |words| value = load(words)) {
                Ok(version) => {
                    whole(&value);
                    assert_eq!(value[0], version, "another value than its version's");
                    return Some(value[0]);
                }
                Err(true) => {}
                Err(false) => return None,
            }
        }
        panic!("the reader looks again and again");
    }
}

fn load(words: &[AtomicU64]) -> Vec<u64> {
    words.iter().map(|word| word.load(RELAXED.get())).collect()
}

fn whole(value: &[u64]) {
    assert_eq!(value[0], value[1], "a value in pieces");
}

/// The writer as the client has it.
struct Owner<const V: usize> {
    table: Rc<Table<V>>,
    keeper: Keeper,
    version: u64,
    settled: u64,
}

impl<const V: usize> Owner<V> {
    fn new(table: &Rc<Table<V>>) -> Owner<V> {
        Owner { table: table.clone(), keeper: Keeper::new(0), version: table.version(), settled: 0 }
    }

    fn set(&mut self, n: usize) {
        let zone = self.table.segments.zone();
        let help = || sequencer::finish_begun(zone, no_clock, &mut Races::default());
        let item = self.table.item(n);
        let slot = self.keeper.choose(zone.header, || zone, item, self.version, help).expect("an edge at every turn");
        let next = self.version + 1;
        item::write(item, slot, next, |words| words.iter().for_each(|word| word.store(next, RELAXED.get())));
    }

    fn commit(&mut self) {
        let zone = self.table.segments.zone();
        sequencer::settle(zone.header, || zone, 0, self.version, &mut self.settled);
        self.version += 1;
        self.table.segments.rows[0].version.store(self.version, COMMIT.get());
    }

    /// One commit of these items.
    fn update(&mut self, items: &[usize]) {
        items.iter().for_each(|&n| self.set(n));
        self.commit();
    }
}

/// A writer that uses its versions again and again under a live reader of one item.
fn live(writer: Stop, sealed: u64, updates: u64) {
    let table = Table::<4>::new(Pace::Free, 1);
    let mut owner = Owner::new(&table);
    // All versions are in use: by CURR and PREV, or by none.
    for n in 0..3 {
        owner.update(&[0]);
        if n < sealed {
            table.segments.seal();
        }
    }
    let before = owner.version;
    let shared = table.clone();
    let writing = thread::spawn(move || {
        writer.run(|| (0..updates).for_each(|_| owner.update(&[0])));
    });
    let reading = thread::spawn(move || {
        let bound = shared.version();
        if let Some(value) = shared.live(0, bound) {
            // Every commit has set it.
            assert_eq!(value, bound, "the value at commit {bound}");
            assert!(value >= before);
        }
    });
    writing.join().unwrap();
    reading.join().unwrap();
}

/// Would break: a value in pieces (the writer's fence, the reader's); an older value than the commit's (the last look, and that who finds a version
/// being written knows why).
#[test]
fn a_live_reader_finds_what_the_commit_had() {
    check(2, || live(never(), 0, 3));
    check(2, || live(never(), 2, 2));
}

/// Would break: a reader that is misled by a writer which stopped in the middle of a value.
#[test]
fn a_stopped_writer_misleads_no_live_reader() {
    at_every_stop(2, |stop| live(stop.clone(), 2, 2));
}

/// Would break: two items of one commit of which a reader has only one.
#[test]
fn items_of_a_commit_are_read_together() {
    check(2, || {
        let table = Table::<4>::new(Pace::Free, 2);
        let mut owner = Owner::new(&table);
        (0..3).for_each(|_| owner.update(&[0, 1]));
        let shared = table.clone();
        let writing = thread::spawn(move || (0..2).for_each(|_| owner.update(&[0, 1])));
        let reading = thread::spawn(move || {
            let bound = shared.version();
            let values = [shared.live(0, bound), shared.live(1, bound)];
            values.into_iter().flatten().for_each(|value| assert_eq!(value, bound));
        });
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

/// A writer, an edge that somebody else runs, and a synced reader of CURR and PREV.
fn synced(writer: Stop, edges: Stop, updates: u64) {
    let table = Table::<4>::new(Pace::Free, 1);
    let mut owner = Owner::new(&table);
    // PREV, CURR and the newest are three versions.
    for _ in 0..2 {
        owner.update(&[0]);
        table.segments.seal();
    }
    owner.update(&[0]);
    let shared = table.clone();
    let writing = thread::spawn(move || {
        writer.run(|| (0..updates).for_each(|_| owner.update(&[0])));
    });
    let sealing = thread::spawn(move || {
        edges.run(|| {
            shared.segments.seal();
        });
    });
    let reading = thread::spawn(move || {
        let generation = table.segments.zone().generation();
        for era in [generation, generation - 1] {
            let Some(cut) = table.segments.cut(era, 0) else { continue };
            if let Some(value) = table.synced(0, era) {
                assert_eq!(value, cut, "the value in era {era}");
            }
        }
    });
    writing.join().unwrap();
    sealing.join().unwrap();
    reading.join().unwrap();
}

/// Would break: a value of CURR or PREV that is overwritten (a helper that has looked at an older version and then decides for it: the touch).
#[test]
fn a_synced_reader_finds_what_the_era_had() {
    check(2, || synced(never(), never(), 1));
}

/// Would break: the same, by a writer that stops.
#[test]
fn a_stopped_writer_misleads_no_synced_reader() {
    at_every_stop(1, |stop| synced(stop.clone(), never(), 1));
}

/// Would break: the same, by an edge that stops.
#[test]
fn a_stopped_edge_misleads_no_synced_reader() {
    at_every_stop(1, |stop| synced(never(), stop.clone(), 1));
}

/// A helper that has looked at the row's version and stops there, while the writer goes on; then whoever flips. Read afterwards.
///
/// Would break: an era whose value is not there any more (the touch, and that the edge is helped when the cut is decided).
#[test]
fn a_helper_with_an_old_version_decides_for_nothing_that_is_gone() {
    check(3, || {
        let table = Table::<4>::new(Pace::Free, 1);
        let mut owner = Owner::new(&table);
        (0..2).for_each(|_| owner.update(&[0]));
        let shared = table.clone();
        let helping = thread::spawn(move || {
            shared.segments.seal();
        });
        let writing = thread::spawn(move || (0..3).for_each(|_| owner.update(&[0])));
        helping.join().unwrap();
        writing.join().unwrap();
        let reading = thread::spawn(move || {
            let era = table.segments.zone().generation();
            let cut = table.segments.cut(era, 0).expect("the last era");
            assert_eq!(table.synced(0, era), Some(cut), "the value in era {era}");
        });
        reading.join().unwrap();
    });
}

/// Lockstep: commits after a permit, while the edge that takes it passes.
///
/// Would break: the value at the permit overwritten (the fifth version).
#[test]
fn what_a_permit_names_is_kept() {
    check(2, || {
        let table = Table::<5>::new(Pace::Lockstep, 1);
        let segments = &table.segments;
        segments.rows[0].state.store(crate::layout::zone::ROW_OPEN, RELAXED.get());
        let mut owner = Owner::new(&table);
        for _ in 0..2 {
            owner.update(&[0]);
            let round = lockstep::permit(segments.zone(), &segments.rows[0], owner.version);
            assert!(lockstep::pass(segments.zone(), round, &EXACT, no_clock, &mut Races::default()));
        }
        owner.update(&[0]);
        let shared = table.clone();
        let round = lockstep::permit(segments.zone(), &segments.rows[0], owner.version);
        let writing = thread::spawn(move || (0..3).for_each(|_| owner.update(&[0])));
        let sealing = thread::spawn(move || {
            assert!(lockstep::pass(shared.segments.zone(), round, &EXACT, no_clock, &mut Races::default()));
        });
        writing.join().unwrap();
        sealing.join().unwrap();
        let reading = thread::spawn(move || {
            for era in [3, 2] {
                assert_eq!(table.synced(0, era), Some(era), "the value in era {era}");
            }
        });
        reading.join().unwrap();
    });
}

/// The next owner of a table: its incarnation is to be read once its first commit is there, and has all items then.
///
/// Would break: an incarnation read before it has what the one before had.
#[test]
fn an_incarnation_is_whole_when_it_is_read() {
    check(3, || {
        let table = Table::<4>::new(Pace::Free, 2);
        let shared = table.clone();
        let owning = thread::spawn(move || {
            let mut owner = Owner::new(&shared);
            [0, 1].into_iter().for_each(|n| owner.set(n));
            item::set_first(&shared.header, 1);
            owner.commit();
            owner.update(&[1]);
        });
        let reading = thread::spawn(move || {
            let first = item::first(&table.header);
            let bound = table.segments.rows[0].version.load(COMMIT_SEE.get());
            if first != 0 && first <= bound {
                let values = [table.live(0, bound), table.live(1, bound)];
                assert!(values[0].is_none_or(|value| value == 1), "{values:?}");
                assert!(values[1].is_none_or(|value| value == bound), "{values:?}");
            }
        });
        owning.join().unwrap();
        reading.join().unwrap();
    });
}

/// Rolled back: what was written for a commit that was not made is not seen when another commit has its version.
///
/// Would break: a value that was taken back.
#[test]
fn what_was_taken_back_is_not_seen() {
    check(1, || {
        let table = Table::<4>::new(Pace::Free, 2);
        let shared = table.clone();
        let writing = thread::spawn(move || {
            let mut owner = Owner::new(&shared);
            owner.update(&[0, 1]);
            owner.set(0);
            item::take_back(shared.item(0), 2);
            owner.update(&[1]);
        });
        let reading = thread::spawn(move || {
            let bound = table.version();
            let value = table.live(0, bound);
            assert!(value.is_none_or(|value| value == bound.min(1)), "{value:?} at {bound}");
        });
        writing.join().unwrap();
        reading.join().unwrap();
    });
}

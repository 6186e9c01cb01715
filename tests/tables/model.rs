//! Writers, readers and watches of a table, step by step, against what must be ([`Oracle`]).

use super::oracle::{Mark, Oracle, Told};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;
use syncline::{Bus, Error, Item, Lane, Reader, Seen, Table, TableReader, TableWatch, View, Writer, Zone};

const WRITERS: usize = 2;
const READERS: usize = 2;
/// Marks that are kept, of all ages.
const MARKS: usize = 6;
/// Commits after which a watch may have been passed: fewer than its lane holds.
const LAP: u64 = 800;

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Triple {
    words: [u64; 3],
}

syncline::describe!(Triple as "test.triple" { words: [u64; 3] });

/// Items declared together.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Numbers(u32),
    Triples(u32),
    Bytes(u32),
}

/// What is to be set: which item, and what its value is made from.
type Set = (u64, u64);

#[derive(Clone, Debug)]
enum Step {
    Set(Set),
    /// Sets, whether a message goes with them, and whether it is kept.
    Batch(Vec<Set>, bool, bool),
    /// The same item again and again, so that watches are passed.
    Many(Set),
    Message,
    /// An edge; in lockstep all permits.
    Edge(usize),
    /// In lockstep: one permit.
    Permit(usize),
    /// The owner gives the table up.
    Close,
    /// A writer goes, and another comes in its place.
    Renew(usize),
    /// A writer takes the table, if it is free; declared or not.
    Open(usize, bool),
    /// A reader goes, and another comes.
    RenewReader(usize),
    Look(usize),
    /// A view is kept while something happens: the latest, CURR, PREV.
    Keep(usize, u8, Vec<Step>),
    Watch(prop::sample::Index),
}

fn set() -> impl Strategy<Value = Set> {
    // Often the same item: its versions are what this is about.
    let at = prop_oneof![2 => Just(0), 1 => any::<u64>()];
    (at, 1..1000u64)
}

fn while_kept() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => set().prop_map(Step::Set),
        2 => (prop::collection::vec(set(), 1..6), any::<bool>(), any::<bool>()).prop_map(|(sets, message, keep)| Step::Batch(sets, message, keep)),
        4 => (0..WRITERS).prop_map(Step::Edge),
        1 => (0..WRITERS).prop_map(Step::Permit),
        1 => Just(Step::Close),
        1 => (0..WRITERS).prop_map(Step::Renew),
        2 => (0..WRITERS, any::<bool>()).prop_map(|(writer, declared)| Step::Open(writer, declared)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => while_kept(),
        1 => Just(Step::Message),
        1 => (0..READERS).prop_map(Step::RenewReader),
        6 => (0..READERS).prop_map(Step::Look),
        4 => (0..READERS, 0..3u8, prop::collection::vec(while_kept(), 0..6)).prop_map(|(reader, kind, steps)| Step::Keep(reader, kind, steps)),
        4 => any::<prop::sample::Index>().prop_map(Step::Watch),
        1 => prop_oneof![20 => Just(None), 1 => set().prop_map(Some)].prop_map(|many| many.map_or(Step::Message, Step::Many)),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![(1..4u32).prop_map(Kind::Numbers), (1..3u32).prop_map(Kind::Triples), (1..200u32).prop_map(Kind::Bytes)]
}

/// How often what this is about has happened, in all cases together.
#[derive(Debug, Default)]
struct Count {
    looks: u64,
    eras_looked_at: u64,
    owners: u64,
    kept: u64,
    gone: u64,
    overtaken: u64,
    marks: u64,
    older_owners: u64,
    told: u64,
    told_more: u64,
    lapped: u64,
    messages: u64,
}

/// Would break: any reader or watch that sees anything but what the model says.
#[test]
fn readers_see_what_the_model_says() {
    let count = RefCell::new(Count::default());
    let cases = super::support::times(256, 4096) as u32;
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    // The same runs each time.
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()));
    let strategy = (prop::collection::vec(kind(), 1..4), any::<bool>(), prop::collection::vec(step(), 1..80));
    runner
        .run(&strategy, |(kinds, lockstep, steps)| {
            Stage::new(kinds, lockstep).run(steps, &mut count.borrow_mut());
            Ok(())
        })
        .unwrap();
    let count = count.into_inner();
    println!("{count:?}");
    let Count { looks, eras_looked_at, owners, kept, gone, marks, older_owners, told, messages, .. } = count;
    let often = [looks, eras_looked_at, owners, kept, gone, marks, older_owners, told, messages];
    assert!(often.iter().all(|&count| count > 100), "{often:?}");
}

struct Participant {
    writer: Writer,
    lane: Lane<u64>,
    table: Option<Table>,
    has_owned: bool,
}

struct Stage {
    /// First to go: it holds the others' zone.
    scene: Scene,
    readers: Vec<TableReader>,
    watches: Vec<TableWatch>,
    /// Marks of this run, with what the model calls them.
    marks: Vec<(Seen, Mark)>,
    stream: Reader,
}

/// What happens, without those who look on.
struct Scene {
    zone: Zone,
    writers: Vec<Participant>,
    kinds: Vec<Kind>,
    /// The kind of each item.
    items: Vec<Kind>,
    oracle: Oracle,
    _bus: Bus,
}

impl Scene {
    fn participant(zone: &Zone) -> Participant {
        let mut writer = zone.writer("w").unwrap();
        let lane = writer.channel("s").capacity(1 << 16).open::<u64>().unwrap();
        Participant { writer, lane, table: None, has_owned: false }
    }

    fn value(&self, index: u32, seed: u64) -> Vec<u8> {
        let bytes = |len: usize| seed.to_le_bytes().into_iter().cycle().take(len).collect::<Vec<u8>>();
        match self.items[index as usize] {
            Kind::Numbers(_) => bytes(8),
            Kind::Triples(_) => [seed, !seed, seed << 7].iter().flat_map(|word| word.to_le_bytes()).collect(),
            Kind::Bytes(most) => bytes((seed % u64::from(most + 1)) as usize),
        }
    }

    fn zeros(&self) -> Vec<Vec<u8>> {
        let zeros = |kind: &Kind| match kind {
            Kind::Numbers(_) => vec![0; 8],
            Kind::Triples(_) => vec![0; 24],
            Kind::Bytes(_) => Vec::new(),
        };
        self.items.iter().map(zeros).collect()
    }

    fn open(&mut self, writer: usize, declared: bool) {
        if self.writers.iter().any(|writer| writer.table.is_some()) {
            return;
        }
        let mut builder = self.writers[writer].writer.table("t");
        for (n, kind) in self.kinds.iter().enumerate().filter(|_| declared) {
            let name = format!("k{n}");
            builder = match *kind {
                Kind::Numbers(count) => builder.items::<u64>(&name, count),
                Kind::Triples(count) => builder.items::<Triple>(&name, count),
                Kind::Bytes(most) => builder.bytes(&name, most),
            };
        }
        let table = builder.open().unwrap();
        self.writers[writer].table = Some(table);
        self.writers[writer].has_owned = true;
        self.oracle.open(writer, &self.zeros());
    }

    fn owner(&self) -> Option<usize> {
        self.writers.iter().position(|writer| writer.table.is_some())
    }

    fn sets(&self, sets: &[Set]) -> Vec<(u32, Vec<u8>)> {
        let set = |(at, seed): &Set| {
            let index = (at % self.items.len() as u64) as u32;
            (index, self.value(index, *seed))
        };
        sets.iter().map(set).collect()
    }

    fn set(&mut self, set: &Set) {
        let Some(owner) = self.owner() else { return };
        let sets = self.sets(std::slice::from_ref(set));
        let Participant { writer, table, .. } = &mut self.writers[owner];
        let (index, value) = &sets[0];
        let table = table.unwrap();
        match self.items[*index as usize] {
            Kind::Numbers(_) => {
                let item = writer.item_at::<u64>(table, *index).unwrap();
                let number = u64::from_le_bytes(value[..].try_into().unwrap());
                writer.set(item, &number).unwrap();
            }
            _ => {
                let item = writer.any_item(table, *index).unwrap();
                writer.set_raw(item, value).unwrap();
            }
        }
        self.oracle.commit(owner, &sets, false);
    }

    fn batch(&mut self, sets: &[Set], message: bool, keep: bool) {
        let Some(owner) = self.owner() else { return };
        let sets = self.sets(sets);
        let commit = self.oracle.commits + 1;
        let Participant { writer, table, lane, .. } = &mut self.writers[owner];
        let table = table.unwrap();
        let items: Vec<_> = sets.iter().map(|(index, _)| writer.any_item(table, *index).unwrap()).collect();
        let mut batch = writer.batch().unwrap();
        for (item, (_, value)) in items.iter().zip(&sets) {
            batch.set_raw(*item, value).unwrap();
        }
        if message {
            batch.push(*lane, &commit).unwrap();
        }
        if keep {
            batch.commit().unwrap();
            self.oracle.commit(owner, &sets, message);
        } else {
            batch.roll_back();
        }
        // What the writer itself has.
        let latest = self.oracle.items(self.oracle.latest()).to_vec();
        for (item, (index, _)) in items.iter().zip(&sets) {
            assert_eq!(self.writers[owner].writer.get_bytes(*item).unwrap(), latest[*index as usize].0);
        }
    }

    fn permit(&mut self, writer: usize) {
        if self.oracle.permits[writer].is_some() {
            assert!(matches!(self.writers[writer].writer.permit(), Err(Error::Invalid(_))));
            return;
        }
        assert_eq!(self.writers[writer].writer.permit().unwrap(), self.oracle.generation() + 1);
        self.oracle.permits[writer] = Some(self.oracle.commits);
        if self.oracle.permits.iter().all(Option::is_some) {
            self.oracle.seal();
        }
    }

    fn edge(&mut self, writer: usize) {
        if self.oracle.lockstep {
            let era = self.oracle.generation() + 1;
            for writer in 0..WRITERS {
                if self.oracle.generation() < era && self.oracle.permits[writer].is_none() {
                    self.permit(writer);
                }
            }
            assert_eq!(self.oracle.generation(), era);
        } else {
            self.oracle.seal();
            assert_eq!(self.writers[writer].writer.edge().unwrap(), self.oracle.generation());
        }
        assert_eq!(self.writers[writer].writer.generation().unwrap(), self.oracle.generation());
    }

    fn renew(&mut self, writer: usize) {
        let gone = self.writers.remove(writer);
        let row = gone.writer.row();
        if gone.table.is_some() {
            self.oracle.close();
        }
        if gone.has_owned {
            self.oracle.leave();
        }
        drop(gone);
        // Who leaves is not waited for any more.
        if self.oracle.lockstep {
            self.oracle.permits[writer] = None;
            if self.oracle.permits.iter().filter(|permit| permit.is_some()).count() == WRITERS - 1 {
                self.oracle.seal();
            }
        }
        let participant = Scene::participant(&self.zone);
        assert_eq!(participant.writer.row(), row);
        self.writers.insert(writer, participant);
    }

    /// Does what writers do.
    fn act(&mut self, step: &Step) {
        match step {
            Step::Set(set) => self.set(set),
            Step::Batch(sets, message, keep) => self.batch(sets, *message, *keep),
            Step::Many(set) => (0..2 * LAP).for_each(|_| self.set(set)),
            Step::Message => {
                let (writer, commit) = (0, self.oracle.commits + 1);
                let Participant { writer: publisher, lane, .. } = &mut self.writers[writer];
                publisher.publish(*lane, &commit).unwrap();
                self.oracle.commit(writer, &[], true);
            }
            Step::Edge(writer) => self.edge(*writer),
            Step::Permit(writer) => {
                if self.oracle.lockstep {
                    self.permit(*writer);
                }
            }
            Step::Close => {
                if let Some(owner) = self.owner() {
                    let table = self.writers[owner].table.take().unwrap();
                    self.writers[owner].writer.close_table(table).unwrap();
                    self.oracle.close();
                }
            }
            Step::Renew(writer) => self.renew(*writer),
            Step::Open(writer, declared) => self.open(*writer, *declared),
            Step::RenewReader(_) | Step::Look(_) | Step::Keep(..) | Step::Watch(_) => {}
        }
    }
}

impl Stage {
    fn new(kinds: Vec<Kind>, lockstep: bool) -> Stage {
        let bus = Bus::embedded().unwrap();
        let zone = bus.zone("z");
        let zone = if lockstep { zone.lockstep(Duration::from_secs(3600)) } else { zone };
        zone.create().unwrap();
        let items = kinds.iter().flat_map(|kind| match *kind {
            Kind::Numbers(count) | Kind::Triples(count) => vec![*kind; count as usize],
            Kind::Bytes(_) => vec![*kind],
        });
        let items: Vec<Kind> = items.collect();
        let writers: Vec<_> = (0..WRITERS).map(|_| Scene::participant(&zone)).collect();
        let oracle = Oracle::new(WRITERS, lockstep);
        let mut scene = Scene { zone, writers, kinds, items, oracle, _bus: bus };
        scene.open(0, true);
        let readers: Vec<_> = (0..READERS).map(|_| scene.zone.table("t").unwrap()).collect();
        scene.oracle.known = vec![scene.oracle.reader(); READERS];
        let count = scene.items.len() as u32;
        let half = 0..count.div_ceil(2);
        let mut watches = Vec::new();
        for (synced, range, every) in
            [(false, None, false), (false, Some(half.clone()), true), (true, None, true), (true, Some(half), false)]
        {
            let builder = readers[0].watch("watch");
            let builder = if synced { builder.synced() } else { builder };
            let builder = if every { builder.every(Duration::ZERO) } else { builder };
            let wanted: BTreeSet<u32> = range.clone().unwrap_or(0..count).collect();
            let builder = match range {
                Some(range) => builder.range(range),
                None => builder,
            };
            watches.push(builder.open().unwrap());
            let told = Told { wanted, synced, pending: BTreeSet::new(), era: None, owner: 0, gone: None, commits: 0 };
            scene.oracle.told.push(told);
        }
        let stream = scene.zone.reader("s").channel::<u64>("s").synced().open().unwrap();
        Stage { scene, readers, watches, marks: Vec::new(), stream }
    }

    fn run(mut self, steps: Vec<Step>, count: &mut Count) {
        for step in steps {
            match &step {
                Step::RenewReader(reader) => {
                    self.readers[*reader] = self.scene.zone.table("t").unwrap();
                    self.scene.oracle.known[*reader] = self.scene.oracle.reader();
                }
                Step::Look(reader) => self.look(*reader, count),
                Step::Keep(reader, kind, steps) => self.keep(*reader, *kind, steps, count),
                Step::Watch(watch) => self.watch(watch.index(self.watches.len()), count),
                _ => self.scene.act(&step),
            }
            self.read_stream(count);
        }
        (0..READERS).for_each(|reader| self.look(reader, count));
        (0..self.watches.len()).for_each(|watch| self.watch(watch, count));
        count.owners += self.scene.oracle.owners.len() as u64 - 1;
    }

    /// The messages of each era are those of the commits that the table has at it.
    fn read_stream(&mut self, count: &mut Count) {
        loop {
            match self.stream.try_era() {
                Ok(Some(mut era)) => {
                    let mut found = Vec::new();
                    let number = era.number();
                    while let Some(message) = era.next().unwrap() {
                        found.push(message.copy::<u64>().unwrap());
                    }
                    found.sort_unstable();
                    count.messages += found.len() as u64;
                    assert_eq!(found, self.scene.oracle.messages_of(number), "era {number}");
                }
                Ok(None) => return,
                Err(Error::Closed(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A reader reads all there is, in all ways.
    fn look(&mut self, number: usize, count: &mut Count) {
        count.looks += 1;
        let oracle = &self.scene.oracle;
        let reader = &mut self.readers[number];
        let latest = oracle.latest();
        let expected = oracle.items(latest);
        assert_eq!(reader.writer().unwrap().is_some(), oracle.owner.is_some());
        let items = all_items(reader);
        for (index, (value, _)) in expected.iter().enumerate() {
            assert_eq!(&reader.get_bytes(items[index]).unwrap(), value, "item {index}");
            match self.scene.items[index] {
                Kind::Numbers(_) => {
                    let item = reader.item_at::<u64>(index as u32).unwrap();
                    assert_eq!(reader.get(item).unwrap().to_le_bytes()[..], value[..]);
                }
                Kind::Triples(_) => {
                    let item = reader.item_at::<Triple>(index as u32).unwrap();
                    assert_eq!(bytemuck::bytes_of(&reader.get(item).unwrap()), &value[..]);
                }
                Kind::Bytes(_) => {}
            }
        }
        let read = reader.read(|view| items.iter().map(|&item| view.get_bytes(item)).collect::<Result<Vec<_>, _>>());
        assert_eq!(read.unwrap(), expected.iter().map(|(value, _)| value.clone()).collect::<Vec<_>>());
        let mut marks = Vec::new();
        let view = reader.latest().unwrap();
        check_marks(&view, latest, number, oracle, &self.marks, count);
        marks.push((view.seen(), latest));
        // CURR and PREV, and what is not to be had.
        let generation = oracle.generation();
        for era in generation.saturating_sub(2)..=generation + 1 {
            let found = reader.at(era);
            let Some(mark) = oracle.at(number, era) else {
                assert!(matches!(found, Err(Error::Gone { .. })), "era {era} of {generation}: {found:?}");
                continue;
            };
            count.eras_looked_at += 1;
            let view = found.unwrap();
            assert_eq!(view.era(), Some(era));
            for (index, (value, _)) in oracle.items(mark).iter().enumerate() {
                assert_eq!(&view.get_bytes(items[index]).unwrap(), value, "item {index} at era {era} of {generation}");
                let changed = oracle.changed(number, era, mark, index as u32);
                assert_eq!(view.changed(items[index]).unwrap(), changed, "item {index} in era {era} of {generation}");
            }
            check_marks(&view, mark, number, oracle, &self.marks, count);
            if era == generation {
                let previous = view.previous();
                match oracle.at(number, era - 1) {
                    Some(mark) => {
                        let previous = previous.unwrap();
                        for (index, (value, _)) in oracle.items(mark).iter().enumerate() {
                            assert_eq!(
                                &previous.get_bytes(items[index]).unwrap(),
                                value,
                                "item {index}, PREV of {era}"
                            );
                        }
                    }
                    None => assert!(matches!(previous, Err(Error::Gone { .. })), "{previous:?}"),
                }
            }
            marks.push((view.seen(), mark));
        }
        self.marks.extend(marks);
        while self.marks.len() > MARKS {
            // Some stay for long.
            self.marks.remove(count.looks as usize % MARKS);
        }
    }

    /// A view is kept over what happens.
    fn keep(&mut self, number: usize, kind: u8, steps: &[Step], count: &mut Count) {
        let Stage { scene, readers, .. } = self;
        let generation = scene.oracle.generation();
        let items = all_items(&readers[number]);
        let era = generation.saturating_sub(if kind == 2 { 1 } else { 0 });
        let (view, mark) = match kind {
            0 => (readers[number].latest().unwrap(), scene.oracle.latest()),
            _ => match scene.oracle.at(number, era) {
                Some(mark) => (readers[number].at(era).unwrap(), mark),
                None => return,
            },
        };
        count.kept += 1;
        let expected = scene.oracle.items(mark).to_vec();
        for done in 0..=steps.len() {
            for (index, (value, _)) in expected.iter().enumerate() {
                let found = view.get_bytes(items[index]);
                let is_gone = kind != 0 && scene.oracle.generation() > era + 1;
                match found {
                    Ok(found) => assert!(
                        &found == value && !is_gone,
                        "item {index} after {done} steps: {found:?}, not {value:?}"
                    ),
                    Err(Error::Gone { era: gone, .. }) => {
                        assert!(is_gone && gone == era, "era {gone} is gone after {done} steps");
                        count.gone += 1;
                    }
                    Err(Error::Overtaken) => {
                        let after =
                            scene.oracle.owners[mark.owner].states.iter().filter(|(commit, _)| *commit > mark.commit);
                        let sets = after
                            .filter(|(commit, items)| items[index].1.is_some_and(|(_, set)| set == *commit))
                            .count();
                        // What was written and rolled back counts, too.
                        let rolled_back = steps[..done].iter().any(|step| matches!(step, Step::Batch(_, _, false)));
                        assert!(kind == 0 && (sets > 1 || rolled_back), "overtaken by {sets}");
                        count.overtaken += 1;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            if let Some(step) = steps.get(done) {
                scene.act(step);
            }
        }
    }

    /// A watch is told all that has changed, and nothing else.
    fn watch(&mut self, number: usize, count: &mut Count) {
        count.told += 1;
        count.lapped += u64::from(self.scene.oracle.told[number].commits > LAP);
        let (pending, era, may_be_more) = self.scene.oracle.ask(number, LAP);
        let found = self.watches[number].try_next().unwrap();
        let items = found.as_ref().map(|found| found.items.clone()).unwrap_or_default();
        if may_be_more && items != pending {
            let wanted = &self.scene.oracle.told[number].wanted;
            assert!(pending.iter().all(|index| items.contains(index)), "{items:?}, expected {pending:?}");
            assert!(items.iter().all(|index| wanted.contains(index)));
            count.told_more += 1;
            return;
        }
        assert_eq!(items, pending, "watch {number}");
        assert_ne!(found.as_ref().map(|found| found.items.len()), Some(0));
        if era.is_some() {
            assert_eq!(found.unwrap().era, era);
        }
    }
}

fn all_items(reader: &TableReader) -> Vec<Item<[u8]>> {
    (0..reader.len()).map(|index| reader.any_item(index).unwrap()).collect()
}

fn check_marks(view: &View<'_>, mark: Mark, reader: usize, oracle: &Oracle, marks: &[(Seen, Mark)], count: &mut Count) {
    for &(seen, since) in marks {
        let indices = 0..oracle.items(mark).len() as u32;
        let expected: Vec<u32> = indices.filter(|&index| oracle.changed_since(reader, mark, index, since)).collect();
        assert_eq!(view.changes_since(seen).unwrap(), expected, "{mark:?} since {since:?}");
        count.marks += 1;
        count.older_owners += u64::from(since.owner < mark.owner);
    }
}

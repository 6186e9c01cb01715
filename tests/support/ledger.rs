//! What a synced reader has been given, checked as it comes: eras in order, every writer's batches over the channels `a` and `b` whole
//! and without a gap.

use std::collections::BTreeMap;
use std::time::Duration;
use syncline::{Bus, Closed, Edge, Error, Reader, Result, Start};

/// A message of a writer, which numbers them from 1, the same in both channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub row: u32,
    pub pid: u32,
    pub channel: char,
    pub value: u64,
}

/// An era as a reader found it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub number: u64,
    pub merged: bool,
    pub edge: Option<Edge>,
    pub notes: Vec<Note>,
}

impl Seen {
    /// The values of a writer's row in channel `a`.
    pub fn of(&self, row: u32) -> Vec<u64> {
        self.notes.iter().filter(|note| note.row == row && note.channel == 'a').map(|note| note.value).collect()
    }

    /// What is on record of its edge, which the zone must not have forgotten.
    pub fn record(&self) -> &Edge {
        self.edge.as_ref().expect("the zone has not forgotten the era")
    }
}

/// A synced reader of `a` and `b` in zone `z`, with all that it has been given.
pub struct Observer {
    pub reader: Reader,
    /// The last value of each process, in `a` and in `b`.
    pub last: BTreeMap<u32, [u64; 2]>,
    pub era: u64,
    pub closed: Vec<Closed>,
    /// Writers number their batches from 1: those that this reader has missed the beginning of are taken as they come.
    from_the_beginning: bool,
}

impl Observer {
    /// `from_the_beginning`: it is opened before the writers.
    pub fn open(bus: &Bus, name: &str, from_the_beginning: bool) -> Observer {
        let reader = bus.zone("z").reader(name).channel::<u64>("a").channel::<u64>("b").synced();
        let reader = reader.start(Start::Latest).open().expect("reader");
        Observer { reader, last: BTreeMap::new(), era: 0, closed: Vec::new(), from_the_beginning }
    }

    /// The next era; ends of lanes that come before it are noted. What it holds is not checked.
    pub fn take(&mut self, timeout: Duration) -> Result<Seen> {
        loop {
            let mut era = match self.reader.next_era(timeout) {
                Ok(era) => era,
                Err(Error::Closed(closed)) => {
                    self.closed.push(*closed);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (number, merged, edge) = (era.number(), era.is_merged(), era.edge());
            let mut notes = Vec::new();
            while let Some(message) = era.next()? {
                let (origin, value) = (message.origin(), message.copy()?);
                let channel = origin.channel.chars().next().unwrap_or_default();
                notes.push(Note { row: origin.writer, pid: origin.pid, channel, value });
            }
            drop(era);
            assert!(number > self.era, "era {number} after {}", self.era);
            assert!(merged || number == self.era + 1 || self.era == 0, "era {number} after {}", self.era);
            self.era = number;
            return Ok(Seen { number, merged, edge, notes });
        }
    }

    /// The next era, of which all must be whole.
    pub fn next(&mut self, timeout: Duration) -> Result<Seen> {
        let seen = self.take(timeout)?;
        for note in &seen.notes {
            let last = self.last.entry(note.pid).or_insert_with(|| match self.from_the_beginning {
                true => [0; 2],
                false => [note.value - 1; 2],
            });
            let last = &mut last[usize::from(note.channel == 'b')];
            assert_eq!(note.value, *last + 1, "in channel {} of process {}, era {}", note.channel, note.pid, self.era);
            *last = note.value;
        }
        for (pid, [a, b]) in &self.last {
            assert_eq!(a, b, "era {} has a part of a batch of process {pid}", self.era);
        }
        Ok(seen)
    }

    /// The last batch of a process that was in an era; 0: none.
    pub fn last_of(&self, pid: u32) -> u64 {
        self.last.get(&pid).map_or(0, |last| last[0])
    }
}

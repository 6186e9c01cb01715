//! A broker and puppets: for what must come in a certain order.

use super::support::broker::BrokerProcess;
use super::support::ledger::{Observer, Seen};
use super::support::*;
use syncline::{Bus, Edge, WriterInfo, Zone};

/// A zone `z` with an observer, and puppets in it.
pub struct Theatre {
    pub bus: Bus,
    pub observer: Observer,
    pub broker: BrokerProcess,
    test: &'static str,
    _directory: tempfile::TempDir,
}

/// A puppet, and its row.
pub struct Puppet {
    pub process: Process,
    pub row: u32,
}

impl Puppet {
    pub fn ask(&mut self, line: &str) -> String {
        self.process.ask(line)
    }

    /// Asks for what must come out as a number.
    pub fn number(&mut self, line: &str) -> u64 {
        let said = self.ask(line);
        said.parse().unwrap_or_else(|_| panic!("`{line}`: expected a number, found `{said}`"))
    }

    /// Asks for what must work.
    pub fn must(&mut self, line: &str) {
        assert_eq!(self.ask(line), "ok", "`{line}`");
    }

    /// Publishes in channel `a`.
    pub fn publish(&mut self, value: u64) {
        self.must(&format!("publish a {value}"));
    }
}

impl Theatre {
    pub fn new(test: &'static str, options: impl Fn(Zone) -> Zone) -> Theatre {
        let directory = tempfile::tempdir().expect("directory");
        let (broker, bus) = BrokerProcess::start(&directory.path().join("broker.sock"));
        options(bus.zone("z")).create().expect("create the zone");
        let observer = Observer::open(&bus, "observer", true);
        Theatre { bus, observer, broker, test, _directory: directory }
    }

    pub fn puppet(&self, name: &str) -> Puppet {
        let mut process = Process::start(self.test, name, self.bus.socket(), &[]);
        let row = process.wait_for("ready").parse().expect("a row");
        Puppet { process, row }
    }

    /// The next era.
    pub fn next(&mut self) -> Seen {
        self.observer.take(LONG).expect("an era")
    }

    /// The next eras, up to one.
    pub fn up_to(&mut self, era: u64) -> Vec<Seen> {
        let mut all = Vec::new();
        while self.observer.era < era {
            all.push(self.next());
        }
        all
    }

    /// Waits for an era that was not sealed before this call.
    pub fn next_edge(&mut self) -> Edge {
        let generation = self.observer.reader.generation().expect("generation");
        loop {
            let seen = self.next();
            if seen.number > generation {
                return seen.record().clone();
            }
        }
    }

    /// What the broker says of a writer.
    pub fn listed(&self, row: u32) -> WriterInfo {
        let zones = self.bus.list().expect("list");
        let found = zones[0].writers.iter().find(|writer| writer.row == row);
        found.unwrap_or_else(|| panic!("no writer in row {row}")).clone()
    }
}

//! Edges that compete: three participants commit batches and seal eras as fast as they can, and a synced reader looks whether
//! every era has all of every batch, each once and in order.

mod support;

use std::sync::{Barrier, Mutex};
use support::*;
use syncline::{Bus, Error, Races};

const WRITERS: usize = 3;

#[test]
fn eras_are_whole_while_edges_compete() {
    let commits = times(100_000, 1_000_000);
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("z");
    let mut reader = zone.reader("r").channel::<u64>("a").channel::<u64>("b").synced().open().unwrap();
    let all_open = Barrier::new(WRITERS);
    let total = Mutex::new(Races::default());
    let (mut eras, mut merged) = (0u64, 0u64);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                let mut writer = zone.writer("w").unwrap();
                writer.set_room_timeout(LONG);
                let a = writer.channel("a").open::<u64>().unwrap();
                let b = writer.channel("b").open::<u64>().unwrap();
                // So that none takes the row of one that is done.
                all_open.wait();
                for number in 1..=commits {
                    let mut batch = writer.batch().unwrap();
                    batch.push(a, &number).unwrap();
                    batch.push(b, &number).unwrap();
                    batch.commit().unwrap();
                    let before = writer.generation().unwrap();
                    let era = writer.edge().unwrap();
                    assert!(era > before || era <= writer.generation().unwrap());
                }
                let races = writer.races();
                let mut total = total.lock().unwrap();
                total.passes += races.passes;
                total.cuts_helped += races.cuts_helped;
                total.flips_lost += races.flips_lost;
                total.retries += races.retries;
            });
        }
        // The last number of each writer (by row), in each of the two channels.
        let mut last = [[0u64; 2]; 64];
        let (mut closed, mut era_before) = (0, 0);
        while closed < 2 * WRITERS {
            let mut era = match reader.next_era(LONG) {
                Ok(era) => era,
                Err(Error::Closed(_)) => {
                    closed += 1;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            assert!(era.number() > era_before);
            era_before = era.number();
            eras += 1;
            merged += u64::from(era.is_merged());
            while let Some(message) = era.next().unwrap() {
                let last = &mut last[message.origin().writer as usize][usize::from(message.channel() == "b")];
                let number: u64 = message.copy().unwrap();
                assert_eq!(number, *last + 1, "in era {era_before}");
                *last = number;
            }
            for (row, [a, b]) in last.iter().enumerate() {
                assert_eq!(a, b, "era {era_before} has a part of a batch of row {row}");
            }
        }
        let sum: u64 = last.iter().map(|[a, _]| a).sum();
        assert_eq!(sum, commits * WRITERS as u64, "a commit is in no era");
    });
    let races = *total.lock().unwrap();
    println!("\n{} commits in {eras} eras ({merged} merged); {races:?}", commits * WRITERS as u64);
    assert!(races.cuts_helped > 0, "no edge met another's cuts");
    assert!(races.flips_lost > 0, "no edge lost a flip");
    assert!(races.retries > 0, "no exact edge had to go again");
}

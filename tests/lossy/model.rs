//! One writer and many readers, step by step, against what must be.

use super::{CAPACITY, lossy, payload, whole};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use syncline::{Bus, Error, Reader};

/// Readers that can pin (the first four of a lane), and that copy.
const READERS: usize = 7;
/// The longest message.
const MOST: usize = 200;

#[derive(Clone, Debug)]
enum Step {
    /// So many messages, each a commit of its own.
    Publish(u64),
    /// A batch of so many, rolled back or not.
    Batch(u64, bool),
    /// A reader takes up to so many.
    Take(usize, u64),
    /// A reader takes one and holds it while so many are published.
    Hold(usize, u64),
    /// A reader goes, and another comes.
    Renew(usize),
    Edge,
    /// The synced reader takes what is sealed.
    TakeEras,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..60u64).prop_map(Step::Publish),
        2 => (1..4u64, any::<bool>()).prop_map(|(count, keep)| Step::Batch(count, keep)),
        6 => (0..READERS, 1..40u64).prop_map(|(reader, most)| Step::Take(reader, most)),
        3 => (0..READERS, 1..90u64).prop_map(|(reader, count)| Step::Hold(reader, count)),
        1 => (0..READERS).prop_map(Step::Renew),
        3 => Just(Step::Edge),
        2 => Just(Step::TakeEras),
    ]
}

/// A live reader, and the next message that it is to be handed or told that it has lost.
struct Live {
    reader: Reader,
    next: u64,
    received: u64,
    lost: u64,
}

impl Live {
    fn open(bus: &Bus, published: u64) -> Live {
        let reader = bus.zone("z").reader("live").channel::<[u8]>("a").open().unwrap();
        Live { reader, next: published, received: 0, lost: 0 }
    }

    /// Takes a message, if there is one; the number of those that are lost before it is told first.
    fn take(&mut self, while_held: impl FnOnce()) -> bool {
        loop {
            match self.reader.try_recv() {
                Ok(Some(message)) => {
                    assert_eq!(whole(&message, MOST), self.next, "not the next message");
                    while_held();
                    assert_eq!(whole(&message, MOST), self.next, "another message than the one that was held");
                    assert_eq!(message.sequence(), self.next);
                    self.next += 1;
                    self.received += 1;
                    return true;
                }
                Ok(None) => return false,
                Err(Error::Lagged(lagged)) => {
                    assert!(lagged.count > 0);
                    self.next += lagged.count;
                    self.lost += lagged.count;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// The synced reader: which eras it was handed, and which it was told are lost.
struct Synced {
    reader: Reader,
    era: u64,
    handed_out: u64,
    lost: u64,
}

impl Synced {
    fn take(&mut self, sealed: &[Vec<u64>]) {
        loop {
            match self.reader.try_era() {
                Ok(Some(mut era)) => {
                    let number = era.number();
                    assert!(!era.is_merged() && number == self.era + 1, "era {number} after {}", self.era);
                    let mut found = Vec::new();
                    while let Some(message) = era.next().unwrap() {
                        found.push(whole(&message, MOST));
                    }
                    assert_eq!(found, sealed[self.era as usize], "era {number} is not what was sealed");
                    self.era = number;
                    self.handed_out += 1;
                }
                Ok(None) => break,
                Err(Error::ErasLost { first, last }) => {
                    assert!(first == self.era + 1 && last >= first, "{first} to {last} after {}", self.era);
                    self.lost += last + 1 - first;
                    self.era = last;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(self.era, sealed.len() as u64);
    }
}

/// How often what this is about has happened, in all cases together.
#[derive(Debug, Default)]
struct Seen {
    received: u64,
    lost: u64,
    held_over_laps: u64,
    eras: u64,
    lost_eras: u64,
}

/// Would break: a message that is torn, missing, twice or another; a wrong count of lost ones; a message that is overwritten while it is
/// held; an era that is handed out in part, or lost without a word; a writer that has no room.
#[test]
fn received_and_lost_are_what_was_published() {
    let seen = RefCell::new(Seen::default());
    let mut runner = TestRunner::new(Config { cases: 384, failure_persistence: None, ..Config::default() });
    runner
        .run(&proptest::collection::vec(step(), 1..150), |steps| {
            go_through(steps, &mut seen.borrow_mut());
            Ok(())
        })
        .unwrap();
    let seen = seen.into_inner();
    println!("{seen:?}");
    let Seen { received, lost, held_over_laps, eras, lost_eras } = seen;
    assert!([received, lost, held_over_laps, eras, lost_eras].iter().all(|&count| count > 100), "{seen:?}");
}

fn go_through(steps: Vec<Step>, seen: &mut Seen) {
    let bus = Bus::embedded().unwrap();
    let (mut writer, lane) = lossy(&bus);
    let (mut published, mut sealed, mut open) = (0u64, Vec::new(), Vec::new());
    let mut live: Vec<Live> = (0..READERS).map(|_| Live::open(&bus, 0)).collect();
    let reader = bus.zone("z").reader("synced").channel::<[u8]>("a").synced().open().unwrap();
    let mut synced = Synced { reader, era: 0, handed_out: 0, lost: 0 };
    for step in steps {
        let mut publish = |count: u64| {
            for _ in 0..count {
                writer.publish(lane, &payload(published, MOST)[..]).unwrap();
                open.push(published);
                published += 1;
            }
        };
        match step {
            Step::Publish(count) => publish(count),
            Step::Take(reader, most) => {
                let live = &mut live[reader];
                let _ = (0..most).all(|_| live.take(|| ()));
            }
            Step::Hold(reader, count) => {
                if live[reader].take(|| publish(count)) && count * 100 > CAPACITY {
                    seen.held_over_laps += 1;
                }
            }
            Step::Renew(reader) => {
                live[reader] = Live::open(&bus, published);
            }
            Step::Batch(count, keep) => {
                let mut batch = writer.batch().unwrap();
                let mut numbers = Vec::new();
                for n in published.. {
                    if numbers.len() as u64 == count {
                        break;
                    }
                    match batch.push(lane, &payload(n, MOST)[..]) {
                        Ok(()) => numbers.push(n),
                        Err(Error::TooLarge { limit, .. }) => {
                            assert!(limit >= CAPACITY / 14 && !numbers.is_empty());
                            break;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                if keep {
                    batch.commit().unwrap();
                    published += numbers.len() as u64;
                    open.extend(numbers);
                } else {
                    batch.roll_back();
                }
            }
            Step::Edge => {
                sealed.push(std::mem::take(&mut open));
                assert_eq!(writer.edge().unwrap(), sealed.len() as u64);
            }
            Step::TakeEras => synced.take(&sealed),
        }
    }
    for live in &mut live {
        while live.take(|| ()) {}
        assert_eq!(live.next, published, "messages unaccounted for");
        seen.received += live.received;
        seen.lost += live.lost;
    }
    synced.take(&sealed);
    assert_eq!(synced.handed_out + synced.lost, sealed.len() as u64);
    seen.eras += synced.handed_out;
    seen.lost_eras += synced.lost;
}

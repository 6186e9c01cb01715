//! The past against a simple model: what was sealed in which era, and which eras a reader can have.

use proptest::prelude::*;
use std::time::Duration;
use syncline::{Bus, Error, Reader, Start};

#[derive(Clone, Debug)]
enum Step {
    /// A message of so many bytes, in one of two channels.
    Publish(usize, usize),
    Edge,
    /// A reader takes the next era, if there is one.
    Take,
    /// It goes back (or on) to an era.
    Rewind(u64),
    /// Another joins, at the oldest era or at a given one, and must find the same.
    Join(Option<u64>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize, 1..400usize).prop_map(|(channel, len)| Step::Publish(channel, len)),
        3 => Just(Step::Edge),
        3 => Just(Step::Take),
        1 => (0..40u64).prop_map(Step::Rewind),
        1 => proptest::option::of(1..40u64).prop_map(Step::Join),
    ]
}

/// Would break: a reader that comes when a writer has left in the middle of an era is handed that era without what the writer had published,
/// which others are handed.
#[test]
fn an_era_that_a_writer_has_left_is_whole_or_skipped() {
    for witnesses in 0..2 {
        let bus = Bus::embedded().unwrap();
        let zone = bus.zone("z");
        let [mut stays, mut leaves] = ["stays", "leaves"].map(|name| zone.writer(name).unwrap());
        let lane = leaves.channel("a").open::<[u8]>().unwrap();
        let open = || zone.reader("r").channel::<[u8]>("a").channel::<[u8]>("b").synced().open().unwrap();
        let mut witness = (witnesses > 0).then(open);
        leaves.publish(lane, &b"last"[..]).unwrap();
        drop(leaves);
        let mut reader = open();
        stays.edge().unwrap();
        // As long as somebody reads the lane, it is there for others, too.
        let whole = (1, vec![(0, b"last".to_vec())]);
        match &mut witness {
            Some(witness) => assert_eq!((next(&mut reader), next(witness)), (Some(whole.clone()), Some(whole))),
            None => assert_eq!(next(&mut reader), None),
        }
        stays.edge().unwrap();
        let closed = |reader: &mut Reader| matches!(reader.try_era(), Err(Error::Closed(_)));
        assert!(witness.is_none() || closed(&mut reader), "its end is told");
        assert_eq!(next(&mut reader), Some((2, vec![])));
    }
}

type Message = (usize, Vec<u8>);

fn next(reader: &mut Reader) -> Option<(u64, Vec<Message>)> {
    let mut era = reader.try_era().unwrap()?;
    let mut found = Vec::new();
    while let Some(message) = era.next().unwrap() {
        found.push((usize::from(message.channel() == "b"), message.to_vec().unwrap()));
    }
    Some((era.number(), found))
}

/// What an era has, in the order of eras: by channel, then as published.
fn in_order(mut era: Vec<Message>) -> Vec<Message> {
    era.sort_by_key(|(channel, _)| *channel);
    era
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Would break: an era that is not what was sealed; one that is skipped or comes twice; a "gone" for an era that is whole, or an oldest
    /// one that is not to be had.
    #[test]
    fn every_era_that_is_to_be_had_is_what_was_sealed(steps in proptest::collection::vec(step(), 1..120)) {
        let bus = Bus::embedded().unwrap();
        let zone = bus.zone("z").eras(32);
        let mut writer = zone.writer("w").unwrap();
        let lanes = ["a", "b"].map(|name| writer.channel(name).capacity(4096).open::<[u8]>().unwrap());
        let builder = || zone.reader("r").channel::<[u8]>("a").channel::<[u8]>("b").synced();
        let mut reader = builder().open().unwrap();
        let (mut sealed, mut open, mut at) = (Vec::<Vec<Message>>::new(), Vec::new(), 0u64);
        for step in steps {
            match step {
                Step::Publish(channel, len) => {
                    let bytes = vec![open.len() as u8; len];
                    match writer.publish(lanes[channel], &bytes[..]) {
                        Ok(()) => open.push((channel, bytes)),
                        Err(Error::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                Step::Edge => {
                    sealed.push(in_order(std::mem::take(&mut open)));
                    prop_assert_eq!(writer.edge().unwrap(), sealed.len() as u64);
                }
                Step::Take => match next(&mut reader) {
                    Some((number, found)) if number == at + 1 => {
                        prop_assert_eq!(&found, &sealed[at as usize]);
                        at = number;
                    }
                    // Further behind than the zone remembers: merged.
                    Some((number, _)) => {
                        prop_assert!(number > at + 1 && sealed.len() as u64 - at > 30);
                        at = number;
                    }
                    None => prop_assert_eq!(at, sealed.len() as u64),
                },
                Step::Rewind(era) => match reader.rewind(era) {
                    Ok(()) => {
                        prop_assert!(era >= 1 && era <= sealed.len() as u64 + 1);
                        at = era - 1;
                    }
                    Err(Error::Gone { oldest, generation, .. }) => {
                        prop_assert_eq!(generation, sealed.len() as u64);
                        prop_assert!(era == 0 || era > generation + 1 || oldest.is_none_or(|oldest| era < oldest));
                        if let Some(oldest) = oldest {
                            // It can be had; and then this reader goes back to where it was.
                            reader.rewind(oldest).unwrap();
                            prop_assert_eq!(next(&mut reader), Some((oldest, sealed[oldest as usize - 1].clone())));
                            at = oldest;
                        }
                    }
                    Err(error) => panic!("{error}"),
                },
                Step::Join(start) => {
                    let start = start.map_or(Start::Oldest, Start::Era);
                    let mut other = match builder().start(start).open() {
                        Ok(other) => other,
                        Err(Error::Gone { oldest, .. }) => {
                            let Start::Era(era) = start else { panic!("the oldest is gone") };
                            prop_assert!(era > sealed.len() as u64 + 1 || oldest.is_none_or(|oldest| era < oldest));
                            continue;
                        }
                        Err(error) => panic!("{error}"),
                    };
                    let mut expected = None;
                    while let Some((number, found)) = next(&mut other) {
                        prop_assert_eq!(*expected.get_or_insert(number), number);
                        prop_assert_eq!(&found, &sealed[number as usize - 1]);
                        expected = Some(number + 1);
                    }
                    // Gap or none: it has come to the present.
                    prop_assert!(expected.is_none_or(|next| next == sealed.len() as u64 + 1));
                    if let (Start::Era(era), true) = (start, expected.is_some()) {
                        prop_assert!(era <= sealed.len() as u64);
                    }
                }
            }
        }
        drop(writer);
        let _ = reader.next_era(Duration::from_millis(1));
    }
}

/// How many eras the zone of the next test keeps of writers that are gone.
const KEPT: u64 = 4;

#[derive(Clone, Debug)]
enum Life {
    /// One of three writers comes, or goes if it is there.
    ComeOrGo(usize),
    /// It publishes in one of two channels.
    Publish(usize, usize),
    Edge,
    /// A reader joins, at the oldest era or at one so far back.
    Join(Option<u64>),
    /// One that has been there from the beginning goes so far back.
    Rewind(u64),
}

fn life() -> impl Strategy<Value = Life> {
    prop_oneof![
        2 => (0..3usize).prop_map(Life::ComeOrGo),
        6 => (0..3usize, 0..2usize).prop_map(|(writer, channel)| Life::Publish(writer, channel)),
        4 => Just(Life::Edge),
        2 => proptest::option::of(0..8u64).prop_map(Life::Join),
        1 => (0..8u64).prop_map(Life::Rewind),
    ]
}

/// All eras that are sealed, from the next one; their content must be this.
fn read_on(reader: &mut Reader, sealed: &[Vec<(usize, u32, Vec<u8>)>]) -> Option<u64> {
    let mut first = None;
    loop {
        match reader.try_era() {
            Ok(Some(mut era)) => {
                let number = era.number();
                let mut found = Vec::new();
                while let Some(message) = era.next().unwrap() {
                    let channel = usize::from(message.channel() == "b");
                    found.push((channel, message.origin().writer, message.to_vec().unwrap()));
                }
                assert_eq!(found, sealed[number as usize - 1], "era {number}");
                first.get_or_insert(number);
            }
            Ok(None) => return first,
            Err(Error::Closed(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A writer with a lane on each of the two channels.
type TwoLanes = (syncline::Writer, [syncline::Lane<[u8]>; 2]);

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Would break: an era that is not to be had though its writers went no longer ago than the zone keeps them; one that is handed out
    /// without what a writer that is gone had in it, with it twice, or in another order.
    #[test]
    fn eras_outlive_their_writers(lives in proptest::collection::vec(life(), 1..100)) {
        let bus = Bus::embedded().unwrap();
        let zone = bus.zone("z").eras(64).keep_eras(KEPT as u32);
        let mut sealer = zone.writer("sealer").unwrap();
        let builder = || zone.reader("r").channel::<[u8]>("a").channel::<[u8]>("b").synced();
        let mut witness = builder().open().unwrap();
        let mut writers: [Option<TwoLanes>; 3] = Default::default();
        let (mut sealed, mut open, mut count) = (Vec::new(), Vec::new(), 0u32);
        for life in lives {
            let generation = sealed.len() as u64;
            // Writers that went are kept for so many eras after the last that has something of them.
            let must_be = |era: u64| era >= 1 && era <= generation && generation - era < KEPT;
            match life {
                Life::ComeOrGo(slot) => {
                    writers[slot] = match writers[slot].take() {
                        Some(_) => None,
                        None => {
                            let mut writer = zone.writer("comes and goes").unwrap();
                            let lanes = ["a", "b"].map(|name| writer.channel(name).capacity(65_536).open::<[u8]>().unwrap());
                            Some((writer, lanes))
                        }
                    }
                }
                Life::Publish(slot, channel) => {
                    if let Some((writer, lanes)) = &mut writers[slot] {
                        count += 1;
                        let bytes = count.to_le_bytes().to_vec();
                        writer.publish(lanes[channel], &bytes[..]).unwrap();
                        open.push((channel, writer.row(), bytes));
                    }
                }
                Life::Edge => {
                    let mut era = std::mem::take(&mut open);
                    era.sort_by_key(|(channel, row, _)| (*channel, *row));
                    sealed.push(era);
                    prop_assert_eq!(sealer.edge().unwrap(), sealed.len() as u64);
                    read_on(&mut witness, &sealed);
                }
                Life::Join(back) => {
                    let start = back.map_or(Start::Oldest, |back| Start::Era(generation.saturating_sub(back).max(1)));
                    match (builder().start(start).open(), start) {
                        (Ok(mut reader), Start::Era(era)) => {
                            let first = read_on(&mut reader, &sealed);
                            prop_assert_eq!(first, (era <= generation).then_some(era));
                        }
                        (Ok(mut reader), _) => {
                            let first = read_on(&mut reader, &sealed);
                            let oldest = (1..=generation).find(|&era| must_be(era));
                            prop_assert!(oldest.is_none_or(|oldest| first.is_some_and(|first| first <= oldest)), "{first:?}");
                        }
                        (Err(Error::Gone { era, oldest, .. }), _) => {
                            prop_assert!(!must_be(era), "era {era} of {generation} is gone, the oldest is {oldest:?}");
                            if let Some(oldest) = oldest {
                                let mut reader = builder().start(Start::Era(oldest)).open().unwrap();
                                prop_assert_eq!(read_on(&mut reader, &sealed), Some(oldest));
                            }
                        }
                        (Err(error), _) => panic!("{error}"),
                    }
                }
                Life::Rewind(back) => {
                    let era = generation.saturating_sub(back).max(1);
                    match witness.rewind(era) {
                        Ok(()) => prop_assert_eq!(read_on(&mut witness, &sealed), (era <= generation).then_some(era)),
                        Err(Error::Gone { oldest, .. }) => {
                            prop_assert!(!must_be(era), "era {era} of {generation} is gone, the oldest is {oldest:?}");
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        }
    }
}

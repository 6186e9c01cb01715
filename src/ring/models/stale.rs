//! Helpers that stop for laps of the generation ring and then go on.

use super::{Cut, ERAS, Segments, Writer, check, sequencer};
use crate::ring::order::{COMMIT, CUT_DECIDE, FLIP};
use loom::thread;
use std::rc::Rc;

/// Commits and seals until the generation ring has come round, so that slots are used for another era, then checks that all that it
/// has seen decided still is, when `stale` has come to its end.
fn survives(stale: impl FnOnce(&Segments) + Send + 'static, segments: Rc<Segments>) {
    let shared = segments.clone();
    let stale = thread::spawn(move || stale(&shared));
    let shared = segments.clone();
    let others = thread::spawn(move || {
        let mut cuts = Vec::new();
        for version in 1..=u64::from(ERAS) + 1 {
            shared.rows[0].version.store(version, COMMIT.get());
            let era = shared.edge();
            cuts.push((era, shared.cut(era, 0)));
        }
        cuts
    });
    let cuts = others.join().unwrap();
    stale.join().unwrap();
    let after = thread::spawn(move || {
        for (era, before) in cuts {
            if let Some(now) = segments.cut(era, 0) {
                assert_eq!(before, Some(now), "the cut of era {era} has changed");
            }
        }
        // And the eras go on.
        let era = segments.edge();
        assert_eq!(segments.cut(era, 0), Some(u64::from(ERAS) + 1));
    });
    after.join().unwrap();
}

/// A helper that stops anywhere in its edge for a lap or less.
///
/// Would break: a cut or a row count of a later era, decided and maybe read, that the helper overwrites with its own (the second look
/// at `generation`; and that look must not be done before the word was loaded).
#[test]
fn a_stale_helper_overwrites_nothing() {
    check(2, || {
        let segments = Segments::new(1, 0, 64);
        survives(
            |segments| {
                segments.seal();
            },
            segments,
        );
    });
}

/// A writer that stops in the same way while it decides its own cut before a commit.
#[test]
fn a_stale_writer_overwrites_nothing() {
    check(2, || {
        let segments = Segments::new(1, 0, 64);
        survives(
            |segments| {
                let mut settled = 0;
                let zone = segments.zone();
                sequencer::settle(zone.header, || zone, 0, 0, &mut settled);
            },
            segments,
        );
    });
}

/// A writer that commits through whatever era is closing, against an edge that goes round the ring.
///
/// Would break: a row whose cut goes back, or is past what it has committed.
#[test]
fn a_writer_settles_whatever_era_is_closing() {
    check(2, || {
        let segments = Segments::new(1, 1, 128);
        let shared = segments.clone();
        let writer = thread::spawn(move || {
            let mut writer = Writer::new(&shared, 0, &[0]);
            writer.publish(0, 8);
            writer.publish(0, 9);
        });
        let edges = thread::spawn(move || {
            let mut last = 0;
            for _ in 0..3 {
                let era = segments.seal();
                let cut = segments.cut(era, 0).unwrap();
                assert!((last..=2).contains(&cut));
                last = cut;
            }
        });
        writer.join().unwrap();
        edges.join().unwrap();
    });
}

/// A reader that stops while it asks for a cut, until the slot is of an era with the same lap, all laps later.
///
/// Would break: that era's cut taken for the one asked for (the second look at `generation` comes after the words were loaded).
#[test]
fn a_stale_reader_takes_no_other_cut() {
    check(3, || {
        let segments = Segments::new(1, 0, 64);
        segments.rows[0].version.store(1, COMMIT.get());
        assert_eq!(segments.seal(), 1);
        let shared = segments.clone();
        let others = thread::spawn(move || {
            // Era 17 has the slot and the lap of era 1. What is between is left out, up to era 13 in the same slot: loom keeps the
            // last seven values of a word.
            let [rows, cut] = [5, 9].map(|word| &shared.slots[word]);
            rows.store(1, CUT_DECIDE.get());
            cut.store(5, CUT_DECIDE.get());
            shared.header.generation.0.store(16, FLIP.get());
            shared.rows[0].version.store(9, COMMIT.get());
            assert_eq!(shared.seal(), 17);
            assert_eq!(shared.cut(17, 0), Some(9));
        });
        let reader = thread::spawn(move || {
            if segments.zone().generation() == 1 {
                let cut = sequencer::cut(segments.zone(), 1, 0);
                assert!([Cut::Version(1), Cut::Gone].contains(&cut), "era 1 ends at {cut:?}");
            }
        });
        others.join().unwrap();
        reader.join().unwrap();
    });
}

//! A writer that stops anywhere in a commit, what the broker does then, and the next owner of its row.

use super::{Next, Reader, Segments, Writer, at_every_stop};
use crate::layout::meeting::OPEN_END;
use crate::ring::recovery::{finish, set_end};
use loom::thread;

/// What a writer was about to commit when it stopped.
#[derive(Clone, Copy)]
enum Commit {
    Single,
    OneLane,
    TwoLanes,
}

impl Commit {
    fn make(self, writer: &mut Writer<'_>, value: u64) {
        match self {
            Commit::Single => drop(writer.publish(0, value)),
            Commit::OneLane => {
                writer.push(0, value, 1);
                writer.push(0, value, 1);
                writer.commit();
            }
            Commit::TwoLanes => {
                writer.push(0, value, 1);
                writer.push(1, value, 1);
                writer.commit();
            }
        }
    }

    /// How many messages of a commit each lane has.
    fn shape(self) -> [usize; 2] {
        match self {
            Commit::Single => [1, 0],
            Commit::OneLane => [2, 0],
            Commit::TwoLanes => [1, 1],
        }
    }
}

/// A row's owner that stops anywhere in its commit, with lanes 0 and 1; then the broker, which has seen it die; then the row's
/// next owner, if there is one, with lanes 2 and 3, that commits over both.
fn owners(segments: &Segments, commit: Commit, stop: &super::Stop, next: bool) {
    let mut writer = Writer::new(segments, 0, &[0, 1]);
    stop.run(|| commit.make(&mut writer, 8));
    let finished = finish(&segments.rows[0], &[0, 1].map(|lane| (segments.lane(lane), 64)), u64::MAX);
    for (lane, &end) in finished.ends.iter().enumerate() {
        set_end(&segments.entries[lane], end);
    }
    if next {
        Commit::TwoLanes.make(&mut Writer::new(segments, 0, &[2, 3]), 9);
    }
}

/// Takes what there is, the second lane first (of a batch over both it is shown last): how many messages of each lane, and the
/// highest version.
fn take(lanes: &mut [Reader<'_>; 2], mut next: impl FnMut(&mut Reader<'_>) -> Next) -> ([usize; 2], u64) {
    let (mut counts, mut highest) = ([0, 0], 0);
    for lane in [1, 0] {
        while let Next::Message { value, version } = next(&mut lanes[lane]) {
            assert_eq!(value, 8, "a message of nobody");
            highest = highest.max(version);
            counts[lane] += 1;
        }
    }
    (counts, highest)
}

fn readers(segments: &Segments) -> [Reader<'_>; 2] {
    [0, 1].map(|lane| Reader::new(segments, lane, 0))
}

/// All or nothing of the commit, whoever looks and when.
fn whole(commit: Commit, counts: [usize; 2]) -> bool {
    counts == [0, 0] || counts == commit.shape()
}

/// The owners against a live reader; in the end an edge, and a synced reader.
///
/// Would break: a part of a commit; a buried message that appears when the row goes on counting; a message that a live reader was given and
/// no era has; a lane that does not come to its end.
fn live_story(commit: Commit, next: bool) {
    at_every_stop(2, move |stop| {
        let segments = Segments::new(1, 4, 64);
        let (shared, stop) = (segments.clone(), stop.clone());
        let owners = thread::spawn(move || owners(&shared, commit, &stop, next));
        let shared = segments.clone();
        let live = thread::spawn(move || {
            let mut lanes = readers(&shared);
            let (counts, given) = take(&mut lanes, |lane| lane.live());
            // The first lane's alone can have come after our look at the second.
            assert!(whole(commit, counts) || (commit.shape()[1] == 1 && counts == [1, 0]), "a part: {counts:?}");
            (counts, given, lanes.map(|lane| lane.place))
        });
        owners.join().unwrap();
        let (counts, given, places) = live.join().unwrap();
        let after = thread::spawn(move || {
            let mut lanes = readers(&segments);
            for (lane, place) in lanes.iter_mut().zip(places) {
                lane.place = place;
            }
            let (more, given_later) = take(&mut lanes, |lane| lane.live());
            let total = [0, 1].map(|lane| counts[lane] + more[lane]);
            assert!(whole(commit, total), "a part of a commit: {total:?}");
            assert_eq!(lanes.map(|mut lane| lane.live()), [Next::Closed, Next::Closed]);

            let era = segments.edge();
            let cut = segments.cut(era, 0).unwrap();
            assert!(given.max(given_later) <= cut, "a message that was given is in no era");
            let (sealed, _) = take(&mut readers(&segments), |lane| lane.synced(cut));
            assert_eq!(sealed, total, "live and synced readers were given different messages");
        });
        after.join().unwrap();
    });
}

#[test]
fn a_single_message_is_finished_or_never_was() {
    live_story(Commit::Single, false);
    live_story(Commit::Single, true);
}

#[test]
fn a_batch_of_one_lane_is_finished_or_never_was() {
    live_story(Commit::OneLane, false);
    live_story(Commit::OneLane, true);
}

#[test]
fn a_batch_of_two_lanes_is_buried_for_good() {
    live_story(Commit::TwoLanes, false);
    live_story(Commit::TwoLanes, true);
}

/// The owners against edges and a synced reader of the dead one's lanes.
fn synced_story(commit: Commit) {
    at_every_stop(2, move |stop| {
        let segments = Segments::new(1, 4, 64);
        let (shared, stop) = (segments.clone(), stop.clone());
        let owners = thread::spawn(move || owners(&shared, commit, &stop, true));
        let synced = thread::spawn(move || {
            let mut lanes = readers(&segments);
            let era = segments.seal();
            let cut = segments.cut(era, 0).unwrap();
            let (counts, _) = take(&mut lanes, |lane| lane.synced(cut));
            assert!(whole(commit, counts), "a part of a commit in era {era}: {counts:?}");
            // Whoever sees the end of a lane sees all before it.
            for mut lane in lanes {
                let end = lane.end();
                while end != OPEN_END && lane.place.position < end {
                    assert!(matches!(lane.synced(u64::MAX), Next::Message { .. }), "nothing before the end");
                }
            }
        });
        owners.join().unwrap();
        synced.join().unwrap();
    });
}

#[test]
fn an_era_has_all_of_a_stopped_single_message_or_nothing() {
    synced_story(Commit::Single);
}

#[test]
fn an_era_has_all_of_a_stopped_batch_of_one_lane_or_nothing() {
    synced_story(Commit::OneLane);
}

#[test]
fn an_era_has_all_of_a_stopped_batch_of_two_lanes_or_nothing() {
    synced_story(Commit::TwoLanes);
}

//! What a lane has seen, counted by somebody who takes no part in it.
//!
//! **Promise.** Of a sound writer, both ends are exact: each is where the lane began or ended at some moment during the call, and with nobody
//! publishing they are of the same one. Whatever a hostile writer has put there, counting ends, and says that something is wrong.
//!
//! Messages cost their writer no counter: a page's mark has the sequence number of its first frame, and from the last mark on there is less than
//! a page to walk. Nothing keeps what is walked. If the writer overwrites it meanwhile, its floor has passed the mark that the walk began at
//! ([`super::hold`]); then it is begun anew.

use super::floor::MAX_POSITION;
use super::hold::{is_passed, still_there};
use super::lane::{Peek, Reader, starts};
use super::order::RELAXED;
use super::view::Lane;

/// How often a writer may overtake the count.
const TRIES: u32 = 8;

/// What is in a lane. The places are where the oldest frame is that is kept, and where the next one goes; their sequence numbers count messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Where what is kept begins.
    pub begin: Reader,
    /// Where the lane ends.
    pub end: Reader,
    /// What no sound writer makes, if there is any: the counts are up to there.
    pub damage: Option<&'static str>,
}

/// Counts a lane. `end`: where it ends, if its writer is gone; `committed`: whether its row has come to this version. `None`: the writer moves on
/// faster than this can look.
pub fn count(lane: Lane<'_>, max_payload: u64, end: u64, committed: impl Fn(u64) -> bool) -> Option<Counted> {
    (0..TRIES).find_map(|_| look(lane, max_payload, end, &committed))
}

fn look(lane: Lane<'_>, max_payload: u64, end: u64, committed: impl Fn(u64) -> bool) -> Option<Counted> {
    let broken = |damage| Some(Counted { damage: Some(damage), ..Counted::default() });
    let floor = lane.header.floor.0.load(RELAXED.get());
    if floor > MAX_POSITION || !floor.is_multiple_of(8) {
        return broken("no position in its floor");
    }
    // The fence takes the marks up to the floor that was loaded.
    if !still_there(|| is_passed(lane, floor)) {
        return None;
    }
    let marks = starts(lane, floor).map(|start| start.reader);
    let start = marks.take_while(|place| place.position <= end).last().or_else(|| first_at(lane, floor));
    let (reached, damage) = match start {
        Some(start) => walk(lane, start, max_payload, end, committed),
        None => (Reader { position: floor, sequence: 0 }, Some("no page mark at its floor")),
    };
    if !still_there(|| is_passed(lane, start.map_or(floor, |start| start.position))) {
        return None;
    }
    // The floor has moved meanwhile, perhaps: what is kept now.
    let floor = lane.header.floor.0.load(RELAXED.get());
    if floor > reached.position || !still_there(|| is_passed(lane, floor)) {
        return None;
    }
    let begin = first_at(lane, floor);
    if !still_there(|| is_passed(lane, floor)) {
        return None;
    }
    let damage = damage.or(match begin {
        None => Some("no page mark at its floor"),
        Some(_) if reached.position - floor > lane.ring.capacity() => Some("more than the ring holds"),
        Some(_) => None,
    });
    Some(Counted { begin: begin.unwrap_or(reached), end: reached, damage })
}

/// The first frame, at the floor.
fn first_at(lane: Lane<'_>, floor: u64) -> Option<Reader> {
    if floor == 0 {
        return Some(Reader::default());
    }
    starts(lane, floor).next().map(|start| start.reader).filter(|reader| reader.position == floor)
}

/// Goes on from a mark to the end, or to what is wrong.
fn walk(
    lane: Lane<'_>,
    from: Reader,
    max_payload: u64,
    end: u64,
    committed: impl Fn(u64) -> bool,
) -> (Reader, Option<&'static str>) {
    let mut reader = from;
    // A sound writer gets no further while the mark is there.
    let most = from.position + lane.ring.capacity();
    // Each step is at least a head.
    while reader.position < end {
        let before = reader;
        match reader.peek(lane, max_payload) {
            Peek::Frame(frame) if frame.joint && !committed(frame.version) => break,
            Peek::Frame(frame) => reader.pass(&frame),
            Peek::Skip(position) => reader.go_on_at(position),
            Peek::Empty => break,
            Peek::Corrupt(what) => return (reader, Some(what)),
        }
        if reader.position > most {
            return (before, Some("more than the ring holds"));
        }
    }
    (reader, None)
}

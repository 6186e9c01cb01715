//! What is done for a writer that has gone: its last commit is finished or buried, and its lanes get an end.
//!
//! At most one commit was in flight, with the version after the row's. If a frame of it is shown and is not joint, readers have
//! it already: it is finished, that is, the row's version is completed over it. If it is joint, no reader has it, and some of its heads may
//! be missing: it is buried, that is, the lane ends before it. The ends have to reach every reader's entry before the row is
//! used again, since the next owner's first commit would have the buried version.

use super::lane::{Peek, Reader, starts};
use super::order::{COMMIT_SEE, COMPLETE, END_SEE, END_SET, RELAXED};
use super::view::Lane;
use crate::layout::meeting::Entry;
use crate::layout::zone::Row;

/// How a dead writer's last commit ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// For each lane, in the order given: the position after its last valid frame.
    pub ends: Vec<u64>,
    /// A commit was shown and not stored: completed.
    pub completed: bool,
    /// A commit over several lanes was shown in part: buried.
    pub buried: bool,
}

/// Finishes or buries the last commit of a writer that runs no more. `lanes`: all its lanes, with their message limits. `most`: the last
/// version that stays, `u64::MAX` where all that was committed does; in a revocable zone, what it had not permitted goes.
pub fn finish(row: &Row, lanes: &[(Lane<'_>, u64)], most: u64) -> Finished {
    let version = row.version.load(COMMIT_SEE.get());
    let mut finished = Finished::default();
    let mut last = version;
    for &(lane, max_payload) in lanes {
        let mut reader = last_start(lane, most);
        let limit = reader.position + lane.ring.capacity();
        loop {
            let frame = match reader.peek(lane, max_payload) {
                Peek::Frame(frame) => frame,
                Peek::Skip(position) if position <= limit => {
                    reader.go_on_at(position);
                    continue;
                }
                _ => break,
            };
            if frame.joint && frame.version > version {
                finished.buried = true;
                break;
            }
            if frame.next > limit || frame.version > most {
                break;
            }
            // One commit at most was in flight: a version further on is no sound writer's.
            if frame.version == version + 1 {
                last = frame.version;
            }
            reader.pass(&frame);
        }
        finished.ends.push(reader.position);
    }
    if last > version {
        finished.completed = true;
        row.version.fetch_max(last, COMPLETE.get());
    }
    finished
}

/// The last marked place of a lane whose writer runs no more, before which there is nothing after the commit `most`.
fn last_start(lane: Lane<'_>, most: u64) -> Reader {
    // Relaxed: the writer's death, which was proven, comes after all it did.
    let floor = lane.header.floor.0.load(RELAXED.get()).min(1 << 62) / 8 * 8;
    let stays = starts(lane, floor).take_while(|start| start.after <= most);
    stays.last().map_or(Reader { position: floor, sequence: 0 }, |start| start.reader)
}

/// Tells a reader where its lane ends. Before the row is used again.
pub fn set_end(entry: &Entry, end: u64) {
    entry.end.store(end, END_SET.get());
}

/// Where the lane of this entry ends; `u64::MAX` while its writer is there.
#[inline(always)]
pub fn end(entry: &Entry) -> u64 {
    entry.end.load(END_SEE.get())
}

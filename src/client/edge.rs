//! What is on record of an edge.

use crate::layout::zone::Reason;
use crate::ring::sequencer;
use crate::ring::view::Zone;
use std::time::Duration;

/// What is on record of a sealed era: decided once, the same for everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The era that the edge sealed.
    pub era: u64,
    /// Why it passed.
    pub reason: Reason,
    /// When, on the monotonic clock (`CLOCK_MONOTONIC`, in whole microseconds).
    pub time: Duration,
    /// The tag that it carried.
    pub tag: Option<u64>,
    /// Rows of the writers that had a batch open, which is in a later era; in lockstep, of those that were late.
    pub straddlers: Vec<u32>,
}

impl Edge {
    /// Of an era that the zone remembers.
    pub(crate) fn of(zone: Zone<'_>, era: u64) -> Option<Edge> {
        let record = if era > 0 { sequencer::record(zone, era)? } else { return None };
        let mut straddlers = Vec::new();
        for row in 0..record.rows {
            if sequencer::straddled(zone, era, row as usize)? {
                straddlers.push(row);
            }
        }
        let time = Duration::from_micros(record.time_us);
        Some(Edge { era, reason: record.reason, time, tag: record.tag, straddlers })
    }
}

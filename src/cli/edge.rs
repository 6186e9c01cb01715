//! An edge as `sub` tells of it: with the messages of its era, or among live ones.

use super::phrase;
use crate::client::{Edge, Message};
use serde::Serialize;

/// The record of the last era that messages were printed of, so that it is not looked up for each.
#[derive(Default)]
pub(super) struct Known {
    zone: String,
    era: Option<u64>,
    edge: Option<Edge>,
}

impl Known {
    /// The era that a message is in, and what is on record of it.
    pub(super) fn of(&mut self, zone: &str, message: &Message<'_>) -> (Option<u64>, Option<&Edge>) {
        let era = message.era();
        if era.is_none() {
            return (None, None);
        }
        if self.era != era || self.zone != zone {
            (self.zone, self.era, self.edge) = (zone.to_owned(), era, message.edge());
        }
        (era, self.edge.as_ref())
    }
}

/// An edge among live messages, as a JSON object.
#[derive(Serialize)]
pub(super) struct Marker<'a> {
    zone: &'a str,
    edge: Recorded<'a>,
}

#[derive(Serialize)]
struct Recorded<'a> {
    era: u64,
    reason: &'static str,
    /// Of the monotonic clock.
    time_us: u64,
    tag: Option<u64>,
    /// Rows: the numbers that messages call `writer`.
    straddlers: &'a [u32],
}

impl<'a> Marker<'a> {
    pub(super) fn new(zone: &'a str, edge: &'a Edge) -> Self {
        let Edge { era, reason, time, tag, straddlers } = edge;
        let time_us = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Marker { zone, edge: Recorded { era: *era, reason: reason.name(), time_us, tag: *tag, straddlers } }
    }

    /// The same for people.
    pub(super) fn line(&self) -> String {
        let Recorded { era, reason, tag, straddlers, .. } = &self.edge;
        let rows: Vec<_> = straddlers.iter().map(|row| format!("writer {row}")).collect();
        format!("-- era {era}: {} --", phrase::edge(reason, *tag, &rows))
    }
}

//! What there is, zone by zone: for tools.

use super::ask::{Delivery, Policy};
use super::codec::{Wire, record};
use super::types::TypeDesc;
use crate::layout::zone::Geometry;
use std::mem::{replace, take};

record! {
    /// A zone and all that is in it.
    pub struct ZoneInfo {
        /// Its name.
        pub name: String,
        /// Its number.
        pub zone: u64,
        /// Its shape.
        pub geometry: Geometry,
        /// Its edges and its past.
        pub policy: Policy,
        /// It stays when nobody is in it.
        pub created: bool,
        /// It is halted.
        pub halted: bool,
        /// Its last sealed era; 0: none yet.
        pub generation: u64,
        /// What is on record of the last sealed era.
        pub last_edge: Option<EdgeInfo>,
        /// Bytes of all its segments.
        pub bytes: u64,
        /// Reader entries in use.
        pub entries: u32,
        /// Its channels, by index.
        pub channels: Vec<ChannelInfo>,
        /// Its writers, by row.
        pub writers: Vec<WriterInfo>,
        /// Its lanes, by number. Those that ended stay until their readers have drained them.
        pub lanes: Vec<LaneUse>,
        /// Its readers, by number.
        pub readers: Vec<ReaderInfo>,
    }
}

record! {
    /// What is on record of a sealed era.
    pub struct EdgeInfo {
        /// Its number.
        pub era: u64,
        /// Why its edge passed: a [`Reason`](crate::Reason).
        pub reason: u8,
        /// When, in microseconds of the monotonic clock.
        pub time_us: u64,
        /// The edge's tag.
        pub tag: Option<u64>,
        /// Rows that had a batch open, or, in lockstep, were late.
        pub straddlers: Vec<u32>,
    }
}

record! {
    /// A channel.
    pub struct ChannelInfo {
        /// Its index in the zone.
        pub index: u32,
        /// Its name.
        pub name: String,
        /// What it carries; `None` while nobody has said.
        pub ty: Option<TypeDesc>,
        /// What its writers do when a reader is behind; `None` while it has had none.
        pub delivery: Option<Delivery>,
        /// How many readers subscribe to it.
        pub readers: u32,
    }
}

record! {
    /// A writer.
    pub struct WriterInfo {
        /// Its row.
        pub row: u32,
        /// Its number.
        pub serial: u64,
        /// Its name.
        pub name: String,
        /// Its process.
        pub pid: u32,
        /// Its user.
        pub uid: u32,
        /// Commits of its row so far, those of earlier owners included.
        pub version: u64,
        /// It has a batch open.
        pub open_batch: bool,
        /// Over how many edges it has had one open (in lockstep: was late), as far as the zone remembers.
        pub straddles: u32,
        /// Lockstep: it has given its permit for the open era.
        pub permits: bool,
    }
}

record! {
    /// A lane.
    pub struct LaneUse {
        /// Its number.
        pub lane: u64,
        /// Its channel's index.
        pub channel: u32,
        /// Its writer's row.
        pub row: u32,
        /// Its writer's number.
        pub serial: u64,
        /// Bytes of its ring.
        pub capacity: u64,
        /// Its largest payload in bytes.
        pub max_payload: u64,
        /// How many readers have it.
        pub readers: u32,
        /// How many of them can read in place though the writer passes them, at most.
        pub pins: u32,
        /// Its writer is gone.
        pub ended: bool,
        /// Its writer is gone, and new readers still get it.
        pub kept: bool,
    }
}

record! {
    /// A reader.
    pub struct ReaderInfo {
        /// Its number.
        pub reader: u64,
        /// Its name.
        pub name: String,
        /// Its process.
        pub pid: u32,
        /// Its user.
        pub uid: u32,
        /// Whether it takes whole eras.
        pub synced: bool,
        /// Indices of the channels that it subscribes to.
        pub channels: Vec<u32>,
        /// How many lanes it has.
        pub lanes: u32,
        /// From how many lanes it was evicted.
        pub evicted: u32,
        /// The last era that it has done with; `None`: it takes no eras.
        pub taken: Option<u64>,
    }
}

impl ZoneInfo {
    /// Joins a part that came in a packet of its own.
    pub fn append(&mut self, part: ZoneInfo) {
        self.channels.extend(part.channels);
        self.writers.extend(part.writers);
        self.lanes.extend(part.lanes);
        self.readers.extend(part.readers);
    }

    /// The channel of this index.
    pub fn channel(&self, index: u32) -> Option<&ChannelInfo> {
        self.channels.iter().find(|channel| channel.index == index)
    }

    /// Cuts the zone into parts of at most `limit` encoded bytes each, if every single item is that small.
    pub fn split(self, limit: usize) -> Vec<ZoneInfo> {
        let mut frame = self;
        let channels = take(&mut frame.channels);
        let writers = take(&mut frame.writers);
        let lanes = take(&mut frame.lanes);
        let readers = take(&mut frame.readers);
        let mut parts = Parts { limit, used: encoded_len(&frame), done: Vec::new(), now: frame.clone(), frame };
        for channel in channels {
            parts.room_for(&channel).channels.push(channel);
        }
        for writer in writers {
            parts.room_for(&writer).writers.push(writer);
        }
        for lane in lanes {
            parts.room_for(&lane).lanes.push(lane);
        }
        for reader in readers {
            parts.room_for(&reader).readers.push(reader);
        }
        parts.done.push(parts.now);
        parts.done
    }
}

/// A zone that is being cut.
struct Parts {
    limit: usize,
    /// A part without items.
    frame: ZoneInfo,
    /// The part being filled.
    now: ZoneInfo,
    /// Its encoded bytes.
    used: usize,
    done: Vec<ZoneInfo>,
}

impl Parts {
    /// The part that `item` goes into.
    fn room_for(&mut self, item: &impl Wire) -> &mut ZoneInfo {
        let len = encoded_len(item);
        let empty = encoded_len(&self.frame);
        if self.used + len > self.limit && self.used > empty {
            self.done.push(replace(&mut self.now, self.frame.clone()));
            self.used = empty;
        }
        self.used += len;
        &mut self.now
    }
}

fn encoded_len(value: &impl Wire) -> usize {
    let mut bytes = Vec::new();
    value.put(&mut bytes);
    bytes.len()
}

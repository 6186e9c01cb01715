//! What there is, for tools.

use super::registry::{LaneState, Owner, Registry, Zone};
use super::segments::ZoneSegments;
use super::session::Post;
use crate::layout::lane::segment_size;
use crate::os::clock::monotonic_us;
use crate::os::socket::MAX_PACKET;
use crate::wire::{ChannelInfo, LaneUse, ReaderInfo, Tell, WriterInfo, ZoneInfo};

/// What a listing packet needs besides the zone.
const FRAME: usize = 64;

impl Registry {
    pub(super) fn list(&self, owner: Owner, id: u32, post: &mut dyn Post) {
        let parts = self.zones.values().flat_map(|zone| self.describe(zone).split(MAX_PACKET - FRAME));
        // One behind, so that the last is known to be it.
        let mut before = None;
        for part in parts {
            if let Some(zone) = before.replace(part) {
                post.answer(owner.client, id, Tell::Listing { zone: Some(zone), last: false }, Vec::new());
            }
        }
        post.answer(owner.client, id, Tell::Listing { zone: before, last: true }, Vec::new());
    }

    fn describe(&self, zone: &Zone) -> ZoneInfo {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let lanes: Vec<_> = zone.lanes.iter().filter_map(|number| Some((*number, self.lanes.get(number)?))).collect();
        let lane_bytes: u64 = lanes.iter().map(|(_, lane)| segment_size(lane.capacity)).sum();
        let channels = zone.channels.iter().map(|(index, channel)| ChannelInfo {
            index,
            name: channel.name.clone(),
            ty: channel.ty.clone(),
            delivery: channel.delivery,
            readers: count(channel.readers.len()),
        });
        let writers = zone.writers.iter().filter_map(|number| Some((*number, self.writers.get(number)?)));
        let writers = writers.map(|(serial, writer)| WriterInfo {
            row: writer.row,
            serial,
            name: writer.name.clone(),
            pid: writer.owner.pid,
            uid: writer.owner.uid,
            version: zone.segments.version(writer.row),
            open_batch: zone.segments.row_state(writer.row).0,
            straddles: zone.segments.row_state(writer.row).1,
            permits: zone.segments.row_state(writer.row).2,
        });
        let lanes = lanes.into_iter().map(|(number, lane)| LaneUse {
            lane: number,
            channel: lane.channel,
            row: lane.row,
            serial: lane.writer,
            capacity: lane.capacity,
            max_payload: lane.max_payload,
            readers: count(lane.entries.len()),
            pins: lane.pins,
            ended: lane.state.is_over(),
            kept: matches!(&lane.state, LaneState::Kept(kept) if kept.is_wanted(zone.policy.keep_eras, zone.segments.generation())),
        });
        let readers = zone.readers.iter().filter_map(|number| Some((*number, self.readers.get(number)?)));
        let readers = readers.map(|(number, reader)| ReaderInfo {
            reader: number,
            name: reader.name.clone(),
            pid: reader.owner.pid,
            uid: reader.owner.uid,
            synced: reader.synced,
            channels: reader.channels.clone(),
            lanes: count(reader.entries.len()),
            evicted: count(reader.entries.keys().filter(|&&entry| zone.segments.is_evicted(entry)).count()),
            taken: reader.entries.keys().filter_map(|&entry| zone.segments.taken(entry)).min(),
        });
        let mut writers: Vec<_> = writers.collect();
        writers.sort_by_key(|writer| writer.row);
        ZoneInfo {
            name: zone.name.clone(),
            zone: zone.number,
            geometry: zone.geometry,
            policy: zone.policy,
            created: zone.created,
            halted: zone.segments.is_halted(monotonic_us()),
            generation: zone.segments.generation(),
            last_edge: zone.segments.last_edge(),
            bytes: ZoneSegments::bytes(&zone.geometry) + lane_bytes,
            entries: count(zone.entries.len()),
            channels: channels.collect(),
            writers,
            lanes: lanes.collect(),
            readers: readers.collect(),
        }
    }
}

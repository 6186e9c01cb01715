//! Writers: a row of a zone, taken and given back.
//!
//! When a writer leaves, or is proven dead, in this order: its last commit is finished or buried; locks that it gives back with that are
//! told; the end of each lane is
//! written into every reader's entry; readers are told; only then its row is free for another, whose first commit would
//! otherwise make a buried frame valid. If it was the zone's last writer, the broker seals what is not sealed yet: nobody
//! else would.

use super::notify;
use super::quota::{check_room, refused, unknown};
use super::registry::{Kept, LaneState, Owner, Registry, Writer, Zone, invalid, lost};
use super::segments::{Fd, map_lane};
use super::session::Post;
use crate::error::{Code, Result};
use crate::wire::{PresenceKind, PresenceWhat, Tell, ZoneOptions, check_name};
use std::collections::BTreeSet;
use std::os::fd::AsFd;

impl Registry {
    pub(super) fn open_writer(
        &mut self,
        owner: Owner,
        id: u32,
        (zone, options, name): (&str, ZoneOptions, String),
        post: &mut dyn Post,
    ) -> Result<()> {
        check_name("writer", &name).map_err(invalid)?;
        let zone = self.zone_for(zone, options)?;
        let opened = self.take_row(owner, id, zone, name, post);
        self.settle_zone(zone);
        opened
    }

    fn take_row(&mut self, owner: Owner, id: u32, number: u64, name: String, post: &mut dyn Post) -> Result<()> {
        let serial = self.next_number();
        let has_table_readers = self.has_table_readers(number);
        let zone = self.zones.get_mut(&number).ok_or_else(lost)?;
        let (row, version) = loop {
            let Some(row) = zone.rows.insert(()) else {
                let most = zone.geometry.writers as usize;
                return check_room(&format!("writers of zone `{}`", zone.name), most, 1, most);
            };
            // A row that has counted far enough stays taken.
            if let Some(version) = zone.segments.open_row(row, owner) {
                break (row, version);
            }
        };
        zone.writers.insert(serial);
        if has_table_readers {
            // Who reads the table of the row's last owner has to see, before this one commits, that the row is another's.
            zone.segments.announce();
        }
        let (geometry, policy) = (zone.geometry, zone.policy);
        let told = Tell::Writer { zone: number, row, geometry, policy, version, serial };
        post.post(owner.client, id, told, zone.segments.for_writer().into());
        tracing::info!(zone = zone.name, writer = name, row, pid = owner.pid, "writer came");
        let came = notify::presence(PresenceWhat::Came, PresenceKind::Writer, &zone.name, "", &name, Some(owner));
        self.notify.tell(came, post);
        self.owned_by(owner.client).writers.insert(serial);
        self.writers.insert(serial, Writer { owner, zone: number, row, name, lanes: BTreeSet::new(), draft: None });
        Ok(())
    }

    /// The client's own writer of this number.
    pub(super) fn own_writer(&self, owner: Owner, serial: u64) -> Result<&Writer> {
        self.writers
            .get(&serial)
            .filter(|writer| writer.owner.client == owner.client)
            .ok_or_else(|| unknown("writer", serial))
    }

    /// A writer leaves, by its own word or dead.
    pub(super) fn close_writer(&mut self, serial: u64, died: bool, post: &mut dyn Post) {
        let Some(mut writer) = self.writers.remove(&serial) else { return };
        self.disown(writer.owner.client, serial);
        self.ledger.release(writer.draft.take().map_or(0, |draft| draft.memory()));
        let lanes = std::mem::take(&mut writer.lanes);
        let ends = self.finish_lanes(&writer, &lanes);
        if let Some(zone) = self.zones.get(&writer.zone) {
            self.locks.writer_gone(writer.owner.client, serial, zone.segments.left_behind(writer.row));
        }
        self.end_tables(serial, died, post);
        if died && let Some(zone) = self.zones.get(&writer.zone) {
            zone.segments.finish_edge();
        }
        let was_last = |zone: &&Zone| {
            let is_kept = zone.policy.keep_eras != 0 || zone.created;
            zone.writers.len() == 1 && (!zone.readers.is_empty() || is_kept) && !zone.geometry.pace.is_lockstep()
        };
        if let Some(zone) = self.zones.get(&writer.zone).filter(was_last) {
            zone.segments.seal_the_rest();
        }
        for (&number, end) in lanes.iter().zip(ends) {
            self.end_lane(number, end, died, post);
        }
        let what = if died { PresenceWhat::Died } else { PresenceWhat::Left };
        if let Some(zone) = self.zones.get_mut(&writer.zone) {
            zone.segments.announce();
            zone.segments.free_row(writer.row);
            zone.rows.remove(writer.row);
            zone.writers.remove(&serial);
            // In lockstep the ends come first: the cut of a row without a writer is all that it has.
            if zone.geometry.pace.is_lockstep() {
                match zone.writers.is_empty() {
                    true => zone.segments.seal_the_rest(),
                    false => zone.segments.pass_if_all_permit(),
                }
            }
            tracing::info!(
                zone = zone.name,
                writer = writer.name,
                row = writer.row,
                pid = writer.owner.pid,
                died,
                "writer gone"
            );
            let gone = notify::presence(what, PresenceKind::Writer, &zone.name, "", &writer.name, Some(writer.owner));
            self.notify.tell(gone, post);
        }
        self.drop_passed(post);
        self.settle_zone(writer.zone);
    }

    /// Finishes or buries the last commit over all of a writer's lanes; where each of them ends.
    fn finish_lanes(&mut self, writer: &Writer, lanes: &BTreeSet<u64>) -> Vec<u64> {
        let mut maps = Vec::new();
        let mut mapped = Vec::new();
        for number in lanes {
            let Some(lane) = self.lanes.get(number) else { continue };
            let LaneState::Open(fd) = &lane.state else { continue };
            match map_lane(fd.as_fd(), lane.capacity) {
                Ok(map) => {
                    maps.push((map, lane.max_payload));
                    mapped.push(*number);
                }
                // Live readers still take what is there; what they do not see any more, nobody can tell.
                Err(error) => {
                    tracing::warn!(lane = number, %error, "lane of a writer that is gone can not be looked at")
                }
            }
        }
        let finished = match self.zones.get(&writer.zone) {
            Some(zone) => zone.segments.finish(writer.row, &maps),
            None => return vec![0; lanes.len()],
        };
        self.completed += u64::from(finished.completed);
        self.buried += u64::from(finished.buried);
        let end_of = |number| mapped.iter().zip(&finished.ends).find(|(mapped, _)| *mapped == number);
        lanes.iter().map(|number| end_of(number).map_or(0, |(_, end)| *end)).collect()
    }

    /// Writes a lane's end into its readers' entries and tells them. One that nobody reads goes at once.
    fn end_lane(&mut self, number: u64, end: u64, died: bool, post: &mut dyn Post) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let Some(zone) = self.zones.get_mut(&lane.zone) else { return };
        let was_open = matches!(lane.state, LaneState::Open(_));
        if was_open && end != 0 {
            lane.whole_without = Some(zone.segments.whole_without(lane.row));
        }
        // Who comes in the middle of a round is waited for, and is to be handed it, whoever has gone before.
        let is_in_round = zone.geometry.pace.is_lockstep()
            && zone.writers.len() > 1
            && zone.segments.whole_without(lane.row) > zone.segments.generation() + 1;
        // Readers have descriptors and mappings of their own; another is kept for those to come: if the zone is to keep something, or while
        // others have not drained the lane. Of the era that is open then, nothing is to be missing for whoever joins.
        let is_kept = zone.policy.keep_eras != 0 || !lane.entries.is_empty() || is_in_round;
        lane.state = match std::mem::replace(&mut lane.state, LaneState::Ended) {
            LaneState::Open(fd) if is_kept && end != 0 => {
                LaneState::Kept(Kept { fd, end, died, since: zone.segments.whole_without(lane.row) - 1 })
            }
            _ => LaneState::Ended,
        };
        for (&entry, &reader) in &lane.entries {
            zone.segments.set_end(entry, end);
            if let Some(owner) = self.readers.get(&reader).map(|reader| reader.owner) {
                post.post(owner.client, 0, Tell::LaneEnded { reader, entry, died }, Vec::<Fd>::new());
            }
        }
        if was_open && let Some(channel) = zone.channels.get(lane.channel) {
            let what = if died { PresenceWhat::Died } else { PresenceWhat::Left };
            let (zone, channel, name) = (&zone.name, &channel.name, &lane.writer_name);
            let gone = notify::presence(what, PresenceKind::Writer, zone, channel, name, Some(lane.owner));
            self.notify.tell(gone, post);
        }
        if lane.entries.is_empty() && matches!(lane.state, LaneState::Ended) {
            self.drop_lane(number, post);
        }
    }
}

/// Refuses what only makes sense once.
pub(super) fn twice(what: &str, name: &str) -> crate::Error {
    refused(Code::Invalid, format!("{what} `{name}`: expected one, found another; use the one that is there"))
}

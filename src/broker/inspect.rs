//! Counters, for who looks on: a zone's segments and its lanes, all read-only. Nothing is made and nobody is told.

use super::quota::system;
use super::registry::{LaneState, Owner, Registry, lost};
use super::segments::Fd;
use super::session::Post;
use crate::error::Result;
use crate::wire::Tell;

impl Registry {
    pub(super) fn inspect(&self, owner: Owner, id: u32, name: &str, post: &mut dyn Post) -> Result<()> {
        let zone = self.zones.get(&self.named_zone(name)?).ok_or_else(lost)?;
        let fds = zone.segments.for_onlooker().map_err(|error| system("opening a zone to look at", error))?;
        let (geometry, roster) = (zone.geometry, zone.segments.roster());
        post.answer(owner.client, id, Tell::ZoneShown { zone: zone.number, geometry, roster }, fds.into());
        for &number in &zone.lanes {
            let Some(lane) = self.lanes.get(&number) else { continue };
            let Some(channel) = zone.channels.get(lane.channel) else { continue };
            let (fd, end) = match &lane.state {
                LaneState::Open(fd) => (fd, None),
                LaneState::Kept(kept) => (&kept.fd, Some(kept.end)),
                // Nothing was published there yet, or nothing is left.
                LaneState::Filling { .. } | LaneState::Made(_) | LaneState::Ended => continue,
            };
            let told = Tell::LaneShown { lane: lane.info(number, channel), pins: lane.pins, end };
            post.answer(owner.client, id, told, vec![Fd::ReadOnly(fd.clone())]);
        }
        post.answer(owner.client, id, Tell::Done, Vec::new());
        Ok(())
    }
}

//! Room in a lane: moving the floor, waiting for readers, going round what they hold, and going on without them.

use super::commit::count;
use super::{Key, Lane, LaneOut, Writer, wrong_lane};
use crate::client::lanes::{cut_of, name_in};
use crate::client::waiting::{self, Deadline, Spinner};
use crate::error::{Error, Result};
use crate::layout::lane::PAGES;
use crate::layout::zone::Pace;
use crate::os::clock::monotonic_us;
use crate::ring::floor::HeldUp;
use crate::ring::lane::{self, Claim, NoRoom};
use crate::ring::{bell, order};

/// A reader that takes nothing while its writer has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldSince {
    entry: u32,
    cursor: u64,
    since_us: u64,
}

/// The reader that holds a lane up; from [`Writer::held_up_by`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldUpBy {
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its name; only the first 24 bytes of a longer one.
    pub name: String,
    /// How far it is behind the lane's end, in bytes.
    pub behind: u64,
    /// It takes whole eras.
    pub synced: bool,
}

impl Writer {
    /// Why a message can not be had room for at all.
    #[cold]
    pub(super) fn refuse(&self, key: Key, len: usize) -> Error {
        let limit = self.lanes[key.index as usize].max_payload;
        if len as u64 > limit {
            Error::TooLarge { len: len as u64, limit }
        } else {
            Error::Invalid("this writer has made 2^46 commits, the most there can be: open a new one".to_owned())
        }
    }

    /// Makes room for a message of `len` bytes.
    #[cold]
    pub(super) fn make_room(&mut self, key: Key, len: u32, no_room: NoRoom) -> Result<Claim> {
        let NoRoom(wanted) = no_room;
        let lane = &self.lanes[key.index as usize];
        let end = wanted + lane.map.capacity();
        // In a batch: all of it that is in this lane.
        let commit = end.saturating_sub(lane.ring.tail() + 8);
        if commit > lane.max_commit {
            return Err(Error::TooLarge { len: commit, limit: lane.max_commit });
        }
        self.find_room(key, end - lane.ring.pending())?;
        let lane = &self.lanes[key.index as usize];
        lane.ring.claim(lane.map.view(), len).map_err(|_| Error::Full { behind: 0 })
    }

    /// The same claim, between pages that may be held: the first of a batch finds room for the largest batch, and what goes beyond that is
    /// refused.
    #[cold]
    pub(super) fn claim_between_pins(&mut self, key: Key, claim: Claim) -> Result<Claim> {
        let lane = &self.lanes[key.index as usize];
        let (limit, capacity) = (lane.max_commit, lane.ring.limit());
        if lane.ring.is_pending() {
            let commit = claim.end() - lane.ring.tail();
            return if commit > limit { Err(Error::TooLarge { len: commit, limit }) } else { Ok(claim) };
        }
        if lane.ring.tail() + limit + 8 <= capacity {
            return Ok(claim);
        }
        self.find_room(key, limit + 8)?;
        let lane = &self.lanes[key.index as usize];
        lane.ring.claim(lane.map.view(), claim.payload_len()).map_err(|_| Error::Full { behind: 0 })
    }

    /// Moves the floor until there is room for `need` bytes at once, or waits until readers let it move.
    fn find_room(&mut self, key: Key, need: u64) -> Result<()> {
        self.settle_permit();
        let mut waited = None;
        loop {
            let Err(held) = self.try_room(key, need) else { return Ok(()) };
            let until = match self.judge(key, need, &held) {
                Verdict::Evicted => continue,
                Verdict::Full(full, until) => {
                    let (deadline, spinner) = waited
                        .get_or_insert_with(|| (Deadline::after(self.room_timeout), Spinner::new(self.room_wait)));
                    if self.room_timeout.is_zero() || deadline.has_passed() {
                        count(&self.own.full);
                        return Err(full);
                    }
                    if spinner.spin() {
                        continue;
                    }
                    deadline.or_at(until)
                }
            };
            let meeting = self.meeting.clone();
            let room = &meeting.view().header.room.0;
            let expected = waiting::announce(room, bell::bit(self.lanes[key.index as usize].number));
            if self.try_room(key, need).is_ok() {
                return Ok(());
            }
            waiting::sleep(room, expected, until);
        }
    }

    /// Room for `need` bytes at once behind what is pending, if readers let the floor move.
    fn try_room(&mut self, key: Key, need: u64) -> Result<(), HeldUp> {
        let (zone, meeting) = (self.zone.view(), self.meeting.view());
        let lane = &mut self.lanes[key.index as usize];
        let view = lane.map.view();
        // What can still be rolled back must not be overwritten either.
        let most = if zone.geometry.pace == Pace::Revocable { lane.sealed.position } else { lane.ring.tail() };
        let from = lane.ring.pending();
        let room = lane.floor.room(view, zone, meeting, most, from, need)?;
        if room.start != from {
            lane.ring.skip_to(view, room.start, self.version);
        }
        lane.ring.set_limit(room.limit);
        lane.held_up = None;
        Ok(())
    }

    /// What to do about a reader that holds the lane up.
    fn judge(&mut self, key: Key, need: u64, held: &HeldUp) -> Verdict {
        let open_era = self.open_era(key);
        let zone = self.zone.view();
        let lane = &mut self.lanes[key.index as usize];
        let capacity = lane.map.capacity();
        let wanted = (lane.ring.pending() + need).saturating_sub(capacity);
        let waits_for_eras = lane.floor.waits_for_eras();
        // What is not sealed yet holds the floor, whatever the readers do.
        if waits_for_eras
            && !lane.floor.could_reach(lane.map.view(), wanted, open_era)
            && self.driver.policy.click_ms == 0
        {
            let len = lane.ring.pending() + need - open_era;
            let limit = capacity - capacity / PAGES;
            return Verdict::Full(Error::EraTooLarge { len, limit }, None);
        }
        let full = Error::Full { behind: lane.ring.tail().saturating_sub(held.cursor) };
        let (Some(entry), true) = (held.entry, lane.delivery.evict_ms != 0) else { return Verdict::Full(full, None) };
        // A synced reader that has taken all that is sealed is not late.
        if held.synced && held.cursor >= open_era {
            return Verdict::Full(full, None);
        }
        let now = monotonic_us();
        let since = match lane.held_up {
            Some(since) if since.entry == entry && since.cursor == held.cursor => since,
            _ => *lane.held_up.insert(HeldSince { entry, cursor: held.cursor, since_us: now }),
        };
        let until = since.since_us + u64::from(lane.delivery.evict_ms) * 1000;
        if now < until {
            return Verdict::Full(full, Some(until));
        }
        lane.held_up = None;
        if lane.floor.evict(zone, entry) {
            tracing::warn!(channel = lane.channel, entry, "reader evicted: it took nothing for too long");
            count(&self.own.evictions);
            // It may sleep, and is to be told.
            bell::ring(&self.bells.live.0, bell::ALL, self.fence, waiting::wake);
            bell::ring(&self.bells.synced.0, bell::ALL, self.fence, waiting::wake);
        }
        Verdict::Evicted
    }

    /// Where the open era begins in a lane.
    fn open_era(&mut self, key: Key) -> u64 {
        let zone = self.zone.view();
        let generation = zone.generation();
        let cut = match generation {
            0 => Some(0),
            _ => cut_of(zone, generation, self.row as usize).ok().flatten(),
        };
        let lane = &mut self.lanes[key.index as usize];
        let LaneOut { map, floor, ring, max_payload, open_era, .. } = lane;
        // Without a cut, nothing of this writer is sealed.
        let cut = cut.unwrap_or(0);
        if open_era.0 != cut || open_era.1 < floor.position() {
            let from = lane::Reader { position: floor.position(), sequence: 0 };
            let (place, _) = lane::behind(map.view(), from, cut, ring.tail(), *max_payload, true);
            *open_era = (cut, place.position);
        }
        open_era.1
    }

    /// Who holds this lane up: the reader that is furthest behind, if the lane waits for any; for whoever is told [`Error::Full`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a lane of another writer; [`Error::Forked`].
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// use syncline::{Bus, Error};
    /// let bus = Bus::embedded()?;
    /// let mut writer = bus.zone("plant").writer("controller")?;
    /// let level = writer.channel("level").capacity(4096).open::<f64>()?;
    /// let _slow = bus.zone("plant").reader("slow").channel::<f64>("level").open()?;
    /// while writer.publish(level, &1.0).is_ok() {}
    /// let by = writer.held_up_by(level)?.expect("a reader that takes nothing");
    /// assert_eq!((by.name.as_str(), by.pid), ("slow", std::process::id()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn held_up_by<P: ?Sized>(&self, lane: Lane<P>) -> Result<Option<HeldUpBy>> {
        self.holder(lane.key())
    }

    pub(crate) fn holder(&self, key: Key) -> Result<Option<HeldUpBy>> {
        self.link.check_fork()?;
        let lane = match self.lanes.get(key.index as usize) {
            Some(lane) if key.writer == self.tag => lane,
            _ => return Err(wrong_lane()),
        };
        let meeting = self.meeting.view();
        let HeldUp { cursor, entry, synced } = lane.floor.held_up(self.zone.view(), meeting, lane.ring.tail());
        let Some(entry) = entry.and_then(|entry| meeting.entries.get(entry as usize)) else { return Ok(None) };
        Ok(Some(HeldUpBy {
            pid: entry.pid.load(order::RELAXED.get()) as u32,
            uid: entry.uid.load(order::RELAXED.get()) as u32,
            name: name_in(entry),
            behind: lane.ring.tail().saturating_sub(cursor),
            synced,
        }))
    }
}

/// What to do about a reader that holds a lane up.
enum Verdict {
    /// It is gone: try again.
    Evicted,
    /// Wait, at most until this time in microseconds of the monotonic clock, or say this.
    Full(Error, Option<u64>),
}

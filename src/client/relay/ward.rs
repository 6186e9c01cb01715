//! A reader that `epoll` waits for, as its relay sees it.

use crate::client::reactions::Reactions;
use crate::client::waiting::{self, LONGEST_SLEEP, Sleeps};
use crate::layout::meeting::{self, Bell};
use crate::os::clock::monotonic_us;
use crate::os::futex::Expected;
use crate::os::mapping::{Shared, ZoneMap};
use crate::ring::relay::Armed;
use crate::ring::{halt, lockstep, order};
use nix::sys::eventfd::EventFd;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a reader shares with its relay.
pub(crate) struct Ward {
    bells: Shared<meeting::Header>,
    zone: ZoneMap,
    reactions: Arc<Reactions>,
    /// Which bells it is rung by: the live one, the one of edges, or both.
    live: bool,
    synced: bool,
    event: EventFd,
    state: Mutex<State>,
}

struct State {
    /// For the live bell, and for that of edges.
    armed: [Armed; 2],
    /// The descriptor is readable, unless the program has read it.
    raised: bool,
    /// The relay sleeps on the bells, or is about to.
    watched: bool,
    /// It was not armed at the relay's last look.
    idle: bool,
    /// The rows of the reader's lanes, and what the zone was like when it armed: for the bound of a sleep.
    rows: Vec<usize>,
    before: Seen,
    longest: Duration,
    sleeps: Sleeps,
}

/// What a reader could be waiting for, from afar: whether anything has happened since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Seen {
    generation: u64,
    roster: u64,
    early: u64,
    rolls: u64,
    is_halted: bool,
    versions: u64,
    /// A writer is in the middle of a commit, or has died there.
    is_busy: bool,
}

impl Ward {
    /// `live`, `synced`: which bells the reader is rung by. The descriptor is readable at first: nobody has looked yet.
    pub(crate) fn new(
        (bells, zone, reactions): (Shared<meeting::Header>, ZoneMap, Arc<Reactions>),
        (live, synced): (bool, bool),
        event: EventFd,
    ) -> Ward {
        let state = State {
            armed: Default::default(),
            raised: false,
            watched: false,
            idle: true,
            rows: Vec::new(),
            before: Seen::default(),
            longest: LONGEST_SLEEP,
            sleeps: Sleeps::default(),
        };
        let ward = Ward { bells, zone, reactions, live, synced, event, state: Mutex::new(state) };
        ward.raise();
        ward
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// How many bells it is rung by.
    pub(super) fn words(&self) -> usize {
        usize::from(self.live) + usize::from(self.synced)
    }

    /// Makes the descriptor readable.
    pub(crate) fn raise(&self) {
        self.raise_in(&mut self.lock());
    }

    fn raise_in(&self, state: &mut State) {
        state.armed.iter_mut().for_each(Armed::disarm);
        state.raised = true;
        // Full is readable, too.
        let _ = self.event.write(1);
    }

    /// Makes it not readable; the owner is going to look whether there is something, and arms or raises it after that.
    pub(crate) fn lower(&self) {
        let mut state = self.lock();
        state.armed.iter_mut().for_each(Armed::disarm);
        if state.raised {
            state.raised = false;
            // The program may have read it.
            let _ = self.event.read();
        }
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.lock().armed.iter().any(Armed::is_armed)
    }

    /// What the zone is like, before the owner's look: what comes after that differs from it.
    pub(crate) fn see(&self, rows: impl Iterator<Item = usize>) {
        let mut state = self.lock();
        state.rows.clear();
        state.rows.extend(rows);
        state.before = self.seen(&state.rows);
    }

    /// The descriptor will be raised by the next ring; `None`: it has come already. Else whether the relay has to be made to look.
    pub(crate) fn arm(&self, live: Option<u32>, synced: Option<u32>) -> Option<bool> {
        let mut state = self.lock();
        let mut is_rung = false;
        for ((armed, bell), expected) in state.armed.iter_mut().zip(self.bells()).zip([live, synced]) {
            is_rung |= expected.is_some_and(|expected| !armed.arm(bell, expected));
        }
        if is_rung {
            state.armed.iter_mut().for_each(Armed::disarm);
            state.sleeps.overtaken += 1;
            return None;
        }
        Some(!state.watched)
    }

    fn bells(&self) -> [&Bell; 2] {
        [&self.bells.live.0, &self.bells.synced.0]
    }

    /// Rings the reader's bells, for nothing: to wake its relay.
    pub(super) fn ring(&self) {
        for bell in self.bells() {
            bell.bell.fetch_add(1, order::RELAXED.get());
            waiting::wake(bell);
        }
    }

    /// The relay's look: raises the descriptor if a bell was rung, and adds the bells to what is slept on. `timed_out`: the last sleep
    /// lasted to its bound, so that something may have come without a ring. How long the next may last, if the reader is armed.
    pub(super) fn look<'w>(&'w self, timed_out: bool, words: &mut Vec<Expected<'w>>) -> Option<Duration> {
        let state = &mut *self.lock();
        let was_armed = state.armed.iter().any(Armed::is_armed);
        let mut is_rung = false;
        let first = words.len();
        for ((armed, bell), wanted) in state.armed.iter_mut().zip(self.bells()).zip([self.live, self.synced]) {
            if wanted {
                let (value, rung) = armed.look(bell);
                is_rung |= rung;
                words.push(Expected { word: &bell.bell, value });
            }
        }
        if is_rung {
            state.sleeps.rung += 1;
            self.raise_in(state);
        } else if timed_out && was_armed {
            let now = self.seen(&state.rows);
            if now != state.before || now.is_busy {
                state.sleeps.unrung += 1;
                state.sleeps.missed += u64::from(now != state.before && !self.is_rung_at_last(&words[first..]));
                self.raise_in(state);
            }
        }
        let is_armed = was_armed && !state.raised;
        // One that was told just now is likely to arm again: it stays, so that it need not kick.
        state.watched = was_armed || !state.idle;
        state.idle = !was_armed;
        if !state.watched {
            words.truncate(first);
        }
        is_armed.then_some(state.longest)
    }

    /// Whether the ring comes that belongs to what came just now.
    #[cold]
    fn is_rung_at_last(&self, words: &[Expected<'_>]) -> bool {
        waiting::is_rung_at_last(|| {
            words.iter().any(|expected| expected.word.load(order::RELAXED.get()) != expected.value)
        })
    }

    fn seen(&self, rows: &[usize]) -> Seen {
        let zone = self.zone.view();
        let control = &zone.header.control.0;
        let rows = || rows.iter().filter_map(|row| zone.rows.get(*row));
        Seen {
            generation: zone.generation(),
            roster: control.roster.load(order::RELAXED.get()),
            early: control.early.load(order::RELAXED.get()),
            rolls: lockstep::rolls(zone.header),
            is_halted: halt::found(control).is_some_and(|halt| halt.expiry_us() > monotonic_us()),
            versions: rows().fold(0, |sum, row| sum.wrapping_add(row.version.load(order::RELAXED.get()))),
            is_busy: rows().any(|row| !halt::is_at_rest(row)),
        }
    }

    /// Runs the edge that is due, as any sleeper of a process with writers does.
    pub(super) fn mind(&self) {
        if let Some(driver) = self.reactions.known_driver()
            && self.is_armed()
        {
            driver.mind(self.zone.view().geometry.writers + 1);
        }
    }

    /// When that is.
    pub(super) fn due_us(&self) -> Option<u64> {
        self.reactions.known_driver()?.due_us()
    }

    pub(crate) fn set_longest_sleep(&self, longest: Duration) {
        self.lock().longest = longest;
    }

    pub(crate) fn note_spared(&self) {
        self.lock().sleeps.spared += 1;
    }

    pub(crate) fn sleeps(&self) -> Sleeps {
        self.lock().sleeps
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Halting a zone, and letting it go.

use super::driver::Driver;
use super::link::Link;
use super::waiting::Deadline;
use crate::broker::HALT_LEASE_US;
use crate::error::{Error, Result};
use crate::layout::zone::ROW_OPEN;
use crate::os::clock::{self, monotonic_us};
use crate::os::{fork::Epoch, membarrier};
use crate::ring::{halt, lockstep, order};
use crate::wire::Ask;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the owner moves the end of its halt on.
const RENEWAL: Duration = Duration::from_millis(250);

/// A writer that was in the middle of a commit or an edge, and has not come to its end in time; see [`Halt::late`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unrested {
    /// Its row.
    pub row: u32,
    /// Its process.
    pub pid: u32,
    /// Its name; empty if the broker can not be asked.
    pub name: String,
}

/// A zone that stands still, until this is dropped or its process dies.
///
/// No writer publishes, and no participant's edge passes: each waits in its next call, or says [`Error::Halted`], as it has
/// [chosen](crate::Writer::on_halt). Readers are handed nothing. Code outside the library runs on.
///
/// Should both this process and the broker die at once, the halt ends by itself within a second.
#[must_use = "dropping it lets the zone go on"]
pub struct Halt {
    parts: HaltParts,
    token: u64,
    late: Vec<Unrested>,
    renewal: Arc<Renewal>,
    thread: Option<JoinHandle<()>>,
    epoch: Epoch,
}

/// What a halt needs of its zone.
pub(crate) struct HaltParts {
    pub(crate) link: Arc<Link>,
    pub(crate) zone: u64,
    pub(crate) driver: Arc<Driver>,
}

/// Tells the thread that renews the halt when to end.
#[derive(Default)]
struct Renewal {
    ended: Mutex<bool>,
    changed: Condvar,
    lost: AtomicBool,
}

impl Halt {
    pub(crate) fn raise(parts: HaltParts, deadline: Duration) -> Result<Halt> {
        let deadline = Deadline::after(deadline);
        let control = &parts.driver.zone.view().header.control.0;
        let token = loop {
            match halt::raise(control, monotonic_us() + HALT_LEASE_US) {
                Ok(token) => break token,
                // Somebody else has halted it: one after the other.
                Err(_) if halt::is_halted(control, monotonic_us()) => {
                    if deadline.has_passed() {
                        return Err(Error::Halted);
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => {}
            }
        };
        // From here on, whatever fails ends the halt.
        let mut halted =
            Halt { epoch: parts.link.epoch(), parts, token, late: Vec::new(), renewal: Arc::default(), thread: None };
        let parts = &halted.parts;
        // Without a broker, this process renews it alone.
        let _ = parts.link.tell(Ask::HaltHeld { zone: parts.zone, token });
        if !membarrier::barrier() {
            halt::halter_fence();
            parts.link.call(Ask::Barrier)?;
        }
        halted.start_renewal()?;
        halted.late = halted.wait_for_rest(deadline);
        Ok(halted)
    }

    fn start_renewal(&mut self) -> Result<()> {
        let (driver, token, renewal) = (self.parts.driver.clone(), self.token, self.renewal.clone());
        let renew = move || {
            let control = &driver.zone.view().header.control.0;
            let mut ended = renewal.ended.lock().unwrap_or_else(PoisonError::into_inner);
            while !*ended {
                if !halt::renew(control, token, monotonic_us() + HALT_LEASE_US) {
                    renewal.lost.store(true, Ordering::Relaxed);
                    return;
                }
                (ended, _) = renewal.changed.wait_timeout(ended, RENEWAL).unwrap_or_else(PoisonError::into_inner);
            }
        };
        let thread = std::thread::Builder::new().name("syncline-halt".to_owned()).spawn(renew);
        self.thread = Some(thread.map_err(Error::io("starting the thread that renews a halt"))?);
        Ok(())
    }

    /// Waits until every writer is at rest; those that are not by the deadline.
    fn wait_for_rest(&self, deadline: Deadline) -> Vec<Unrested> {
        let zone = self.parts.driver.zone.view();
        let is_busy = |row: &u32| {
            let row = &zone.rows[*row as usize];
            row.state.load(order::STATE_SEE.get()) == ROW_OPEN && !halt::is_at_rest(row)
        };
        let mut busy: Vec<u32> = (0..zone.rows.len() as u32).filter(is_busy).collect();
        while !busy.is_empty() && !deadline.has_passed() {
            // It may need our core.
            std::thread::yield_now();
            busy.retain(is_busy);
        }
        if busy.is_empty() {
            return Vec::new();
        }
        let writers = self.parts.link.list().unwrap_or_default().into_iter();
        let writers: Vec<_> =
            writers.filter(|zone| zone.zone == self.parts.zone).flat_map(|zone| zone.writers).collect();
        let unrested = |row: u32| {
            let pid = zone.rows[row as usize].pid.load(order::RELAXED.get()) as u32;
            let name = writers.iter().find(|writer| writer.row == row).map(|writer| writer.name.clone());
            Unrested { row, pid, name: name.unwrap_or_default() }
        };
        busy.into_iter().map(unrested).collect()
    }

    /// Writers that were in the middle of a commit or an edge and had not come to its end by the deadline: stopped, or kept from running.
    /// Every other one is at rest.
    pub fn late(&self) -> &[Unrested] {
        &self.late
    }

    /// Whether the zone is still halted by this: it is not if this process was stopped for longer than a second while there was no broker.
    pub fn holds(&self) -> bool {
        self.epoch.is_current() && !self.renewal.lost.load(Ordering::Relaxed)
    }

    /// How many commits each writer's row has seen: they stand still while this holds. By row.
    pub fn versions(&self) -> Vec<u64> {
        if !self.epoch.is_current() {
            return Vec::new();
        }
        let zone = self.parts.driver.zone.view();
        zone.rows.iter().map(|row| row.version.load(order::COMMIT_SEE.get())).collect()
    }

    #[cfg(feature = "capi")]
    pub(crate) fn check_fork(&self) -> Result<()> {
        self.parts.link.check_fork()
    }

    /// Lets the zone go on; so does dropping it.
    pub fn release(self) {}
}

impl Drop for Halt {
    fn drop(&mut self) {
        // A forked child has neither the mapping nor the thread.
        if !self.epoch.is_current() {
            std::mem::forget(self.thread.take());
            return;
        }
        *self.renewal.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.renewal.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let zone = self.parts.driver.zone.view();
        if halt::release(&zone.header.control.0, self.token) {
            lockstep::restart_round(zone, clock::now);
        }
        self.parts.driver.ring_all();
        // Without a broker there is nobody to tell.
        let _ = self.parts.link.tell(Ask::HaltReleased { zone: self.parts.zone, token: self.token });
    }
}

impl std::fmt::Debug for Halt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Halt").field("late", &self.late).field("holds", &self.holds()).finish_non_exhaustive()
    }
}

//! Zones by name: how they are made, and what can be done without a writer or reader in them.

use super::args::{self, Growing, invalid, shared, text, wanted};
use super::bus::BusHandle;
use super::error::guard;
use crate::client::{Zone, milliseconds};
use crate::error::Result;
use crate::layout::zone::{Geometry, Pace};
use crate::wire::{Policy, ZoneInfo, ZoneOptions};
use std::ffi::{c_char, c_int};
use std::time::Duration;

/// `struct syncline_zone_options`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CZoneOptions {
    size: usize,
    writers: u32,
    eras: u32,
    subscriptions: u32,
    pace: u32,
    click_ns: u64,
    every_commits: u64,
    every_bytes: u64,
    deadline_ns: u64,
    keep_bytes: u64,
    keep_eras: u32,
    zero: u32,
}

const _: () = assert!(size_of::<CZoneOptions>() == 72);

// SAFETY: `repr(C)`, the size first, no padding, integers.
unsafe impl Growing for CZoneOptions {
    const NAME: &'static str = "struct syncline_zone_options";
}

impl CZoneOptions {
    fn to_wire(self) -> Result<ZoneOptions> {
        check_zero(self.zero, Self::NAME)?;
        let milliseconds = |ns| milliseconds(Duration::from_nanos(ns));
        let policy = Policy {
            click_ms: milliseconds(self.click_ns),
            commits: self.every_commits,
            bytes: self.every_bytes,
            deadline_ms: milliseconds(self.deadline_ns),
            keep_eras: self.keep_eras,
            keep_bytes: self.keep_bytes,
        };
        let pace = match self.pace {
            0 => None,
            1 => Some(Pace::Free),
            2 => Some(Pace::Lockstep),
            3 => Some(Pace::Revocable),
            other => return Err(invalid(format!("{}: no pace has the number {other}", Self::NAME))),
        };
        Ok(ZoneOptions { writers: self.writers, eras: self.eras, entries: self.subscriptions, pace, policy })
    }
}

impl CZoneOptions {
    /// How a zone was made.
    pub(super) fn of(zone: &ZoneInfo) -> Self {
        let (Geometry { writers, eras, entries, pace }, policy) = (zone.geometry, zone.policy);
        let nanoseconds = |ms| u64::from(ms) * 1_000_000;
        CZoneOptions {
            size: size_of::<Self>(),
            writers,
            eras,
            subscriptions: entries,
            pace: pace as u32,
            click_ns: nanoseconds(policy.click_ms),
            every_commits: policy.commits,
            every_bytes: policy.bytes,
            deadline_ns: nanoseconds(policy.deadline_ms),
            keep_bytes: policy.keep_bytes,
            keep_eras: policy.keep_eras,
            zero: 0,
        }
    }
}

/// What the options of writers and readers say of their zone.
pub(super) struct ZoneShape {
    pub(super) options: *const CZoneOptions,
    /// The same in part, from before there was a struct for it.
    pub(super) writers: u32,
    pub(super) eras: u32,
    pub(super) subscriptions: u32,
}

impl ZoneShape {
    /// Gives a zone the shape that C asks for; 0 leaves the default.
    ///
    /// # Safety
    /// `options` is NULL or what the header says of a `struct syncline_zone_options`.
    pub(super) unsafe fn give(self, zone: Zone) -> Result<Zone> {
        let ZoneShape { options, writers, eras, subscriptions } = self;
        if options.is_null() {
            return Ok(zone.writers(writers).eras(eras).subscriptions(subscriptions));
        }
        if (writers, eras, subscriptions) != (0, 0, 0) {
            return Err(invalid(format!(
                "zone_writers, zone_eras and zone_subscriptions: expected 0 beside zone_options, found {writers}, {eras} and \
                 {subscriptions}; say it there"
            )));
        }
        // SAFETY: passed on to our caller.
        Ok(zone.with(unsafe { args::sized(options)? }.to_wire()?))
    }
}

/// A member that no version uses yet.
pub(super) fn check_zero(zero: u32, name: &str) -> Result<()> {
    if zero == 0 { Ok(()) } else { Err(invalid(format!("{name}: its member `zero` must be 0, found {zero}"))) }
}

/// Makes a zone that stays.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_zone_create(
    bus: *mut BusHandle,
    zone: *const c_char,
    options: *const CZoneOptions,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (bus, zone) = unsafe { (shared(bus, "bus")?, text(zone, "zone name")?) };
        let shape = ZoneShape { options, writers: 0, eras: 0, subscriptions: 0 };
        // SAFETY: as above.
        unsafe { shape.give(bus.bus.zone(zone))? }.create().map(|()| 0)
    })
}

/// Lets a zone go.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_zone_remove(bus: *mut BusHandle, zone: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (bus, zone) = unsafe { (shared(bus, "bus")?, text(zone, "zone name")?) };
        bus.bus.zone(zone).remove().map(|()| 0)
    })
}

/// An edge that the broker runs.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_zone_edge(
    bus: *mut BusHandle,
    zone: *const c_char,
    tag: *const u64,
    era: *mut u64,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the four calls; NULL says that nobody wants to know, or that there is no tag.
        let (era, bus, zone, tag) = unsafe {
            (
                wanted(era, "era")?,
                shared(bus, "bus")?,
                text(zone, "zone name")?,
                if tag.is_null() { None } else { Some(*shared(tag, "tag")?) },
            )
        };
        let sealed = bus.bus.zone(zone).edge(tag)?;
        if let Some(era) = era {
            *era = sealed;
        }
        Ok(0)
    })
}

/// Asks everybody to finish and commit now.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_zone_request_early(bus: *mut BusHandle, zone: *const c_char) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (bus, zone) = unsafe { (shared(bus, "bus")?, text(zone, "zone name")?) };
        bus.bus.zone(zone).request_early().map(|()| 0)
    })
}

/// Waits until all readers have done with an era.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_zone_wait_done(
    bus: *mut BusHandle,
    zone: *const c_char,
    era: u64,
    timeout_ns: i64,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (bus, zone) = unsafe { (shared(bus, "bus")?, text(zone, "zone name")?) };
        bus.bus.zone(zone).wait_done(era, args::timeout(timeout_ns)).map(|()| 0)
    })
}

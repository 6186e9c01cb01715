//! `syncline_halt`: a zone that stands still until the handle is released.

use super::args::{self, handle, invalid, out, shared, text};
use super::bus::BusHandle;
use super::error::{c_text, free, guard};
use super::writer::WriterHandle;
use crate::client::{Halt, Unrested};
use crate::error::Result;
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// What is behind a `syncline_halt`.
pub struct HaltHandle {
    halt: Halt,
    late: Vec<OwnedLate>,
}

/// `struct syncline_late`.
#[repr(C)]
pub struct CLate {
    name: *const c_char,
    writer: u32,
    pid: i32,
}

const _: () = assert!(size_of::<CLate>() == 16);

/// A writer that was not at rest in time, with the text that it points to.
struct OwnedLate {
    shown: CLate,
    _name: CString,
}

impl OwnedLate {
    fn new(unrested: &Unrested) -> Self {
        let name = c_text(&unrested.name);
        OwnedLate { shown: CLate { name: name.as_ptr(), writer: unrested.row, pid: unrested.pid as i32 }, _name: name }
    }
}

/// Halts a zone.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_zone_halt(
    bus: *mut BusHandle,
    zone: *const c_char,
    deadline_ns: i64,
    halt: *mut *mut HaltHandle,
) -> c_int {
    let raise = || {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (bus, zone) = unsafe { (shared(bus, "bus")?, text(zone, "zone name")?) };
        bus.bus.zone(zone).halt(args::timeout(deadline_ns))
    };
    // SAFETY: passed on to our caller.
    unsafe { begin(halt, raise) }
}

/// Halts the writer's zone.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_halt(
    writer: *mut WriterHandle,
    deadline_ns: i64,
    halt: *mut *mut HaltHandle,
) -> c_int {
    let raise = || {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.halt(args::timeout(deadline_ns))
    };
    // SAFETY: passed on to our caller.
    unsafe { begin(halt, raise) }
}

/// # Safety
/// As the module [`ffi`](super) says.
unsafe fn begin(halt: *mut *mut HaltHandle, raise: impl FnOnce() -> Result<Halt>) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let halt = unsafe { out(halt, ptr::null_mut(), "halt")? };
        let raised = raise()?;
        let late = raised.late().iter().map(OwnedLate::new).collect();
        *halt = Box::into_raw(Box::new(HaltHandle { halt: raised, late }));
        Ok(0)
    })
}

/// A writer that was not at rest in time.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_halt_late(halt: *mut HaltHandle, index: usize, late: *mut *const CLate) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (late, halt) = unsafe { (out(late, ptr::null(), "late")?, handle(halt, "halt")?) };
        halt.halt.check_fork()?;
        let Some(found) = halt.late.get(index) else { return Ok(0) };
        *late = &raw const found.shown;
        Ok(1)
    })
}

/// Whether the zone is still halted by this.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_halt_holds(halt: *mut HaltHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let halt = unsafe { handle(halt, "halt")? };
        halt.halt.check_fork()?;
        Ok(c_int::from(halt.halt.holds()))
    })
}

/// How many commits a row has seen.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_halt_version(halt: *mut HaltHandle, writer: u32, version: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (version, halt) = unsafe { (out(version, 0, "version")?, handle(halt, "halt")?) };
        halt.halt.check_fork()?;
        let versions = halt.halt.versions();
        let found = versions.get(writer as usize);
        *version = *found.ok_or_else(|| invalid(format!("row {writer}: the zone has {}", versions.len())))?;
        Ok(0)
    })
}

/// Lets the zone go on.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_halt_release(halt: *mut HaltHandle) {
    // SAFETY: it came from `begin`, which boxed it.
    unsafe { free(halt) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    #[test]
    fn the_late_are_named() {
        let OwnedLate { shown, _name } = OwnedLate::new(&Unrested { row: 3, pid: 41, name: "arm".to_owned() });
        assert_eq!((shown.writer, shown.pid), (3, 41));
        // SAFETY: its text is still there.
        assert_eq!(unsafe { CStr::from_ptr(shown.name) }, c"arm");
    }
}

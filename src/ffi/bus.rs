//! `syncline_bus`: the connection.

use super::ABI_VERSION;
use super::args::{self, invalid, out, shared, text, wanted};
use super::error::{c_text, coded, free, guard};
use super::listing::ListingHandle;
use super::watch::WatchHandle;
use crate::client::Bus;
use crate::error::{Code, Result};
use std::ffi::{CStr, CString, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;

/// What is behind a `syncline_bus`. Any thread may use it.
pub struct BusHandle {
    pub(super) bus: Bus,
    socket: CString,
}

const _: () = {
    const fn used_by_any_thread<T: Send + Sync>() {}
    used_by_any_thread::<Bus>();
};

fn check_abi(program: u32) -> Result<()> {
    if (1..=ABI_VERSION).contains(&program) {
        return Ok(());
    }
    let text = format!(
        "the program was built for interface {program} of syncline.h, this library (version {}) has 1 to {ABI_VERSION}: \
         install the library that the header came with",
        env!("CARGO_PKG_VERSION")
    );
    Err(coded(Code::Version, text))
}

/// Connects.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_bus_connect_abi(
    abi_version: u32,
    socket: *const c_char,
    bus: *mut *mut BusHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let bus = unsafe { out(bus, ptr::null_mut(), "bus")? };
        check_abi(abi_version)?;
        let connected = if socket.is_null() {
            Bus::connect()?
        } else {
            // SAFETY: as above; not NULL. A path need not be UTF-8.
            let path = unsafe { CStr::from_ptr(socket) };
            Bus::connect_to(Path::new(OsStr::from_bytes(path.to_bytes())))?
        };
        // It came from a C string or the environment: no zero is inside.
        let socket = CString::new(connected.socket().as_os_str().as_bytes())
            .unwrap_or_else(|_| c_text(&connected.socket().to_string_lossy()));
        *bus = Box::into_raw(Box::new(BusHandle { bus: connected, socket }));
        Ok(0)
    })
}

/// The socket's path.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_bus_socket(bus: *const BusHandle) -> *const c_char {
    // SAFETY: the caller keeps the header's contract.
    unsafe { shared(bus, "bus") }.map_or(ptr::null(), |bus| bus.socket.as_ptr())
}

/// Waits for readers.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_bus_wait_readers(
    bus: *mut BusHandle,
    zone: *const c_char,
    channel: *const c_char,
    count: u32,
    timeout_ns: i64,
    found: *mut u32,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the three calls.
        let (bus, zone, channel) =
            unsafe { (shared(bus, "bus")?, text(zone, "zone name")?, text(channel, "channel name")?) };
        // SAFETY: as above; NULL says that nobody wants to know.
        let found = unsafe { wanted(found, "found")? };
        let subscribed = bus.bus.zone(zone).wait_readers(channel, count, args::timeout(timeout_ns))?;
        if let Some(found) = found {
            *found = subscribed;
        }
        Ok(0)
    })
}

/// Lists what there is.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_bus_list(bus: *mut BusHandle, listing: *mut *mut ListingHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (listing, bus) = unsafe { (out(listing, ptr::null_mut(), "listing")?, shared(bus, "bus")?) };
        let listed = ListingHandle::new(&bus.bus.list()?);
        *listing = Box::into_raw(Box::new(listed));
        Ok(0)
    })
}

/// Watches who comes and goes.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_bus_watch(
    bus: *mut BusHandle,
    zone: *const c_char,
    watch: *mut *mut WatchHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (watch, bus) = unsafe { (out(watch, ptr::null_mut(), "watch")?, shared(bus, "bus")?) };
        let zone = if zone.is_null() {
            None
        } else {
            // SAFETY: as above.
            match unsafe { text(zone, "zone name")? } {
                "" => return Err(invalid("zone name: expected 1 to 128 bytes, found none; NULL for all")),
                zone => Some(zone),
            }
        };
        *watch = Box::into_raw(Box::new(WatchHandle::new(bus.bus.watch(zone)?)));
        Ok(0)
    })
}

/// Closes the connection.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_bus_close(bus: *mut BusHandle) {
    // SAFETY: it came from `syncline_bus_connect_abi`, which boxed it.
    unsafe { free(bus) }
}

//! `syncline_watch`: who comes and goes.

use super::args::{self, handle, in_time, out};
use super::error::{c_text, free, guard};
use super::listing::Kind;
use crate::client::Watch;
use crate::wire::{Presence, PresenceKind, PresenceWhat};
use std::ffi::{CString, c_char, c_int};
use std::ptr;

/// What is behind a `syncline_watch`.
pub struct WatchHandle {
    watch: Watch,
    last: Option<Event>,
}

/// `struct syncline_presence`.
#[repr(C)]
pub struct CPresence {
    change: u32,
    kind: u32,
    zone: *const c_char,
    channel: *const c_char,
    name: *const c_char,
    pid: i32,
    uid: u32,
}

const _: () = assert!(size_of::<CPresence>() == 40);

/// An event, with the texts that it points to.
struct Event {
    shown: Box<CPresence>,
    _texts: [CString; 3],
}

impl Event {
    fn new(presence: &Presence) -> Self {
        let texts = [c_text(&presence.zone), c_text(&presence.channel), c_text(&presence.name)];
        let shown = Box::new(CPresence {
            change: match presence.what {
                PresenceWhat::Came => 1,
                PresenceWhat::Left => 2,
                PresenceWhat::Died => 3,
            },
            kind: match presence.kind {
                PresenceKind::Channel => Kind::Channel,
                PresenceKind::Writer => Kind::Writer,
                PresenceKind::Reader => Kind::Reader,
            } as u32,
            zone: texts[0].as_ptr(),
            channel: texts[1].as_ptr(),
            name: texts[2].as_ptr(),
            pid: presence.pid as i32,
            uid: presence.uid,
        });
        Event { shown, _texts: texts }
    }
}

impl WatchHandle {
    pub(super) fn new(watch: Watch) -> Self {
        WatchHandle { watch, last: None }
    }
}

/// The next event.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_watch_next(
    watch: *mut WatchHandle,
    timeout_ns: i64,
    event: *mut *const CPresence,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (event, watch) = unsafe { (out(event, ptr::null(), "event")?, handle(watch, "watch")?) };
        let Some(presence) = in_time(watch.watch.next(args::timeout(timeout_ns)))? else { return Ok(0) };
        *event = &raw const *watch.last.insert(Event::new(&presence)).shown;
        Ok(1)
    })
}

/// Ends the watch.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_watch_close(watch: *mut WatchHandle) {
    // SAFETY: it came from `syncline_bus_watch`, which boxed it.
    unsafe { free(watch) }
}

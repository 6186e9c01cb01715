//! `syncline_lock`: a lock that is held until the handle is released; and how a lock stands.

use super::args::{self, handle, in_time, out, shared, text};
use super::bus::BusHandle;
use super::error::{free, guard};
use super::writer::WriterHandle;
use crate::client::{LockGuard, LockWatch};
use crate::wire::LockState;
use std::ffi::{c_char, c_int};
use std::ptr;

/// What is behind a `syncline_lock`.
pub struct LockHandle {
    guard: LockGuard,
}

/// What is behind a `syncline_lock_watch`.
pub struct LockWatchHandle {
    watch: LockWatch,
}

/// `struct syncline_lock_state`.
#[derive(Default)]
#[repr(C)]
pub struct CLockState {
    fence: u64,
    holder_pid: i32,
    waiting: u32,
    died: u32,
    zero: u32,
}

const _: () = assert!(size_of::<CLockState>() == 24);

/// Acquires a lock.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_acquire(
    bus: *mut BusHandle,
    zone: *const c_char,
    name: *const c_char,
    timeout_ns: i64,
    lock: *mut *mut LockHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the four calls.
        let (lock, bus, zone, name) = unsafe {
            (
                out(lock, ptr::null_mut(), "lock")?,
                shared(bus, "bus")?,
                text(zone, "zone name")?,
                text(name, "lock name")?,
            )
        };
        let named = bus.bus.zone(zone).lock(name);
        let acquired = match timeout_ns {
            0 => named.try_acquire()?,
            _ => in_time(named.acquire(args::timeout(timeout_ns)))?,
        };
        let Some(acquired) = acquired else { return Ok(0) };
        *lock = Box::into_raw(Box::new(LockHandle { guard: acquired }));
        Ok(1)
    })
}

/// The number of the grant.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_fence(lock: *mut LockHandle, fence: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (fence, lock) = unsafe { (out(fence, 0, "fence")?, handle(lock, "lock")?) };
        lock.guard.check_fork()?;
        *fence = lock.guard.fence();
        Ok(0)
    })
}

/// Whether the last holder died with the lock.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_predecessor_died(lock: *mut LockHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let lock = unsafe { handle(lock, "lock")? };
        lock.guard.check_fork()?;
        Ok(lock.guard.predecessor_died().into())
    })
}

/// Whether there is still a lock.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_check(lock: *mut LockHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let lock = unsafe { handle(lock, "lock")? };
        lock.guard.check().map(|()| 0)
    })
}

/// Commits a batch and gives the lock back.
///
/// # Safety
/// As the module [`ffi`](super) says; the lock is not used again, unless this says `SYNCLINE_EINVALID` or `SYNCLINE_EFORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_commit(lock: *mut LockHandle, writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (held, writer) = unsafe { (handle(lock, "lock")?, handle(writer, "writer")?) };
        writer.check_in_batch()?;
        writer.check_no_loan()?;
        held.guard.check_writer(&writer.writer)?;
        // SAFETY: it came from `syncline_lock_acquire`, which boxed it, and its owner gives it up with this.
        let held = unsafe { Box::from_raw(ptr::from_mut(held)) };
        writer.in_batch = false;
        if let Err(error) = held.guard.promise(&writer.writer) {
            writer.writer.roll_back();
            return Err(error);
        }
        writer.writer.commit_batch().map(|_| 0)
    })
}

/// Gives the lock back.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_release(lock: *mut LockHandle) {
    // SAFETY: it came from `syncline_lock_acquire`, which boxed it.
    unsafe { free(lock) }
}

/// Watches a lock.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_watch_open(
    bus: *mut BusHandle,
    zone: *const c_char,
    name: *const c_char,
    watch: *mut *mut LockWatchHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for the four calls.
        let (watch, bus, zone, name) = unsafe {
            (
                out(watch, ptr::null_mut(), "watch")?,
                shared(bus, "bus")?,
                text(zone, "zone name")?,
                text(name, "lock name")?,
            )
        };
        let opened = bus.bus.zone(zone).lock(name).watch()?;
        *watch = Box::into_raw(Box::new(LockWatchHandle { watch: opened }));
        Ok(0)
    })
}

/// How the lock stands next.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_watch_next(
    watch: *mut LockWatchHandle,
    timeout_ns: i64,
    state: *mut CLockState,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (state, watch) = unsafe { (out(state, CLockState::default(), "state")?, handle(watch, "watch")?) };
        let Some(told) = in_time(watch.watch.next(args::timeout(timeout_ns)))? else { return Ok(0) };
        let LockState { holder_pid, fence, waiting, died } = told;
        *state = CLockState { fence, holder_pid: holder_pid as i32, waiting, died: died.into(), zero: 0 };
        Ok(1)
    })
}

/// Ends the watch.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_lock_watch_close(watch: *mut LockWatchHandle) {
    // SAFETY: it came from `syncline_lock_watch_open`, which boxed it.
    unsafe { free(watch) }
}

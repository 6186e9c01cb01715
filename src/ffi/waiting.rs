//! How readers and writers wait, descriptors for `poll`, and `syncline_wait_set`.

use super::args::{self, array_mut, handle, invalid, out};
use super::error::{free, guard};
use super::reader::ReaderHandle;
use super::writer::WriterHandle;
use crate::client::{Wait, WaitSet};
use crate::error::{Error, Result};
use std::ffi::c_int;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::ptr;

/// What is behind a `syncline_wait_set`.
pub struct WaitSetHandle {
    set: WaitSet,
}

/// `struct syncline_sleeps`.
#[derive(Default)]
#[repr(C)]
pub struct CSleeps {
    spared: u64,
    overtaken: u64,
    rung: u64,
    unrung: u64,
    missed: u64,
}

const _: () = assert!(size_of::<CSleeps>() == 40);

/// `enum syncline_wait` and its time.
pub(super) fn wait(number: u32, spin_ns: i64) -> Result<Wait> {
    match number {
        0 => Ok(Wait::Brief),
        1 => Ok(Wait::Spin),
        2 => Ok(Wait::SpinThenBlock(args::timeout(spin_ns))),
        3 => Ok(Wait::Block),
        _ => Err(invalid(format!("waiting: expected one of enum syncline_wait, found {number}"))),
    }
}

/// Sets how a reader waits.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_set_wait(reader: *mut ReaderHandle, how: u32, spin_ns: i64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let reader = unsafe { handle(reader, "reader")? };
        reader.reader.check_fork()?;
        reader.reader.set_wait(wait(how, spin_ns)?);
        Ok(0)
    })
}

/// Sets how a writer waits for room.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_set_room_wait(writer: *mut WriterHandle, how: u32, spin_ns: i64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.writer.check_fork()?;
        writer.writer.set_room_wait(wait(how, spin_ns)?);
        Ok(0)
    })
}

/// How a reader's waits went.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_sleeps(reader: *mut ReaderHandle, sleeps: *mut *const CSleeps) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (sleeps, reader) = unsafe { (out(sleeps, ptr::null(), "sleeps")?, handle(reader, "reader")?) };
        reader.reader.check_fork()?;
        let found = reader.reader.sleeps();
        reader.sleeps = CSleeps {
            spared: found.spared,
            overtaken: found.overtaken,
            rung: found.rung,
            unrung: found.unrung,
            missed: found.missed,
        };
        *sleeps = &raw const reader.sleeps;
        Ok(0)
    })
}

/// A reader's descriptor.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_reader_pollable(reader: *mut ReaderHandle, descriptor: *mut c_int) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (descriptor, reader) = unsafe { (out(descriptor, -1, "descriptor")?, handle(reader, "reader")?) };
        *descriptor = reader.reader.pollable()?.as_raw_fd();
        Ok(0)
    })
}

/// Makes a wait set.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_open(set: *mut *mut WaitSetHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let set = unsafe { out(set, ptr::null_mut(), "wait set")? };
        *set = Box::into_raw(Box::new(WaitSetHandle { set: WaitSet::new()? }));
        Ok(0)
    })
}

/// Sets how it waits.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_set_wait(set: *mut WaitSetHandle, how: u32, spin_ns: i64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let set = unsafe { handle(set, "wait set")? };
        set.set.set_wait(wait(how, spin_ns)?);
        Ok(0)
    })
}

/// Adds a reader.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_add_reader(
    set: *mut WaitSetHandle,
    key: u64,
    reader: *mut ReaderHandle,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (set, reader) = unsafe { (handle(set, "wait set")?, handle(reader, "reader")?) };
        set.set.add_reader(key, &mut reader.reader).map(|()| 0)
    })
}

/// Removes a reader.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_remove_reader(set: *mut WaitSetHandle, reader: *mut ReaderHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (set, reader) = unsafe { (handle(set, "wait set")?, handle(reader, "reader")?) };
        set.set.remove_reader(&mut reader.reader).map(|()| 0)
    })
}

/// A descriptor of the caller's, for this call.
///
/// # Safety
/// It is open, if it is no negative number, and stays so during the call. (One that is not open the kernel refuses.)
unsafe fn borrowed<'a>(descriptor: RawFd) -> Result<BorrowedFd<'a>> {
    if descriptor < 0 {
        return Err(invalid(format!("descriptor: expected an open one, found {descriptor}")));
    }
    // SAFETY: not -1; our caller promises the rest.
    Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// Adds another descriptor.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_add_fd(set: *mut WaitSetHandle, key: u64, descriptor: c_int) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (set, descriptor) = unsafe { (handle(set, "wait set")?, borrowed(descriptor)?) };
        set.set.add(key, descriptor).map(|()| 0)
    })
}

/// Removes another descriptor.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_remove_fd(set: *mut WaitSetHandle, descriptor: c_int) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (set, descriptor) = unsafe { (handle(set, "wait set")?, borrowed(descriptor)?) };
        set.set.remove(descriptor).map(|()| 0)
    })
}

/// Its own descriptor.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_pollable(set: *mut WaitSetHandle, descriptor: *mut c_int) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (descriptor, set) = unsafe { (out(descriptor, -1, "descriptor")?, handle(set, "wait set")?) };
        *descriptor = set.set.as_fd().as_raw_fd();
        Ok(0)
    })
}

/// Waits until one or more are ready: how many.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_wait(
    set: *mut WaitSetHandle,
    timeout_ns: i64,
    keys: *mut u64,
    capacity: u32,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (set, keys) = unsafe { (handle(set, "wait set")?, array_mut(keys, capacity, "keys")?) };
        match set.set.wait_for_up_to(keys.len(), args::timeout(timeout_ns)) {
            Ok(ready) => Ok(keys.iter_mut().zip(ready).map(|(place, key)| *place = key).count() as c_int),
            Err(Error::Timeout) => Ok(0),
            Err(error) => Err(error),
        }
    })
}

/// Closes a wait set.
///
/// # Safety
/// As the module [`ffi`](super) says; the handle is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_wait_set_close(set: *mut WaitSetHandle) {
    // SAFETY: it came from `syncline_wait_set_open`, which boxed it.
    unsafe { free(set) }
}

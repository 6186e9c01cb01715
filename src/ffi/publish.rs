//! Messages into a writer's lanes: by copy, in place, in batches.

use super::args::{self, handle, invalid, out};
use super::error::guard;
use super::writer::WriterHandle;
use crate::client::Key;
use std::ffi::{c_int, c_void};
use std::ptr;

/// Publishes one message.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_publish(
    writer: *mut WriterHandle,
    lane: u64,
    data: *const c_void,
    len: usize,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (writer, bytes) = unsafe { (handle(writer, "writer")?, args::bytes(data, len)?) };
        let key = Key::from_bits(lane);
        writer.check_idle()?;
        writer.check_len(key, len)?;
        writer.writer.publish_bytes(key, bytes)?;
        Ok(0)
    })
}

/// Room to write a message in.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_writer_loan(
    writer: *mut WriterHandle,
    lane: u64,
    len: usize,
    data: *mut *mut c_void,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (data, writer) = unsafe { (out(data, ptr::null_mut(), "data")?, handle(writer, "writer")?) };
        let key = Key::from_bits(lane);
        writer.check_no_loan()?;
        writer.shape(key)?;
        let claim = if writer.in_batch {
            writer.writer.claim_in_batch(key, len)?
        } else {
            writer.writer.claim_single(key, len)?
        };
        writer.loan = Some((key, claim));
        *data = writer.writer.payload_mut(key, claim).as_mut_ptr().cast();
        Ok(0)
    })
}

/// Publishes the loan.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_loan_publish(writer: *mut WriterHandle, len: usize) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        let (key, claim) = writer.open_loan()?;
        if len > claim.payload_len() as usize {
            return Err(invalid(format!("loan of {} bytes: can not publish {len}", claim.payload_len())));
        }
        writer.check_len(key, len)?;
        let claim = claim.shortened(len as u32);
        writer.loan = None;
        if writer.in_batch {
            writer.writer.push(key, claim);
            Ok(0)
        } else {
            writer.writer.commit_single(key, claim).map(|()| 0)
        }
    })
}

/// Ends the loan without a trace.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_loan_drop(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.open_loan()?;
        writer.loan = None;
        Ok(0)
    })
}

/// Begins a batch.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_batch_begin(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.check_idle()?;
        writer.writer.check_fork()?;
        writer.in_batch = true;
        Ok(0)
    })
}

/// Adds a message to the batch.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_batch_push(
    writer: *mut WriterHandle,
    lane: u64,
    data: *const c_void,
    len: usize,
) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls.
        let (writer, bytes) = unsafe { (handle(writer, "writer")?, args::bytes(data, len)?) };
        let key = Key::from_bits(lane);
        writer.check_in_batch()?;
        writer.check_no_loan()?;
        writer.check_len(key, len)?;
        let claim = writer.writer.claim_in_batch(key, len)?;
        writer.writer.payload_mut(key, claim).copy_from_slice(bytes);
        writer.writer.push(key, claim);
        Ok(0)
    })
}

/// Commits the batch.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_batch_commit(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.check_in_batch()?;
        writer.check_no_loan()?;
        writer.in_batch = false;
        writer.writer.commit_batch().map(|_| 0)
    })
}

/// Forgets the batch.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_batch_roll_back(writer: *mut WriterHandle) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let writer = unsafe { handle(writer, "writer")? };
        writer.check_in_batch()?;
        writer.writer.roll_back();
        (writer.loan, writer.in_batch) = (None, false);
        Ok(0)
    })
}

//! Errors on their way to C: a negative code now, the text when it is asked for.

use super::args::{out, wanted};
use crate::error::{Code, Error, Laggard, Result};
use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CString, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// The last failure of a thread.
struct Last {
    error: Error,
    /// Its text, once somebody has asked.
    text: Option<CString>,
    /// Its laggards, once somebody has asked.
    laggards: Vec<OwnedLaggard>,
    /// What it says is lost, once somebody has asked.
    lost: Option<OwnedLost>,
}

thread_local! {
    static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
}

/// Runs the body of a C function: its value, or the negative code of its error, which is kept for `syncline_detail`.
///
/// After a panic a handle may be half-way through what it did: memory safe, but good for closing only.
#[inline(always)]
pub(super) fn guard(body: impl FnOnce() -> Result<c_int>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(error)) => fail(error),
        Err(panic) => fail(panicked(&*panic)),
    }
}

/// Frees a handle, if there is one.
///
/// # Safety
/// `handle` is NULL, or comes from `Box::into_raw` and is not used again.
pub(super) unsafe fn free<T>(handle: *mut T) {
    guard(|| {
        if !handle.is_null() {
            // SAFETY: our caller promises that it was a box, and that this is its end.
            drop(unsafe { Box::from_raw(handle) });
        }
        Ok(0)
    });
}

#[cold]
#[inline(never)]
fn fail(error: Error) -> c_int {
    let code = -(error.code() as c_int);
    // A thread that is ending has no place for it any more.
    let _ = LAST.try_with(|last| last.replace(Some(Last { error, text: None, laggards: Vec::new(), lost: None })));
    code
}

fn panicked(panic: &(dyn Any + Send)) -> Error {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    coded(Code::Internal, format!("a bug in the library: {what}; close the handle and report it"))
}

/// An error of this kind, with a text of ours.
pub(super) fn coded(code: Code, text: String) -> Error {
    Error::Refused { code, text }
}

/// A text for C: the longest there is, whatever it holds.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "?")).unwrap_or_default()
}

/// What the last failed call of this thread has to say.
#[unsafe(no_mangle)]
pub extern "C" fn syncline_detail() -> *const c_char {
    let detail = || {
        LAST.try_with(|last| match &mut *last.borrow_mut() {
            Some(Last { error, text, .. }) => text.get_or_insert_with(|| c_text(&error.to_string())).as_ptr(),
            None => c"".as_ptr(),
        })
    };
    match catch_unwind(detail) {
        Ok(Ok(text)) => text,
        _ => c"".as_ptr(),
    }
}

/// `struct syncline_laggard`.
#[repr(C)]
pub struct CLaggard {
    name: *const c_char,
    taken: u64,
    pid: i32,
    zero: u32,
}

const _: () = assert!(size_of::<CLaggard>() == 24);

/// A laggard, with the text that it points to.
struct OwnedLaggard {
    shown: CLaggard,
    _name: CString,
}

impl OwnedLaggard {
    fn new(laggard: &Laggard) -> Self {
        let name = c_text(&laggard.name);
        let shown = CLaggard { name: name.as_ptr(), taken: laggard.taken, pid: laggard.pid as i32, zero: 0 };
        OwnedLaggard { shown, _name: name }
    }
}

/// A reader that the last failed call of this thread is about.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_detail_laggard(index: usize, laggard: *mut *const CLaggard) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let laggard = unsafe { out(laggard, ptr::null(), "laggard")? };
        let find = |last: &mut Option<Last>| {
            let Last { error: Error::Laggards { laggards: named, .. }, laggards, .. } = last.as_mut()? else {
                return None;
            };
            if laggards.is_empty() {
                laggards.extend(named.iter().map(OwnedLaggard::new));
            }
            laggards.get(index).map(|found| &raw const found.shown)
        };
        let found = LAST.try_with(|last| find(&mut last.borrow_mut())).ok().flatten();
        *laggard = found.unwrap_or(ptr::null());
        Ok(c_int::from(found.is_some()))
    })
}

/// `struct syncline_lost`.
#[repr(C)]
pub struct CLost {
    channel: *const c_char,
    writer_name: *const c_char,
    count: u64,
    first_era: u64,
    last_era: u64,
    writer: u32,
    zero: u32,
}

const _: () = assert!(size_of::<CLost>() == 48);

/// What is lost, with the texts that it points to.
struct OwnedLost {
    shown: Box<CLost>,
    _texts: Option<(CString, CString)>,
}

impl OwnedLost {
    fn new(error: &Error) -> Option<Self> {
        let mut shown = Box::new(CLost {
            channel: ptr::null(),
            writer_name: ptr::null(),
            count: 0,
            first_era: 0,
            last_era: 0,
            writer: 0,
            zero: 0,
        });
        let (channel, name) = match error {
            Error::ErasLost { first, last } => {
                (shown.first_era, shown.last_era) = (*first, *last);
                return Some(OwnedLost { shown, _texts: None });
            }
            Error::Lagged(lagged) => {
                (shown.count, shown.writer) = (lagged.count, lagged.writer);
                (&lagged.channel, &lagged.name)
            }
            Error::Evicted(evicted) => {
                shown.writer = evicted.writer;
                (&evicted.channel, &evicted.name)
            }
            _ => return None,
        };
        let texts = (c_text(channel), c_text(name));
        (shown.channel, shown.writer_name) = (texts.0.as_ptr(), texts.1.as_ptr());
        Some(OwnedLost { shown, _texts: Some(texts) })
    }
}

/// What the last failed call of this thread says is lost.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_detail_lost(lost: *mut *const CLost) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract.
        let lost = unsafe { out(lost, ptr::null(), "lost")? };
        let find = |last: &mut Option<Last>| {
            let last = last.as_mut()?;
            if last.lost.is_none() {
                last.lost = OwnedLost::new(&last.error);
            }
            last.lost.as_ref().map(|found| &raw const *found.shown)
        };
        let found = LAST.try_with(|last| find(&mut last.borrow_mut())).ok().flatten();
        *lost = found.unwrap_or(ptr::null());
        Ok(c_int::from(found.is_some()))
    })
}

/// What is to be had instead of the era that the last failed call of this thread is about.
///
/// # Safety
/// As the module [`ffi`](super) says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncline_detail_gone(oldest: *mut u64, generation: *mut u64) -> c_int {
    guard(|| {
        // SAFETY: the caller keeps the header's contract, for both calls; NULL says that nobody wants to know.
        let places = unsafe { (wanted(oldest, "oldest")?, wanted(generation, "generation")?) };
        let find = |last: &Option<Last>| match last.as_ref()?.error {
            Error::Gone { oldest, generation, .. } => Some((oldest.unwrap_or(0), generation)),
            _ => None,
        };
        let Some(found) = LAST.try_with(|last| find(&last.borrow())).ok().flatten() else { return Ok(0) };
        if let Some(oldest) = places.0 {
            *oldest = found.0;
        }
        if let Some(generation) = places.1 {
            *generation = found.1;
        }
        Ok(1)
    })
}

/// A short text for a code.
#[unsafe(no_mangle)]
pub extern "C" fn syncline_strerror(code: c_int) -> *const c_char {
    if code == 0 {
        return c"success".as_ptr();
    }
    let known = code.checked_neg().and_then(Code::from_number);
    known.map_or(c"unknown error", Code::c_text).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    const HEADER: &str = include_str!("../../include/syncline.h");

    fn detail() -> String {
        // SAFETY: the text is this thread's, and no call fails before it is copied.
        unsafe { CStr::from_ptr(syncline_detail()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn header_has_every_code_with_its_number() {
        for code in Code::ALL {
            let line = format!("SYNCLINE_E{} = -{}", format!("{code:?}").to_uppercase(), *code as i32);
            let has =
                HEADER.match_indices(&line).any(|(at, _)| !HEADER[at + line.len()..].starts_with(char::is_numeric));
            assert!(has, "the header lacks {line}");
        }
        assert_eq!(HEADER.matches("    SYNCLINE_E").count(), Code::ALL.len(), "the header has a code too many");
    }

    #[test]
    fn header_has_the_abi_version() {
        assert!(HEADER.contains(&format!("#define SYNCLINE_ABI_VERSION {}u\n", super::super::ABI_VERSION)));
    }

    #[test]
    fn panic_is_an_error_with_its_text() {
        assert_eq!(guard(|| panic!("lost my way")), -(Code::Internal as c_int));
        assert!(detail().contains("lost my way"), "{}", detail());
    }

    #[test]
    fn detail_is_kept_by_success_and_replaced_by_failure() {
        guard(|| Err(Error::Invalid("one\0nul".to_owned())));
        assert_eq!(guard(|| Ok(1)), 1);
        assert_eq!(detail(), "one?nul");
        guard(|| Err(Error::Timeout));
        assert_eq!(detail(), "nothing within the deadline");
    }

    #[test]
    fn strerror_takes_any_number() {
        for code in [0, -1, -17, -18, 1, i32::MIN, i32::MAX] {
            assert!(!syncline_strerror(code).is_null());
        }
    }
}

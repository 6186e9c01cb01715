//! What C passes, checked before it is used.

use crate::error::{Error, Result};
use std::ffi::{CStr, c_char, c_void};
use std::mem::{MaybeUninit, size_of};
use std::time::Duration;

/// No options struct is ever larger: a `size` beyond it was never a `sizeof`.
const MOST_OPTIONS: usize = 4096;

#[cold]
#[inline(never)]
pub(super) fn invalid(text: impl Into<String>) -> Error {
    Error::Invalid(text.into())
}

#[cold]
#[inline(never)]
fn bad_pointer(what: &str, null: bool) -> Error {
    let found = if null { "NULL" } else { "a misaligned pointer" };
    Error::Invalid(format!("{what}: expected a pointer to one, found {found}"))
}

/// A handle for this call alone.
///
/// # Safety
/// `pointer` is NULL or an open handle that no other thread uses now.
#[inline(always)]
pub(super) unsafe fn handle<'a, T>(pointer: *mut T, what: &str) -> Result<&'a mut T> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(bad_pointer(what, pointer.is_null()));
    }
    // SAFETY: neither NULL nor misaligned; our caller promises the rest.
    Ok(unsafe { &mut *pointer })
}

/// A handle that other threads may be using too, or a struct that is only looked at.
///
/// # Safety
/// `pointer` is NULL or valid for reads of a `T`, and nobody writes there during the call.
#[inline(always)]
pub(super) unsafe fn shared<'a, T: Sync>(pointer: *const T, what: &str) -> Result<&'a T> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(bad_pointer(what, pointer.is_null()));
    }
    // SAFETY: neither NULL nor misaligned; our caller promises the rest.
    Ok(unsafe { &*pointer })
}

/// Where a result goes; it is set to `first` at once, so that a failure leaves that.
///
/// # Safety
/// `pointer` is NULL or valid for writes of a `T`.
#[inline(always)]
pub(super) unsafe fn out<'a, T>(pointer: *mut T, first: T, what: &str) -> Result<&'a mut T> {
    if pointer.is_null() || !pointer.is_aligned() {
        return Err(bad_pointer(what, pointer.is_null()));
    }
    // SAFETY: neither NULL nor misaligned, and our caller promises that it may be written; after that it holds a `T`.
    unsafe {
        pointer.write(first);
        Ok(&mut *pointer)
    }
}

/// Where a number goes that C may do without; it is 0 until there is one.
///
/// # Safety
/// `pointer` is NULL or valid for writes of a `T`.
#[inline(always)]
pub(super) unsafe fn wanted<'a, T: Default>(pointer: *mut T, what: &str) -> Result<Option<&'a mut T>> {
    // SAFETY: passed on to our caller.
    if pointer.is_null() { Ok(None) } else { unsafe { out(pointer, T::default(), what) }.map(Some) }
}

/// The text of a C string.
///
/// # Safety
/// `pointer` is NULL or a C string that nobody changes during the call.
pub(super) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(invalid(format!("{what}: expected text, found NULL")));
    }
    // SAFETY: not NULL; our caller promises that it ends with a zero and stays as it is.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str()
        .map_err(|error| invalid(format!("{what}: expected UTF-8, found other bytes at {}", error.valid_up_to())))
}

/// The bytes of a message.
///
/// # Safety
/// `data` is NULL or valid for reads of `len` bytes, which nobody changes during the call.
#[inline(always)]
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Result<&'a [u8]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(bad_pointer("data", true));
    }
    if len > isize::MAX as usize {
        return Err(Error::TooLarge { len: len as u64, limit: isize::MAX as u64 });
    }
    // SAFETY: not NULL and of a length that a slice may have; our caller promises the bytes.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// Where bytes go.
///
/// # Safety
/// `buffer` is NULL or valid for writes of `len` bytes, and nothing else uses them during the call.
pub(super) unsafe fn buffer<'a>(buffer: *mut c_void, len: usize) -> Result<&'a mut [u8]> {
    if buffer.is_null() {
        return Err(bad_pointer("buffer", true));
    }
    // SAFETY: not NULL, as long as a message at most; our caller promises the bytes, and any bits are good for them.
    Ok(unsafe { std::slice::from_raw_parts_mut(buffer.cast(), len) })
}

/// An array of structs.
///
/// # Safety
/// `first` is NULL or valid for reads of `count` elements, which nobody changes during the call.
pub(super) unsafe fn array<'a, T>(first: *const T, count: u32, most: u32, what: &str) -> Result<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if first.is_null() || !first.is_aligned() {
        return Err(bad_pointer(what, first.is_null()));
    }
    if count > most {
        return Err(invalid(format!("{what}: expected at most {most}, found {count}")));
    }
    // SAFETY: neither NULL nor misaligned, and of bounded length; our caller promises the elements.
    Ok(unsafe { std::slice::from_raw_parts(first, count as usize) })
}

/// Where an array goes.
///
/// # Safety
/// Any bits are a `T`. `first` is NULL or valid for reads and writes of `count` elements, and nothing else uses them during the call.
pub(super) unsafe fn array_mut<'a, T: Copy>(first: *mut T, count: u32, what: &str) -> Result<&'a mut [T]> {
    if first.is_null() || !first.is_aligned() {
        return Err(bad_pointer(what, first.is_null()));
    }
    if count == 0 {
        return Err(invalid(format!("{what}: expected room for one or more, found none")));
    }
    // SAFETY: neither NULL nor misaligned; our caller promises the elements, and that any bits are good for them.
    Ok(unsafe { std::slice::from_raw_parts_mut(first, count as usize) })
}

/// A struct that C fills in, which may grow: its first member is a `usize`, its own size as C knows it.
///
/// # Safety
/// `repr(C)`, begins with the size, no padding, and valid with any bits.
pub(super) unsafe trait Growing: Copy {
    /// How C calls it.
    const NAME: &'static str;
}

/// Reads such a struct: what an older program did not know is zero, and what a newer one knows beyond us must be.
///
/// # Safety
/// `pointer` is NULL or valid for reads of a `usize` and, if that is a plausible size, of as many bytes.
pub(super) unsafe fn sized<T: Growing>(pointer: *const T) -> Result<T> {
    let name = T::NAME;
    if pointer.is_null() || !pointer.cast::<usize>().is_aligned() {
        return Err(bad_pointer(name, pointer.is_null()));
    }
    // SAFETY: neither NULL nor misaligned; our caller promises the first member.
    let size = unsafe { pointer.cast::<usize>().read() };
    if size < size_of::<usize>() || size > MOST_OPTIONS || !size.is_multiple_of(size_of::<usize>()) {
        return Err(invalid(format!("{name}: its first member is {size}; set it to sizeof({name})")));
    }
    // SAFETY: our caller promises that as many bytes can be read.
    let bytes = unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), size) };
    let (known, beyond) = bytes.split_at(size.min(size_of::<T>()));
    if beyond.iter().any(|byte| *byte != 0) {
        return Err(invalid(format!(
            "{name}: {size} bytes, of which this library knows {}; what is beyond must be zero, or the library newer",
            size_of::<T>()
        )));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` is not longer than a `T`, which any bits are good for; the two do not overlap.
    unsafe {
        std::ptr::copy_nonoverlapping(known.as_ptr(), value.as_mut_ptr().cast::<u8>(), known.len());
        Ok(value.assume_init())
    }
}

/// A timeout in nanoseconds; a negative one is for ever.
pub(super) fn timeout(ns: i64) -> Duration {
    u64::try_from(ns).map_or(Duration::MAX, Duration::from_nanos)
}

/// A result that may be late: `None` then.
#[inline(always)]
pub(super) fn in_time<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Error::Timeout) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C)]
    struct Options {
        size: usize,
        a: u64,
        b: u64,
    }

    // SAFETY: three words.
    unsafe impl Growing for Options {
        const NAME: &'static str = "struct options";
    }

    fn read(words: &[usize]) -> Result<Options> {
        // SAFETY: the tests give no size beyond `words`, but for those refused before anything is read.
        unsafe { sized(words.as_ptr().cast()) }
    }

    #[test]
    fn older_newer_and_odd_sizes() {
        assert_eq!(read(&[24, 1, 2]).unwrap(), Options { size: 24, a: 1, b: 2 });
        assert_eq!(read(&[16, 1, 99]).unwrap(), Options { size: 16, a: 1, b: 0 });
        assert_eq!(read(&[32, 1, 2, 0]).unwrap(), Options { size: 32, a: 1, b: 2 });
        assert!(read(&[32, 1, 2, 1]).unwrap_err().to_string().contains("must be zero"));
        for size in [0, 1, 13, 4104, usize::MAX] {
            assert!(read(&[size, 1, 2]).unwrap_err().to_string().contains("sizeof"), "{size}");
        }
    }

    #[test]
    fn negative_timeouts_are_for_ever() {
        assert_eq!(timeout(-1), Duration::MAX);
        assert_eq!(timeout(i64::MIN), Duration::MAX);
        assert_eq!(timeout(0), Duration::ZERO);
        assert_eq!(timeout(1_500_000_000), Duration::from_millis(1500));
    }

    #[test]
    fn pointers_are_looked_at_first() {
        // SAFETY: NULL and misaligned pointers are never followed.
        unsafe {
            assert!(handle::<u64>(std::ptr::null_mut(), "writer").unwrap_err().to_string().contains("writer"));
            assert!(
                shared::<u64>(std::ptr::without_provenance(4), "bus").unwrap_err().to_string().contains("misaligned")
            );
            assert!(text(std::ptr::null(), "name").is_err());
            assert!(text(c"\xff".as_ptr(), "name").unwrap_err().to_string().contains("UTF-8"));
            assert!(bytes(std::ptr::null(), 1).is_err());
            assert!(bytes(std::ptr::null(), 0).unwrap().is_empty());
            assert!(matches!(bytes(std::ptr::dangling::<u8>().cast(), usize::MAX), Err(Error::TooLarge { .. })));
        }
    }
}

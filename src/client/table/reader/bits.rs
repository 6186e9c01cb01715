//! Values out of words that their writer may be writing.

use crate::client::payload::Described;
use crate::error::{Error, Result};
use crate::sync::AtomicU64;
use bytemuck::CheckedBitPattern;
use std::mem::MaybeUninit;

/// The bits of a `T` in a value, which has as many bytes at least.
#[inline(always)]
pub(super) fn read_bits<T: CheckedBitPattern>(words: &[AtomicU64]) -> MaybeUninit<T::Bits> {
    if size_of::<T::Bits>() > size_of_val(words) {
        // Not for an item of a `T`.
        return MaybeUninit::zeroed();
    }
    let mut bits = MaybeUninit::<T::Bits>::uninit();
    // Written whole before it is read: `copy_words` would make a reference to what is not there yet. So many words as can be known when this is
    // compiled: then they stay in registers, if there are few.
    let (at, whole, rest) = (bits.as_mut_ptr().cast::<u8>(), size_of::<T::Bits>() / 8, size_of::<T::Bits>() % 8);
    for n in 0..whole {
        // SAFETY: there are `size_of::<T::Bits>()` bytes of words, as was checked, and so as many as `8 * whole`.
        let word = unsafe { words.get_unchecked(n) };
        let bytes = word.load(crate::sync::Ordering::Relaxed).to_le_bytes();
        // SAFETY: `8 * whole` bytes are inside `bits`, and `n < whole`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.add(8 * n), 8) };
    }
    if let (true, Some(word)) = (rest > 0, words.get(whole)) {
        let bytes = word.load(crate::sync::Ordering::Relaxed).to_le_bytes();
        // SAFETY: the last `rest` bytes of `bits` begin at `8 * whole`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at.add(8 * whole), rest) };
    }
    bits
}

/// The value whose bits were read: all of its bytes have been written, since the item's declared size is `T`'s.
#[inline(always)]
pub(super) fn checked<T: Described + CheckedBitPattern>(bits: MaybeUninit<T::Bits>) -> Result<T> {
    // SAFETY: `read_bits` has written every byte: an item of type `T` has a value of `size_of::<T>()` bytes at least (its declaration was
    // compared with `T`'s when the item was made, and the place follows from it), and any bytes are a `T::Bits`.
    let bits = unsafe { bits.assume_init() };
    if !T::is_valid_bit_pattern(&bits) {
        return Err(Error::BadValue { expected: T::NAME, size: size_of::<T>(), len: size_of::<T>() });
    }
    // SAFETY: `CheckedBitPattern` promises that bits that are valid are a `T`, which is as large as its bits.
    Ok(unsafe { std::mem::transmute_copy::<T::Bits, T>(&bits) })
}

pub(super) fn elements<T: Described + CheckedBitPattern>(bytes: &[u8]) -> Result<Vec<T>> {
    let bad = || Error::BadValue { expected: T::NAME, size: size_of::<T>(), len: bytes.len() };
    if size_of::<T>() == 0 || !bytes.len().is_multiple_of(size_of::<T>()) {
        return Err(bad());
    }
    let elements = bytes.chunks_exact(size_of::<T>()).map(bytemuck::checked::try_pod_read_unaligned);
    elements.collect::<Result<_, _>>().map_err(|_| bad())
}

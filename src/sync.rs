//! The atomics of the core: those of `std`, or loom's when the models run (`--cfg loom`). The only file that names either.

#[cfg(not(loom))]
pub use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, compiler_fence, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Whether this build checks models: constants shrink, and asymmetric fences become full ones.
pub const MODEL: bool = cfg!(loom);

/// Asks for a word's cache line, to be written soon: its copies elsewhere go while we do something else. Changes nothing.
#[inline(always)]
#[allow(unused_variables, reason = "not every machine has the instruction")]
pub(crate) fn prefetch_for_write(word: &AtomicU64) {
    #[cfg(all(not(loom), target_arch = "x86_64"))]
    // SAFETY: a hint: it neither faults nor changes anything, whatever the address.
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(not(loom), target_arch = "aarch64"))]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
}

/// Asks for a word's cache line, to be read soon. Changes nothing.
#[inline(always)]
#[allow(unused_variables, reason = "not every machine has the instruction")]
pub(crate) fn prefetch_for_read(word: &AtomicU64) {
    #[cfg(all(not(loom), target_arch = "x86_64"))]
    // SAFETY: a hint: it neither faults nor changes anything, whatever the address.
    unsafe {
        std::arch::asm!("prefetcht0 [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(not(loom), target_arch = "aarch64"))]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) word, options(nostack, preserves_flags, readonly));
    }
}

//! Telling a forked child from the process that made a handle.
//!
//! Mapped segments do not survive a fork (`MADV_DONTFORK`), so a handle that a child inherits refers to addresses that are
//! unmapped there, or are something else by now. One page of the process holds an **epoch**, a number that is not zero; the
//! kernel zeroes the page in every child (`MADV_WIPEONFORK`), however that came about: `fork`, or a raw `clone` that no
//! `pthread_atfork` handler sees. Every handle remembers the epoch that it was made in.
//!
//! A child that makes handles of its own needs an epoch that none of the handles it inherited has. `LAST` is ordinary
//! memory: a child inherits it, and it is at least as high as every epoch made before the fork; so the next number is new.

use crate::layout::PAGE;
use crate::sync::{AtomicU64, Ordering};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};
use std::io;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::atomic::AtomicPtr;

/// The last epoch that this process or one it descends from has made.
static LAST: AtomicU64 = AtomicU64::new(0);

/// The page, once there is one; never unmapped again. (Not a `OnceLock`: a fork while another thread initialises one
/// leaves the child waiting for a thread that it does not have.)
static EPOCH_PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// The process that a handle was made in, as against any that forked from it later.
#[derive(Clone, Copy, Debug)]
pub struct Epoch {
    page: &'static AtomicU64,
    value: u64,
}

impl Epoch {
    /// The epoch of the calling process.
    ///
    /// # Errors
    /// The kernel has no memory for one page, or no `MADV_WIPEONFORK` (before Linux 4.14).
    pub fn current() -> io::Result<Epoch> {
        let page = page()?;
        let mut value = page.load(Ordering::Relaxed);
        if value == 0 {
            let fresh = LAST.fetch_add(1, Ordering::Relaxed) + 1;
            value = match page.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => fresh,
                Err(another_threads) => another_threads,
            };
        }
        Ok(Epoch { page, value })
    }

    /// Whether the caller is still the process of this epoch, and not a forked child of it.
    #[inline(always)]
    pub fn is_current(&self) -> bool {
        self.page.load(Ordering::Relaxed) == self.value
    }
}

/// The process's page: made by the first caller.
fn page() -> io::Result<&'static AtomicU64> {
    let mut page = EPOCH_PAGE.load(Ordering::Acquire);
    if page.is_null() {
        let fresh = map_page()?;
        page = match EPOCH_PAGE.compare_exchange(ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => fresh,
            Err(another_threads) => {
                unmap_page(fresh);
                another_threads
            }
        };
    }
    // SAFETY: `page` comes from `map_page` and is the one in `EPOCH_PAGE`, which is never unmapped; it is page-aligned, and
    // everybody uses it through this type.
    Ok(unsafe { &*page })
}

/// A zeroed page that the kernel zeroes again in forked children.
fn map_page() -> io::Result<*mut AtomicU64> {
    const LEN: NonZeroUsize = NonZeroUsize::new(PAGE as usize).unwrap();
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let page = unsafe { mmap_anonymous(None, LEN, access, MapFlags::MAP_PRIVATE) }?;
    // SAFETY: the page was mapped just now and belongs to us; the advice changes only what children get.
    if let Err(errno) = unsafe { madvise(page, LEN.get(), MmapAdvise::MADV_WIPEONFORK) } {
        unmap_page(page.as_ptr().cast());
        return Err(errno.into());
    }
    Ok(page.as_ptr().cast())
}

/// Gives back a page of [`map_page`] that nobody else has seen.
fn unmap_page(page: *mut AtomicU64) {
    if let Some(page) = ptr::NonNull::new(page.cast()) {
        // SAFETY: the page came from `map_page`, and its only pointer ends here. It can not fail for a whole mapping, and
        // if it did, a page would stay mapped.
        let _ = unsafe { munmap(page, PAGE as usize) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::in_child;

    #[test]
    fn one_epoch_per_process() {
        let (a, b) = (Epoch::current().unwrap(), Epoch::current().unwrap());
        assert!(a.is_current() && b.is_current());
        assert_eq!(a.value, b.value);
    }

    #[test]
    fn a_child_is_never_in_its_parents_epoch() {
        let parents = Epoch::current().unwrap();
        let code = in_child(|| {
            let before = parents.is_current();
            let own = Epoch::current().unwrap();
            let grandchild = in_child(|| {
                let inherited = own.is_current() || parents.is_current();
                let own = Epoch::current().unwrap();
                !inherited && own.is_current() && !parents.is_current()
            });
            !before && own.is_current() && !parents.is_current() && grandchild == 0
        });
        assert_eq!(code, 0);
        assert!(parents.is_current(), "the parent's stays");
    }

    #[test]
    fn a_raw_clone_is_noticed_too() {
        let parents = Epoch::current().unwrap();
        // SAFETY: `clone` with no flags but the exit signal and no stack is `fork` without the C library's handlers; the
        // child makes one load and one system call.
        let child = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
        assert!(child >= 0, "{}", io::Error::last_os_error());
        if child == 0 {
            let code = i32::from(parents.is_current());
            // SAFETY: `_exit` ends the child.
            unsafe { libc::_exit(code) }
        }
        assert_eq!(crate::os::testing::join_child(nix::unistd::Pid::from_raw(child as i32)), 0);
    }
}

//! A range of this process's addresses that shows a segment: the raw mapping under [`super::mapping`].

use super::fork::Epoch;
use super::mapping::Access;
use memmap2::{MmapOptions, MmapRaw};
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use std::io;
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// Mapped memory of one process: unmapped when dropped, except in a forked child, which has no such mapping
/// (`MADV_DONTFORK`) and may have something else at the address by then.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    len: NonZeroUsize,
    epoch: Epoch,
    /// What made the mapping, if it shows the segment just once. A mirrored one is made by hand: no library has that.
    plain: Option<ManuallyDrop<MmapRaw>>,
}

// SAFETY: a `Region` owns its range of addresses, which every thread of the process shares, and never touches what is there.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// The whole of a segment of `len` bytes.
    pub(super) fn map(fd: BorrowedFd, len: u64, access: Access) -> io::Result<Region> {
        let epoch = Epoch::current()?;
        let len = usize::try_from(len).ok().and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let mut options = MmapOptions::new();
        options.len(len.get());
        let mapped = match access {
            Access::ReadOnly => options.map_raw_read_only(&fd),
            Access::ReadWrite => options.map_raw(&fd),
        };
        let plain = mapped.map_err(|error| refused(Errno::from_raw(error.raw_os_error().unwrap_or(0)), access))?;
        let base = NonNull::new(plain.as_mut_ptr()).ok_or(Errno::EINVAL)?;
        Region { base, len, epoch, plain: Some(ManuallyDrop::new(plain)) }.finish(access)
    }

    /// A segment of `header + ring` bytes, and its ring a second time right behind the first.
    pub(super) fn map_mirrored(fd: BorrowedFd, header: u64, ring: u64, access: Access) -> io::Result<Region> {
        let region = Region::reserve(header + 2 * ring)?;
        region.place(fd, 0, 0, header + ring, access)?;
        region.place(fd, header + ring, header, ring, access)?;
        region.finish(access)
    }

    /// Touches every page now, so that no message meets a page fault later.
    ///
    /// # Errors
    /// No memory left. That the kernel does not know the advice (before Linux 5.14) is none.
    pub(super) fn prefault(&self, access: Access) -> io::Result<()> {
        match self.advise(access.populate()) {
            Ok(()) | Err(Errno::EINVAL) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The first byte; page-aligned.
    #[inline(always)]
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Whether the caller is the process that this was mapped in. Only then is there anything at the addresses.
    #[inline(always)]
    pub(super) fn is_current(&self) -> bool {
        self.epoch.is_current()
    }

    /// Addresses that nothing else will be mapped at, without access.
    fn reserve(len: u64) -> io::Result<Region> {
        let epoch = Epoch::current()?;
        let len = usize::try_from(len).ok().and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_NONE, flags) }?.cast();
        Ok(Region { base, len, epoch, plain: None })
    }

    /// Shows `len` bytes of the file from `offset` on, at `at` bytes into the reservation.
    fn place(&self, fd: BorrowedFd, at: u64, offset: u64, len: u64, access: Access) -> io::Result<()> {
        let inside = at.checked_add(len).is_some_and(|end| end <= self.len.get() as u64);
        let address = self.base.addr().checked_add(at as usize);
        let (true, Some(address), Some(len)) = (inside, address, NonZeroUsize::new(len as usize)) else {
            return Err(Errno::EINVAL.into());
        };
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
        // SAFETY: `MAP_FIXED` replaces a part of the reservation (`inside`), which is ours and which nobody has a pointer
        // into yet: it is called only while the region is being made.
        let mapped = unsafe { mmap(Some(address), len, access.protection(), flags, fd, offset as i64) };
        mapped.map(|_| ()).map_err(|errno| refused(errno, access))
    }

    /// Keeps the mapping out of forked children. (One forked by another thread just before has it, and never uses it.)
    fn finish(self, access: Access) -> io::Result<Region> {
        self.advise(MmapAdvise::MADV_DONTFORK).map_err(|errno| refused(errno, access))?;
        Ok(self)
    }

    fn advise(&self, advice: MmapAdvise) -> Result<(), Errno> {
        // SAFETY: the range is ours as a whole. Callers pass `DONTFORK` and `POPULATE_*`, which change none of its bytes.
        unsafe { madvise(self.base.cast(), self.len.get(), advice) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        if !self.is_current() {
            return;
        }
        if let Some(plain) = &mut self.plain {
            // SAFETY: dropped here and nowhere else.
            unsafe { ManuallyDrop::drop(plain) };
        } else {
            // SAFETY: in this process the range is ours, and whatever borrowed from it is gone with the region's borrows. It
            // can not fail for a whole mapping, and if it did, the memory would stay mapped.
            let _ = unsafe { munmap(self.base.cast(), self.len.get()) };
        }
    }
}

fn refused(errno: Errno, access: Access) -> io::Error {
    let why = match (errno, access) {
        (Errno::EPERM, Access::ReadWrite) => ": it is sealed, and only the writer that mapped it before may write",
        (Errno::EACCES, Access::ReadWrite) => ": the descriptor is read-only; map it read-only",
        (Errno::ENOMEM, _) => ": out of memory, of address space or of mappings (vm.max_map_count)",
        _ => "",
    };
    let source = io::Error::from(errno);
    io::Error::new(source.kind(), format!("mapping a segment {access}: {source}{why}"))
}

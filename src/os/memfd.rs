//! Segments: sealed memory files that the broker makes and passes on as descriptors. They have no name in any file system,
//! so nothing of them is left behind.

use crate::layout::PAGE;
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, OFlag, SealFlag, fallocate, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::ftruncate;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

/// The longest name of a memfd, in bytes.
pub const MAX_NAME: usize = 249;

/// A memory file of fixed size, made here. Mode 0600, so that no other uid can open it again through `/proc`.
#[derive(Debug)]
pub struct Segment {
    fd: OwnedFd,
    size: u64,
}

impl Segment {
    /// A segment of `size` bytes (whole pages) that can neither shrink nor grow. Its pages are not allocated yet.
    ///
    /// # Errors
    /// `InvalidInput` for a name or size out of range; the kernel has no descriptor or memory left.
    pub fn create(name: &str, size: u64) -> io::Result<Segment> {
        if name.len() > MAX_NAME || name.contains('\0') {
            let what = format!("segment name of {} bytes: expected at most {MAX_NAME}, none of them zero", name.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        if size == 0 || !size.is_multiple_of(PAGE) || size > i64::MAX as u64 {
            let what = format!("segment of {size} bytes: expected whole pages of {PAGE}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let no_exec = MFdFlags::from_bits_retain(libc::MFD_NOEXEC_SEAL);
        let fd = match memfd_create(name, flags | no_exec) {
            Err(Errno::EINVAL) => memfd_create(name, flags)?, // Linux before 6.3
            other => other?,
        };
        fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR)?;
        ftruncate(&fd, size as i64)?;
        let segment = Segment { fd, size };
        segment.seal(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW)?;
        Ok(segment)
    }

    /// Allocates the pages of bytes `from .. to`, so that no reader is ever charged for them, and lack of memory is an error
    /// here and not a SIGBUS later. In slices, for a caller that has other things to do: 1 GiB takes a third of a second.
    ///
    /// # Errors
    /// `InvalidInput` for a range that is empty or not inside the segment; no memory left (`StorageFull`, `OutOfMemory`).
    pub fn populate(&self, from: u64, to: u64) -> io::Result<()> {
        if from >= to || to > self.size {
            let what = format!("bytes {from} .. {to}: expected a range within the segment's {}", self.size);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        loop {
            match fallocate(&self.fd, FallocateFlags::empty(), from as i64, (to - from) as i64) {
                Err(Errno::EINTR) => continue,
                other => return Ok(other?),
            }
        }
    }

    /// Forbids further seals: for a zone or meeting segment, which all its participants map writable.
    ///
    /// # Errors
    /// `PermissionDenied`: it is sealed already.
    pub fn seal_shared(&self) -> io::Result<()> {
        self.seal(SealFlag::F_SEAL_SEAL)
    }

    /// Forbids new writable mappings, every other way to write or punch holes, and further seals: for a lane, once its one
    /// writer has mapped it. Mappings that exist stay writable.
    ///
    /// # Errors
    /// `PermissionDenied`: it is sealed already.
    pub fn seal_lane(&self) -> io::Result<()> {
        self.seal(SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL)
    }

    /// A segment that holds `bytes` behind their number (a word), and never anything else.
    ///
    /// # Errors
    /// As for [`Segment::create`]; no memory left.
    pub fn of_bytes(name: &str, bytes: &[u8]) -> io::Result<Segment> {
        let segment = Segment::create(name, crate::layout::whole_pages(8 + bytes.len() as u64))?;
        let file = File::from(segment.fd.try_clone()?);
        file.write_all_at(&(bytes.len() as u64).to_le_bytes(), 0)?;
        file.write_all_at(bytes, 8)?;
        segment.seal(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SEAL)?;
        Ok(segment)
    }

    /// The bytes that [`Segment::of_bytes`] was given; at most `most`.
    ///
    /// # Errors
    /// `InvalidData` if there are more, or it is no such segment.
    pub fn read_bytes(fd: OwnedFd, most: u64) -> io::Result<Vec<u8>> {
        let seals = Segment::seals(fd.as_fd())?;
        let file = File::from(fd);
        let mut len = [0; 8];
        file.read_exact_at(&mut len, 0)?;
        let len = u64::from_le_bytes(len);
        let there = file.metadata()?.len();
        if !seals.contains(SealFlag::F_SEAL_WRITE) || len > most || len.saturating_add(8) > there {
            let what =
                format!("expected a sealed segment of at most {most} bytes, found one of {len} in {there}, {seals:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 8)?;
        Ok(bytes)
    }

    fn seal(&self, seals: SealFlag) -> io::Result<()> {
        fcntl(&self.fd, FcntlArg::F_ADD_SEALS(seals))?;
        Ok(())
    }

    /// The seals of a descriptor, unknown ones included.
    ///
    /// # Errors
    /// `InvalidInput`: not a file that can have seals.
    pub fn seals(fd: BorrowedFd) -> io::Result<SealFlag> {
        Ok(SealFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GET_SEALS)?))
    }

    /// A read-only descriptor of the same segment, for those who may only read it.
    ///
    /// # Errors
    /// `/proc` is not mounted, or there is no descriptor left.
    pub fn read_only(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.fd.as_raw_fd());
        Ok(open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?)
    }

    /// The descriptor: readable and writable.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
    use nix::sys::uio::pwrite;

    #[test]
    fn created_with_size_mode_and_seals() {
        let segment = Segment::create("syncline:test", 8192).unwrap();
        let stat = fstat(segment.fd()).unwrap();
        assert_eq!(stat.st_size, 8192);
        assert_eq!(stat.st_mode & 0o7777, 0o600);
        let seals = Segment::seals(segment.fd()).unwrap();
        assert!(seals.contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW), "{seals:?}");
        assert!(!seals.intersects(SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_FUTURE_WRITE), "{seals:?}");
        assert_eq!(ftruncate(segment.fd(), 4096), Err(Errno::EPERM));
        assert_eq!(ftruncate(segment.fd(), 12288), Err(Errno::EPERM));
    }

    #[test]
    fn bad_names_and_sizes_are_refused() {
        for (name, size) in [("x", 0), ("x", 100), ("x", u64::MAX - 4095), ("a\0b", 4096), (&*"n".repeat(250), 4096)] {
            assert_eq!(Segment::create(name, size).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?} {size}");
        }
        assert!(Segment::create(&"n".repeat(249), 4096).is_ok());
    }

    #[test]
    fn populate_allocates_only_its_range() {
        let segment = Segment::create("test", 8 * PAGE).unwrap();
        assert_eq!(fstat(segment.fd()).unwrap().st_blocks, 0);
        segment.populate(PAGE, 3 * PAGE).unwrap();
        assert_eq!(fstat(segment.fd()).unwrap().st_blocks as u64 * 512, 2 * PAGE);
        assert!(segment.populate(0, 9 * PAGE).is_err());
        assert!(segment.populate(PAGE, PAGE).is_err());
    }

    #[test]
    fn shared_seals_forbid_more_seals_and_nothing_else() {
        let segment = Segment::create("test", PAGE).unwrap();
        segment.seal_shared().unwrap();
        assert_eq!(segment.seal_lane().unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(pwrite(segment.fd(), b"x", 0), Ok(1));
    }

    #[test]
    fn bytes_are_kept_and_nothing_else() {
        let segment = Segment::of_bytes("test", b"declared").unwrap();
        assert!(pwrite(segment.fd(), b"x", 0).is_err());
        let read = |most| Segment::read_bytes(segment.read_only().unwrap(), most);
        assert_eq!(read(8).unwrap(), b"declared");
        assert_eq!(read(7).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let other = Segment::create("test", PAGE).unwrap();
        assert!(Segment::read_bytes(other.read_only().unwrap(), 100).is_err(), "not sealed");
    }

    #[test]
    fn read_only_descriptor_reads_only() {
        let segment = Segment::create("test", PAGE).unwrap();
        let reader = segment.read_only().unwrap();
        assert_eq!(pwrite(&reader, b"x", 0), Err(Errno::EBADF));
        assert_eq!(fstat(&reader).unwrap().st_ino, fstat(segment.fd()).unwrap().st_ino);
    }
}

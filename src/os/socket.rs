//! `SOCK_SEQPACKET` unix sockets: whole packets, descriptors beside the bytes, and the kernel's word on who the peer is.
//!
//! Every send and receive passes `MSG_DONTWAIT`: what `O_NONBLOCK` says does not matter, since a process that shares the
//! socket could clear it.

pub use super::listener::{BindError, Listener};

use super::process::open_pidfd;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, getsockopt, sendmsg, socket,
    socketpair, sockopt,
};
use nix::sys::time::TimeSpec;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest packet, in bytes.
pub const MAX_PACKET: usize = 65_536;
/// The most descriptors with one packet.
pub const MAX_FDS: usize = 8;
/// The longest path of a socket, in bytes: the kernel's field has 108, one of them for the end.
pub const MAX_PATH: usize = 107;

/// Room for the control message of [`MAX_FDS`] descriptors. The kernel fits no ninth into its padding.
// SAFETY: only arithmetic; the result depends on nothing but the argument.
const CONTROL_LEN: usize = unsafe { libc::CMSG_SPACE((MAX_FDS * size_of::<i32>()) as u32) } as usize;

/// One end of a connection.
#[derive(Debug)]
pub struct Conn {
    fd: OwnedFd,
}

/// A packet received.
#[derive(Debug)]
pub struct Packet {
    /// Its length in bytes. 0 without descriptors: the peer has closed.
    pub len: usize,
    /// The descriptors that came with it, all close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// Bytes or descriptors were cut off: the packet was longer than the buffer, had more than [`MAX_FDS`] descriptors, or
    /// this process has no descriptor left.
    pub truncated: bool,
}

/// Who is at the other end, as the kernel recorded it when they connected (or began to listen).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process id; 0 if it has none in our pid namespace.
    pub pid: i32,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

impl Conn {
    pub(super) fn from_fd(fd: OwnedFd) -> Conn {
        Conn { fd }
    }

    /// Connects to the listener at `path`. May block while its queue is full.
    ///
    /// # Errors
    /// `NotFound`: nothing there. `ConnectionRefused`: a socket that nobody listens on any more. `InvalidInput`: the path is
    /// longer than [`MAX_PATH`].
    pub fn connect(path: &Path) -> io::Result<Conn> {
        Conn::connect_with(path, SockFlag::empty())
    }

    /// As [`Conn::connect`], but `WouldBlock` if the listener's queue is full.
    pub(super) fn try_connect(path: &Path) -> io::Result<Conn> {
        Conn::connect_with(path, SockFlag::SOCK_NONBLOCK)
    }

    fn connect_with(path: &Path, flags: SockFlag) -> io::Result<Conn> {
        let address = address(path)?;
        let fd = new_socket(flags)?;
        loop {
            match connect(fd.as_raw_fd(), &address) {
                Ok(()) => return Ok(Conn { fd }),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Two connected ends.
    ///
    /// # Errors
    /// No descriptors left.
    pub fn pair() -> io::Result<(Conn, Conn)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Conn { fd: a }, Conn { fd: b }))
    }

    /// Sends one packet of `1 ..= MAX_PACKET` bytes with up to [`MAX_FDS`] descriptors: all of it or nothing.
    ///
    /// # Errors
    /// `WouldBlock`: the peer's queue is full. `BrokenPipe`: the peer has closed. `InvalidInput`: too many bytes or
    /// descriptors, or no bytes (an empty packet looks like the end of the connection).
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd]) -> io::Result<()> {
        if bytes.is_empty() || bytes.len() > MAX_PACKET || fds.len() > MAX_FDS {
            let (len, count) = (bytes.len(), fds.len());
            let what = format!(
                "packet of {len} bytes with {count} descriptors: expected 1 ..= {MAX_PACKET} bytes, at most {MAX_FDS} descriptors"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let raw: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            match sendmsg(self.fd.as_raw_fd(), &[io::IoSlice::new(bytes)], control, flags, None::<&UnixAddr>) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives one packet into `buffer`, which takes every packet if it has [`MAX_PACKET`] bytes.
    ///
    /// # Errors
    /// `WouldBlock`: nothing there.
    pub fn recv(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        loop {
            match receive(self.fd.as_fd(), buffer) {
                // Told once, before what the peer has sent, if it closed with packets of ours unread.
                Err(Errno::EINTR | Errno::ECONNRESET) => continue,
                other => return Ok(other?),
            }
        }
    }

    /// Waits until [`Conn::recv`] has something to say (a packet or the end), for at most `timeout` (`None`: for ever).
    /// False if the timeout passed.
    ///
    /// # Errors
    /// The kernel has no memory left.
    pub fn poll_readable(&self, timeout: Option<Duration>) -> io::Result<bool> {
        poll_any(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout)
    }

    /// As [`Conn::poll_readable`], or until `other` can be read.
    ///
    /// # Errors
    /// As [`Conn::poll_readable`].
    pub fn poll_readable_or(&self, other: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<bool> {
        poll_any(&mut [self.fd.as_fd(), other].map(|fd| PollFd::new(fd, PollFlags::POLLIN)), timeout)
    }

    /// Who is at the other end.
    ///
    /// # Errors
    /// The kernel refuses (a seccomp filter).
    pub fn peer(&self) -> io::Result<Peer> {
        let found = getsockopt(&self.fd, sockopt::PeerCredentials)?;
        Ok(Peer { pid: found.pid(), uid: found.uid(), gid: found.gid() })
    }

    /// A descriptor of the process at the other end, readable once that has died. Before Linux 6.5 it is found by its pid,
    /// which may have been reused if that process died right after it connected.
    ///
    /// # Errors
    /// The process is gone, or no descriptor is left.
    pub fn peer_pidfd(&self) -> io::Result<OwnedFd> {
        match getsockopt(&self.fd, sockopt::PeerPidfd) {
            Err(Errno::ENOPROTOOPT) => open_pidfd(self.peer()?.pid),
            other => Ok(other?),
        }
    }

    /// The socket, for epoll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket of this protocol, not bound yet.
pub(super) fn new_socket(flags: SockFlag) -> io::Result<OwnedFd> {
    Ok(socket(AddressFamily::Unix, SockType::SeqPacket, flags | SockFlag::SOCK_CLOEXEC, None)?)
}

/// The address of a path, which must be a name in the file system.
pub(super) fn address(path: &Path) -> io::Result<UnixAddr> {
    let len = path.as_os_str().as_bytes().len();
    if len == 0 || len > MAX_PATH {
        let what = format!(
            "socket path `{}` of {len} bytes: expected 1 ..= {MAX_PATH}; name another in SYNCLINE_SOCKET",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(UnixAddr::new(path)?)
}

/// `recvmsg`, by hand: descriptors that arrive in a control message that was cut off must be owned too, or they leak.
fn receive(fd: BorrowedFd, buffer: &mut [u8]) -> Result<Packet, Errno> {
    #[repr(C, align(8))]
    struct Control([u8; CONTROL_LEN]);
    let mut control = Control([0; CONTROL_LEN]);
    let mut data = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes is a valid `msghdr`: null pointers with lengths of 0.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut data;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_LEN as _;
    // SAFETY: `message` points to `data` and `control`, and `data` to `buffer`; all are writable for the lengths given and
    // outlive the call.
    let len = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC) };
    let len = Errno::result(len)? as usize;
    let truncated = message.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0;
    // SAFETY: the kernel has just filled `message`, whose control buffer is still there.
    let fds = unsafe { take_fds(&message) };
    Ok(Packet { len, fds, truncated })
}

/// The descriptors in a message's control buffer.
///
/// # Safety
/// `message` was filled by `recvmsg`, its control buffer is alive, and its descriptors are taken for the first time.
unsafe fn take_fds(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the caller's promise; the result is null or a header inside the buffer.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: `header` is null or, by `CMSG_FIRSTHDR` and `CMSG_NXTHDR`, a whole header inside the buffer.
    while let Some(&libc::cmsghdr { cmsg_len, cmsg_level, cmsg_type, .. }) = unsafe { header.as_ref() } {
        if cmsg_level == libc::SOL_SOCKET && cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: only arithmetic.
            let header_len = unsafe { libc::CMSG_LEN(0) } as usize;
            #[allow(clippy::unnecessary_cast)] // a u32 in musl
            let count = (cmsg_len as usize).saturating_sub(header_len) / size_of::<i32>();
            // SAFETY: the data follows the header, inside the buffer.
            let data = unsafe { libc::CMSG_DATA(header) }.cast::<i32>();
            for i in 0..count {
                // SAFETY: the kernel wrote `cmsg_len` bytes, so `count` descriptors, each made for us and owned by nobody
                // else yet.
                fds.push(unsafe { OwnedFd::from_raw_fd(data.add(i).read_unaligned()) });
            }
        }
        // SAFETY: as for `CMSG_FIRSTHDR`; `header` is one of this message.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    fds
}

/// Waits until one of them is ready. False if the timeout passed.
fn poll_any(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<bool> {
    const LONGEST: Duration = Duration::from_secs(1 << 31);
    let start = Instant::now();
    loop {
        let left = timeout.map(|timeout| timeout.min(LONGEST).saturating_sub(start.elapsed()));
        match ppoll(fds, left.map(TimeSpec::from), None) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::memfd::Segment;
    use crate::os::testing::{in_child, join_child, spawn_child};
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use nix::sys::signal::{Signal, kill};
    use nix::sys::stat::fstat;
    use std::fs;

    fn open_fds() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn packets_keep_their_boundaries_and_descriptors() {
        let code = in_child(|| {
            let (a, b) = Conn::pair().unwrap();
            let segments: Vec<_> = (0..MAX_FDS).map(|_| Segment::create("test", 4096).unwrap()).collect();
            a.send(b"one", &[]).unwrap();
            a.send(b"with fds", &segments.iter().map(Segment::fd).collect::<Vec<_>>()).unwrap();
            let mut buffer = [0; 100];
            let packet = b.recv(&mut buffer).unwrap();
            assert_eq!((&buffer[..packet.len], packet.fds.len(), packet.truncated), (&b"one"[..], 0, false));
            let packet = b.recv(&mut buffer).unwrap();
            assert_eq!((&buffer[..packet.len], packet.truncated), (&b"with fds"[..], false));
            assert_eq!(packet.fds.len(), MAX_FDS);
            for (fd, segment) in packet.fds.iter().zip(&segments) {
                assert_eq!(fstat(fd).unwrap().st_ino, fstat(segment.fd()).unwrap().st_ino, "in order");
                assert_eq!(fcntl(fd, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
            }
            assert_eq!(b.recv(&mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            assert!(!b.poll_readable(Some(Duration::from_millis(1))).unwrap());
            drop(a);
            assert!(b.poll_readable(None).unwrap(), "the end is readable");
            let packet = b.recv(&mut buffer).unwrap();
            assert_eq!((packet.len, packet.fds.len(), packet.truncated), (0, 0, false));
            assert_eq!(b.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            true
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn what_a_peer_sent_before_it_closed_is_received() {
        let code = in_child(|| {
            let (a, b) = Conn::pair().unwrap();
            b.send(b"never read", &[]).unwrap();
            a.send(b"last word", &[]).unwrap();
            drop(a);
            let mut buffer = [0; 100];
            assert_eq!(b.recv(&mut buffer).unwrap().len, 9);
            assert_eq!(b.recv(&mut buffer).unwrap().len, 0);
            true
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn limits_of_a_packet() {
        let (a, b) = Conn::pair().unwrap();
        let invalid = |bytes: &[u8], fds: &[BorrowedFd]| a.send(bytes, fds).unwrap_err().kind();
        assert_eq!(invalid(&[], &[]), io::ErrorKind::InvalidInput);
        assert_eq!(invalid(&[0; MAX_PACKET + 1], &[]), io::ErrorKind::InvalidInput);
        assert_eq!(invalid(&[0], &[b.fd(); MAX_FDS + 1]), io::ErrorKind::InvalidInput);
        a.send(&[7; MAX_PACKET], &[]).unwrap();
        let mut buffer = vec![0; MAX_PACKET];
        assert_eq!(b.recv(&mut buffer).unwrap().len, MAX_PACKET);
        while a.send(&[7; MAX_PACKET], &[]).is_ok() {}
        assert_eq!(a.send(&[7; MAX_PACKET], &[]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let packet = b.recv(&mut buffer[..10]).unwrap();
        assert_eq!((packet.len, packet.truncated), (10, true));
    }

    #[test]
    fn too_many_descriptors_are_reported_and_do_not_leak() {
        let code = in_child(|| {
            let (a, b) = Conn::pair().unwrap();
            let raw = [b.fd.as_raw_fd(); MAX_FDS + 5];
            let before = open_fds();
            let send = |rights: &[i32]| {
                let control = [ControlMessage::ScmRights(rights)];
                sendmsg(a.fd.as_raw_fd(), &[io::IoSlice::new(b"x")], &control, MsgFlags::empty(), None::<&UnixAddr>)
            };
            let mut buffer = [0; 10];
            send(&raw).unwrap();
            let packet = b.recv(&mut buffer).unwrap();
            let many = packet.truncated && packet.fds.len() == MAX_FDS && packet.len == 1;
            drop(packet);
            let none_left_over = open_fds() == before;

            // No descriptor left in this process: the packet arrives without them.
            send(&raw[..2]).unwrap();
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 1, hard).unwrap();
            let packet = b.recv(&mut buffer).unwrap();
            many && none_left_over && packet.truncated && packet.fds.is_empty() && packet.len == 1
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn a_path_that_does_not_fit_is_explained() {
        for path in [String::new(), format!("/tmp/{}", "x".repeat(MAX_PATH))] {
            let error = Conn::connect(Path::new(&path)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains("expected 1 ..= 107"), "{error}");
        }
    }

    #[test]
    fn the_peers_pidfd_fires_when_it_dies() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = Listener::bind(&path).unwrap();
        let child = spawn_child(|| {
            let conn = Conn::connect(&path).unwrap();
            conn.poll_readable(Some(Duration::from_secs(20))).is_ok()
        });
        let conn = loop {
            match listener.accept().unwrap() {
                Some(conn) => break conn,
                None => std::thread::yield_now(),
            }
        };
        let peer = conn.peer().unwrap();
        assert_eq!(peer.pid, child.as_raw());
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(peer.gid, nix::unistd::getegid().as_raw());
        let pidfds = [conn.peer_pidfd().unwrap(), open_pidfd(peer.pid).unwrap()];
        assert!(pidfds.iter().all(|pidfd| !readable(pidfd, Duration::ZERO)), "alive");
        kill(child, Signal::SIGKILL).unwrap();
        assert!(pidfds.iter().all(|pidfd| readable(pidfd, Duration::from_secs(10))), "dead");
        assert_eq!(join_child(child), -(Signal::SIGKILL as i32));
    }

    fn readable(fd: &OwnedFd, timeout: Duration) -> bool {
        ppoll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], Some(timeout.into()), None).unwrap() > 0
    }
}

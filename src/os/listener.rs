//! The broker's bound socket, one per path.
//!
//! The file of a socket outlives a broker that was killed, and then only means that nobody is there. Who may replace it is
//! settled by a lock on `PATH.lock`, held for the broker's life and let go by the kernel, whatever ends it. The lock file
//! is empty and stays: removing it would let two brokers lock two files of one name.

use super::fork::Epoch;
use super::socket::{Conn, address, new_socket};
use nix::errno::Errno;
use nix::sys::socket::{Backlog, SockFlag, accept4, bind, listen};
use nix::sys::stat::{FileStat, Mode, fchmod, lstat};
use nix::unistd::{geteuid, unlink};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Connections that wait to be accepted, at most.
const BACKLOG: i32 = 128;

/// A listening socket. Dropped, it removes its file, if that is still its own.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    path: PathBuf,
    /// Device and inode of the socket's file.
    file: (u64, u64),
    epoch: Epoch,
    /// Locked until it is unlocked or its last copy, here or in a forked child, is closed.
    lock: File,
}

/// Why a path could not be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody listens there.
    #[error("another broker ({}) already serves {}: use that one, or name another socket in SYNCLINE_SOCKET", who(.pid), .path.display())]
    InUse {
        /// The socket's path.
        path: PathBuf,
        /// The process that listens, if it could be asked.
        pid: Option<i32>,
    },
    /// Something is there that is not a socket left over by a broker of this user; it was left alone.
    #[error("{}: expected nothing, or a socket left over by this user, found {found}; move it away or name another path", .path.display())]
    Foreign {
        /// The path.
        path: PathBuf,
        /// What is there.
        found: String,
    },
    /// The operating system refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system said.
        source: io::Error,
    },
}

fn who(pid: &Option<i32>) -> String {
    match pid {
        Some(pid) => format!("pid {pid}"),
        None => "its pid could not be found out".to_string(),
    }
}

impl BindError {
    fn io<E: Into<io::Error>>(doing: &str, path: &Path) -> impl FnOnce(E) -> BindError {
        let doing = format!("{doing} {}", path.display());
        move |source| BindError::Io { doing, source: source.into() }
    }
}

impl Listener {
    /// Listens at `path`, replacing the socket of a broker that is gone. Only this user may connect (mode 0600); whoever
    /// may decide otherwise changes the file's mode.
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(path: &Path) -> Result<Listener, BindError> {
        let address = address(path).map_err(BindError::io("binding", path))?;
        let epoch = Epoch::current().map_err(BindError::io("binding", path))?;
        let lock = lock(path)?;
        remove_stale(path)?;

        let fd = new_socket(SockFlag::SOCK_NONBLOCK).map_err(BindError::io("binding", path))?;
        // The file gets the mode of the socket, less the umask: so there is no moment at which others could connect.
        fchmod(&fd, Mode::S_IRUSR | Mode::S_IWUSR).map_err(BindError::io("binding", path))?;
        bind(fd.as_raw_fd(), &address).map_err(BindError::io("binding", path))?;
        let stat = lstat(path).map_err(BindError::io("looking at", path))?;
        let listener = Listener { fd, path: path.to_path_buf(), file: (stat.st_dev, stat.st_ino), epoch, lock };
        Backlog::new(BACKLOG)
            .and_then(|backlog| listen(&listener.fd, backlog))
            .map_err(BindError::io("listening at", path))?;
        Ok(listener)
    }

    /// The next connection, if one waits.
    ///
    /// # Errors
    /// No descriptors or memory left: the connection goes on waiting.
    pub fn accept(&self) -> io::Result<Option<Conn>> {
        loop {
            match accept4(self.fd.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
                // SAFETY: `accept4` made the descriptor for us just now, and nobody else has it.
                Ok(fd) => return Ok(Some(Conn::from_fd(unsafe { OwnedFd::from_raw_fd(fd) }))),
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The socket, for epoll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A forked child has copies of the descriptors, but file and lock are its parent's.
        if !self.epoch.is_current() {
            return;
        }
        // If either fails, a stale socket stays, which the next broker replaces.
        let ours = |stat: FileStat| (stat.st_dev, stat.st_ino) == self.file;
        if lstat(&self.path).is_ok_and(ours) {
            let _ = unlink(&self.path);
        }
        let _ = flock(&self.lock, libc::LOCK_UN);
    }
}

/// The right to bind `path`.
fn lock(path: &Path) -> Result<File, BindError> {
    let mut lock_path = path.to_path_buf().into_os_string();
    lock_path.push(".lock");
    let lock_path = PathBuf::from(lock_path);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&lock_path)
        .map_err(BindError::io("opening", &lock_path))?;
    match flock(&file, libc::LOCK_EX | libc::LOCK_NB) {
        Ok(()) => Ok(file),
        Err(Errno::EWOULDBLOCK) => Err(in_use(path, Conn::try_connect(path).ok())),
        Err(errno) => Err(BindError::io("locking", &lock_path)(errno)),
    }
}

/// `flock`. (Not `nix::fcntl::Flock`: dropped in a forked child, that would unlock for the parent too.)
fn flock(file: &File, operation: i32) -> Result<(), Errno> {
    // SAFETY: the call takes a descriptor, which is open, and flags, and no pointer.
    Errno::result(unsafe { libc::flock(file.as_raw_fd(), operation) }).map(drop)
}

/// Removes a socket that nobody listens on. Called under the lock.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let foreign = |found: String| Err(BindError::Foreign { path: path.to_path_buf(), found });
    let stat = match lstat(path) {
        Ok(stat) => stat,
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(BindError::io("looking at", path)(errno)),
    };
    if stat.st_mode & libc::S_IFMT != libc::S_IFSOCK {
        return foreign(format!("a file of mode {:o}", stat.st_mode));
    }
    match Conn::try_connect(path) {
        Ok(conn) => Err(in_use(path, Some(conn))),
        Err(error) => match Errno::from_raw(error.raw_os_error().unwrap_or(0)) {
            Errno::EAGAIN => Err(in_use(path, None)),
            Errno::EPROTOTYPE => foreign("the socket of another kind of server".to_string()),
            Errno::ECONNREFUSED if stat.st_uid != geteuid().as_raw() => {
                foreign(format!("a socket owned by uid {}", stat.st_uid))
            }
            Errno::ECONNREFUSED => unlink(path).map_err(BindError::io("removing the stale socket", path)),
            errno => Err(BindError::io("asking who serves", path)(errno)),
        },
    }
}

fn in_use(path: &Path, conn: Option<Conn>) -> BindError {
    let pid = conn.and_then(|conn| conn.peer().ok()).map(|peer| peer.pid).filter(|&pid| pid > 0);
    BindError::InUse { path: path.to_path_buf(), pid }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::in_child;
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("broker.sock");
        (directory, path)
    }

    #[test]
    fn accepts_and_removes_its_file() {
        let (_directory, path) = directory();
        let listener = Listener::bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(listener.accept().unwrap().is_none());
        let client = Conn::connect(&path).unwrap();
        let server = listener.accept().unwrap().unwrap();
        client.send(b"hello", &[]).unwrap();
        assert_eq!(server.recv(&mut [0; 10]).unwrap().len, 5);
        assert_eq!(client.peer().unwrap().pid, std::process::id() as i32);
        drop(listener);
        assert!(!path.exists());
        Listener::bind(&path).unwrap();
    }

    #[test]
    fn a_live_broker_is_named_and_left_alone() {
        let (_directory, path) = directory();
        let listener = Listener::bind(&path).unwrap();
        let expected = format!("another broker (pid {}) already serves {}", std::process::id(), path.display());
        let error = Listener::bind(&path).unwrap_err();
        assert!(error.to_string().starts_with(&expected), "{error}");
        // Without its lock file it is found by its socket.
        fs::remove_file(path.with_extension("sock.lock")).unwrap();
        let error = Listener::bind(&path).unwrap_err();
        assert!(error.to_string().starts_with(&expected), "{error}");
        Conn::connect(&path).unwrap();
        drop(listener);
    }

    #[test]
    fn the_socket_of_a_dead_broker_is_replaced() {
        let (_directory, path) = directory();
        let code = in_child(|| {
            std::mem::forget(Listener::bind(&path).unwrap());
            true
        });
        assert_eq!(code, 0);
        assert!(fs::symlink_metadata(&path).unwrap().file_type().is_socket(), "left behind");
        assert_eq!(Conn::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _listener = Listener::bind(&path).unwrap();
        Conn::connect(&path).unwrap();
    }

    #[test]
    fn what_is_not_a_brokers_is_never_deleted() {
        let (directory, path) = directory();
        fs::write(&path, "precious").unwrap();
        assert!(matches!(Listener::bind(&path), Err(BindError::Foreign { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");

        fs::remove_file(&path).unwrap();
        symlink(directory.path().join("elsewhere"), &path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(BindError::Foreign { .. })));
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());

        fs::remove_file(&path).unwrap();
        let stream = UnixListener::bind(&path).unwrap();
        assert!(matches!(Listener::bind(&path), Err(BindError::Foreign { .. })));
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(stream);
    }

    #[test]
    fn a_file_that_took_its_place_stays() {
        let (_directory, path) = directory();
        let listener = Listener::bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        drop(listener);
        assert!(path.exists());
    }

    #[test]
    fn a_forked_child_does_not_close_for_its_parent() {
        let (_directory, path) = directory();
        let mut listener = Some(Listener::bind(&path).unwrap());
        let code = in_child(|| {
            drop(listener.take());
            true
        });
        assert_eq!(code, 0);
        assert!(path.exists());
        assert!(
            matches!(Listener::bind(&path), Err(BindError::InUse { pid: Some(_), .. })),
            "lock and socket are held"
        );
    }
}

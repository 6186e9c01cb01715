//! Processes: who is who, also after a pid was reused, and how many files they may open.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// When a process started, in clock ticks since boot: with its pid, this names it for good.
///
/// # Errors
/// `NotFound`: there is no such process. `InvalidData`: `/proc` is not what Linux shows there.
pub fn start_time(pid: i32) -> io::Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read(&path)?;
    parse_start_time(&stat).ok_or_else(|| {
        let what = format!("{path}: expected a start time in field 22, found {:?}", String::from_utf8_lossy(&stat));
        io::Error::new(io::ErrorKind::InvalidData, what)
    })
}

/// Field 22 of a `stat` line. Field 2 is a name that its process chooses, in parentheses, and may hold spaces, parentheses
/// and bytes that are no text; the last closing parenthesis of the line is its end.
fn parse_start_time(stat: &[u8]) -> Option<u64> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields_from_3 = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    fields_from_3.split_ascii_whitespace().nth(22 - 3)?.parse().ok()
}

/// A descriptor of the process: readable once it has died. Proof only if the process is known to be the one that was meant,
/// since a pid may be reused before the call.
///
/// # Errors
/// There is no such process, or no descriptor left.
pub fn open_pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes a pid and flags, and no pointer.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel made the descriptor for us just now (close-on-exec), and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Raises the soft limit of open files to the hard one; what it is then. A process keeps a descriptor of every segment.
///
/// # Errors
/// The kernel refuses (a seccomp filter); the limit is as before.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::{in_child, join_child, spawn_child};
    use nix::sys::signal::{Signal, kill};

    #[test]
    fn start_time_survives_a_weird_name() {
        let code = in_child(|| {
            let pid = std::process::id() as i32;
            let before = start_time(pid).unwrap();
            nix::sys::prctl::set_name(c") S 1 (a b) 2\xff").unwrap();
            before > 0 && start_time(pid).unwrap() == before
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn start_time_of_who_is_not() {
        assert_eq!(start_time(i32::MAX).unwrap_err().kind(), io::ErrorKind::NotFound);
        for stat in [&b""[..], b"1 (x", b"1 (x) S 1 2", b"1 (x) \xff"] {
            assert_eq!(parse_start_time(stat), None);
        }
    }

    #[test]
    fn pidfd_of_who_is_not() {
        let child = spawn_child(|| true);
        assert!(open_pidfd(child.as_raw()).is_ok(), "a zombie still has one");
        join_child(child);
        assert!(open_pidfd(child.as_raw()).is_err());
        assert!(kill(child, None::<Signal>).is_err());
    }

    #[test]
    fn open_files_reach_the_hard_limit() {
        let code = in_child(|| {
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
            raise_open_files().unwrap() == hard && getrlimit(Resource::RLIMIT_NOFILE).unwrap() == (hard, hard)
        });
        assert_eq!(code, 0);
    }
}

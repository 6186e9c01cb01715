//! Where the broker's socket is, and whom it may belong to.
//!
//! `/tmp` is everybody's: another user may have made `/tmp/syncline-UID` first, or put a link there. So a directory at a
//! default place must be ours alone, and a client looks at who owns a socket before it talks to it. A path that the user
//! names is the user's own decision.

use super::socket::MAX_PATH;
use crate::error::{Error, Result};
use crate::sync::{AtomicU32, Ordering};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, lstat};
use nix::unistd::geteuid;
use std::env;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The broker's socket: `$SYNCLINE_SOCKET`, else `$XDG_RUNTIME_DIR/syncline/broker.sock`, else
/// `/tmp/syncline-$UID/broker.sock`.
///
/// # Errors
/// [`Error::Invalid`]: the path is longer than a socket's can be.
pub fn default_socket() -> Result<PathBuf> {
    let explicit = env::var_os("SYNCLINE_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = explicit.unwrap_or_else(|| {
        let runtime = runtime_socket(env::var_os("XDG_RUNTIME_DIR"));
        runtime.unwrap_or_else(|| shared_socket(geteuid().as_raw()))
    });
    let len = path.as_os_str().as_bytes().len();
    if len > MAX_PATH {
        return Err(Error::Invalid(format!(
            "socket path `{}` of {len} bytes: expected at most {MAX_PATH}; name a shorter one in SYNCLINE_SOCKET",
            path.display()
        )));
    }
    Ok(path)
}

/// A socket path that no other broker has: for a broker embedded in this process, beside the default one.
///
/// # Errors
/// As [`default_socket`].
pub fn private_socket() -> Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("embedded-{}-{}.sock", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let runtime = runtime_socket(env::var_os("XDG_RUNTIME_DIR")).filter(|path| path.as_os_str().len() < 60);
    let beside = runtime.unwrap_or_else(|| shared_socket(geteuid().as_raw()));
    Ok(beside.with_file_name(name))
}

/// The socket in the user's runtime directory, if there is one (a relative path is none).
fn runtime_socket(runtime_directory: Option<OsString>) -> Option<PathBuf> {
    runtime_directory.map(PathBuf::from).filter(|path| path.is_absolute()).map(|path| path.join("syncline/broker.sock"))
}

/// The user's socket in the directory that all users share.
fn shared_socket(uid: u32) -> PathBuf {
    PathBuf::from(format!("/tmp/syncline-{uid}/broker.sock"))
}

/// For the broker, before it binds: makes the directory of the socket at `path` if there is none (mode 0700, one level). A
/// directory at one of the default places must be ours, and nobody else's to write.
///
/// # Errors
/// [`Error::Io`]: it can not be made, or is not what it must be.
pub fn prepare_directory(path: &Path) -> Result<()> {
    let uid = geteuid().as_raw();
    // The directories of the default places; embedded brokers have their sockets there too.
    let beside = |default: PathBuf| path.parent() == default.parent();
    let is_default = beside(shared_socket(uid)) || runtime_socket(env::var_os("XDG_RUNTIME_DIR")).is_some_and(beside);
    let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) else {
        return Ok(());
    };
    make_directory(directory)?;
    if is_default { check_directory(directory, uid) } else { Ok(()) }
}

fn make_directory(directory: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Error::io(format!("making the socket's directory {}", directory.display()))(error))
        }
        _ => Ok(()),
    }
}

/// Whether `directory` is one (and not a link to one), belongs to `uid`, and only its owner may write there.
fn check_directory(directory: &Path, uid: u32) -> Result<()> {
    let doing = || format!("checking the socket's directory {}", directory.display());
    let stat = lstat(directory).map_err(|errno| Error::io(doing())(errno.into()))?;
    let is_directory = file_type(&stat) == libc::S_IFDIR;
    if is_directory && stat.st_uid == uid && stat.st_mode & 0o022 == 0 {
        return Ok(());
    }
    let what = format!(
        "expected a directory owned by uid {uid} that only its owner may write, found {} of mode {:o} owned by uid {}; \
         remove it, or name another socket in SYNCLINE_SOCKET",
        if is_directory { "one" } else { "something else" },
        stat.st_mode & 0o7777,
        stat.st_uid
    );
    Err(Error::io(doing())(io::Error::new(io::ErrorKind::PermissionDenied, what)))
}

/// For a client, before it connects: whether `path` is a socket that belongs to this user or to root. (Who listens is the
/// kernel's to say, after connecting: [`super::socket::Conn::peer`].)
///
/// # Errors
/// [`Error::NoBroker`]: nothing there. [`Error::Io`]: not a socket, or somebody else's.
pub fn check_socket(path: &Path) -> Result<()> {
    let stat = match lstat(path) {
        Ok(stat) => stat,
        Err(errno @ (Errno::ENOENT | Errno::ENOTDIR)) => {
            return Err(Error::NoBroker { path: path.display().to_string(), source: errno.into() });
        }
        Err(errno) => return Err(Error::io(format!("looking at the socket {}", path.display()))(errno.into())),
    };
    if file_type(&stat) != libc::S_IFSOCK {
        let what =
            format!("expected a socket, found a file of mode {:o}; name the broker's in SYNCLINE_SOCKET", stat.st_mode);
        return refused(path, io::ErrorKind::InvalidInput, what);
    }
    check_owner(path, stat.st_uid)
}

/// For a client: whether whoever owns the socket at `path`, or listens there, is this user or root.
///
/// # Errors
/// [`Error::Io`]: it is somebody else.
pub fn check_owner(path: &Path, owner: u32) -> Result<()> {
    let uid = geteuid().as_raw();
    if owner == uid || owner == 0 {
        return Ok(());
    }
    let what = format!(
        "socket owned by somebody else: expected uid {uid} (you) or 0 (root), found uid {owner}; start a broker of your own, \
         or name another socket in SYNCLINE_SOCKET"
    );
    refused(path, io::ErrorKind::PermissionDenied, what)
}

fn refused(path: &Path, kind: io::ErrorKind, what: String) -> Result<()> {
    Err(Error::io(format!("checking the socket {}", path.display()))(io::Error::new(kind, what)))
}

fn file_type(stat: &FileStat) -> u32 {
    stat.st_mode & libc::S_IFMT
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::in_child;
    use nix::unistd::{Uid, chown, seteuid};
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    #[test]
    fn default_places() {
        assert_eq!(runtime_socket(Some("/run/user/7".into())).unwrap(), Path::new("/run/user/7/syncline/broker.sock"));
        for none in [None, Some("".into()), Some("relative".into())] {
            assert_eq!(runtime_socket(none), None);
        }
        assert_eq!(shared_socket(7), Path::new("/tmp/syncline-7/broker.sock"));
    }

    #[test]
    fn the_environment_chooses() {
        // In a child, since the environment is the whole process's.
        let code = in_child(|| {
            let set = |name: &str, value: &str| {
                // SAFETY: the child has this one thread.
                unsafe { env::set_var(name, value) }
            };
            set("XDG_RUNTIME_DIR", "/run/user/7");
            set("SYNCLINE_SOCKET", "");
            let runtime = default_socket().unwrap();
            set("XDG_RUNTIME_DIR", "");
            let shared = default_socket().unwrap();
            set("SYNCLINE_SOCKET", "here.sock");
            let explicit = default_socket().unwrap();
            set("SYNCLINE_SOCKET", &"x".repeat(MAX_PATH + 1));
            runtime == Path::new("/run/user/7/syncline/broker.sock")
                && shared == shared_socket(geteuid().as_raw())
                && explicit == Path::new("here.sock")
                && matches!(default_socket(), Err(Error::Invalid(_)))
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn the_directory_is_made_private() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("new/broker.sock");
        prepare_directory(&path).unwrap();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o7777, 0o700);
        prepare_directory(&path).unwrap();
        prepare_directory(Path::new("broker.sock")).unwrap();
        assert!(prepare_directory(&place.path().join("no/such/broker.sock")).is_err(), "one level only");
    }

    #[test]
    fn a_default_directory_must_be_ours_alone() {
        let place = tempfile::tempdir().unwrap();
        let uid = geteuid().as_raw();
        let directory = place.path().join("directory");
        make_directory(&directory).unwrap();
        check_directory(&directory, uid).unwrap();
        assert!(check_directory(&directory, uid + 1).is_err(), "somebody else's");
        for mode in [0o720, 0o702, 0o1777] {
            fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
            assert!(check_directory(&directory, uid).is_err(), "{mode:o}");
        }
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        check_directory(&directory, uid).unwrap();
        let link = place.path().join("link");
        symlink(&directory, &link).unwrap();
        make_directory(&link).unwrap();
        let error = check_directory(&link, uid).unwrap_err();
        assert!(error.to_string().contains("found something else"), "{error}");
    }

    #[test]
    fn a_default_directory_is_checked() {
        let place = tempfile::tempdir().unwrap();
        let directory = place.path().join("syncline");
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        let code = in_child(|| {
            // SAFETY: the child has this one thread.
            unsafe { env::set_var("XDG_RUNTIME_DIR", place.path()) };
            prepare_directory(&directory.join("broker.sock")).is_err()
                && prepare_directory(&directory.join("embedded-1-0.sock")).is_err()
                && prepare_directory(&place.path().join("mine.sock")).is_ok()
        });
        assert_eq!(code, 0);
    }

    #[test]
    fn a_socket_must_be_ours_or_roots() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("broker.sock");
        assert!(matches!(check_socket(&path), Err(Error::NoBroker { .. })));
        let socket = UnixListener::bind(&path).unwrap();
        check_socket(&path).unwrap();
        let link = place.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(check_socket(&link).unwrap_err().to_string().contains("expected a socket"));
        drop(socket);
        if !geteuid().is_root() {
            return; // the rest needs two users
        }
        fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
        let code = in_child(|| {
            seteuid(Uid::from_raw(1234)).unwrap();
            check_socket(&path).is_ok()
        });
        assert_eq!(code, 0, "root's is fine");
        chown(&path, Some(Uid::from_raw(1234)), None).unwrap();
        let error = check_socket(&path).unwrap_err().to_string();
        assert!(error.contains("somebody else") && error.contains("uid 1234"), "{error}");
    }
}

//! Forked children for the tests of this layer.
//!
//! Tests run on threads of one process, so a child of one inherits the descriptors of all: a test that waits for the last
//! copy of a descriptor to be closed makes it in a child of its own.

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use std::io::{Write, stderr};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};

/// Forks; the child runs `body` and exits with 0 if it returned true, else with 1 (2 if it panicked).
pub fn spawn_child(body: impl FnOnce() -> bool) -> Pid {
    // SAFETY: the child runs only `body`, which uses no lock that another thread of the test may hold (glibc resets those
    // of its allocator), and leaves by `_exit`, so that nothing of the parent is unwound or flushed twice.
    match unsafe { fork() }.expect("fork") {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            // Not by the default hook, whose output the test harness keeps, and loses with the child.
            set_hook(Box::new(|info| drop(writeln!(stderr(), "in a forked child: {info}"))));
            let code = match catch_unwind(AssertUnwindSafe(body)) {
                Ok(true) => 0,
                Ok(false) => 1,
                Err(_) => 2,
            };
            // SAFETY: `_exit` ends the process and touches none of its memory.
            unsafe { libc::_exit(code) }
        }
    }
}

/// How the child ended: its exit code, or minus the signal that killed it.
pub fn join_child(child: Pid) -> i32 {
    match waitpid(child, None).expect("waitpid") {
        WaitStatus::Exited(_, code) => code,
        WaitStatus::Signaled(_, signal, _) => -(signal as i32),
        other => panic!("unexpected {other:?}"),
    }
}

/// Runs `body` in a forked child and waits for it; see [`spawn_child`] and [`join_child`].
pub fn in_child(body: impl FnOnce() -> bool) -> i32 {
    join_child(spawn_child(body))
}

/// As the tests with several processes use it.
#[path = "../../tests/support/seccomp.rs"]
#[allow(dead_code, reason = "these tests refuse calls only")]
pub mod seccomp;

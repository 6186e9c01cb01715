//! A memory barrier that its caller runs on every other registered process: the half of a store/load handshake that the
//! rare side (a sleeper) takes over from the frequent side (a publisher), which is left with a compiler fence.

/// Registers this process: others' [`barrier`] calls reach its threads from now on. Again is cheap; a forked child calls
/// it again. False if the kernel refuses (before Linux 4.16, a seccomp filter): such a process must use full fences.
pub fn register() -> bool {
    membarrier(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

/// A full barrier on the calling thread and on every running thread of every registered process. False if the kernel
/// refuses: there was no barrier then.
pub fn barrier() -> bool {
    membarrier(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}

fn membarrier(command: i32) -> bool {
    // SAFETY: the call takes a command, flags and a CPU number, and no pointer.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::testing::in_child;

    #[test]
    fn registers_and_runs_in_parent_and_child() {
        assert!(register() && register());
        assert!(barrier());
        assert_eq!(in_child(|| register() && barrier()), 0);
    }
}

//! System calls refused, counted or forbidden, by a seccomp filter: for the calling thread and those that it starts, for good.

use nix::libc;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

/// Offsets in `struct seccomp_data`, on a little-endian processor.
const NUMBER: u32 = 0;
const ARGUMENT: u32 = 16;

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn answer(action: u32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, action)
}

/// Goes on with the next if the value loaded is `k`, else `skipped` further.
fn if_equal(k: u32, skipped: u8) -> libc::sock_filter {
    libc::sock_filter { jf: skipped, ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k) }
}

fn install(filter: &mut [libc::sock_filter]) {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live until the calls return.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let done = libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program);
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

/// These calls fail with `errno` from now on.
pub fn refuse(calls: &[libc::c_long], errno: i32) {
    let mut filter = vec![load(NUMBER)];
    for &call in calls {
        filter.extend([if_equal(call as u32, 1), answer(libc::SECCOMP_RET_ERRNO | errno as u32)]);
    }
    filter.push(answer(libc::SECCOMP_RET_ALLOW));
    install(&mut filter);
}

/// Whoever makes a call that is not one of these dies of SIGSYS.
pub fn allow_only(calls: &[libc::c_long]) {
    let mut filter = vec![load(NUMBER)];
    for &call in calls {
        filter.extend([if_equal(call as u32, 1), answer(libc::SECCOMP_RET_ALLOW)]);
    }
    filter.push(answer(libc::SECCOMP_RET_KILL_PROCESS));
    install(&mut filter);
}

/// Wakes on words that are shared with other processes.
static WAKES: AtomicU64 = AtomicU64::new(0);

/// How many wakes this thread has asked the kernel for since [`count_wakes`].
pub fn wakes() -> u64 {
    WAKES.load(Ordering::SeqCst)
}

/// Counts the wakes of this thread from now on: wakes of everybody who sleeps on a word, not marked as private.
pub fn count_wakes() {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: zeros are an action; the handler is async-signal-safe: an atomic and a system call.
    unsafe {
        (*action.as_mut_ptr()).sa_sigaction = counted_wake as *const () as usize;
        (*action.as_mut_ptr()).sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSYS, action.as_ptr(), std::ptr::null_mut()), 0);
    }
    install(&mut [
        load(NUMBER),
        if_equal(libc::SYS_futex as u32, 5),
        load(ARGUMENT + 8),
        if_equal(libc::FUTEX_WAKE as u32, 3),
        load(ARGUMENT + 16),
        if_equal(i32::MAX as u32, 1),
        answer(libc::SECCOMP_RET_TRAP),
        answer(libc::SECCOMP_RET_ALLOW),
    ]);
}

/// Counts, and does what was asked for in a way that is not counted.
extern "C" fn counted_wake(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    WAKES.fetch_add(1, Ordering::SeqCst);
    let context = context.cast::<libc::ucontext_t>();
    // SAFETY: the kernel gives the handler the registers at the call; the first argument is the word's address, and the result goes
    // where the call's would.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        let (word, result) = {
            let registers = &raw mut (*context).uc_mcontext.gregs;
            ((*registers)[libc::REG_RDI as usize], &raw mut (*registers)[libc::REG_RAX as usize])
        };
        #[cfg(target_arch = "aarch64")]
        let (word, result) = {
            let registers = &raw mut (*context).uc_mcontext.regs;
            ((*registers)[0], &raw mut (*registers)[0])
        };
        *result = libc::syscall(libc::SYS_futex, word, libc::FUTEX_WAKE, i32::MAX - 1) as _;
    }
}

//! While messages flow, nobody calls the system: a pair of processes that would be killed by any call.

mod support;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::sync::atomic::Ordering;
use support::*;
use syncline::{Bus, Error};

const TEST: &str = "no_system_call_is_made_while_messages_flow";

/// Messages before that.
const WARM_UP: u64 = 1000;

/// From now on every system call kills this process, but for its end and (where the system can not tell the time without one) for the time.
fn seal_off() {
    const ALLOWED: [libc::c_long; 3] = [libc::SYS_exit_group, libc::SYS_clock_gettime, libc::SYS_rt_sigreturn];
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // The number of the call is the first word of what the filter looks at.
    let mut filter = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0)];
    for (index, call) in ALLOWED.into_iter().enumerate() {
        let jt = (ALLOWED.len() - index) as u8;
        let code = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
        filter.push(libc::sock_filter { code, jt, jf: 0, k: call as u32 });
    }
    filter.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_KILL_PROCESS));
    filter.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program is a valid one, and outlives the calls.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program), 0);
    }
}

/// Ends this process without a word, with this status.
fn end(status: i32) -> ! {
    // SAFETY: nothing is left to be done.
    unsafe { libc::_exit(status) }
}

fn writer(count: u64, lossy: bool) {
    let bus = Bus::connect().expect("connect");
    let mut writer = bus.zone("z").writer("w").expect("writer");
    let builder = writer.channel("a").capacity(1 << 16);
    let lane = if lossy { builder.lossy() } else { builder.reliable() }.open::<[u64]>().expect("lane");
    bus.zone("z").wait_readers("a", 1, LONG).expect("a reader");
    let read = SharedWord::new(Path::new(&argument("WORD")));
    seal_off();
    for n in 0..count {
        let words = [n; 24];
        while let Err(error) = writer.publish(lane, &words[..1 + n as usize % 24]) {
            if !matches!(error, Error::Full { .. }) {
                end(2);
            }
        }
        if n % 100 == 99 && writer.edge().is_err() {
            end(3);
        }
    }
    // Its end would be news to the reader, which it takes from a socket.
    while read.word().load(Ordering::Relaxed) == 0 {
        std::hint::spin_loop();
    }
    end(0);
}

fn reader(count: u64, synced: bool) {
    let bus = Bus::connect().expect("connect");
    let builder = bus.zone("z").reader("r").channel::<[u64]>("a");
    let mut reader = if synced { builder.synced() } else { builder }.open().expect("reader");
    say("ready", "");
    // The first messages need the system: their lane is to be mapped, and errors to be made for the first time.
    let read = SharedWord::new(Path::new(&argument("WORD")));
    let mut next = 0;
    while next < WARM_UP {
        match reader.spin_recv(LONG) {
            Ok(message) => next = message.sequence() + 1,
            Err(Error::Lagged(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    seal_off();
    while next < count {
        match reader.try_recv() {
            Ok(Some(message)) => {
                if message.sequence() != next {
                    end(2);
                }
                next += 1;
            }
            Ok(None) => std::hint::spin_loop(),
            Err(Error::Lagged(lagged)) => next += lagged.count,
            Err(_) => end(3),
        }
    }
    read.word().store(1, Ordering::Relaxed);
    end(0);
}

/// Would break: a system call for a message, an edge or an empty poll; in a reliable lane whose room is used up again and again, and in a lossy one.
#[test]
fn no_system_call_is_made_while_messages_flow() {
    let number = |name: &str| argument(name).parse::<u64>().expect("a number");
    match role().as_deref() {
        Some("writer") => return writer(number("COUNT"), number("KIND") == 1),
        Some("reader") => return reader(number("COUNT"), number("KIND") == 2),
        _ => {}
    }
    const COUNT: u64 = 200_000;
    // Reliable and lossy, read live; reliable, read by eras.
    for kind in 0..3 {
        let bus = Bus::embedded().expect("broker");
        let directory = tempfile::tempdir().expect("a directory");
        let word = directory.path().join("word").display().to_string();
        let arguments = [("COUNT", COUNT.to_string()), ("KIND", kind.to_string()), ("WORD", word)];
        let mut reader = Process::start(TEST, "reader", bus.socket(), &arguments);
        reader.wait_for("ready");
        let mut writer = Process::start(TEST, "writer", bus.socket(), &arguments);
        for (name, process) in [("reader", &mut reader), ("writer", &mut writer)] {
            let status = process.child.wait().expect("wait");
            assert_eq!(
                (status.code(), status.signal()),
                (Some(0), None),
                "{name}, kind {kind}: a system call is SIGSYS ({})",
                libc::SIGSYS
            );
        }
    }
}

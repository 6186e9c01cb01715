//! For tests with several processes: a test runs itself again as another process, in a role.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod broker;
pub mod ledger;
pub mod pace;
pub mod puppet;
pub mod seccomp;
pub mod stops;
pub mod talker;
pub mod timing;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

/// Long enough for anything that should happen, on the slowest machine.
pub const LONG: Duration = Duration::from_secs(60);

/// The role that this process was started in; `None`: it is the test itself. A process in a role ends with the test, however that ends.
pub fn role() -> Option<String> {
    let role = std::env::var("SYNCLINE_TEST_ROLE").ok()?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).expect("ask to die with the test");
    Some(role)
}

/// An argument that the role was given.
pub fn argument(name: &str) -> String {
    std::env::var(format!("SYNCLINE_TEST_{name}")).unwrap_or_else(|_| panic!("role without {name}"))
}

/// The test `test` of this executable, in a process of its own. Killed when dropped.
pub struct Process {
    pub child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(test: &str, role: &str, socket: &Path, arguments: &[(&str, String)]) -> Process {
        let mut command = Command::new(std::env::current_exe().expect("own path"));
        command.args(["--exact", test, "--nocapture", "--test-threads", "1"]);
        command.env("SYNCLINE_TEST_ROLE", role).env("SYNCLINE_SOCKET", socket);
        for (name, value) in arguments {
            command.env(format!("SYNCLINE_TEST_{name}"), value);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start a process");
        let input = child.stdin.take().expect("stdin");
        let output = BufReader::new(child.stdout.take().expect("stdout"));
        Process { child, input, output }
    }

    /// Waits for a line that begins with `tag`; the rest of it.
    pub fn wait_for(&mut self, tag: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            self.wait_for_output(tag);
            let read = self.output.read_line(&mut line).expect("read from the process");
            assert!(read > 0, "the process ended before it said `{tag}`");
            // The test runner prints on the same line before.
            if let Some(at) = line.find(&format!("@{tag}")) {
                return line[at + tag.len() + 1..].trim().to_owned();
            }
        }
    }

    /// Waits until there is something to read, or fails.
    fn wait_for_output(&self, tag: &str) {
        if !self.output.buffer().contains(&b'\n') {
            let mut fds = [PollFd::new(self.output.get_ref().as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(LONG).expect("a timeout");
            assert_eq!(nix::poll::poll(&mut fds, timeout), Ok(1), "not within {LONG:?}: the process says `{tag}`");
        }
    }

    /// Sends a line, and waits for what came of it.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.wait_for("did")
    }

    /// Sends a line.
    pub fn send(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("write to the process");
    }

    /// `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it (SIGSTOP), and waits until none of its threads runs.
    pub fn stop(&self) {
        stop(self.pid());
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        signal(self.pid(), Signal::SIGCONT);
    }

    /// Waits for its end, which must be a success.
    pub fn finish(mut self) {
        // To the end: the runner must not write into a closed pipe.
        std::io::copy(&mut self.output, &mut std::io::sink()).expect("read from the process");
        let status = self.child.wait().expect("wait");
        assert!(status.success(), "the process ended with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), signal).expect("signal");
}

/// Stops a process (SIGSTOP), and waits until none of its threads runs.
pub fn stop(pid: u32) {
    signal(pid, Signal::SIGSTOP);
    eventually("all threads of a process are stopped", || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("/proc");
        tasks.flatten().all(|task| {
            // A thread may end between the two looks. Its state is the first letter after the name.
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_none_or(|rest| rest.trim_start().starts_with('T') || stat.is_empty())
        })
    });
}

/// In a role: says something to the test.
pub fn say(tag: &str, rest: impl std::fmt::Display) {
    println!("@{tag} {rest}");
    std::io::stdout().flush().expect("flush");
}

/// In a role: the next line from the test; `None` when it has gone.
pub fn hear() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).expect("read from the test");
    (read > 0).then(|| line.trim().to_owned())
}

/// Waits until `done`, or fails saying what was waited for.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "not within {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Open descriptors of this process.
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("/proc").count() - 1
}

/// Mappings of this process that show Syncline segments.
pub fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    maps.lines().filter(|line| line.contains("syncline:")).count()
}

/// Pseudo-random numbers, from a seed that is printed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// How many times: the quick form, unless the full one is asked for.
pub fn times(quick: u64, full: u64) -> u64 {
    if std::env::var_os("SYNCLINE_FULL").is_some() { full } else { quick }
}

/// Words that a test and its processes share.
pub struct SharedWord {
    map: memmap2::MmapRaw,
}

impl SharedWord {
    pub fn new(path: &Path) -> SharedWord {
        let file = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = file.expect("shared file");
        file.set_len(4096).expect("size");
        assert!(file.as_fd().as_raw_fd() >= 0);
        SharedWord { map: memmap2::MmapRaw::map_raw(&file).expect("map") }
    }

    /// The first of them.
    pub fn word(&self) -> &AtomicU64 {
        self.at(0)
    }

    /// One of the 64 that there are, each in a line of its own.
    pub fn at(&self, index: usize) -> &AtomicU64 {
        assert!(index < 64);
        // SAFETY: the mapping is 64 lines long, page-aligned, lives as long as `self`; all access is atomic.
        unsafe { &*self.map.as_mut_ptr().add(index * 64).cast() }
    }
}

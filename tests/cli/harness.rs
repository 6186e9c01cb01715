//! A broker of its own for each test, and processes that can not outlive it.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What any process of a test may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program.
pub fn syncline() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_syncline"));
    command.env_remove("SYNCLINE_SOCKET").env_remove("RUST_LOG");
    command
}

/// A broker process in a directory of its own.
pub struct Broker {
    pub child: Child,
    pub directory: tempfile::TempDir,
}

impl Broker {
    pub fn start() -> Broker {
        let directory = tempfile::tempdir().unwrap();
        let child = Broker::start_at(&directory.path().join("broker.sock"));
        Broker { child, directory }
    }

    /// Starts one at a path, and waits until it says that it is ready.
    pub fn start_at(socket: &Path) -> Child {
        let mut child = syncline()
            .arg("broker")
            .arg("--socket")
            .arg(socket)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("syncline broker at {}\n", socket.display()));
        child
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("broker.sock")
    }

    /// A command that finds this broker.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = syncline();
        command.args(arguments).env("SYNCLINE_SOCKET", self.socket());
        command
    }

    /// Starts a command; its standard input stays open until it is waited for.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        Running::new(&mut self.command(arguments))
    }

    /// Runs a command with this standard input.
    pub fn run(&self, arguments: &[&str], input: &[u8]) -> Done {
        let mut running = self.spawn(arguments);
        running.feed(input);
        running.wait()
    }

    /// Starts a command whose lines are looked at as they come.
    pub fn tail(&self, arguments: &[&str]) -> (Running, Tail) {
        let (running, output) = Running::with_output(&mut self.command(arguments));
        (running, Tail::of(output))
    }

    /// What there is in one zone.
    #[track_caller]
    pub fn show(&self, zone: &str) -> serde_json::Value {
        self.run(&["zone", "show", zone, "--json"], b"").succeeded().json().remove(0)
    }

    /// What there is.
    pub fn list(&self) -> Vec<serde_json::Value> {
        self.run(&["ls", "--json"], b"").succeeded().json()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that runs.
pub struct Running {
    pub child: Child,
    output: Option<JoinHandle<Vec<u8>>>,
    errors: Option<JoinHandle<Vec<u8>>>,
    /// Writes standard input.
    feeder: Option<JoinHandle<()>>,
}

impl Running {
    pub fn new(command: &mut Command) -> Running {
        Running::with_input(command, Stdio::piped())
    }

    /// Like `new`, but standard input is what another process writes, say.
    pub fn with_input(command: &mut Command, input: impl Into<Stdio>) -> Running {
        let mut child = command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (output, errors) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Running { output: Some(collect(output)), errors: Some(collect(errors)), feeder: None, child }
    }

    /// Like `new`, but standard output is the caller's to read.
    pub fn with_output(command: &mut Command) -> (Running, BufReader<std::process::ChildStdout>) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let errors = collect(child.stderr.take().unwrap());
        (Running { output: None, errors: Some(errors), feeder: None, child }, output)
    }

    /// Writes to its standard input, which stays open.
    pub fn write(&mut self, bytes: &[u8]) {
        self.child.stdin.as_mut().unwrap().write_all(bytes).unwrap();
    }

    /// Writes all of its standard input, beside whatever else the test does.
    pub fn feed(&mut self, bytes: &[u8]) {
        let (bytes, mut input) = (bytes.to_vec(), self.child.stdin.take().unwrap());
        // It may end before it has read all.
        self.feeder = Some(std::thread::spawn(move || drop(input.write_all(&bytes))));
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).unwrap();
    }

    pub fn pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap())
    }

    /// Closes its standard input and waits for its end.
    pub fn wait(mut self) -> Done {
        drop(self.child.stdin.take());
        let status = wait(&mut self.child);
        let collected = |thread: Option<JoinHandle<Vec<u8>>>| thread.map(|thread| thread.join().unwrap());
        let out = collected(self.output.take()).unwrap_or_default();
        let err = String::from_utf8(collected(self.errors.take()).unwrap_or_default()).unwrap();
        Done { status, out, err }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that ends with the test, also with one that fails.
pub struct Guard(pub Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

/// The exit status of a process that has to end; 128 and more for a signal.
pub fn wait(child: &mut Child) -> i32 {
    use std::os::unix::process::ExitStatusExt;

    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("process {} did not end", child.id());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A process that has ended.
#[derive(Debug)]
pub struct Done {
    pub status: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Done {
    #[track_caller]
    pub fn succeeded(self) -> Done {
        assert_eq!(self.status, 0, "{}", self.err);
        self
    }

    /// Ended with this status and said all of this.
    #[track_caller]
    pub fn failed(self, status: i32, said: &[&str]) -> Done {
        assert_eq!(self.status, status, "{}", self.err);
        for said in said {
            assert!(self.err.contains(said), "expected `{said}` in: {}", self.err);
        }
        self
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Its lines, as JSON.
    pub fn json(&self) -> Vec<serde_json::Value> {
        self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !so() {
        assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process is no more (or nobody has asked for its status yet).
pub fn is_gone(pid: u64) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// The lines that a process prints, as they come.
pub struct Tail {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Tail {
    pub fn of(output: BufReader<std::process::ChildStdout>) -> Tail {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let seen = lines.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                seen.lock().unwrap().push(line);
            }
        });
        Tail { lines }
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Waits until there are so many; all there are then.
    #[track_caller]
    pub fn wait(&self, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines"), || self.lines.lock().unwrap().len() >= count);
        self.lines()
    }

    /// The same, as JSON.
    #[track_caller]
    pub fn wait_json(&self, count: usize) -> Vec<serde_json::Value> {
        self.wait(count).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

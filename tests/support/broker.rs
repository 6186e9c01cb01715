//! A broker in a process of its own.

use super::{eventually, signal, stop};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use syncline::Bus;

/// `syncline broker`. Killed when dropped.
pub struct BrokerProcess(Child);

impl BrokerProcess {
    /// Starts one, and connects to it once it is there.
    pub fn start(socket: &Path) -> (BrokerProcess, Bus) {
        Self::start_with(socket, Stdio::null(), "")
    }

    /// The same; it appends to a file what it is asked.
    pub fn start_logging(socket: &Path, log: std::fs::File) -> (BrokerProcess, Bus) {
        Self::start_with(socket, log.into(), "syncline=debug")
    }

    fn start_with(socket: &Path, log: Stdio, level: &str) -> (BrokerProcess, Bus) {
        let Some(program) = option_env!("CARGO_BIN_EXE_syncline") else { panic!("built without the feature `cli`") };
        let mut command = Command::new(program);
        command.args(["broker", "--socket"]).arg(socket).stdout(Stdio::null()).stderr(log).env("RUST_LOG", level);
        let broker = BrokerProcess(command.spawn().expect("start a broker"));
        let mut bus = None;
        eventually("the broker is there", || {
            bus = Bus::connect_to(socket).ok();
            bus.is_some()
        });
        (broker, bus.expect("a connection"))
    }

    /// Stops it (SIGSTOP), and waits until it does not run.
    pub fn stop(&self) {
        stop(self.0.id());
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        signal(self.0.id(), Signal::SIGCONT);
    }

    /// `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        self.0.kill().expect("kill the broker");
        self.0.wait().expect("wait for the broker");
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

//! A pipe for each way.

use super::stream::Stream;
use crate::Result;
use crate::peer::{End, Peer, Plan, Work};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

pub struct Pipe {
    /// Keeps the ways open until both ends have met.
    both: Vec<File>,
    stream: Stream,
}

/// Bytes of a pipe.
fn buffer(plan: &Plan) -> usize {
    // What an unprivileged process may ask for.
    let most = std::fs::read_to_string("/proc/sys/fs/pipe-max-size").unwrap_or_default();
    plan.room().min(most.trim().parse().unwrap_or(1 << 20))
}

impl Peer for Pipe {
    const NAME: &'static str = "pipe";
    const TITLE: &'static str = "pipe";
    const WORKS: &'static [Work] = &[Work::Latency, Work::Throughput, Work::Wake];
    type Host = ();

    fn version() -> String {
        format!("a `write` and a `read` for each message: {}", super::kernel())
    }

    fn room(plan: &Plan) -> String {
        format!("pipe of {} KiB", buffer(plan) >> 10)
    }

    fn host(_: &Plan) -> Result<()> {
        Ok(())
    }

    fn open(plan: &Plan, end: End) -> Result<Pipe> {
        let path = |way: &str| plan.place.join(format!("pipe-{}-{way}", plan.number));
        let (out, back) = match end {
            End::First => (path("ping"), path("pong")),
            End::Second => (path("pong"), path("ping")),
        };
        if end == End::First {
            nix::unistd::mkfifo(&out, Mode::S_IRWXU)?;
            nix::unistd::mkfifo(&back, Mode::S_IRWXU)?;
        }
        // Opened for both, neither waits for the other end.
        let open = |path: &PathBuf| File::options().read(true).write(true).open(path);
        let both = vec![open(&out)?, open(&back)?];
        for way in &both {
            fcntl(way, FcntlArg::F_SETPIPE_SZ(buffer(plan) as i32))?;
        }
        let reader = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&back)?;
        let writer = File::options().write(true).open(&out)?;
        let stream = Stream::new(writer.into(), reader.into(), plan)?;
        Ok(Pipe { both, stream })
    }

    fn meet(&mut self, _: End) -> Result<()> {
        // From here on, whoever reads hears of it when the other end goes.
        self.both.clear();
        Ok(())
    }

    #[inline(always)]
    fn try_send(&mut self, number: u64) -> Result<bool> {
        self.stream.try_send(number)
    }

    #[inline(always)]
    fn try_receive(&mut self, number: u64) -> Result<u64> {
        self.stream.try_receive(number)
    }
}

//! A unix socket, of bytes: one for both ways.

use super::stream::Stream;
use crate::Result;
use crate::peer::{End, Peer, Plan, Work};
use nix::sys::socket::{setsockopt, sockopt};
use std::os::unix::net::{UnixListener, UnixStream};

pub struct Socket {
    plan: Plan,
    listener: Option<UnixListener>,
    stream: Option<Stream>,
}

/// Bytes of a send buffer. The kernel counts a message of 8 bytes as several hundred, and grants what it likes.
fn buffer(plan: &Plan) -> usize {
    plan.room().max(208 << 10)
}

impl Socket {
    fn stream(plan: &Plan, socket: UnixStream) -> Result<Stream> {
        setsockopt(&socket, sockopt::SndBuf, &buffer(plan))?;
        let back = socket.try_clone()?;
        Stream::new(socket.into(), back.into(), plan)
    }

    fn open_stream(&mut self) -> Result<&mut Stream> {
        self.stream.as_mut().ok_or_else(|| "the ends have not met".into())
    }
}

impl Peer for Socket {
    const NAME: &'static str = "socket";
    const TITLE: &'static str = "unix socket";
    const WORKS: &'static [Work] = &[Work::Latency, Work::Throughput, Work::Wake];
    type Host = ();

    fn version() -> String {
        format!("`SOCK_STREAM`, a `write` and a `read` for each message: {}", super::kernel())
    }

    fn room(plan: &Plan) -> String {
        let most = std::fs::read_to_string("/proc/sys/net/core/wmem_max").unwrap_or_default();
        let most = most.trim().parse().unwrap_or(usize::MAX);
        format!("send buffer of {} KiB", buffer(plan).min(most) >> 10)
    }

    fn host(_: &Plan) -> Result<()> {
        Ok(())
    }

    fn open(plan: &Plan, end: End) -> Result<Socket> {
        let path = plan.place.join(format!("socket-{}", plan.number));
        let (listener, stream) = match end {
            End::First => (Some(UnixListener::bind(path)?), None),
            End::Second => (None, Some(Self::stream(plan, UnixStream::connect(path)?)?)),
        };
        Ok(Socket { plan: plan.clone(), listener, stream })
    }

    fn meet(&mut self, _: End) -> Result<()> {
        if let Some(listener) = self.listener.take() {
            self.stream = Some(Self::stream(&self.plan, listener.accept()?.0)?);
        }
        Ok(())
    }

    #[inline(always)]
    fn try_send(&mut self, number: u64) -> Result<bool> {
        self.open_stream()?.try_send(number)
    }

    #[inline(always)]
    fn try_receive(&mut self, number: u64) -> Result<u64> {
        self.open_stream()?.try_receive(number)
    }
}

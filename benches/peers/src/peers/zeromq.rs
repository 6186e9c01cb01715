//! ZeroMQ: a pair of sockets over `ipc`.

use crate::Result;
use crate::peer::{End, Peer, Plan, Work, check, fill};
use zmq::{Context, DONTWAIT, Message, Socket, SocketType};

pub struct ZeroMq {
    size: usize,
    /// Of each call: whether it waits.
    flags: i32,
    incoming: Message,
    socket: Socket,
    // Ends last.
    _context: Context,
}

/// Messages that either side queues.
fn queued(plan: &Plan) -> i32 {
    (plan.slots() / 2).max(1) as i32
}

impl Peer for ZeroMq {
    const NAME: &'static str = "zeromq";
    const TITLE: &'static str = "ZeroMQ ipc";
    const WORKS: &'static [Work] = &[Work::Latency, Work::Throughput, Work::Wake];
    // Messages go through a thread of its own.
    const YIELDS: bool = true;
    type Host = ();

    fn version() -> String {
        let (major, minor, patch) = zmq::version();
        format!(
            "libzmq {major}.{minor}.{patch} by zmq {}; `PAIR` sockets, one I/O thread in each process, which has to run on the same two \
             cores: who waits for latency polls and yields, who waits otherwise waits in `zmq_msg_recv` and `zmq_msg_send`; high-water \
             marks that block",
            super::locked("zmq")
        )
    }

    fn room(plan: &Plan) -> String {
        format!("{0} + {0} messages and a socket", queued(plan))
    }

    fn host(_: &Plan) -> Result<()> {
        Ok(())
    }

    fn open(plan: &Plan, end: End) -> Result<ZeroMq> {
        let context = Context::new();
        let socket = context.socket(SocketType::PAIR)?;
        socket.set_sndhwm(queued(plan))?;
        socket.set_rcvhwm(queued(plan))?;
        socket.set_linger(0)?;
        socket.set_sndtimeo(50)?;
        socket.set_rcvtimeo(50)?;
        let address = format!("ipc://{}", plan.place.join(format!("zeromq-{}", plan.number)).display());
        match end {
            End::First => socket.bind(&address)?,
            End::Second => socket.connect(&address)?,
        }
        let flags = if plan.work == Work::Latency { DONTWAIT } else { 0 };
        Ok(ZeroMq { size: plan.size, flags, incoming: Message::new(), socket, _context: context })
    }

    fn try_send(&mut self, number: u64) -> Result<bool> {
        let mut message = Message::with_size(self.size);
        fill(&mut message, number);
        match self.socket.send(message, self.flags) {
            Ok(()) => Ok(true),
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn try_receive(&mut self, number: u64) -> Result<u64> {
        match self.socket.recv(&mut self.incoming, self.flags) {
            Ok(()) => {}
            Err(zmq::Error::EAGAIN | zmq::Error::EINTR) => return Ok(0),
            Err(error) => return Err(error.into()),
        }
        check(&self.incoming, self.size, number)?;
        Ok(1)
    }
}

//! Syncline: a zone with one channel for each way, read live.

use crate::Result;
use crate::peer::{End, Peer, Plan, Work, check, fill};
use std::time::Duration;
use syncline::broker::{Broker, BrokerThread, Config};
use syncline::{Bus, Error, Lane, Reader, Wait, Writer, Zone};

pub struct Syncline {
    out: Zone,
    writer: Writer,
    lane: Lane<[u8]>,
    reader: Reader,
    size: usize,
    // Keeps the connection.
    _bus: Bus,
}

fn socket(plan: &Plan) -> std::path::PathBuf {
    plan.place.join(format!("syncline-{}.sock", plan.number))
}

fn capacity(plan: &Plan) -> u64 {
    // Capacities are powers of two, and messages have heads: two of 1 MiB need twice as much.
    let room = plan.room() as u64;
    if room < 2 * (plan.size as u64 + 16) { 2 * room } else { room }.next_power_of_two()
}

impl Peer for Syncline {
    const NAME: &'static str = "syncline";
    const TITLE: &'static str = "**Syncline**";
    const WORKS: &'static [Work] = &[Work::Latency, Work::Throughput, Work::Wake];
    type Host = BrokerThread;

    fn version() -> String {
        "this tree; live reader, `try_recv` and `recv`, read in place; 8 bytes by `publish`, others written in place by \
         `loan_slice`; its broker sleeps"
            .to_owned()
    }

    fn room(plan: &Plan) -> String {
        format!("ring of {} KiB", capacity(plan) >> 10)
    }

    fn host(plan: &Plan) -> Result<BrokerThread> {
        Ok(Broker::spawn(Config { socket: Some(socket(plan)), ..Config::default() })?)
    }

    fn open(plan: &Plan, end: End) -> Result<Syncline> {
        let bus = Bus::connect_to(&socket(plan))?;
        let (out, back) = if end == End::First { ("ping", "pong") } else { ("pong", "ping") };
        let (out, back) = (bus.zone(out), bus.zone(back));
        let mut writer = out.writer("peers")?;
        let lane = writer.channel("c").capacity(capacity(plan)).max_len(plan.size as u64).open::<[u8]>()?;
        // `recv` sleeps at once, as the others do.
        let reader = back.reader("peers").channel::<[u8]>("c").wait(Wait::Block).open()?;
        Ok(Syncline { out, writer, lane, reader, size: plan.size, _bus: bus })
    }

    fn meet(&mut self, _: End) -> Result<()> {
        self.out.wait_readers("c", 1, Duration::from_secs(10))?;
        Ok(())
    }

    #[inline(always)]
    fn try_send(&mut self, number: u64) -> Result<bool> {
        let sent = if self.size == 8 {
            self.writer.publish(self.lane, &number.to_le_bytes()[..])
        } else {
            self.writer.loan_slice(self.lane, self.size).and_then(|mut loan| {
                fill(loan.bytes_mut(), number);
                loan.publish()
            })
        };
        match sent {
            Ok(()) => Ok(true),
            Err(Error::Full { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    #[inline(always)]
    fn try_receive(&mut self, number: u64) -> Result<u64> {
        let Some(message) = self.reader.try_recv()? else { return Ok(0) };
        // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
        check(unsafe { message.bytes_in_place() }, self.size, number)?;
        Ok(1)
    }

    fn receive(&mut self, number: u64) -> Result<u64> {
        match self.reader.recv(Duration::from_millis(50)) {
            Ok(message) => {
                // SAFETY: as in `try_receive`.
                check(unsafe { message.bytes_in_place() }, self.size, number)?;
                Ok(1)
            }
            Err(Error::Timeout) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

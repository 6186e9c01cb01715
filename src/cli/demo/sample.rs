//! Samples of this host's figures, from `/proc`.

use super::tick::Tick;
use crate::client::Described;
use bytemuck::{Pod, Zeroable};
use serde::Serialize;
use std::io;
use std::time::Instant;

/// A message of the demo.
pub(super) trait Sample: Described + Pod + Serialize {
    /// Its channel.
    const CHANNEL: &'static str;
    /// What the next sample is compared with.
    type Before;

    /// The figures now.
    fn before() -> io::Result<Self::Before>;

    /// The figures at a tick, and since the sample before.
    fn take(tick: Tick, before: &mut Self::Before) -> io::Result<Self>;

    /// The tick that it was taken at.
    fn tick(&self) -> Tick;

    /// For people.
    fn text(&self) -> String;
}

/// What the processors did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable, Serialize)]
#[repr(C)]
pub(super) struct Cpu {
    tick: u64,
    busy_percent: f64,
    load_1m: f64,
}

crate::describe!(Cpu as "host.cpu" { tick: u64, busy_percent: f64, load_1m: f64 });

/// Bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable, Serialize)]
#[repr(C)]
pub(super) struct Memory {
    tick: u64,
    total: u64,
    used: u64,
}

crate::describe!(Memory as "host.memory" { tick: u64, total: u64, used: u64 });

/// What went over all interfaces but the loopback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Pod, Zeroable, Serialize)]
#[repr(C)]
pub(super) struct Network {
    tick: u64,
    received_per_second: f64,
    sent_per_second: f64,
}

crate::describe!(Network as "host.network" { tick: u64, received_per_second: f64, sent_per_second: f64 });

impl Sample for Cpu {
    const CHANNEL: &'static str = "cpu";
    /// Busy and all ticks of the processors.
    type Before = (u64, u64);

    fn before() -> io::Result<Self::Before> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        processor_time(&stat).ok_or_else(|| unreadable("/proc/stat"))
    }

    fn take(tick: Tick, before: &mut Self::Before) -> io::Result<Self> {
        let (busy, all) = Self::before()?;
        let (busier, longer) = (busy.saturating_sub(before.0), all.saturating_sub(before.1));
        *before = (busy, all);
        let load = std::fs::read_to_string("/proc/loadavg")?;
        let load = load.split(' ').next().and_then(|load| load.parse().ok());
        Ok(Cpu {
            tick: tick.0,
            busy_percent: if longer == 0 { 0.0 } else { 100.0 * busier as f64 / longer as f64 },
            load_1m: load.ok_or_else(|| unreadable("/proc/loadavg"))?,
        })
    }

    fn tick(&self) -> Tick {
        Tick(self.tick)
    }

    fn text(&self) -> String {
        format!("cpu {:5.1} % busy, load {:.2}", self.busy_percent, self.load_1m)
    }
}

impl Sample for Memory {
    const CHANNEL: &'static str = "memory";
    type Before = ();

    fn before() -> io::Result<()> {
        Ok(())
    }

    fn take(tick: Tick, _: &mut ()) -> io::Result<Self> {
        let info = std::fs::read_to_string("/proc/meminfo")?;
        let (total, available) = memory(&info).ok_or_else(|| unreadable("/proc/meminfo"))?;
        Ok(Memory { tick: tick.0, total, used: total.saturating_sub(available) })
    }

    fn tick(&self) -> Tick {
        Tick(self.tick)
    }

    fn text(&self) -> String {
        let mib = |bytes: u64| bytes >> 20;
        format!("memory {} of {} MiB", mib(self.used), mib(self.total))
    }
}

impl Sample for Network {
    const CHANNEL: &'static str = "network";
    type Before = (u64, u64, Instant);

    fn before() -> io::Result<Self::Before> {
        let table = std::fs::read_to_string("/proc/net/dev")?;
        let (received, sent) = traffic(&table);
        Ok((received, sent, Instant::now()))
    }

    fn take(tick: Tick, before: &mut Self::Before) -> io::Result<Self> {
        let now = Self::before()?;
        let seconds = now.2.duration_since(before.2).as_secs_f64().max(1e-3);
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let sample = Network {
            tick: tick.0,
            received_per_second: rate(now.0, before.0),
            sent_per_second: rate(now.1, before.1),
        };
        *before = now;
        Ok(sample)
    }

    fn tick(&self) -> Tick {
        Tick(self.tick)
    }

    fn text(&self) -> String {
        format!("network in {:.1} out {:.1} kB/s", self.received_per_second / 1e3, self.sent_per_second / 1e3)
    }
}

fn unreadable(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as expected"))
}

/// Busy and all time in `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn processor_time(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
    let all = times.iter().sum::<u64>();
    let idle = times.get(3)? + times.get(4).unwrap_or(&0);
    Some((all - idle, all))
}

/// Total and available bytes in `/proc/meminfo`.
fn memory(info: &str) -> Option<(u64, u64)> {
    let bytes = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim_start_matches(':').trim().strip_suffix(" kB")?.parse().ok()?;
        kib.checked_mul(1024)
    };
    Some((bytes("MemTotal")?, bytes("MemAvailable")?))
}

/// Bytes received and sent in `/proc/net/dev`.
fn traffic(table: &str) -> (u64, u64) {
    let (mut received, mut sent) = (0u64, 0u64);
    for line in table.lines() {
        let Some((name, figures)) = line.split_once(':') else { continue };
        if name.trim() == "lo" {
            continue;
        }
        let figures: Vec<u64> = figures.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
        received = received.wrapping_add(figures.first().copied().unwrap_or(0));
        sent = sent.wrapping_add(figures.get(8).copied().unwrap_or(0));
    }
    (received, sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found() {
        let stat = "cpu  100 20 30 1000 50 1 2 3 7 0\ncpu0 100 20 30 1000 50 1 2 3 7 0\nintr 1\n";
        assert_eq!(processor_time(stat), Some((156, 1206)));
        assert_eq!(processor_time("intr 1\n"), None);
        assert_eq!(processor_time("cpu  1 2 x 4\n"), None);
        let info = "MemTotal:        2048 kB\nMemFree:           10 kB\nMemAvailable:    1024 kB\n";
        assert_eq!(memory(info), Some((2 << 20, 1 << 20)));
        assert_eq!(memory("MemTotal: 1 kB\n"), None);
        let table = "Inter-|   Receive  |  Transmit\n face |bytes packets\n    lo: 9 9 9 9 9 9 9 9 9 9\n\
                     eth0: 1000 2 0 0 0 0 0 0 300 4 0\n eth1:1 2 0 0 0 0 0 0 3 4 0\n";
        assert_eq!(traffic(table), (1001, 303));
    }

    #[test]
    fn this_host_has_figures() {
        let tick = Tick::now();
        let cpu = Cpu::take(tick, &mut Cpu::before().unwrap()).unwrap();
        assert!((0.0..=100.0).contains(&cpu.busy_percent) && cpu.load_1m >= 0.0, "{cpu:?}");
        let memory = Memory::take(tick, &mut ()).unwrap();
        assert!(memory.used > 0 && memory.used <= memory.total, "{memory:?}");
        let network = Network::take(tick, &mut Network::before().unwrap()).unwrap();
        assert!(network.received_per_second >= 0.0, "{network:?}");
        assert_eq!((cpu.tick(), memory.tick(), network.tick()), (tick, tick, tick));
    }
}

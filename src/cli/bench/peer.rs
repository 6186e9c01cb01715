//! The other process of a benchmark: does what it reads from its standard input, line by line.

use super::bare::Arena;
use super::edge::{latency, lockstep, rate};
use super::{fanin, fanout, join, lossy, table, wake};
use crate::client::{Bus, Reader, Writer};
use crate::error::{Error, Result};
use clap::Args;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Where the other process finds what it works on.
#[derive(Debug, Clone, Args)]
pub(crate) struct Peer {
    #[arg(long)]
    arena: PathBuf,
    #[arg(long)]
    core: usize,
}

/// What the other process is to do, until the arena says stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Job {
    /// The other side of the bounced line.
    BounceBare,
    /// Reads from zone `ping` and publishes each message into zone `pong`.
    Bounce,
    /// The producer of the bare ring.
    ProduceBare,
    /// Publishes singly into zone `flow`.
    Produce,
    /// The same in batches of 64.
    ProduceBatches,
    /// Answers each message and its edge with the same, in a zone of its own.
    AnswerApart,
    /// The same in one zone.
    AnswerTogether,
    /// Runs edges against ours.
    Seal,
    /// Counts the bare word up against us.
    CountBare,
    /// Goes along in lockstep.
    Round,
    /// Answers each wake of a bare futex with another, asleep in between.
    WakeBare,
    /// Sleeps for each message in zone `ping`, answers in zone `pong`.
    Wake,
    /// As many readers as the size says take what is published in zone `fan`.
    Drain,
    /// As many writers as the size says publish in turn, when asked.
    PublishInTurn,
    /// Of as many writers as the size says one publishes, when asked.
    PublishAlone,
    /// Opens a reader for each writer that is going to come.
    Await,
    /// Reads the lossy channel of zone `careless`.
    Follow,
    /// Sleeps for each change in zone `ping`, answers with one in zone `pong`.
    WakeByChange,
    /// Writes the bare seqlock, at a pace.
    UpdateBare,
    /// Reads the bare seqlock.
    ReadBare,
    /// Sets one item of a table, at a pace.
    Update,
    /// Sets all items of a table, one after the other.
    UpdateMany,
    /// Reads one item of a table.
    ReadItem,
}

const JOBS: [(&str, Job); 23] = [
    ("bounce-bare", Job::BounceBare),
    ("bounce", Job::Bounce),
    ("produce-bare", Job::ProduceBare),
    ("produce", Job::Produce),
    ("produce-batches", Job::ProduceBatches),
    ("answer-apart", Job::AnswerApart),
    ("answer-together", Job::AnswerTogether),
    ("seal", Job::Seal),
    ("count-bare", Job::CountBare),
    ("round", Job::Round),
    ("wake-bare", Job::WakeBare),
    ("wake", Job::Wake),
    ("drain", Job::Drain),
    ("publish-in-turn", Job::PublishInTurn),
    ("publish-alone", Job::PublishAlone),
    ("await", Job::Await),
    ("follow", Job::Follow),
    ("wake-by-change", Job::WakeByChange),
    ("update-bare", Job::UpdateBare),
    ("read-bare", Job::ReadBare),
    ("update", Job::Update),
    ("update-many", Job::UpdateMany),
    ("read-item", Job::ReadItem),
];

/// Pins this thread to a core.
pub(super) fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|errno| Error::io(format!("pinning to core {core}"))(errno.into()))
}

/// Nanoseconds of the monotonic clock, which both processes share.
pub(super) fn now_ns() -> u64 {
    // The clock is always there.
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}

/// The lane's capacity: as many bytes as the bare ring has, or what the message needs.
pub(super) fn capacity(size: usize) -> u64 {
    (super::bare::RING_BYTES.max(4 * size)) as u64
}

/// Opens the one lane that a zone of a benchmark has.
pub(super) fn open_writer(bus: &Bus, zone: &str, size: usize) -> Result<(Writer, crate::Lane<[u8]>)> {
    let mut writer = bus.zone(zone).writer("bench")?;
    let lane = writer.channel("c").capacity(capacity(size)).max_len(size as u64).open::<[u8]>()?;
    Ok((writer, lane))
}

/// Opens the reader of such a zone.
pub(super) fn open_reader(bus: &Bus, zone: &str) -> Result<Reader> {
    bus.zone(zone).reader("bench").channel::<[u8]>("c").open()
}

/// Fills a message: its number in every word.
pub(super) fn fill(bytes: &mut [u8], number: u64) {
    let (words, _) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = number.to_le_bytes();
    }
}

/// Whether every word of a message is its number.
#[inline(always)]
pub(super) fn check(bytes: &[u8], number: u64) -> Result<()> {
    let (words, _) = bytes.as_chunks::<8>();
    let mut differs = 0;
    for word in words {
        differs |= u64::from_le_bytes(*word) ^ number;
    }
    if differs == 0 { Ok(()) } else { Err(Error::Corrupt(format!("expected message {number}, found another"))) }
}

/// The other process.
pub(super) fn run(peer: &Peer, bus: &Bus) -> Result<()> {
    pin(peer.core)?;
    let arena = Arena::open(&peer.arena)?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(Error::io("reading jobs"))?;
        let mut words = line.split(' ');
        let (name, size) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let job = JOBS.iter().find(|(job, _)| *job == name).map(|(_, job)| *job);
        let (Some(job), Ok(size)) = (job, size.parse::<usize>()) else {
            return Err(Error::Invalid(format!("no such job: {line}")));
        };
        let counts = work(job, size, bus, &arena)?;
        let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
        println!("done {}", counts.join(" "));
    }
    Ok(())
}

/// Tells the parent that the job has begun.
pub(super) fn ready() {
    println!("ready");
    // A broken pipe shows at the next line read.
    let _ = std::io::stdout().flush();
}

/// Does a job; what it has counted, first how many messages or steps.
fn work(job: Job, size: usize, bus: &Bus, arena: &Arena) -> Result<Vec<u64>> {
    let count = match job {
        Job::BounceBare => {
            ready();
            arena.receive();
            0
        }
        Job::ProduceBare => {
            ready();
            arena.produce(size)
        }
        Job::Bounce => bounce(size, bus, arena)?,
        Job::Produce => produce(size, 1, bus, arena)?,
        Job::ProduceBatches => produce(size, 64, bus, arena)?,
        Job::AnswerApart => latency::answer(latency::Zones::Apart, bus, arena)?,
        Job::AnswerTogether => latency::answer(latency::Zones::Together, bus, arena)?,
        Job::Round => lockstep::go_along(bus, arena)?,
        Job::WakeBare => wake::answer_bare(arena)?,
        Job::Wake => wake::answer(size, bus, arena)?,
        Job::WakeByChange => wake::answer_changes(bus, arena)?,
        Job::Drain => fanout::drain(size, bus, arena)?,
        Job::PublishInTurn => fanin::publish_bursts(size, size, bus, arena)?,
        Job::PublishAlone => fanin::publish_bursts(size, 1, bus, arena)?,
        Job::Await => join::await_writers(bus, arena)?,
        Job::Follow => lossy::follow(bus, arena)?,
        Job::UpdateBare | Job::ReadBare | Job::Update | Job::UpdateMany | Job::ReadItem => {
            table::work(job, bus, arena)?
        }
        Job::Seal => return rate::compete(bus, arena),
        Job::CountBare => {
            ready();
            arena.count_up(|| arena.stopped())
        }
    };
    Ok(vec![count])
}

fn bounce(size: usize, bus: &Bus, arena: &Arena) -> Result<u64> {
    let (mut writer, lane) = open_writer(bus, "pong", size)?;
    let mut reader = open_reader(bus, "ping")?;
    ready();
    let mut number = 0;
    let mut polls = 0u32;
    loop {
        let Some(message) = reader.try_recv()? else {
            std::hint::spin_loop();
            polls += 1;
            if polls.is_multiple_of(4096) && arena.stopped() {
                return Ok(number);
            }
            continue;
        };
        // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
        check(unsafe { message.bytes_in_place() }, number)?;
        drop(message);
        publish(&mut writer, lane, size, number)?;
        number += 1;
    }
}

/// Publishes message `number`: small ones from a value, large ones in place.
#[inline(always)]
pub(super) fn publish(writer: &mut Writer, lane: crate::Lane<[u8]>, size: usize, number: u64) -> Result<()> {
    match size {
        8 => writer.publish(lane, &number.to_le_bytes()[..]),
        48 => writer.publish(lane, bytemuck::bytes_of(&[number; 6])),
        _ => {
            let mut loan = writer.loan_slice(lane, size)?;
            fill(loan.bytes_mut(), number);
            loan.publish()?;
            Ok(())
        }
    }
}

fn produce(size: usize, batch: u64, bus: &Bus, arena: &Arena) -> Result<u64> {
    let (mut writer, lane) = open_writer(bus, "flow", size)?;
    bus.zone("flow").wait_readers("c", 1, std::time::Duration::from_secs(10))?;
    ready();
    let mut number = 0;
    while !arena.stopped() {
        for _ in 0..256 / batch {
            loop {
                let sent = if batch == 1 {
                    publish(&mut writer, lane, size, number)
                } else {
                    publish_batch(&mut writer, lane, size, number, batch)
                };
                match sent {
                    Ok(()) => break number += batch,
                    Err(Error::Full { .. }) if arena.stopped() => return Ok(number),
                    Err(Error::Full { .. }) => std::hint::spin_loop(),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(number)
}

fn publish_batch(writer: &mut Writer, lane: crate::Lane<[u8]>, size: usize, from: u64, count: u64) -> Result<()> {
    let mut batch = writer.batch()?;
    for number in from..from + count {
        match size {
            8 => batch.push(lane, &number.to_le_bytes()[..])?,
            48 => batch.push(lane, bytemuck::bytes_of(&[number; 6]))?,
            _ => {
                let mut loan = batch.loan_slice(lane, size)?;
                fill(loan.bytes_mut(), number);
                loan.publish()?;
            }
        }
    }
    batch.commit()?;
    Ok(())
}

/// A parent's handle on the other process.
pub(super) struct Other {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Other {
    /// Starts it, on `core`.
    pub(super) fn start(socket: &Path, arena: &Path, core: usize) -> Result<Other> {
        let doing = "starting the other process";
        let own = std::env::current_exe().map_err(Error::io(doing))?;
        let mut command = Command::new(own);
        command.args(["bench", "peer", "--core", &core.to_string(), "--socket"]).arg(socket).arg("--arena").arg(arena);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(Error::io(doing))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Invalid("the other process has no pipes".to_owned()));
        };
        Ok(Other { child, input, output: BufReader::new(output) })
    }

    /// Gives it a job and waits until it is at it.
    pub(super) fn begin(&mut self, job: Job, size: usize) -> Result<()> {
        let name = JOBS.iter().find(|(_, known)| *known == job).map_or("", |(name, _)| name);
        writeln!(self.input, "{name} {size}").map_err(Error::io("giving the other process a job"))?;
        self.line("ready").map(|_| ())
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32);
        kill(pid, signal).map_err(|errno| Error::io("sending the other process a signal")(errno.into()))
    }

    /// Waits until the job is done; the count that it reports.
    pub(super) fn end(&mut self) -> Result<u64> {
        Ok(self.end_with_counts()?.first().copied().unwrap_or(0))
    }

    /// Waits until the job is done; all counts that it reports.
    pub(super) fn end_with_counts(&mut self) -> Result<Vec<u64>> {
        self.line("done").map(|rest| rest.split_whitespace().map_while(|count| count.parse().ok()).collect())
    }

    fn line(&mut self, tag: &str) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(Error::io("reading from the other process"))?;
        match line.strip_prefix(tag) {
            Some(rest) => Ok(rest.to_owned()),
            None => Err(Error::Invalid(format!("the other process said {line:?} instead of {tag:?}"))),
        }
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! One way to somebody who sleeps: half a round trip, less the time that the other side takes between being woken and answering.
//!
//! ```text
//!   here    t1 send, make way ... sleep ......................... t4 make way
//!   there   asleep ......... t2   make way ......... t3 send, make way ... sleep
//!
//!   one way = ((t2 - t1) + (t4 - t3)) / 2, on the one clock that both have
//! ```
//!
//! Both share a core, so that nobody is woken across two of a virtual machine's (tens of microseconds). A receiver spins for a moment
//! before it sleeps, and would hold up the one that it waits for. So whoever has sent yields the core until the other has it; whoever is to
//! answer yields it for long enough that the other is asleep. Whether it was, the kernel's count of voluntary switches says: round
//! trips in which somebody was not are left out. The bare side makes way in the same places.

use super::bare::Arena;
use super::bounce::Court;
use super::peer::{Job, check, now_ns, open_reader, open_writer, publish, ready};
use super::report::{histogram, record};
use super::table::Value;
use crate::client::{Bus, Item, Lane, Reader, TableWatch, Writer};
use crate::error::{Error, Result};
use hdrhistogram::Histogram;
use nix::sys::resource::{UsageWho, getrusage};
use std::thread::yield_now;
use std::time::{Duration, Instant};

/// The other notices that we have its message, spins, and sleeps.
const TO_FALL_ASLEEP: Duration = Duration::from_micros(40);
const PATIENCE: Duration = Duration::from_secs(10);
/// Notes: when the other side had the message, whether it had slept for it, and when it answered; how many messages are there, and how
/// many answers here.
const GOT: usize = 0;
const SLEPT: usize = 1;
const ANSWERED: usize = 2;
const THERE: usize = 3;
const HERE: usize = 4;

/// What was found of a run.
pub(super) struct Wakes {
    pub(super) samples: Histogram<u64>,
    pub(super) answered: u64,
    /// Round trips in which somebody was awake.
    pub(super) awake: u64,
}

/// How one side sends and sleeps.
trait Side {
    fn send(&mut self, number: u64) -> Result<()>;
    /// Sleeps for the other's message `number`.
    fn sleep_for(&mut self, number: u64) -> Result<()>;
}

/// Through a lane each way.
struct Lanes {
    writer: Writer,
    lane: Lane<[u8]>,
    size: usize,
    reader: Reader,
}

impl Side for Lanes {
    fn send(&mut self, number: u64) -> Result<()> {
        publish(&mut self.writer, self.lane, self.size, number)
    }

    fn sleep_for(&mut self, number: u64) -> Result<()> {
        let message = self.reader.recv(PATIENCE)?;
        // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
        check(unsafe { message.bytes_in_place() }, number)
    }
}

/// Through an item of a table each way, and a watch of it.
struct Changes {
    writer: Writer,
    item: Item<Value>,
    watch: TableWatch,
    watched: Item<Value>,
}

/// Bytes of that item.
pub(super) const ITEM: usize = size_of::<Value>();

impl Changes {
    fn open(bus: &Bus, own: &str) -> Result<(Writer, Item<Value>)> {
        let mut writer = bus.zone(own).writer("bench")?;
        let table = writer.table("t").item::<Value>("value").open()?;
        let item = writer.item(table, "value")?;
        Ok((writer, item))
    }

    fn watch(bus: &Bus, other: &str) -> Result<(TableWatch, Item<Value>)> {
        let reader = bus.zone(other).wait_table("t", PATIENCE)?;
        let mut watch = reader.watch("bench").item("value").open()?;
        let item = watch.table().item("value")?;
        Ok((watch, item))
    }
}

impl Side for Changes {
    fn send(&mut self, number: u64) -> Result<()> {
        self.writer.set(self.item, &Value([number; 8]))
    }

    fn sleep_for(&mut self, number: u64) -> Result<()> {
        self.watch.next(PATIENCE)?;
        let value = self.watch.table().get(self.watched)?;
        check(bytemuck::bytes_of(&value), number)
    }
}

/// Of changes, this side.
pub(super) fn changes(court: &mut Court<'_>) -> Result<Wakes> {
    court.arena.reset();
    let (writer, item) = Changes::open(court.bus, "ping")?;
    court.other.begin(Job::WakeByChange, ITEM)?;
    let (watch, watched) = Changes::watch(court.bus, "pong")?;
    let time = court.time;
    play(court, Changes { writer, item, watch, watched }, time)
}

/// Of changes, the other side.
pub(super) fn answer_changes(bus: &Bus, arena: &Arena) -> Result<u64> {
    let (writer, item) = Changes::open(bus, "pong")?;
    let (watch, watched) = Changes::watch(bus, "ping")?;
    serve(arena, Changes { writer, item, watch, watched })
}

/// By a bare futex word: one count there, the next back.
struct Bare<'a> {
    arena: &'a Arena,
    /// 1 for the side that begins, 2 for the other.
    own: u32,
}

impl Bare<'_> {
    fn count(number: u64, whose: u32) -> u32 {
        (number as u32).wrapping_mul(2).wrapping_add(whose)
    }
}

impl Side for Bare<'_> {
    fn send(&mut self, number: u64) -> Result<()> {
        self.arena.pass(Bare::count(number, self.own))
    }

    fn sleep_for(&mut self, number: u64) -> Result<()> {
        self.arena.sleep_for(Bare::count(number, 3 - self.own))
    }
}

/// Of Syncline, this side.
pub(super) fn wakes(court: &mut Court<'_>, size: usize) -> Result<Wakes> {
    court.arena.reset();
    let (writer, lane) = open_writer(court.bus, "ping", size)?;
    court.other.begin(Job::Wake, size)?;
    let reader = open_reader(court.bus, "pong")?;
    let time = court.time;
    play(court, Lanes { writer, lane, size, reader }, time)
}

/// Of Syncline, the other side.
pub(super) fn answer(size: usize, bus: &Bus, arena: &Arena) -> Result<u64> {
    let (writer, lane) = open_writer(bus, "pong", size)?;
    let reader = open_reader(bus, "ping")?;
    serve(arena, Lanes { writer, lane, size, reader })
}

/// Of the bare futex, this side.
pub(super) fn bare(court: &mut Court<'_>, time: Duration) -> Result<Histogram<u64>> {
    court.arena.reset();
    court.other.begin(Job::WakeBare, 8)?;
    let bare = Bare { arena: court.arena, own: 1 };
    Ok(play(court, bare, time)?.samples)
}

/// Of the bare futex, the other side.
pub(super) fn answer_bare(arena: &Arena) -> Result<u64> {
    serve(arena, Bare { arena, own: 2 })
}

fn play(court: &mut Court<'_>, mut side: impl Side, time: Duration) -> Result<Wakes> {
    let arena = court.arena;
    let mut wakes = Wakes { samples: histogram(), answered: 0, awake: 0 };
    let begin = Instant::now();
    while begin.elapsed() < time {
        let_fall_asleep();
        let sent = now_ns();
        side.send(wakes.answered)?;
        arena.wait_for_note(THERE, wakes.answered + 1, yield_now)?;
        let (got, slept) = timed(|| side.sleep_for(wakes.answered))?;
        arena.note(HERE, wakes.answered + 1);
        let there = arena.noted(GOT).saturating_sub(sent);
        let back = got.saturating_sub(arena.noted(ANSWERED));
        if slept && arena.noted(SLEPT) == 1 {
            record(&mut wakes.samples, (there + back) as f64 / 2.0);
        } else {
            wakes.awake += 1;
        }
        wakes.answered += 1;
    }
    arena.stop();
    // Wakes it for the last time.
    side.send(wakes.answered)?;
    let answered = court.other.end()?;
    if answered != wakes.answered {
        return Err(Error::Corrupt(format!("{} messages were sent, {answered} answered", wakes.answered)));
    }
    Ok(wakes)
}

/// The other side: answers until the run is over; how often.
fn serve(arena: &Arena, mut side: impl Side) -> Result<u64> {
    ready();
    let mut number = 0;
    loop {
        let (got, slept) = timed(|| side.sleep_for(number))?;
        if arena.stopped() {
            return Ok(number);
        }
        arena.note(GOT, got);
        arena.note(SLEPT, slept.into());
        arena.note(THERE, number + 1);
        let_fall_asleep();
        arena.note(ANSWERED, now_ns());
        side.send(number)?;
        number += 1;
        arena.wait_for_note(HERE, number, yield_now)?;
    }
}

fn let_fall_asleep() {
    let begin = Instant::now();
    while begin.elapsed() < TO_FALL_ASLEEP {
        yield_now();
    }
}

/// When it had come, and whether this thread had slept for it.
fn timed(wait: impl FnOnce() -> Result<()>) -> Result<(u64, bool)> {
    let before = switches();
    wait()?;
    let now = now_ns();
    Ok((now, switches() > before))
}

/// How often this thread has given its core away to wait.
fn switches() -> i64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| usage.voluntary_context_switches())
}

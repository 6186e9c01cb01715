//! One run: two loops that are the same for every peer.

use crate::Result;
use crate::arena::Arena;
use crate::child::Turn;
use crate::peer::{End, Peer, Plan, Ready, Work};
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// Histograms hold hundredths of a nanosecond: one sample may be the mean of many round trips.
pub const UNIT: f64 = 100.0;
/// Round trips in one sample where a message takes less than this: the clock would cost as much.
pub const TRIPS: u64 = 100;
const SHORT_NS: f64 = 200.0;
/// How long a message may be on its way before it is lost.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// How to run.
pub struct Run {
    pub time: Duration,
    /// Round trips in a sample; `None`: the run is to find out.
    pub trips: Option<u64>,
}

/// What a run found.
pub struct Found {
    /// One way; empty for throughput.
    pub latency: Histogram<u64>,
    /// Round trips in a sample.
    pub trips: u64,
    /// Million messages a second; 0 for latency. Of a table: values set or got.
    pub rate: f64,
    /// Of a table: what the other process did meanwhile, a million a second.
    pub other: f64,
    /// Of a table: how often values that belong together were tried to get until they did.
    pub tries: f64,
    /// Messages that were received, all of them checked.
    pub messages: u64,
}

/// A histogram of latencies from 0.01 ns to 10 s, three digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 1_000_000_000_000, 3).unwrap_or_else(|_| unreachable!("these bounds are allowed"))
}

/// What the first process does.
pub fn lead<P: Peer>(plan: &Plan, arena: &Arena, run: &Run, turn: &mut Turn<'_>) -> Result<Found> {
    let host = P::host(plan)?;
    let mut link = P::open(plan, End::First)?;
    turn.begin(P::NAME, plan)?;
    link.meet(End::First)?;
    arena.tell_met();
    let found = match plan.work {
        Work::Latency => bounce::<P, false>(&mut link, run)?,
        Work::Wake => bounce::<P, true>(&mut link, run)?,
        Work::Throughput => consume(&mut link, arena, run.time)?,
        Work::Table => return Err("no table".into()),
    };
    arena.stop();
    if plan.work == Work::Wake {
        // So that the other hears of it now.
        link.try_send(found.messages)?;
    }
    let count = turn.end()?;
    // An end may need what is beside it to close.
    drop(link);
    drop(host);
    if count != found.messages {
        return Err(format!("{count} messages on one end, {} on the other", found.messages).into());
    }
    Ok(found)
}

/// What the second does; how many messages it answered or sent.
pub fn follow<P: Peer>(plan: &Plan, arena: &Arena, ready: Ready<'_>) -> Result<u64> {
    let mut link = P::open(plan, End::Second)?;
    link.meet(End::Second)?;
    ready()?;
    wait_until(|| arena.met(), PATIENCE)?;
    match plan.work {
        Work::Latency => answer::<P, false>(&mut link, arena),
        Work::Wake => answer::<P, true>(&mut link, arena),
        Work::Throughput => produce(&mut link, arena),
        Work::Table => Err("no table".into()),
    }
}

pub fn wait_until(done: impl Fn() -> bool, patience: Duration) -> Result<()> {
    let begin = Instant::now();
    while !done() {
        if begin.elapsed() > patience {
            return Err("the first process says nothing".into());
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    Ok(())
}

#[inline(always)]
fn idle<P: Peer>() {
    if P::YIELDS { std::thread::yield_now() } else { std::hint::spin_loop() }
}

/// Polls, but only so long.
struct Patience {
    polls: u32,
    since: Option<Instant>,
}

impl Patience {
    fn new() -> Patience {
        Patience { polls: 0, since: None }
    }

    #[inline(always)]
    fn poll(&mut self, number: u64) -> Result<()> {
        self.polls += 1;
        if self.polls.is_multiple_of(1024) { self.look(number) } else { Ok(()) }
    }

    #[cold]
    fn look(&mut self, number: u64) -> Result<()> {
        if self.since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            return Ok(());
        }
        Err(format!("message {number} has not come: lost").into())
    }
}

#[inline(always)]
fn take<P: Peer, const ASLEEP: bool>(link: &mut P, number: u64) -> Result<u64> {
    if ASLEEP { link.receive(number) } else { link.try_receive(number) }
}

#[inline(always)]
fn trip<P: Peer, const ASLEEP: bool>(link: &mut P, number: u64) -> Result<()> {
    let mut patience = Patience::new();
    while !link.try_send(number)? {
        idle::<P>();
        patience.poll(number)?;
    }
    let mut patience = Patience::new();
    while take::<P, ASLEEP>(link, number)? == 0 {
        if !ASLEEP {
            idle::<P>();
        }
        patience.poll(number)?;
    }
    Ok(())
}

fn bounce<P: Peer, const ASLEEP: bool>(link: &mut P, run: &Run) -> Result<Found> {
    let mut number = 0;
    // What is touched for the first time is not what is measured.
    let mut first = histogram();
    let begin = Instant::now();
    let mut last = begin;
    while number < 64 || last - begin < run.time / 4 {
        trip::<P, ASLEEP>(link, number)?;
        number += 1;
        let now = Instant::now();
        first.saturating_record(((now - last).as_nanos() as f64 / 2.0 * UNIT) as u64);
        last = now;
    }
    let usual_ns = first.value_at_quantile(0.5) as f64 / UNIT;
    let trips = run.trips.unwrap_or(if !ASLEEP && usual_ns < SHORT_NS { TRIPS } else { 1 });
    let mut latency = histogram();
    let begin = Instant::now();
    let mut last = begin;
    while last - begin < run.time {
        for _ in 0..trips {
            trip::<P, ASLEEP>(link, number)?;
            number += 1;
        }
        let now = Instant::now();
        let one_way = (now - last).as_nanos() as f64 / (2 * trips) as f64;
        latency.saturating_record((one_way * UNIT) as u64);
        last = now;
    }
    Ok(Found { latency, trips, rate: 0.0, other: 0.0, tries: 0.0, messages: number })
}

fn answer<P: Peer, const ASLEEP: bool>(link: &mut P, arena: &Arena) -> Result<u64> {
    let mut number = 0;
    let mut polls = 0u32;
    let every = if ASLEEP {
        1
    } else if P::YIELDS {
        64
    } else {
        4096
    };
    loop {
        if take::<P, ASLEEP>(link, number)? == 0 {
            polls += 1;
            if polls.is_multiple_of(every) && arena.stopped() {
                return Ok(number);
            }
            if !ASLEEP {
                idle::<P>();
            }
            continue;
        }
        if ASLEEP && arena.stopped() {
            return Ok(number);
        }
        while !link.try_send(number)? {
            if arena.stopped() {
                return Ok(number);
            }
            idle::<P>();
        }
        number += 1;
    }
}

fn produce<P: Peer>(link: &mut P, arena: &Arena) -> Result<u64> {
    let mut number = 0u64;
    'run: while !arena.stopped() {
        for _ in 0..16 {
            let mut polls = 0u32;
            while !link.try_send(number)? {
                polls += 1;
                if polls.is_multiple_of(64) && arena.stopped() {
                    break 'run;
                }
                idle::<P>();
            }
            number += 1;
        }
    }
    arena.tell_sent(number);
    // A peer with threads of its own may still be sending; nothing is closed before all has come.
    wait_until(|| arena.drained(), 2 * PATIENCE)?;
    Ok(number)
}

fn consume<P: Peer>(link: &mut P, arena: &Arena, time: Duration) -> Result<Found> {
    let mut number = 0u64;
    let mut run_for = |link: &mut P, time: Duration| -> Result<(u64, Duration)> {
        let (from, begin) = (number, Instant::now());
        let (mut polls, mut patience) = (0u32, Patience::new());
        loop {
            let taken = link.try_receive(number)?;
            if taken == 0 {
                idle::<P>();
                patience.poll(number)?;
            } else {
                number += taken;
                patience = Patience::new();
            }
            polls += 1;
            if polls.is_multiple_of(64) && begin.elapsed() >= time {
                return Ok((number - from, begin.elapsed()));
            }
        }
    };
    run_for(link, time / 4)?;
    let (count, elapsed) = run_for(link, time)?;
    arena.stop();
    // What the writer had sent before it heard of the end.
    let mut patience = Patience::new();
    while arena.sent().is_none_or(|sent| number < sent) {
        let taken = link.try_receive(number)?;
        number += taken;
        if taken == 0 {
            idle::<P>();
            patience.poll(number)?;
        } else {
            patience = Patience::new();
        }
    }
    arena.tell_drained();
    let rate = count as f64 / elapsed.as_secs_f64() / 1e6;
    Ok(Found { latency: histogram(), trips: 1, rate, other: 0.0, tries: 0.0, messages: number })
}

//! One run: loops that are the same for all of them.

use super::case::{Case, Side, Speed};
use super::{Board, COUNT, Value};
use crate::Result;
use crate::arena::Arena;
use crate::child::Turn;
use crate::measure::{Found, PATIENCE, Run, UNIT, histogram, wait_until};
use crate::peer::{Plan, Ready};
use hdrhistogram::Histogram;
use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

/// Operations in one sample.
pub const TOGETHER: u64 = 256;
/// Values that are set in turn: a page of them.
const VALUES: u64 = 64;
/// How far behind its pace a loop may be before it gives up what it has missed: so it does not make up for a time slice at full speed.
const BEHIND: Duration = Duration::from_micros(20);

/// The values that are set in turn.
struct Values(Vec<Value>);

impl Values {
    fn new() -> Values {
        Values((0..VALUES).map(|n| Value::of(Values::word(n))).collect())
    }

    /// The word of the `n`-th that was set, from 0: an odd factor leaves no byte the same.
    fn word(n: u64) -> u64 {
        (n % VALUES + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    /// In memory, and the compiler does not know what it is.
    #[inline(always)]
    fn at(&self, n: u64) -> &Value {
        black_box(&self.0[(n % VALUES) as usize])
    }
}

fn case(plan: &Plan) -> Result<&'static Case> {
    Ok(plan.case.ok_or("no such case")?)
}

/// What the first process does.
pub fn lead<B: Board>(plan: &Plan, arena: &Arena, run: &Run, turn: &mut Turn<'_>) -> Result<Found> {
    let case = case(plan)?;
    let host = B::host(plan)?;
    let found = match case.side {
        Side::Get | Side::GetAll => lead_reader::<B>(plan, case, arena, run, turn)?,
        Side::Set => lead_writer::<B>(plan, case, arena, run, turn)?,
    };
    drop(host);
    Ok(found)
}

fn lead_reader<B: Board>(plan: &Plan, case: &Case, arena: &Arena, run: &Run, turn: &mut Turn<'_>) -> Result<Found> {
    turn.begin(B::NAME, plan)?;
    let mut reader = B::reader(plan)?;
    arena.tell_met();
    let mut tries = 0;
    let mut found = if case.side == Side::GetAll {
        let mut words = [0; COUNT as usize];
        measured(arena, run, 1, None, || {
            tries += B::get_all(&mut reader, &mut words)?;
            belong_together(&words)
        })?
    } else {
        measured(arena, run, TOGETHER, None, || B::get(&mut reader).map(drop))?
    };
    arena.stop();
    let count = turn.end()?;
    if case.side == Side::Get {
        expect(B::get(&mut reader)?, count)?;
    } else {
        found.tries = tries as f64 / found.messages as f64;
        found.messages *= u64::from(COUNT);
    }
    Ok(found)
}

fn lead_writer<B: Board>(plan: &Plan, case: &Case, arena: &Arena, run: &Run, turn: &mut Turn<'_>) -> Result<Found> {
    let mut writer = B::writer(plan)?;
    let values = Values::new();
    let mut count = 0;
    for _ in 0..VALUES {
        B::set(&mut writer, values.at(count))?;
        count += 1;
    }
    turn.begin(B::NAME, plan)?;
    arena.tell_met();
    let pace = Some(case.own.pace()).filter(|pace| !pace.is_zero());
    let mut found = measured(arena, run, TOGETHER, pace, || {
        B::set(&mut writer, values.at(count))?;
        count += 1;
        Ok(())
    })?;
    arena.tell_sent(count);
    arena.stop();
    // What the other has got, and checked.
    found.messages = turn.end()?;
    Ok(found)
}

/// What the second does; how many values it has set, or got.
pub fn follow<B: Board>(plan: &Plan, arena: &Arena, ready: Ready<'_>) -> Result<u64> {
    let case = case(plan)?;
    if case.side == Side::Set {
        let mut reader = B::reader(plan)?;
        ready()?;
        wait_until(|| arena.met(), PATIENCE)?;
        let count = at_speed(arena, case.other, 0, |_| B::get(&mut reader).map(drop))?;
        wait_until(|| arena.sent().is_some(), PATIENCE)?;
        expect(B::get(&mut reader)?, arena.sent().unwrap_or_default())?;
        return Ok(count + 1);
    }
    let mut writer = B::writer(plan)?;
    let values = Values::new();
    let all = case.side == Side::GetAll;
    let mut set = |n: u64| match all {
        // A number of its own for each, so that it can be seen which belong together.
        true => B::set_of(&mut writer, (n % u64::from(COUNT)) as u32, &Value::of(n)),
        false => B::set(&mut writer, values.at(n)),
    };
    // Each of them once.
    let first = u64::from(COUNT);
    (0..first).try_for_each(&mut set)?;
    ready()?;
    wait_until(|| arena.met(), PATIENCE)?;
    if all {
        return at_speed(arena, case.other, first, set);
    }
    at_speed(arena, case.other, first, |n| B::set(&mut writer, values.at(n)))
}

/// Whether the value is the last of so many that were set.
fn expect(word: u64, count: u64) -> Result<()> {
    let last = Values::word(count.wrapping_sub(1));
    if word == last {
        Ok(())
    } else {
        Err(format!("expected the last of {count} values, {last:x}, found {word:x}").into())
    }
}

/// Whether these were there at one moment: they are set one after the other, from the first to the last, so those up to one are of one pass and
/// all behind it of the pass before.
fn belong_together(words: &[u64; COUNT as usize]) -> Result<()> {
    let first = words[0];
    let mut behind = 0;
    let mut good = first.is_multiple_of(COUNT.into());
    for (word, n) in words.iter().zip(first..) {
        let now = n.wrapping_sub(*word);
        good &= now == behind || (now == u64::from(COUNT) && behind == 0);
        behind = now;
    }
    if good { Ok(()) } else { Err(format!("values of different moments: {words:?}").into()) }
}

/// Does something for the time of a run, after a quarter of it that does not count, and at a pace if there is one; what it cost, and how often the
/// other did what it does meanwhile.
#[inline(always)]
fn measured(
    arena: &Arena,
    run: &Run,
    together: u64,
    pace: Option<Duration>,
    mut once: impl FnMut() -> Result<()>,
) -> Result<Found> {
    let mut sample = |time| match pace {
        None => back_to_back(time, together, &mut once),
        Some(pace) => paced(time, together, pace, &mut once),
    };
    let (_, first) = sample(run.time / 4)?;
    let (before, begin) = (arena.made(), Instant::now());
    let (mut latency, count) = sample(run.time)?;
    let (made, elapsed) = (arena.made() - before, begin.elapsed());
    if let Some(pace) = pace {
        // What the clock costs, in the same way.
        let (empty, _) = paced(run.time / 4, together, pace, || {
            black_box(());
            Ok(())
        })?;
        latency = without(&latency, empty.value_at_quantile(0.5));
    }
    let rate = |count: u64| count as f64 / elapsed.as_secs_f64() / 1e6;
    Ok(Found { latency, trips: together, rate: rate(count), other: rate(made), tries: 0.0, messages: first + count })
}

/// Means of so many, one right after the other.
#[inline(always)]
fn back_to_back(time: Duration, together: u64, mut once: impl FnMut() -> Result<()>) -> Result<(Histogram<u64>, u64)> {
    let (mut samples, mut count) = (histogram(), 0);
    let run = Instant::now();
    let mut last = run;
    while last - run < time {
        for _ in 0..together {
            once()?;
        }
        count += together;
        let now = Instant::now();
        samples.saturating_record(((now - last).as_nanos() as f64 / together as f64 * UNIT) as u64);
        last = now;
    }
    Ok((samples, count))
}

/// Means of so many, each by itself at its time, with one look at the clock before and one after it.
#[inline(always)]
fn paced(
    time: Duration,
    together: u64,
    pace: Duration,
    mut once: impl FnMut() -> Result<()>,
) -> Result<(Histogram<u64>, u64)> {
    let (mut samples, mut count) = (histogram(), 0);
    let mut turn = Instant::now();
    let end = turn + time;
    while turn < end {
        let mut sum = Duration::ZERO;
        for _ in 0..together {
            let begin = wait_for(&mut turn, pace);
            once()?;
            sum += begin.elapsed();
        }
        count += together;
        samples.saturating_record((sum.as_nanos() as f64 / together as f64 * UNIT) as u64);
    }
    Ok((samples, count))
}

/// Waits for one's turn and says when it was; the next is a pace later.
#[inline(always)]
fn wait_for(turn: &mut Instant, pace: Duration) -> Instant {
    loop {
        let now = Instant::now();
        if now >= *turn {
            *turn = if now - *turn > BEHIND { now + pace } else { *turn + pace };
            return now;
        }
        spin_loop();
    }
}

/// All samples, so much less.
fn without(samples: &Histogram<u64>, cost: u64) -> Histogram<u64> {
    let mut less = histogram();
    for step in samples.iter_recorded() {
        let value = step.value_iterated_to().saturating_sub(cost).max(1);
        less.saturating_record_n(value, step.count_since_last_iteration());
    }
    less
}

/// Does something at a speed until the run is over, the first time for the number `first`; the number after the last.
fn at_speed(arena: &Arena, speed: Speed, first: u64, mut once: impl FnMut(u64) -> Result<()>) -> Result<u64> {
    let (mut number, pace) = (first, speed.pace());
    let mut turn = Instant::now();
    while !arena.stopped() {
        match speed {
            Speed::Never => std::thread::sleep(Duration::from_millis(1)),
            Speed::Full => {
                for _ in 0..64 {
                    once(number)?;
                    number += 1;
                }
            }
            Speed::Every(_) => {
                wait_for(&mut turn, pace);
                once(number)?;
                number += 1;
            }
        }
        arena.tell_made(number);
    }
    Ok(number)
}

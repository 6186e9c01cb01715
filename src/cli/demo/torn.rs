//! Why edges: money moves between two accounts, and only whole eras always add up.
//!
//! A transfer is two messages, the new balances of both accounts, and then an edge. A live reader that looks in between sees money
//! vanish (or appear). A synced reader is given the balances of whole transfers only.

use super::super::exit::{Exit, Outcome};
use super::super::interrupt::Interrupt;
use super::super::output::Output;
use super::TornOptions;
use super::crew::{self, Crew};
use super::part::Role;
use crate::client::{Bus, Lane, Message, Reader, Writer, Zone};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The two accounts' channels.
const ACCOUNTS: [&str; 2] = ["checking", "savings"];
/// What is in both accounts together, always.
const TOTAL: i64 = 1_000_000;
/// Bytes that an account's channel holds: not more transfers than the zone remembers eras.
const CAPACITY: u64 = 64 * 1024;
/// Messages that the live reader takes before it adds up, even if there are more.
const LIVE_BURST: usize = 64;
/// What the whole may take longer than asked for.
const GRACE: Duration = Duration::from_secs(30);
/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(20);

fn zone(bus: &Bus) -> Zone {
    bus.zone("accounts").eras(4096)
}

/// In a process of its own: moves money, and seals each transfer.
pub(super) fn mover(bus: &Bus) -> Outcome {
    let mut writer = zone(bus).writer("mover")?;
    let mut lanes = Vec::new();
    for account in ACCOUNTS {
        lanes.push(writer.channel(account).capacity(CAPACITY).open::<i64>()?);
    }
    writer.set_room_timeout(PATIENCE);
    let line = crew::ready()?;
    let millis = line.parse().map_err(|_| crew::misunderstood(&line))?;
    let begin = Instant::now();
    let mut balances = [TOTAL / 2, TOTAL / 2];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    while begin.elapsed() < Duration::from_millis(millis) {
        for _ in 0..256 {
            transfer(&mut writer, &lanes, &balances)?;
            // xorshift64
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let amount = 1 + (random % 100) as i64;
            let amount = if balances[0] < amount || random & 1 << 40 == 0 { -amount } else { amount };
            balances = [balances[0] - amount, balances[1] + amount];
        }
    }
    Ok(())
}

/// Publishes both balances, one after the other, and then says that they belong together.
fn transfer(writer: &mut Writer, lanes: &[Lane<i64>], balances: &[i64; 2]) -> Outcome {
    for (lane, balance) in lanes.iter().zip(balances) {
        writer.publish(*lane, balance)?;
    }
    writer.edge()?;
    Ok(())
}

/// What a reader has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Count {
    /// How often it added both accounts up.
    reads: u64,
    /// How often that was not what is in both together.
    torn: u64,
}

/// The latest balances that a reader was given.
#[derive(Default)]
struct Balances {
    latest: [Option<i64>; 2],
    count: Count,
}

impl Balances {
    fn note(&mut self, message: &Message<'_>) -> Result<(), Error> {
        let account = usize::from(message.channel() == ACCOUNTS[1]);
        self.latest[account] = Some(message.copy()?);
        Ok(())
    }

    fn add_up(&mut self) {
        if let [Some(one), Some(other)] = self.latest {
            self.count.reads += 1;
            self.count.torn += u64::from(one.wrapping_add(other) != TOTAL);
        }
    }
}

/// In a process of its own: adds up the latest balances, live.
pub(super) fn live(bus: &Bus) -> Outcome {
    let mut reader =
        ACCOUNTS.iter().fold(zone(bus).reader("live"), |reader, account| reader.channel::<i64>(account)).open()?;
    read(&mut reader, |reader, balances| {
        let mut any = false;
        for _ in 0..LIVE_BURST {
            match reader.try_recv()? {
                Some(message) => balances.note(&message)?,
                None => break,
            }
            any = true;
        }
        if any {
            balances.add_up();
        }
        Ok(any)
    })
}

/// In a process of its own: adds up the latest balances of each sealed era.
pub(super) fn synced(bus: &Bus) -> Outcome {
    let reader = ACCOUNTS.iter().fold(zone(bus).reader("synced"), |reader, account| reader.channel::<i64>(account));
    let mut reader = reader.synced().open()?;
    read(&mut reader, |reader, balances| {
        let Some(mut era) = reader.try_era()? else { return Ok(false) };
        while let Some(message) = era.next()? {
            balances.note(&message)?;
        }
        balances.add_up();
        Ok(true)
    })
}

/// Looks again and again until both accounts' writer has left, and says what was seen.
fn read(reader: &mut Reader, mut look: impl FnMut(&mut Reader, &mut Balances) -> Result<bool, Error>) -> Outcome {
    crew::ready()?;
    let mut balances = Balances::default();
    let mut open = ACCOUNTS.len();
    while open > 0 {
        match look(reader, &mut balances) {
            Ok(true) => {}
            Ok(false) => std::thread::yield_now(),
            Err(Error::Closed(_)) => open -= 1,
            Err(error) => return Err(error.into()),
        }
    }
    crew::say(&serde_json::to_string(&balances.count).map_err(|error| Exit::Failed(error.to_string()))?)
}

/// What both readers have seen.
#[derive(Serialize)]
struct Summary {
    live: Count,
    synced: Count,
}

/// Runs the demo.
pub(super) fn run(options: &TornOptions) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let mut output = Output::open()?;
    let bus = Bus::embedded()?;
    let mut crew = Crew::start(&[Role::Live, Role::Synced, Role::Mover], bus.socket())?;
    crew.wait_until_ready()?;
    if !options.json {
        let seconds = options.seconds.as_secs_f64();
        output.line(format_args!("moving money between two accounts for {seconds} s; two readers add them up ..."))?;
        output.flush()?;
    }
    crew.tell(&options.seconds.as_millis().to_string())?;
    let deadline = Instant::now() + options.seconds.min(Duration::from_secs(1 << 32)) + GRACE;
    while !crew.have_ended()? {
        interrupt.check()?;
        output.check()?;
        if Instant::now() >= deadline {
            return Err(Exit::TimedOut("the processes of the demo did not end in time".to_owned()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut count_of = |role| {
        let line = crew.line_of(role)?;
        serde_json::from_str(&line).map_err(|_| crew::misunderstood(&line))
    };
    let summary = Summary { live: count_of(Role::Live)?, synced: count_of(Role::Synced)? };
    if options.json {
        output.json(&summary)?;
    } else {
        for (name, Count { reads, torn }) in [("live", summary.live), ("synced", summary.synced)] {
            output
                .line(format_args!("{name:>6} reader: {reads:9} looks, money had vanished or appeared in {torn:9}"))?;
        }
    }
    output.flush()
}

//! One-way latency: half a round trip between two processes that spin, against one bare cache line going to and fro.

use super::Sizes;
use super::bounce::{Compared, Court, TRIPS, compare, sample};
use super::peer::{Job, check, open_reader, open_writer, publish};
use crate::error::Result;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    #[serde(flatten)]
    compared: Compared,
}

/// Runs it for all sizes.
pub(super) fn run(sizes: &Sizes) -> Result<()> {
    let options = &sizes.options;
    for size in sizes.or(&[8, 48, 1024])? {
        let compared = compare(options, |court| bounce(court, size))?;
        if options.json {
            let report = Report { benchmark: "latency", size, compared };
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
            continue;
        }
        compared.print(&format!("latency, {size} bytes"));
    }
    Ok(())
}

fn bounce(court: &mut Court<'_>, size: usize) -> Result<(Histogram<u64>, u64)> {
    court.arena.reset();
    let (mut writer, lane) = open_writer(court.bus, "ping", size)?;
    court.other.begin(Job::Bounce, size)?;
    let mut reader = open_reader(court.bus, "pong")?;
    let mut sent = 0;
    let samples = sample(court.time, 2, |from| {
        for number in from..from + TRIPS {
            publish(&mut writer, lane, size, number)?;
            let message = reader.spin_recv(Duration::from_secs(10))?;
            // SAFETY: the writer is this benchmark's other process, which leaves alone what is held.
            check(unsafe { message.bytes_in_place() }, number)?;
            sent += 1;
        }
        Ok(())
    })?;
    court.arena.stop();
    let answered = court.other.end()?;
    if answered != sent {
        return Err(crate::Error::Corrupt(format!("{sent} messages were sent, {answered} answered")));
    }
    Ok((samples, sent))
}

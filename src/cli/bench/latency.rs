//! One-way latency: half a round trip between two processes that spin, against one bare cache line going to and fro; or that sleep,
//! against a bare futex.

use super::bounce::{Compared, Court, Reference, TRIPS, compare, sample};
use super::peer::{Job, check, open_reader, open_writer, publish};
use super::plot::{self, Curve};
use super::{Sizes, wake};
use crate::error::Result;
use clap::Args;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// Which latency to measure, and how.
#[derive(Debug, Clone, Args)]
pub(crate) struct Latency {
    /// Of a reader that sleeps, and is woken by the commit: both processes on one core, if none are given.
    #[arg(long)]
    block: bool,
    /// Of a change of a table's item to who sleeps for that, in place of messages; 64 bytes.
    #[arg(long, requires = "block", conflicts_with = "size")]
    change: bool,
    /// Draws the distributions into this file, an SVG.
    #[arg(long, value_name = "FILE.svg", value_parser = plot::file)]
    plot: Option<PathBuf>,
    #[command(flatten)]
    sizes: Sizes,
}

#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    size: usize,
    #[serde(flatten)]
    compared: Compared,
    /// Round trips of which no latency was taken, since somebody who was to be asleep was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    awake: Option<u64>,
}

/// Runs it for all sizes.
pub(super) fn run(latency: &Latency) -> Result<()> {
    let mut curves = Vec::new();
    let sizes = if latency.change { vec![wake::ITEM] } else { latency.sizes.or(&[8, 48, 1024])? };
    for size in sizes {
        let report = if latency.block { asleep(latency, size)? } else { spinning(latency, size)? };
        if latency.sizes.options.json {
            println!("{}", serde_json::to_string(&report).unwrap_or_default());
        } else {
            let what = match (latency.change, latency.block) {
                (true, _) => "change of a table, asleep",
                (_, true) => "latency, asleep",
                _ => "latency",
            };
            report.compared.print(&format!("{what}, {size} bytes"));
            if let Some(awake) = report.awake {
                println!("  {awake} round trips left out, since somebody was still awake");
            }
        }
        let Compared { samples, bare_samples, .. } = report.compared;
        curves.push(Curve { name: format!("Syncline, {size} bytes"), bare: false, samples });
        curves.push(Curve { name: format!("bare, beside {size} bytes"), bare: true, samples: bare_samples });
    }
    if let Some(file) = &latency.plot {
        let title = if latency.block {
            "One way to a reader that sleeps, single round trips"
        } else {
            "One way to a reader that spins, means of 100 round trips"
        };
        plot::draw(file, title, &curves)?;
    }
    Ok(())
}

fn spinning(latency: &Latency, size: usize) -> Result<Report> {
    let compared = compare(&latency.sizes.options, Reference::Line, |court| bounce(court, size))?;
    Ok(Report { benchmark: "latency", size, compared, awake: None })
}

fn asleep(latency: &Latency, size: usize) -> Result<Report> {
    let mut awake = 0;
    let options = latency.sizes.options.on_one_core();
    let compared = compare(&options, Reference::Futex, |court| {
        let wakes = if latency.change { wake::changes(court)? } else { wake::wakes(court, size)? };
        awake += wakes.awake;
        Ok((wakes.samples, wakes.answered))
    })?;
    let benchmark = if latency.change { "change latency" } else { "wake latency" };
    Ok(Report { benchmark, size, compared, awake: Some(awake) })
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

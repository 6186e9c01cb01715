//! What was found of tables, as Markdown.

use super::measure::TOGETHER;
use super::{COUNT, SIZE};
use super::{Case, Side};
use crate::arguments::Arguments;
use crate::peer::Work;
use crate::report::{Spread, failures, ratio_of, ratios, runs};
use crate::rounds::{Kept, Row, Section};
use std::fmt::Write;

/// The section about them, if they were asked for.
pub fn write(text: &mut String, arguments: &Arguments, sections: &[Section]) -> std::fmt::Result {
    let tables = || sections.iter().filter_map(|section| Some((section, section.case?)));
    if tables().next().is_none() {
        return Ok(());
    }
    let probes = Spread::full(Spread::of(tables().flat_map(|(section, _)| section.bare.iter().map(|bare| bare.p50))));
    writeln!(text, "## Tables, {SIZE} bytes\n")?;
    writeln!(
        text,
        "One process sets a value, the other gets it, as fast as they can if not said otherwise. In ns; samples are means of {TOGETHER}. Where values \
         are set at a rate that is the same for all, what is timed is each set by itself, less what the clock costs (found in every run, in the same \
         way). The value that is set was in memory before, in a row of values used in turn; that which was got has to be in memory, and all of its \
         words are compared; the last one got must be the last one set. The limits are those that Syncline has set itself for the median of the \
         ratios. Probes meanwhile: bare line {probes} ns.\n"
    )?;
    writeln!(
        text,
        "| what | | p50 | p99 | p99.9 | Syncline / it, p50 | limit | million sets a second | million gets a second | runs (discarded) |"
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")?;
    for (section, case) in tables() {
        section.rows.iter().try_for_each(|row| line(text, section, case, row))?;
        if case.side == Side::GetAll {
            let others = arguments.peers(Work::Table).into_iter();
            for (title, why) in others.filter_map(|entry| Some((entry.title, entry.singly?))) {
                writeln!(text, "| {} | {title} | can not: {why} | | | | | | | |", case.title)?;
            }
        }
    }
    writeln!(text)?;
    for (section, case) in tables() {
        if let (Side::GetAll, Some(row)) = (case.side, section.rows.first()) {
            let tries = Spread::full(Spread::of(row.kept.iter().map(|kept| kept.tries)));
            writeln!(
                text,
                "{COUNT} together are as one commit has left them, which is checked by their numbers; samples are single ones of all {COUNT}. Tries \
                 until none was overtaken: {tries}.\n"
            )?;
        }
        failures(text, section)?;
    }
    Ok(())
}

fn line(text: &mut String, section: &Section, case: &Case, row: &Row) -> std::fmt::Result {
    let of = |part: fn(&Kept) -> f64| Spread::of(row.kept.iter().map(part));
    let (own, other) = (of(|kept| kept.rate), of(|kept| kept.other));
    let (sets, gets) = if case.side == Side::Set { (own, other) } else { (other, own) };
    let rate = |rate: Option<Spread>| match rate {
        Some(Spread { median: 0.0, .. }) => "none".to_owned(),
        rate => Spread::median(rate),
    };
    let limit = match (case.limit(row.entry.name), ratios(section, row, |kept| kept.latency.p50)) {
        (Some(limit), Some(Spread { median, .. })) if median <= limit => format!("{limit}: kept"),
        (Some(limit), Some(_)) => format!("{limit}: **missed**"),
        (Some(limit), None) => format!("{limit}"),
        (None, _) => String::new(),
    };
    writeln!(
        text,
        "| {} | {} | {} | {} | {} | {} | {limit} | {} | {} | {} |",
        case.title,
        row.entry.title,
        Spread::full(of(|kept| kept.latency.p50)),
        Spread::median(of(|kept| kept.latency.p99)),
        Spread::median(of(|kept| kept.latency.p999)),
        ratio_of(section, row, |kept| kept.latency.p50),
        rate(sets),
        rate(gets),
        runs(row),
    )
}

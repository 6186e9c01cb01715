//! What was found, as Markdown.

use crate::arguments::Arguments;
use crate::measure::TRIPS;
use crate::peer::Work;
use crate::rounds::{Kept, Row, Section, agree};
use crate::{boards, peers};
use std::fmt::Write;

/// Median and quartiles.
pub struct Spread {
    pub q1: f64,
    pub median: f64,
    pub q3: f64,
}

impl Spread {
    pub fn of(figures: impl Iterator<Item = f64>) -> Option<Spread> {
        let mut sorted: Vec<f64> = figures.collect();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let at = |share: f64| sorted[(last as f64 * share).round() as usize];
        Some(Spread { q1: at(0.25), median: at(0.5), q3: at(0.75) })
    }

    /// With quartiles.
    pub fn full(spread: Option<Spread>) -> String {
        spread.map_or("-".to_owned(), |Spread { q1, median, q3 }| {
            format!("{} [{} .. {}]", figure(median), figure(q1), figure(q3))
        })
    }

    pub fn median(spread: Option<Spread>) -> String {
        spread.map_or("-".to_owned(), |spread| figure(spread.median))
    }
}

/// At least three digits, or all before the point.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        0.1.. => 3,
        0.01.. => 4,
        _ => 5,
    };
    format!("{value:.digits$}")
}

/// A page of it all.
pub fn markdown(arguments: &Arguments, sections: &[Section]) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = write(&mut text, arguments, sections);
    text
}

fn write(text: &mut String, arguments: &Arguments, sections: &[Section]) -> std::fmt::Result {
    let (repeat, millis) = (arguments.repeat(), arguments.time().as_millis());
    writeln!(text, "# Syncline and its peers\n")?;
    writeln!(
        text,
        "Made by one command, `cargo run --release --manifest-path benches/peers/Cargo.toml -- --write`: the same work through each, in one \
         run, between two processes that are pinned to two cores. {repeat} rounds; in each, all run one after the other for {millis} ms. Each run is \
         between two probes of a bare cache line bounced to and fro (or, asleep, of a bare futex), and counts only if these agree within 15 % \
         and show that nothing else wanted the cores; if not, it is tried up to five times in its round. Given are medians of the \
         runs, with quartiles; the ratio is the median of the ratios within a round. Every message is written word by word and read word by \
         word; its number, its length and every word of it are checked, and as many must arrive as were sent. Aeron and ZeroMQ are built from \
         their sources: that needs CMake 3.30, libclang, libbsd and uuid, a C and a C++ compiler (or `--no-default-features`).\n"
    )?;
    if arguments.quick {
        writeln!(text, "**Made with `--quick`: it shows that all works, the figures mean nothing.**\n")?;
    }
    if arguments.busy {
        writeln!(text, "**Made with `--busy`: something else may have wanted the cores.**\n")?;
    }
    writeln!(text, "Machine: {}.\n", machine())?;
    let two_cores = || sections.iter().filter(|section| section.work != Work::Wake);
    if let Some(bare) = Spread::of(two_cores().flat_map(|section| section.bare.iter().map(|bare| bare.p50))) {
        let met = placement(bare.median);
        writeln!(text, "Placement met, by the bare cache line: {} ns one way, {met}.\n", Spread::full(Some(bare)))?;
    }
    for section in sections {
        match section.work {
            Work::Latency => latency(text, section)?,
            Work::Throughput => throughput(text, section)?,
            Work::Wake => wake(text, section)?,
            Work::Table => continue,
        }
        failures(text, section)?;
    }
    boards::report::write(text, arguments, sections)?;
    notes(text, sections)
}

fn placement(bare_ns: f64) -> &'static str {
    match bare_ns {
        ..52.0 => "as of two threads of one core",
        52.0..=130.0 => "as of two cores that share a cache",
        _ => "as of two cores that share no cache, or of a busy machine",
    }
}

fn machine() -> String {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split(": ").nth(1));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = processor.lines().filter(|line| line.starts_with("processor")).count();
    let virtual_ones = if processor.contains(" hypervisor") { "virtual cores" } else { "cores" };
    format!("{}, {cores} {virtual_ones}, Linux {}", model.unwrap_or("unknown processor"), kernel.trim())
}

fn size(bytes: usize) -> String {
    match bytes {
        1048576.. => format!("{} MiB", bytes >> 20),
        8192.. => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}

pub fn runs(row: &Row) -> String {
    format!("{} ({})", row.kept.len(), row.discarded)
}

/// Ours to that peer's, in rounds where both met the same machine.
pub fn ratios(section: &Section, row: &Row, of: fn(&Kept) -> f64) -> Option<Spread> {
    let ours = section.rows.iter().find(|row| row.entry.name == peers::OURS)?;
    let ratios = row.kept.iter().filter_map(|theirs| {
        let ours = ours.kept.iter().find(|ours| ours.round == theirs.round && agree(ours.bare, theirs.bare))?;
        Some(of(ours) / of(theirs))
    });
    Spread::of(ratios)
}

/// The same for a table.
pub fn ratio_of(section: &Section, row: &Row, of: fn(&Kept) -> f64) -> String {
    if row.entry.name == peers::OURS { "1".to_owned() } else { Spread::full(ratios(section, row, of)) }
}

/// A caption: what the machine was like meanwhile.
fn caption(text: &mut String, section: &Section, what: &str, unit: &str) -> std::fmt::Result {
    let bare = Spread::full(Spread::of(section.bare.iter().map(|bare| bare.p50)));
    writeln!(text, "## {what}, {}\n", size(section.size))?;
    let probe = if section.work == Work::Wake { "bare futex" } else { "bare line" };
    writeln!(text, "{unit}. Probes meanwhile: {probe} {bare} ns.\n")
}

fn latency_row(text: &mut String, row: &Row, ratio: &str) -> std::fmt::Result {
    let of = |part: fn(&Kept) -> f64| Spread::of(row.kept.iter().map(part));
    let mark = if row.trips == Some(TRIPS) { " \\*" } else { "" };
    writeln!(
        text,
        "| {} | {} | {}{mark} | {}{mark} | {ratio} | {} | {} |",
        row.entry.title,
        Spread::full(of(|kept| kept.latency.p50)),
        Spread::median(of(|kept| kept.latency.p99)),
        Spread::median(of(|kept| kept.latency.p999)),
        row.room,
        runs(row),
    )
}

fn latency(text: &mut String, section: &Section) -> std::fmt::Result {
    caption(text, section, "Latency", "One way in ns, half a round trip; who waits, polls")?;
    writeln!(text, "| | p50 | p99 | p99.9 | Syncline / it, p50 | between writer and reader | runs (discarded) |")?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- |")?;
    let bare = |part: fn(&crate::rounds::Percentiles) -> f64| Spread::of(section.bare.iter().map(part));
    let p50 = Spread::full(bare(|bare| bare.p50));
    let (p99, p999) = (Spread::median(bare(|bare| bare.p99)), Spread::median(bare(|bare| bare.p999)));
    let ours = section.rows.iter().find(|row| row.entry.name == peers::OURS);
    let to_bare = ours.map(|row| Spread::full(Spread::of(row.kept.iter().map(|kept| kept.latency.p50 / kept.bare))));
    let to_bare = to_bare.unwrap_or("-".to_owned());
    writeln!(
        text,
        "| bare cache line | {p50} | {p99} \\* | {p999} \\* | {to_bare} | one word | {} |",
        section.bare.len()
    )?;
    for row in &section.rows {
        latency_row(text, row, &ratio_of(section, row, |kept| kept.latency.p50))?;
    }
    writeln!(
        text,
        "\n\\* of the means of {TRIPS} round trips, since the clock costs as much as one; others are single round trips, each with one look at the clock.\n"
    )
}

fn wake(text: &mut String, section: &Section) -> std::fmt::Result {
    caption(
        text,
        section,
        "Asleep",
        "One way in ns, half a round trip of two processes on one core; who waits, sleeps",
    )?;
    writeln!(text, "| | p50 | p99 | p99.9 | Syncline / it, p50 | between writer and reader | runs (discarded) |")?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- |")?;
    for row in &section.rows {
        latency_row(text, row, &ratio_of(section, row, |kept| kept.latency.p50))?;
    }
    writeln!(text)
}

fn throughput(text: &mut String, section: &Section) -> std::fmt::Result {
    caption(text, section, "Throughput", "One writer, one reader, messages singly, none lost")?;
    writeln!(
        text,
        "| | million messages a second | GB a second | Syncline / it | between writer and reader | runs (discarded) |"
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- |")?;
    for row in &section.rows {
        let rate = Spread::full(Spread::of(row.kept.iter().map(|kept| kept.rate)));
        let bytes = section.size as f64 / 1e3;
        let gigabytes = Spread::median(Spread::of(row.kept.iter().map(|kept| kept.rate * bytes)));
        let ratio = ratio_of(section, row, |kept| kept.rate);
        writeln!(text, "| {} | {rate} | {gigabytes} | {ratio} | {} | {} |", row.entry.title, row.room, runs(row))?;
    }
    writeln!(text)
}

pub fn failures(text: &mut String, section: &Section) -> std::fmt::Result {
    let given_up = |row: &Row| row.failure.is_some();
    if section.rows.iter().any(|row| row.kept.is_empty() && !given_up(row)) {
        writeln!(text, "Rows without figures: the machine was moved or busy in every try.\n")?;
    }
    for row in &section.rows {
        if let Some(failure) = &row.failure {
            writeln!(text, "**`{}` was given up in round {}**: {failure}.\n", row.entry.name, row.kept.len() + 1)?;
        }
    }
    Ok(())
}

fn notes(text: &mut String, sections: &[Section]) -> std::fmt::Result {
    writeln!(text, "## What was measured\n")?;
    let messages = peers::ALL.iter().map(|entry| (entry, false));
    for (entry, is_table) in messages.chain(boards::ALL.iter().map(|entry| (entry, true))) {
        let sections = || sections.iter().filter(|section| section.case.is_some() == is_table);
        let rows = || sections().flat_map(|section| &section.rows).filter(|row| row.entry.name == entry.name);
        if rows().next().is_some() {
            let messages: u64 = rows().map(|row| row.messages).sum();
            let what = if is_table { "values" } else { "messages" };
            writeln!(text, "- {}: {}. {messages} {what}, each checked.", entry.title, (entry.version)())?;
        }
    }
    Ok(())
}

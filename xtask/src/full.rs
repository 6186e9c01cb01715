//! Tests in their full form: large counts, long runs. The last result of each stands in `docs/full`.

use crate::{cargo, root, succeed};
use std::fs;

/// Name, test file and test of each, and what it shows.
const FULL: &[(&str, &str, &str, &str)] = &[
    (
        "kill",
        "kill",
        "no_reader_ever_sees_part_of_a_killed_writers_batch",
        "A writer is killed (`kill -9`) 1,000 times at random moments while it publishes single messages, batches over one lane \
         and batches over eight. No live or synced reader sees part of a batch; everything committed is read, and is in an era.",
    ),
    (
        "edges",
        "edges",
        "eras_are_whole_while_edges_compete",
        "Three participants commit batches over two channels, a million each, and seal an era after each, all at once. A synced \
         reader finds every batch whole, once, in order.",
    ),
];

/// Runs those named, or lists all.
pub(crate) fn run(names: &[&str]) -> Result<(), String> {
    if names.is_empty() {
        for (name, .., what) in FULL {
            println!("{name:10} {what}");
        }
        return Ok(());
    }
    for name in names {
        let known = FULL.iter().find(|(known, ..)| known == name);
        let (_, file, test, what) = known.ok_or_else(|| format!("no full form `{name}`: see `cargo xtask full`"))?;
        full(name, file, test, what)?;
    }
    Ok(())
}

fn full(name: &str, file: &str, test: &str, what: &str) -> Result<(), String> {
    let log = root().join("target").join(format!("full-{name}.log"));
    let open = || fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()));
    // Unoptimised: the moments between two stores, in which a writer is to be killed, are longer.
    let mut command = cargo(&["test", "--test", file, "--", "--exact", test, "--nocapture"]);
    let outcome = succeed(command.env("SYNCLINE_FULL", "1").stdout(open()?));
    let output = fs::read_to_string(&log).unwrap_or_default();
    print!("{output}");
    outcome?;
    // Only what the test itself says: the runner's lines tell nothing.
    let noise =
        |line: &&str| !line.is_empty() && *line != "ok" && !line.starts_with("running ") && !line.starts_with("test ");
    let said: Vec<&str> = output.lines().filter(noise).collect();
    let text = format!("# {name}\n\n{what}\n\n`cargo xtask full {name}`:\n\n```\n{}\n```\n", said.join("\n"));
    let path = root().join("docs/full").join(format!("{name}.md"));
    fs::create_dir_all(root().join("docs/full")).map_err(|error| error.to_string())?;
    fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))
}

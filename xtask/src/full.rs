//! Tests in their full form: large counts, long runs. The last result of each stands in `docs/full`.

use crate::{cargo, root, succeed};
use std::fs;

/// Name, test file and tests of each, and what it shows.
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
    (
        "fire",
        "fire",
        "no_era_is_mixed_under_fire",
        "Four writer processes commit batches of one to four values over four channels, a value having the same number in all \
         channels, and run edges against each other and against two more processes. Two reader processes read 100 million values \
         each: in every era each writer's last number is the same in all channels, and ends a batch; nothing is missing, twice or \
         out of order; and both readers have the same hash of every era. All processes are stopped at any instruction thousands \
         of times a second. Optimised.",
    ),
    (
        "causes",
        "causes",
        "no_era_has_an_effect_without_its_cause",
        "Four processes react to each other live, 100 million times: each reaction is a commit of its own and names the message \
         that it is one to. Two more processes run edges against each other. A synced reader finds no era with a reaction whose \
         cause is neither in it nor in an earlier one, and everything arrives. All but the reader are stopped at any instruction \
         thousands of times a second. Optimised.",
    ),
    (
        "heat",
        "heat",
        "any_number_of_processes_come_to_the_same_result",
        "A heat equation split by domain, 100,000 rounds in lockstep: two and three processes, in Rust and in C, come to the result of one, \
         bit for bit.",
    ),
    (
        "lossy",
        "lossy",
        "fire::received_and_lost_are_what_was_published",
        "A writer process publishes 100 million messages of 1 to 24 words into a lossy lane of 16 KiB, and seals an era after every 1 to 100 \
         of them. Four live readers that pin, two that copy and two synced ones read it, each in its own process and slow now and then; one \
         of them is always stopped (SIGSTOP), and all are interrupted at any instruction thousands of times a second. For each, what it \
         received and what it was told is lost are what was published; no message is torn, nor one that is held in place; no era is handed \
         out in part. Optimised.",
    ),
    (
        "halt",
        "halt",
        "nothing_moves_under_a_halt",
        "A zone is halted 1,000 times while three writer processes commit without pause (large messages, batches over sixteen lanes, edges), \
         in half of the halts after one of them was stopped at any instruction. No row moves under a halt, but for a commit that a stopped \
         writer was caught in, which is named; nobody else is named; then all go on, and two readers find everything in order.",
    ),
    (
        "wakes",
        "wakes",
        "no_wake_is_lost",
        "Two processes throw a number to and fro at random moments and sleep for it, ten million times: for messages, for edges, for both \
         (on two bells at once), and in `poll` on a descriptor. A single sleep may last longer than the wait for the number: a ring that \
         is lost is not made up for. Every sleep is ended by a ring.",
    ),
    (
        "locks",
        "locks",
        "contention::one_holder_at_a_time order::first_come_first_served step::commit_and_release_are_one_step",
        "Four processes contend for a lock and are killed or stopped 3,000 times at random moments: no two are ever inside, none is \
         overtaken (each stores the number of its grant), and each is told whether the one before died with the lock, neither too often nor \
         too seldom. 500 queues of five, in which one dies or gives up and one is stopped when its turn comes: each gets the lock in its \
         turn. 3,000 times a process is killed that commits a batch over four lanes and gives the lock back in one step: the next is \
         told of a death if and only if nothing of the last batch is there.",
    ),
    (
        "tables",
        "tables",
        "fire::values_and_commits_are_whole",
        "A writer process sets items of a table without pause, alone and in batches over sixteen items, a value being the number of its commit \
         in all of its words, while two processes run edges. Five reader processes read 1,000 million items: singly, all of a batch as of one \
         commit, CURR and PREV, and CURR beside the messages of its era. No value is torn, no view has two commits, no era changes, and table \
         and channel agree in every era. All are stopped at any instruction thousands of times a second, and one of them for long. Optimised.",
    ),
    (
        "table-kill",
        "tables",
        "kill::readers_see_whole_commits_of_the_dead",
        "The owner of two tables is killed (`kill -9`) 2,000 times at random moments, in single sets and in batches over both tables and a \
         channel. Live and synced readers that are there all the time see whole commits only, never go back, and find the commit that the \
         channel's reader was handed last; the next owner goes on from it. In half of the cases the dead one's row is another's at once.",
    ),
    (
        "changes",
        "tables",
        "changes::every_change_is_told",
        "A writer process makes a million commits that change items of a table. Eighteen watches in three processes, live and synced, of one \
         item to all, asleep or in `poll`, with and without a least time between two notifications, are told of every change; now and \
         then one process is stopped (SIGSTOP) while more is changed than it can be told. Hardly an item is named for nothing.",
    ),
    (
        "table-model",
        "tables",
        "model::readers_see_what_the_model_says",
        "Readers and watches of a table, step by step, against a model that keeps every state: declarations, sets, batches, roll-backs, messages, \
         edges and permits, owners that come and go, 4,096 random runs.",
    ),
];

/// Run as a release is built, for the sake of their counts: they stop their processes at any instruction, or sleep ten million times. The others are run
/// unoptimised: the moments between two stores, in which a writer is to be killed, are longer.
const OPTIMISED: &[&str] = &["fire", "causes", "lossy", "wakes", "tables", "changes"];

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
    let profile = if OPTIMISED.contains(&name) { "release" } else { "test" };
    let mut command = cargo(&["test", "--profile", profile, "--test", file, "--", "--exact", "--nocapture"]);
    command.args(test.split(' '));
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

//! What one publish and one edge cost, counted and not timed: instructions under callgrind, system calls under strace.

use crate::{cargo, root, succeed};
use std::process::Command;

/// Publishes of the two runs whose difference counts.
const COUNTS: [u64; 2] = [10_000, 110_000];
/// Writers of the zones in which each publish is followed by an edge.
const WRITERS: [&str; 2] = ["1", "64"];

/// Counts and prints.
pub(crate) fn run() -> Result<(), String> {
    succeed(&mut cargo(&["build", "--release", "--no-default-features", "--example", "cost"]))?;
    let (publish, calls) = count(&[])?;
    println!("instructions of one publish of 48 bytes: {publish:.1}");
    println!("  (with making the message; valgrind has no membarrier, so this is with the full fence)");
    println!("system calls: {} with {} publishes, {} with {}", calls[0], COUNTS[0], calls[1], COUNTS[1]);
    for writers in WRITERS {
        let (both, calls) = count(&[writers])?;
        println!("instructions that an edge adds to it, writers in the zone: {writers}: {:.1}", both - publish);
        println!("system calls: {} with {} edges, {} with {}", calls[0], COUNTS[0], calls[1], COUNTS[1]);
    }
    Ok(())
}

/// Instructions of one round of the example, and the system calls of both runs.
fn count(arguments: &[&str]) -> Result<(f64, [u64; 2]), String> {
    let (mut instructions, mut calls) = ([0.0; 2], [0; 2]);
    for (index, count) in COUNTS.into_iter().enumerate() {
        let program = root().join("target/release/examples/cost");
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(&program);
        instructions[index] = number_after(valgrind.arg(count.to_string()).args(arguments), "Collected :")?;
        let mut strace = Command::new("strace");
        calls[index] = total_calls(strace.args(["-f", "-c"]).arg(&program).arg(count.to_string()).args(arguments))?;
    }
    Ok(((instructions[1] - instructions[0]) / (COUNTS[1] - COUNTS[0]) as f64, calls))
}

fn stderr_of(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}; is it installed?"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(text) } else { Err(format!("{command:?}: {}\n{text}", output.status)) }
}

fn number_after(command: &mut Command, mark: &str) -> Result<f64, String> {
    let text = stderr_of(command)?;
    let number = text.split(mark).nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("{command:?} said no `{mark}`"))
}

/// The calls of `strace -c`: the fourth column of the line `total`.
fn total_calls(command: &mut Command) -> Result<u64, String> {
    let text = stderr_of(command)?;
    let total = text.lines().find(|line| line.ends_with("total"));
    let calls = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    calls.ok_or_else(|| format!("{command:?} said no total"))
}

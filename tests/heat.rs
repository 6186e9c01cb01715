//! The heat equation of the examples, split over processes that go in lockstep, in Rust and in C: the result is that of one process, bit
//! for bit.

#![cfg(feature = "capi")]

#[path = "c_programs/mod.rs"]
mod programs;
mod support;

use programs::{Link, Program, finish};
use std::process::{Child, Command, Stdio};
use support::times;
use syncline::{Bus, Reason};

fn rust_part(bus: &Bus, arguments: &[&str]) -> Child {
    // Cargo builds examples before it runs tests, beside the directory of these.
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples/heat");
    let mut command = Command::new(path);
    command.args(arguments).env("SYNCLINE_SOCKET", bus.socket());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The cells of all parts, in order; every other part is in C, if any is to be.
fn run(parts: usize, rounds: u64, in_c: Option<&Program>) -> Vec<String> {
    let bus = Bus::embedded().unwrap();
    let (parts_text, rounds) = (parts.to_string(), rounds.to_string());
    let start = |part: usize| {
        let part_text = part.to_string();
        let arguments = [&part_text, &parts_text, &rounds].map(String::as_str);
        match in_c.filter(|_| part % 2 == 1 || parts == 1) {
            Some(program) => program.start(&bus, &arguments),
            None => rust_part(&bus, &arguments),
        }
    };
    let children: Vec<Child> = (0..parts).map(start).collect();
    children.into_iter().flat_map(|child| finish(child).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Would break: an edge that passes without somebody's permit, or with what comes after it (a neighbour's cells of another round).
#[test]
fn any_number_of_processes_come_to_the_same_result() {
    let rounds = times(2_000, 100_000);
    let program = Program::compile("examples/c/heat.c", Link::Shared);
    let alone = run(1, rounds, None);
    assert_eq!(alone.len(), 96);
    assert!(alone.iter().any(|cell| cell != &alone[0]), "nothing has happened to {}", alone[0]);
    for (parts, in_c) in [(2, None), (2, Some(&program)), (3, Some(&program)), (1, Some(&program))] {
        assert!(run(parts, rounds, in_c) == alone, "{parts} parts, C: {}", in_c.is_some());
        println!(
            "{rounds} rounds, {parts} parts, one of them in C: {}: the same {} cells, bit for bit",
            in_c.is_some(),
            alone.len()
        );
    }
    assert!(run(1, rounds - 1, None) != alone, "another round makes no difference");
}

/// One step of a round by hand: who has given the permit waits for who has not, and both find the same on record.
#[test]
fn a_round_passes_with_the_last_permit() {
    let bus = Bus::embedded().unwrap();
    let zone = bus.zone("rounds").lockstep(support::LONG);
    let [mut one, mut other] = ["one", "other"].map(|name| zone.writer(name).unwrap());
    let values = one.channel("v").open::<u64>().unwrap();
    let mut reader = zone.reader("r").channel::<u64>("v").synced().open().unwrap();
    one.publish(values, &1).unwrap();
    assert_eq!(one.permit().unwrap(), 1);
    one.publish(values, &2).unwrap();
    assert!(reader.try_era().unwrap().is_none(), "the other has not given its permit");
    assert!(one.permit().is_err() && one.edge().is_err());
    assert_eq!(other.permit().unwrap(), 1);
    let mut era = reader.try_era().unwrap().expect("all have given their permits");
    assert_eq!(era.next().unwrap().unwrap().copy::<u64>().unwrap(), 1);
    assert!(era.next().unwrap().is_none(), "what came after the permit is in the next era");
    assert_eq!(era.edge().unwrap().reason, Reason::Permits);
}

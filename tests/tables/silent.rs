//! A table is read and set without the system: a pair of processes that would be killed by any call. And the reader can not write: it has no writable
//! memory of the table or its zone.

use super::support::*;
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::Ordering;
use syncline::{Bus, Error};

const TEST: &str = "silent::no_system_call_is_made_to_read_or_set";
const ITEMS: u32 = 32;
const ROUNDS: u64 = 100_000;

/// From now on every system call kills this process, but for its end and (where the system can not tell the time without one) for the time.
fn seal_off() {
    seccomp::allow_only(&[libc::SYS_exit_group, libc::SYS_clock_gettime, libc::SYS_rt_sigreturn]);
}

/// Ends this process without a word, with this status.
fn end(status: i32) -> ! {
    // SAFETY: nothing is left to be done.
    unsafe { libc::_exit(status) }
}

fn writer() {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let bus = Bus::connect().expect("connect");
    let mut writer = bus.zone("z").writer("w").expect("writer");
    let table = writer.table("t").items::<u64>("n", ITEMS).bytes("text", 100).open().expect("table");
    let items: Vec<_> = (0..ITEMS).map(|n| writer.item_at::<u64>(table, n).expect("item")).collect();
    let text = writer.item::<[u8]>(table, "text").expect("item");
    writer.edge().expect("edge");
    // What is new to it, the memory of a batch too, is had before.
    let mut number = 0;
    let mut step = || -> syncline::Result<()> {
        number += 1;
        writer.set(items[(number % u64::from(ITEMS)) as usize], &number)?;
        writer.set(text, &[number as u8; 100][..(number % 101) as usize])?;
        let mut batch = writer.batch()?;
        for item in &items[..8] {
            batch.set(*item, &number)?;
        }
        batch.commit()?;
        if number % 16 == 0 {
            writer.edge()?;
        }
        Ok(())
    };
    (0..1000).for_each(|_| step().expect("set"));
    say("ready", "");
    hear();
    seal_off();
    // Its end would be news to the reader, which it takes from a socket.
    while words.at(0).load(Ordering::Relaxed) == 0 {
        if step().is_err() {
            end(2);
        }
    }
    end(0);
}

/// Whether this process could write to any shared memory of the table or its zone.
fn writable() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc");
    let ours = maps.lines().filter(|line| line.contains("syncline:"));
    let is_writable = |line: &&str| line.split(' ').nth(1).is_some_and(|access| access.contains('w'));
    ours.filter(is_writable).map(str::to_owned).collect()
}

fn reader() {
    let words = SharedWord::new(argument("WORDS").as_ref());
    let bus = Bus::connect().expect("connect");
    let mut reader = bus.zone("z").table("t").expect("table");
    let items: Vec<_> = (0..ITEMS).map(|n| reader.item_at::<u64>(n).expect("item")).collect();
    let text = reader.item::<[u8]>("text").expect("item");
    let (mut buffer, mut met) = (Vec::with_capacity(100), [0u64; 4]);
    let mut step = |round: u64| -> syncline::Result<()> {
        let item = items[(round % u64::from(ITEMS)) as usize];
        reader.get(item)?;
        reader.get_to(text, &mut buffer)?;
        if !buffer.iter().all(|byte| *byte == buffer[0]) {
            end(4);
        }
        let first = reader.read(|view| Ok([view.get(items[1])?, view.get(items[7])?]))?;
        let seen = reader.latest()?.seen();
        met[0] += u64::from(first[0] != first[1]);
        let current = reader.current()?;
        let found = [current.get(items[0])?, current.previous()?.get(items[0])?];
        met[1] += u64::from(found[0] != found[1]);
        met[2] += u64::from(current.changed(item)?);
        met[3] += u64::from(reader.latest()?.changed_since(item, seen)?);
        Ok(())
    };
    let is_passed = |error: &Error| matches!(error, Error::Overtaken | Error::Gone { .. });
    for round in 0..1000 {
        step(round).or_else(|error| if is_passed(&error) { Ok(()) } else { Err(error) }).expect("read");
    }
    assert!(mappings() >= 2, "the zone and the table are mapped");
    assert_eq!(writable(), Vec::<String>::new(), "a reader of tables can write to shared memory");
    say("ready", "");
    hear();
    seal_off();
    let mut passed = 0;
    for round in 0..ROUNDS {
        match step(round) {
            Ok(()) => {}
            Err(error) if is_passed(&error) => passed += 1,
            Err(_) => end(3),
        }
    }
    // In traffic, or it would show nothing.
    if met[1] == 0 || met[2] == 0 || met[3] == 0 || passed == ROUNDS {
        end(5);
    }
    words.at(0).store(1, Ordering::Relaxed);
    end(0);
}

/// Would break: a system call to read, set or look at an era; memory that a reader can write.
#[test]
fn no_system_call_is_made_to_read_or_set() {
    match role().as_deref() {
        Some("writer") => return writer(),
        Some("reader") => return reader(),
        _ => {}
    }
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = [("WORDS", directory.path().join("words").display().to_string())];
    let bus = Bus::embedded().expect("broker");
    let mut pair = ["writer", "reader"].map(|role| {
        let mut process = Process::start(TEST, role, bus.socket(), &arguments);
        process.wait_for("ready");
        process
    });
    pair.iter_mut().for_each(|process| process.send("go"));
    for (name, process) in ["writer", "reader"].iter().zip(&mut pair).rev() {
        let status = process.child.wait().expect("wait");
        let found = (status.code(), status.signal());
        assert_eq!(found, (Some(0), None), "{name}: a system call is SIGSYS ({})", libc::SIGSYS);
    }
}

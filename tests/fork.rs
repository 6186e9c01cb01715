//! A program that becomes a daemon: what it opened before the fork is its parent's, and says so.

mod support;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use std::time::Duration;
use support::*;
use syncline::{Bus, Error, WaitSet};

fn forked<T>(answer: syncline::Result<T>) -> bool {
    matches!(answer, Err(Error::Forked))
}

/// The process that forks: one thread of its own, as a program that becomes a daemon has, and the one that sleeps for its readers in `epoll`.
fn forking() {
    let bus = Bus::connect().unwrap();
    let zone = bus.zone("z");
    let mut writer = zone.writer("parent").unwrap();
    let lane = writer.channel("c").open::<u64>().unwrap();
    let mut reader = zone.reader("parent").channel::<u64>("c").open().unwrap();
    let mut synced = zone.reader("parent, synced").channel::<u64>("c").synced().open().unwrap();
    let mut polled = zone.reader("parent, polled").channel::<u64>("c").open().unwrap();
    let mut set = WaitSet::new().unwrap();
    set.add_reader(7, &mut polled).unwrap();
    assert!(polled.try_recv().unwrap().is_none());
    let mut watch = bus.watch(None).unwrap();
    writer.publish(lane, &1).unwrap();
    let mut loan = writer.loan(lane).unwrap();
    let message = reader.recv(LONG).unwrap();
    // SAFETY: the child goes on with this thread alone; the test runner's other threads hold no lock that it uses.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0), "the child must not fault");
            loan.write(2);
            loan.publish().unwrap();
            // All is as it was.
            assert_eq!(message.copy::<u64>().unwrap(), 1);
            drop(message);
            assert_eq!(reader.recv(LONG).unwrap().copy::<u64>().unwrap(), 2);
            writer.edge().unwrap();
            assert!(synced.try_era().unwrap().is_some());
            for value in [1, 2] {
                assert_eq!(set.wait(LONG).unwrap().collect::<Vec<_>>(), [7]);
                assert_eq!(polled.try_recv().unwrap().unwrap().copy::<u64>().unwrap(), value);
            }
            assert!(polled.try_recv().unwrap().is_none());
            assert!(set.wait(Duration::from_millis(1)).is_err());
            say("parent", "fine");
        }
        ForkResult::Child => {
            loan.write(3);
            let held = [
                forked(loan.publish()),
                forked(message.copy::<u64>()),
                forked(message.to_vec()),
                message.era().is_none(),
                // SAFETY: nothing is there.
                unsafe { message.bytes_in_place() }.is_empty(),
            ];
            drop(message);
            let answers = [
                forked(writer.publish(lane, &9)),
                forked(writer.loan(lane)),
                forked(writer.batch()),
                forked(writer.edge()),
                forked(writer.generation()),
                forked(writer.channel("d").open::<u64>()),
                forked(reader.try_recv()),
                forked(reader.recv(Duration::from_millis(1))),
                forked(reader.spin_recv(Duration::from_millis(1))),
                forked(synced.try_era()),
                forked(synced.next_era(Duration::from_millis(1))),
                forked(reader.generation()),
                forked(reader.pollable().map(drop)),
                forked(polled.pollable().map(drop)),
                forked(polled.try_recv().map(drop)),
                forked(set.wait(Duration::from_millis(1)).map(drop)),
                forked(set.add(1, std::io::stdin())),
                forked(bus.list()),
                forked(zone.writer("w")),
                forked(zone.wait_readers("c", 1, Duration::from_millis(1))),
                forked(watch.next(Duration::from_millis(1))),
            ];
            let mut wrong = held.iter().chain(&answers).filter(|answer| !**answer).count() as i32;
            // Dropping them must not touch the parent's memory or connection.
            drop((writer, reader, synced, polled, set, watch, zone, bus));
            // A child that connects anew is a participant like any other.
            let anew = || -> syncline::Result<u64> {
                let bus = Bus::connect()?;
                let zone = bus.zone("child");
                let mut writer = zone.writer("child")?;
                let lane = writer.channel("c").open::<u64>()?;
                let mut reader = zone.reader("child").channel::<u64>("c").open()?;
                let late = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(5));
                    writer.publish(lane, &5).map(|()| writer)
                });
                // A thread of this process's own serves it.
                let mut set = WaitSet::new()?;
                set.add_reader(1, &mut reader)?;
                let copied = loop {
                    if let Some(message) = reader.try_recv()? {
                        break message.copy();
                    }
                    set.wait(LONG)?.for_each(drop);
                };
                drop(late.join());
                copied
            };
            wrong += i32::from(!matches!(anew(), Ok(5))) * 100;
            // SAFETY: ends the process at once; nothing of the parent's is run.
            unsafe { libc::_exit(wrong) };
        }
    }
}

#[test]
fn a_forked_child_is_told_and_never_faults() {
    if role().is_some() {
        return forking();
    }
    let bus = Bus::embedded().unwrap();
    let mut process = Process::start("a_forked_child_is_told_and_never_faults", "forking", bus.socket(), &[]);
    assert_eq!(process.wait_for("parent"), "fine");
    process.finish();
    eventually("the parent's end frees everything", || {
        let stats = bus.embedded_broker().unwrap().stats();
        stats.lanes == 0 && stats.zones == 0
    });
}

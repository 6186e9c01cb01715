//! The queue of a lock: whoever asked first has it first, whatever happens to the others.

use crate::support::*;
use std::time::Duration;
use syncline::{Bus, Error, LockState, LockWatch};

const TEST: &str = "order::first_come_first_served";
const WORKERS: usize = 5;

/// Acquires when told, and gives back when told.
fn worker() {
    let bus = Bus::connect().expect("connect");
    let lock = bus.zone("z").lock("l");
    say("ready", "");
    while let Some(line) = hear() {
        match lock.acquire(Duration::from_millis(line.parse().expect("milliseconds"))) {
            Ok(guard) => {
                say("granted", guard.fence());
                hear();
                guard.release();
                say("released", "");
            }
            Err(Error::Timeout) => say("late", ""),
            Err(error) => panic!("{error}"),
        }
    }
}

fn until(watch: &mut LockWatch, what: &str, is_so: impl Fn(LockState) -> bool) -> LockState {
    loop {
        let state = watch.next(LONG).unwrap_or_else(|error| panic!("{what}: {error}"));
        if is_so(state) {
            return state;
        }
    }
}

/// Would break: a queue that is none; a place that is lost when somebody else's is given up.
#[test]
fn first_come_first_served() {
    if role().is_some() {
        return worker();
    }
    let rounds = times(25, 500);
    let bus = Bus::embedded().expect("broker");
    let lock = bus.zone("z").lock("l");
    let mut watch = lock.watch().expect("watch");
    let start = || {
        let mut process = Process::start(TEST, "worker", bus.socket(), &[]);
        process.wait_for("ready");
        process
    };
    let mut workers: Vec<_> = (0..WORKERS).map(|_| start()).collect();
    let mut random = Random(0x5eed_0000_0000_0001);
    let (mut killed, mut late, mut stopped, mut orders) = (0, 0, 0, std::collections::BTreeSet::new());
    for _ in 0..rounds {
        let guard = lock.acquire(LONG).expect("acquire");
        let mut order: Vec<usize> = (0..WORKERS).collect();
        (1..WORKERS).for_each(|at| order.swap(at, random.below(at as u64 + 1) as usize));
        // One of them comes to nothing: it dies, or does not wait so long; and one is stopped when its turn comes.
        let (goes, stands) = (random.below(WORKERS as u64) as usize, random.below(WORKERS as u64) as usize);
        let dies = random.below(2) == 0;
        for (queued, &index) in order.iter().enumerate() {
            let patience = if index == goes && !dies { 30 } else { LONG.as_millis() as u64 };
            workers[index].send(&patience.to_string());
            let before = u32::try_from(queued).expect("few");
            until(&mut watch, "it is queued", |state| state.waiting > before);
            if index == goes && !dies {
                // Before the next asks, so that the numbers are what they should be.
                workers[index].wait_for("late");
                late += 1;
                until(&mut watch, "it has given up", |state| state.waiting == before);
                // It asks again, and is behind the others then: at its place in `order`, which is the last.
            }
            if index == goes && !dies {
                workers[index].send(&LONG.as_millis().to_string());
                until(&mut watch, "it is queued again", |state| state.waiting > before);
            }
        }
        if dies {
            workers[goes].kill();
            killed += 1;
            until(&mut watch, "the dead wait no more", |state| state.waiting == WORKERS as u32 - 1);
            order.retain(|index| *index != goes);
        }
        if stands != goes {
            workers[stands].stop();
            stopped += 1;
        }
        orders.insert(order.clone());
        let mut last = guard.fence();
        guard.release();
        for &index in &order {
            let state = until(&mut watch, "the next has it", |state| state.fence > last);
            assert_eq!(state.holder_pid, workers[index].pid(), "in {order:?}");
            if index == stands && stands != goes {
                assert!(matches!(watch.next(Duration::from_millis(2)), Err(Error::Timeout)), "it is passed over");
                workers[index].resume();
            }
            let fence: u64 = workers[index].wait_for("granted").parse().expect("a number");
            assert_eq!((state.fence, state.died), (fence, false));
            last = fence;
            workers[index].send("release");
            workers[index].wait_for("released");
        }
        until(&mut watch, "it is free", |state| state.holder_pid == 0);
        if dies {
            workers[goes] = start();
        }
    }
    println!("\n{rounds} queues in {} orders; {killed} killed, {late} late, {stopped} stopped in them", orders.len());
    assert!(killed > 0 && late > 0 && stopped > 0 && orders.len() > 10);
}

use super::deaths::Victim;
use super::*;
use crate::wire::{LockKind, LockState};

fn acquire(name: &str, wait: bool) -> Ask {
    Ask::AcquireLock { zone: "z".to_owned(), kind: LockKind::Named, name: name.to_owned(), wait }
}

fn watch(name: &str) -> Ask {
    Ask::WatchLock { zone: "z".to_owned(), kind: LockKind::Named, name: name.to_owned() }
}

fn granted((told, fds): Told) -> (u64, bool) {
    assert!(fds.is_empty());
    match told {
        Tell::LockGranted { fence, died } => (fence, died),
        other => panic!("{other:?}"),
    }
}

impl Client {
    /// The lock's number, and whether its last holder died.
    fn lock(&mut self, name: &str) -> (u64, bool) {
        let told = self.call(acquire(name, true));
        granted(told)
    }

    fn state(&mut self, id: u32) -> LockState {
        match self.answer(id).0 {
            Tell::LockState(state) => state,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_lock_is_had_in_the_order_of_asking() {
    isolated(|| {
        let place = Place::new();
        let mut clients = [place.connect(), place.connect(), place.connect()];
        let (first, died) = clients[0].lock("l");
        assert!(!died);
        let pid = std::process::id();
        let held = |waiting| Tell::LockHeld { pid, fence: first, waiting };
        assert_eq!(clients[1].call(acquire("l", false)).0, held(0));
        assert!(clients[1].lock("other").0 > first, "it has nothing to do with that");
        // The same connection, too: another thread of it may give it back.
        let waits = [2, 1, 0].map(|client: usize| {
            let id = clients[client].send(acquire("l", true));
            clients[client].done(Ask::Sync);
            (client, id)
        });
        let given_up = clients[1].send(acquire("l", true));
        assert_eq!(clients[2].call(acquire("l", false)).0, held(4));
        clients[1].done(Ask::CancelLock { id: given_up });
        clients[1].done(Ask::CancelLock { id: given_up });
        assert_eq!(clients[2].call(acquire("l", false)).0, held(3));
        assert_eq!(clients[1].refused(Ask::ReleaseLock { fence: first }).0, Code::Unknown, "not one's own");
        let mut holder = (0, first);
        for (client, id) in waits {
            clients[holder.0].done(Ask::ReleaseLock { fence: holder.1 });
            assert_eq!(clients[holder.0].refused(Ask::ReleaseLock { fence: holder.1 }).0, Code::Unknown, "twice");
            let (fence, died) = granted(clients[client].answer(id));
            assert!(fence > holder.1 && !died);
            holder = (client, fence);
        }
        // A grant that crosses a cancel comes first.
        let crossed = clients[1].send(acquire("l", true));
        clients[1].done(Ask::Sync);
        clients[holder.0].done(Ask::ReleaseLock { fence: holder.1 });
        let cancel = clients[1].send(Ask::CancelLock { id: crossed });
        let (id, told) = clients[1].receive().unwrap();
        assert_eq!(id, crossed);
        let (fence, _) = granted(told);
        assert_eq!(clients[1].answer(cancel).0, Tell::Done);
        clients[1].done(Ask::ReleaseLock { fence });
        place.until("what nobody has or wants is forgotten", |stats| stats.locks == 1);
        for bad in [
            acquire("", true),
            Ask::AcquireLock { zone: String::new(), kind: LockKind::Table, name: "n".to_owned(), wait: true },
            watch("\n"),
        ] {
            assert_eq!(clients[0].refused(bad).0, Code::Invalid);
        }
    });
}

#[test]
fn locks_run_out() {
    isolated(|| {
        let place = Place::with(Limits { locks: 2, waits: 2, ..Limits::default() });
        let (mut client, mut other) = (place.connect(), place.connect());
        let (fence, _) = client.lock("a");
        let waits = client.send(acquire("a", true));
        assert_eq!(client.refused(acquire("b", true)).0, Code::Exhausted);
        assert_eq!(client.refused(acquire("b", false)).0, Code::Exhausted);
        assert!(matches!(client.call(acquire("a", false)).0, Tell::LockHeld { .. }), "that takes no room");
        other.lock("b");
        client.done(Ask::CancelLock { id: waits });
        client.send(acquire("b", true));
        client.done(Ask::ReleaseLock { fence });
        client.lock("a");
        let first = client.send(watch("a"));
        client.send(watch("b"));
        assert_eq!(client.refused(watch("c")).0, Code::Exhausted);
        client.send(Ask::Cancel { id: first });
        client.send(watch("c"));
        client.done(Ask::Sync);
    });
}

#[test]
fn the_dead_give_their_locks_back() {
    isolated(|| {
        let place = Place::new();
        let (mut client, mut second) = (place.connect(), place.connect());
        let victim = Victim::new(|| {
            let mut client = place.connect();
            let fences = ["a", "b", "c"].map(|name| client.lock(name).0);
            client.send(acquire("a", true));
            client.done(Ask::ReleaseLock { fence: fences[2] });
            client
        });
        let waits = client.send(acquire("a", true));
        client.done(Ask::Sync);
        let then = second.send(acquire("a", true));
        second.done(Ask::Sync);
        victim.kill();
        let (fence, died) = granted(client.answer(waits));
        assert!(died);
        client.done(Ask::ReleaseLock { fence });
        assert!(!granted(second.answer(then)).1, "this one did not");
        assert!(client.lock("b").1, "nobody has waited for that, and the next is told all the same");
        assert!(!client.lock("c").1);
        place.until("the dead leave nothing", |now| now.sessions == 2 && now.locks == 3);
    });
}

#[test]
fn a_closed_socket_gives_nothing_back() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let mine = client.lock("mine").0;
        let victim = Victim::new(|| {
            let mut client = place.connect();
            client.lock("theirs");
            client.send(acquire("mine", true));
            client.done(Ask::Sync);
        });
        place.until("the socket is closed", |stats| stats.fds == 2 + 1);
        let waiting = |client: &mut Client, name| match client.call(acquire(name, false)).0 {
            Tell::LockHeld { waiting, .. } => waiting,
            other => panic!("{other:?}"),
        };
        assert_eq!((waiting(&mut client, "theirs"), waiting(&mut client, "mine")), (0, 0));
        client.done(Ask::ReleaseLock { fence: mine });
        client.lock("mine");
        let waits = client.send(acquire("theirs", true));
        client.done(Ask::Sync);
        victim.kill();
        assert!(granted(client.answer(waits)).1);
        place.until("its session is gone", |stats| stats.sessions == 1);
    });
}

#[test]
fn a_release_that_was_promised_is_as_the_commit_was() {
    isolated(|| {
        let place = Place::new();
        let mut client = place.connect();
        let _keeper = client.writer("z");
        type Last<'a> = &'a dyn Fn(&mut Client, &mut Writer, &mut [LaneOut; 2]);
        let mut died = |options: ZoneOptions, zone: &str, last: Last<'_>| {
            let victim = Victim::new(|| {
                let mut client = place.connect();
                let ask = Ask::OpenWriter { zone: zone.to_owned(), options, name: "w".to_owned() };
                let mut writer = client.writer_by(ask);
                let mut lanes = ["a", "b"].map(|channel| client.lane(&writer, channel));
                let (fence, _) = client.lock("l");
                lanes[0].publish(&mut writer, 1, true);
                let promise = Ask::ReleaseLockAfter { fence, writer: writer.serial, version: writer.version + 1 };
                client.send(promise);
                last(&mut client, &mut writer, &mut lanes);
                (client, writer, lanes)
            });
            let waits = client.send(acquire("l", true));
            client.done(Ask::Sync);
            victim.kill();
            let (fence, died) = granted(client.answer(waits));
            client.done(Ask::ReleaseLock { fence });
            died
        };
        let mut free = |last: Last<'_>| died(NO_OPTIONS, "z", last);
        assert!(free(&|_, _, _| {}), "no commit");
        assert!(!free(&|_, writer, lanes| lanes[0].publish(writer, 2, true)), "committed");
        assert!(!free(&|_, writer, lanes| lanes[0].publish(writer, 2, false)), "completed");
        let batch = |writer: &mut Writer, lanes: &mut [LaneOut; 2], shown: usize| {
            lanes.iter_mut().for_each(|lane| lane.push(writer, 3));
            lanes.iter_mut().take(shown).for_each(|lane| lane.ring.show_batch(lane.map.view(), true));
        };
        assert!(free(&|_, writer, lanes| batch(writer, lanes, 1)), "buried");
        assert!(free(&|_, writer, lanes| batch(writer, lanes, 2)), "buried, though all heads are shown");
        let whole = |writer: &mut Writer, lanes: &mut [LaneOut; 2]| {
            batch(writer, lanes, 2);
            writer.version += 1;
            writer.store_version();
        };
        assert!(!free(&|_, writer, lanes| whole(writer, lanes)), "committed");
        // By its own word the writer goes first: the row is another's by then.
        let close = |client: &mut Client, writer: &mut Writer| client.done(Ask::CloseWriter { writer: writer.serial });
        assert!(!free(&|client, writer, lanes| {
            whole(writer, lanes);
            close(client, writer);
        }));
        assert!(free(&|client, writer, _| {
            close(client, writer);
            let mut other = place.connect();
            let mut next = other.writer("z");
            assert_eq!(next.row, writer.row);
            other.lane(&next, "a").publish(&mut next, 5, true);
        }));
        // What was not permitted goes with its writer, so it is not there.
        let options = ZoneOptions { pace: Some(Pace::Revocable), ..NO_OPTIONS };
        assert!(died(options, "revocable", &|_, writer, lanes| whole(writer, lanes)));
    });
}

#[test]
fn watchers_are_told_of_each_change() {
    isolated(|| {
        let place = Place::new();
        let (mut watcher, mut client) = (place.connect(), place.connect());
        let id = watcher.send(watch("l"));
        let state = |holder_pid, fence, waiting, died| LockState { holder_pid, fence, waiting, died };
        assert_eq!(watcher.state(id), LockState::default());
        let (first, _) = client.lock("l");
        let pid = std::process::id();
        assert_eq!(watcher.state(id), state(pid, first, 0, false));
        let late = watcher.send(watch("l"));
        assert_eq!(watcher.state(late), state(pid, first, 0, false));
        watcher.send(Ask::Cancel { id: late });
        let waits = client.send(acquire("l", true));
        assert_eq!(watcher.state(id), state(pid, first, 1, false));
        client.done(Ask::CancelLock { id: waits });
        assert_eq!(watcher.state(id), state(pid, first, 0, false));
        let waits = client.send(acquire("l", true));
        assert_eq!(watcher.state(id), state(pid, first, 1, false));
        client.done(Ask::ReleaseLock { fence: first });
        let (second, _) = granted(client.answer(waits));
        assert_eq!(watcher.state(id), state(pid, second, 0, false), "from one to the next");
        client.done(Ask::ReleaseLock { fence: second });
        assert_eq!(watcher.state(id), LockState::default());
        let victim = Victim::new(|| {
            let mut client = place.connect();
            client.lock("l");
            client
        });
        let held = watcher.state(id);
        assert!(held.holder_pid != pid && held.fence > second && !held.died);
        victim.kill();
        assert_eq!(watcher.state(id), state(0, 0, 0, true));
        let (third, died) = client.lock("l");
        assert!(died);
        assert_eq!(watcher.state(id), state(pid, third, 0, true));
        client.done(Ask::ReleaseLock { fence: third });
        assert_eq!(watcher.state(id), LockState::default());
        watcher.done(Ask::Sync);
        assert!(watcher.others.is_empty(), "{:?}", watcher.others);
        drop(watcher);
        place.until("nobody watches", |stats| stats.locks == 0);
    });
}

#[test]
fn a_watcher_that_takes_nothing_is_given_up() {
    isolated(|| {
        let place = Place::with(Limits { unread: 64, ..Limits::default() });
        let (mut watcher, mut client) = (place.connect(), place.connect());
        watcher.send(watch("l"));
        let mut changes = 0;
        while place.stats().sessions == 2 {
            let (fence, _) = client.lock("l");
            client.done(Ask::ReleaseLock { fence });
            changes += 2;
            assert!(changes < 100_000, "the broker keeps all that the watcher does not take");
        }
        println!("given up after {changes} changes");
        watcher.ended();
        client.lock("l");
    });
}

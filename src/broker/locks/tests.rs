//! The books against a model without any: one list of requests in the order in which they came, of which the first of each lock holds it.

use super::*;
use crate::error::Code;
use proptest::prelude::*;
use std::collections::HashMap;

/// Locks held and waited for, and watched, of one connection.
const LIMITS: (usize, usize) = (3, 2);
const CLIENTS: u64 = 4;

#[derive(Clone, Debug)]
enum Step {
    Acquire {
        client: u64,
        id: u32,
        key: LockKey,
        wait: bool,
    },
    Cancel {
        client: u64,
        id: u32,
    },
    /// Of the locks that the connection holds, this one.
    Release {
        client: u64,
        which: usize,
    },
    Promise {
        client: u64,
        which: usize,
        writer: u64,
        version: u64,
    },
    WriterGone {
        client: u64,
        writer: u64,
        reached: u64,
    },
    Watch {
        client: u64,
        id: u32,
        key: LockKey,
    },
    Unwatch {
        client: u64,
        id: u32,
    },
    Disconnect {
        client: u64,
    },
    Die {
        client: u64,
    },
}

fn key() -> impl Strategy<Value = LockKey> {
    let kinds = prop::sample::select(vec![LockKind::Named, LockKind::Table]);
    (prop::sample::select(vec!["y", "z"]), kinds, prop::sample::select(vec!["a", "b"]))
        .prop_map(|(zone, kind, name)| LockKey { zone: zone.to_owned(), kind, name: name.to_owned() })
}

fn step() -> impl Strategy<Value = Step> {
    let client = || 1..=CLIENTS;
    let id = || 1..6u32;
    prop_oneof![
        8 => (client(), id(), key(), prop::bool::weighted(0.8))
            .prop_map(|(client, id, key, wait)| Step::Acquire { client, id, key, wait }),
        2 => (client(), id()).prop_map(|(client, id)| Step::Cancel { client, id }),
        4 => (client(), 0..3usize).prop_map(|(client, which)| Step::Release { client, which }),
        3 => (client(), 0..3usize, 1..3u64, 1..4u64)
            .prop_map(|(client, which, writer, version)| Step::Promise { client, which, writer, version }),
        2 => (client(), 1..3u64, 1..4u64).prop_map(|(client, writer, reached)| Step::WriterGone { client, writer, reached }),
        2 => (client(), id(), key()).prop_map(|(client, id, key)| Step::Watch { client, id, key }),
        1 => (client(), id()).prop_map(|(client, id)| Step::Unwatch { client, id }),
        1 => client().prop_map(|client| Step::Disconnect { client }),
        2 => client().prop_map(|client| Step::Die { client }),
    ]
}

struct Request {
    client: u64,
    id: u32,
    key: LockKey,
    /// Once it is granted.
    fence: Option<u64>,
}

#[derive(Default)]
struct Model {
    requests: Vec<Request>,
    watches: Vec<(u64, u32, LockKey)>,
    died: BTreeSet<LockKey>,
    promises: HashMap<u64, (u64, u64)>,
    kept: BTreeSet<u64>,
    words: Vec<Word>,
}

fn pid(client: u64) -> u32 {
    client as u32 + 100
}

impl Model {
    fn state(&self, key: &LockKey) -> LockState {
        let mut all = self.requests.iter().filter(|request| request.key == *key);
        let holder = all.next();
        LockState {
            holder_pid: holder.map_or(0, |holder| pid(holder.client)),
            fence: holder.map_or(0, |holder| holder.fence.expect("the first holds it")),
            waiting: all.count() as u32,
            died: self.died.contains(key),
        }
    }

    /// Does something to the list; then whoever is first holds, and watchers are told what is different.
    fn change(&mut self, next: u64, change: impl FnOnce(&mut Model)) {
        let watched: BTreeSet<_> = self.watches.iter().map(|(.., key)| key.clone()).collect();
        let before: Vec<_> = watched.iter().map(|key| (key.clone(), self.state(key))).collect();
        change(self);
        let mut seen = BTreeSet::new();
        for request in &mut self.requests {
            if seen.insert(request.key.clone()) && request.fence.is_none() {
                request.fence = Some(next);
                let died = self.died.contains(&request.key);
                self.words.push((request.client, request.id, Tell::LockGranted { fence: next, died }));
            }
        }
        for (key, before) in before {
            let state = self.state(&key);
            if state != before {
                let told = self.watches.iter().filter(|(.., watched)| *watched == key);
                self.words.extend(told.map(|(client, id, _)| (*client, *id, Tell::LockState(state))));
            }
        }
    }

    fn held_by(&self, client: u64) -> Vec<u64> {
        let mut held: Vec<_> = self
            .requests
            .iter()
            .filter(|request| request.client == client)
            .filter_map(|request| request.fence)
            .collect();
        held.sort_unstable();
        held
    }

    fn forget(&mut self, client: u64) {
        self.watches.retain(|(watcher, ..)| *watcher != client);
        self.change(0, |model| model.requests.retain(|request| request.client != client || request.fence.is_some()));
    }

    fn release(&mut self, fence: u64, died: bool, next: u64) {
        self.change(next, |model| {
            let at = model.requests.iter().position(|request| request.fence == Some(fence)).expect("it is held");
            let key = model.requests.remove(at).key;
            if died && !model.kept.contains(&fence) {
                model.died.insert(key)
            } else {
                model.died.remove(&key)
            };
        });
    }

    /// Locks that have to be in the books.
    fn locks(&self) -> usize {
        let keys = self.requests.iter().map(|request| &request.key).chain(self.watches.iter().map(|(.., key)| key));
        keys.chain(&self.died).collect::<BTreeSet<_>>().len()
    }
}

/// Both, and the numbers of grants.
struct Both {
    locks: Locks,
    model: Model,
    number: u64,
}

impl Both {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn take(&mut self, step: Step) {
        let next = self.next();
        let (locks, model) = (&mut self.locks, &mut self.model);
        let used = |model: &Model, client| model.requests.iter().filter(|request| request.client == client).count();
        match step {
            Step::Acquire { client, id, key, wait } => {
                let owner = Owner { client, pid: pid(client), uid: 0, start: 0 };
                let acquired = locks.acquire(owner, id, key.clone(), wait, next);
                let LockState { holder_pid, fence, waiting, .. } = model.state(&key);
                if fence != 0 && !wait {
                    model.words.push((client, id, Tell::LockHeld { pid: holder_pid, fence, waiting }));
                } else if used(model, client) == LIMITS.0 {
                    assert_eq!(acquired.unwrap_err().code(), Code::Exhausted);
                } else {
                    acquired.unwrap();
                    model.change(next, |model| model.requests.push(Request { client, id, key, fence: None }));
                }
            }
            Step::Cancel { client, id } => {
                locks.cancel(client, id);
                let is_it = |request: &Request| (request.client, request.id, request.fence) == (client, id, None);
                model.change(next, |model| model.requests.retain(|request| !is_it(request)));
            }
            Step::Release { client, which } => {
                let Some(fence) = model.held_by(client).get(which).copied() else { return };
                assert!(locks.holds(client, fence).is_some());
                locks.release(fence, false, next);
                model.release(fence, false, next);
            }
            Step::Promise { client, which, writer, version } => {
                let Some(fence) = model.held_by(client).get(which).copied() else { return };
                locks.promise(fence, writer, version);
                model.promises.insert(fence, (writer, version));
                model.kept.remove(&fence);
            }
            Step::WriterGone { client, writer, reached } => {
                locks.writer_gone(client, writer, reached);
                for fence in model.held_by(client) {
                    if let Some((_, version)) = model.promises.get(&fence).filter(|(of, _)| *of == writer) {
                        if *version <= reached {
                            model.kept.insert(fence);
                        }
                        model.promises.remove(&fence);
                    }
                }
            }
            Step::Watch { client, id, key } => {
                let watched = locks.watch(client, id, key.clone());
                if model.watches.iter().filter(|(watcher, ..)| *watcher == client).count() == LIMITS.1 {
                    assert_eq!(watched.unwrap_err().code(), Code::Exhausted);
                } else {
                    watched.unwrap();
                    model.words.push((client, id, Tell::LockState(model.state(&key))));
                    model.watches.push((client, id, key));
                }
            }
            Step::Unwatch { client, id } => {
                locks.unwatch(client, id);
                model.watches.retain(|(watcher, watch, _)| (*watcher, *watch) != (client, id));
            }
            Step::Disconnect { client } => {
                locks.forget(client);
                model.forget(client);
            }
            Step::Die { client } => {
                locks.forget(client);
                model.forget(client);
                for fence in model.held_by(client) {
                    let next = self.next();
                    self.locks.release(fence, true, next);
                    self.model.release(fence, true, next);
                }
            }
        }
    }

    fn check(&mut self) {
        let sorted = |words: &mut Vec<Word>| {
            // Stable: what one connection is told under one id is told in this order.
            words.sort_by_key(|(client, id, _)| (*client, *id));
            std::mem::take(words)
        };
        assert_eq!(sorted(&mut self.locks.words), sorted(&mut self.model.words));
        assert_eq!(self.locks.len(), self.model.locks());
        for client in 1..=CLIENTS {
            let held = self.model.held_by(client);
            assert_eq!(self.locks.holds_any(client), !held.is_empty());
            for fence in 1..=self.number {
                assert_eq!(self.locks.holds(client, fence).is_some(), held.contains(&fence));
            }
        }
    }
}

proptest! {
    #[test]
    fn locks_are_had_one_after_the_other(steps in prop::collection::vec(step(), 1..80)) {
        let mut both = Both { locks: Locks::new(LIMITS.0, LIMITS.1), model: Model::default(), number: 0 };
        for step in steps {
            both.take(step);
            both.check();
        }
        for client in 1..=CLIENTS {
            both.take(Step::Die { client });
        }
        both.check();
        prop_assert!(both.locks.uses.is_empty() && both.locks.held.is_empty());
        prop_assert_eq!(both.locks.marked.len(), both.locks.len(), "only the marks of the dead are left");
    }
}

#[test]
fn too_many_marks_are_told_too_often_and_not_too_seldom() {
    let mut locks = Locks { most_marked: 2, ..Locks::new(10, 10) };
    let owner = Owner { client: 1, pid: 1, uid: 0, start: 0 };
    let named = |name: &str| LockKey { zone: "z".to_owned(), kind: LockKind::Named, name: name.to_owned() };
    let mut number = 0;
    let mut acquire = |locks: &mut Locks, name| {
        number += 1;
        locks.acquire(owner, 1, named(name), false, number).unwrap();
        match locks.words.pop() {
            Some((_, _, Tell::LockGranted { fence, died })) => (fence, died),
            other => panic!("{other:?}"),
        }
    };
    for name in ["a", "b", "c"] {
        let (fence, died) = acquire(&mut locks, name);
        assert!(!died);
        locks.release(fence, true, 0);
    }
    assert_eq!(locks.len(), 2);
    for name in ["a", "b", "c", "never seen"] {
        let (fence, died) = acquire(&mut locks, name);
        assert!(died, "{name}");
        locks.release(fence, false, 0);
    }
    assert_eq!(locks.len(), 0);
}

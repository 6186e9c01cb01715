//! Locks: each has one holder at most, and the others have it one after the other, in the order in which they asked.
//!
//! A lock has a name of its kind in a zone, which need not exist. Each grant has a number that is larger than that of any before, so that
//! whoever guards something with the lock can refuse a holder that has been overtaken. A lock is given back by its holder's own word, or by
//! the proven death of its process; a closed connection takes nothing back, but whoever waited on it waits no more.
//!
//! The next holder is told whether the one before died with the lock, since what it guards may then be half done. A holder that commits
//! and gives back in one step *promises* that first: the lock is given back once its writer's row has reached a version. If it dies, the
//! row tells which it was, after its last commit has been finished or buried and before the row is free for another:
//!
//! ```text
//! promised   row has reached it   told to the next holder
//! no         -                    died
//! yes        no                   died: nothing of the commit is there
//! yes        yes                  given back: all of it is there
//! ```
//!
//! A lock that nobody holds, waits for or watches is forgotten, unless its last holder died with it and nobody has been told so.

use super::quota::{check_room, unknown};
use super::registry::{Owner, Registry, invalid};
use super::session::Post;
use crate::error::Result;
use crate::wire::{LockKind, LockState, Tell, check_name};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Locks that are kept only because their last holder died. With more, whoever takes one that is not in the books is told that its last holder may
/// have died.
const MOST_MARKED: usize = 65_536;

/// Which lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LockKey {
    pub(super) zone: String,
    pub(super) kind: LockKind,
    pub(super) name: String,
}

impl LockKey {
    fn check(&self) -> Result<()> {
        let what = match self.kind {
            LockKind::Named => "lock",
            LockKind::Table => "table",
        };
        check_name("zone", &self.zone).and_then(|()| check_name(what, &self.name)).map_err(invalid)
    }
}

#[derive(Debug)]
struct Lock {
    holder: Option<Holder>,
    /// Those who wait, the first to have it first; only while there is a holder.
    queue: VecDeque<Waiter>,
    /// Whoever had it last, before the holder if there is one, died with it.
    died: bool,
    /// Connections that are told of changes, and the id of that.
    watchers: Vec<(u64, u32)>,
}

#[derive(Debug)]
struct Holder {
    client: u64,
    pid: u32,
    fence: u64,
    promise: Promise,
}

#[derive(Clone, Copy, Debug)]
struct Waiter {
    client: u64,
    pid: u32,
    id: u32,
}

/// Whether the holder has said that it gives back with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    None,
    /// Once this writer's row has reached this version.
    Upon {
        writer: u64,
        version: u64,
    },
    /// The writer has gone, and its row had reached it.
    Kept,
}

/// What a connection has to do with locks; requests with their ids.
#[derive(Debug, Default)]
struct Use {
    held: BTreeSet<u64>,
    waiting: Vec<(u32, Arc<LockKey>)>,
    watching: Vec<(u32, Arc<LockKey>)>,
}

/// Something to be told: to which connection, with which id, what.
type Word = (u64, u32, Tell);

/// The books on locks.
#[derive(Debug)]
pub(super) struct Locks {
    locks: BTreeMap<Arc<LockKey>, Lock>,
    /// The lock of each grant.
    held: BTreeMap<u64, Arc<LockKey>>,
    uses: BTreeMap<u64, Use>,
    /// Locks that are kept only because their last holder died.
    marked: BTreeSet<Arc<LockKey>>,
    /// There were too many of them.
    is_blurred: bool,
    most_marked: usize,
    /// The most locks held and waited for, and the most watched, of one connection.
    limits: (usize, usize),
    words: Vec<Word>,
}

impl Locks {
    pub(super) fn new(held: usize, watched: usize) -> Locks {
        Locks {
            locks: BTreeMap::new(),
            held: BTreeMap::new(),
            uses: BTreeMap::new(),
            marked: BTreeSet::new(),
            is_blurred: false,
            most_marked: MOST_MARKED,
            limits: (held, watched),
            words: Vec::new(),
        }
    }

    /// How many locks there are in the books.
    pub(super) fn len(&self) -> usize {
        self.locks.len()
    }

    /// Whether a connection holds a lock.
    pub(super) fn holds_any(&self, client: u64) -> bool {
        self.uses.get(&client).is_some_and(|used| !used.held.is_empty())
    }

    /// The lock of this grant, if it is the connection's.
    fn holds(&self, client: u64, fence: u64) -> Option<&Arc<LockKey>> {
        let key = self.held.get(&fence)?;
        let holder = self.locks.get(key)?.holder.as_ref()?;
        (holder.client == client).then_some(key)
    }

    /// Grants a lock under the number `fence`, or lets the request wait, or says who holds it.
    fn acquire(&mut self, owner: Owner, id: u32, key: LockKey, wait: bool, fence: u64) -> Result<()> {
        let Owner { client, pid, .. } = owner;
        let found = self.locks.get(&key);
        if let Some(Lock { holder: Some(holder), queue, .. }) = found
            && !wait
        {
            let held = Tell::LockHeld { pid: holder.pid, fence: holder.fence, waiting: count(queue.len()) };
            self.words.push((client, id, held));
            return Ok(());
        }
        let used = self.uses.get(&client).map_or(0, |used| used.held.len() + used.waiting.len());
        check_room("locks that this connection holds or waits for", used, 1, self.limits.0)?;
        let key = self.enter(key);
        let Some(lock) = self.locks.get_mut(&key) else { return Ok(()) };
        let waiter = Waiter { client, pid, id };
        if lock.holder.is_some() {
            lock.queue.push_back(waiter);
            self.uses.entry(client).or_default().waiting.push((id, key.clone()));
        } else {
            self.grant(&key, waiter, fence);
        }
        self.tell_watchers(&key);
        Ok(())
    }

    /// The lock of this key, in the books from now on.
    fn enter(&mut self, key: LockKey) -> Arc<LockKey> {
        if let Some((key, _)) = self.locks.get_key_value(&key) {
            let key = key.clone();
            self.marked.remove(&key);
            return key;
        }
        let key = Arc::new(key);
        let died = self.is_blurred;
        self.locks.insert(key.clone(), Lock { holder: None, queue: VecDeque::new(), died, watchers: Vec::new() });
        key
    }

    /// Makes somebody the holder of a lock that is free.
    fn grant(&mut self, key: &Arc<LockKey>, to: Waiter, fence: u64) {
        let Some(lock) = self.locks.get_mut(key) else { return };
        let Waiter { client, pid, id } = to;
        lock.holder = Some(Holder { client, pid, fence, promise: Promise::None });
        self.held.insert(fence, key.clone());
        self.uses.entry(client).or_default().held.insert(fence);
        self.words.push((client, id, Tell::LockGranted { fence, died: lock.died }));
    }

    /// Takes back what waits under an id.
    fn cancel(&mut self, client: u64, id: u32) {
        let Some(used) = self.uses.get_mut(&client) else { return };
        let taken: Vec<_> = used.waiting.extract_if(.., |(waiting, _)| *waiting == id).map(|(_, key)| key).collect();
        for key in &taken {
            self.leave_queue(key, |waiter| (waiter.client, waiter.id) == (client, id));
        }
        self.forget_if_idle(client);
    }

    fn leave_queue(&mut self, key: &LockKey, is_gone: impl Fn(&Waiter) -> bool) {
        let Some(lock) = self.locks.get_mut(key) else { return };
        let before = lock.queue.len();
        lock.queue.retain(|waiter| !is_gone(waiter));
        if lock.queue.len() != before {
            self.tell_watchers(key);
        }
    }

    /// A holder gives its lock back, or has died. The next in the queue gets it, under the number `next`.
    fn release(&mut self, fence: u64, died: bool, next: u64) {
        let Some(key) = self.held.remove(&fence) else { return };
        let Some(lock) = self.locks.get_mut(&key) else { return };
        let Some(holder) = lock.holder.take() else { return };
        lock.died = died && holder.promise != Promise::Kept;
        let first = lock.queue.pop_front();
        if let Some(used) = self.uses.get_mut(&holder.client) {
            used.held.remove(&fence);
        }
        self.forget_if_idle(holder.client);
        if let Some(waiter) = first {
            if let Some(used) = self.uses.get_mut(&waiter.client)
                && let Some(at) = used.waiting.iter().position(|(id, of)| *id == waiter.id && *of == key)
            {
                used.waiting.remove(at);
            }
            self.grant(&key, waiter, next);
        }
        self.tell_watchers(&key);
        self.settle(&key);
    }

    /// The holder gives the lock back once this writer's row has reached this version.
    fn promise(&mut self, fence: u64, writer: u64, version: u64) {
        let holder =
            self.held.get(&fence).and_then(|key| self.locks.get_mut(key)).and_then(|lock| lock.holder.as_mut());
        if let Some(holder) = holder {
            holder.promise = Promise::Upon { writer, version };
        }
    }

    /// A writer of a connection has gone; its row has reached this version.
    pub(super) fn writer_gone(&mut self, client: u64, writer: u64, reached: u64) {
        let Some(used) = self.uses.get(&client) else { return };
        for key in used.held.iter().filter_map(|fence| self.held.get(fence)) {
            let Some(holder) = self.locks.get_mut(key).and_then(|lock| lock.holder.as_mut()) else { continue };
            match holder.promise {
                Promise::Upon { writer: of, version } if of == writer => {
                    holder.promise = if version <= reached { Promise::Kept } else { Promise::None };
                }
                _ => {}
            }
        }
    }

    /// Tells a connection how it stands with a lock, now and at each change.
    fn watch(&mut self, client: u64, id: u32, key: LockKey) -> Result<()> {
        let used = self.uses.get(&client).map_or(0, |used| used.watching.len());
        check_room("locks that this connection watches", used, 1, self.limits.1)?;
        let key = self.enter(key);
        if let Some(lock) = self.locks.get_mut(&key) {
            lock.watchers.push((client, id));
            self.words.push((client, id, Tell::LockState(lock.state())));
        }
        self.uses.entry(client).or_default().watching.push((id, key));
        Ok(())
    }

    /// Ends watches.
    pub(super) fn unwatch(&mut self, client: u64, id: u32) {
        let Some(used) = self.uses.get_mut(&client) else { return };
        let ended: Vec<_> = used.watching.extract_if(.., |(watch, _)| *watch == id).map(|(_, key)| key).collect();
        self.forget_if_idle(client);
        for key in &ended {
            if let Some(lock) = self.locks.get_mut(key) {
                lock.watchers.retain(|watcher| *watcher != (client, id));
            }
            self.settle(key);
        }
    }

    /// A connection waits for nothing any more, and watches nothing. What it holds, it holds.
    fn forget(&mut self, client: u64) {
        let Some(used) = self.uses.get_mut(&client) else { return };
        let (waiting, watching) = (std::mem::take(&mut used.waiting), std::mem::take(&mut used.watching));
        self.forget_if_idle(client);
        for (_, key) in &watching {
            if let Some(lock) = self.locks.get_mut(key) {
                lock.watchers.retain(|(watcher, _)| *watcher != client);
            }
            self.settle(key);
        }
        for (_, key) in &waiting {
            self.leave_queue(key, |waiter| waiter.client == client);
        }
    }

    fn forget_if_idle(&mut self, client: u64) {
        let is_idle = |used: &Use| used.held.is_empty() && used.waiting.is_empty() && used.watching.is_empty();
        if self.uses.get(&client).is_some_and(is_idle) {
            self.uses.remove(&client);
        }
    }

    /// Lets a lock go that nobody has anything to do with.
    fn settle(&mut self, key: &Arc<LockKey>) {
        let Some(lock) = self.locks.get(key) else { return };
        if lock.holder.is_some() || !lock.queue.is_empty() || !lock.watchers.is_empty() {
            return;
        }
        if lock.died {
            if self.marked.len() < self.most_marked {
                self.marked.insert(key.clone());
                return;
            }
            self.is_blurred = true;
            tracing::warn!(limit = self.most_marked, "too many locks whose holders died wait to be taken");
        }
        self.locks.remove(key);
    }

    fn tell_watchers(&mut self, key: &LockKey) {
        let Some(lock) = self.locks.get(key) else { return };
        let state = lock.state();
        self.words.extend(lock.watchers.iter().map(|&(client, id)| (client, id, Tell::LockState(state))));
    }
}

impl Lock {
    fn state(&self) -> LockState {
        let (holder_pid, fence) = self.holder.as_ref().map_or((0, 0), |holder| (holder.pid, holder.fence));
        LockState { holder_pid, fence, waiting: count(self.queue.len()), died: self.died }
    }
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

impl Registry {
    /// The lock of this grant, if the connection holds it.
    pub(super) fn holds_lock(&self, client: u64, fence: u64) -> Option<&LockKey> {
        self.locks.holds(client, fence).map(|key| &**key)
    }

    fn own_lock(&self, client: u64, fence: u64) -> Result<()> {
        self.holds_lock(client, fence).map(drop).ok_or_else(|| unknown("lock under the number", fence))
    }

    pub(super) fn acquire_lock(
        &mut self,
        owner: Owner,
        id: u32,
        (key, wait): (LockKey, bool),
        post: &mut dyn Post,
    ) -> Result<()> {
        key.check()?;
        let fence = self.next_number();
        self.locks.acquire(owner, id, key, wait, fence)?;
        self.tell_of_locks(post);
        Ok(())
    }

    pub(super) fn cancel_lock(&mut self, client: u64, id: u32, post: &mut dyn Post) {
        self.locks.cancel(client, id);
        self.tell_of_locks(post);
    }

    pub(super) fn release_lock(&mut self, client: u64, fence: u64, post: &mut dyn Post) -> Result<()> {
        self.own_lock(client, fence)?;
        if self.holds_lock(client, fence).is_some_and(|key| key.kind == LockKind::Table) {
            self.end_ownership(fence, post);
        }
        let next = self.next_number();
        self.locks.release(fence, false, next);
        self.tell_of_locks(post);
        Ok(())
    }

    pub(super) fn release_lock_after(&mut self, owner: Owner, fence: u64, writer: u64, version: u64) -> Result<()> {
        self.own_lock(owner.client, fence)?;
        self.own_writer(owner, writer)?;
        self.locks.promise(fence, writer, version);
        Ok(())
    }

    pub(super) fn watch_lock(&mut self, client: u64, id: u32, key: LockKey, post: &mut dyn Post) -> Result<()> {
        key.check()?;
        self.locks.watch(client, id, key)?;
        self.tell_of_locks(post);
        Ok(())
    }

    /// A connection is closed, or its process is dead: nothing of it waits.
    pub(super) fn forget_lock_requests(&mut self, client: u64, post: &mut dyn Post) {
        self.locks.forget(client);
        self.tell_of_locks(post);
    }

    /// A connection's process is dead, and its writers have been closed, which tells what promises were kept.
    pub(super) fn release_locks_of_dead(&mut self, client: u64, post: &mut dyn Post) {
        let held = self.locks.uses.get(&client).map(|used| used.held.clone()).unwrap_or_default();
        for fence in held {
            let next = self.next_number();
            self.locks.release(fence, true, next);
        }
        self.tell_of_locks(post);
    }

    fn tell_of_locks(&mut self, post: &mut dyn Post) {
        for (client, id, tell) in std::mem::take(&mut self.locks.words) {
            post.post(client, id, tell, Vec::new());
        }
    }
}

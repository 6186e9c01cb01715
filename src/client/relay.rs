//! Descriptors that `epoll` can wait for: threads of this process that sleep on the bells for readers that wait there, and raise their
//! event descriptors. The broker has no part in it.
//!
//! One thread serves as many readers as the kernel can sleep on bells at once; where it can only sleep on one bell (before Linux 5.16), it
//! serves one reader. A thread begins with its first reader and ends with its last. The handshake is in [`crate::ring::relay`].

mod ward;

pub(crate) use ward::Ward;

use super::waiting::{Deadline, sleep_on_any};
use crate::error::{Error, Result};
use crate::os::fork::Epoch;
use crate::os::futex::{self, Expected, MOST_WORDS, Wake};
use nix::sys::signal::{SigSet, SigmaskHow};
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The threads of one connection.
pub(crate) struct Relay {
    epoch: Epoch,
    groups: Mutex<Vec<Running>>,
}

struct Running {
    group: Arc<Group>,
    /// Joined by the last reader that leaves. In a forked child there is no such thread to let go of.
    thread: ManuallyDrop<JoinHandle<()>>,
}

/// The readers of one thread.
pub(crate) struct Group {
    wards: Mutex<Vec<Arc<Ward>>>,
    /// What the thread sleeps on beside the bells: counts what it is to look at.
    news: AtomicU32,
    /// The kernel can sleep on one word only.
    single: bool,
}

impl Relay {
    pub(crate) fn new(epoch: Epoch) -> Relay {
        Relay { epoch, groups: Mutex::default() }
    }

    /// Has a reader served, from the first time that it arms.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn serve(&self, ward: &Arc<Ward>) -> Result<Arc<Group>> {
        let mut groups = lock(&self.groups);
        for running in groups.iter() {
            if running.group.take_in(ward) {
                return Ok(running.group.clone());
            }
        }
        let single = !futex::can_wait_for_any();
        let group = Arc::new(Group { wards: Mutex::new(vec![ward.clone()]), news: AtomicU32::new(0), single });
        let served = group.clone();
        // Signals are for the program's own threads: a new one begins with what its parent lets through.
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK);
        let thread = std::thread::Builder::new().name("syncline-relay".to_owned()).spawn(move || serve(&served));
        if let Ok(before) = before {
            let _ = before.thread_set_mask();
        }
        let thread = thread.map_err(Error::io("starting the thread that raises descriptors"))?;
        groups.push(Running { group: group.clone(), thread: ManuallyDrop::new(thread) });
        Ok(group)
    }

    /// Serves a reader no longer; the last one of a thread waits for that to end.
    pub(crate) fn leave(&self, group: &Arc<Group>, ward: &Arc<Ward>) {
        if !self.epoch.is_current() {
            return;
        }
        let mut groups = lock(&self.groups);
        let is_empty = {
            let mut wards = lock(&group.wards);
            wards.retain(|other| !Arc::ptr_eq(other, ward));
            wards.is_empty()
        };
        let place = groups.iter().position(|running| is_empty && Arc::ptr_eq(&running.group, group));
        let ended = place.map(|place| groups.swap_remove(place));
        drop(groups);
        group.kick(Some(ward));
        if let Some(ended) = ended {
            // A panic there has been told already.
            let _ = ManuallyDrop::into_inner(ended.thread).join();
        }
    }
}

impl Group {
    /// Whether there is room for one more.
    fn take_in(&self, ward: &Arc<Ward>) -> bool {
        let mut wards = lock(&self.wards);
        let words = |wards: &[Arc<Ward>]| wards.iter().map(|ward| ward.words()).sum::<usize>();
        // One word is `news`.
        let has_room = !self.single && words(&wards) + ward.words() < MOST_WORDS;
        if has_room {
            wards.push(ward.clone());
        }
        has_room
    }

    /// Makes the thread look at its readers anew. `gone`: one that it may still sleep for.
    pub(crate) fn kick(&self, gone: Option<&Arc<Ward>>) {
        self.news.fetch_add(1, Ordering::Release);
        let _ = futex::wake_all(&self.news);
        if self.single {
            // It may sleep on a bell instead.
            lock(&self.wards).iter().chain(gone).for_each(|ward| ward.ring());
        }
    }
}

/// What the thread does, until nobody is left.
fn serve(group: &Group) {
    let mut woken = Wake::Changed;
    loop {
        // Before the readers: whoever comes or arms after this look makes this word go on.
        let news = group.news.load(Ordering::Acquire);
        let wards = lock(&group.wards).clone();
        if wards.is_empty() {
            return;
        }
        let mut words = Vec::with_capacity(MOST_WORDS);
        words.push(Expected { word: &group.news, value: news });
        let (mut most, mut due) = (Duration::MAX, None);
        for ward in &wards {
            ward.mind();
            if let Some(longest) = ward.look(woken == Wake::TimedOut, &mut words) {
                most = most.min(longest);
                due = earlier(due, ward.due_us());
            }
        }
        let most = Deadline::after(most).or_at(due).left();
        woken = match &words[..] {
            // The bell alone: whoever kicks rings it.
            [_, bell, others @ ..] if group.single => {
                let most = if others.is_empty() { most } else { most.min(Duration::from_millis(1)) };
                sleep_on_any(&[*bell], most)
            }
            words => sleep_on_any(words, most),
        };
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

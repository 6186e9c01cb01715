//! Named locks, which the broker grants.

use super::batch::Batch;
use super::bus::process_name;
use super::link::{Link, unexpected};
use super::waiting::Deadline;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::os::fork::Epoch;
use crate::wire::{Ask, LockKind, LockState, Tell};
use std::sync::Arc;
use std::time::Duration;

/// A lock by name; from [`Zone::lock`](super::Zone::lock). Nothing is made before somebody acquires it. Cheap to clone.
///
/// One process at a time holds it, in the order in which they asked; it is given back when the [guard](LockGuard) is dropped or its process
/// dies, however that happens. It is a lock between *acquisitions*, not between threads: who asks for a lock that another guard of this
/// process holds, waits for that one as for any other, and who waits for its own guard in the same thread waits until the timeout.
///
/// Locks live in the broker: they end with it, and a new broker knows nothing of them. The zone need not exist.
///
/// # Examples
/// ```
/// # fn main() -> syncline::Result<()> {
/// use std::time::Duration;
/// let bus = syncline::Bus::embedded()?;
/// let lock = bus.zone("plant").lock("valve");
/// let guard = lock.acquire(Duration::from_secs(1))?;
/// if guard.predecessor_died() {
///     // What it was at may be half done.
/// }
/// assert!(lock.try_acquire()?.is_none(), "it is held");
/// guard.release();
/// assert!(lock.try_acquire()?.is_some());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Lock {
    link: Arc<Link>,
    zone: String,
    kind: LockKind,
    name: String,
}

impl Lock {
    pub(crate) fn named(link: Arc<Link>, zone: &str, name: &str) -> Lock {
        Lock { link, zone: zone.to_owned(), kind: LockKind::Named, name: name.to_owned() }
    }

    /// The write ownership of a table.
    pub(crate) fn of_table(link: Arc<Link>, zone: &str, name: &str) -> Lock {
        Lock { link, zone: zone.to_owned(), kind: LockKind::Table, name: name.to_owned() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes the lock if nobody holds it; else `None`.
    ///
    /// # Errors
    /// A bad name; the [limit](crate::broker::Limits::locks) of locks of a connection; no broker.
    pub fn try_acquire(&self) -> Result<Option<LockGuard>> {
        match self.link.call(self.ask(false))? {
            (Tell::LockGranted { fence, died }, _) => Ok(Some(self.guard(fence, died))),
            (Tell::LockHeld { .. }, _) => Ok(None),
            (other, _) => Err(unexpected("LockGranted", &other)),
        }
    }

    /// Waits for the lock. Those who wait get it in the order in which they asked.
    ///
    /// # Errors
    /// [`Error::Timeout`]: then the place in the queue is given up. As [`Lock::try_acquire`].
    pub fn acquire(&self, timeout: Duration) -> Result<LockGuard> {
        let id = self.link.send(self.ask(true))?;
        let answer = match self.link.next_reply(id, timeout) {
            // A grant may be under way. Once this is answered, it is there.
            Err(Error::Timeout) => match self.link.call(Ask::CancelLock { id }) {
                Ok(_) => self.link.next_reply(id, Duration::ZERO),
                Err(error) => Err(error),
            },
            answer => answer,
        };
        // A grant that comes after this is given back.
        self.link.forget(id);
        match answer? {
            (Tell::LockGranted { fence, died }, _) => Ok(self.guard(fence, died)),
            (other, _) => Err(unexpected("LockGranted", &other)),
        }
    }

    /// Watches who holds the lock and how many wait, on a connection of its own.
    ///
    /// # Errors
    /// A bad name; as [`Bus::connect`](super::Bus::connect).
    pub fn watch(&self) -> Result<LockWatch> {
        self.link.check_fork()?;
        let link = Link::connect(self.link.path(), &process_name())?;
        let Lock { zone, kind, name, .. } = self.clone();
        let id = link.send(Ask::WatchLock { zone, kind, name })?;
        let mut watch = LockWatch { link, id, first: None };
        watch.first = Some(watch.next_told(super::link::PATIENCE)?);
        Ok(watch)
    }

    fn ask(&self, wait: bool) -> Ask {
        let Lock { zone, kind, name, .. } = self.clone();
        Ask::AcquireLock { zone, kind, name, wait }
    }

    fn guard(&self, fence: u64, died: bool) -> LockGuard {
        LockGuard { epoch: self.link.epoch(), link: self.link.clone(), fence, died }
    }
}

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Lock { zone, kind, name, .. } = self;
        f.debug_struct("Lock").field("zone", zone).field("kind", kind).field("name", name).finish_non_exhaustive()
    }
}

/// A lock that is held, until this is dropped or its process dies. Send: any thread may give it back.
///
/// A process that is stopped (or whose connection to the broker is lost) goes on holding it: nobody can tell whether it will go on. What
/// is guarded can still be safe from a holder that is late, if it [remembers](LockGuard::fence) the last holder's number.
///
/// In a forked child the guard is the parent's: dropping it there does nothing.
#[must_use = "dropping it gives the lock back"]
pub struct LockGuard {
    link: Arc<Link>,
    epoch: Epoch,
    fence: u64,
    died: bool,
}

impl LockGuard {
    /// The number of this grant, larger than that of every earlier grant of this broker, of whatever lock. Whoever keeps what the lock guards
    /// can store it with each change, and refuse a change with a smaller one: its holder has been overtaken.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Whoever had the lock before died with it: what it guards may be half done. Told to one holder only: the next after that is told how
    /// *this* one ends. (A broker that has more than 65,536 such locks lying about says it once too often rather than not at all.)
    pub fn predecessor_died(&self) -> bool {
        self.died
    }

    /// Whether there is still a lock: its broker is there, and has not given up this connection. Makes no request.
    ///
    /// # Errors
    /// [`Error::NoBroker`]: a broker that comes later may grant the lock to somebody else.
    pub fn check(&self) -> Result<()> {
        self.link.check()
    }

    /// Gives the lock back; so does dropping it.
    pub fn release(self) {}

    /// Commits a batch and gives the lock back, in one step: should this process die in the middle of it, the next holder finds either all of
    /// the batch committed and the lock given back, or nothing committed and [`LockGuard::predecessor_died`].
    ///
    /// The lock is given back in any case, also if this fails.
    ///
    /// # Errors
    /// As [`Batch::commit`], and: no broker; the batch's writer is of another [`Bus`](super::Bus) than the lock. Nothing is committed then.
    /// Once it is committed there are no more errors: without a broker there is no lock either.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// # use std::time::Duration;
    /// let bus = syncline::Bus::embedded()?;
    /// let zone = bus.zone("bank");
    /// let mut writer = zone.writer("teller")?;
    /// let [from, to] = [writer.channel("from").open::<i64>()?, writer.channel("to").open::<i64>()?];
    /// let guard = zone.lock("accounts").acquire(Duration::from_secs(1))?;
    /// let mut batch = writer.batch()?;
    /// batch.push(from, &-100)?;
    /// batch.push(to, &100)?;
    /// guard.commit(batch)?;
    /// assert!(zone.lock("accounts").try_acquire()?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn commit(self, batch: Batch<'_>) -> Result<()> {
        self.promise(batch.writer())?;
        batch.commit()
    }

    /// Whether a writer is of the same connection.
    pub(crate) fn check_writer(&self, writer: &Writer) -> Result<()> {
        self.link.check_fork()?;
        if Arc::ptr_eq(&self.link, writer.link()) {
            return Ok(());
        }
        let text = "commit and release: expected a writer of the bus that the lock is of, found one of another; open both from one";
        Err(Error::Invalid(text.to_owned()))
    }

    /// Tells the broker that the lock is given back with what the writer's open batch commits.
    pub(crate) fn promise(&self, writer: &Writer) -> Result<()> {
        self.check_writer(writer)?;
        // An empty batch makes no commit.
        let Some((serial, version)) = writer.next_commit() else { return Ok(()) };
        self.link.tell(Ask::ReleaseLockAfter { fence: self.fence, writer: serial, version })
    }
}

#[cfg(feature = "capi")]
impl LockGuard {
    pub(crate) fn check_fork(&self) -> Result<()> {
        self.link.check_fork()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // In a forked child it is the parent's.
        if self.epoch.is_current() {
            // Without a broker, there is no lock.
            let _ = self.link.call(Ask::ReleaseLock { fence: self.fence });
        }
    }
}

impl std::fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockGuard")
            .field("fence", &self.fence)
            .field("predecessor_died", &self.died)
            .finish_non_exhaustive()
    }
}

const _: () = {
    const fn used_by_any_thread<T: Send + Sync>() {}
    used_by_any_thread::<Lock>();
    used_by_any_thread::<LockGuard>();
};

/// How a lock stands, and how that changes; from [`Lock::watch`].
///
/// # Examples
/// ```
/// # fn main() -> syncline::Result<()> {
/// # use std::time::Duration;
/// let bus = syncline::Bus::embedded()?;
/// let lock = bus.zone("plant").lock("valve");
/// let mut watch = lock.watch()?;
/// assert_eq!(watch.next(Duration::ZERO)?.holder_pid, 0);
/// let guard = lock.acquire(Duration::ZERO)?;
/// let state = watch.next(Duration::from_secs(1))?;
/// assert_eq!((state.holder_pid, state.fence), (std::process::id(), guard.fence()));
/// drop(guard);
/// watch.wait_free(Duration::from_secs(1))?;
/// # Ok(())
/// # }
/// ```
pub struct LockWatch {
    link: Arc<Link>,
    id: u32,
    first: Option<LockState>,
}

impl LockWatch {
    /// The next state: first how it is, then each change. Whoever leaves thousands of them untaken loses the connection.
    ///
    /// # Errors
    /// [`Error::Timeout`]; no broker.
    pub fn next(&mut self, timeout: Duration) -> Result<LockState> {
        match self.first.take() {
            Some(first) => {
                self.link.check_fork()?;
                Ok(first)
            }
            None => self.next_told(timeout),
        }
    }

    /// Waits for a state in which nobody holds the lock, and returns that. Others may be faster to take it, and it may be free for no moment at
    /// all: from one who waits to the next it passes without that.
    ///
    /// # Errors
    /// As [`LockWatch::next`].
    pub fn wait_free(&mut self, timeout: Duration) -> Result<LockState> {
        let deadline = Deadline::after(timeout);
        loop {
            let state = self.next(deadline.left())?;
            if state.holder_pid == 0 {
                return Ok(state);
            }
        }
    }

    fn next_told(&self, timeout: Duration) -> Result<LockState> {
        if timeout.is_zero() {
            // Who does not wait has not looked into the socket.
            self.link.take_in(0)?;
        }
        match self.link.next_reply(self.id, timeout)? {
            (Tell::LockState(state), _) => Ok(state),
            (other, _) => Err(unexpected("LockState", &other)),
        }
    }
}

impl std::fmt::Debug for LockWatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockWatch").finish_non_exhaustive()
    }
}

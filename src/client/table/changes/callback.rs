//! A function that is called when something has changed.

use super::{Changes, TableWatch};
use crate::client::table::TableReader;
use crate::error::{Error, Result};
use crate::os::fork::Epoch;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

/// How long the thread of a callback sleeps at most before it looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

impl TableWatch {
    /// Calls `told` whenever something has changed, on a thread of its own, until the handle is dropped.
    ///
    /// # Errors
    /// No thread can be started.
    ///
    /// # Examples
    /// ```
    /// # fn main() -> syncline::Result<()> {
    /// use std::sync::mpsc::channel;
    /// # use std::time::Duration;
    /// let bus = syncline::Bus::embedded()?;
    /// let zone = bus.zone("plant");
    /// let mut writer = zone.writer("controller")?;
    /// let table = writer.table("state").item::<f64>("level").open()?;
    /// let level = writer.item::<f64>(table, "level")?;
    ///
    /// let (sender, receiver) = channel();
    /// let watch = zone.table("state")?.watch("alarm").item("level").open()?;
    /// let on_change = watch.on_change(move |table, _changes| {
    ///     let level = table.item::<f64>("level")?;
    ///     let _ = sender.send(table.get(level)?);
    ///     Ok(())
    /// })?;
    /// writer.set(level, &0.5)?;
    /// assert_eq!(receiver.recv_timeout(Duration::from_secs(5)), Ok(0.5));
    /// on_change.stop()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_change(
        mut self,
        mut told: impl FnMut(&mut TableReader, Changes) -> Result<()> + Send + 'static,
    ) -> Result<OnChange> {
        let (epoch, ends) = (self.table.epoch(), Arc::new(AtomicBool::new(false)));
        let is_over = ends.clone();
        let run = move || {
            while !is_over.load(Ordering::Relaxed) {
                match self.next(LOOK) {
                    Ok(changes) => told(&mut self.table, changes)?,
                    Err(Error::Timeout | Error::Overtaken | Error::Early | Error::RolledBack) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        };
        let thread = std::thread::Builder::new()
            .name("syncline-change".to_owned())
            .spawn(run)
            .map_err(Error::io("starting a thread for a table's changes"))?;
        Ok(OnChange { epoch, ends, thread: Some(thread) })
    }
}

/// Keeps a callback; from [`TableWatch::on_change`]. When this is dropped, it is called no more: a call that is under way is waited for, unless it is
/// the callback that drops this.
#[derive(Debug)]
pub struct OnChange {
    epoch: Epoch,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl OnChange {
    /// Ends the calls; what ended them before, if something did.
    ///
    /// # Errors
    /// What the callback said, or the watch; [`Error::Forked`].
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    /// The thread of the callback, until it was stopped.
    pub(crate) fn thread(&self) -> Option<ThreadId> {
        self.thread.as_ref().map(|thread| thread.thread().id())
    }

    fn end(&mut self) -> Result<()> {
        if !self.epoch.is_current() {
            // A forked child has no such thread to wait for.
            std::mem::forget(self.thread.take());
            return Err(Error::Forked);
        }
        self.ends.store(true, Ordering::Relaxed);
        if self.thread() == Some(std::thread::current().id()) {
            // It ends when the callback returns.
            self.thread = None;
        }
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(ended)) => ended,
            // It has panicked, and said so.
            Some(Err(_)) | None => Ok(()),
        }
    }
}

impl Drop for OnChange {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

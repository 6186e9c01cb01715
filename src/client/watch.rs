//! Presence: who comes, leaves and dies.

use super::link::Link;
use crate::error::Result;
use crate::wire::Presence;
use std::sync::Arc;
use std::time::Duration;

/// Presence events of a zone, or of all; from [`Bus::watch`](super::Bus::watch). First comes what is there now, as `Came`.
pub struct Watch {
    link: Arc<Link>,
}

impl Watch {
    pub(crate) fn new(link: Arc<Link>) -> Self {
        Watch { link }
    }

    /// The next event.
    ///
    /// # Errors
    /// [`Error::Timeout`](crate::Error::Timeout); no broker.
    pub fn next(&mut self, timeout: Duration) -> Result<Presence> {
        self.link.next_presence(timeout)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

//! The dead and the disconnected.
//!
//! Proof of death is the pidfd. A closed socket only says that this client has no broker for now: nothing of it is taken
//! back, since it may still be reading and writing; but it can not be told of new lanes, so its readers get none.

use super::registry::Registry;
use super::session::Post;

impl Registry {
    /// A connection's process is dead: all it had opened is closed.
    pub(super) fn bury(&mut self, client: u64, post: &mut dyn Post) {
        self.notify.forget(client);
        self.forget_table_waits(client);
        let Some(owned) = self.owned.remove(&client) else { return };
        for number in owned.halts {
            self.end_halt(client, number);
        }
        // Readers first, so that the ends of its lanes are not written for itself.
        for number in owned.readers {
            self.close_reader(number, true, post);
        }
        for (number, key) in owned.table_readers {
            self.drop_table_reader(&key, number);
        }
        for serial in owned.writers {
            self.close_writer(serial, true, post);
        }
    }

    /// A connection is closed; its process may live on.
    pub(super) fn disconnect(&mut self, client: u64) {
        self.notify.forget(client);
        self.forget_table_waits(client);
        let Some(owned) = self.owned.get(&client) else { return };
        for number in &owned.readers {
            if let Some(reader) = self.readers.get_mut(number) {
                reader.connected = false;
            }
        }
        for (number, key) in owned.table_readers.clone() {
            self.disconnect_table_reader(&key, number);
        }
    }

    /// A connection has taken what was held back: those who were told something late have to look again.
    pub(super) fn remind(&self, client: u64) {
        let Some(owned) = self.owned.get(&client) else { return };
        let readers = owned.readers.iter().filter_map(|number| self.readers.get(number));
        let of_tables = owned.table_readers.values().map(|(zone, _)| *zone);
        let zones: std::collections::BTreeSet<_> = readers.map(|reader| reader.zone).chain(of_tables).collect();
        for zone in zones.iter().filter_map(|number| self.zones.get(number)) {
            zone.segments.announce();
        }
    }
}

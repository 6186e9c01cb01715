use super::deaths::Victim;
use super::*;
use crate::ring::halt;

/// A zone as somebody has it who halts it.
struct Halter {
    client: Client,
    zone: u64,
    map: ZoneMap,
}

impl Halter {
    fn new(place: &Place) -> Halter {
        let mut client = place.connect();
        let (Tell::Attached { zone, geometry, .. }, fds) = client.call(Ask::Attach { zone: "z".to_owned() }) else {
            panic!("not attached")
        };
        let map = ZoneMap::new(fds[0].as_fd(), geometry, Access::ReadWrite).unwrap();
        Halter { client, zone, map }
    }

    /// Begins a halt that does not end by itself; its token.
    fn raise(&self) -> u64 {
        let hour = 3600 * 1_000_000;
        halt::raise(&self.map.view().header.control.0, monotonic_us() + hour).expect("nobody else halts it")
    }

    /// Ends it, as far as writers know.
    fn release(&self, token: u64) {
        assert!(halt::release(&self.map.view().header.control.0, token));
    }

    fn is_halted(&self) -> bool {
        halt::is_halted(&self.map.view().header.control.0, monotonic_us())
    }

    /// Tells the broker, which has heard it when this returns.
    fn tell(&mut self, ask: fn(u64, u64) -> Ask, token: u64) {
        self.client.send(ask(self.zone, token));
        self.client.done(Ask::Sync);
    }
}

fn held(zone: u64, token: u64) -> Ask {
    Ask::HaltHeld { zone, token }
}

fn released(zone: u64, token: u64) -> Ask {
    Ask::HaltReleased { zone, token }
}

/// The zone is free before the broker is told so: whoever halts it next may be heard first, in another process or in the same one.
#[test]
fn a_halt_that_is_heard_of_before_the_last_ones_end_ends_with_its_owner() {
    isolated(|| {
        let place = Place::new();
        place.connect().done(Ask::CreateZone { zone: "z".to_owned(), options: NO_OPTIONS });
        let mut watcher = Halter::new(&place);
        let first = watcher.raise();
        watcher.tell(held, first);
        watcher.release(first);
        let other = Victim::new(|| {
            let mut other = Halter::new(&place);
            let second = other.raise();
            other.tell(held, second);
            other
        });
        watcher.tell(released, first);
        assert!(watcher.is_halted());
        other.kill();
        eventually("the other's halt ends with it", || !watcher.is_halted());

        let other = Victim::new(|| {
            let mut other = Halter::new(&place);
            let first = other.raise();
            other.tell(held, first);
            other.release(first);
            let second = other.raise();
            other.tell(held, second);
            other.tell(released, first);
            other
        });
        assert!(watcher.is_halted());
        other.kill();
        eventually("the second halt ends with its owner", || !watcher.is_halted());
    });
}

/// A halt of somebody who lives is not taken over.
#[test]
fn nobody_is_heard_as_the_owner_of_anothers_halt() {
    isolated(|| {
        let place = Place::new();
        place.connect().done(Ask::CreateZone { zone: "z".to_owned(), options: NO_OPTIONS });
        let mut owner = Halter::new(&place);
        let token = owner.raise();
        owner.tell(held, token);
        Victim::new(|| {
            let mut liar = Halter::new(&place);
            liar.tell(held, token);
            liar
        })
        .kill();
        place.until("the other's end is noticed", |stats| stats.sessions == 1);
        assert!(owner.is_halted());
    });
}

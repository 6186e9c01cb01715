//! Going to sleep just when one is woken.

use super::Random;
use std::time::{Duration, Instant};

/// How long it takes until the other of two players throws, in nanoseconds: who goes to sleep just then is thrown to while it does.
#[derive(Default)]
pub struct Timing {
    usual: u64,
}

impl Timing {
    /// Catches what the other throws in this round. The two are late in turn; who is not sees how long it takes, the other's being late
    /// included, so that the two come to terms with each other.
    pub fn wait(&mut self, round: u64, is_first: bool, random: &mut Random, catch: impl FnOnce()) {
        let start = Instant::now();
        if round.is_multiple_of(2) == is_first {
            // From half of it to as much again: more often about when it comes.
            let half = self.usual / 2;
            let wait = Duration::from_nanos(half + random.below(half + 1) + random.below(half + 1));
            while start.elapsed() < wait {
                std::hint::spin_loop();
            }
            return catch();
        }
        catch();
        let taken = start.elapsed().as_nanos() as u64;
        // What a scheduler adds now and then counts for little.
        self.usual = if self.usual == 0 { taken } else { (7 * self.usual + taken.min(4 * self.usual)) / 8 };
    }
}

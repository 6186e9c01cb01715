//! A writer that goes on whatever becomes of the broker.

use super::{LONG, Random, hear, say};
use std::time::Duration;
use syncline::Bus;

/// The role of a process: publishes the numbers below `count` in channel `c` of zone `z`, once it has three readers there, and seals an era after
/// each `era` of them; with pauses of all lengths, in some of which its readers fall asleep.
pub fn talk(count: u64, era: u64) {
    let bus = Bus::connect().expect("connect");
    let mut writer = bus.zone("z").writer("w").expect("writer");
    writer.set_room_timeout(LONG);
    let lane = writer.channel("c").open::<u64>().expect("lane");
    bus.zone("z").wait_readers("c", 3, LONG).expect("readers");
    let mut random = Random(0x7a1c);
    for value in 0..count {
        writer.publish(lane, &value).expect("publish");
        if value % era == era - 1 {
            writer.edge().expect("edge");
        }
        (0..random.below(5000)).for_each(|_| std::hint::spin_loop());
        if random.below(100) == 0 {
            std::thread::sleep(Duration::from_micros(random.below(300)));
        }
    }
    say("said", count);
    hear();
}

//! Publishes as many messages of 48 bytes as its argument says, to nobody: `cargo xtask cost` counts what one of them costs.

use syncline::{Bus, Result};

type Sample = [u64; 6];

fn main() -> Result<()> {
    let count: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1000);
    let bus = Bus::embedded()?;
    let mut writer = bus.zone("cost").writer("cost")?;
    let lane = writer.channel("c").open::<[u64]>()?;
    for number in 0..count {
        let sample: Sample = [number; 6];
        writer.publish(lane, &sample[..])?;
    }
    Ok(())
}

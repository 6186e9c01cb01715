//! Prints the poses of the example `publisher`, era by era: `cargo run --example subscriber`. Ends when the publisher has gone.

use std::time::Duration;
use syncline::{Bus, Error, Result, describe};

#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Pose {
    x: f64,
    y: f64,
}

describe!(Pose as "example.pose" { x: f64, y: f64 });

fn main() -> Result<()> {
    let bus = Bus::connect()?;
    let zone = bus.zone("example");
    let mut reader = zone.reader("subscriber.rs").channel::<Pose>("pose").channel::<[u8]>("note").synced().open()?;
    let mut closed = 0;
    while closed < 2 {
        let mut era = match reader.next_era(Duration::from_secs(60)) {
            Ok(era) => era,
            // Told once for each channel.
            Err(Error::Closed(_)) => {
                closed += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let (number, mut poses, mut notes) = (era.number(), Vec::new(), Vec::new());
        while let Some(message) = era.next()? {
            match message.channel() {
                "pose" => poses.push(message.copy::<Pose>()?),
                _ => notes.push(String::from_utf8_lossy(&message.to_vec()?).into_owned()),
            }
        }
        // As many of one as of the other: they were published together.
        println!(
            "era {number}: {} poses, {} notes, last {:?} {:?}",
            poses.len(),
            notes.len(),
            poses.last(),
            notes.last()
        );
    }
    Ok(())
}

//! Publishes poses and a note about each, as batches, and seals every tenth: `cargo run --example publisher [COUNT]`.
//!
//! Needs a broker (`syncline broker`), and waits for a reader: the example `subscriber`, or the C one.

use std::time::Duration;
use syncline::{Bus, Result, describe};

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Pose {
    x: f64,
    y: f64,
}

describe!(Pose as "example.pose" { x: f64, y: f64 });

fn main() -> Result<()> {
    let count: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(100);
    let bus = Bus::connect()?;
    let zone = bus.zone("example");
    let mut writer = zone.writer("publisher.rs")?;
    let poses = writer.channel("pose").open::<Pose>()?;
    let notes = writer.channel("note").open::<[u8]>()?;
    writer.set_room_timeout(Duration::from_secs(5));
    zone.wait_readers("note", 1, Duration::from_secs(60))?;

    let mut era = 0;
    for number in 0..count {
        let mut batch = writer.batch()?;
        batch.push(poses, &Pose { x: f64::from(number), y: -0.5 * f64::from(number) })?;
        batch.push(notes, format!("pose {number}").as_bytes())?;
        batch.commit()?;
        if number % 10 == 9 {
            era = writer.edge()?;
        }
    }
    era = era.max(writer.edge()?);
    println!("published {count} poses in {era} eras");
    Ok(())
}

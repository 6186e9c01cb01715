//! Publishes as many messages of 48 bytes as its first argument says, to nobody; with a second one, runs an edge after each, in a
//! zone of so many writers. `cargo xtask cost` counts what one of them costs.

use syncline::{Bus, Result, Writer};

type Sample = [u64; 6];

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map_while(|argument| argument.parse().ok());
    let count: u64 = arguments.next().unwrap_or(1000);
    let writers: u64 = arguments.next().unwrap_or(0);
    let bus = Bus::embedded()?;
    let zone = bus.zone("cost");
    let mut writer = zone.writer("cost")?;
    let _idle: Vec<Writer> = (1..writers).map(|_| zone.writer("idle")).collect::<Result<_>>()?;
    let lane = writer.channel("c").open::<[u64]>()?;
    // One place that publishes, so that it is compiled as where there are no edges.
    let between_edges = if writers == 0 { count } else { 1 };
    let mut number = 0;
    while number < count {
        let next = number + between_edges;
        for number in number..next {
            let sample: Sample = [number; 6];
            writer.publish(lane, &sample[..])?;
        }
        number = next;
        if writers > 0 {
            writer.edge()?;
        }
    }
    Ok(())
}

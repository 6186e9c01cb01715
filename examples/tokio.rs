//! Takes whole eras in an asynchronous program, beside a clock that ticks: what `publisher` says, until that is gone.
//!
//!     cargo run --example tokio --features tokio

use std::time::Duration;
use syncline::{AsyncReader, Bus, Error};
use tokio_stream::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> syncline::Result<()> {
    let bus = Bus::connect()?;
    let reader = bus.zone("example").reader("tokio").any("pose").any("note").synced().open()?;
    let mut reader = AsyncReader::new(reader)?;
    let mut eras = reader.eras();
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    let (mut ticks, mut left) = (0, 2);
    while left > 0 {
        tokio::select! {
            _ = clock.tick() => ticks += 1,
            era = eras.next() => match era {
                Some(Ok(era)) => println!("era {}: {} messages", era.number, era.messages.len()),
                // Once for each of the two channels.
                Some(Err(Error::Closed(_))) => left -= 1,
                Some(Err(error)) => return Err(error),
                None => break,
            },
        }
    }
    eprintln!("{ticks} ticks meanwhile");
    Ok(())
}

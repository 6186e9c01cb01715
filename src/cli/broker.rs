//! `syncline broker`: runs the broker until a signal.

use super::exit::{Exit, Outcome};
use super::interrupt::Interrupt;
use crate::broker::{Broker, Config};
use std::io::Write;
use std::path::PathBuf;

/// Runs `broker`.
pub(super) fn run(socket: Option<PathBuf>) -> Outcome {
    let interrupt = Interrupt::catch()?;
    let broker = Broker::bind(Config { socket, ..Config::default() })?;
    let stopper = broker.stopper();
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            interrupt.wait();
            stopper.stop();
        })
        .map_err(Exit::io("starting a thread"))?;
    // Whoever started us may wait for this line, or not read it at all.
    let mut output = std::io::stdout();
    let _ = writeln!(output, "syncline broker at {}", broker.socket().display()).and_then(|()| output.flush());
    broker.run()?;
    Ok(())
}

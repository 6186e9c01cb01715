//! Sealing what a command has published, whatever the zone's edges wait for.

use super::exit::Outcome;
use super::interrupt::Interrupt;
use crate::client::Writer;
use crate::error::Error;
use std::time::Duration;

/// The pause between looks at a zone that is halted, or in lockstep: there is nothing to sleep on that a signal ends, too.
pub(super) const PAUSE: Duration = Duration::from_millis(1);

/// Seals what a writer has published: runs an edge or, in lockstep, gives the writer's permit and waits until the edge has passed. A
/// signal ends the wait. (The writer says [`Error::Halted`], and does not wait for the end of that.)
pub(super) fn seal(writer: &mut Writer, interrupt: &Interrupt) -> Outcome {
    if edge(writer, interrupt)? { Ok(()) } else { permit(writer, interrupt) }
}

/// The same for a writer that leaves then: in lockstep, that is as good as its permit.
pub(super) fn seal_the_rest(writer: &mut Writer, interrupt: &Interrupt) -> Outcome {
    edge(writer, interrupt).map(drop)
}

/// Runs an edge; false: the zone is in lockstep.
fn edge(writer: &mut Writer, interrupt: &Interrupt) -> Outcome<bool> {
    loop {
        match writer.edge() {
            Ok(_) => return Ok(true),
            // Overtaken by others' edges, again and again: they made progress, so may we.
            Err(Error::Timeout) => {}
            Err(Error::Halted) => pause(interrupt)?,
            Err(Error::Invalid(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

fn permit(writer: &mut Writer, interrupt: &Interrupt) -> Outcome {
    let era = loop {
        match writer.permit() {
            Ok(era) => break era,
            Err(Error::Halted) => pause(interrupt)?,
            Err(error) => return Err(error.into()),
        }
    };
    while writer.generation()? < era {
        pause(interrupt)?;
    }
    Ok(())
}

/// Waits a little; an error if there was a signal.
pub(super) fn pause(interrupt: &Interrupt) -> Outcome {
    interrupt.check()?;
    std::thread::sleep(PAUSE);
    Ok(())
}

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
/// (Edges in lockstep carry no tag.)
pub(super) fn seal(writer: &mut Writer, tag: Option<u64>, interrupt: &Interrupt) -> Outcome {
    if edge(writer, tag, interrupt)? {
        return Ok(());
    }
    let era = permit(writer, interrupt)?;
    while writer.generation()? < era {
        pause(interrupt)?;
    }
    Ok(())
}

/// The same for a writer that leaves then: in lockstep it does not wait for the edge.
pub(super) fn seal_the_rest(writer: &mut Writer, interrupt: &Interrupt) -> Outcome {
    if edge(writer, None, interrupt)? { Ok(()) } else { permit(writer, interrupt).map(drop) }
}

/// Runs an edge; false: the zone is in lockstep.
fn edge(writer: &mut Writer, tag: Option<u64>, interrupt: &Interrupt) -> Outcome<bool> {
    loop {
        let sealed = match tag {
            Some(tag) => writer.edge_tagged(tag),
            None => writer.edge(),
        };
        match sealed {
            Ok(_) => return Ok(true),
            // Overtaken by others' edges, again and again: they made progress, so may we.
            Err(Error::Timeout) => {}
            Err(Error::Halted) => pause(interrupt)?,
            Err(Error::Invalid(_)) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives the writer's permit; for which era.
fn permit(writer: &mut Writer, interrupt: &Interrupt) -> Outcome<u64> {
    loop {
        match writer.permit() {
            Ok(era) => return Ok(era),
            Err(Error::Halted) => pause(interrupt)?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits a little; an error if there was a signal.
pub(super) fn pause(interrupt: &Interrupt) -> Outcome {
    interrupt.check()?;
    std::thread::sleep(PAUSE);
    Ok(())
}

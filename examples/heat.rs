//! A heat equation, split by domain over several processes that go in lockstep: `cargo run --example heat PART PARTS ROUNDS`.
//!
//! A rod of `CELLS` cells; each process has a part of it. A round: read CURR, the cells at the parts' borders as they are now; work out
//! the next step; write NEXT, the own border; give the permit. The edge passes when all have, so nobody ever computes with a neighbour's
//! older or newer cells, and the result is the same, bit for bit, as with one process (`heat 0 1 ROUNDS`). `examples/c/heat.c` is the same
//! program in C: the parts can be mixed.
//!
//! Needs a broker (`syncline broker`); start all parts, in any order.

use std::time::Duration;
use syncline::{Bus, Result, describe};

const CELLS: usize = 96;
/// Thermal diffusivity, times the time step, over the square of a cell's length.
const ALPHA: f64 = 0.24;
/// What the rod's ends are held at.
const ENDS: [f64; 2] = [1.0, -0.25];
const LONG: Duration = Duration::from_secs(60);

/// The first and last cell of a part, after so many rounds.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Border {
    round: u32,
    part: u32,
    first: f64,
    last: f64,
}

describe!(Border as "heat.border" { round: u32, part: u32, first: f64, last: f64 });

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let (Some(Ok(part)), Some(Ok(parts)), Some(Ok(rounds))) = (arguments.next(), arguments.next(), arguments.next())
    else {
        eprintln!("usage: heat PART PARTS ROUNDS");
        std::process::exit(2);
    };
    // The heat is anywhere at first, but the same for any number of parts.
    let start = |part: u32| part as usize * CELLS / parts as usize;
    let (begin, end) = (start(part), start(part + 1));
    let mut cells: Vec<f64> = (begin..end).map(|cell| ((cell * 37) % 101) as f64 / 101.0).collect();

    let bus = Bus::connect()?;
    let zone = bus.zone("heat").lockstep(LONG);
    let mut writer = zone.writer("part")?;
    let borders = writer.channel("border").open::<Border>()?;
    let mut reader = zone.reader("part").channel::<Border>("border").synced().open()?;
    // Nobody gives a permit before all are there.
    zone.wait_readers("border", parts, LONG)?;

    for round in 0..=rounds {
        // NEXT: what this part is now.
        let border = Border { round, part, first: cells[0], last: cells[cells.len() - 1] };
        writer.publish(borders, &border)?;
        writer.permit()?;
        // CURR: what all were when the edge passed.
        let (mut left, mut right, mut seen) = (ENDS[0], ENDS[1], 0);
        let mut era = reader.next_era(LONG)?;
        while let Some(message) = era.next()? {
            let border: Border = message.copy()?;
            assert_eq!(border.round, round, "part {} is in another round", border.part);
            seen += 1;
            if border.part + 1 == part {
                left = border.last;
            } else if border.part == part + 1 {
                right = border.first;
            }
        }
        assert_eq!(seen, parts, "round {round}: a part is missing");
        if round < rounds {
            step(&mut cells, left, right);
        }
    }
    print(&cells);
    Ok(())
}

/// One step of the heat equation.
fn step(cells: &mut [f64], left: f64, right: f64) {
    let mut before = left;
    for index in 0..cells.len() {
        let here = cells[index];
        let after = cells.get(index + 1).copied().unwrap_or(right);
        cells[index] = here + ALPHA * (before - 2.0 * here + after);
        before = here;
    }
}

/// The cells, bit for bit.
fn print(cells: &[f64]) {
    for cell in cells {
        println!("{:016x}", cell.to_bits());
    }
}

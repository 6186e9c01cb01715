//! A process of a demo: started by the demo's own process, waits for its word, ends with it.

use super::super::Place;
use super::super::exit::{Exit, Outcome};
use super::sample::{Cpu, Memory, Network};
use super::{host, torn};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

/// Arguments of a part.
#[derive(clap::Args, Debug)]
pub(in crate::cli) struct Arguments {
    /// What it does
    role: Role,
    /// The process that started it
    parent: i32,
}

/// What a process of a demo does.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Samples the CPU.
    Cpu,
    /// Samples the memory.
    Memory,
    /// Samples the network.
    Network,
    /// Closes eras.
    Edges,
    /// Moves money.
    Mover,
    /// Adds the accounts up, live.
    Live,
    /// Adds the accounts up by eras.
    Synced,
}

impl Role {
    /// Its name, as an argument and for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Role::Cpu => "cpu",
            Role::Memory => "memory",
            Role::Network => "network",
            Role::Edges => "edges",
            Role::Mover => "mover",
            Role::Live => "live",
            Role::Synced => "synced",
        }
    }
}

/// Runs a part.
pub(in crate::cli) fn run(arguments: &Arguments, place: &Place) -> Outcome {
    set_pdeathsig(Signal::SIGKILL).map_err(|errno| Exit::io("asking to die with the parent")(errno.into()))?;
    if getppid() != Pid::from_raw(arguments.parent) {
        return Err(Exit::Failed("the demo has ended already".to_owned()));
    }
    let bus = place.connect()?;
    match arguments.role {
        Role::Cpu => host::write::<Cpu>(&bus),
        Role::Memory => host::write::<Memory>(&bus),
        Role::Network => host::write::<Network>(&bus),
        Role::Edges => host::close_eras(&bus),
        Role::Mover => torn::mover(&bus),
        Role::Live => torn::live(&bus),
        Role::Synced => torn::synced(&bus),
    }
}

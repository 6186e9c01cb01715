//! Every test there is, models included.

use crate::{cargo, succeed};
use std::process::Command;

/// Runs all tests.
pub(crate) fn run() -> Result<(), String> {
    succeed(&mut cargo(&["test", "--workspace", "--features", "syncline/tokio"]))?;
    succeed(&mut models(&["ring::models"]))
}

/// The models: the core compiled with loom's atomics, in a target directory of its own.
pub(crate) fn models(arguments: &[&str]) -> Command {
    let mut command = cargo(&[
        "test",
        "--release",
        "--package",
        "syncline",
        "--no-default-features",
        "--lib",
        "--target-dir",
        "target/loom",
        "--",
    ]);
    command.args(arguments).env("RUSTFLAGS", "--cfg loom");
    command
}

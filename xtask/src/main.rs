//! The project's own commands: `cargo xtask test`, `cargo xtask full NAME`, `cargo xtask install`.

mod cost;
mod full;
mod install;
mod mutants;
mod test;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const HELP: &str = "\
cargo xtask COMMAND

  test          every test: unit, integration and C tests, documentation examples, and the models under loom
  full NAME     the full form of a test that runs in a quick form otherwise; its result goes to docs/full/NAME.md
                (no NAME: lists them)
  cost          what one publish and one edge cost: instructions (valgrind) and system calls (strace)
  install --prefix DIR
                what a C program needs: DIR/include/syncline.h, DIR/lib/libsyncline.so and .a, syncline.pc for pkg-config
  mutants [--write] [SITE]...
                weakens every memory ordering of src/ring, one at a time, and runs the models: each has to fail.
                SITE: only those whose names begin so; --write: puts the result into docs/mutants.md
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments.as_slice() {
        ["test"] => test::run(),
        ["full", names @ ..] => full::run(names),
        ["cost"] => cost::run(),
        ["install", "--prefix", prefix] => install::run(prefix).map_err(|error| format!("install: {error}")),
        ["mutants", rest @ ..] => mutants::run(rest.iter().map(|&word| word.to_owned()).collect()),
        _ => Err(HELP.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// cargo, at the top of the project.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command to its end, which must be a success.
fn succeed(command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}")) }
}

//! Chores of the project: `cargo xtask <chore>`.

mod mutants;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask mutants [--write] [SITE]...

  mutants   weakens every memory ordering of src/ring, one at a time, and runs the loom models: each has to fail.
            SITE: only the sites whose names begin so.  --write: put the result into docs/mutants.md";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let result = match args.next().as_deref() {
        Some("mutants") => mutants::run(args.collect()),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

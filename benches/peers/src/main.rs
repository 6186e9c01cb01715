//! The same work through Syncline and its peers, in one run on the same two cores: `cargo run --release --manifest-path
//! benches/peers/Cargo.toml` prints the tables, `--write` also puts them into docs/peers.md.

mod arena;
mod arguments;
mod boards;
mod child;
mod measure;
mod peer;
mod peers;
mod report;
mod rounds;

use clap::Parser;

/// What can go wrong here is only ever told to people.
type Failure = Box<dyn std::error::Error>;
type Result<T> = std::result::Result<T, Failure>;

fn main() -> Result<()> {
    match arguments::Arguments::parse() {
        arguments::Arguments { child: Some(place), .. } => child::serve(&place),
        arguments => {
            let found = rounds::run(&arguments)?;
            let text = report::markdown(&arguments, &found);
            print!("{text}");
            if arguments.write {
                let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/peers.md");
                std::fs::write(path, text)?;
            }
            Ok(())
        }
    }
}

//! Counts what the example `publisher` says, in a loop of its own over `epoll`, with the keyboard beside it: `cargo run --example epoll`.
//! A line from the keyboard is answered with the count so far. Ends when the publisher has gone.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use syncline::{Bus, Error};

const READER: u64 = 1;
const KEYBOARD: u64 = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = Bus::connect()?;
    let mut reader = bus.zone("example").reader("epoll.rs").any("pose").any("note").open()?;

    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(reader.pollable()?, EpollEvent::new(EpollFlags::EPOLLIN, READER))?;
    // A file is always readable, and epoll does not take it.
    let _ = epoll.add(std::io::stdin(), EpollEvent::new(EpollFlags::EPOLLIN, KEYBOARD));

    let (mut messages, mut bytes, mut left) = (0, 0, 2);
    while left > 0 {
        let mut events = [EpollEvent::empty(); 2];
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..count] {
            match event.data() {
                READER => loop {
                    match reader.try_recv() {
                        Ok(Some(message)) => {
                            messages += 1;
                            bytes += message.len();
                        }
                        // From here on the descriptor says when there is more.
                        Ok(None) => break,
                        // Once for each of the two channels.
                        Err(Error::Closed(_)) => left -= 1,
                        Err(error) => return Err(error.into()),
                    }
                },
                // As much as there is: what a buffer of ours held back, epoll would not tell of.
                _ => match nix::unistd::read(std::io::stdin(), &mut [0; 256])? {
                    0 => epoll.delete(std::io::stdin())?,
                    _ => println!("{messages} messages so far"),
                },
            }
        }
    }
    println!("{messages} messages, {bytes} bytes");
    Ok(())
}

//! Eras of the past, and what is kept of writers that have gone.

use crate::harness::Broker;
use serde_json::json;

#[test]
fn a_reader_starts_at_an_era() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z", "--keep-eras", "10"], b"").succeeded();
    broker.run(&["pub", "c", "--zone", "z", "--edge", "each"], b"1\n2\n3\n").succeeded();
    let sub = |options: &[&str]| {
        broker.run(&[&["sub", "c", "--zone", "z", "--until-closed"][..], options].concat(), b"").succeeded()
    };
    assert_eq!(sub(&["--from-era", "2", "--synced"]).text(), "2\n3\n");
    assert_eq!(sub(&["--from-era", "3"]).text(), "3\n");
    let marked = sub(&["--from-era", "2", "--markers"]);
    assert!(marked.text().starts_with("2\n-- era 2: exact --\n3\n-- era 3: exact --\n"), "{}", marked.text());
    // Long read, and still there.
    assert_eq!(sub(&["--from-era", "1", "--synced"]).text(), "1\n2\n3\n");
    let generation = broker.show("z")["era"].as_u64().unwrap();
    let whole = "the oldest that is whole is 1";
    for mode in [&[][..], &["--synced"], &["--markers"]] {
        let era = (generation + 2).to_string();
        let arguments = [&["sub", "c", "--zone", "z", "--from-era", &era][..], mode].concat();
        broker.run(&arguments, b"").failed(5, &[&format!("era {era} is not to be had"), whole]);
    }
}

#[test]
fn an_era_that_was_overwritten_is_refused() {
    let broker = Broker::start();
    let input: String = (0..40).map(|number| format!("{number:0200}\n")).collect();
    let mut writer = broker.spawn(&["pub", "c", "--capacity", "4K", "--edge", "each"]);
    writer.write(input.as_bytes());
    crate::harness::eventually("all eras", || broker.list().iter().any(|zone| zone["era"] == 40));
    let refused = broker.run(&["sub", "c", "--synced", "--from-era", "1"], b"").failed(5, &["era 1 is not to be had"]);
    let oldest = refused.err.split("the oldest that is whole is ").nth(1).unwrap();
    let oldest = oldest.split(',').next().unwrap().to_owned();
    assert!((2..=40).contains(&oldest.parse::<u64>().unwrap()), "{}", refused.err);
    let arguments = ["sub", "c", "--synced", "--from-era", &oldest, "--count", "1", "--json"];
    let first = broker.run(&arguments, b"").succeeded().json().remove(0);
    let number = first["text"].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!((first["era"].to_string(), (number + 1).to_string()), (oldest.clone(), oldest));
    writer.wait().succeeded();
}

#[test]
fn what_is_kept_is_listed() {
    let broker = Broker::start();
    broker.run(&["zone", "create", "z", "--keep-eras", "2"], b"").succeeded();
    broker.run(&["pub", "c", "--zone", "z", "--capacity", "8K"], b"1\n").succeeded();
    broker.run(&["pub", "c", "--zone", "z", "--capacity", "4K"], b"2\n").succeeded();
    let zone = broker.show("z");
    assert_eq!((&zone["channels"][0]["kept"], &zone["channels"][0]["writers"]), (&2.into(), &0.into()));
    let lane = &zone["lanes"][0];
    assert_eq!((&lane["state"], &lane["bytes"], &lane["name"]), (&"kept".into(), &8192.into(), &json!(null)));
    let text = broker.run(&["ls"], b"").succeeded();
    assert!(text.text().contains("KEPT") && text.text().contains("2 lanes"), "{}", text.text());
    let text = broker.run(&["zone", "show", "z"], b"").succeeded();
    assert!(text.text().contains("(gone)") && text.text().contains("  kept\n"), "{}", text.text());
    let (reader, tail) = broker.tail(&["sub", "c", "--zone", "z", "--synced", "--from", "oldest"]);
    assert_eq!(tail.wait(2), ["1", "2"]);
    // Done with an era is who has gone on to the next, or waits for it.
    crate::harness::eventually("what the reader has taken", || broker.show("z")["readers"][0]["taken"] == zone["era"]);
    let text = broker.run(&["zone", "show", "z"], b"").succeeded();
    assert!(text.text().contains(&format!("synced  era {}", zone["era"])), "{}", text.text());
    reader.signal(nix::sys::signal::Signal::SIGINT);
    reader.wait().failed(130, &[]);
    // As many eras later they are gone.
    for _ in 0..3 {
        broker.run(&["zone", "edge", "z"], b"").succeeded();
    }
    crate::harness::eventually("nothing is kept", || broker.show("z")["lanes"].as_array().unwrap().is_empty());
    let text = broker.run(&["ls"], b"").succeeded();
    assert!(!text.text().contains("KEPT"), "{}", text.text());
}

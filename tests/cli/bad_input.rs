//! Bad input: a clear error for who did it, and the others go on.

use crate::harness::{Broker, Running, syncline};

/// The broker still serves others.
fn others_go_on(broker: &Broker) {
    let reader = broker.spawn(&["sub", "others", "--count", "1"]);
    broker.run(&["pub", "others", "--wait-readers", "1"], b"fine\n").succeeded();
    assert_eq!(reader.wait().succeeded().text(), "fine\n");
}

#[test]
fn names_that_can_not_be() {
    let broker = Broker::start();
    let long = "x".repeat(129);
    for (name, said) in [("a\x1b[31m", "control characters"), ("", "1 to 128 bytes"), (&long, "found 129")] {
        for arguments in
            [&["pub", name][..], &["sub", name], &["pub", "c", "--zone", name], &["pub", "c", "--name", name]]
        {
            let done = broker.run(arguments, b"x\n").failed(1, &[said]);
            assert!(!done.err.contains('\x1b'), "a control character reached the terminal: {:?}", done.err);
        }
    }
    broker.run(&["pub", &"x".repeat(128)], b"x\n").succeeded();
    others_go_on(&broker);
}

#[test]
fn a_line_over_the_limit() {
    let broker = Broker::start();
    let reader = broker.spawn(&["sub", "c", "--synced", "--until-closed"]);
    let input = b"12345678\n1\n123456789\n2\n";
    broker
        .run(&["pub", "c", "--wait-readers", "1", "--max-len", "8"], input)
        .failed(1, &["line 3: longer than the limit of 8 bytes", "--max-len"]);
    assert_eq!(reader.wait().succeeded().text(), "12345678\n1\n");
    broker.run(&["pub", "c", "--capacity", "4K"], &[b'x'; 5000]).failed(1, &["line 1: longer than the limit of "]);
    others_go_on(&broker);
}

#[test]
fn sizes_that_can_not_be() {
    let broker = Broker::start();
    broker.run(&["pub", "c", "--capacity", "2G"], b"").failed(1, &["1073741824"]);
    broker.run(&["pub", "c", "--capacity", "4K", "--max-len", "8K"], b"").failed(1, &["4096"]);
    others_go_on(&broker);
}

#[test]
fn a_channel_that_must_exist() {
    let broker = Broker::start();
    broker.run(&["sub", "nowhere", "--must-exist"], b"").failed(1, &["nowhere"]);
    let writer = broker.spawn(&["pub", "here"]);
    crate::harness::eventually("the writer", || !broker.list().is_empty());
    let reader = broker.spawn(&["sub", "here", "--must-exist", "--until-closed"]);
    crate::harness::eventually("the reader", || broker.list()[0]["readers"][0]["name"] == "sub");
    writer.wait().succeeded();
    reader.wait().succeeded();
    others_go_on(&broker);
}

#[test]
fn wrong_usage() {
    for arguments in [
        &[][..],
        &["nonsense"],
        &["pub"],
        &["sub"],
        &["pub", "c", "--edge", "sometimes"],
        &["pub", "c", "--edge", "0"],
        &["pub", "c", "--timeout", "1"],
        &["pub", "c", "--capacity", "many"],
        &["sub", "c", "--live", "--synced"],
        &["sub", "c", "--from", "yesterday"],
        &["sub", "c", "--timeout", "soon"],
        &["sub", "--frames"],
        &["sub", "c", "--frames"],
        &["sub", "--frames", "--zone", "z", "--json"],
        &["sub", "--frames", "--zone", "z", "--live"],
        &["pub", "--frames"],
        &["pub", "c", "--frames", "--zone", "z"],
        &["pub", "--frames", "--zone", "z", "--edge", "each"],
        &["demo", "--seconds", "-1"],
    ] {
        let done = Running::new(syncline().args(arguments)).wait();
        assert_eq!(done.status, 2, "{arguments:?}: {}", done.err);
    }
}

#[test]
fn help_documents_the_exit_status() {
    for arguments in [&["help"][..], &["--help"]] {
        let done = Running::new(syncline().args(arguments)).wait().succeeded();
        assert!(done.text().contains("Exit status: 0 done; 1 failure"), "{}", done.text());
    }
    assert!(Running::new(syncline().arg("--version")).wait().succeeded().text().starts_with("syncline "));
}

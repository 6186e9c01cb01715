use super::*;
use crate::os::testing::{join_child, spawn_child};
use nix::sys::signal::{Signal, kill};

#[test]
fn one_broker_at_a_path() {
    isolated(|| {
        let mut place = Place::new();
        let config = || Config { socket: Some(place.socket()), ..Config::default() };
        let error = Broker::bind(config()).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.code(), Code::Io);
        assert!(text.contains("another broker") && text.contains(&std::process::id().to_string()), "{text}");
        place.connect();
        let socket = place.socket();
        place.broker.take().unwrap().stop().unwrap();
        assert!(!socket.exists());
        Broker::bind(Config { socket: Some(socket), ..Config::default() }).unwrap();
    });
}

#[test]
fn stopping_closes_every_connection_and_nothing_else() {
    isolated(|| {
        let mut place = Place::new();
        let fds_without = open_fds();
        let mut client = place.connect();
        let mut writer = client.writer("z");
        let mut out = client.lane(&writer, "a");
        let reader = client.reader("z", &["a"]);
        drop(place.broker.take());
        assert!(!place.socket().exists());
        client.ended();
        out.publish(&mut writer, 3, true);
        assert_eq!(reader.lanes[0].read(0).0, [3], "messages go on flowing");
        drop((writer, out, reader));
        assert!(open_fds() < fds_without, "the broker's own descriptors are closed");
    });
}

#[test]
fn a_stopper_stops_from_anywhere() {
    isolated(|| {
        let place = Place::new();
        let broker =
            Broker::bind(Config { socket: Some(place.directory.path().join("second.sock")), ..Config::default() });
        let broker = broker.unwrap();
        assert_eq!(broker.socket(), place.directory.path().join("second.sock"));
        let stopper = broker.stopper();
        let thread = std::thread::spawn(move || broker.run());
        stopper.stop();
        stopper.stop();
        thread.join().unwrap().unwrap();
        stopper.stop();
    });
}

#[test]
fn a_killed_broker_is_replaced() {
    isolated(|| {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("broker.sock");
        let config = || Config { socket: Some(socket.clone()), ..Config::default() };
        let child = spawn_child(|| Broker::bind(config()).unwrap().run().is_ok());
        eventually("it is there", || Conn::connect(&socket).is_ok());
        kill(child, Signal::SIGKILL).unwrap();
        join_child(child);
        assert!(socket.exists());
        let broker = Broker::spawn(config()).unwrap();
        Client::hello(broker.socket()).done(Ask::Sync);
    });
}

#[test]
fn a_forked_child_does_not_stop_its_parents_broker() {
    isolated(|| {
        let mut place = Place::new();
        let mut broker = place.broker.take();
        let child = spawn_child(|| {
            drop(broker.take());
            true
        });
        assert_eq!(join_child(child), 0);
        place.broker = broker;
        place.connect().done(Ask::Sync);
    });
}

#[test]
fn clients_on_many_threads() {
    isolated(|| {
        let place = Place::new();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let place = &place;
                scope.spawn(move || {
                    for round in 0..20 {
                        let mut client = place.connect();
                        let writer = client.writer(&format!("z{}", (thread + round) % 3));
                        client.lane(&writer, "a");
                        let reader = client.reader(&format!("z{}", round % 3), &["a", "b"]);
                        client.done(Ask::CloseReader { reader: reader.number });
                        client.done(Ask::CloseWriter { writer: writer.serial });
                    }
                });
            }
        });
        place.until("nothing is left", |stats| stats == Stats::default());
    });
}

//! The bench's clients of other servers, each against the real one.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use quoth_bench::check::Checker;
use quoth_bench::outcome::Check;
use quoth_bench::payload::{self, Stamp};
use quoth_bench::rival::{Kind, Rival, RivalReceiver, RivalSender, StartOptions};
use quoth_bench::system::{Client as _, Part, Received, Receiver as _, Sender as _, System as _};
use tempfile::TempDir;

/// How long anything may take before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

const MESSAGES: u64 = 2_000;

/// The numbers of all publishers here.
const PUBLISHERS: Range<u32> = 0..10;

/// What a member has got.
#[derive(Debug)]
struct Got {
    checker: Checker,
    messages: u64,
    acks: u64,
}

fn started(kind: Kind) -> (Rival, TempDir) {
    let dir = TempDir::new().unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let options = StartOptions { dir: dir.path(), listen, command: &|program| Command::new(program) };
    (Rival::start(kind, &options).unwrap(), dir)
}

fn named(name: &str) -> Kind {
    Kind::named(name).unwrap()
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(STUCK, test).await.expect("stuck") });
}

fn body(publisher: u32, n: u64, bytes: usize) -> Bytes {
    payload::encode(Stamp { publisher, n, due: Duration::ZERO }, bytes, None)
}

/// Publishes them in groups, without waiting for acks.
async fn publish(sender: &mut RivalSender, publisher: u32, messages: u64, bytes: usize) {
    const GROUP: usize = 100;
    let mut bodies = Vec::with_capacity(GROUP);
    for n in 0..messages {
        bodies.push(body(publisher, n, bytes));
        if bodies.len() == GROUP || n + 1 == messages {
            sender.publish(&mut bodies).await.unwrap();
            assert!(bodies.is_empty());
        }
    }
}

/// Receives until so much has come.
async fn receive(receiver: &mut RivalReceiver, messages: u64, acks: u64) -> Got {
    let mut got = Got { checker: Checker::new(PUBLISHERS), messages: 0, acks: 0 };
    let mut here = Vec::new();
    while got.messages < messages || got.acks < acks {
        receiver.receive(&mut here).await.unwrap();
        for received in here.drain(..) {
            match received {
                Received::Acks(acks) => got.acks += acks,
                Received::Seq(_) => {}
                Received::Message { seq, body } => {
                    got.messages += 1;
                    got.checker.take(seq, &body);
                }
            }
        }
    }
    got
}

/// Two clients in two conversations: in one the publisher reads too, in the other it does not.
async fn everything_comes_in_order(kind: Kind) {
    let (rival, _dir) = started(kind);
    let acks = if rival.system().acks() { MESSAGES } else { 0 };
    // Two systems, as two processes with clients have, of which each makes the stream.
    let first = rival.system().connect().await.unwrap();
    let second = rival.system().connect().await.unwrap();
    let (mut one, mut one_itself) = first.enter("rooms/one", Part::Both).await.unwrap();
    let (mut two, mut two_acks) = first.enter("rooms/two", Part::Publish).await.unwrap();
    let (_, mut one_reader) = second.enter("rooms/one", Part::Read).await.unwrap();
    let (_, mut two_reader) = second.enter("rooms/two", Part::Read).await.unwrap();

    let (itself, acked, one_read, two_read, (), ()) = tokio::join!(
        receive(&mut one_itself, MESSAGES, acks),
        receive(&mut two_acks, 0, acks),
        receive(&mut one_reader, MESSAGES, 0),
        receive(&mut two_reader, MESSAGES, 0),
        publish(&mut one, 1, MESSAGES, 200),
        publish(&mut two, 2, MESSAGES, 200),
    );
    assert_eq!((itself.acks, acked.acks, one_read.acks, two_read.acks), (acks, acks, 0, 0), "{kind:?}");
    for (got, publisher) in [(itself, 1), (one_read, 1), (two_read, 2)] {
        let whole = Check { checked: MESSAGES, ..Check::default() };
        assert_eq!(got.checker.end([(publisher, MESSAGES)]), whole, "{kind:?}");
    }
    first.close().await;
    second.close().await;
}

#[test]
fn nats_core_delivers_everything_in_order() {
    run(everything_comes_in_order(named("nats-core")));
    run(everything_comes_in_order(named("nats-core-tls")));
}

#[test]
fn jetstream_delivers_and_acks_everything_in_order() {
    run(everything_comes_in_order(named("jetstream")));
    run(everything_comes_in_order(named("jetstream-tls")));
    run(everything_comes_in_order(named("jetstream-default")));
}

#[test]
fn mosquitto_delivers_and_acks_everything_in_order() {
    run(everything_comes_in_order(named("mosquitto")));
    run(everything_comes_in_order(named("mosquitto-tls")));
}

/// More than the client holds and more than a socket does, so that the server has to keep it.
#[test]
fn a_reader_that_comes_late_to_its_messages_finds_all() {
    const BODIES: u64 = 500;
    const BODY_BYTES: usize = 60_000;
    for name in ["nats-core", "nats-core-tls", "mosquitto"] {
        run(async {
            let (rival, _dir) = started(named(name));
            let system = rival.system();
            let (first, second) = (system.connect().await.unwrap(), system.connect().await.unwrap());
            let (_, mut reader) = second.enter("room", Part::Read).await.unwrap();
            let (mut sender, mut acks) = first.enter("room", Part::Publish).await.unwrap();
            let acks_due = if system.acks() { BODIES } else { 0 };
            tokio::join!(publish(&mut sender, 1, BODIES, BODY_BYTES), receive(&mut acks, 0, acks_due));
            let got = receive(&mut reader, BODIES, 0).await;
            assert!(got.checker.end([(1, BODIES)]).is_clean(), "{name}");
        });
    }
}

#[test]
fn closed_connections_are_gone_from_the_server() {
    const CLIENTS: usize = 3;
    for name in ["nats-core", "nats-core-tls", "mosquitto", "mosquitto-tls"] {
        run(async {
            let (rival, _dir) = started(named(name));
            let open_files = || std::fs::read_dir(format!("/proc/{}/fd", rival.pid())).unwrap().count();
            let system = rival.system();
            // The first client may make the server open something that stays open.
            system.connect().await.unwrap().close().await;
            let mut clients = Vec::new();
            for _ in 0..CLIENTS {
                let client = system.connect().await.unwrap();
                client.enter("room", Part::Both).await.unwrap();
                clients.push(client);
            }
            // The first one's connection may be among these: with TLS a server says goodbye before it closes.
            let with_all = open_files();
            for client in clients {
                client.close().await;
            }
            // What a busy server is slow with comes all the same.
            while open_files() + CLIENTS > with_all {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }
}

#[test]
fn members_hear_of_a_server_that_has_gone() {
    for name in ["nats-core", "mosquitto-tls"] {
        run(async {
            let (rival, _dir) = started(named(name));
            let client = rival.system().connect().await.unwrap();
            let (mut sender, mut receiver) = client.enter("room", Part::Both).await.unwrap();
            drop(rival);
            let error = receiver.receive(&mut Vec::new()).await.unwrap_err();
            assert!(error.to_string().starts_with("the connection is gone: "), "{error}");
            sender.publish(&mut vec![body(1, 0, 40)]).await.unwrap_err();
            client.enter("room", Part::Read).await.unwrap_err();
        });
    }
}

#[test]
fn a_server_that_does_not_start_says_why() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let listen = taken.local_addr().unwrap();
    for name in ["nats-core", "mosquitto"] {
        let options = StartOptions { dir: dir.path(), listen, command: &|program| Command::new(program) };
        let error = Rival::start(named(name), &options).unwrap_err();
        assert!(format!("{error:#}").to_lowercase().contains("address already in use"), "{error:#}");
    }
}

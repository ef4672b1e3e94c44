//! Servers that are killed without a goodbye: who notices, and how soon.

use std::time::{Duration, Instant};

use quoth_client::{Client, Events, Reason, Sending, Seq, Start, State, Transport};
use tokio::time::timeout;

use super::support::{FakeServer, Identity, Machine};
use super::{PATIENCE, seqs};

/// A wait for the first probe or keep-alive, a stateless reset, and the way back with a first backoff.
const SOON: Duration = Duration::from_secs(5);

/// The longest that a client may choose, so that it does not help.
const RARE_KEEP_ALIVES: Duration = Duration::from_secs(20);

/// How long QUIC may wait before it acknowledges the last packet, and more. Behind it the client has nothing
/// to say.
const QUIET: Duration = Duration::from_millis(100);

/// Sends what the server does not ack, and waits until QUIC has no reason to send it again: its
/// acknowledgement comes with the event.
async fn send_without_ack(client: &Client) -> (Events, Sending) {
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Live).await.unwrap();
    let sending = room.send_pipelined("waits".into()).await.unwrap();
    assert_eq!(seqs(&mut events, 1).await, [1]);
    tokio::time::sleep(QUIET).await;
    (events, sending)
}

over_both! {
    an_ack_that_does_not_come_is_asked_for_again
    a_waiting_sender_finds_out_soon_that_its_server_was_restarted
    a_passive_reader_finds_out_by_its_keep_alive_that_its_server_was_restarted
}

async fn an_ack_that_does_not_come_is_asked_for_again(over: Transport) {
    let server = FakeServer::over(over);
    server.world.lock().faults.swallow_acks = 2;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let ack = timeout(PATIENCE, room.send("hi")).await.unwrap().unwrap();
    assert_eq!((ack.seq, ack.duplicate), (Seq(1), true));
    let publishes: Vec<u64> = server.world.lock().publishes.iter().map(|(_, n)| *n).collect();
    assert_eq!(publishes, [1, 1, 1]);
    assert_eq!(server.world.lock().hellos.len(), 1);
    client.close().await;
}

async fn a_waiting_sender_finds_out_soon_that_its_server_was_restarted(over: Transport) {
    let identity = Identity::new();
    let mut machine = Machine::start(identity.clone());
    let crashing = machine.server(over).await;
    crashing.world.lock().faults.swallow_acks = usize::MAX;
    let client = crashing.builder().keep_alive_interval(RARE_KEEP_ALIVES).connect().await.unwrap();
    let (_events, sending) = send_without_ack(&client).await;
    let port = crashing.address.port();
    machine.crash(crashing).await;
    let server = FakeServer::start_as(&identity, port);
    // What the reader has seen.
    server.world.fill("general", 1);
    let ack = timeout(SOON, sending).await.unwrap().unwrap();
    assert_eq!((ack.seq, ack.duplicate), (Seq(2), false));
    client.close().await;
}

async fn a_passive_reader_finds_out_by_its_keep_alive_that_its_server_was_restarted(over: Transport) {
    let identity = Identity::new();
    let mut machine = Machine::start(identity.clone());
    let crashing = machine.server(over).await;
    let client = crashing.builder().keep_alive_interval(Duration::from_secs(1)).connect().await.unwrap();
    let mut events = client.conversation("general").unwrap().events(Start::Live).await.unwrap();
    tokio::time::sleep(QUIET).await;
    let port = crashing.address.port();
    machine.crash(crashing).await;
    let server = FakeServer::start_as(&identity, port);
    let reads_again = server.world.wait_until(|w| !w.opens.is_empty());
    timeout(SOON, reads_again).await.unwrap();
    server.world.fill("general", 1);
    assert_eq!(seqs(&mut events, 1).await, [1]);
    client.close().await;
}

#[tokio::test]
async fn a_waiting_sender_finds_out_that_its_server_is_dead() {
    let mut machine = Machine::start(Identity::new());
    let crashing = machine.server(Transport::Quic).await;
    crashing.world.lock().faults.swallow_acks = usize::MAX;
    let client = crashing.builder().keep_alive_interval(RARE_KEEP_ALIVES).connect().await.unwrap();
    let (_events, sending) = send_without_ack(&client).await;
    // Before: until the server's thread has heard of it, the client may have asked again.
    let dead_since = Instant::now();
    machine.crash(crashing).await;
    let lost = |s: &State| matches!(s, State::Disconnected { reason: Reason::TimedOut, .. });
    timeout(2 * SOON, client.states().wait_for(lost)).await.unwrap().unwrap();
    assert!(dead_since.elapsed() >= SOON, "given up after {:?}", dead_since.elapsed());
    drop(sending);
}

#[tokio::test]
async fn an_idle_client_stays_with_a_server_that_soon_gives_up_silent_ones() {
    // Less than the client's own pause between keep-alives, and longer than a busy machine stands still.
    let idle_timeout = Duration::from_secs(6);
    let server = FakeServer::start_as(&Identity::new().with_idle_timeout(idle_timeout), 0);
    let client = server.client().await;
    let lost = |s: &State| !matches!(s, State::Connected);
    assert!(timeout(idle_timeout * 3 / 2, client.states().wait_for(lost)).await.is_err());
    assert_eq!(server.world.lock().hellos.len(), 1);
    client.close().await;
}

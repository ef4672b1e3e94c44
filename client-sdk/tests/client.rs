//! The SDK against a server that keeps the protocol and loses, refuses and drops on request.

mod support;

use std::time::Duration;

use quoth_client::protocol::frame::ServerFrame;
use quoth_client::{Client, ClientEvent, Code, Conversation, Events, Seq, Start};
use support::FakeServer;
use tokio::time::timeout;

/// No test takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn seqs(events: &mut Events, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match timeout(PATIENCE, events.next()).await.expect("an event in time") {
            Some(Ok(ClientEvent::Event(event))) => seqs.push(event.seq.0),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    seqs
}

#[tokio::test]
async fn a_message_is_acked_and_read() {
    let server = FakeServer::start();
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let ack = room.send("hi").await.unwrap();
    assert_eq!((ack.seq, ack.duplicate), (Seq(1), false));
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    let Some(Ok(ClientEvent::Event(event))) = events.next().await else { panic!() };
    assert_eq!((event.seq, event.sender.as_str()), (Seq(1), "alice"));
    assert_eq!(events.next().await.unwrap().unwrap(), ClientEvent::CaughtUp { head: Seq(1) });
    client.close().await;
    assert!(events.next().await.is_none());
    assert!(room.send("late").await.is_err());
}

#[tokio::test]
async fn an_application_that_does_not_read_its_events_still_gets_its_acks() {
    let server = FakeServer::start();
    server.world.fill("general", 1_000);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    for n in 1..=1_000 {
        assert_eq!(timeout(PATIENCE, room.send("hi")).await.unwrap().unwrap().seq, Seq(1_000 + n));
    }
    assert_eq!(seqs(&mut events, 2_000).await, (1..=2_000).collect::<Vec<_>>());
    client.close().await;
}

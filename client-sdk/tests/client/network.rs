//! Connections that are lost, refused, drained and moved.

use std::time::{Duration, Instant};

use quoth_client::protocol::frame::{ClientFrame, Open, Publish};
use quoth_client::{Client, Code, EventsError, Reason, SendError, SendOptions, Seq, Start, State, Transport};
use tokio::time::timeout;

use super::support::{FakeServer, Identity, Machine, Proxy};
use super::{PATIENCE, seqs};

/// Longer than the client waits for an answer on a new path over loopback.
const LONGER_THAN_A_MOVE: Duration = Duration::from_millis(1_500);

/// Far less than the idle timeout.
const SOON: Duration = Duration::from_secs(10);

/// The conversation streams that the server saw before it answered a Hello: the start of each, and the
/// publishes.
fn early(frames: &[ClientFrame]) -> Vec<(Option<Start>, Vec<u64>)> {
    let mut streams: Vec<(Option<Start>, Vec<u64>)> = Vec::new();
    for frame in frames {
        match frame {
            ClientFrame::Open(Open { from, .. }) => streams.push((*from, Vec::new())),
            ClientFrame::Publish(Publish { n, .. }) => streams.last_mut().unwrap().1.push(*n),
            other => panic!("{other:?}"),
        }
    }
    streams
}

async fn until(client: &Client, what: impl FnMut(&State) -> bool) -> State {
    timeout(PATIENCE, client.states().wait_for(what)).await.unwrap().unwrap().clone()
}

#[tokio::test]
async fn a_reconnect_shows_that_the_address_is_known() {
    let server = FakeServer::start();
    let client = server.client().await;
    // An answer behind the handshake, so that what the handshake gave is here.
    client.conversation("general").unwrap().send("hello").await.unwrap();
    assert_eq!(server.world.lock().known_addresses, 0);
    server.world.drop_connections(Code::INTERNAL);
    timeout(PATIENCE, server.world.wait_until(|world| world.hellos.len() == 2)).await.unwrap();
    assert_eq!(server.world.lock().known_addresses, 1);
}

over_both! {
    a_reconnect_needs_one_round_trip_behind_the_handshake
    what_a_refused_connection_was_given_is_sent_again
    a_refused_stream_leaves_unknown_what_was_sent_on_the_one_before_it
    a_refused_sign_in_is_told_as_such_by_all_that_was_begun_behind_it
    a_connection_refused_without_a_code_is_tried_again_and_sooner_after_a_move
    a_sign_in_that_a_move_interrupts_begins_anew
    a_connection_that_a_move_has_cut_is_replaced_soon
}

async fn a_reconnect_needs_one_round_trip_behind_the_handshake(over: Transport) {
    let server = FakeServer::over(over);
    server.world.fill("general", 3);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    server.world.lock().faults.swallow_acks = 1;
    let sending = room.send_pipelined("unacked".into()).await.unwrap();
    assert_eq!(seqs(&mut events, 1).await, [4]);
    {
        let faults = &mut server.world.lock().faults;
        (faults.frames_before_answer, faults.hold_answers) = (2, true);
    }
    server.world.drop_connections(Code::INTERNAL);
    server.world.fill("general", 2);
    until(&client, |s| *s != State::Connected).await;
    let unsent = room.send_pipelined("never sent before".into()).await.unwrap();
    timeout(PATIENCE, server.world.wait_until(|w| w.early.len() == 2)).await.unwrap();
    assert_eq!(client.state(), State::Connecting);
    assert_eq!(client.welcome(), None);
    assert_eq!(early(&server.world.lock().early), [(Some(Start::After(Seq(4))), vec![1])]);
    let options = SendOptions { timeout: Some(Duration::from_millis(200)), ..SendOptions::from("too late") };
    assert_eq!(room.send_with(options).await, Err(SendError::NotSent { reason: Reason::TimedOut }));
    server.world.lock().faults.hold_answers = false;
    server.world.changed.notify_waiters();
    let ack = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert_eq!((ack.seq, ack.duplicate), (Seq(4), true));
    let ack = timeout(PATIENCE, unsent).await.unwrap().unwrap();
    assert_eq!((ack.seq, ack.duplicate), (Seq(7), false));
    assert_eq!(seqs(&mut events, 3).await, [5, 6, 7]);
    assert_eq!(server.world.lock().hellos.len(), 2);
    assert_eq!(client.state(), State::Connected);
    client.close().await;
}

async fn what_a_refused_connection_was_given_is_sent_again(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    server.world.lock().faults.stop_reading = true;
    let sending = room.send_pipelined("unread".into()).await.unwrap();
    server.world.wait_until(|w| w.opens.len() == 1).await;
    {
        let faults = &mut server.world.lock().faults;
        (faults.frames_before_answer, faults.stop_reading) = (2, false);
        faults.reject_hellos = vec![Code::OVERLOADED];
    }
    server.world.drop_connections(Code::INTERNAL);
    let overloaded = |s: &State| {
        matches!(s, State::Disconnected { reason: Reason::Code { code: Code::OVERLOADED, .. }, .. })
    };
    until(&client, overloaded).await;
    let ack = timeout(PATIENCE, sending).await.unwrap().unwrap();
    assert_eq!((ack.seq, ack.duplicate), (Seq(1), false));
    {
        let world = server.world.lock();
        assert_eq!(early(&world.early), [(None, vec![1]), (None, vec![1])]);
        assert_eq!(world.publishes.len(), 1);
    }
    client.close().await;
}

async fn a_refused_stream_leaves_unknown_what_was_sent_on_the_one_before_it(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    server.world.lock().faults.swallow_acks = 1;
    let stored = room.send_pipelined("stored".into()).await.unwrap();
    server.world.wait_until(|w| w.publishes.len() == 1).await;
    server.world.lock().faults.reset_opens = vec![Code::FORBIDDEN];
    server.world.drop_connections(Code::INTERNAL);
    until(&client, |s| *s != State::Connected).await;
    let refused = room.send_pipelined("refused".into()).await.unwrap();
    let error = timeout(PATIENCE, stored).await.unwrap().unwrap_err();
    let SendError::UnknownOutcome { id, reason: Reason::Code { code: Code::FORBIDDEN, .. } } = error else {
        panic!("{error:?}")
    };
    assert_eq!(room.resend(id).await, Err(SendError::UnknownMessage { id }));
    let error = timeout(PATIENCE, refused).await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Refused { code: Code::FORBIDDEN, .. }), "{error:?}");
    assert_eq!(server.world.bodies("general"), ["stored"]);
    client.close().await;
}

async fn a_refused_sign_in_is_told_as_such_by_all_that_was_begun_behind_it(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Live).await.unwrap();
    server.world.lock().faults.swallow_acks = 1;
    let sending = room.send_pipelined("unacked".into()).await.unwrap();
    assert_eq!(seqs(&mut events, 1).await, [1]);
    {
        let faults = &mut server.world.lock().faults;
        faults.frames_before_answer = 2;
        faults.reject_hellos = vec![Code::TOKEN_REJECTED];
    }
    server.world.drop_connections(Code::INTERNAL);
    let rejected = |r: &Reason| matches!(r, Reason::Code { code: Code::TOKEN_REJECTED, .. });
    let error = timeout(PATIENCE, sending).await.unwrap().unwrap_err();
    assert!(matches!(&error, SendError::UnknownOutcome { reason, .. } if rejected(reason)), "{error:?}");
    let end = timeout(PATIENCE, events.next()).await.unwrap();
    assert!(matches!(&end, Some(Err(EventsError::Closed(reason))) if rejected(reason)), "{end:?}");
    let end = until(&client, |s| matches!(s, State::Closed { .. })).await;
    assert!(matches!(&end, State::Closed { reason } if rejected(reason)), "{end:?}");
    assert_eq!(server.world.lock().early.len(), 2);
}

#[tokio::test]
async fn acks_are_read_on_a_stream_that_takes_nothing_more() {
    let server = FakeServer::start();
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    server.world.lock().faults.stop_before_ack = true;
    let taken = room.send_pipelined("taken".into()).await.unwrap();
    server.world.wait_until(|w| w.publishes.len() == 1).await;
    let mut sendings = vec![taken];
    for _ in 0..5 {
        // The writes go on until one fails.
        sendings.push(room.send_pipelined("not taken".into()).await.unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (seq, sending) in (1..).zip(sendings) {
        let ack = timeout(PATIENCE, sending).await.unwrap().unwrap();
        assert_eq!((ack.seq, ack.duplicate), (Seq(seq), false));
    }
    let sent: Vec<u64> = server.world.lock().publishes.iter().map(|(_, n)| *n).collect();
    assert_eq!(sent, [1, 2, 3, 4, 5, 6]);
    client.close().await;
}

#[tokio::test]
async fn a_server_that_crashed_and_came_back_is_found_by_its_reset() {
    let identity = Identity::new();
    let mut machine = Machine::start(identity.clone());
    let crashing = machine.server(Transport::Quic).await;
    let client = crashing.client().await;
    let room = client.conversation("general").unwrap();
    room.send("before").await.unwrap();
    let port = crashing.address.port();
    machine.crash(crashing).await;
    let server = FakeServer::start_as(&identity, port);
    let sending = room.send_pipelined("after".into()).await.unwrap();
    let lost = until(&client, |s| matches!(s, State::Disconnected { .. })).await;
    let State::Disconnected { reason: Reason::Transport(text), .. } = &lost else { panic!("{lost:?}") };
    assert!(text.contains("reset"), "{text}");
    assert!(!timeout(SOON, sending).await.unwrap().unwrap().duplicate);
    assert_eq!(server.world.bodies("general"), ["after"]);
    client.close().await;
}

async fn a_connection_refused_without_a_code_is_tried_again_and_sooner_after_a_move(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    server.world.lock().faults.refuse_connections = true;
    server.world.drop_connections(Code::INTERNAL);
    let long = 4 * LONGER_THAN_A_MOVE;
    let waits_long = |s: &State| matches!(s, State::Disconnected { retry_in, .. } if *retry_in > long);
    let refused = timeout(3 * PATIENCE, client.states().wait_for(waits_long)).await.unwrap().unwrap().clone();
    assert!(matches!(refused, State::Disconnected { reason: Reason::Transport(_), .. }), "{refused:?}");
    server.world.lock().faults.refuse_connections = false;
    let moved = Instant::now();
    client.rebind().unwrap();
    until(&client, |s| *s == State::Connected).await;
    // Without the move it would have waited on.
    assert!(moved.elapsed() < long, "connected after {:?}", moved.elapsed());
    client.close().await;
}

async fn a_sign_in_that_a_move_interrupts_begins_anew(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    server.world.lock().faults.hold_answers = true;
    server.world.drop_connections(Code::INTERNAL);
    timeout(PATIENCE, server.world.wait_until(|w| w.hellos.len() == 2)).await.unwrap();
    // The fastest counts: a machine that is busy may hold up any one.
    let mut fastest = Duration::MAX;
    for hellos in 3..=5 {
        let moved = Instant::now();
        client.rebind().unwrap();
        timeout(PATIENCE, server.world.wait_until(|w| w.hellos.len() == hellos)).await.unwrap();
        fastest = fastest.min(moved.elapsed());
    }
    assert!(fastest < 2 * LONGER_THAN_A_MOVE, "began anew after {fastest:?}");
    server.world.lock().faults.hold_answers = false;
    server.world.changed.notify_waiters();
    until(&client, |s| *s == State::Connected).await;
    client.close().await;
}

#[tokio::test]
async fn a_connection_that_survives_a_move_is_kept() {
    let server = FakeServer::start();
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    room.send("before").await.unwrap();
    client.rebind().unwrap();
    let moved = Instant::now();
    while moved.elapsed() < LONGER_THAN_A_MOVE {
        assert!(!timeout(PATIENCE, room.send("after")).await.unwrap().unwrap().duplicate);
    }
    assert_eq!(server.world.lock().hellos.len(), 1);
    client.close().await;
}

async fn a_connection_that_a_move_has_cut_is_replaced_soon(over: Transport) {
    let server = FakeServer::over(over);
    let proxy = Proxy::start(server.address);
    let client = server.builder_by_way_of(proxy.address).connect().await.unwrap();
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Live).await.unwrap();
    // The fastest counts: a machine that is busy may hold up any one.
    let mut fastest = Duration::MAX;
    for moves in 1..=3 {
        room.send("before").await.unwrap();
        let moved = Instant::now();
        client.rebind().unwrap();
        let ack = timeout(SOON, room.send("after")).await.unwrap().unwrap();
        assert!(!ack.duplicate);
        assert_eq!(seqs(&mut events, 2).await, [2 * moves - 1, 2 * moves]);
        fastest = fastest.min(moved.elapsed());
        assert_eq!(server.world.lock().hellos.len() as u64, 1 + moves);
    }
    assert!(fastest < 2 * LONGER_THAN_A_MOVE, "went on after {fastest:?}");
    client.close().await;
}

//! The SDK against a server that keeps the protocol and loses, refuses and drops on request.

#[path = "client/liveness.rs"]
mod liveness;
#[path = "client/network.rs"]
mod network;
mod support;
#[path = "client/tokens.rs"]
mod tokens;

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::task::Poll;
use std::time::{Duration, Instant};

use quinn::Endpoint;
use quoth_client::protocol::frame::ServerFrame;
use quoth_client::{
    Client, ClientEvent, Code, ConnectError, Conversation, ConversationError, Events, EventsError,
    FetchRange, HistoryError, MessageId, ProducerId, Reason, SendError, SendOptions, Seq, Start, State,
};
use support::{FakeServer, STREAMS_MAX};
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

#[tokio::test]
async fn a_slow_application_is_sent_its_events_once() {
    for sends in [false, true] {
        let server = FakeServer::start();
        server.world.fill("general", 10_000);
        let client = server.client().await;
        let room = client.conversation("general").unwrap();
        let mut events = room.events(Start::After(Seq(0))).await.unwrap();
        for begin in (0..10_000).step_by(500) {
            assert_eq!(seqs(&mut events, 500).await, (begin + 1..=begin + 500).collect::<Vec<_>>());
            // Slower than the server, which has filled the buffer again by now.
            tokio::time::sleep(Duration::from_millis(20)).await;
            if sends {
                assert!(!timeout(PATIENCE, room.send("hi")).await.unwrap().unwrap().duplicate);
            }
        }
        let sent = server.world.lock().events_sent;
        assert!(sent <= 15_000, "sent {sent} events to deliver 10,000 (with sends: {sends})");
        client.close().await;
    }
}

#[tokio::test]
async fn what_has_no_ack_is_repeated_in_order_and_stored_once() {
    let server = FakeServer::start();
    server.world.lock().faults.swallow_acks = 10;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut sendings = Vec::new();
    for n in 1..=10 {
        sendings.push(room.send_pipelined(format!("message {n}").into()).await.unwrap());
    }
    server.world.wait_until(|w| w.publishes.len() == 10).await;
    server.world.drop_connections(Code::INTERNAL);
    sendings.push(room.send_pipelined("message 11".into()).await.unwrap());
    for (n, sending) in (1..).zip(sendings) {
        let ack = timeout(PATIENCE, sending).await.unwrap().unwrap();
        assert_eq!((ack.seq, ack.duplicate), (Seq(n), n <= 10));
    }
    let expected: Vec<u64> = (1..=10).chain(1..=11).collect();
    let sent: Vec<u64> = server.world.lock().publishes.iter().map(|(_, n)| *n).collect();
    assert_eq!(sent, expected);
    assert_eq!(server.world.bodies("general").len(), 11);
    client.close().await;
}

#[tokio::test]
async fn a_reader_goes_on_where_it_was_over_reconnects() {
    let server = FakeServer::start();
    server.world.fill("general", 100);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Last(50)).await.unwrap();
    let mut seen = Vec::new();
    for round in 0..4 {
        seen.extend(seqs(&mut events, 25).await);
        server.world.drop_connections(Code::GOING_AWAY);
        server.world.fill("general", 25);
        server.world.wait_until(|w| w.hellos.len() == round + 2).await;
    }
    assert_eq!(seen, (51..=150).collect::<Vec<_>>());
    client.close().await;
}

#[tokio::test]
async fn a_live_reader_misses_nothing_that_was_said_before_its_first_event() {
    let server = FakeServer::start();
    server.world.fill("general", 100);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Live).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), ClientEvent::CaughtUp { head: Seq(100) });
    server.world.drop_connections(Code::GOING_AWAY);
    server.world.fill("general", 5);
    assert_eq!(seqs(&mut events, 5).await, [101, 102, 103, 104, 105]);
    client.close().await;
}

#[tokio::test]
async fn a_reader_on_a_stream_that_is_open_for_sending_is_placed_exactly() {
    let server = FakeServer::start();
    server.world.fill("general", 100);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    room.send("opens the stream").await.unwrap();
    for (start, first) in [(Start::Last(20), 82), (Start::After(Seq(3)), 4), (Start::Last(1), 101)] {
        let mut events = timeout(PATIENCE, room.events(start)).await.unwrap().unwrap();
        assert_eq!(seqs(&mut events, 1).await, [first]);
    }
    assert_eq!(server.world.lock().opens.len(), 1);
    let beyond = room.events(Start::After(Seq(500))).await.unwrap_err();
    assert!(matches!(beyond, EventsError::Refused { code: Code::CURSOR_AHEAD, .. }), "{beyond:?}");
    assert_eq!(room.send("goes on").await.unwrap().seq, Seq(102));
    client.close().await;
}

#[tokio::test]
async fn there_is_one_reader_at_a_time() {
    let server = FakeServer::start();
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let events = room.events(Start::Live).await.unwrap();
    let second = client.conversation("general").unwrap().events(Start::Live).await.unwrap_err();
    assert!(matches!(second, EventsError::AlreadyReading { .. }));
    drop(events);
    room.events(Start::Live).await.unwrap();
    client.close().await;
}

#[tokio::test]
async fn a_reader_that_is_given_up_makes_room_for_the_next_one_at_once() {
    let server = FakeServer::start();
    server.world.fill("general", 10);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    for _ in 0..10 {
        let mut given_up = Box::pin(room.events(Start::Live));
        let asked = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx).is_pending()));
        assert!(asked.await);
        drop(given_up);
        let mut events = room.events(Start::After(Seq(4))).await.unwrap();
        assert_eq!(seqs(&mut events, 2).await, [5, 6]);
    }
    client.close().await;
}

#[tokio::test]
async fn a_reader_given_up_before_its_stream_was_open_does_not_place_the_next_one() {
    let server = FakeServer::start();
    server.world.fill("late", 10);
    let client = server.client().await;
    let mut open = Vec::new();
    for i in 1..STREAMS_MAX {
        let room = client.conversation(format!("room {i}")).unwrap();
        open.push(room.events(Start::Live).await.unwrap());
    }
    let late = client.conversation("late").unwrap();
    let given_up = timeout(Duration::from_millis(200), late.events(Start::Live)).await;
    assert!(given_up.is_err(), "the server has more streams than the test knows");
    let next = late.events(Start::After(Seq(0)));
    let room_for_it = async {
        // The stream that waits for credit sees the next reader before it gets the credit.
        tokio::task::yield_now().await;
        open.clear();
    };
    let (events, ()) = timeout(PATIENCE, async { tokio::join!(next, room_for_it) }).await.unwrap();
    assert_eq!(seqs(&mut events.unwrap(), 10).await, (1..=10).collect::<Vec<_>>());
    client.close().await;
}

#[tokio::test]
async fn events_are_a_handle_on_the_client_and_the_conversation() {
    let server = FakeServer::start();
    server.world.fill("general", 3);
    let client = server.client().await;
    let mut events = client.conversation("general").unwrap().events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    let ack = timeout(PATIENCE, client.conversation("general").unwrap().send("beside it")).await.unwrap();
    assert_eq!(ack.unwrap().seq, Seq(4));
    let mut states = client.states();
    drop(client);
    server.world.fill("general", 1);
    assert_eq!(seqs(&mut events, 2).await, [4, 5]);
    drop(events);
    timeout(PATIENCE, states.wait_for(|s| matches!(s, State::Closed { .. }))).await.unwrap().unwrap();
}

#[tokio::test]
async fn typings_are_a_handle_on_the_client() {
    let server = FakeServer::start();
    let mut typings = server.client().await.conversation("general").unwrap().typings();
    let bob = server.builder().token("bob").connect().await.unwrap();
    bob.conversation("general").unwrap().typing();
    let user = timeout(PATIENCE, typings.next()).await.unwrap().unwrap();
    assert_eq!(user.as_str(), "bob");
}

#[tokio::test]
async fn what_retention_took_is_told_as_a_gap() {
    let server = FakeServer::start();
    server.world.fill("general", 10);
    server.world.lock().logs.get_mut("general").unwrap().floor = 5;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(events.next().await.unwrap().unwrap(), ClientEvent::Gap { from: Seq(1), to: Seq(4) });
    assert_eq!(seqs(&mut events, 6).await, [5, 6, 7, 8, 9, 10]);
    client.close().await;
}

#[tokio::test]
async fn a_hole_is_an_error_and_the_client_goes_on() {
    let server = FakeServer::start();
    server.world.fill("general", 10);
    server.world.lock().faults.leave_out = Some(4);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    let error = events.next().await.unwrap().unwrap_err();
    assert!(matches!(error, EventsError::Protocol { .. }), "{error:?}");
    assert!(events.next().await.is_none());
    assert_eq!(room.send("goes on").await.unwrap().seq, Seq(11));
    client.close().await;
}

#[tokio::test]
async fn a_seq_that_there_cannot_be_is_an_error_and_the_client_goes_on() {
    let server = FakeServer::start();
    server.world.fill("general", 1);
    server.world.lock().faults.endless_gap = true;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::After(Seq(0))).await.unwrap();
    let error = timeout(PATIENCE, events.next()).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, EventsError::Protocol { .. }), "{error:?}");
    assert_eq!(room.send("goes on").await.unwrap().seq, Seq(2));
    client.close().await;
}

#[tokio::test]
async fn a_refusal_ends_the_calls_it_is_for_and_no_others() {
    let server = FakeServer::start();
    {
        let faults = &mut server.world.lock().faults;
        faults.forbid_reading = true;
        faults.refuse = vec![Code::FORBIDDEN];
    }
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let refused = room.events(Start::Live).await.unwrap_err();
    assert!(matches!(refused, EventsError::Refused { code: Code::FORBIDDEN, .. }), "{refused:?}");
    let refused = room.send("no").await.unwrap_err();
    assert!(matches!(refused, SendError::Refused { code: Code::FORBIDDEN, .. }), "{refused:?}");
    assert_eq!(room.send("yes").await.unwrap().seq, Seq(1));
    let refused = room.events(Start::Live).await.unwrap_err();
    assert!(matches!(refused, EventsError::Refused { code: Code::FORBIDDEN, .. }), "{refused:?}");
    assert!(matches!(room.history(FetchRange::Latest, 1).await, Err(HistoryError::Refused { .. })));
    assert_eq!(client.state(), State::Connected);
    client.close().await;
}

#[tokio::test]
async fn a_stream_that_may_not_be_opened_refuses_its_sends() {
    let server = FakeServer::start();
    server.world.lock().faults.reset_opens = vec![Code::FORBIDDEN];
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let refused = room.send("no").await.unwrap_err();
    assert!(matches!(refused, SendError::Refused { code: Code::FORBIDDEN, .. }), "{refused:?}");
    server.world.lock().faults.reset_opens = vec![Code::OVERLOADED, Code::INTERNAL];
    assert_eq!(room.send("yes").await.unwrap().seq, Seq(1));
    client.close().await;
}

#[tokio::test]
async fn an_unknown_outcome_is_safe_to_send_again() {
    let server = FakeServer::start();
    server.world.lock().faults.swallow_acks = 1;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let options = SendOptions { timeout: Some(Duration::from_millis(200)), .."once".into() };
    let error = room.send_with(options.clone()).await.unwrap_err();
    let SendError::UnknownOutcome { id, reason: Reason::TimedOut } = error else { panic!("{error:?}") };
    server.world.drop_connections(Code::INTERNAL);
    let ack = timeout(PATIENCE, room.resend(id)).await.unwrap().unwrap();
    assert_eq!((ack.seq, ack.duplicate), (Seq(1), true));
    let again = room.send_with(SendOptions { n: Some(id.n), ..options }).await.unwrap();
    assert_eq!((again.seq, again.duplicate), (Seq(1), true));
    let unknown = room.resend(MessageId { n: 99, ..id }).await.unwrap_err();
    assert!(matches!(unknown, SendError::UnknownMessage { .. }));
    assert_eq!(server.world.bodies("general"), ["once"]);
    client.close().await;
}

#[tokio::test]
async fn what_never_left_is_told_apart_from_what_may_be_stored() {
    let server = FakeServer::start();
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    server.world.lock().faults.reject_hellos = vec![Code::OVERLOADED; 100];
    server.world.drop_connections(Code::INTERNAL);
    let mut states = client.states();
    states.wait_for(|s| matches!(s, State::Disconnected { .. })).await.unwrap();
    let options = SendOptions { timeout: Some(Duration::from_millis(100)), ..SendOptions::from("unsent") };
    let error = room.send_with(options).await.unwrap_err();
    assert_eq!(error, SendError::NotSent { reason: Reason::TimedOut });
    client.close().await;
}

#[tokio::test]
async fn close_waits_for_acks_and_says_what_is_unknown() {
    let server = FakeServer::start();
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let sending = room.send_pipelined("acked".into()).await.unwrap();
    client.close().await;
    assert_eq!(sending.await.unwrap().seq, Seq(1));

    server.world.lock().faults.swallow_acks = usize::MAX;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let sending = room.send_pipelined("without an ack".into()).await.unwrap();
    client.close().await;
    let error = sending.await.unwrap_err();
    assert!(matches!(error, SendError::UnknownOutcome { reason: Reason::Closed, .. }), "{error:?}");
    assert_eq!(client.state(), State::Closed { reason: Reason::Closed });
    let error = room.send("late").await.unwrap_err();
    assert_eq!(error, SendError::NotSent { reason: Reason::Closed });
}

#[tokio::test]
async fn close_does_not_wait_for_others_on_the_endpoint() {
    let server = FakeServer::start();
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let on_it = || server.builder().endpoint(endpoint.clone()).connect();
    let (one, other) = (on_it().await.unwrap(), on_it().await.unwrap());
    let begun = Instant::now();
    one.close().await;
    assert!(begun.elapsed() < Duration::from_millis(500), "closed after {:?}", begun.elapsed());
    let ended = async {
        while server.world.lock().connections.iter().all(|(c, _)| c.close_reason().is_none()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the server is told all the same");
    other.conversation("general").unwrap().send("goes on").await.unwrap();
    other.close().await;
}

#[tokio::test]
async fn go_away_is_obeyed_and_survived() {
    let server = FakeServer::start();
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    room.send("before").await.unwrap();
    let told = Instant::now();
    server.world.tell_all(&ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms: 700 });
    client.states().wait_for(|s| matches!(s, State::Disconnected { .. })).await.unwrap();
    let ack = timeout(PATIENCE, room.send("after")).await.unwrap().unwrap();
    assert_eq!(ack.seq, Seq(2));
    assert!(told.elapsed() >= Duration::from_millis(650), "came back after {:?}", told.elapsed());
    client.close().await;
}

#[tokio::test]
async fn a_server_that_does_not_close_behind_its_go_away_is_left() {
    let server = FakeServer::start();
    let client = server.client().await;
    server.world.lock().faults.stay_behind_go_away = true;
    server.world.tell_all(&ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms: 1 });
    let going_away = |s: &State| {
        matches!(s, State::Disconnected { reason: Reason::Code { code: Code::GOING_AWAY, .. }, .. })
    };
    timeout(PATIENCE, client.states().wait_for(going_away)).await.unwrap().unwrap();
    client.conversation("general").unwrap().send("goes on").await.unwrap();
    assert_eq!(server.world.lock().hellos.len(), 2);
    client.close().await;
}

#[tokio::test]
async fn a_server_that_drains_before_it_welcomes_is_tried_again() {
    let server = FakeServer::start();
    server.world.lock().faults.go_away_hellos = 1;
    let client = server.client().await;
    assert_eq!(client.state(), State::Connected);
    assert_eq!(server.world.lock().hellos.len(), 2);
    client.close().await;
}

#[tokio::test]
async fn a_reader_is_told_why_its_client_ends() {
    let server = FakeServer::start();
    let client = server.client().await;
    let mut events = client.conversation("general").unwrap().events(Start::Live).await.unwrap();
    server.world.drop_connections(Code::TOKEN_REJECTED);
    let end = timeout(PATIENCE, async {
        loop {
            match events.next().await {
                Some(Ok(_)) => {}
                end => return end,
            }
        }
    });
    let end = end.await.unwrap();
    assert!(
        matches!(&end, Some(Err(EventsError::Closed(Reason::Code { code: Code::TOKEN_REJECTED, .. })))),
        "{end:?}"
    );
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn the_codes_decide_whether_a_client_tries_again() {
    let server = FakeServer::start();
    server.world.lock().faults.reject_hellos = vec![Code::OVERLOADED];
    let client = server.client().await;
    server.world.drop_connections(Code::TOKEN_EXPIRED);
    let mut states = client.states();
    let closed = states.wait_for(|s| matches!(s, State::Closed { .. })).await.unwrap().clone();
    assert!(matches!(closed, State::Closed { reason: Reason::Code { code: Code::TOKEN_EXPIRED, .. } }));
    assert_eq!(server.world.lock().hellos.len(), 2);

    server.world.lock().faults.reject_hellos = vec![Code::UNSUPPORTED_VERSION];
    let refused = server.builder().connect().await.unwrap_err();
    assert!(
        matches!(
            refused,
            ConnectError::Refused { reason: Reason::Code { code: Code::UNSUPPORTED_VERSION, .. }, .. }
        ),
        "{refused:?}"
    );
}

#[tokio::test]
async fn typing_is_passed_on_with_and_without_datagrams() {
    let server = FakeServer::start();
    for without_datagrams in [false, true] {
        server.world.lock().faults.without_datagrams = without_datagrams;
        let (alice, bob) = (server.client().await, server.builder().token("bob").connect().await.unwrap());
        let mut typings = alice.conversation("general").unwrap().typings();
        bob.conversation("general").unwrap().typing();
        let user = timeout(PATIENCE, typings.next()).await.unwrap().unwrap();
        assert_eq!(user.as_str(), "bob");
        alice.close().await;
        bob.close().await;
    }
}

#[tokio::test]
async fn history_comes_in_pages() {
    let server = FakeServer::start();
    server.world.fill("general", 25);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let page = room.history(FetchRange::After(Seq(20)), 3).await.unwrap();
    let seqs: Vec<u64> = page.known().map(|e| e.seq.0).collect();
    assert_eq!((seqs, page.head, page.floor, page.more), (vec![21, 22, 23], Seq(25), Seq(1), true));
    let page = room.history(FetchRange::Latest, 100).await.unwrap();
    assert_eq!((page.known().count(), page.more), (25, false));
    client.close().await;
}

#[tokio::test]
async fn a_page_may_be_full_behind_a_gap() {
    let server = FakeServer::start();
    server.world.fill("general", 2_000);
    server.world.lock().logs.get_mut("general").unwrap().floor = 11;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let page = room.history(FetchRange::After(Seq(0)), 1_000).await.unwrap();
    assert_eq!(page.events[0], ClientEvent::Gap { from: Seq(1), to: Seq(10) });
    assert_eq!((page.events.len(), page.known().count(), page.more), (1_001, 1_000, true));
    client.close().await;
}

#[tokio::test]
async fn a_fixed_producer_s_messages_need_numbers() {
    let server = FakeServer::start();
    let client = server.builder().producer(ProducerId(7)).connect().await.unwrap();
    let room = client.conversation("general").unwrap();
    assert_eq!(room.send("hi").await, Err(SendError::NumberMissing));
    let numbered = |n| SendOptions { n: Some(n), ..SendOptions::from("hi") };
    assert!(!room.send_with(numbered(5)).await.unwrap().duplicate);
    assert!(room.send_with(numbered(5)).await.unwrap().duplicate);
    let stale = room.send_with(numbered(4)).await.unwrap_err();
    assert!(matches!(stale, SendError::Refused { code: Code::STALE_MESSAGE_ID, .. }), "{stale:?}");
    let other = client.conversation_with_producer("general", ProducerId(8)).unwrap_err();
    assert!(matches!(other, ConversationError::OtherProducer { .. }));
    drop(room);
    let room = client.conversation_with_producer("general", ProducerId(8)).unwrap();
    assert!(!room.send_with(numbered(4)).await.unwrap().duplicate);
    client.close().await;
}

#[tokio::test]
async fn a_conversation_can_be_dropped_and_opened_again() {
    let server = FakeServer::start();
    let client = server.client().await;
    for n in 1..=20 {
        let ack = client.conversation("general").unwrap().send("hi").await.unwrap();
        assert_eq!((ack.seq, ack.duplicate), (Seq(n), false));
    }
    client.close().await;
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_refused_for_good() {
    let (server, other) = (FakeServer::start(), FakeServer::start());
    let refused = server.builder().ca_pem(other.ca_pem.clone()).connect().await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused { reason: Reason::Tls(_), .. }), "{refused:?}");
}

#[test]
fn everything_can_be_moved_between_threads() {
    fn check<T: Send + Sync + 'static>() {}
    check::<Client>();
    check::<Conversation>();
    check::<Events>();
    check::<quoth_client::Typings>();
    check::<quoth_client::Sending>();
    check::<quoth_client::Builder>();
}

//! The SDK against a server that keeps the protocol and loses, refuses and drops on request.

/// Each of these tests over QUIC and over WebSocket.
macro_rules! over_both {
    ($($test:ident)+) => {
        $(mod $test {
            use quoth_client::Transport;

            #[tokio::test]
            async fn quic() {
                super::$test(Transport::Quic).await;
            }

            #[tokio::test]
            async fn websocket() {
                super::$test(Transport::WebSocket).await;
            }
        })+
    };
}

#[path = "client/fallback.rs"]
mod fallback;
#[path = "client/liveness.rs"]
mod liveness;
#[path = "client/messages.rs"]
mod messages;
#[path = "client/network.rs"]
mod network;
#[path = "client/reading.rs"]
mod reading;
#[path = "client/requests.rs"]
mod requests;
mod support;
#[path = "client/tokens.rs"]
mod tokens;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use quinn::Endpoint;
use quoth_client::protocol::frame::ServerFrame;
use quoth_client::{
    Client, ClientEvent, Code, ConnectError, Conversation, ConversationError, Events, EventsError,
    FetchRange, HistoryError, MessageId, ProducerId, Reason, SendError, SendOptions, Seq, Start, State,
    Transport,
};
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

over_both! {
    a_message_is_acked_and_read
    what_has_no_ack_is_repeated_in_order_and_stored_once
    a_refusal_ends_the_calls_it_is_for_and_no_others
    a_stream_that_may_not_be_opened_refuses_its_sends
    an_unknown_outcome_is_safe_to_send_again
    what_never_left_is_told_apart_from_what_may_be_stored
    close_waits_for_acks_and_says_what_is_unknown
    go_away_is_obeyed_and_survived
    a_server_that_does_not_close_behind_its_go_away_is_left
    a_server_that_drains_before_it_welcomes_is_tried_again
    the_codes_decide_whether_a_client_tries_again
    typing_is_passed_on_with_and_without_datagrams
    a_fixed_producer_s_messages_need_numbers
    a_conversation_can_be_dropped_and_opened_again
    a_certificate_of_somebody_else_is_refused_for_good
}

async fn a_message_is_acked_and_read(over: Transport) {
    let server = FakeServer::over(over);
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

async fn what_has_no_ack_is_repeated_in_order_and_stored_once(over: Transport) {
    let server = FakeServer::over(over);
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

async fn a_refusal_ends_the_calls_it_is_for_and_no_others(over: Transport) {
    let server = FakeServer::over(over);
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

async fn a_stream_that_may_not_be_opened_refuses_its_sends(over: Transport) {
    let server = FakeServer::over(over);
    server.world.lock().faults.reset_opens = vec![Code::FORBIDDEN];
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let refused = room.send("no").await.unwrap_err();
    assert!(matches!(refused, SendError::Refused { code: Code::FORBIDDEN, .. }), "{refused:?}");
    server.world.lock().faults.reset_opens = vec![Code::OVERLOADED, Code::INTERNAL];
    assert_eq!(room.send("yes").await.unwrap().seq, Seq(1));
    client.close().await;
}

async fn an_unknown_outcome_is_safe_to_send_again(over: Transport) {
    let server = FakeServer::over(over);
    server.world.lock().faults.swallow_acks = usize::MAX;
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    // Far more than it takes to come there, so that it is asked for again meanwhile.
    let options = SendOptions { timeout: Some(Duration::from_secs(2)), .."once".into() };
    let error = room.send_with(options.clone()).await.unwrap_err();
    let SendError::UnknownOutcome { id, reason: Reason::TimedOut } = error else { panic!("{error:?}") };
    server.world.lock().faults.swallow_acks = 0;
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

async fn what_never_left_is_told_apart_from_what_may_be_stored(over: Transport) {
    let server = FakeServer::over(over);
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

async fn close_waits_for_acks_and_says_what_is_unknown(over: Transport) {
    let server = FakeServer::over(over);
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
    let other = on_it().await.unwrap();
    // The fastest counts: a machine that is busy may hold up any one.
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let one = on_it().await.unwrap();
        let begun = Instant::now();
        one.close().await;
        fastest = fastest.min(begun.elapsed());
    }
    assert!(fastest < Duration::from_millis(500), "closed after {fastest:?}");
    let ended = async {
        while server.world.lock().connections.iter().filter(|(c, _)| c.is_closed()).count() < 3 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the server is told all the same");
    other.conversation("general").unwrap().send("goes on").await.unwrap();
    other.close().await;
}

async fn go_away_is_obeyed_and_survived(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    room.send("before").await.unwrap();
    let told = Instant::now();
    server.world.tell_all(&ServerFrame::GoAway {
        code: Code::GOING_AWAY,
        retry_after_ms: 700,
        reason: String::new(),
    });
    client.states().wait_for(|s| matches!(s, State::Disconnected { .. })).await.unwrap();
    let ack = timeout(PATIENCE, room.send("after")).await.unwrap().unwrap();
    assert_eq!(ack.seq, Seq(2));
    assert!(told.elapsed() >= Duration::from_millis(650), "came back after {:?}", told.elapsed());
    client.close().await;
}

async fn a_server_that_does_not_close_behind_its_go_away_is_left(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    server.world.lock().faults.stay_behind_go_away = true;
    server.world.tell_all(&ServerFrame::GoAway {
        code: Code::GOING_AWAY,
        retry_after_ms: 1,
        reason: String::new(),
    });
    let going_away = |s: &State| {
        matches!(s, State::Disconnected { reason: Reason::Code { code: Code::GOING_AWAY, .. }, .. })
    };
    timeout(PATIENCE, client.states().wait_for(going_away)).await.unwrap().unwrap();
    client.conversation("general").unwrap().send("goes on").await.unwrap();
    assert_eq!(server.world.lock().hellos.len(), 2);
    client.close().await;
}

async fn a_server_that_drains_before_it_welcomes_is_tried_again(over: Transport) {
    let server = FakeServer::over(over);
    server.world.lock().faults.go_away_hellos = 1;
    let client = server.client().await;
    assert_eq!(client.state(), State::Connected);
    assert_eq!(server.world.lock().hellos.len(), 2);
    client.close().await;
}

async fn the_codes_decide_whether_a_client_tries_again(over: Transport) {
    let server = FakeServer::over(over);
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

async fn typing_is_passed_on_with_and_without_datagrams(over: Transport) {
    let server = FakeServer::over(over);
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

async fn a_fixed_producer_s_messages_need_numbers(over: Transport) {
    let server = FakeServer::over(over);
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

async fn a_conversation_can_be_dropped_and_opened_again(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    for n in 1..=20 {
        let ack = client.conversation("general").unwrap().send("hi").await.unwrap();
        assert_eq!((ack.seq, ack.duplicate), (Seq(n), false));
    }
    client.close().await;
}

async fn a_certificate_of_somebody_else_is_refused_for_good(over: Transport) {
    let (server, other) = (FakeServer::over(over), FakeServer::over(over));
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

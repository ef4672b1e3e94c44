//! QUIC first and a WebSocket where no UDP gets through, and the way back.

use std::time::{Duration, Instant};

use quoth_client::protocol::frame::ClientFrame;
use quoth_client::{
    Client, Code, ConnectError, Events, Reason, SendError, SendOptions, Seq, Start, State, Transport,
};
use tokio::time::timeout;

use super::support::{FakeServer, Inner, Passes, Proxy};
use super::{PATIENCE, seqs};

/// What a network without UDP may cost at most.
const SOON: Duration = Duration::from_secs(1);

/// What QUIC has over TCP: a machine that is busy for longer has both tried.
const HEAD_START: Duration = Duration::from_millis(250);

/// How long an attempt is tried that leads nowhere.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

const UDP_ALONE: Passes = Passes { udp: true, tcp: false };
const TCP_ALONE: Passes = Passes { udp: false, tcp: true };
const BOTH: Passes = Passes { udp: true, tcp: true };

/// A pause that no test sees the end of, and one that every test does.
const NEVER: Duration = Duration::from_secs(120);
const AT_ONCE: Duration = Duration::from_millis(100);

async fn client(server: &FakeServer, proxy: &Proxy, return_pause: Duration) -> Client {
    let builder = server.builder_by_way_of(proxy.address).transport(Transport::Auto);
    builder.return_pause(return_pause).connect().await.unwrap()
}

async fn until_over(client: &Client, transport: Transport) {
    let mut states = client.states();
    let there = async {
        while client.transport() != Some(transport) {
            states.changed().await.unwrap();
        }
    };
    timeout(PATIENCE, there).await.expect("the transport in time");
}

async fn until_lost(client: &Client) -> Reason {
    let mut states = client.states();
    let lost = states.wait_for(|state| matches!(state, State::Disconnected { .. }));
    match timeout(PATIENCE, lost).await.unwrap().unwrap().clone() {
        State::Disconnected { reason, .. } => reason,
        other => panic!("{other:?}"),
    }
}

async fn reading(client: &Client) -> Events {
    client.conversation("general").unwrap().events(Start::After(Seq(0))).await.unwrap()
}

async fn send(client: &Client, text: &str) {
    let sent = client.conversation("general").unwrap();
    timeout(PATIENCE, sent.send(text)).await.unwrap().unwrap();
}

#[tokio::test]
async fn where_no_udp_gets_through_a_client_talks_within_a_second() {
    // The fastest counts: a machine that is busy may hold up any one.
    let (mut talks_after, mut leaves_after) = (Duration::MAX, Duration::MAX);
    for _ in 0..3 {
        let server = FakeServer::start();
        let proxy = Proxy::start_with(server.address, TCP_ALONE);
        let begun = Instant::now();
        let client = client(&server, &proxy, NEVER).await;
        send(&client, "hello").await;
        talks_after = talks_after.min(begun.elapsed());
        assert_eq!(client.transport(), Some(Transport::WebSocket));
        assert_eq!(server.world.lock().hellos_over, [Transport::WebSocket]);
        let closing = Instant::now();
        client.close().await;
        leaves_after = leaves_after.min(closing.elapsed());
        server.world.wait_until(|w| w.ends == [(Transport::WebSocket, Some(Code::CLOSED))]).await;
    }
    assert!(talks_after < SOON, "after {talks_after:?}");
    assert!(leaves_after < SOON / 2, "it has waited for the QUIC that was given up: {leaves_after:?}");
}

#[tokio::test]
async fn where_udp_gets_through_nothing_is_tried_over_tcp() {
    for _ in 0..10 {
        let server = FakeServer::start();
        let begun = Instant::now();
        let client = server.builder().transport(Transport::Auto).connect().await.unwrap();
        // A machine that is busy may take longer, and then it says nothing.
        if begun.elapsed() < HEAD_START {
            assert_eq!(client.transport(), Some(Transport::Quic));
            tokio::time::sleep(SOON).await;
            assert_eq!(server.world.lock().hellos_over, [Transport::Quic]);
            return client.close().await;
        }
        client.close().await;
    }
    panic!("it takes too long");
}

#[tokio::test]
async fn a_client_goes_over_to_quic_when_udp_is_back_and_loses_nothing() {
    let server = FakeServer::start();
    let proxy = Proxy::start_with(server.address, TCP_ALONE);
    let client = client(&server, &proxy, AT_ONCE).await;
    let mut events = reading(&client).await;
    let mut states = client.states();
    states.mark_unchanged();
    let talker = client.clone();
    let (stop, mut stopped) = tokio::sync::oneshot::channel();
    let talk = tokio::spawn(async move {
        let mut sent = 0;
        while stopped.try_recv().is_err() {
            send(&talker, "while the client goes over").await;
            sent += 1;
        }
        sent
    });
    assert_eq!(seqs(&mut events, 10).await, (1..=10).collect::<Vec<_>>());
    proxy.pass(BOTH);
    until_over(&client, Transport::Quic).await;
    assert_eq!(*states.borrow_and_update(), State::Connected);
    let closed = (Transport::WebSocket, Some(Code::CLOSED));
    timeout(PATIENCE, server.world.wait_until(|w| w.ends == [closed])).await.unwrap();
    stop.send(()).unwrap();
    let sent = talk.await.unwrap();
    assert_eq!(seqs(&mut events, sent - 10).await, (11..=u64::try_from(sent).unwrap()).collect::<Vec<_>>());
    assert_eq!(server.world.bodies("general").len(), sent);
    assert_eq!(server.world.lock().hellos_over, [Transport::WebSocket, Transport::Quic]);
    client.close().await;
}

#[tokio::test]
async fn when_udp_dies_under_a_client_it_goes_on_over_websocket() {
    let server = FakeServer::start();
    let proxy = Proxy::start_with(server.address, UDP_ALONE);
    let client = client(&server, &proxy, NEVER).await;
    assert_eq!(client.transport(), Some(Transport::Quic));
    let mut events = reading(&client).await;
    send(&client, "over QUIC").await;
    proxy.pass(TCP_ALONE);
    send(&client, "into the silence").await;
    assert_eq!(client.transport(), Some(Transport::WebSocket));
    send(&client, "over WebSocket").await;
    assert_eq!(seqs(&mut events, 3).await, [1, 2, 3]);
    assert_eq!(server.world.bodies("general"), ["over QUIC", "into the silence", "over WebSocket"]);
    client.close().await;
}

#[tokio::test]
async fn the_first_welcome_wins_and_nothing_was_published_on_the_other_path() {
    for winner in [Transport::WebSocket, Transport::Quic] {
        let server = FakeServer::start();
        let proxy = Proxy::start_with(server.address, UDP_ALONE);
        let client = client(&server, &proxy, NEVER).await;
        proxy.pass(BOTH);
        let mut events = reading(&client).await;
        server.world.lock().faults.swallow_acks = 1;
        let sending = client.conversation("general").unwrap().send_pipelined("once".into()).await.unwrap();
        assert_eq!(seqs(&mut events, 1).await, [1]);
        server.world.lock().faults.frames_before_answer = 2;
        server.world.drop_connections(Code::INTERNAL);
        let both_wait = |w: &Inner| w.hellos.len() == 3 && !w.early.is_empty();
        timeout(PATIENCE, server.world.wait_until(both_wait)).await.unwrap();
        {
            let mut world = server.world.lock();
            assert_eq!(world.hellos_over[1..], [Transport::Quic, Transport::WebSocket]);
            let [ClientFrame::Open(open)] = &world.early[..] else { panic!("{:?}", world.early) };
            assert_eq!(open.from, Some(Start::After(Seq(1))));
            world.ends.clear();
            (world.faults.answer_only, world.faults.frames_before_answer) = (Some(winner), 0);
        }
        server.world.changed.notify_waiters();
        let ack = timeout(PATIENCE, sending).await.unwrap().unwrap();
        assert_eq!((ack.seq, ack.duplicate), (Seq(1), true));
        assert_eq!(client.transport(), Some(winner));
        let loser = if winner == Transport::Quic { Transport::WebSocket } else { Transport::Quic };
        let left = [(loser, Some(Code::CLOSED))];
        timeout(PATIENCE, server.world.wait_until(|w| w.ends == left)).await.unwrap();
        assert_eq!(server.world.lock().publishes.len(), 2);
        server.world.fill("general", 1);
        assert_eq!(seqs(&mut events, 1).await, [2]);
        client.close().await;
    }
}

#[tokio::test]
async fn the_path_that_led_there_is_remembered_until_the_client_moves() {
    let server = FakeServer::start();
    let proxy = Proxy::start_with(server.address, TCP_ALONE);
    let client = client(&server, &proxy, NEVER).await;
    proxy.pass(BOTH);
    server.world.drop_connections(Code::INTERNAL);
    timeout(PATIENCE, server.world.wait_until(|w| w.hellos.len() == 2)).await.unwrap();
    until_over(&client, Transport::WebSocket).await;
    // QUIC is the first again, and on a busy machine not the only one.
    proxy.pass(UDP_ALONE);
    client.rebind().unwrap();
    until_over(&client, Transport::Quic).await;
    let (tcp, udp) = (Transport::WebSocket, Transport::Quic);
    assert_eq!(server.world.lock().hellos_over, [tcp, tcp, udp]);
    client.close().await;
}

#[tokio::test]
async fn a_refused_token_stops_the_client_whatever_it_came_over() {
    for passes in [TCP_ALONE, BOTH] {
        let server = FakeServer::start();
        let proxy = Proxy::start_with(server.address, passes);
        server.world.lock().faults.reject_hellos = vec![Code::TOKEN_REJECTED; 2];
        let begun = Instant::now();
        let connecting = server.builder_by_way_of(proxy.address).transport(Transport::Auto).connect();
        let refused = connecting.await.unwrap_err();
        let ConnectError::Refused { reason: Reason::Code { code: Code::TOKEN_REJECTED, .. }, .. } = refused
        else {
            panic!("{refused:?}")
        };
        // It has not waited for the end of what leads nowhere.
        let took = begun.elapsed();
        assert!(took < ATTEMPT_TIMEOUT, "after {took:?}");
        let hellos_over = server.world.lock().hellos_over.clone();
        assert!(
            hellos_over.len() == 1 || (passes == BOTH && took >= HEAD_START),
            "{hellos_over:?} in {took:?}"
        );
    }
}

#[tokio::test]
async fn whatever_answers_in_place_of_a_websocket_is_told() {
    let server = FakeServer::start();
    server.world.lock().faults.answer_requests = Some((404, 0));
    let refused = server.builder().transport(Transport::WebSocket).connect().await.unwrap_err();
    let ConnectError::Refused { reason: Reason::NoWebSocket(text), .. } = &refused else {
        panic!("{refused:?}")
    };
    assert!(text.contains("404"), "{text}");
    // Without an answer over QUIC it may be of something on the way.
    let proxy = Proxy::start_with(server.address, TCP_ALONE);
    let builder = server.builder_by_way_of(proxy.address).transport(Transport::Auto);
    let gave_up = builder.connect_timeout(Duration::from_secs(8)).connect().await.unwrap_err();
    let ConnectError::TimedOut { last: Some(Reason::NoWebSocket(_)), .. } = gave_up else {
        panic!("{gave_up:?}")
    };
    assert!(server.world.lock().hellos.is_empty());
}

#[tokio::test]
async fn a_server_that_takes_no_more_websockets_is_asked_again_when_it_says() {
    let server = FakeServer::over(Transport::WebSocket);
    let client = server.client().await;
    server.world.lock().faults.answer_requests = Some((503, 1));
    server.world.drop_connections(Code::INTERNAL);
    let lost = until_lost(&client).await;
    assert!(matches!(lost, Reason::Code { code: Code::INTERNAL, .. }), "{lost:?}");
    let mut states = client.states();
    let overloaded = |state: &State| {
        matches!(state, State::Disconnected { reason: Reason::Code { code: Code::OVERLOADED, .. }, retry_in }
            if *retry_in >= Duration::from_secs(1))
    };
    timeout(PATIENCE, states.wait_for(overloaded)).await.unwrap().unwrap();
    server.world.lock().faults.answer_requests = None;
    send(&client, "goes on").await;
    client.close().await;
}

#[tokio::test]
async fn a_websocket_that_has_fallen_silent_is_given_up() {
    let server = FakeServer::over(Transport::WebSocket);
    let proxy = Proxy::start(server.address);
    let client = server.builder_by_way_of(proxy.address).connect().await.unwrap();
    let room = client.conversation("general").unwrap();
    room.send("heard").await.unwrap();
    proxy.pass(Passes { udp: false, tcp: false });
    let options = SendOptions { timeout: Some(PATIENCE), ..SendOptions::from("unheard") };
    let sending = room.send_pipelined(options).await.unwrap();
    assert_eq!(until_lost(&client).await, Reason::TimedOut);
    proxy.pass(BOTH);
    assert_eq!(timeout(PATIENCE, sending).await.unwrap().unwrap().seq, Seq(2));
    assert_eq!(server.world.bodies("general"), ["heard", "unheard"]);
    client.close().await;
}

#[tokio::test]
async fn a_client_that_wants_quic_alone_gets_no_websocket() {
    let server = FakeServer::start();
    let proxy = Proxy::start(server.address);
    let client = server.builder_by_way_of(proxy.address).transport(Transport::Quic).connect().await.unwrap();
    proxy.pass(TCP_ALONE);
    let options = SendOptions { timeout: Some(Duration::from_secs(7)), ..SendOptions::from("unheard") };
    let error = client.conversation("general").unwrap().send_with(options).await.unwrap_err();
    assert!(matches!(error, SendError::UnknownOutcome { .. }), "{error:?}");
    assert_eq!(server.world.lock().hellos_over, [Transport::Quic]);
}

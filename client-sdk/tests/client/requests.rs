//! Requests, and what servers tell besides.

use std::time::Duration;

use quoth_client::protocol::frame::ServerFrame;
use quoth_client::protocol::reply::Reply;
use quoth_client::protocol::request::Request;
use quoth_client::{
    Client, Code, ConversationKind, ConversationName, NewConversation, PresenceWatch, Reason, RequestError,
    Role, SendError, Seq, Start, State, Status, Transport, UserId,
};
use tokio::time::timeout;

use super::PATIENCE;
use super::support::requests::refused;
use super::support::{FakeServer, Inner, World};

over_both! {
    each_request_has_its_answer
    answers_find_their_requests_and_no_more_are_asked_than_a_server_reads
    what_changes_nothing_twice_is_repeated_over_a_lost_connection
    what_would_be_done_twice_is_left_unknown
    a_refusal_says_why_and_for_how_long
    a_server_that_knows_no_requests_is_told_apart
    who_is_there_is_told_over_reconnects_until_nobody_wants_to_know
    that_nobody_sits_here_is_said_on_each_connection
    who_is_signed_out_stays_out_and_learns_why
    who_is_replaced_ends_without_an_error
    each_connection_has_a_greater_generation
}

async fn until(world: &World, what: impl Fn(&Inner) -> bool) {
    timeout(PATIENCE, world.wait_until(what)).await.expect("it comes to that");
}

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

async fn each_request_has_its_answer(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let create = NewConversation::group("Team").members(["bob"]).open();
    let done = client.create(create).await.unwrap();
    assert_eq!((done.conversation.as_str(), done.seq, done.time_ms), ("group/made", Some(Seq(7)), 1_007));
    client.create(NewConversation::direct("bob")).await.unwrap();
    client.create(NewConversation::notes().name("mine")).await.unwrap();
    client.join("team", Some("come in")).await.unwrap();
    client.set_member("team", "bob", Role::Admin, None).await.unwrap();
    client.remove("team", "bob").await.unwrap();
    client.rename("team", "The team").await.unwrap();
    client.mute("team", None, u64::MAX).await.unwrap();
    client.ban("team", "bob", 0).await.unwrap();
    client.slow_mode("team", 1_000).await.unwrap();
    assert_eq!(client.invite("team", Role::Member, 0, 1).await.unwrap(), "come in");
    client.revoke_invitations("team").await.unwrap();
    assert_eq!(client.describe("team").await.unwrap().title, "Team");
    let page = client.members("team", None, 2).await.unwrap();
    assert_eq!((page.items.len(), page.more), (2, true));
    assert_eq!(client.blocked().await.unwrap(), [UserId::new("mallory").unwrap()]);
    client.block("mallory", true).await.unwrap();
    assert_eq!(client.sessions().await.unwrap()[0].device.as_str(), "phone");
    client.end_session("phone").await.unwrap();
    assert_eq!(client.conversations(None, 10).await.unwrap().items[0].conversation, name("team"));
    let left = client.leave("team").await.unwrap();
    assert_eq!(left.conversation, name("team"));
    let asked = server.world.lock().requests.asked.clone();
    assert_eq!(asked.len(), 20);
    let expected = Request::Create {
        conversation: None,
        kind: ConversationKind::Group,
        title: "Team".to_owned(),
        members: vec![UserId::new("bob").unwrap()],
        open: true,
    };
    assert_eq!(asked[0], expected);
    assert_eq!(asked[19], Request::Leave { conversation: name("team") });

    assert!(matches!(client.join("", None).await, Err(RequestError::BadId(_))));
    server.world.lock().requests.answers = vec![Reply::Users { users: vec![] }];
    assert!(matches!(client.describe("team").await, Err(RequestError::Protocol(_))));
    server.world.lock().requests.answers =
        vec![Reply::Done { conversation: name("team"), seq: Seq(0), time_ms: 0 }];
    assert_eq!(client.leave("team").await.unwrap().seq, None, "nothing had to change");
    client.close().await;
}

async fn answers_find_their_requests_and_no_more_are_asked_than_a_server_reads(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    server.world.lock().requests.hold = true;
    let rooms: Vec<String> = (0..40).map(|i| format!("room {i}")).collect();
    let asked: Vec<_> = rooms
        .iter()
        .map(|room| {
            let (client, room) = (client.clone(), room.clone());
            tokio::spawn(async move { client.describe(room).await })
        })
        .collect();
    until(&server.world, |w| w.requests.asked.len() == 16).await;
    // What might have left with them has come by now.
    client.conversation("general").unwrap().send("a round trip").await.unwrap();
    server.world.lock().requests.hold = false;
    server.world.changed.notify_waiters();
    for (room, asked) in rooms.iter().zip(asked) {
        let info = timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
        assert_eq!(info.conversation.as_str(), room);
    }
    let counts = {
        let requests = &server.world.lock().requests;
        (requests.asked.len(), requests.under_way_max)
    };
    assert_eq!(counts, (40, 16));
    client.close().await;
}

/// Asks, and loses the connection before the answer.
async fn lose_the_answer<T: Send + 'static>(
    server: &FakeServer,
    asks: impl Future<Output = Result<T, RequestError>> + Send + 'static,
) -> Result<T, RequestError> {
    server.world.lock().requests.hold = true;
    let asked = tokio::spawn(asks);
    until(&server.world, |w| w.requests.asked.len() == 1).await;
    server.world.drop_connections(Code::OVERLOADED);
    until(&server.world, |w| w.hellos.len() == 2).await;
    server.world.lock().requests.hold = false;
    server.world.changed.notify_waiters();
    timeout(PATIENCE, asked).await.unwrap().unwrap()
}

async fn what_changes_nothing_twice_is_repeated_over_a_lost_connection(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let asks = {
        let client = client.clone();
        async move { client.leave("team").await }
    };
    assert_eq!(lose_the_answer(&server, asks).await.unwrap().conversation, name("team"));
    let leave = Request::Leave { conversation: name("team") };
    assert_eq!(server.world.lock().requests.asked, [leave.clone(), leave]);
    client.close().await;
}

async fn what_would_be_done_twice_is_left_unknown(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let asks = {
        let client = client.clone();
        async move { client.create(NewConversation::group("Team")).await }
    };
    let error = lose_the_answer(&server, asks).await.unwrap_err();
    assert!(matches!(error, RequestError::UnknownOutcome { reason: Reason::Transport(_) }), "{error:?}");
    assert_eq!(server.world.lock().requests.asked.len(), 1);
    client.close().await;
}

async fn a_refusal_says_why_and_for_how_long(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    server.world.lock().requests.answers = vec![refused(Code::RATE_LIMITED, 1_500, "too\u{1b} much")];
    let error = client.leave("team").await.unwrap_err();
    let text = "the server refused this: rate_limited (0x105): too\\u{1b} much; again in 2 s";
    assert_eq!(error.to_string(), text);
    let RequestError::Refused { code: Code::RATE_LIMITED, retry_after: Some(wait), .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(wait, Duration::from_millis(1_500));
    for code in [Code::TIMED_OUT, Code::STORE_FAILED, Code::INTERNAL] {
        server.world.lock().requests.answers = vec![refused(code, 0, "busy")];
        let error = client.leave("team").await.unwrap_err();
        let reason = Reason::Code { code, text: "busy".to_owned() };
        assert_eq!(error, RequestError::UnknownOutcome { reason }, "such a server cannot tell");
    }
    server.world.lock().faults.refuse_for = Some((Code::SLOW_MODE, 2_000));
    let error = client.conversation("team").unwrap().send("hi").await.unwrap_err();
    let text = error.to_string();
    assert!(text.ends_with("slow_mode (0x106): be\\u{7}fair; again in 2 s"), "{text}");
    let SendError::Refused { code: Code::SLOW_MODE, retry_after, .. } = error else { panic!("{error:?}") };
    assert_eq!(retry_after, Some(Duration::from_secs(2)));
    client.close().await;
}

async fn a_server_that_knows_no_requests_is_told_apart(over: Transport) {
    let server = FakeServer::over(over);
    server.world.lock().requests.unknown = true;
    let client = server.client().await;
    client.set_away(true);
    assert_eq!(client.sessions().await, Err(RequestError::Unsupported));
    // Neither was sent: the fake server ends a connection on which they come.
    client.conversation("general").unwrap().send("still here").await.unwrap();
    assert_eq!(server.world.lock().hellos.len(), 1);
    client.close().await;
}

fn presence(conversation: &str, user: &str, status: Status) -> ServerFrame {
    let (conversation, user) = (name(conversation), UserId::new(user).unwrap());
    ServerFrame::Presence { conversation, user, status, last_seen_ms: 5 }
}

async fn knows(watch: &mut PresenceWatch, expected: &[(&str, Status)]) {
    let known = |watch: &PresenceWatch| {
        let members = watch.members().into_iter();
        members.map(|(user, presence)| (user.to_string(), presence.status)).collect::<Vec<_>>()
    };
    let expected: Vec<_> = expected.iter().map(|(user, status)| ((*user).to_owned(), *status)).collect();
    while known(watch) != expected {
        let changed = timeout(PATIENCE, watch.changed()).await;
        changed.unwrap_or_else(|_| panic!("{:?} instead of {expected:?}", known(watch))).unwrap();
    }
}

fn watches(world: &World) -> Vec<bool> {
    let asked = &world.lock().requests.asked;
    let watches = asked.iter().filter_map(|request| match request {
        Request::WatchPresence { watch, .. } => Some(*watch),
        _ => None,
    });
    watches.collect()
}

async fn who_is_there_is_told_over_reconnects_until_nobody_wants_to_know(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let mut watch = client.watch_presence("team").await.unwrap();
    let other = client.watch_presence("team").await.unwrap();
    server.world.tell_all(&presence("team", "bob", Status::Online));
    server.world.tell_all(&presence("elsewhere", "eve", Status::Online));
    server.world.tell_all(&presence("team", "carol", Status::Away));
    knows(&mut watch, &[("bob", Status::Online), ("carol", Status::Away)]).await;
    server.world.drop_connections(Code::OVERLOADED);
    until(&server.world, |w| w.requests.asked.len() == 3).await;
    server.world.tell_all(&presence("team", "carol", Status::Online));
    knows(&mut watch, &[("carol", Status::Online)]).await;
    // The server has ended it, and has another opinion when it is asked why.
    let own = client.welcome().unwrap().user.to_string();
    server.world.tell_all(&presence("team", &own, Status::Offline));
    until(&server.world, |w| w.requests.asked.len() == 4).await;
    knows(&mut watch, &[]).await;
    server.world.tell_all(&presence("team", "bob", Status::Online));
    knows(&mut watch, &[("bob", Status::Online)]).await;
    drop(other);
    drop(watch);
    // Its answer is not to be the one of the next request.
    until(&server.world, |w| w.requests.answered == 5).await;
    assert_eq!(watches(&server.world), [true, true, true, true, false]);

    server.world.lock().requests.answers = vec![refused(Code::FORBIDDEN, 0, "")];
    assert!(client.watch_presence("team").await.is_err());
    let mut watch = client.watch_presence("team").await.unwrap();
    server.world.lock().requests.answers = vec![refused(Code::FORBIDDEN, 0, "")];
    server.world.drop_connections(Code::OVERLOADED);
    let end = async {
        loop {
            if let Err(error) = watch.changed().await {
                return error;
            }
        }
    };
    let end = timeout(PATIENCE, end).await.unwrap();
    assert!(matches!(end, RequestError::Refused { code: Code::FORBIDDEN, .. }), "{end:?}");
    assert_eq!(watch.changed().await, Err(end), "it stays ended");
    let mut watch = client.watch_presence("team").await.unwrap();
    server.world.lock().requests.answers = vec![refused(Code::TOO_MANY, 0, "")];
    let own = client.welcome().unwrap().user.to_string();
    server.world.tell_all(&presence("team", &own, Status::Offline));
    let end = async {
        loop {
            if let Err(error) = watch.changed().await {
                return error;
            }
        }
    };
    let end = timeout(PATIENCE, end).await.unwrap();
    assert!(matches!(end, RequestError::Refused { code: Code::TOO_MANY, .. }), "{end:?}");
    let _anew = client.watch_presence("team").await.unwrap();
    client.close().await;
}

async fn that_nobody_sits_here_is_said_on_each_connection(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    client.set_away(false);
    client.set_away(true);
    until(&server.world, |w| w.requests.statuses == [true]).await;
    server.world.drop_connections(Code::OVERLOADED);
    until(&server.world, |w| w.requests.statuses == [true, true]).await;
    client.set_away(false);
    until(&server.world, |w| w.requests.statuses == [true, true, false]).await;
    server.world.drop_connections(Code::OVERLOADED);
    until(&server.world, |w| w.connections.len() == 1).await;
    client.sessions().await.unwrap();
    assert_eq!(server.world.lock().requests.statuses.len(), 3, "who is back says nothing");
    client.close().await;
}

fn go_away(code: Code, reason: &str) -> ServerFrame {
    ServerFrame::GoAway { code, retry_after_ms: 0, reason: reason.to_owned() }
}

async fn closed(client: &Client) -> Reason {
    let mut states = client.states();
    let closed = timeout(PATIENCE, states.wait_for(|s| matches!(s, State::Closed { .. }))).await;
    let State::Closed { reason } = closed.unwrap().unwrap().clone() else { unreachable!() };
    reason
}

async fn who_is_signed_out_stays_out_and_learns_why(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Live).await.unwrap();
    server.world.tell_all(&go_away(Code::KICKED, "signed in elsewhere"));
    let reason = closed(&client).await;
    let expected = Reason::Code { code: Code::KICKED, text: "signed in elsewhere".to_owned() };
    assert_eq!(reason, expected);
    while let Some(Ok(_)) = timeout(PATIENCE, events.next()).await.unwrap() {}
    let error = client.sessions().await.unwrap_err();
    assert_eq!(error, RequestError::NotSent { reason: expected });
    assert_eq!(server.world.lock().hellos.len(), 1);

    // However the connection ends behind it.
    let client = server.client().await;
    server.world.lock().faults.stay_behind_go_away = true;
    server.world.lock().requests.hold = true;
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.sessions().await }
    });
    until(&server.world, |w| w.requests.asked.len() == 1).await;
    server.world.tell_all(&go_away(Code::KICKED, "out"));
    server.world.lock().requests.hold = false;
    server.world.changed.notify_waiters();
    // The answer comes behind the GoAway.
    timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap();
    server.world.drop_connections(Code::OVERLOADED);
    assert_eq!(closed(&client).await, Reason::Code { code: Code::KICKED, text: "out".to_owned() });
    assert_eq!(server.world.lock().hellos.len(), 2);
}

async fn who_is_replaced_ends_without_an_error(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Live).await.unwrap();
    server.world.drop_connections(Code::REPLACED);
    assert!(matches!(closed(&client).await, Reason::Code { code: Code::REPLACED, .. }));
    while let Some(event) = timeout(PATIENCE, events.next()).await.unwrap() {
        event.unwrap();
    }
    assert_eq!(server.world.lock().hellos.len(), 1);
}

async fn each_connection_has_a_greater_generation(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    for hellos in 2..=3 {
        server.world.drop_connections(Code::OVERLOADED);
        until(&server.world, |w| w.hellos.len() == hellos).await;
    }
    let generations: Vec<u64> = server.world.lock().hellos.iter().map(|hello| hello.generation).collect();
    assert!(generations.windows(2).all(|pair| pair[0] < pair[1]), "{generations:?}");
    assert!(generations[0] > 1_700_000_000_000, "milliseconds since 1970: {generations:?}");
    client.close().await;
}

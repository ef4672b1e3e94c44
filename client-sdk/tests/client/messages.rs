//! What becomes of messages, marks and the inbox, over connections that are lost.

use quoth_client::protocol::frame::ServerFrame;
use quoth_client::protocol::inbox::{HeldRow, InboxRow};
use quoth_client::protocol::reply::Reply;
use quoth_client::protocol::request::Request;
use quoth_client::{
    Code, ConversationName, RequestError, SendError, SendOptions, Seq, Start, Transport, UserId,
};
use tokio::time::timeout;

use super::support::requests::refused;
use super::support::{FakeServer, Inner, World};
use super::{PATIENCE, seqs};

over_both! {
    who_watches_the_inbox_goes_on_where_the_connection_was_lost
    a_revocation_that_was_done_before_its_answer_was_lost_is_done
    what_was_taken_is_marked_by_itself_and_once
    a_server_that_knows_nothing_of_messages_is_told_apart
    what_cannot_be_sent_is_refused_at_once
}

async fn until(world: &World, what: impl Fn(&Inner) -> bool) {
    timeout(PATIENCE, world.wait_until(what)).await.expect("it comes to that");
}

fn knowing(over: Transport) -> FakeServer {
    let server = FakeServer::over(over);
    server.world.lock().requests.messages = true;
    server
}

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

fn row(conversation: &str, version: u64) -> InboxRow {
    InboxRow {
        conversation: name(conversation),
        kind: None,
        title: String::new(),
        head: Seq(version),
        time_ms: 0,
        last: None,
        unread: 0,
        mentions: 0,
        read: Seq(0),
        archived: false,
        muted_until_ms: 0,
        pinned: false,
        gone: false,
        version,
        stale_ms: 0,
    }
}

async fn who_watches_the_inbox_goes_on_where_the_connection_was_lost(over: Transport) {
    let server = knowing(over);
    let client = server.client().await;
    let stale = |of: &str, stale_ms| InboxRow { stale_ms, ..row(of, 1) };
    let mut watch = client.watch_inbox(Some(5), &[stale("kept", 70), row("for ever", 1)]).await.unwrap();
    let watching = |since, held: &[(&str, u64)]| {
        let held = held.iter().map(|(of, stale_ms)| HeldRow { conversation: name(of), stale_ms: *stale_ms });
        Request::WatchInbox { since, watch: true, held: held.collect() }
    };
    assert_eq!(server.world.lock().requests.asked, [watching(Some(5), &[("kept", 70)])]);
    let page = vec![stale("kept", 80), stale("a", 60), stale("b", 50), stale("paged", 65), row("c", 1)];
    server.world.lock().requests.answers = vec![Reply::Inbox { rows: page, next: None, version: 5 }];
    assert_eq!(client.inbox(None, 9).await.unwrap().rows.len(), 5);
    assert_eq!(watch.version(), 5, "nothing was told yet");
    let last = InboxRow { stale_ms: 40, ..row("b", 20) };
    // The rows of what has changed long ago are as new as any, and yet more of that is to come.
    for (known, row) in [(5, row("b", 17)), (5, row("a", 18)), (10, last.clone())] {
        server.world.tell_all(&ServerFrame::InboxRow { known, row: Box::new(row) });
    }
    let mut rows = std::collections::BTreeMap::new();
    while watch.version() != 10 {
        let changes = timeout(PATIENCE, watch.changes()).await.unwrap().unwrap();
        assert!(!changes.incomplete);
        rows.extend(changes.rows.into_iter().map(|row| (row.conversation.clone(), row)));
    }
    // One row for each conversation, the latest.
    assert_eq!(rows.into_values().collect::<Vec<_>>(), [row("a", 18), last]);

    // What goes stale first is said first, and of two rows the latest counts.
    let held = [("b", 40), ("paged", 65), ("kept", 70)];
    server.world.lock().requests.answers = vec![Reply::Watching { version: 99, complete: false }];
    server.world.drop_connections(Code::OVERLOADED);
    let changes = timeout(PATIENCE, watch.changes()).await.unwrap().unwrap();
    assert!(changes.incomplete && changes.rows.is_empty());
    assert_eq!(server.world.lock().requests.asked[2], watching(Some(10), &held));
    assert_eq!(watch.version(), 99, "what is asked for again");
    drop(watch);
    until(&server.world, |w| w.requests.asked.len() == 4).await;
    assert_eq!(
        server.world.lock().requests.asked[3],
        Request::WatchInbox { since: None, watch: false, held: Vec::new() }
    );
    client.close().await;
}

async fn a_revocation_that_was_done_before_its_answer_was_lost_is_done(over: Transport) {
    let server = knowing(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let gone = || refused(Code::NOT_FOUND_MESSAGE, 0, "no such message");
    server.world.lock().requests.answers = vec![gone()];
    let error = room.revoke(Seq(3)).await.unwrap_err();
    assert!(matches!(error, RequestError::Refused { code: Code::NOT_FOUND_MESSAGE, .. }), "{error}");

    server.world.lock().requests.hold = true;
    let revoked = tokio::spawn(async move { room.revoke(Seq(3)).await });
    until(&server.world, |w| w.requests.asked.len() == 2).await;
    // The first one of the two answers is lost with its connection.
    server.world.lock().requests.answers = vec![gone(), gone()];
    server.world.drop_connections(Code::OVERLOADED);
    until(&server.world, |w| w.hellos.len() == 2).await;
    server.world.lock().requests.hold = false;
    server.world.changed.notify_waiters();
    let done = timeout(PATIENCE, revoked).await.unwrap().unwrap().unwrap();
    assert_eq!((done.conversation, done.seq), (name("general"), None));
    client.close().await;
}

async fn what_was_taken_is_marked_by_itself_and_once(over: Transport) {
    let server = knowing(over);
    server.world.fill("general", 5);
    let silent = server.builder().mark_delivered(false).connect().await.unwrap();
    let mut unmarked = silent.conversation("general").unwrap().events(Start::Last(5)).await.unwrap();
    assert_eq!(seqs(&mut unmarked, 5).await, [1, 2, 3, 4, 5]);
    drop(unmarked);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mut events = room.events(Start::Last(5)).await.unwrap();
    assert_eq!(seqs(&mut events, 5).await, [1, 2, 3, 4, 5]);
    // While it has no answer, the next mark would wait for it.
    until(&server.world, |w| w.requests.answered == 1).await;
    let mark = |delivered| Request::Mark { conversation: name("general"), delivered, read: Seq::ZERO };
    assert_eq!(server.world.lock().requests.asked, [mark(Seq(5))]);
    // One's own need no mark; what is left when the reading ends is marked at once.
    room.send("mine").await.unwrap();
    assert_eq!(seqs(&mut events, 1).await, [6]);
    server.world.fill("general", 1);
    assert_eq!(seqs(&mut events, 1).await, [7]);
    drop(events);
    until(&server.world, |w| w.requests.asked.len() > 1).await;
    assert_eq!(server.world.lock().requests.asked[1..], [mark(Seq(7))]);
    client.close().await;
    silent.close().await;
    assert_eq!(server.world.lock().requests.asked.len(), 2, "who does not want it does not say it");
}

async fn a_server_that_knows_nothing_of_messages_is_told_apart(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    assert_eq!(room.react(Seq(1), "+1", true).await, Err(RequestError::Unsupported));
    assert_eq!(client.inbox(None, 50).await, Err(RequestError::Unsupported));
    client.leave("team").await.unwrap();
    client.close().await;
}

async fn what_cannot_be_sent_is_refused_at_once(over: Transport) {
    let server = knowing(over);
    let client = server.client().await;
    let room = client.conversation("general").unwrap();
    let mentions = vec![UserId::new("bob").unwrap(); 51];
    let error = room.send(SendOptions { mentions, ..SendOptions::from("hi") }).await.unwrap_err();
    assert_eq!(error, SendError::TooManyMentions { count: 51 });
    let expires_in = Some(std::time::Duration::from_micros(999));
    let error = room.send(SendOptions { expires_in, ..SendOptions::from("hi") }).await.unwrap_err();
    assert_eq!(error, SendError::ExpiresAtOnce);
    assert!(server.world.bodies("general").is_empty());
    client.close().await;
}

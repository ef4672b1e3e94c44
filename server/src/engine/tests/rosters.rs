//! Who reads a conversation is told to those who want to know, and to nobody else.

use std::sync::Arc;
use std::time::Duration;

use quoth_core::authorize::Grant;
use quoth_protocol::codec::{Decoder, decode};
use quoth_protocol::frame::{Present, ServerFrame};
use quoth_protocol::limits::{FRAME_BYTES_MAX, ROSTER_USERS_MAX};
use quoth_protocol::{Pattern, Seq, UserId};
use quoth_store::{MemoryLog, MemoryView};

use super::world::{room, start, stop};
use crate::engine::{Caller, Engine, Mailbox, RosterWatch, Subscription};

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn reader(engine: &Engine, name: &str, wants_roster: bool) -> (Arc<Mailbox>, Subscription) {
    let mailbox = engine.mailbox(&user(name), Arc::default(), wants_roster);
    let subscription = engine.subscribe(&room("general"), &mailbox);
    (mailbox, subscription)
}

/// The next roster that a watcher is woken for: how many users, and those named.
async fn next(watch: &mut RosterWatch, mailbox: &Mailbox) -> (u32, Vec<(String, u64)>) {
    let frame = loop {
        if let Some(frame) = watch.take() {
            break frame;
        }
        tokio::time::timeout(Duration::from_secs(30), mailbox.woken()).await.expect("a roster comes");
    };
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    decoder.push(&frame);
    match decode(&decoder.next_bytes().unwrap().unwrap()).unwrap() {
        ServerFrame::Roster { users, present } => {
            let named = |Present { user, seen, .. }| (user.to_string(), seen.0);
            (users, present.into_iter().map(named).collect())
        }
        other => panic!("no roster: {other:?}"),
    }
}

fn named(users: &[(&str, u64)]) -> (u32, Vec<(String, u64)>) {
    (
        u32::try_from(users.len()).unwrap(),
        users.iter().map(|(user, seen)| ((*user).to_owned(), *seen)).collect(),
    )
}

#[tokio::test]
async fn who_comes_goes_and_reads_on_is_told() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let (bob, bobs) = reader(&engine, "bob", true);
    let mut watch = engine.watch_roster(&room("general"), &user("bob"));
    assert_eq!(next(&mut watch, &bob).await, named(&[("bob", 0)]));
    let (alice, alices) = reader(&engine, "alice", false);
    assert_eq!(next(&mut watch, &bob).await, named(&[("alice", 0), ("bob", 0)]));
    let (other_alice, other_alices) = reader(&engine, "alice", false);
    engine.seen(&room("general"), &other_alice, Seq(7));
    engine.seen(&room("general"), &alice, Seq(5));
    engine.seen(&room("general"), &other_alice, Seq(6));
    assert_eq!(next(&mut watch, &bob).await, named(&[("alice", 7), ("bob", 0)]), "a user is there once");
    drop((alices, other_alices));
    assert_eq!(next(&mut watch, &bob).await, named(&[("bob", 0)]));
    drop((bobs, watch));
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn a_crowd_is_counted_and_not_named() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let crowd: Vec<_> =
        (0..ROSTER_USERS_MAX + 3).map(|i| reader(&engine, &format!("user {i:03}"), false)).collect();
    let (bob, bobs) = reader(&engine, "bob", true);
    let mut watch = engine.watch_roster(&room("general"), &user("bob"));
    let (users, present) = next(&mut watch, &bob).await;
    assert_eq!((users as usize, present.len()), (ROSTER_USERS_MAX + 4, ROSTER_USERS_MAX));
    assert_eq!(present[0].0, "bob", "in the order of their bytes");
    drop((crowd, bobs, watch));
    stop(engine, stopper).await.unwrap();
}

#[tokio::test]
async fn who_has_blocked_a_reader_is_not_there_for_that_one() {
    let (engine, stopper) = start(MemoryLog::new(), MemoryView::new());
    let everything = || Some(vec![Pattern::new("*")]);
    let grant = Grant {
        user: user("alice"),
        read: everything(),
        write: everything(),
        publish_as: vec![],
        names_freely: false,
    };
    let (alice, alices) = reader(&engine, "alice", true);
    let (bob, bobs) = reader(&engine, "bob", true);
    let mut of_alice = engine.watch_roster(&room("general"), &user("alice"));
    let mut of_bob = engine.watch_roster(&room("general"), &user("bob"));
    let both = named(&[("alice", 0), ("bob", 0)]);
    while next(&mut of_alice, &alice).await != both {}
    while next(&mut of_bob, &bob).await != both {}
    for blocked in [true, false] {
        let caller = Caller::User(Arc::new(grant.clone()));
        engine.block(caller, user("bob"), blocked).await.unwrap();
        engine.roster_changed(&room("general"));
        let expected = if blocked { named(&[("bob", 0)]) } else { both.clone() };
        while next(&mut of_bob, &bob).await != expected {}
        assert_eq!(next(&mut of_alice, &alice).await, both, "nothing is different for alice");
    }
    drop((alices, bobs, of_alice, of_bob));
    stop(engine, stopper).await.unwrap();
}

//! Cursors: stored seldom, never further back, and told when they are stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quoth_core::membership::Change;
use quoth_core::receipts::{CURSOR, Cursor, key_of};
use quoth_protocol::limits::RECEIPT_MEMBERS_MAX;
use quoth_protocol::membership::Role;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::{MemoryView, Register};

use super::lists::{World, caller, user};
use super::room::log_with_room;
use super::world::{publisher, room, start, stop, stored as stored_at};
use crate::engine::inbox::CURSOR_INTERVAL_MS;
use crate::engine::{Engine, Greeting, Mailbox, Publisher, Role as PublisherRole, Subscription};

const PATIENCE: Duration = Duration::from_secs(60);

/// A stream that reads and is told of others.
async fn reader(engine: &Engine, name: &ConversationName, of: &str) -> (Arc<Mailbox>, Subscription) {
    let mailbox = engine.mailbox(&user(of), Arc::default(), true);
    mailbox.set_wants_receipts(true);
    let subscription = engine.subscribe(name, &mailbox);
    let access = engine.access(name, &user(of)).await.unwrap();
    let id = quoth_protocol::ProducerId(1);
    let publisher = Publisher::new(access, PublisherRole::User, user(of), id, Arc::clone(&mailbox));
    engine.enter(&publisher, false, Greeting::All).await.unwrap();
    (mailbox, subscription)
}

fn cursor(delivered: u64, read: u64) -> Cursor {
    Cursor::new(Seq(delivered), Seq(read))
}

async fn messages(world: &mut World, name: &str, count: usize) {
    for _ in 0..count {
        world.publish(&room(name), "alice", &[]).await;
    }
}

/// A user's cursor as the view alone has it.
async fn stored(world: &World, name: &ConversationName, of: &str) -> Cursor {
    let rows = world.engine.registers(name.clone(), &[CURSOR], 99).await.unwrap();
    let row = rows.iter().find(|(key, _)| *key == key_of(&user(of)));
    row.map_or_else(Cursor::default, |(_, row)| Cursor::decode(row).unwrap())
}

/// Waits until a mailbox is told that a user is there.
async fn told(mailbox: &Mailbox, of: &str, expected: Cursor) {
    let told = async {
        loop {
            if mailbox.take_receipts().get(&user(of)) == Some(&expected) {
                return;
            }
            mailbox.woken().await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it is told");
}

#[tokio::test]
async fn a_cursor_is_stored_once_a_second_and_told_to_those_who_read() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    messages(&mut world, "a", 50).await;
    let (alice, _alices) = reader(&world.engine, &room("a"), "alice").await;
    let (phone, _phones) = reader(&world.engine, &room("a"), "bob").await;
    let (laptop, _laptops) = reader(&world.engine, &room("a"), "bob").await;
    world.engine.seen(&room("a"), &phone, Seq(5));
    told(&alice, "bob", cursor(5, 5)).await;
    told(&laptop, "bob", cursor(5, 5)).await;
    assert_eq!(laptop.seen(), Seq(5), "devices share it");
    assert_eq!(world.notices(&room("a")).await, 1);
    for seq in 6..40 {
        world.engine.seen(&room("a"), if seq % 2 == 0 { &phone } else { &laptop }, Seq(seq));
    }
    // What is stored behind these is not held up by them, and they wait.
    world.engine.mark(&room("a"), &user("alice"), cursor(9, 9)).await.unwrap();
    assert_eq!(stored(&world, &room("a"), "bob").await, cursor(5, 5));
    world.clock.advance(CURSOR_INTERVAL_MS);
    world.engine.seen(&room("a"), &phone, Seq(3));
    told(&alice, "bob", cursor(39, 39)).await;
    assert_eq!(world.notices(&room("a")).await, 3, "of 36 sayings of two");
    world.stop().await;
}

#[tokio::test]
async fn how_many_have_left_keeps_nobody_s_receipts_from_anybody() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    messages(&mut world, "a", 9).await;
    let left = (0..1_000).map(|n| user(&format!("left {n}")));
    let registers = left
        .chain([user("bob")])
        .map(|user| Register { key: key_of(&user).into(), value: Some(cursor(5, 4).encode().into()) });
    world.engine.note(room("a"), registers.collect()).await.unwrap();
    assert_eq!(world.engine.registers(room("a"), &[CURSOR], 9).await.unwrap().len(), 9);
    let (alice, _alices) = reader(&world.engine, &room("a"), "alice").await;
    assert_eq!(alice.take_receipts(), [(user("bob"), cursor(5, 4))].into_iter().collect());
    world.stop().await;
}

#[tokio::test]
async fn two_devices_never_set_each_other_back() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    messages(&mut world, "a", 50).await;
    let (room, bob) = (room("a"), user("bob"));
    for (mark, expected) in [
        (cursor(10, 7), cursor(10, 7)),
        (cursor(3, 2), cursor(10, 7)),
        (cursor(8, 8), cursor(10, 8)),
        (cursor(30, 0), cursor(30, 8)),
        (cursor(0, 999), cursor(53, 53)),
        (cursor(0, 0), cursor(53, 53)),
    ] {
        // So late that what was stored before is known to the view alone.
        world.clock.advance(10 * CURSOR_INTERVAL_MS);
        assert_eq!(world.engine.mark(&room, &bob, mark).await.unwrap(), expected, "{mark:?} as told");
        assert_eq!(world.engine.cursor(&room, &bob).await.unwrap(), expected, "{mark:?}");
        assert_eq!(stored(&world, &room, "bob").await, expected, "{mark:?} in the view");
    }
    // Each of many says something else at the same time.
    world.group(&super::world::room("b"), "alice", &["bob"]).await;
    messages(&mut world, "b", 50).await;
    let b = super::world::room("b");
    let marks = (1..=40).map(|seq| world.engine.mark(&b, &bob, cursor(seq, 41 - seq)));
    let marked = futures_util::future::join_all(marks);
    let pass = async {
        loop {
            tokio::time::sleep(Duration::from_millis(20)).await;
            world.clock.advance(CURSOR_INTERVAL_MS);
        }
    };
    tokio::select! {
        marked = marked => assert!(marked.iter().all(Result::is_ok)),
        () = pass => {}
    }
    assert_eq!(stored(&world, &b, "bob").await, cursor(40, 40));
    world.stop().await;
}

#[tokio::test]
async fn it_is_told_who_has_a_message_and_in_large_groups_how_many() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob", "carol", "dave"]).await;
    messages(&mut world, "a", 3).await;
    let seq = Seq(7);
    world.engine.mark(&room("a"), &user("bob"), cursor(8, 7)).await.unwrap();
    world.engine.mark(&room("a"), &user("carol"), cursor(7, 6)).await.unwrap();
    world.engine.mark(&room("a"), &user("dave"), cursor(6, 6)).await.unwrap();
    world.engine.mark(&room("a"), &user("alice"), cursor(8, 8)).await.unwrap();
    let receipts = world.engine.receipts(&user("alice"), &room("a"), seq).await.unwrap().unwrap();
    assert_eq!((receipts.delivered, receipts.read), (2, 1), "its sender does not count");
    assert_eq!(receipts.users, [(user("bob"), cursor(8, 7)), (user("carol"), cursor(7, 6))]);
    assert_eq!(world.engine.receipts(&user("alice"), &room("a"), Seq(1)).await.unwrap(), None, "no message");
    assert_eq!(world.engine.receipts(&user("alice"), &room("a"), Seq(99)).await.unwrap(), None);
    for n in 0..RECEIPT_MEMBERS_MAX {
        let set = Change::SetMember { user: user(&format!("u{n}")), role: Role::Member, permissions: None };
        world.engine.change(caller("alice"), &room("a"), set).await.unwrap();
    }
    world.engine.change(caller("carol"), &room("a"), Change::Leave).await.unwrap();
    let receipts = world.engine.receipts(&user("alice"), &room("a"), seq).await.unwrap().unwrap();
    assert_eq!((receipts.delivered, receipts.read, receipts.users.len()), (1, 1, 0));
    // Nobody is told one by one there.
    let (alice, _alices) = reader(&world.engine, &room("a"), "alice").await;
    alice.take_receipts();
    world.clock.advance(CURSOR_INTERVAL_MS);
    world.engine.mark(&room("a"), &user("dave"), cursor(8, 8)).await.unwrap();
    assert!(alice.take_receipts().is_empty());
    world.stop().await;
}

#[tokio::test]
async fn many_cursors_at_once_cost_nobody_a_look_who_is_not_told_of_them() {
    let world = World::new();
    let users: Vec<_> = (0..40).map(|n| format!("u{n:02}")).collect();
    let members: Vec<_> = users.iter().map(String::as_str).collect();
    for name in ["small", "large"] {
        world.group(&room(name), "alice", &members).await;
    }
    for n in 0..RECEIPT_MEMBERS_MAX {
        let set = Change::SetMember { user: user(&format!("v{n}")), role: Role::Member, permissions: None };
        world.engine.change(caller("alice"), &room("large"), set).await.unwrap();
    }
    let all_read = async |world: &World, name: &str, seq| {
        let name = room(name);
        let ids: Vec<_> = members.iter().map(|of| user(of)).collect();
        let marks = ids.iter().map(|of| world.engine.mark(&name, of, cursor(seq, seq)));
        assert!(futures_util::future::join_all(marks).await.iter().all(Result::is_ok));
    };
    // What was known of users is not any more.
    world.settled().await;
    let mut world = world.again();
    // In a large one nobody is told of them one by one but on their own devices.
    let (alice, _alices) = reader(&world.engine, &room("large"), "alice").await;
    let (phone, _phones) = reader(&world.engine, &room("large"), "u07").await;
    messages(&mut world, "large", 1).await;
    let begun = world.told.blocks.load(Ordering::SeqCst);
    all_read(&world, "large", 3).await;
    assert_eq!(world.told.blocks.load(Ordering::SeqCst), begun, "whom they have blocked does not matter");
    assert!(alice.take_receipts().is_empty());
    assert_eq!((phone.seen(), alice.seen()), (Seq(3), Seq(0)));
    // In a small one everybody is, but of those who want nothing of them.
    let (alice, _alices) = reader(&world.engine, &room("small"), "alice").await;
    let (other, _others) = reader(&world.engine, &room("small"), "u07").await;
    let silent = world.engine.mailbox(&user("u08"), Arc::default(), true);
    let _silents = world.engine.subscribe(&room("small"), &silent);
    world.engine.block(caller("u09"), user("u07"), true).await.unwrap();
    let begun = world.told.blocks.load(Ordering::SeqCst);
    all_read(&world, "small", 3).await;
    assert_eq!(alice.take_receipts().len(), 40);
    let told = other.take_receipts();
    assert!(told.len() == 39 && !told.contains_key(&user("u09")), "{told:?}");
    assert_eq!((other.seen(), silent.seen(), silent.take_receipts().len()), (Seq(3), Seq(3), 0));
    assert!(world.told.blocks.load(Ordering::SeqCst) - begun <= 40, "each of them once");
    world.stop().await;
}

#[tokio::test]
async fn so_many_that_they_take_several_rounds_are_stored_before_the_end() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &[]).await;
    messages(&mut world, "a", 1).await;
    let many = 5_000;
    for n in 0..many {
        let mailbox = world.engine.mailbox(&user(&format!("u{n}")), Arc::default(), false);
        world.engine.seen(&room("a"), &mailbox, Seq(1));
    }
    world.engine.settle().await;
    let rows = world.engine.registers(room("a"), &[CURSOR], many + 1).await.unwrap();
    assert_eq!(rows.len(), many);
    assert!(world.notices(&room("a")).await >= 2, "not in one record");
    world.stop().await;
}

#[tokio::test]
async fn who_comes_is_told_how_far_everybody_is() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    messages(&mut world, "a", 5).await;
    world.engine.mark(&room("a"), &user("bob"), cursor(7, 6)).await.unwrap();
    world.engine.mark(&room("a"), &user("alice"), cursor(5, 5)).await.unwrap();
    let (alice, _alices) = reader(&world.engine, &room("a"), "alice").await;
    assert_eq!(alice.seen(), Seq(5));
    let told = alice.take_receipts();
    assert_eq!(
        told.into_iter().collect::<Vec<_>>(),
        [(user("alice"), cursor(5, 5)), (user("bob"), cursor(7, 6))]
    );
    world.stop().await;
}

#[tokio::test]
async fn what_waits_is_stored_at_the_end() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    messages(&mut world, "a", 5).await;
    let (bob, _bobs) = reader(&world.engine, &room("a"), "bob").await;
    for seq in 1..=7 {
        world.engine.seen(&room("a"), &bob, Seq(seq));
        world.engine.settle().await;
    }
    assert_eq!(world.engine.cursor(&room("a"), &user("bob")).await.unwrap(), cursor(7, 7));
    world.stop().await;
}

#[tokio::test]
async fn what_a_full_disk_has_no_room_for_is_stored_when_there_is_some() {
    let has_room = Arc::new(AtomicBool::new(true));
    let (engine, stopper) = start(log_with_room(&has_room), MemoryView::new());
    let (name, bob) = (room("general"), user("bob"));
    let writer = publisher("general");
    for n in 1..=3 {
        stored_at(&engine, &writer, n).await;
    }
    let mailbox = engine.mailbox(&bob, Arc::default(), true);
    let _subscription = engine.subscribe(&name, &mailbox);
    has_room.store(false, Ordering::SeqCst);
    assert!(engine.mark(&name, &bob, cursor(1, 1)).await.is_err(), "who waits is told");
    engine.seen(&name, &mailbox, Seq(3));
    has_room.store(true, Ordering::SeqCst);
    let stored = async {
        while engine.cursor(&name, &bob).await.unwrap() != cursor(3, 3) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, stored).await.expect("it is stored");
    stop(engine, stopper).await.unwrap();
}

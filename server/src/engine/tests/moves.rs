//! Moves of conversations in their members' lists: seldom, all of them, and none lost.

use std::sync::atomic::Ordering;

use quoth_core::inbox::{DUE, MOVE_INTERVAL_MS, MOVED_MEMBERS_MAX, due_key, entry_key};
use quoth_core::membership::Change;
use quoth_protocol::ConversationName;
use quoth_protocol::membership::Role;
use quoth_store::Register;

use super::lists::{World, caller, user};
use super::world::room;
use crate::engine::Clock as _;

#[tokio::test]
async fn a_busy_conversation_moves_once_a_minute_and_costs_the_log_as_little() {
    let mut world = World::new();
    world.group(&room("busy"), "alice", &["bob", "carol"]).await;
    let own = ["alice", "bob", "carol"].map(|name| ConversationName::of_user(&user(name)));
    let moves = async |world: &World| {
        let [alice, bob, carol] = &own;
        [world.notices(alice).await, world.notices(bob).await, world.notices(carol).await]
    };
    world.clock.advance(1);
    for _ in 0..200 {
        world.publish(&room("busy"), "alice", &[]).await;
    }
    world.settled().await;
    assert_eq!(moves(&world).await, [1, 1, 1], "of 200 messages");
    // One when it is due, and one when it is done.
    assert_eq!(world.notices(&ConversationName::server()).await, 2);
    world.clock.advance(MOVE_INTERVAL_MS - 1);
    world.publish(&room("busy"), "alice", &[]).await;
    world.settled().await;
    assert_eq!(moves(&world).await, [1, 1, 1]);
    world.clock.advance(1);
    world.publish(&room("busy"), "alice", &[]).await;
    world.settled().await;
    assert_eq!(moves(&world).await, [2, 2, 2]);
    assert_eq!(world.notices(&room("busy")).await, 0);
    world.stop().await;
}

#[tokio::test]
async fn a_conversation_of_too_many_does_not_move_and_is_found_all_the_same() {
    let mut world = World::new();
    world.group(&room("large"), "alice", &["bob"]).await;
    world.clock.advance(1);
    world.group(&room("small"), "alice", &["bob"]).await;
    for n in 0..MOVED_MEMBERS_MAX {
        let set = Change::SetMember { user: user(&format!("u{n}")), role: Role::Member, permissions: None };
        world.engine.change(caller("alice"), &room("large"), set).await.unwrap();
    }
    world.clock.advance(MOVE_INTERVAL_MS);
    world.publish(&room("large"), "alice", &[]).await;
    world.settled().await;
    let moved = world.notices(&ConversationName::of_user(&user("bob"))).await;
    world.listed("bob", &["large", "small"]).await;
    world.clock.advance(2 * MOVE_INTERVAL_MS);
    world.publish(&room("small"), "alice", &[]).await;
    world.settled().await;
    world.listed("bob", &["small", "large"]).await;
    world.clock.advance(MOVE_INTERVAL_MS);
    world.settled().await;
    world.told.read.store(0, Ordering::SeqCst);
    world.publish(&room("large"), "alice", &[]).await;
    world.settled().await;
    let looked = world.told.read.load(Ordering::SeqCst);
    assert!(looked < MOVED_MEMBERS_MAX as usize, "{looked} looks: each member has it there already");
    world.listed("bob", &["large", "small"]).await;
    world.settled().await;
    // That of the small one.
    assert_eq!(world.notices(&ConversationName::of_user(&user("bob"))).await, moved + 1);
    world.stop().await;
}

#[tokio::test]
async fn one_that_has_become_large_while_the_disk_was_full_stands_among_the_large_ones_later() {
    let mut world = World::new();
    world.group(&room("large"), "alice", &["bob"]).await;
    world.clock.advance(1);
    world.group(&room("small"), "alice", &["bob"]).await;
    for n in 0..MOVED_MEMBERS_MAX {
        let set = Change::SetMember { user: user(&format!("u{n}")), role: Role::Member, permissions: None };
        world.engine.change(caller("alice"), &room("large"), set).await.unwrap();
    }
    world.settled().await;
    world.clock.advance(MOVE_INTERVAL_MS);
    world.no_room.store(1, Ordering::SeqCst);
    world.publish(&room("large"), "alice", &[]).await;
    world.settled().await;
    assert_eq!(world.no_room.load(Ordering::SeqCst), 0, "its move was refused once");
    assert_eq!(world.first("bob").await, room("large"));
    world.stop().await;
}

#[tokio::test]
async fn who_came_while_a_large_one_was_small_has_it_among_the_large_ones_later() {
    let mut world = World::new();
    world.group(&room("large"), "alice", &["bob"]).await;
    let change = async |world: &World, change| {
        world.engine.change(caller("alice"), &room("large"), change).await.unwrap();
    };
    let set = |name: &str| Change::SetMember { user: user(name), role: Role::Member, permissions: None };
    for n in 0..MOVED_MEMBERS_MAX - 1 {
        change(&world, set(&format!("u{n}"))).await;
    }
    world.clock.advance(MOVE_INTERVAL_MS);
    world.publish(&room("large"), "alice", &[]).await;
    world.settled().await;
    for name in ["u0", "u1"] {
        change(&world, Change::Remove { user: user(name) }).await;
    }
    change(&world, set("carol")).await;
    change(&world, set("u1")).await;
    world.clock.advance(MOVE_INTERVAL_MS);
    world.group(&room("small"), "alice", &["bob", "carol"]).await;
    world.clock.advance(MOVE_INTERVAL_MS);
    world.publish(&room("large"), "alice", &[]).await;
    world.settled().await;
    assert_eq!(world.first("bob").await, room("large"));
    assert_eq!(world.first("carol").await, room("large"));
    world.stop().await;
}

#[tokio::test]
async fn a_damaged_place_in_one_list_keeps_no_other_list_from_its_move() {
    let mut world = World::new();
    for name in ["a", "b"] {
        world.group(&room(name), "alice", &["bob", "carol"]).await;
        world.clock.advance(1);
    }
    let entry = Register { key: entry_key(&room("a")).into(), value: Some("damaged".into()) };
    world.engine.note(ConversationName::of_user(&user("bob")), vec![entry]).await.unwrap();
    world.clock.advance(MOVE_INTERVAL_MS);
    world.publish(&room("a"), "alice", &[]).await;
    world.settled().await;
    assert_eq!(world.first("alice").await, room("a"));
    assert_eq!(world.first("carol").await, room("a"), "behind the damaged one");
    world.stop().await;
}

#[tokio::test]
async fn a_move_that_a_crash_has_kept_from_being_made_is_made_later() {
    let world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    world.clock.advance(1);
    world.group(&room("b"), "alice", &["bob"]).await;
    world.clock.advance(MOVE_INTERVAL_MS);
    // As the message leaves it behind, if nothing comes after it.
    let value = Some(world.clock.unix_ms().to_be_bytes().to_vec().into());
    let due = Register { key: due_key(DUE, &room("a")).into(), value };
    world.engine.note(ConversationName::server(), vec![due]).await.unwrap();
    assert_eq!(world.first("bob").await, room("b"));
    let world = world.again();
    world.settled().await;
    assert_eq!(world.first("bob").await, room("a"));
    world.stop().await;
}

//! What lists show of conversations follows how these are kept, as history does.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use quoth_core::conversation::About;
use quoth_core::inbox::MOVE_INTERVAL_MS;
use quoth_core::messages::Alteration;
use quoth_core::receipts::Cursor;
use quoth_core::retention::Retention;
use quoth_protocol::frame::EventKind;
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::{Seq, UserId};

use super::lists::{World, caller, grant, rows, user};
use super::world::room;
use crate::engine::{Caller, Clock as _, InboxWatch, Retain};

fn operator() -> Caller {
    Caller::Operator(UserId::new("ops").unwrap())
}

fn of_life(expires_in_ms: u64) -> About {
    About { expires_in_ms, ..About::default() }
}

/// What a row says of messages: the one that is shown, and how many are unread.
fn shown(row: &InboxRow) -> (Option<u64>, u32) {
    (row.last.as_ref().map(|event| event.seq.0), row.unread)
}

impl World {
    /// The messages that are there, as bob's history and bob's list have them.
    async fn seen(&self) -> (Vec<u64>, (Option<u64>, u32)) {
        let row = self.row("bob").await;
        let at = self.engine.reading_for_all(&room("a")).await.unwrap();
        let all = (Seq::ZERO, row.head);
        let page = self.engine.reads().events(&room("a"), all, 1 << 20, true, at).await.unwrap();
        let messages = page.events.iter().filter(|event| matches!(event.kind, EventKind::Message { .. }));
        (messages.map(|event| event.seq.0).collect(), shown(&row))
    }

    async fn retain(&self, retain: Retain) {
        self.engine.retain(operator(), &room("a"), retain).await.unwrap();
    }
}

/// The next row of a watch that is like this.
async fn told(world: &World, watch: &InboxWatch, expected: (Option<u64>, u32)) -> InboxRow {
    loop {
        let row = rows(watch, &world.engine, "bob").await.remove(0);
        if shown(&row) == expected {
            return row;
        }
    }
}

#[tokio::test]
async fn a_hold_keeps_messages_in_lists_as_in_history() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let first = world.publish(&room("a"), "alice", &[]).await.0;
    let second = world.say(&room("a"), "alice", of_life(10_000)).await.0;
    let third = world.say(&room("a"), "alice", of_life(1_000)).await.0;
    assert_eq!(world.seen().await, (vec![first, second, third], (Some(third), 3)));
    world.clock.advance(5_000);
    assert_eq!(world.seen().await, (vec![first, second], (Some(second), 2)));
    world.retain(Retain::Hold(true)).await;
    world.clock.advance(60_000);
    assert_eq!(world.seen().await, (vec![first, second], (Some(second), 2)), "its time stands");
    let of_message = world.engine.receipts(&user("bob"), &room("a"), Seq(second)).await.unwrap();
    assert!(of_message.is_some());
    world.retain(Retain::Hold(false)).await;
    let of_message = world.engine.receipts(&user("bob"), &room("a"), Seq(second)).await.unwrap();
    assert!(of_message.is_none());
    assert_eq!(world.seen().await, (vec![first], (Some(first), 1)));
    world.stop().await;
}

#[tokio::test]
async fn unread_mentions_are_those_of_the_latest_edits() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let first = world.publish(&room("a"), "alice", &["bob"]).await;
    let second = world.publish(&room("a"), "alice", &[]).await;
    let counted = async |world: &World| {
        let row = world.row("bob").await;
        (row.unread, row.mentions)
    };
    assert_eq!(counted(&world).await, (2, 1));
    let edit = async |world: &World, seq, mentions: &[&str]| {
        let mentions = mentions.iter().map(|name| user(name)).collect();
        let edit = Alteration::Edit { body: "another text".into(), mentions };
        world.engine.alter(caller("alice"), &room("a"), seq, edit).await.unwrap();
    };
    edit(&world, first, &[]).await;
    assert_eq!(counted(&world).await, (2, 0), "by who counted before");
    edit(&world, second, &["bob"]).await;
    edit(&world, first, &["bob", "alice"]).await;
    assert_eq!(counted(&world).await, (2, 2));
    let shown = world.row("bob").await.last.unwrap();
    assert_eq!((shown.seq, shown.kind.body().unwrap().as_ref()), (second, &b"another text"[..]));
    world.settled().await;
    let world = world.again();
    assert_eq!(counted(&world).await, (2, 2), "and by who begins anew");
    world.stop().await;
}

#[tokio::test]
async fn what_a_user_has_hidden_is_in_the_lists_of_others_alone() {
    let mut world = World::new();
    for name in ["a", "ab"] {
        world.group(&room(name), "alice", &["bob", "carol"]).await;
    }
    // Of another conversation, whose name begins alike.
    let other = world.publish(&room("ab"), "alice", &[]).await;
    world.engine.hide(caller("bob"), &room("ab"), other).await.unwrap();
    world.clock.advance(MOVE_INTERVAL_MS);
    let first = world.publish(&room("a"), "alice", &[]).await;
    let second = world.publish(&room("a"), "alice", &["bob", "carol"]).await;
    world.settled().await;
    // So long that nothing else is told of again.
    world.clock.advance(10 * MOVE_INTERVAL_MS);
    let watch = world.engine.watch_inbox(&user("bob"));
    let row = world.row("bob").await;
    let version = row.version;
    assert_eq!((row.conversation.clone(), row.mentions, shown(&row)), (room("a"), 1, (Some(second.0), 2)));
    world.clock.advance(1_000);
    world.engine.hide(caller("bob"), &room("a"), second).await.unwrap();
    let row = told(&world, &watch, (Some(first.0), 1)).await;
    assert_eq!((row.mentions, row.conversation), (0, room("a")));
    let later = world.engine.watch_inbox(&user("bob"));
    assert!(later.tell_since(&world.engine, Some(version)).await.unwrap().complete);
    assert_eq!(told(&world, &later, (Some(first.0), 1)).await.conversation, room("a"));
    let row = world.row("carol").await;
    assert_eq!((row.mentions, shown(&row)), (1, (Some(second.0), 2)), "nobody else has hidden it");
    // What is read and hidden counts for nothing twice, and is shown as little.
    world.engine.mark(&room("a"), &user("bob"), Cursor::from(second)).await.unwrap();
    assert_eq!(shown(&world.row("bob").await), (Some(first.0), 0));
    drop((watch, later));
    world.stop().await;
}

#[tokio::test]
async fn a_row_costs_the_same_however_much_was_taken_back() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let mut reads = Vec::new();
    for count in [10, 300] {
        for _ in 0..count {
            let seq = world.publish(&room("a"), "alice", &[]).await;
            world.engine.alter(caller("alice"), &room("a"), seq, Alteration::Revoke).await.unwrap();
        }
        for _ in 0..70 {
            world.publish(&room("a"), "alice", &[]).await;
        }
        // So that a cursor is stored at once again.
        world.clock.advance(MOVE_INTERVAL_MS);
        let last = world.row("bob").await.head;
        world.engine.mark(&room("a"), &user("bob"), Cursor::from(last)).await.unwrap();
        world.settled().await;
        assert_eq!(shown(&world.row("bob").await), (Some(last.0), 0));
        world.told.read.store(0, Ordering::SeqCst);
        assert!(world.engine.receipts(&user("alice"), &room("a"), last).await.unwrap().is_some());
        assert_eq!(shown(&world.row("bob").await), (Some(last.0), 0));
        reads.push(world.told.read.load(Ordering::SeqCst));
    }
    assert_eq!(reads[0], reads[1], "rows that were read");
    world.stop().await;
}

#[tokio::test]
async fn who_watches_is_told_what_a_policy_or_a_hold_leaves() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let first = world.publish(&room("a"), "alice", &[]).await.0;
    let second = world.say(&room("a"), "alice", of_life(10_000)).await.0;
    let watch = world.engine.watch_inbox(&user("bob"));
    world.settled().await;
    world.retain(Retain::Hold(true)).await;
    told(&world, &watch, (Some(second), 2)).await;
    world.clock.advance(60_000);
    // No event tells of it.
    world.retain(Retain::Hold(false)).await;
    let row = told(&world, &watch, (Some(first), 1)).await;
    assert_eq!(row.head, Seq(second));
    let count = Retention { count: 1, ..Retention::FOR_EVER };
    world.engine.retain(caller("alice"), &room("a"), Retain::Policy(count)).await.unwrap();
    let row = told(&world, &watch, (None, 0)).await;
    assert_eq!(row.head, Seq(second + 1), "what says so counts");
    drop(watch);
    world.stop().await;
}

#[tokio::test]
async fn who_watches_is_told_a_row_anew_when_it_is_stale_and_once_in_a_second() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let first = world.publish(&room("a"), "alice", &[]).await.0;
    world.settled().await;
    let watch = world.engine.watch_inbox(&user("bob"));
    let begin_ms = world.clock.unix_ms();
    world.say(&room("a"), "alice", of_life(400)).await;
    let third = world.say(&room("a"), "alice", of_life(5_000)).await.0;
    assert_eq!(told(&world, &watch, (Some(third), 3)).await.stale_ms, begin_ms + 400, "the first one's end");
    // It was told a moment ago.
    world.clock.advance(999);
    let next = async |ms| {
        let next = watch.next(&world.engine, || grant("bob"));
        tokio::time::timeout(Duration::from_millis(ms), next).await.is_ok()
    };
    assert!(!next(50).await);
    world.clock.advance(1);
    assert_eq!(told(&world, &watch, (Some(third), 2)).await.stale_ms, begin_ms + 5_000);
    world.clock.advance(3_999);
    assert!(!next(50).await);
    world.clock.advance(1);
    let row = told(&world, &watch, (Some(first), 1)).await;
    assert_eq!((row.stale_ms, row.version), (0, begin_ms + 5_000));
    world.clock.advance(1_000_000);
    assert!(!next(50).await);
    drop(watch);
    world.stop().await;
}

/// Two parts of an application watch one after the other; the rows of the first are on its screen still.
#[tokio::test]
async fn a_watch_that_takes_over_another_one_tells_its_rows_anew_when_they_are_stale() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let first = world.publish(&room("a"), "alice", &[]).await.0;
    let second = world.say(&room("a"), "alice", of_life(5_000)).await.0;
    world.settled().await;
    let row = world.row("bob").await;
    assert_eq!(shown(&row), (Some(second), 2));
    let watch = world.engine.watch_inbox(&user("bob"));
    watch.give(&[row], world.clock.unix_ms());
    let other = world.engine.watch_inbox(&user("bob"));
    other.take_over(&watch);
    drop(watch);
    world.clock.advance(5_000);
    let anew = told(&world, &other, (Some(first), 1));
    tokio::time::timeout(Duration::from_secs(20), anew).await.expect("it is told anew");
    drop(other);
    world.stop().await;
}

#[tokio::test]
async fn what_goes_by_age_goes_out_of_rows_and_what_is_held_does_not() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    world.retain(Retain::Policy(Retention { age_s: 10, ..Retention::FOR_EVER })).await;
    let first = world.publish(&room("a"), "alice", &[]).await.0;
    let stored_ms = world.clock.unix_ms();
    world.settled().await;
    let row = world.row("bob").await;
    assert_eq!((shown(&row), row.stale_ms), ((Some(first), 1), stored_ms + 10_000));
    let watch = world.engine.watch_inbox(&user("bob"));
    watch.give(&[row], stored_ms);
    world.clock.advance(4_000);
    let second = world.publish(&room("a"), "bob", &[]).await.0;
    assert_eq!(told(&world, &watch, (Some(second), 1)).await.stale_ms, stored_ms + 10_000);
    world.clock.advance(6_000);
    let row = told(&world, &watch, (Some(second), 0)).await;
    assert_eq!(row.stale_ms, stored_ms + 14_000, "one's own is shown and not counted");
    world.clock.advance(1_000);
    world.retain(Retain::Hold(true)).await;
    world.clock.advance(1_000_000);
    let row = told(&world, &watch, (Some(second), 0)).await;
    assert_eq!((row.stale_ms, world.row("bob").await.stale_ms), (0, 0));
    drop(watch);
    world.stop().await;
}

#[tokio::test]
async fn what_is_absent_by_retention_is_in_no_list_and_has_no_receipts() {
    let mut world = World::new();
    world.group(&room("a"), "alice", &["bob"]).await;
    let seq = world.publish(&room("a"), "alice", &[]).await;
    let age = Retention { age_s: 10, ..Retention::FOR_EVER };
    world.retain(Retain::Policy(age)).await;
    let receipts = async |world: &World| world.engine.receipts(&user("bob"), &room("a"), seq).await.unwrap();
    assert!(receipts(&world).await.is_some() && world.seen().await.1 == (Some(seq.0), 1));
    world.clock.advance(10_000);
    assert_eq!((receipts(&world).await, world.seen().await), (None, (vec![], (None, 0))));
    // A clock that is set back brings nothing back, and no version falls.
    let version = world.row("bob").await.version;
    let clock = Arc::clone(&world.clock);
    clock.set_back(9_000);
    assert!(clock.unix_ms() < version);
    assert_eq!((receipts(&world).await, world.seen().await), (None, (vec![], (None, 0))));
    assert!(world.row("bob").await.version >= version);
    world.stop().await;
}

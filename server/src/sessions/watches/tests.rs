//! Statuses, reviews and looks, without a task: what is due is handed over when a test says so.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use quoth_core::login::SessionId;
use quoth_core::presence::Change;
use quoth_protocol::presence::Status;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::testing::Random;

use super::{PRESENCE_INTERVAL_MS, SPREAD_AT_ONCE, Watches};
use crate::sessions::mailbox::{Mailbox, Told};

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn name(name: &str) -> ConversationName {
    ConversationName::new(name).unwrap()
}

fn change(of: &str, status: Status, at_ms: u64) -> Change {
    Change { user: user(of), status, last_seen_ms: at_ms }
}

fn users(ids: &[&str]) -> HashSet<UserId> {
    ids.iter().map(|id| user(id)).collect()
}

/// A connection of alice watches these.
fn watch(
    watches: &mut Watches,
    session: SessionId,
    mailbox: &Arc<Mailbox>,
    conversation: ConversationName,
    users: HashSet<UserId>,
) {
    watches.look(session, &user("alice"), mailbox, &conversation);
    watches.watch(session, conversation, users);
}

/// The few who watch this conversation are to look anew.
fn review(watches: &mut Watches, now_ms: u64) {
    watches.review(name("a"));
    assert!(watches.spread(now_ms));
}

async fn told(mailbox: &Mailbox) -> Vec<(String, String, Status)> {
    let Told::Presence(seen) = mailbox.next(true).await else { panic!("no presence") };
    seen.into_iter().map(|seen| (seen.conversation.to_string(), seen.user.to_string(), seen.status)).collect()
}

#[tokio::test]
async fn what_is_due_by_a_clock_that_was_ahead_is_handed_over_when_it_is_set_back() {
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    let session = SessionId(1);
    watch(&mut watches, session, &mailbox, name("a"), users(&["bob"]));
    watches.change(&change("bob", Status::Online, 1_000_000), 1_000_000);
    watches.hand_over(1_000_000);
    assert_eq!(told(&mailbox).await, [("a".to_owned(), "bob".to_owned(), Status::Online)]);
    watches.change(&change("bob", Status::Away, 1_000_001), 1_000_001);
    watches.leaves(session, &name("a"), &user("eve"), 1, 1_005_000, 1_000_001);
    watches.set_back(10);
    watches.hand_over(10);
    let of = |user: &str, status| ("a".to_owned(), user.to_owned(), status);
    assert_eq!(told(&mailbox).await, [of("bob", Status::Away), of("eve", Status::Offline)]);
}

#[tokio::test]
async fn changes_gather_and_the_latest_counts() {
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    let session = SessionId(1);
    watch(&mut watches, session, &mailbox, name("a"), users(&["bob", "eve"]));
    watch(&mut watches, session, &mailbox, name("b"), users(&["bob"]));
    watches.change(&change("bob", Status::Online, 10), 10);
    watches.change(&change("nobody", Status::Online, 10), 10);
    assert_eq!(watches.due_ms(), Some(10), "the first one comes at once");
    watches.hand_over(10);
    let online = |conversation: &str, user: &str| (conversation.to_owned(), user.to_owned(), Status::Online);
    assert_eq!(told(&mailbox).await, [online("a", "bob"), online("b", "bob")]);
    for (status, at_ms) in [(Status::Away, 11), (Status::Offline, 12), (Status::Away, 13)] {
        watches.change(&change("bob", status, at_ms), at_ms);
    }
    watches.hand_over(10 + PRESENCE_INTERVAL_MS - 1);
    assert!(mailbox.take(true).is_none());
    watches.unwatch(session, &name("b"));
    watches.hand_over(10 + PRESENCE_INTERVAL_MS);
    assert_eq!(told(&mailbox).await, [("a".to_owned(), "bob".to_owned(), Status::Away)]);
    watches.gone(session);
    watches.change(&change("bob", Status::Online, 9_000), 9_000);
    watches.hand_over(u64::MAX);
    assert!(mailbox.take(true).is_none() && watches.watchers.is_empty() && watches.sessions.is_empty());
}

#[tokio::test]
async fn who_leaves_is_told_as_gone_when_the_time_has_come() {
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    let session = SessionId(1);
    watch(&mut watches, session, &mailbox, name("a"), users(&["eve"]));
    watches.change(&change("eve", Status::Online, 9), 9);
    watches.hand_over(9);
    assert_eq!(told(&mailbox).await.len(), 1);
    watches.leaves(session, &name("a"), &user("bob"), 5, 20, 6);
    watches.change(&change("bob", Status::Away, 10), 10);
    watches.hand_over(9 + PRESENCE_INTERVAL_MS - 1);
    assert!(mailbox.take(true).is_none(), "not sooner than anything else");
    // While it is found out anew who is watched, it waits as all else does.
    review(&mut watches, 10);
    watches.hand_over(9 + PRESENCE_INTERVAL_MS);
    assert!(matches!(mailbox.take(true), Some(Told::Review(_))) && mailbox.take(true).is_none());
    watch(&mut watches, session, &mailbox, name("a"), users(&["eve"]));
    assert!(watches.take_leaving(session, &name("b")).is_empty());
    assert_eq!(watches.take_leaving(session, &name("a")), HashMap::from([(user("bob"), 5)]));
    watches.leaves(session, &name("a"), &user("bob"), 5, 3_000, 6);
    watches.hand_over(2_999);
    assert!(mailbox.take(true).is_none());
    watches.hand_over(3_000);
    assert_eq!(told(&mailbox).await, [("a".to_owned(), "bob".to_owned(), Status::Offline)]);
    watches.leaves(session, &name("a"), &user("bob"), 5, 5_000, 6);
    watches.unwatch(session, &name("a"));
    watches.hand_over(u64::MAX);
    assert!(mailbox.take(true).is_none());
}

#[test]
fn who_is_watched_for_two_conversations_is_watched_for_the_other_one() {
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    watch(&mut watches, SessionId(1), &mailbox, name("a"), users(&["bob"]));
    watch(&mut watches, SessionId(1), &mailbox, name("b"), users(&["bob"]));
    watches.unwatch(SessionId(1), &name("a"));
    watches.change(&change("bob", Status::Online, 1), 1);
    watches.hand_over(1);
    assert!(mailbox.take(true).is_some());
    watch(&mut watches, SessionId(1), &mailbox, name("b"), HashSet::new());
    assert!(watches.watchers.is_empty() && watches.of(SessionId(1)).count() == 1);
}

#[test]
fn of_two_looks_the_later_one_counts_and_reviews_wait_for_it() {
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    let session = SessionId(1);
    let look = |watches: &mut Watches| watches.look(session, &user("alice"), &mailbox, &name("a"));
    let first = look(&mut watches);
    review(&mut watches, 1);
    watches.hand_over(1);
    assert!(mailbox.take(true).is_none(), "one is under way");
    let second = look(&mut watches);
    let is_latest = |watches: &Watches, look| watches.is_latest(session, &name("a"), look);
    assert!(!is_latest(&watches, first) && is_latest(&watches, second));
    watches.watch(session, name("a"), users(&["bob"]));
    assert!(!is_latest(&watches, second), "it is over");
    watches.hand_over(1);
    assert!(matches!(mailbox.take(true), Some(Told::Review(_))), "it has waited");
    let third = look(&mut watches);
    watches.unwatch(session, &name("a"));
    assert!(!is_latest(&watches, third) && watches.sessions.is_empty() && watches.watchers.is_empty());
    let fourth = look(&mut watches);
    assert!(!is_latest(&watches, third) && is_latest(&watches, fourth), "it is another one");
}

#[test]
fn a_review_that_is_asked_for_while_another_one_is_under_way_comes_too() {
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    let is_review = |told: Option<Told>| matches!(told, Some(Told::Review(_)));
    watch(&mut watches, SessionId(1), &mailbox, name("a"), users(&["bob", "eve"]));
    review(&mut watches, 1);
    watches.hand_over(1);
    assert!(is_review(mailbox.take(true)));
    // While the members are found, one of them leaves.
    review(&mut watches, 2);
    watch(&mut watches, SessionId(1), &mailbox, name("a"), users(&["bob", "eve"]));
    watches.change(&change("eve", Status::Online, 3), 3);
    watches.hand_over(1 + PRESENCE_INTERVAL_MS);
    assert!(is_review(mailbox.take(true)));
    assert!(mailbox.take(true).is_none(), "nothing is told before it is known of whom");
    watch(&mut watches, SessionId(1), &mailbox, name("a"), users(&["bob"]));
    watches.hand_over(u64::MAX);
    assert!(mailbox.take(true).is_none() && !watches.watchers.contains_key(&user("eve")));
}

/// A conversation that many watch has other members. They hear of it in several steps, and until they have,
/// nothing of it is told to any of them.
#[test]
fn many_watchers_are_told_to_look_anew_in_steps_and_nothing_comes_between() {
    let (mut watches, of_others) = (Watches::default(), Arc::<Mailbox>::default());
    let sessions = (0..3 * SPREAD_AT_ONCE as u64).map(SessionId);
    let mailboxes: Vec<_> = sessions.clone().map(|_| Arc::<Mailbox>::default()).collect();
    for (session, mailbox) in sessions.clone().zip(&mailboxes) {
        watch(&mut watches, session, mailbox, name("a"), users(&["bob"]));
    }
    let other = SessionId(u64::MAX);
    watch(&mut watches, other, &of_others, name("b"), users(&["bob"]));
    watches.review(name("a"));
    watches.review(name("b"));
    watches.review(name("nobody watches this"));
    watches.change(&change("bob", Status::Away, 1), 1);
    let mut steps = 0;
    let mut reviewed = 0;
    while !watches.spread(1) {
        if steps == 0 {
            // Once more, before all know it.
            watches.review(name("a"));
        }
        steps += 1;
        watches.hand_over(steps * PRESENCE_INTERVAL_MS);
        let before = reviewed;
        for mailbox in &mailboxes {
            match mailbox.take(true) {
                Some(Told::Review(_)) => reviewed += 1,
                None => {}
                told => panic!("{told:?} in step {steps}"),
            }
        }
        assert!(reviewed <= before + SPREAD_AT_ONCE, "the lock is held for all of them at once");
        if reviewed > mailboxes.len() {
            assert!(of_others.take(true).is_some(), "the second time comes behind what others wait for");
            return;
        }
    }
    panic!("{reviewed} of {} have heard of it in {steps} steps", mailboxes.len());
}

/// With each look another change comes, and another one before anything may be handed over again.
#[test]
fn whoever_makes_changes_all_the_time_holds_up_no_status() {
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    let session = SessionId(1);
    watch(&mut watches, session, &mailbox, name("a"), users(&["bob", "eve"]));
    watches.change(&change("bob", Status::Online, 1), 1);
    let mut seen = Vec::new();
    for n in 0..4 {
        let now_ms = n * PRESENCE_INTERVAL_MS + 1;
        review(&mut watches, now_ms);
        watches.hand_over(now_ms);
        while let Some(told) = mailbox.take(true) {
            if let Told::Presence(told) = told {
                seen.extend(told.into_iter().map(|seen| (now_ms, seen.user, seen.status)));
                continue;
            }
            watches.look(session, &user("alice"), &mailbox, &name("a"));
            // Behind the look, which does not know whether eve is watched still.
            review(&mut watches, now_ms);
            if n == 0 {
                watches.change(&change("eve", Status::Online, now_ms), now_ms);
            }
            let members: &[&str] = if n == 0 { &["bob", "eve"] } else { &["bob"] };
            watches.watch(session, name("a"), users(members));
        }
    }
    assert_eq!(seen, [(PRESENCE_INTERVAL_MS + 1, user("bob"), Status::Online)]);
}

/// Its turn comes late, and who began to watch it meanwhile is not among those who are told to look anew.
#[test]
fn what_waits_until_others_have_heard_of_a_change_goes_on_then() {
    let (mut watches, of_dora) = (Watches::default(), Arc::<Mailbox>::default());
    for session in 0..=SPREAD_AT_ONCE as u64 {
        watch(&mut watches, SessionId(session), &Arc::default(), name("a"), users(&["bob"]));
    }
    watch(&mut watches, SessionId(0), &Arc::default(), name("z"), users(&["bob"]));
    watches.review(name("a"));
    watches.review(name("z"));
    assert!(!watches.spread(1));
    watch(&mut watches, SessionId(u64::MAX), &of_dora, name("z"), users(&["bob"]));
    watches.change(&change("bob", Status::Online, 1), 1);
    watches.hand_over(1);
    assert!(of_dora.take(true).is_none(), "the others have not heard of the change");
    while !watches.spread(1) {}
    watches.hand_over(1);
    assert!(matches!(of_dora.take(true), Some(Told::Presence(_))));
}

#[test]
fn how_many_are_watched_is_what_a_sum_would_say() {
    const SESSIONS: u64 = 6;
    const USERS: u64 = 2;
    let mut random = Random(7);
    let (mut watches, mailbox) = (Watches::default(), Arc::<Mailbox>::default());
    let mut model = HashMap::<(u64, u64), usize>::new();
    let user_of = |session: u64| user(&format!("{}", session % USERS));
    for _ in 0..5_000 {
        let (of, conversation) = (random.below(SESSIONS), random.below(4));
        let (session, conversation_name) = (SessionId(of), name(&conversation.to_string()));
        match random.below(8) {
            0 => {
                watches.gone(session);
                model.retain(|(other, _), _| *other != of);
            }
            1 | 2 => {
                watches.unwatch(session, &conversation_name);
                model.remove(&(of, conversation));
            }
            _ => {
                let count = usize::try_from(random.below(5)).unwrap();
                watches.look(session, &user_of(of), &mailbox, &conversation_name);
                let members = (0..count).map(|n| user(&format!("member {n}"))).collect();
                watches.watch(session, conversation_name, members);
                model.insert((of, conversation), count);
            }
        }
        for of in 0..SESSIONS {
            let sum = |is_counted: &dyn Fn(u64) -> bool| -> usize {
                let others = model
                    .iter()
                    .filter(|((other, at), _)| is_counted(*other) && (*other, *at) != (of, conversation));
                others.map(|(_, count)| count).sum()
            };
            // One that watches nothing has nothing to count, and begins with a look.
            let expected = if model.keys().any(|(other, _)| *other == of) {
                (sum(&|other| other == of), sum(&|other| other % USERS == of % USERS))
            } else {
                (0, 0)
            };
            assert_eq!(watches.counts_beside(SessionId(of), &name(&conversation.to_string())), expected);
        }
    }
    (0..SESSIONS).for_each(|of| watches.gone(SessionId(of)));
    assert!(watches.of_users.is_empty() && watches.watchers.is_empty() && watches.watching.is_empty());
}

//! Whom connections watch: what makes them look anew, and what they are told of that.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use quoth_core::presence::Change;
use quoth_protocol::limits::WATCHED_MEMBERS_OF_CONNECTION_MAX;
use quoth_protocol::presence::Status;
use quoth_protocol::{Code, ConversationName};

use super::{PATIENCE, come, identity, until, user, world};
use crate::sessions::attendance::Members;
use crate::sessions::{Attendance, SessionsConfig, Told};

#[tokio::test]
async fn what_is_watched_is_looked_at_anew_when_it_may_have_changed() {
    let world = world(SessionsConfig::default());
    let attendance = come(&world, "alice", "phone", Some("first")).unwrap();
    let (watcher, room) = (attendance.watcher(), ConversationName::new("room").unwrap());
    let reviewed = || match attendance.mailbox.take(true) {
        Some(Told::Review(of)) => of.contains(&room),
        _ => false,
    };
    let look = watcher.look(&room).unwrap();
    assert!(!reviewed());
    // While it is found out who its members are, one leaves.
    world.sessions.statuses().members_changed(&room);
    look.found(Members::default()).unwrap();
    until(reviewed).await;
    world.clock.0.store(5_000, Ordering::Relaxed);
    attendance.refresh(&identity("alice", Some("second"), 0), 5_000).unwrap();
    until(reviewed).await;
}

/// Whoever stores what all have published tells it, and is held up by nobody who has the lock.
#[tokio::test]
async fn a_change_is_told_while_the_lock_is_held_and_nothing_overtakes_it() {
    let world = world(SessionsConfig::default());
    let attendance = come(&world, "alice", "phone", None).unwrap();
    let (watcher, room) = (attendance.watcher(), ConversationName::new("room").unwrap());
    let members =
        |ids: &[&str]| Members { seen: ids.iter().map(|id| user(id)).collect(), ..Members::default() };
    watcher.look(&room).unwrap().found(members(&["bob", "eve"])).unwrap();
    {
        let mut state = world.sessions.0.state.lock();
        let (statuses, of) = (world.sessions.statuses(), room.clone());
        let (is_told, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            statuses.members_changed(&of);
            statuses.block_changed(&user("alice"));
            is_told.send(()).unwrap();
        });
        told.recv_timeout(PATIENCE).expect("it waits for the lock");
        for of in ["bob", "eve"] {
            let change = Change { user: user(of), status: Status::Online, last_seen_ms: 0 };
            state.watches.change(&change, 0);
        }
    }
    let mut told = Vec::new();
    until(|| {
        told.extend(attendance.mailbox.take(true));
        matches!(told.last(), Some(Told::Review(of)) if of.contains(&room))
    })
    .await;
    assert!(told.iter().all(|told| !matches!(told, Told::Presence(_))), "{told:?}");
    let look = watcher.look_anew(&room).unwrap();
    world.sessions.0.state.lock().watches.hand_over(u64::MAX);
    assert_eq!(attendance.mailbox.take(true), None, "it is not known yet who is a member");
    look.found(members(&["bob"])).unwrap();
    world.sessions.0.state.lock().watches.hand_over(u64::MAX);
    match attendance.mailbox.take(true) {
        Some(Told::Presence(seen)) => {
            assert_eq!(seen.into_iter().map(|seen| seen.user).collect::<Vec<_>>(), [user("bob")]);
        }
        told => panic!("{told:?}"),
    }
}

#[tokio::test]
async fn that_a_watch_has_ended_is_told_to_who_has_not_wished_it() {
    let world = world(SessionsConfig::default());
    let attendance = come(&world, "alice", "phone", None).unwrap();
    let (watcher, room) = (attendance.watcher(), ConversationName::new("room").unwrap());
    let watches = || watcher.look(&room).unwrap().found(members_of(1)).unwrap();
    assert_eq!(attendance.mailbox.take(true), Some(Told::Status), "alice is there");
    let is_told = || match attendance.mailbox.take(true) {
        Some(Told::Unwatched(of)) => of.contains(&room),
        Some(told) => panic!("{told:?}"),
        None => false,
    };
    let tell = |status| {
        let mut state = world.sessions.0.state.lock();
        state.watches.change(&Change { user: user("member 0"), status, last_seen_ms: 0 }, 0);
        state.watches.hand_over(u64::MAX);
    };
    watches();
    tell(Status::Online);
    drop(watcher.look_anew(&room).unwrap());
    assert!(is_told(), "it has no right to it any more, and is told nothing of before either");
    assert!(!is_told(), "once");
    watches();
    watcher.look_anew(&room).unwrap().found(members_of(WATCHED_MEMBERS_OF_CONNECTION_MAX + 1)).unwrap_err();
    assert!(is_told(), "there are too many");
    // Whoever waits for an answer is not told behind the end that it is watched.
    watches();
    let wished = watcher.look(&room).unwrap();
    drop(watcher.look_anew(&room).unwrap());
    assert!(is_told());
    assert_eq!(wished.found(members_of(1)), Err(Code::FORBIDDEN));
    assert!(watcher.look_anew(&room).is_none());
    // What a request has asked for its answer says.
    watches();
    drop(watcher.look(&room).unwrap());
    assert!(!is_told());
    watches();
    watcher.unwatch(&room);
    assert!(!is_told());
    // A wish that comes behind the end counts.
    for wishes in [&|| watches(), &|| watcher.unwatch(&room)] as [&dyn Fn(); 2] {
        watches();
        drop(watcher.look_anew(&room).unwrap());
        wishes();
        assert!(!is_told());
    }
}

fn members_of(count: usize) -> Members {
    Members { seen: (0..count).map(|n| user(&format!("member {n}"))).collect(), ..Members::default() }
}

/// Looks wait for the disk, each as long as it takes.
#[tokio::test]
async fn of_several_looks_the_latest_to_begin_counts() {
    let world = world(SessionsConfig::default());
    let attendance = come(&world, "alice", "phone", None).unwrap();
    let session = world.sessions.devices(&user("alice"))[0].sessions[0];
    let (watcher, room) = (attendance.watcher(), ConversationName::new("room").unwrap());
    let of = |ids: &[&str]| Members { seen: ids.iter().map(|id| user(id)).collect(), ..Members::default() };
    let watched = || world.sessions.0.state.lock().watches.users(session, &room);
    let is_watching = || watcher.look_anew(&room).is_some();
    let (first, second) = (watcher.look(&room).unwrap(), watcher.look(&room).unwrap());
    second.found(of(&["bob"])).unwrap();
    first.found(of(&["bob", "eve"])).unwrap();
    assert_eq!(watched(), HashSet::from([user("bob")]), "eve was removed between the two");
    let (first, second) = (watcher.look_anew(&room).unwrap(), watcher.look_anew(&room).unwrap());
    first.found(of(&["bob", "eve"])).unwrap();
    assert_eq!(watched(), HashSet::from([user("bob")]), "the later one is to come");
    second.found(of(&[])).unwrap();
    assert_eq!(watched(), HashSet::new());
    // What the client wants to watch no more is watched no more.
    let look = watcher.look_anew(&room).unwrap();
    watcher.unwatch(&room);
    assert_eq!(look.found(of(&["bob"])), Err(Code::FORBIDDEN));
    assert!(watched().is_empty() && !is_watching());
    // Nor is what there is no right to, unless a later look finds one.
    let (first, second) = (watcher.look(&room).unwrap(), watcher.look(&room).unwrap());
    drop(first);
    second.found(of(&["bob"])).unwrap();
    assert_eq!(watched(), HashSet::from([user("bob")]));
    drop(watcher.look(&room).unwrap());
    assert!(watched().is_empty() && !is_watching());
}

#[tokio::test]
async fn who_wants_nothing_of_a_watcher_is_told_as_gone_when_anybody_would_be() {
    let world = world(SessionsConfig::default());
    let [phone, laptop] = ["phone", "laptop"].map(|on| come(&world, "alice", on, None).unwrap());
    let _bob = come(&world, "bob", "phone", None).unwrap();
    let room = ConversationName::new("room").unwrap();
    let seen = || Members { seen: HashSet::from([user("bob")]), ..Members::default() };
    let unseen = || Members { unseen: HashMap::from([(user("bob"), 10_000)]), ..Members::default() };
    let told = |attendance: &Attendance, now_ms: u64| {
        world.sessions.0.state.lock().watches.hand_over(now_ms);
        let mut all = Vec::new();
        while let Some(told) = attendance.mailbox.take(true) {
            if let Told::Presence(seen) = told {
                all.extend(seen.into_iter().map(|seen| (seen.user, seen.status, seen.last_seen_ms)));
            }
        }
        all
    };
    let bob = |status: Status, last_seen_ms: u64| vec![(user("bob"), status, last_seen_ms)];
    let watch = |attendance: &Attendance, members: Members, now_ms: u64| {
        world.clock.0.store(now_ms, Ordering::Relaxed);
        attendance.watcher().look(&room).unwrap().found(members).unwrap();
    };
    watch(&phone, seen(), 9_000);
    assert_eq!(told(&phone, 9_000), bob(Status::Online, 9_000));
    // The block is of 10,000, and known a moment later; who has lost the network then is told as gone at
    // 15,000.
    watch(&phone, unseen(), 10_200);
    assert!(told(&phone, 11_000).is_empty());
    watch(&phone, unseen(), 12_000);
    watch(&laptop, unseen(), 12_000);
    assert_eq!(told(&laptop, 12_000), bob(Status::Online, 10_000), "also for who has not watched before");
    assert!(told(&phone, 14_999).is_empty() && told(&laptop, 14_999).is_empty());
    assert_eq!(told(&phone, 15_000), bob(Status::Offline, 10_000));
    assert_eq!(told(&laptop, 15_000), bob(Status::Offline, 10_000));
    // Who is let in again in between has never gone.
    watch(&phone, seen(), 16_000);
    assert_eq!(told(&phone, 16_000), bob(Status::Online, 16_000));
    watch(&phone, Members { unseen: HashMap::from([(user("bob"), 17_000)]), ..Members::default() }, 17_000);
    watch(&phone, seen(), 18_000);
    assert_eq!(told(&phone, 30_000), bob(Status::Online, 18_000));
}

/// They look anew all the time, and what they look for is found at once.
#[tokio::test]
async fn who_wants_nothing_of_a_watcher_goes_whoever_makes_changes_all_the_time() {
    let world = world(SessionsConfig::default());
    let alice = come(&world, "alice", "phone", None).unwrap();
    let _bob = come(&world, "bob", "phone", None).unwrap();
    let (watcher, room) = (alice.watcher(), ConversationName::new("room").unwrap());
    let session = world.sessions.devices(&user("alice"))[0].sessions[0];
    let seen = Members { seen: HashSet::from([user("bob")]), ..Members::default() };
    world.clock.0.store(9_000, Ordering::Relaxed);
    watcher.look(&room).unwrap().found(seen).unwrap();
    let mut told = Vec::new();
    for now_ms in (10_000..20_000).step_by(1_000) {
        {
            let mut state = world.sessions.0.state.lock();
            state.watches.review_all(session, now_ms);
            state.watches.hand_over(now_ms);
        }
        while let Some(next) = alice.mailbox.take(true) {
            match next {
                Told::Presence(seen) => {
                    told.extend(seen.into_iter().map(|seen| (now_ms, seen.status, seen.last_seen_ms)));
                }
                Told::Review(_) => {
                    let unseen = HashMap::from([(user("bob"), 10_000)]);
                    let members = Members { unseen, ..Members::default() };
                    world.clock.0.store(now_ms + 5, Ordering::Relaxed);
                    watcher.look_anew(&room).unwrap().found(members).unwrap();
                }
                _ => {}
            }
        }
    }
    assert_eq!(told, [(16_000, Status::Offline, 10_000)]);
}

//! Signing in, one step after the other.

use quoth_protocol::limits::SESSIONS_MAX;
use quoth_protocol::{DeviceId, UserId};

use super::{Class, Ejected, End, LATE_MS, Logins, Outcome, PATHS_MAX, Policy, Reason, SessionId, SignIn};

fn user() -> UserId {
    UserId::new("alice").unwrap()
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn come(logins: &mut Logins, session: u64, id: &str, generation: u64) -> Outcome {
    come_as(logins, session, id, generation, id, 0)
}

fn come_as(
    logins: &mut Logins,
    session: u64,
    id: &str,
    generation: u64,
    platform: &str,
    now_ms: u64,
) -> Outcome {
    let (user, device) = (user(), device(id));
    let session = SessionId(session);
    let replaces = logins.replaces(&user, &device, generation);
    let outcome =
        logins.sign_in(&SignIn { session, user: &user, device: &device, generation, platform }, now_ms);
    // What is said before is what happens then, in every test.
    let is_replaced = |ejected: &Ejected| ejected.reason == Reason::Replaced;
    let has_replaced = matches!(&outcome, Outcome::Admitted(ejected) if ejected.iter().any(is_replaced));
    assert_eq!(replaces, has_replaced, "{id} {generation}: {outcome:?}");
    outcome
}

fn replaced(session: u64) -> Ejected {
    Ejected { session: SessionId(session), reason: Reason::Replaced }
}

fn kicked(session: u64, reason: &str) -> Ejected {
    Ejected { session: SessionId(session), reason: Reason::Kicked(reason.to_owned()) }
}

fn refused(reason: &str) -> Outcome {
    Outcome::Refused(Reason::Kicked(reason.to_owned()))
}

fn admitted(ejected: &[Ejected]) -> Outcome {
    Outcome::Admitted(ejected.to_vec())
}

fn here(logins: &Logins) -> Vec<String> {
    let mut devices: Vec<String> =
        logins.devices(&user()).iter().map(|device| device.device.to_string()).collect();
    devices.sort();
    devices
}

#[test]
fn of_one_device_the_highest_generation_counts() {
    let mut logins = Logins::new(Policy::All);
    assert_eq!(come(&mut logins, 1, "phone", 10), admitted(&[]));
    assert_eq!(come(&mut logins, 2, "laptop", 3), admitted(&[]), "another device");
    assert_eq!(come(&mut logins, 3, "phone", 11), admitted(&[replaced(1)]));
    assert_eq!(come(&mut logins, 4, "phone", 10), Outcome::Refused(Reason::Replaced), "a late one");
    logins.ended(SessionId(1), End::Lost, 5);
    assert_eq!(here(&logins), ["laptop", "phone"]);
    logins.ended(SessionId(3), End::Wanted, 6);
    assert_eq!(here(&logins), ["laptop"]);
    assert_eq!(come(&mut logins, 5, "phone", 10), Outcome::Refused(Reason::Replaced), "even then");
    assert_eq!(come(&mut logins, 6, "phone", 12), admitted(&[]));
    assert_eq!(logins.sessions(), 2);
}

/// The clock that generations come from may be set back, and whoever has a token may say any number.
#[test]
fn a_lower_generation_is_late_only_for_as_long_as_one_may_be() {
    let come = |logins: &mut Logins, session: u64, generation: u64, now_ms: u64| {
        come_as(logins, session, "phone", generation, "", now_ms)
    };
    let late = Outcome::Refused(Reason::Replaced);
    for policy in [Policy::All, Policy::OneDevice] {
        for end in [End::Lost, End::Wanted] {
            let mut logins = Logins::new(policy);
            assert_eq!(come(&mut logins, 1, u64::MAX, 1_000), admitted(&[]));
            assert_eq!(come(&mut logins, 2, 10, 9_000_000), late, "it is connected");
            logins.ended(SessionId(1), end, 9_000_000);
            assert_eq!(come(&mut logins, 3, 10, 9_000_000 + LATE_MS - 1), late, "{end:?}");
            assert_eq!(come(&mut logins, 4, 10, 9_000_000 + LATE_MS), admitted(&[]), "{end:?}");
            assert_eq!(come(&mut logins, 5, 9, 9_000_000 + LATE_MS), late, "of the two it is");
            assert_eq!(come(&mut logins, 6, 11, 9_000_000 + LATE_MS), admitted(&[replaced(4)]));
        }
        // Who was put out is told so first, as with any other generation.
        let mut logins = Logins::new(policy);
        come(&mut logins, 1, u64::MAX, 0);
        assert_eq!(logins.kick(&user(), None, "by us", 0), [kicked(1, "by us")]);
        assert_eq!(come(&mut logins, 2, 10, LATE_MS - 1), late);
        assert_eq!(come(&mut logins, 3, 10, LATE_MS), refused("by us"));
        logins.ended(SessionId(3), End::Wanted, LATE_MS);
        assert_eq!(come(&mut logins, 4, 11, LATE_MS), admitted(&[]));
    }
}

#[test]
fn paths_of_one_sign_in_are_there_together() {
    let mut logins = Logins::new(Policy::OneDevice);
    for n in 1..=PATHS_MAX as u64 {
        assert_eq!(come(&mut logins, n, "phone", 10), admitted(&[]));
    }
    assert_eq!(come(&mut logins, 9, "phone", 10), admitted(&[replaced(1)]), "but not without limit");
    logins.ended(SessionId(1), End::Wanted, 0);
    logins.ended(SessionId(9), End::Wanted, 0);
    assert_eq!(here(&logins), ["phone"], "one is left");
    let others = come(&mut logins, 20, "laptop", 1);
    assert_eq!(others, admitted(&[kicked(2, "signed in on laptop (laptop)")]));
    assert_eq!(
        come(&mut logins, 21, "phone", 10),
        refused("signed in on laptop (laptop)"),
        "a path of the loser"
    );
}

#[test]
fn who_does_not_count_is_always_later() {
    let mut logins = Logins::new(Policy::All);
    assert_eq!(come(&mut logins, 1, "bot", 0), admitted(&[]));
    assert_eq!(come(&mut logins, 2, "bot", 0), admitted(&[replaced(1)]));
    logins.ended(SessionId(2), End::Wanted, 0);
    assert_eq!(come(&mut logins, 3, "bot", 0), admitted(&[]));
}

#[test]
fn each_policy_puts_out_whom_it_says() {
    let platforms = ["android", "iOS 19", "Linux", "macOS", "web", "toaster"];
    let stay = |policy: Policy| {
        let mut logins = Logins::new(policy);
        let mut lost = Vec::new();
        for (n, platform) in (1..).zip(platforms) {
            match come_as(&mut logins, n, platform, 1, platform, n) {
                Outcome::Admitted(ejected) => {
                    lost.extend(ejected.into_iter().map(|ejected| ejected.session.0))
                }
                Outcome::Refused(reason) => panic!("{reason:?}"),
            }
        }
        (here(&logins).len(), lost)
    };
    assert_eq!(stay(Policy::All), (6, vec![]));
    assert_eq!(stay(Policy::OnePerClass), (4, vec![1, 3]));
    assert_eq!(stay(Policy::OneDevice), (1, vec![1, 2, 3, 4, 5]));
    assert_eq!(stay(Policy::Newest { devices_max: 2 }), (2, vec![1, 2, 3, 4]));
    let classes = platforms.map(Class::of_platform);
    use Class::{Desktop, Mobile, Other, Web};
    assert_eq!(classes, [Mobile, Mobile, Desktop, Desktop, Web, Other]);
    assert_eq!(["", "ü", "ANDROID 9", "and"].map(Class::of_platform), [Other, Other, Mobile, Other]);
}

#[test]
fn a_device_that_comes_back_keeps_its_place_among_the_newest() {
    let mut logins = Logins::new(Policy::Newest { devices_max: 2 });
    come(&mut logins, 1, "a", 1);
    come(&mut logins, 2, "b", 1);
    logins.ended(SessionId(1), End::Lost, 0);
    assert_eq!(come(&mut logins, 3, "a", 2), admitted(&[]));
    assert_eq!(come(&mut logins, 4, "c", 1), admitted(&[kicked(3, "signed in on c (c)")]), "a came first");
    logins.ended(SessionId(2), End::Wanted, 0);
    assert_eq!(come(&mut logins, 5, "d", 1), admitted(&[]), "b has made room");
}

#[test]
fn a_loser_is_told_until_it_has_heard_it() {
    let mut logins = Logins::new(Policy::OneDevice);
    come(&mut logins, 1, "a", 1);
    assert_eq!(come(&mut logins, 2, "b", 1), admitted(&[kicked(1, "signed in on b (b)")]));
    logins.ended(SessionId(1), End::Lost, 0);
    assert_eq!(come(&mut logins, 3, "a", 2), refused("signed in on b (b)"));
    assert_eq!(come(&mut logins, 4, "a", 2), refused("signed in on b (b)"), "its other path");
    logins.ended(SessionId(3), End::Lost, 0);
    assert_eq!(come(&mut logins, 8, "a", 3), refused("signed in on b (b)"), "it had left");
    logins.ended(SessionId(8), End::Wanted, 0);
    assert_eq!(come(&mut logins, 9, "a", 3), refused("signed in on b (b)"), "another path of what was told");
    assert_eq!(
        come(&mut logins, 5, "a", 4),
        admitted(&[kicked(2, "signed in on a (a)")]),
        "somebody wants it"
    );
    // One that is told at once may come back at once.
    logins.ended(SessionId(2), End::Wanted, 0);
    assert_eq!(come(&mut logins, 6, "b", 2), admitted(&[kicked(5, "signed in on b (b)")]));
    // What ends is not always what was put out.
    logins.ended(SessionId(3), End::Wanted, 0);
    assert_eq!(come(&mut logins, 7, "a", 5), refused("signed in on b (b)"));
}

#[test]
fn a_loser_whose_winner_has_gone_comes_back_in_peace() {
    let mut logins = Logins::new(Policy::OneDevice);
    come(&mut logins, 1, "a", 1);
    logins.ended(SessionId(1), End::Lost, 0);
    assert_eq!(come(&mut logins, 2, "b", 1), admitted(&[]), "nothing is there to be closed");
    logins.ended(SessionId(2), End::Wanted, 0);
    assert_eq!(come(&mut logins, 3, "a", 2), admitted(&[]));
}

#[test]
fn somebody_puts_out_a_device_or_all() {
    let mut logins = Logins::new(Policy::All);
    for (n, id) in (1..).zip(["a", "b", "c"]) {
        come(&mut logins, n, id, 1);
    }
    let (user, b) = (user(), device("b"));
    assert_eq!(logins.kick(&user, Some(&b), "by you", 0), [kicked(2, "by you")]);
    assert_eq!(logins.kick(&user, Some(&b), "by you", 0), [], "it is out");
    assert_eq!(logins.kick(&user, None, "by us", 0), [kicked(1, "by us"), kicked(3, "by us")]);
    assert_eq!(logins.kick(&UserId::new("nobody").unwrap(), None, "by us", 0), []);
    assert_eq!(come(&mut logins, 4, "c", 2), refused("by us"));
    logins.ended(SessionId(4), End::Wanted, 0);
    assert_eq!(come(&mut logins, 5, "c", 3), admitted(&[]));
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut logins = Logins::new(Policy::All);
    let memory_ms = Policy::All.memory_ms();
    come(&mut logins, 1, "a", 5);
    logins.ended(SessionId(1), End::Lost, 1_000);
    logins.expire(1_000 + memory_ms - 1);
    assert_eq!(here(&logins), ["a"]);
    assert_eq!(come(&mut logins, 2, "a", 6), admitted(&[]));
    logins.expire(1_000 + memory_ms);
    assert_eq!(here(&logins), ["a"], "it has come back");
    logins.ended(SessionId(2), End::Wanted, 2_000 + memory_ms);
    logins.expire(u64::MAX);
    assert_eq!((logins.users(), logins.sessions()), (0, 0));
    assert_eq!(come(&mut logins, 3, "a", 1), admitted(&[]), "nothing is known of it");
}

#[test]
fn of_devices_that_have_gone_the_latest_are_known() {
    for policy in [Policy::OneDevice, Policy::All] {
        let mut logins = Logins::new(policy);
        for n in 0..2_000 {
            come_as(&mut logins, n, &format!("device {n}"), 1, "", n);
            logins.ended(SessionId(n), End::Lost, n);
        }
        assert_eq!(logins.idle.queue.len(), SESSIONS_MAX);
        assert_eq!(logins.users[&user()].len(), SESSIONS_MAX);
        assert!(logins.device(&user(), &device("device 1999")).is_some());
        assert!(logins.device(&user(), &device("device 1743")).is_none(), "it has gone before 256 others");
        logins.expire(u64::MAX);
        assert!(logins.users.is_empty() && logins.idle.by_user.is_empty() && logins.idle.queue.is_empty());
    }
}

#[test]
fn a_device_that_comes_and_goes_is_known_once() {
    let mut logins = Logins::new(Policy::OneDevice);
    for n in 1..1_000 {
        come_as(&mut logins, n, "phone", n, "", n);
        assert!(logins.idle.queue.is_empty(), "it is connected");
        logins.ended(SessionId(n), End::Lost, n);
        assert_eq!(logins.idle.queue.len(), 1);
    }
}

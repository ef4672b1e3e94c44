//! What is revoked, by cases.

use quoth_protocol::{DeviceId, UserId};

use super::{Bearer, Extent, InForce, OF_ONE_MAX, Revocations, Revoked, TooMany};

const EVER: u64 = u64::MAX;

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

fn of_user(id: &str) -> Revoked {
    Revoked::User { user: user(id), device: None }
}

fn of_device(id: &str, of: &str) -> Revoked {
    Revoked::User { user: user(id), device: Some(device(of)) }
}

fn token(id: &str) -> Revoked {
    Revoked::Token { id: id.to_owned() }
}

fn extent(issued_before_ms: u64, over_ms: u64) -> Extent {
    Extent { issued_before_ms, over_ms }
}

fn has(revocations: &Revocations, of: (&str, &str, Option<&str>, u64), now_ms: u64) -> bool {
    let (id, on, token_id, issued_ms) = of;
    let bearer = Bearer { user: &user(id), device: &device(on), token_id, issued_ms };
    revocations.against(bearer, now_ms).is_some()
}

#[test]
fn each_kind_concerns_its_tokens_and_no_others() {
    let mut revocations = Revocations::new(10);
    revocations.revoke(&of_user("all"), extent(EVER, EVER), "").unwrap();
    revocations.revoke(&of_user("old"), extent(100, EVER), "").unwrap();
    revocations.revoke(&of_device("alice", "phone"), extent(100, EVER), "").unwrap();
    revocations.revoke(&token("t1"), extent(EVER, 500), "").unwrap();
    for (of, expected) in [
        (("all", "d", None, 0), true),
        (("all", "d", Some("t9"), EVER - 1), true),
        (("other", "d", None, 0), false),
        (("old", "d", None, 0), true),
        (("old", "d", None, 99), true),
        (("old", "d", None, 100), false),
        (("alice", "phone", None, 99), true),
        (("alice", "phone", None, 100), false),
        (("alice", "laptop", None, 0), false),
        (("bob", "phone", None, 0), false),
        (("bob", "phone", Some("t1"), 1_000), true),
        (("bob", "phone", Some("t2"), 0), false),
    ] {
        assert_eq!(has(&revocations, of, 0), expected, "{of:?}");
    }
    assert!(!has(&revocations, ("bob", "phone", Some("t1"), 1_000), 500), "it has ended by itself");
}

#[test]
fn it_is_known_when_a_new_token_is_good() {
    let mut revocations = Revocations::new(10);
    let (alice, phone, laptop) = (user("alice"), device("phone"), device("laptop"));
    let good_in_ms = |revocations: &Revocations, device: &DeviceId, now_ms: u64| {
        let bearer = Bearer { user: &alice, device, token_id: None, issued_ms: 0 };
        revocations.good_in_ms(bearer, now_ms)
    };
    assert_eq!(good_in_ms(&revocations, &phone, 10), 0);
    revocations.revoke(&of_user("alice"), extent(100, 500), "").unwrap();
    let of_phone = Revoked::User { user: alice.clone(), device: Some(phone.clone()) };
    revocations.revoke(&of_phone, extent(EVER, EVER), "").unwrap();
    assert_eq!(good_in_ms(&revocations, &phone, 10), EVER, "it is shut out");
    assert_eq!([10, 100, 200].map(|now_ms| good_in_ms(&revocations, &laptop, now_ms)), [90, 0, 0]);
    revocations.lift(&of_phone);
    assert_eq!(good_in_ms(&revocations, &phone, 10), 90);
}

fn in_force(extent: Extent, reason: &str) -> InForce {
    InForce { extent, reason: reason.into() }
}

fn why(revocations: &Revocations, id: &str, issued_ms: u64, now_ms: u64) -> Option<String> {
    let (user, device) = (user(id), device("d"));
    let bearer = Bearer { user: &user, device: &device, token_id: Some("t"), issued_ms };
    revocations.against(bearer, now_ms).map(ToString::to_string)
}

/// An operator suspends a user for an hour, and another one revokes what is out by now.
#[test]
fn two_revocations_of_one_thing_do_not_make_one_that_nobody_has_asked_for() {
    const HOUR: u64 = 3_600_000;
    let hour = in_force(extent(EVER, HOUR), "cool down");
    let lost = in_force(extent(1_000, EVER), "phone lost");
    for order in [[&hour, &lost], [&lost, &hour]] {
        let mut revocations = Revocations::new(10);
        for InForce { extent, reason } in order {
            assert_eq!(revocations.revoke(&of_user("yan"), *extent, reason), Ok(None));
        }
        assert_eq!(
            revocations.of(&of_user("yan")),
            [lost.clone(), hour.clone()],
            "the one that lasts longest first"
        );
        assert_eq!(revocations.len(), 2);
        let told = |issued_ms, now_ms| why(&revocations, "yan", issued_ms, now_ms);
        assert_eq!(told(5_000, 6_000).as_deref(), Some("cool down"));
        assert_eq!(told(500, 6_000).as_deref(), Some("phone lost"), "of both it lasts longest");
        assert_eq!(told(5_000, HOUR), None, "the hour is over");
        assert_eq!(told(500, HOUR).as_deref(), Some("phone lost"));
        assert_eq!((revocations.expire(HOUR), revocations.len()), (vec![of_user("yan")], 1));
        assert_eq!(revocations.of(&of_user("yan")), std::slice::from_ref(&lost));
        assert!(revocations.lift(&of_user("yan")) && revocations.is_empty());
    }
}

#[test]
fn a_weaker_revocation_changes_nothing_and_the_further_one_is_told() {
    let mut revocations = Revocations::new(10);
    let fired = in_force(extent(200, 900), "fired");
    revocations.revoke(&of_user("a"), fired.extent, "fired").unwrap();
    for weaker in [extent(100, 300), extent(200, 300), extent(100, 900)] {
        assert_eq!(revocations.revoke(&of_user("a"), weaker, "phone lost"), Ok(Some(fired.clone())));
        assert_eq!(revocations.of(&of_user("a")), std::slice::from_ref(&fired), "{weaker:?}");
    }
    // The same again is no weaker one, and may have another reason.
    for (reason, then) in [("", "fired"), ("retired", "retired")] {
        assert_eq!(revocations.revoke(&of_user("a"), fired.extent, reason), Ok(None));
        assert_eq!(revocations.of(&of_user("a")), [in_force(fired.extent, then)]);
    }
    // Of several the one that lasts longest.
    revocations.revoke(&of_user("a"), extent(EVER, 500), "cool down").unwrap();
    assert_eq!(
        revocations.revoke(&of_user("a"), extent(50, 90), ""),
        Ok(Some(in_force(fired.extent, "retired")))
    );
    // A token is revoked whenever it was issued.
    revocations.revoke(&token("t"), extent(0, 300), "t1").unwrap();
    let further = in_force(extent(EVER, 300), "t1");
    assert_eq!(revocations.revoke(&token("t"), extent(EVER, 200), "t2"), Ok(Some(further)));
}

#[test]
fn a_stronger_revocation_stands_for_those_that_it_covers() {
    let mut revocations = Revocations::new(10);
    revocations.revoke(&of_user("a"), extent(300, 400), "").unwrap();
    revocations.revoke(&of_user("a"), extent(200, 500), "lost").unwrap();
    revocations.revoke(&of_user("a"), extent(900, 100), "cool down").unwrap();
    assert_eq!(revocations.len(), 3);
    assert_eq!(revocations.revoke(&of_user("a"), extent(300, EVER), ""), Ok(None));
    let expected = [in_force(extent(300, EVER), "lost"), in_force(extent(900, 100), "cool down")];
    assert_eq!(revocations.of(&of_user("a")), expected, "where no reason is given, that of those it covers");
    assert_eq!(revocations.revoke(&of_user("a"), extent(EVER, EVER), "fired"), Ok(None));
    assert_eq!(revocations.of(&of_user("a")), [in_force(extent(EVER, EVER), "fired")]);
    assert_eq!((revocations.len(), revocations.due_ms()), (1, None));
    assert!(revocations.lift(&of_user("a")) && !revocations.lift(&of_user("a")));
    assert!(!has(&revocations, ("a", "d", None, 0), 0) && revocations.is_empty());
}

#[test]
fn of_one_thing_there_are_so_many_and_no_token_is_let_through_for_it() {
    let mut revocations = Revocations::new(100);
    let most = u64::try_from(OF_ONE_MAX).unwrap();
    let nth = |n: u64| extent(1_000 - 10 * n, 1_000 + 10 * n);
    for n in 0..most {
        assert_eq!(revocations.revoke(&of_user("a"), nth(n), &n.to_string()), Ok(None));
    }
    let all = revocations.of(&of_user("a")).to_vec();
    assert_eq!(all.len(), OF_ONE_MAX);
    assert_eq!(revocations.revoke(&of_user("a"), nth(most), ""), Err(TooMany::OfOne));
    assert_eq!(revocations.of(&of_user("a")), all, "none is forgotten or widened for it");
    // What is covered, and what covers, is no further one.
    assert!(revocations.revoke(&of_user("a"), extent(900, 900), "").unwrap().is_some());
    assert_eq!(revocations.revoke(&of_user("a"), extent(1_000, 1_010), "both"), Ok(None));
    assert_eq!(revocations.of(&of_user("a")).len(), OF_ONE_MAX - 1);
    assert_eq!(revocations.revoke(&of_user("a"), nth(most), ""), Ok(None));
    assert_eq!(revocations.revoke(&of_device("a", "d"), nth(most + 1), ""), Ok(None), "it is another thing");
}

#[test]
fn what_no_token_can_outlive_is_dropped_and_the_rest_is_bounded() {
    let mut revocations = Revocations::new(3);
    for n in 0..3 {
        revocations.revoke(&token(&n.to_string()), extent(EVER, 100 + n), "").unwrap();
    }
    assert_eq!(revocations.revoke(&of_user("a"), extent(EVER, EVER), ""), Err(TooMany::OfAll { max: 3 }));
    assert_eq!(revocations.revoke(&token("1"), extent(EVER, 900), ""), Ok(None), "one that is there");
    assert_eq!(revocations.of(&token("1")), [in_force(extent(EVER, 900), "")]);
    assert_eq!(revocations.expire(100), [token("0")]);
    assert_eq!(revocations.len(), 2);
    revocations.revoke(&of_device("a", "d"), extent(50, EVER), "").unwrap();
    assert_eq!(revocations.expire(899), [token("2")]);
    assert_eq!(revocations.expire(900), [token("1")]);
    assert_eq!((revocations.expire(EVER - 1), revocations.len()), (vec![], 1));
}

#[test]
fn what_ends_next_is_known_whatever_was_changed() {
    let mut revocations = Revocations::new(10);
    assert_eq!(revocations.due_ms(), None);
    revocations.revoke(&of_user("for ever"), extent(EVER, EVER), "").unwrap();
    assert_eq!(revocations.due_ms(), None, "it is lifted or stays");
    revocations.revoke(&token("late"), extent(EVER, 300), "").unwrap();
    revocations.revoke(&token("early"), extent(EVER, 100), "").unwrap();
    revocations.revoke(&of_device("a", "d"), extent(50, 200), "").unwrap();
    assert_eq!(revocations.due_ms(), Some(100));
    revocations.revoke(&token("early"), extent(EVER, 400), "").unwrap();
    assert_eq!((revocations.due_ms(), revocations.expire(150)), (Some(200), vec![]), "it was made longer");
    revocations.lift(&of_device("a", "d"));
    assert_eq!(revocations.due_ms(), Some(300));
    revocations.restore(&of_user("b"), &[in_force(extent(7, 250), "")]);
    assert_eq!(revocations.due_ms(), Some(250));
    assert_eq!(revocations.expire(400), [of_user("b"), token("late"), token("early")]);
    assert_eq!((revocations.due_ms(), revocations.len()), (None, 1));
}

#[test]
fn all_that_is_in_force_can_be_put_back() {
    let mut revocations = Revocations::new(10);
    let things = [of_user("a"), of_device("a", "d"), of_device("b", "d"), token("t")];
    for (thing, n) in things.iter().zip(1..) {
        revocations.revoke(thing, extent(EVER, 100 * n), "one").unwrap();
        revocations.revoke(thing, extent(7, 200 * n), "two").unwrap();
    }
    let mut again = Revocations::new(0);
    for thing in &things {
        again.restore(thing, revocations.of(thing));
    }
    assert_eq!((again.len(), again.due_ms()), (7, Some(100)), "more than may be added");
    for thing in &things {
        assert_eq!(again.of(thing), revocations.of(thing));
    }
}

#[test]
fn who_comes_later_is_told_the_reason_that_lasts_longest_of_those_there_are() {
    let mut revocations = Revocations::new(10);
    let told = |revocations: &Revocations, issued_ms| why(revocations, "a", issued_ms, 0);
    revocations.revoke(&of_user("a"), extent(100, EVER), "").unwrap();
    assert_eq!(told(&revocations, 0).as_deref(), Some(""), "nobody has said why");
    revocations.revoke(&of_device("a", "d"), extent(50, 700), "lost").unwrap();
    assert_eq!(told(&revocations, 0).as_deref(), Some("lost"));
    assert_eq!(told(&revocations, 50).as_deref(), Some(""), "it is not lost on this device's account");
    for (over_ms, reason, expected) in [(600, "short", "lost"), (800, "long", "long")] {
        revocations.revoke(&token("t"), extent(EVER, over_ms), reason).unwrap();
        assert_eq!(told(&revocations, 0).as_deref(), Some(expected));
    }
    revocations.lift(&token("t"));
    assert_eq!(told(&revocations, 100), None);
}

use quoth_protocol::{ConversationName, Seq};

use super::{Classes, End, Gaps, Kept, Place, Retention, RetentionClass, check_names, judged_ms};

/// Numbers that a seed makes, without a library.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[derive(Debug, Clone, Copy)]
struct Event {
    place: Place,
    bytes: u64,
    expires_ms: u64,
}

/// What is absent by the words of the rules, event by event, remembered for ever.
fn mark_absent(events: &[Event], absent: &mut Vec<bool>, policy: Retention, hold: bool, now_ms: u64) {
    absent.resize(events.len(), false);
    if hold {
        return;
    }
    let mut kept_bytes = 0;
    for (behind, event) in events.iter().rev().enumerate() {
        kept_bytes += event.bytes;
        let is_old = policy.age_s > 0 && now_ms - event.place.time_ms >= policy.age_s * 1_000;
        let is_one_too_many = policy.count > 0 && behind as u64 >= policy.count;
        let is_too_much = policy.bytes > 0 && kept_bytes > policy.bytes;
        let is_over = event.expires_ms != 0 && event.expires_ms <= now_ms;
        let at = events.len() - 1 - behind;
        absent[at] |= is_old || is_one_too_many || is_too_much || is_over;
    }
}

#[test]
fn what_is_absent_is_what_the_rules_say_and_stays_so() {
    for seed in 1..=400 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9E37_79B9_7F4A_7C15));
        let (mut kept, mut hold) = (Kept::default(), false);
        let (mut policy, class) = (None, Retention { count: random.below(2) * 7, ..Retention::default() });
        let (mut events, mut absent): (Vec<Event>, Vec<bool>) = (Vec::new(), Vec::new());
        let (mut now_ms, mut end) = (1_000_000, End::default());
        for _ in 0..120 {
            match random.below(12) {
                0 => now_ms += random.below(20_000),
                1 => {
                    let bound = |random: &mut Random, of: u64| random.below(2) * (1 + random.below(of));
                    let next = Retention {
                        age_s: bound(&mut random, 30),
                        count: bound(&mut random, 12),
                        bytes: bound(&mut random, 200),
                    };
                    let next = (random.below(4) > 0).then_some(next);
                    assert_eq!(kept.set_policy(next, class, now_ms, end), next != policy);
                    policy = next;
                }
                2 => {
                    hold = random.below(2) == 0;
                    kept.set_hold(hold, class, now_ms, end);
                }
                3 => kept = Kept::decode(&kept.encode()).unwrap(),
                _ => {
                    let bytes = random.below(40);
                    let expires_ms = if random.below(3) == 0 { now_ms + random.below(30_000) } else { 0 };
                    let place = Place { seq: end.seq.next(), time_ms: now_ms, offset: end.bytes };
                    events.push(Event { place, bytes, expires_ms });
                    end = End { seq: place.seq, bytes: end.bytes + bytes };
                }
            }
            mark_absent(&events, &mut absent, policy.unwrap_or(class), hold, now_ms);
            let judge = kept.keeping(class, now_ms).judge(end);
            let judged: Vec<_> =
                events.iter().map(|event| judge.is_absent(event.place, event.expires_ms)).collect();
            assert_eq!(judged, absent, "seed {seed}");
            let covered: Vec<_> = events.iter().map(|event| judge.marks.covers(event.place)).collect();
            assert!(covered.is_sorted_by(|a, b| a >= b), "what the marks take is taken from the beginning");
        }
    }
}

#[test]
fn a_policy_bounds_exactly() {
    let end = End { seq: Seq(10), bytes: 100 };
    let absent = |policy, place| {
        let kept = Kept { policy: Some(policy), ..Kept::default() };
        kept.keeping(Retention::FOR_EVER, 50_000).judge(end).is_absent(place, 0)
    };
    let age = Retention { age_s: 10, ..Retention::FOR_EVER };
    let at = |time_ms| Place { time_ms, ..Place::default() };
    assert!(!absent(age, at(40_001)) && absent(age, at(40_000)));
    let count = Retention { count: 3, ..Retention::FOR_EVER };
    let nth = |seq| Place { seq: Seq(seq), ..Place::default() };
    assert!(!absent(count, nth(8)) && absent(count, nth(7)));
    let bytes = Retention { bytes: 30, ..Retention::FOR_EVER };
    let from = |offset| Place { offset, ..Place::default() };
    assert!(!absent(bytes, from(70)) && absent(bytes, from(69)));
    assert!(!absent(Retention::FOR_EVER, Place::default()));
}

#[test]
fn when_an_event_ends_is_when_it_is_absent_first() {
    let (mut random, mut ended, mut held) = (Random(0x9E37_79B9_7F4A_7C15), 0, 0);
    for _ in 0..20_000 {
        let now_ms = 100_000 + random.below(100_000);
        let age = Retention { age_s: random.below(3) * random.below(100), ..Retention::FOR_EVER };
        let is_held = random.below(4) == 0;
        let hold_ms = if is_held { now_ms - random.below(50_000) } else { 0 };
        let kept = Kept { policy: Some(age), hold_ms, ..Kept::default() };
        let place = Place { seq: Seq(1), time_ms: now_ms - random.below(100_000), offset: 0 };
        let expires_ms = random.below(2) * (place.time_ms + random.below(150_000));
        let is_absent = |at_ms| {
            let judge = kept.keeping(Retention::FOR_EVER, at_ms).judge(End { seq: Seq(1), bytes: 1 });
            judge.is_absent(place, expires_ms)
        };
        if is_absent(now_ms) {
            continue;
        }
        match kept.keeping(Retention::FOR_EVER, now_ms).ends_ms(place.time_ms, expires_ms) {
            u64::MAX => assert!(!is_absent(u64::MAX), "{kept:?} {place:?} {expires_ms}"),
            // In the very millisecond in which a hold begins it is not known to be one.
            ends_ms if hold_ms == now_ms => assert_eq!(ends_ms, expires_ms),
            ends_ms => {
                assert!(is_absent(ends_ms) && !is_absent(ends_ms - 1), "{kept:?} {place:?} {expires_ms}");
                ended += 1;
            }
        }
        held += u32::from(is_held);
    }
    assert!(ended > 2_000 && held > 2_000, "{ended} {held}");
}

#[test]
fn time_goes_back_with_the_clock_by_more_than_a_day_alone() {
    const DAY_MS: u64 = 24 * 3_600 * 1_000;
    let now_ms = 10 * DAY_MS;
    for (latest_ms, expected_ms) in [
        (0, now_ms),
        (now_ms - 1, now_ms),
        (now_ms + 1, now_ms + 1),
        (now_ms + DAY_MS, now_ms + DAY_MS),
        (now_ms + DAY_MS + 1, now_ms),
        (u64::MAX, now_ms),
    ] {
        assert_eq!(judged_ms(latest_ms, now_ms), expected_ms, "{latest_ms}");
    }
}

#[test]
fn gaps_are_told_once_and_whole() {
    let mut gaps = Gaps::behind(Seq(3));
    assert_eq!(gaps.event(Seq(4)), None);
    assert_eq!(gaps.event(Seq(8)), Some((Seq(5), Seq(7))));
    assert_eq!(gaps.until(Seq(8)), None);
    assert_eq!(gaps.until(Seq(10)), Some((Seq(9), Seq(10))));
    assert_eq!(gaps.until(Seq(9)), None);
    assert_eq!(gaps.event(Seq(11)), None);
}

#[test]
fn the_first_class_that_fits_counts() {
    let class = |text: &str| text.parse::<RetentionClass>().unwrap();
    let texts = ["short:team-*+$direct/*:age_s=60&count=5", "ever:team-archive:", "all:*:bytes=7"];
    let classes = Classes::new(texts.map(class).to_vec());
    let of = |name: &str| {
        classes.place(&ConversationName::new(name).unwrap()).map(|place| classes.all()[place].name.clone())
    };
    assert_eq!(of("team-archive").as_deref(), Some("short"));
    assert_eq!(of("other").as_deref(), Some("all"));
    assert_eq!(of("$user/ada"), None, "a user's own log");
    for (text, class) in texts.iter().zip(classes.all()) {
        assert_eq!(class.to_string(), *text);
    }
    for bad in
        ["", "a", "a:b", ":b:", "a::count=1", "a:b+:count=1", "a:b:counts=1", "a:b:count=-1", "a:b:count"]
    {
        assert!(bad.parse::<RetentionClass>().is_err(), "{bad}");
    }
}

#[test]
fn of_two_classes_of_one_name_none_is_dropped() {
    let check = |texts: &[&str]| {
        let classes: Vec<RetentionClass> = texts.iter().map(|text| text.parse().unwrap()).collect();
        check_names(&classes).map_err(|error| error.to_string())
    };
    assert_eq!(check(&["a:x:count=1", "b:x:count=1"]), Ok(()));
    let told = check(&["a:x:count=1", "b:x:count=1", "b:y:count=1"]).unwrap_err();
    assert!(told.contains("two classes are called \"b\""), "{told}");
}

#[test]
fn what_is_wrong_with_a_class_is_told_with_what_is_meant() {
    for (text, expected) in [
        ("team-*", "give its name, conversations and bounds"),
        (
            "teams:team-*",
            "with no bound behind the last colon one that keeps for ever, as in \"teams:team-*+ops:\"",
        ),
        (":team-*:count=1", "needs a name"),
        ("teams::count=1", "is of no conversations"),
        ("teams:*-team:count=1", "so it comes last"),
        ("teams:team-*:age=1", "\"age\", which is no bound: these are age_s"),
        ("teams:team-*:age_s=30d", "age_s is a whole number of seconds: 30d is age_s=2592000"),
        ("teams:team-*:count=30d", "count is a whole number of events"),
        ("teams:team-*:bytes=1GB", "bytes is a whole number of bytes"),
        ("teams:team-*:age_s=-1", "whole number"),
        ("teams:team-*:age_s=0", "leave age_s out"),
        ("teams:team-*:count", "give its name, conversations and bounds"),
    ] {
        let error = text.parse::<RetentionClass>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
    // What is kept for ever among others that are not.
    assert!("kept:law-*:".parse::<RetentionClass>().unwrap().retention.is_for_ever());
}

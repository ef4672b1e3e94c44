//! Revocations, ends and the passing of time in random orders, against a list of all that was ever revoked.

use quoth_protocol::{DeviceId, UserId};

use super::{Bearer, Extent, OF_ONE_MAX, Revocations, Revoked, TooMany};
use crate::dice::Dice;

/// Times are below this, so that many agree.
const TIMES: usize = 20;

const USERS: [&str; 2] = ["alice", "bob"];
const DEVICES: [&str; 2] = ["phone", "laptop"];
const TOKENS: [&str; 2] = ["t1", "t2"];

/// All that were ever made of what is not lifted, each with its number for a reason.
#[derive(Default)]
struct Model(Vec<(Revoked, Extent, String)>);

impl Model {
    /// The ends of those that have the token.
    fn against(&self, bearer: Bearer<'_>, now_ms: u64) -> impl Iterator<Item = (u64, &str)> {
        let has_it = move |revoked: &Revoked, extent: &Extent| {
            extent.over_ms > now_ms
                && match revoked {
                    Revoked::Token { id } => bearer.token_id == Some(id),
                    Revoked::User { user, device } => {
                        user == bearer.user
                            && device.as_ref().is_none_or(|device| device == bearer.device)
                            && bearer.issued_ms < extent.issued_before_ms
                    }
                }
        };
        let those = self.0.iter().filter(move |(revoked, extent, _)| has_it(revoked, extent));
        those.map(|(_, extent, reason)| (extent.over_ms, reason.as_str()))
    }
}

fn user(n: usize) -> UserId {
    UserId::new(USERS[n]).unwrap()
}

fn device(n: usize) -> DeviceId {
    DeviceId::new(DEVICES[n]).unwrap()
}

fn thing(dice: &mut Dice) -> Revoked {
    match dice.below(4) {
        0 => Revoked::Token { id: TOKENS[dice.below(2)].to_owned() },
        1 => Revoked::User { user: user(dice.below(2)), device: Some(device(dice.below(2))) },
        _ => Revoked::User { user: user(dice.below(2)), device: None },
    }
}

/// Mostly one that ends the sooner the more tokens it has, since of two such none covers the other.
fn extent(dice: &mut Dice) -> Extent {
    let (early, late) = (dice.below(TIMES), dice.below(TIMES));
    let [early, late, mirrored] = [early, late, TIMES - 1 - early].map(|n| u64::try_from(n).unwrap());
    let [issued_before_ms, over_ms] = match dice.below(40) {
        0 => [u64::MAX, late],
        1 => [early, u64::MAX],
        2 => [early, late],
        _ => [early, mirrored],
    };
    Extent { issued_before_ms, over_ms }
}

/// Every token is refused if and only if one that was ever made, and is neither over nor lifted, has it, and
/// with the reason of one of those that last longest.
fn assert_agree(revocations: &Revocations, model: &Model, now_ms: u64, seed: u64) {
    for n in 0..8 * TIMES {
        let token_id = [TOKENS[0], TOKENS[1]].get(n % 4).copied();
        let (user, device) = (user(n / 4 % 2), device(n % 2));
        let issued_ms = u64::try_from(n / 8).unwrap();
        let bearer = Bearer { user: &user, device: &device, token_id, issued_ms };
        let expected: Vec<_> = model.against(bearer, now_ms).collect();
        match revocations.against(bearer, now_ms) {
            None => assert_eq!(expected, [], "seed {seed}, {now_ms}: {bearer:?}"),
            Some(told) => {
                let longest = expected.iter().map(|(over_ms, _)| *over_ms).max();
                let has_told =
                    |(over_ms, reason): &(u64, &str)| *reason == &**told && Some(*over_ms) == longest;
                assert!(
                    expected.iter().any(has_told),
                    "seed {seed}, {now_ms}: {bearer:?} {told} {expected:?}"
                );
            }
        }
    }
}

/// Each that is in force was made as it is, none covers another, and they are counted and end in their order.
fn assert_sound(revocations: &Revocations, model: &Model, seed: u64) {
    let mut things: Vec<&Revoked> = model.0.iter().map(|(revoked, ..)| revoked).collect();
    things.sort_unstable();
    things.dedup();
    let (mut count, mut due_ms) = (0, None);
    for revoked in things {
        let in_force = revocations.of(revoked);
        assert!(in_force.len() <= OF_ONE_MAX, "seed {seed}");
        for (n, one) in in_force.iter().enumerate() {
            let is_it = |(of, extent, reason): &(Revoked, Extent, String)| {
                (of, *extent, reason.as_str()) == (revoked, one.extent, &*one.reason)
            };
            assert!(model.0.iter().any(is_it), "seed {seed}: nobody has made {revoked:?} {one:?}");
            let later = in_force[n + 1..].iter().map(|other| other.extent);
            for other in later {
                assert!(!one.extent.covers(other) && !other.covers(one.extent), "seed {seed}: {in_force:?}");
                assert!(one.extent.over_ms > other.over_ms, "seed {seed}: {in_force:?}");
            }
        }
        count += in_force.len();
        let ends = in_force.iter().map(|one| one.extent.over_ms).filter(|over_ms| *over_ms < u64::MAX);
        due_ms = ends.chain(due_ms).min();
    }
    assert_eq!((revocations.len(), revocations.due_ms()), (count, due_ms), "seed {seed}");
}

#[test]
fn a_token_is_refused_if_and_only_if_something_that_was_revoked_has_it() {
    let (mut of_one, mut of_all, mut covered) = (0, 0, 0);
    for seed in 1..=100 {
        let mut dice = Dice::new(seed);
        let (mut revocations, mut model, mut now_ms) = (Revocations::new(20), Model::default(), 0);
        for step in 0..60 {
            let revoked = thing(&mut dice);
            match dice.below(20) {
                0 => {
                    let was = !revocations.of(&revoked).is_empty();
                    assert_eq!(revocations.lift(&revoked), was);
                    model.0.retain(|(of, ..)| *of != revoked);
                }
                1 => now_ms += 1,
                2 => {
                    let changed = revocations.expire(now_ms);
                    assert!(
                        revocations.due_ms().is_none_or(|due_ms| due_ms > now_ms),
                        "seed {seed}: {changed:?}"
                    );
                }
                _ => {
                    let mut extent = extent(&mut dice);
                    let reason = step.to_string();
                    let before = revocations.of(&revoked).to_vec();
                    let made = revocations.revoke(&revoked, extent, &reason);
                    if matches!(revoked, Revoked::Token { .. }) {
                        extent.issued_before_ms = u64::MAX;
                    }
                    match made {
                        Ok(further) => {
                            covered += usize::from(further.is_some());
                            assert!(
                                further.is_none_or(
                                    |further| before.contains(&further) && further.extent.covers(extent)
                                ),
                                "seed {seed}"
                            );
                            model.0.push((revoked, extent, reason));
                        }
                        Err(too_many) => {
                            assert_eq!(revocations.of(&revoked), before, "seed {seed}: {too_many}");
                            let is_of_one = before.len() == OF_ONE_MAX;
                            assert_eq!(too_many == TooMany::OfOne, is_of_one, "seed {seed}: {too_many}");
                            *if is_of_one { &mut of_one } else { &mut of_all } += 1;
                        }
                    }
                }
            }
            assert_agree(&revocations, &model, now_ms, seed);
            assert_sound(&revocations, &model, seed);
        }
    }
    assert!(
        of_one > 10 && of_all > 10 && covered > 10,
        "the bounds were met {of_one} and {of_all} times, stronger ones {covered} times"
    );
}

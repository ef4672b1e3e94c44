//! Which tokens are revoked. A token is judged by what it says of itself: its user, its id, and when it was
//! issued.
//!
//! The index holds what a token can still run into and no more: a revoked token's id goes when the token has
//! ended, and all that is known of a user is at most one time for the user and one for each device.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use quoth_protocol::{DeviceId, UserId};

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// Tokens of a user, and of one device only if it is named.
    User {
        /// Whose.
        user: UserId,
        /// On which device; `None`: on all.
        device: Option<DeviceId>,
    },
    /// One token.
    Token {
        /// Its `jti`.
        id: String,
    },
}

/// Since when or until when it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Tokens that were issued before this, in milliseconds since 1970; `u64::MAX`: all of them, those to
    /// come too. Of a single token it is not asked.
    pub issued_before_ms: u64,
    /// When no token is left that this concerns, in milliseconds since 1970; `u64::MAX`: it is not known.
    pub over_ms: u64,
}

/// What is in force of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InForce {
    /// Since when or until when.
    pub extent: Extent,
    /// Why, for people; may be empty. Whoever comes with such a token is told.
    pub reason: Arc<str>,
}

/// A token, by what it says of itself, and where it is used.
#[derive(Debug, Clone, Copy)]
pub struct Bearer<'a> {
    /// Its user.
    pub user: &'a UserId,
    /// The device that it is used on.
    pub device: &'a DeviceId,
    /// Its id, if it has one.
    pub token_id: Option<&'a str>,
    /// When it was issued, in milliseconds since 1970; 0 when it does not say.
    pub issued_ms: u64,
}

/// Why something is not revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{max} revocations are in force, which are the most: lift some, or raise auth.revocations_max")]
pub struct TooMany {
    /// The most that there may be.
    pub max: usize,
}

/// All revocations in force.
#[derive(Debug, Default)]
pub struct Revocations {
    users: HashMap<UserId, OfUser>,
    tokens: HashMap<String, InForce>,
    /// Those that end by themselves, in the order in which they do. There may be many others, and who looks
    /// for what is over holds everybody up.
    ends: BTreeSet<(u64, Revoked)>,
    count: usize,
    max: usize,
}

#[derive(Debug, Default)]
struct OfUser {
    all: Option<InForce>,
    devices: HashMap<DeviceId, InForce>,
}

impl Extent {
    /// Both of them: as many tokens, for as long.
    fn join(self, other: Self) -> Self {
        Self {
            issued_before_ms: self.issued_before_ms.max(other.issued_before_ms),
            over_ms: self.over_ms.max(other.over_ms),
        }
    }
}

impl Revocations {
    /// None yet, and at most so many.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, ..Self::default() }
    }

    /// How many are in force.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Why a token is revoked at `now_ms`, in milliseconds since 1970, for people; empty where nobody has
    /// said so, `None` when it is not.
    #[must_use]
    pub fn against(&self, bearer: Bearer<'_>, now_ms: u64) -> Option<&Arc<str>> {
        let concerns = |in_force: &&InForce| {
            let Extent { issued_before_ms, over_ms } = in_force.extent;
            over_ms > now_ms && bearer.issued_ms < issued_before_ms
        };
        let of_user = self.users.get(bearer.user);
        let of_all = of_user.and_then(|of_user| of_user.all.as_ref());
        let of_device = of_user.and_then(|of_user| of_user.devices.get(bearer.device));
        let of_token = bearer.token_id.and_then(|id| self.tokens.get(id));
        let mut concerning = [of_all, of_device, of_token].into_iter().flatten().filter(concerns);
        let first = &concerning.next()?.reason;
        if !first.is_empty() {
            return Some(first);
        }
        concerning.map(|in_force| &in_force.reason).find(|reason| !reason.is_empty()).or(Some(first))
    }

    /// How long it is from `now_ms` until a token of this bearer that is issued then is good, in
    /// milliseconds; 0 when any new one is, and `u64::MAX` when none ever is.
    #[must_use]
    pub fn good_in_ms(&self, bearer: Bearer<'_>, now_ms: u64) -> u64 {
        let Some(of_user) = self.users.get(bearer.user) else { return 0 };
        let in_force = of_user.all.iter().chain(of_user.devices.get(bearer.device));
        let before_ms = in_force
            .filter(|in_force| in_force.extent.over_ms > now_ms)
            .map(|in_force| in_force.extent.issued_before_ms)
            .max();
        match before_ms {
            Some(u64::MAX) => u64::MAX,
            before_ms => before_ms.unwrap_or_default().saturating_sub(now_ms),
        }
    }

    /// Revokes something, beside what is revoked of it already, and gives what is in force then. The reason,
    /// for people, is the latest that was given.
    ///
    /// # Errors
    /// When that would be one more than the most. Nothing is forgotten to make room, since a token that was
    /// revoked would be good again.
    pub fn revoke(&mut self, revoked: &Revoked, extent: Extent, reason: &str) -> Result<Extent, TooMany> {
        let before = self.find(revoked);
        if before.is_none() && self.count >= self.max {
            return Err(TooMany { max: self.max });
        }
        let extent = before.map_or(extent, |before| before.extent.join(extent));
        let reason = match before {
            Some(before) if reason.is_empty() => Arc::clone(&before.reason),
            Some(_) | None => reason.into(),
        };
        self.put(revoked, InForce { extent, reason });
        Ok(extent)
    }

    /// Puts back what was in force, whatever is known of it and however much there is.
    pub fn restore(&mut self, revoked: &Revoked, in_force: InForce) {
        self.put(revoked, in_force);
    }

    /// Ends a revocation; says whether there was one.
    pub fn lift(&mut self, revoked: &Revoked) -> bool {
        let was = match revoked {
            Revoked::Token { id } => self.tokens.remove(id),
            Revoked::User { user, device } => {
                let Some(of_user) = self.users.get_mut(user) else { return false };
                let was = match device {
                    Some(device) => of_user.devices.remove(device),
                    None => of_user.all.take(),
                };
                if of_user.all.is_none() && of_user.devices.is_empty() {
                    self.users.remove(user);
                }
                was
            }
        };
        if let Some(InForce { extent, .. }) = &was {
            self.ends.remove(&(extent.over_ms, revoked.clone()));
        }
        self.count -= usize::from(was.is_some());
        was.is_some()
    }

    /// When the next one ends by itself, in milliseconds since 1970.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.ends.first().map(|(over_ms, _)| *over_ms)
    }

    /// Forgets what concerns no token any more at `now_ms`, in milliseconds since 1970, and gives it in the
    /// order in which it has ended.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Revoked> {
        let mut over = Vec::new();
        while self.due_ms().is_some_and(|over_ms| over_ms <= now_ms) {
            let Some((_, revoked)) = self.ends.pop_first() else { break };
            self.lift(&revoked);
            over.push(revoked);
        }
        over
    }

    /// All that are in force, in any order.
    pub fn all(&self) -> impl Iterator<Item = (Revoked, &InForce)> + '_ {
        let users = self.users.iter().flat_map(|(user, of_user)| {
            let all = of_user.all.as_ref().map(|in_force| (None, in_force));
            let devices = of_user.devices.iter().map(|(device, in_force)| (Some(device.clone()), in_force));
            let of_user = all.into_iter().chain(devices);
            of_user.map(|(device, in_force)| (Revoked::User { user: user.clone(), device }, in_force))
        });
        let tokens = self.tokens.iter().map(|(id, in_force)| (Revoked::Token { id: id.clone() }, in_force));
        users.chain(tokens)
    }

    /// What is in force of something.
    #[must_use]
    pub fn find(&self, revoked: &Revoked) -> Option<&InForce> {
        match revoked {
            Revoked::Token { id } => self.tokens.get(id),
            Revoked::User { user, device: None } => self.users.get(user)?.all.as_ref(),
            Revoked::User { user, device: Some(device) } => self.users.get(user)?.devices.get(device),
        }
    }

    fn put(&mut self, revoked: &Revoked, mut in_force: InForce) {
        let over_ms = in_force.extent.over_ms;
        let was = match revoked {
            Revoked::Token { id } => {
                // Whenever it was issued.
                in_force.extent.issued_before_ms = u64::MAX;
                self.tokens.insert(id.clone(), in_force)
            }
            Revoked::User { user, device } => {
                let of_user = self.users.entry(user.clone()).or_default();
                match device {
                    Some(device) => of_user.devices.insert(device.clone(), in_force),
                    None => of_user.all.replace(in_force),
                }
            }
        };
        if let Some(InForce { extent, .. }) = &was {
            self.ends.remove(&(extent.over_ms, revoked.clone()));
        }
        if over_ms < u64::MAX {
            self.ends.insert((over_ms, revoked.clone()));
        }
        self.count += usize::from(was.is_none());
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{DeviceId, UserId};

    use super::{Bearer, Extent, InForce, Revocations, Revoked, TooMany};

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

    #[test]
    fn a_weaker_revocation_takes_nothing_away() {
        let mut revocations = Revocations::new(10);
        revocations.revoke(&of_user("a"), extent(200, EVER), "").unwrap();
        assert_eq!(revocations.revoke(&of_user("a"), extent(100, 300), ""), Ok(extent(200, EVER)));
        assert!(has(&revocations, ("a", "d", None, 199), 1_000));
        assert_eq!(revocations.revoke(&of_user("a"), extent(EVER, EVER), ""), Ok(extent(EVER, EVER)));
        assert!(has(&revocations, ("a", "d", None, 5_000), 0));
        assert!(revocations.lift(&of_user("a")) && !revocations.lift(&of_user("a")));
        assert!(!has(&revocations, ("a", "d", None, 0), 0) && revocations.is_empty());
    }

    #[test]
    fn what_no_token_can_outlive_is_dropped_and_the_rest_is_bounded() {
        let mut revocations = Revocations::new(3);
        for n in 0..3 {
            revocations.revoke(&token(&n.to_string()), extent(EVER, 100 + n), "").unwrap();
        }
        assert_eq!(revocations.revoke(&of_user("a"), extent(EVER, EVER), ""), Err(TooMany { max: 3 }));
        assert_eq!(
            revocations.revoke(&token("1"), extent(EVER, 900), "").unwrap().over_ms,
            900,
            "one that is there"
        );
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
        assert_eq!(
            (revocations.due_ms(), revocations.expire(150)),
            (Some(200), vec![]),
            "it was made longer"
        );
        revocations.lift(&of_device("a", "d"));
        assert_eq!(revocations.due_ms(), Some(300));
        revocations.restore(&of_user("b"), InForce { extent: extent(7, 250), reason: "".into() });
        assert_eq!(revocations.due_ms(), Some(250));
        assert_eq!(revocations.expire(400), [of_user("b"), token("late"), token("early")]);
        assert_eq!((revocations.due_ms(), revocations.len()), (None, 1));
    }

    #[test]
    fn all_that_is_in_force_can_be_put_back() {
        let mut revocations = Revocations::new(10);
        let put = [
            (of_user("a"), extent(7, EVER)),
            (of_device("a", "d"), extent(EVER, 9)),
            (of_device("b", "d"), extent(1, 2)),
            (token("t"), extent(EVER, 3)),
        ];
        for (revoked, extent) in &put {
            revocations.revoke(revoked, *extent, "").unwrap();
        }
        let mut again = Revocations::new(0);
        for (revoked, in_force) in revocations.all() {
            again.restore(&revoked, in_force.clone());
        }
        assert_eq!(again.len(), 4, "more than may be added");
        for (revoked, extent) in &put {
            assert_eq!(again.find(revoked).map(|in_force| in_force.extent), Some(*extent));
        }
    }

    #[test]
    fn who_comes_later_is_told_the_latest_reason_there_is() {
        let mut revocations = Revocations::new(10);
        let told = |revocations: &Revocations, issued_ms| {
            let (user, device) = (user("a"), device("d"));
            let bearer = Bearer { user: &user, device: &device, token_id: Some("t"), issued_ms };
            revocations.against(bearer, 0).map(ToString::to_string)
        };
        revocations.revoke(&of_user("a"), extent(100, EVER), "").unwrap();
        assert_eq!(told(&revocations, 0).as_deref(), Some(""), "nobody has said why");
        revocations.revoke(&of_device("a", "d"), extent(50, EVER), "lost").unwrap();
        assert_eq!(told(&revocations, 0).as_deref(), Some("lost"));
        assert_eq!(told(&revocations, 50).as_deref(), Some(""), "it is not lost on this device's account");
        revocations.revoke(&of_user("a"), extent(0, 0), "stolen").unwrap();
        revocations.revoke(&of_user("a"), extent(0, 0), "").unwrap();
        assert_eq!(told(&revocations, 0).as_deref(), Some("stolen"), "it is not forgotten");
        assert_eq!(told(&revocations, 100), None);
    }
}

//! Which tokens are revoked. A token is judged by what it says of itself: its user, its id, and when it was
//! issued.
//!
//! Of one thing several revocations may be in force: whoever makes one does not end another, and no two make
//! one that nobody has asked for. What another one covers is dropped.
//!
//! The index holds what a token can still run into and no more: a revoked token's id goes when the token has
//! ended, and all that is known of a user is a few times for the user and a few for each device.

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use quoth_protocol::{DeviceId, UserId};

/// Revocations of one thing in force at once.
pub const OF_ONE_MAX: usize = 8;

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

/// A revocation that is in force of something.
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
pub enum TooMany {
    /// Of all things together.
    #[error("{max} revocations are in force, which are the most: lift some, or raise auth.revocations_max")]
    OfAll {
        /// The most that there may be.
        max: usize,
    },
    /// Of this one thing.
    #[error(
        "{OF_ONE_MAX} revocations are in force of this, which are the most, and none of them covers this one or is \
         covered by it: ask for one that covers some of them, for more tokens and for longer, or lift them"
    )]
    OfOne,
}

/// All revocations in force.
#[derive(Debug, Default)]
pub struct Revocations {
    users: HashMap<UserId, OfUser>,
    tokens: HashMap<String, Uncovered>,
    /// Those that end by themselves, in the order in which they do: of one thing no two end at once. There may
    /// be many others, and who looks for what is over holds everybody up.
    ends: BTreeSet<(u64, Revoked)>,
    count: usize,
    max: usize,
}

/// Those of one thing that no other one covers, the one that lasts longest first. None lasts as long as another
/// one, since one of the two would cover the other.
type Uncovered = Vec<InForce>;

#[derive(Debug, Default)]
struct OfUser {
    all: Uncovered,
    devices: HashMap<DeviceId, Uncovered>,
}

impl Extent {
    /// Whether this has all tokens that the other one has, for as long.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.issued_before_ms >= other.issued_before_ms && self.over_ms >= other.over_ms
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

    /// Why a token is revoked at `now_ms`, in milliseconds since 1970, for people: the reason of the
    /// revocation that lasts longest, of those that have the token and a reason. Empty where nobody has said
    /// why, `None` when it is not revoked.
    #[must_use]
    pub fn against(&self, bearer: Bearer<'_>, now_ms: u64) -> Option<&Arc<str>> {
        let has_it = |in_force: &&InForce| {
            let Extent { issued_before_ms, over_ms } = in_force.extent;
            over_ms > now_ms && bearer.issued_ms < issued_before_ms
        };
        let of_user = self.users.get(bearer.user);
        let of_all = of_user.map(|of_user| &of_user.all);
        let of_device = of_user.and_then(|of_user| of_user.devices.get(bearer.device));
        let of_token = bearer.token_id.and_then(|id| self.tokens.get(id));
        let told = [of_all, of_device, of_token]
            .into_iter()
            .flatten()
            .flatten()
            .filter(has_it)
            .min_by_key(|in_force| (in_force.reason.is_empty(), Reverse(in_force.extent.over_ms)));
        told.map(|in_force| &in_force.reason)
    }

    /// How long it is from `now_ms` until a token of this bearer that is issued then is good, in
    /// milliseconds; 0 when any new one is, and `u64::MAX` when none ever is.
    #[must_use]
    pub fn good_in_ms(&self, bearer: Bearer<'_>, now_ms: u64) -> u64 {
        let Some(of_user) = self.users.get(bearer.user) else { return 0 };
        let in_force = of_user.all.iter().chain(of_user.devices.get(bearer.device).into_iter().flatten());
        let before_ms = in_force
            .filter(|in_force| in_force.extent.over_ms > now_ms)
            .map(|in_force| in_force.extent.issued_before_ms)
            .max();
        match before_ms {
            Some(u64::MAX) => u64::MAX,
            before_ms => before_ms.unwrap_or_default().saturating_sub(now_ms),
        }
    }

    /// Revokes something, beside what is revoked of it already. What the new one covers it stands for: also
    /// for their reason, where it has none. `None` when it is in force then; where one covers it that goes
    /// further, that one, and nothing has changed.
    ///
    /// # Errors
    /// When that would be one more than the most, of this or of all. Nothing is forgotten to make room, since
    /// a token that was revoked would be good again, and nothing is widened, since that would refuse tokens
    /// that nobody has revoked.
    pub fn revoke(
        &mut self,
        revoked: &Revoked,
        extent: Extent,
        reason: &str,
    ) -> Result<Option<InForce>, TooMany> {
        let extent = match revoked {
            // Whenever it was issued.
            Revoked::Token { .. } => Extent { issued_before_ms: u64::MAX, ..extent },
            Revoked::User { .. } => extent,
        };
        let before = self.of(revoked);
        let goes_further = |in_force: &&InForce| in_force.extent.covers(extent) && in_force.extent != extent;
        if let Some(further) = before.iter().find(goes_further) {
            return Ok(Some(further.clone()));
        }
        let (covered, others): (Vec<_>, Vec<_>) =
            before.iter().partition(|in_force| extent.covers(in_force.extent));
        if covered.is_empty() && others.len() >= OF_ONE_MAX {
            return Err(TooMany::OfOne);
        }
        if covered.is_empty() && self.count >= self.max {
            return Err(TooMany::OfAll { max: self.max });
        }
        let of_covered = covered.iter().map(|in_force| &in_force.reason).find(|reason| !reason.is_empty());
        let reason = of_covered.filter(|_| reason.is_empty()).map_or_else(|| reason.into(), Arc::clone);
        let mut uncovered: Uncovered = others.into_iter().cloned().collect();
        uncovered.push(InForce { extent, reason });
        uncovered.sort_by_key(|in_force| Reverse(in_force.extent.over_ms));
        self.put(revoked, uncovered);
        Ok(None)
    }

    /// Puts back what was in force [of](Self::of) something, however much there is.
    pub fn restore(&mut self, revoked: &Revoked, in_force: &[InForce]) {
        self.put(revoked, in_force.to_vec());
    }

    /// Ends all revocations of something; says whether there were any.
    pub fn lift(&mut self, revoked: &Revoked) -> bool {
        let is_revoked = !self.of(revoked).is_empty();
        self.put(revoked, Uncovered::new());
        is_revoked
    }

    /// When the next one ends by itself, in milliseconds since 1970.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.ends.first().map(|(over_ms, _)| *over_ms)
    }

    /// Forgets what concerns no token any more at `now_ms`, in milliseconds since 1970, and gives of what it
    /// was, each once, in the order in which the first of each has ended.
    pub fn expire(&mut self, now_ms: u64) -> Vec<Revoked> {
        let mut changed = Vec::new();
        while let Some((over_ms, revoked)) = self.ends.first()
            && *over_ms <= now_ms
        {
            let revoked = revoked.clone();
            let stays = |in_force: &&InForce| in_force.extent.over_ms > now_ms;
            let uncovered = self.of(&revoked).iter().filter(stays).cloned().collect();
            self.put(&revoked, uncovered);
            changed.push(revoked);
        }
        changed
    }

    /// What is in force of something: the one that lasts longest first, none of which another one covers.
    #[must_use]
    pub fn of(&self, revoked: &Revoked) -> &[InForce] {
        let uncovered = match revoked {
            Revoked::Token { id } => self.tokens.get(id),
            Revoked::User { user, device: None } => self.users.get(user).map(|of_user| &of_user.all),
            Revoked::User { user, device: Some(device) } => {
                self.users.get(user).and_then(|of_user| of_user.devices.get(device))
            }
        };
        uncovered.map_or(&[], Vec::as_slice)
    }

    /// From here on these are in force of it, and no others.
    fn put(&mut self, revoked: &Revoked, uncovered: Uncovered) {
        let ends: Vec<u64> = uncovered.iter().map(|in_force| in_force.extent.over_ms).collect();
        let before = self.replace(revoked, uncovered);
        self.count = self.count - before.len() + ends.len();
        for InForce { extent, .. } in before {
            self.ends.remove(&(extent.over_ms, revoked.clone()));
        }
        for over_ms in ends.into_iter().filter(|over_ms| *over_ms < u64::MAX) {
            self.ends.insert((over_ms, revoked.clone()));
        }
    }

    /// Gives those that were in force before. Of what nothing is in force nothing is held.
    fn replace(&mut self, revoked: &Revoked, uncovered: Uncovered) -> Uncovered {
        match revoked {
            Revoked::Token { id } if uncovered.is_empty() => self.tokens.remove(id).unwrap_or_default(),
            Revoked::Token { id } => self.tokens.insert(id.clone(), uncovered).unwrap_or_default(),
            Revoked::User { user, device } => {
                let of_user = self.users.entry(user.clone()).or_default();
                let before = match device {
                    None => std::mem::replace(&mut of_user.all, uncovered),
                    Some(device) if uncovered.is_empty() => {
                        of_user.devices.remove(device).unwrap_or_default()
                    }
                    Some(device) => of_user.devices.insert(device.clone(), uncovered).unwrap_or_default(),
                };
                if of_user.all.is_empty() && of_user.devices.is_empty() {
                    self.users.remove(user);
                }
                before
            }
        }
    }
}

//! What is known of how a conversation is kept: a fold of what was set, stored as one register.

use quoth_protocol::Seq;
use serde::{Deserialize, Serialize};

use super::{End, Keeping, Marks, Retention};

/// The register's key.
const KEY: u8 = b'p';

/// How a conversation is kept, as far as it was set for it alone. The default was never set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its own policy; `None`: that of its class.
    pub policy: Option<Retention>,
    /// When a hold began, in milliseconds since 1970; 0: there is none. What is not absent by then stays.
    pub hold_ms: u64,
    /// What is absent whatever is set.
    pub marks: Marks,
    /// How often it was set.
    pub version: u64,
}

/// What may be set for a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retain {
    /// How long its events are kept.
    Policy(Retention),
    /// They are kept as its class says.
    Class,
    /// Whether all that is not absent stays, whatever its policy says.
    Hold(bool),
}

impl Retain {
    /// What the event says by which its members are told: by what they are kept from now on, `class` being the
    /// policy of its class. Of a hold they are not told.
    #[must_use]
    pub const fn told(self, class: Retention) -> Option<Retention> {
        match self {
            Self::Policy(policy) => Some(policy),
            Self::Class => Some(class),
            Self::Hold(_) => None,
        }
    }
}

/// Bytes that are no [`Kept`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what is stored of its retention does not decode")]
pub struct KeptError;

#[derive(Serialize, Deserialize)]
struct Row {
    policy: Option<Retention>,
    hold_ms: u64,
    seq: Seq,
    time_ms: u64,
    offset: u64,
    version: u64,
}

impl Kept {
    /// The key of its register.
    pub const REGISTER: &'static [u8] = &[KEY];

    /// Whether a policy of its own or a hold is set.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.policy.is_some() || self.hold_ms > 0
    }

    /// How the conversation is kept at a time: `class` is the policy of its class.
    #[must_use]
    pub fn keeping(&self, class: Retention, now_ms: u64) -> Keeping {
        let is_held = self.hold_ms > 0;
        let policy = if is_held { Retention::FOR_EVER } else { self.policy.unwrap_or(class) };
        let live_ms = if is_held { self.hold_ms.min(now_ms) } else { now_ms };
        Keeping { marks: self.marks, policy, now_ms, live_ms }
    }

    /// Sets one of these. What is absent by what held before stays so. Says whether that changes anything.
    pub fn set(&mut self, retain: Retain, class: Retention, now_ms: u64, end: End) -> bool {
        match retain {
            Retain::Policy(policy) => self.set_policy(Some(policy), class, now_ms, end),
            Retain::Class => self.set_policy(None, class, now_ms, end),
            Retain::Hold(on) => self.set_hold(on, class, now_ms, end),
        }
    }

    /// Gives it a policy of its own, or none, so that of its class. What is absent by the one before stays
    /// so. Says whether that changes anything.
    pub fn set_policy(&mut self, policy: Option<Retention>, class: Retention, now_ms: u64, end: End) -> bool {
        if policy == self.policy {
            return false;
        }
        self.fix(class, now_ms, end);
        self.policy = policy;
        true
    }

    /// Holds what there is, or does no more. Says whether that changes anything.
    pub fn set_hold(&mut self, on: bool, class: Retention, now_ms: u64, end: End) -> bool {
        if on == (self.hold_ms > 0) {
            return false;
        }
        self.fix(class, now_ms, end);
        self.hold_ms = if on { now_ms.max(1) } else { 0 };
        true
    }

    /// What is absent now stays so, whatever comes.
    pub fn fix(&mut self, class: Retention, now_ms: u64, end: End) {
        self.marks = self.keeping(class, now_ms).judge(end).marks;
        self.version += 1;
    }

    /// As its register holds it.
    ///
    /// # Panics
    /// Never: memory takes every row.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { policy, hold_ms, marks: Marks { seq, time_ms, offset }, version } = *self;
        postcard::to_stdvec(&Row { policy, hold_ms, seq, time_ms, offset, version })
            .expect("memory takes every row")
    }

    /// What a register holds.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn decode(row: &[u8]) -> Result<Self, KeptError> {
        let Ok((row, [])) = postcard::take_from_bytes::<Row>(row) else { return Err(KeptError) };
        let Row { policy, hold_ms, seq, time_ms, offset, version } = row;
        Ok(Self { policy, hold_ms, marks: Marks { seq, time_ms, offset }, version })
    }
}

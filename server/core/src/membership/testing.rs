//! A conversation for tests: a state that events come to, and the registers beside it.

use std::collections::{BTreeMap, HashSet};

use quoth_protocol::frame::EventKind;
use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::{ConversationName, Seq, UserId};

use super::{Actor, Change, Context, ConversationState, Fact, Refusal, Rules, decide};
use crate::authorize::{Grant, Place};

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn grant(name: &str) -> Grant {
    Grant::of_membership(user(name))
}

/// A conversation whose clock a test sets.
pub(crate) struct World {
    pub(crate) name: ConversationName,
    pub(crate) state: Option<ConversationState>,
    pub(crate) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) rules: Rules,
    pub(crate) now_ms: u64,
    pub(crate) blockers: HashSet<UserId>,
    seq: Seq,
}

impl World {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: ConversationName::new(name).unwrap(),
            state: None,
            rows: BTreeMap::new(),
            rules: Rules::default(),
            now_ms: 1_000,
            blockers: HashSet::new(),
            seq: Seq::ZERO,
        }
    }

    /// A group of `owner` (an owner), `admin`, `member` and `reader`.
    pub(crate) fn group(name: &str) -> Self {
        Self::group_that_is(name, false)
    }

    /// The same, which everybody may join or not.
    pub(crate) fn group_that_is(name: &str, open: bool) -> Self {
        let mut world = Self::new(name);
        let create = Change::Create {
            kind: ConversationKind::Group,
            title: String::new(),
            members: vec![user("member")],
            open,
        };
        world.by("owner", create).unwrap();
        for (name, role) in [("admin", Role::Admin), ("reader", Role::Reader)] {
            world.by("owner", Change::SetMember { user: user(name), role, permissions: None }).unwrap();
        }
        world
    }

    pub(crate) fn state(&self) -> &ConversationState {
        self.state.as_ref().unwrap()
    }

    pub(crate) fn place(&self) -> Place<'_> {
        Place { name: &self.name, state: self.state.as_ref(), is_blocked: false }
    }

    /// A user asks for a change; says how many events came of it.
    pub(crate) fn by(&mut self, user: &str, change: Change) -> Result<usize, Refusal> {
        self.change(Actor::User(&grant(user)), &change)
    }

    pub(crate) fn change(&mut self, actor: Actor<'_>, change: &Change) -> Result<usize, Refusal> {
        let context = Context {
            now_ms: self.now_ms,
            rules: &self.rules,
            name: &self.name,
            is_empty: self.seq == Seq::ZERO,
            blockers: &self.blockers,
        };
        let events = decide(self.state.as_ref(), actor, change, context)?;
        for kind in &events {
            self.happens(actor.user(), kind);
        }
        Ok(events.len())
    }

    fn happens(&mut self, sender: &UserId, kind: &EventKind) {
        self.seq = self.seq.next();
        let fact = Fact { seq: self.seq, time_ms: self.now_ms, sender, kind };
        let touched = ConversationState::apply(&mut self.state, fact);
        for (key, value) in self.state().registers(&touched) {
            match value {
                Some(value) => drop(self.rows.insert(key, value)),
                None => drop(self.rows.remove(&key)),
            }
        }
    }
}

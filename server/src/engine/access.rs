//! What a stream, or a request, needs to know of a conversation to say what a user may do there.

use std::sync::Arc;

use quoth_core::authorize::{Place, Standing};
use quoth_core::membership::{Actor, ConversationState};
use quoth_core::retention::Keeping;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::Class;

use super::retention::Keeps;
use super::states::{Known, KnownAbsent, KnownConversation, KnownUser, State as _};

/// One user's access to a conversation. It holds the states that it depends on, so all who hold one see the
/// same versions.
#[derive(Debug)]
pub struct Access {
    name: ConversationName,
    rule: Rule,
}

#[derive(Debug)]
enum Rule {
    /// The user's own log.
    Own,
    /// One of the server's own, of which there is no state.
    Nowhere,
    State {
        conversation: Arc<KnownConversation>,
        absent: Arc<KnownAbsent>,
        /// The other user of a direct conversation, who may have blocked this one.
        other: Option<Arc<KnownUser>>,
        keeps: Keeps,
    },
}

/// How a user stands in a conversation, and of which version that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stand {
    /// How the user stands.
    pub standing: Standing,
    /// Holds for as long as [`Access::version`] is this.
    pub version: u64,
}

impl Stand {
    /// That of [`Access::fixed`].
    #[cfg(test)]
    pub(super) const FIXED: Self = Self { standing: Standing::OF_OWN_LOG, version: 0 };
}

impl Access {
    /// Whether the other user of a direct conversation has blocked somebody whose access is of before it
    /// began: it does not know, and would not hear of it.
    pub(super) const KNOWS_NOT: bool = true;

    /// A user's access to the own log.
    #[must_use]
    pub fn of_own_log(user: &UserId) -> Arc<Self> {
        Arc::new(Self { name: ConversationName::of_user(user), rule: Rule::Own })
    }

    pub(super) fn nowhere(name: ConversationName) -> Arc<Self> {
        Arc::new(Self { name, rule: Rule::Nowhere })
    }

    pub(super) fn new(
        name: ConversationName,
        conversation: Arc<KnownConversation>,
        absent: Arc<KnownAbsent>,
        other: Option<Arc<KnownUser>>,
        keeps: Keeps,
    ) -> Arc<Self> {
        Arc::new(Self { name, rule: Rule::State { conversation, absent, other, keeps } })
    }

    /// The log's name: that of the conversation, and for `$me` the one behind it.
    #[must_use]
    pub fn name(&self) -> &ConversationName {
        &self.name
    }

    /// The state that is out; `None` when the conversation is not managed.
    pub fn with_state<T>(&self, look: impl FnOnce(Option<&ConversationState>) -> T) -> T {
        match &self.rule {
            Rule::Own | Rule::Nowhere => look(None),
            Rule::State { conversation, .. } => look(conversation.read().as_ref()),
        }
    }

    /// How the conversation is kept at a time, in milliseconds since 1970.
    #[must_use]
    pub fn keeping(&self, now_ms: u64) -> Keeping {
        match &self.rule {
            Rule::Own | Rule::Nowhere => Keeping::for_ever(now_ms),
            Rule::State { keeps, .. } => keeps.at(now_ms),
        }
    }

    /// With what its events are kept together.
    pub(super) fn class(&self) -> Class {
        match &self.rule {
            Rule::Own | Rule::Nowhere => Class::default(),
            Rule::State { keeps, .. } => keeps.class(),
        }
    }

    /// The conversation's absent events; `None` where there never are any.
    pub(super) fn absent(&self) -> Option<&Arc<KnownAbsent>> {
        match &self.rule {
            Rule::Own | Rule::Nowhere => None,
            Rule::State { absent, .. } => Some(absent),
        }
    }

    /// Grows with whatever may change how a user stands: a look at it costs next to nothing.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.versions(Known::released, Known::released)
    }

    /// What [`Access::version`] is when everything that is sequenced is out.
    pub(super) fn sequenced(&self) -> u64 {
        self.versions(Known::sequenced, Known::sequenced)
    }

    /// Both only grow, so their sum is another one whenever one of them is.
    fn versions(
        &self,
        of_conversation: impl Fn(&KnownConversation) -> u64,
        of_user: impl Fn(&KnownUser) -> u64,
    ) -> u64 {
        match &self.rule {
            Rule::Own | Rule::Nowhere => 0,
            Rule::State { conversation, other, .. } => {
                of_conversation(conversation) + other.as_deref().map_or(0, of_user)
            }
        }
    }

    /// How a user stands there now.
    #[must_use]
    pub fn stand(&self, actor: Actor<'_>) -> Stand {
        match &self.rule {
            Rule::Own => Stand { standing: Standing::OF_OWN_LOG, version: 0 },
            Rule::Nowhere => {
                let place = Place { name: &self.name, state: None, is_blocked: false };
                Stand { standing: Standing::new(actor, place), version: 0 }
            }
            Rule::State { conversation, other, .. } => {
                let state = conversation.read();
                let other = other.as_deref().map(Known::read);
                let other_user = state.as_ref().and_then(|state| state.other(actor.user()));
                let is_blocked = match (other_user, &other) {
                    (_, Some(other)) => other.blocks(actor.user()),
                    (Some(_), None) => Self::KNOWS_NOT,
                    (None, None) => false,
                };
                let place = Place { name: &self.name, state: state.as_ref(), is_blocked };
                let version = state.version() + other.as_ref().map_or(0, |other| other.version().0);
                Stand { standing: Standing::new(actor, place), version }
            }
        }
    }

    /// An access that never changes, for tests of what comes behind it.
    #[cfg(test)]
    pub(super) fn fixed(name: ConversationName) -> Arc<Self> {
        Self::nowhere(name)
    }

    /// The conversation, if it is a managed one by what is sequenced.
    pub(super) fn managed(&self) -> Option<&Arc<KnownConversation>> {
        match &self.rule {
            Rule::State { conversation, .. } if conversation.sequenced() > 0 => Some(conversation),
            Rule::Own | Rule::Nowhere | Rule::State { .. } => None,
        }
    }

    /// What the committer keeps ahead of what is out.
    pub(super) fn known(&self) -> Option<(&Arc<KnownConversation>, Option<&Arc<KnownUser>>)> {
        match &self.rule {
            Rule::Own | Rule::Nowhere => None,
            Rule::State { conversation, other, .. } => Some((conversation, other.as_ref())),
        }
    }
}

//! What a token allows.

use quoth_protocol::{ConversationName, Pattern, UserId};

/// A signed-in user and what the token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The user.
    pub user: UserId,
    /// Conversations that may be read; `None`: no unmanaged one, and of managed ones those that membership
    /// gives.
    pub read: Option<Vec<Pattern>>,
    /// Conversations that may be written to or changed; `None` as with `read`.
    pub write: Option<Vec<Pattern>>,
    /// Users in whose name may be published.
    pub publish_as: Vec<Pattern>,
    /// Whether the user may make conversations under any name that is free, where `write` is missing.
    pub names_freely: bool,
}

impl Grant {
    /// A grant that narrows nothing.
    #[must_use]
    pub const fn of_membership(user: UserId) -> Self {
        Self { user, read: None, write: None, publish_as: Vec::new(), names_freely: true }
    }

    /// Whether the token lets the user read what the user may read otherwise.
    pub(crate) fn reads(&self, name: &ConversationName, is_managed: bool) -> bool {
        matches(self.read.as_deref(), name, is_managed)
    }

    /// The same for writing and changing.
    pub(crate) fn writes(&self, name: &ConversationName, is_managed: bool) -> bool {
        matches(self.write.as_deref(), name, is_managed)
    }

    /// Whether the token lets the user publish in another one's name.
    pub(crate) fn publishes_as(&self, user: &UserId) -> bool {
        self.publish_as.iter().any(|pattern| pattern.matches(user.as_str()))
    }
}

fn matches(patterns: Option<&[Pattern]>, name: &ConversationName, if_missing: bool) -> bool {
    patterns.map_or(if_missing, |patterns| patterns.iter().any(|pattern| pattern.matches(name.as_str())))
}

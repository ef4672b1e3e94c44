//! Classes of conversations, by their names.

use std::fmt;
use std::str::FromStr;

use quoth_protocol::ConversationName;
use quoth_protocol::name::Reserved;

use super::Retention;

/// How the conversations of which a pattern fits are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionClass {
    /// What operators call it.
    pub name: String,
    /// Names of conversations; one that ends with `*` fits all names that begin with the rest.
    pub conversations: Vec<String>,
    /// How long.
    pub retention: Retention,
}

/// The classes of a server. The first one that fits counts; what fits none is kept for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Classes(Vec<RetentionClass>);

/// Why a text is no class.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no class: give its name, conversations and bounds, as in \"team:team-*+ops:age_s=604800&count=10000&bytes=1000000\""
)]
pub struct ClassError(String);

impl Classes {
    /// Classes, in the order in which they are looked at.
    #[must_use]
    pub const fn new(classes: Vec<RetentionClass>) -> Self {
        Self(classes)
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[RetentionClass] {
        &self.0
    }

    /// The class of a conversation. Logs of users and of the server are of none.
    #[must_use]
    pub fn class(&self, name: &ConversationName) -> Option<&RetentionClass> {
        if name.is_me() || name.reserved() == Some(Reserved::Server) {
            return None;
        }
        self.0.iter().find(|class| class.fits(name))
    }

    /// How a conversation is kept that has no policy of its own.
    #[must_use]
    pub fn policy(&self, name: &ConversationName) -> Retention {
        self.class(name).map_or(Retention::FOR_EVER, |class| class.retention)
    }
}

impl RetentionClass {
    fn fits(&self, name: &ConversationName) -> bool {
        self.conversations.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(begin) => name.as_str().starts_with(begin),
            None => name.as_str() == pattern,
        })
    }
}

/// `NAME:PATTERN+PATTERN:age_s=N&count=N&bytes=N`, of which each bound may be left out.
impl FromStr for RetentionClass {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        let error = || ClassError(text.to_owned());
        // A conversation's name may have colons.
        let (name, rest) = text.split_once(':').ok_or_else(error)?;
        let (conversations, bounds) = rest.rsplit_once(':').ok_or_else(error)?;
        let conversations: Vec<_> = conversations.split('+').map(str::to_owned).collect();
        let mut retention = Retention::default();
        for bound in bounds.split('&').filter(|bound| !bound.is_empty()) {
            let (key, value) = bound.split_once('=').ok_or_else(error)?;
            let slot = match key {
                "age_s" => &mut retention.age_s,
                "count" => &mut retention.count,
                "bytes" => &mut retention.bytes,
                _ => return Err(error()),
            };
            *slot = value.parse().map_err(|_| error())?;
        }
        if name.is_empty() || conversations.iter().any(String::is_empty) {
            return Err(error());
        }
        Ok(Self { name: name.to_owned(), conversations, retention })
    }
}

impl fmt::Display for RetentionClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, conversations, retention: Retention { age_s, count, bytes } } = self;
        write!(f, "{name}:{}:", conversations.join("+"))?;
        let bounds = [("age_s", age_s), ("count", count), ("bytes", bytes)];
        let set: Vec<_> = bounds
            .iter()
            .filter(|(_, value)| **value > 0)
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        f.write_str(&set.join("&"))
    }
}

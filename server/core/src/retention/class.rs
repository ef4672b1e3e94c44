//! Classes of conversations, by their names.

use std::collections::HashSet;
use std::fmt;
use std::str::FromStr;

use quoth_protocol::ConversationName;
use quoth_protocol::name::Reserved;

use super::Retention;

/// Classes of one server: each conversation is held against all of them.
pub const CLASSES_MAX: usize = 1_000;

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

/// Why something is no class: a sentence that says what is wrong, in which class, and what is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ClassError(String);

/// Whether each of these has a name of its own: of two that are called alike one was meant to go.
///
/// # Errors
/// The first name that two have.
pub fn check_names(classes: &[RetentionClass]) -> Result<(), ClassError> {
    let mut names = HashSet::new();
    match classes.iter().find(|class| !names.insert(class.name.as_str())) {
        None => Ok(()),
        Some(RetentionClass { name, .. }) => Err(ClassError(format!(
            "two classes are called {name:?}: give each a name of its own, or one of them all patterns, as in \"{name}:team-*+ops:count=9\""
        ))),
    }
}

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

    /// The place of a conversation's class among all of them. Logs of users and of the server are of none.
    #[must_use]
    pub fn place(&self, name: &ConversationName) -> Option<usize> {
        if name.is_me() || name.reserved() == Some(Reserved::Server) {
            return None;
        }
        self.0.iter().position(|class| class.fits(name))
    }

    /// How a conversation is kept that has no policy of its own.
    #[must_use]
    pub fn policy(&self, name: &ConversationName) -> Retention {
        self.place(name).map_or(Retention::FOR_EVER, |place| self.0[place].retention)
    }
}

impl RetentionClass {
    /// A class of this name, which keeps for ever.
    ///
    /// # Errors
    /// When the name is none, or the patterns are not what may be.
    pub fn new(name: &str, conversations: Vec<String>) -> Result<Self, ClassError> {
        if name.is_empty() || name.contains([':', '&', ',']) {
            return Err(ClassError(format!(
                "the class {name:?} needs a name that is not empty and has no :, & or comma, as in \"teams\""
            )));
        }
        if conversations.is_empty() || conversations.iter().any(String::is_empty) {
            return Err(ClassError(format!(
                "the class {name:?} is of no conversations: give their names, of which one that ends with * stands for all \
                 that begin so, as in \"team-*\", and \"*\" for all"
            )));
        }
        let is_odd =
            |pattern: &&String| pattern.strip_suffix('*').unwrap_or(pattern).contains(['*', '+', ',']);
        if let Some(odd) = conversations.iter().find(is_odd) {
            return Err(ClassError(format!(
                "the class {name:?} has the pattern {odd:?}: a * stands for the rest of a name, so it comes last, a + \
                 stands between two patterns, and a comma between two classes"
            )));
        }
        Ok(Self { name: name.to_owned(), conversations, retention: Retention::FOR_EVER })
    }

    /// Sets one of its bounds.
    ///
    /// # Errors
    /// When there is no such bound, or it has no such value.
    pub fn bound(&mut self, key: &str, value: &str) -> Result<(), ClassError> {
        let (slot, what) = match key {
            "age_s" => (&mut self.retention.age_s, "seconds"),
            "count" => (&mut self.retention.count, "events"),
            "bytes" => (&mut self.retention.bytes, "bytes of what events say"),
            _ => {
                return Err(ClassError(format!(
                    "the class {:?} has {key:?}, which is no bound: these are age_s (in seconds), count (of events) and bytes",
                    self.name
                )));
            }
        };
        *slot = match value.parse() {
            Ok(0) => {
                return Err(ClassError(format!(
                    "the class {:?} has {key}=0, which is no bound: leave {key} out, and a class that has no other bound keeps for ever",
                    self.name
                )));
            }
            Ok(value) => value,
            Err(_) => {
                let meant = seconds(value).filter(|_| key == "age_s");
                let meant = meant.map(|s| format!(": {value} is {key}={s}")).unwrap_or_default();
                return Err(ClassError(format!(
                    "the class {:?} has {key}={value}, and {key} is a whole number of {what}{meant}",
                    self.name
                )));
            }
        };
        Ok(())
    }

    fn fits(&self, name: &ConversationName) -> bool {
        self.conversations.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(begin) => name.as_str().starts_with(begin),
            None => name.as_str() == pattern,
        })
    }
}

/// What a time such as `30d` is in seconds, for whoever has written one where a number belongs.
fn seconds(text: &str) -> Option<u64> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let unit_s = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 7 * 86_400,
        _ => return None,
    };
    text[..unit_at].trim().parse::<u64>().ok()?.checked_mul(unit_s)
}

/// `NAME:PATTERN+PATTERN:age_s=N&count=N&bytes=N`, of which each bound may be left out, and no colon.
impl FromStr for RetentionClass {
    type Err = ClassError;

    fn from_str(text: &str) -> Result<Self, ClassError> {
        let error = || {
            ClassError(format!(
                "{text:?} is no class: give its name, conversations and bounds, as in \
                 \"teams:team-*+ops:age_s=604800&count=10000&bytes=1000000\", or with no bound behind the last colon \
                 one that keeps for ever, as in \"teams:team-*+ops:\""
            ))
        };
        // A conversation's name may have colons.
        let (name, rest) = text.split_once(':').ok_or_else(error)?;
        let (conversations, bounds) = rest.rsplit_once(':').ok_or_else(error)?;
        let mut class = Self::new(name, conversations.split('+').map(str::to_owned).collect())?;
        for bound in bounds.split('&').filter(|bound| !bound.is_empty()) {
            let (key, value) = bound.split_once('=').ok_or_else(error)?;
            class.bound(key, value)?;
        }
        Ok(class)
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

//! Who may do what in which conversation. [`authorize`] is the one guard in front of every verb.

use quoth_protocol::{Code, ConversationName, UserId};

/// What a subject wants to do in a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action<'a> {
    /// Read events: live, replay or history.
    Read,
    /// Publish in the subject's own name, and show that the subject types.
    Write,
    /// Publish in the name of another user.
    WriteAs(&'a UserId),
}

/// A signed-in user and what the token allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The user.
    pub user: UserId,
    /// Conversations that may be read.
    pub read: Vec<Pattern>,
    /// Conversations that may be published to.
    pub write: Vec<Pattern>,
    /// Users in whose name may be published.
    pub publish_as: Vec<Pattern>,
}

/// Lets an action pass or says with which code it is refused. A conversation that does not exist and one that is
/// not allowed are refused alike.
///
/// # Errors
/// [`Code::FORBIDDEN`].
pub fn authorize(grant: &Grant, action: Action<'_>, conversation: &ConversationName) -> Result<(), Code> {
    let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.matches(text));
    let allowed = match action {
        Action::Read => any(&grant.read, conversation.as_str()),
        Action::Write => any(&grant.write, conversation.as_str()),
        Action::WriteAs(user) => {
            any(&grant.write, conversation.as_str()) && any(&grant.publish_as, user.as_str())
        }
    };
    if allowed { Ok(()) } else { Err(Code::FORBIDDEN) }
}

/// A name in which each `*` stands for any number of characters, none included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Any text is a pattern.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the whole of `text` fits. Takes time proportional to both lengths at worst.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = text.strip_prefix(first) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{Code, ConversationName, UserId};

    use super::{Action, Grant, Pattern, authorize};

    #[test]
    fn patterns_match_whole_names() {
        let cases = [
            ("general", "general", true),
            ("general", "general2", false),
            ("general", "a-general", false),
            ("*", "anything", true),
            ("team/*", "team/red", true),
            ("team/*", "team", false),
            ("*/red", "team/red", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("", "x", false),
        ];
        for (pattern, text, fits) in cases {
            assert_eq!(Pattern::new(pattern).matches(text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn each_action_asks_its_own_right() {
        let user = |text| UserId::new(text).unwrap();
        let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::new(*text)).collect();
        let grant = Grant {
            user: user("alice"),
            read: patterns(&["r", "rw"]),
            write: patterns(&["w", "rw"]),
            publish_as: patterns(&["irc-*"]),
        };
        let (guest, boss) = (user("irc-bob"), user("boss"));
        let cases = [
            (Action::Read, "r", true),
            (Action::Read, "rw", true),
            (Action::Read, "w", false),
            (Action::Write, "w", true),
            (Action::Write, "r", false),
            (Action::WriteAs(&guest), "w", true),
            (Action::WriteAs(&guest), "r", false),
            (Action::WriteAs(&boss), "w", false),
        ];
        for (action, conversation, allowed) in cases {
            let name = ConversationName::new(conversation).unwrap();
            let expected = if allowed { Ok(()) } else { Err(Code::FORBIDDEN) };
            assert_eq!(authorize(&grant, action, &name), expected, "{action:?} {conversation}");
        }
    }
}

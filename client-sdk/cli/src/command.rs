//! What a line that is typed in a chat asks for. Pure.

use crate::output::printable;

/// The commands of a chat.
pub(crate) const HELP: &str = "/quit or Ctrl-D leaves, /help tells this, /reply TEXT and /react REACTION answer what was said last by \
     another one, /edit TEXT and /revoke are for what you have said last, // sends a line that begins with a slash";

/// A line that was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// To send this text.
    Text(Vec<u8>),
    /// To send this text as an answer to what somebody else has said last.
    Reply(Vec<u8>),
    /// To have what the user has said last say this.
    Edit(Vec<u8>),
    /// To take away what the user has said last.
    Revoke,
    /// To react so to what somebody else has said last.
    React(String),
    /// A command without what it needs, as it can be printed.
    Incomplete(&'static str),
    Help,
    Quit,
    /// What begins as commands do and is none, as it can be printed. Nothing is sent: it may have been meant
    /// for no eyes.
    Unknown(String),
    /// Nothing at all.
    Empty,
}

impl Typed {
    /// Takes a line without its line feed.
    pub(crate) fn parse(mut line: Vec<u8>) -> Self {
        if line.is_empty() {
            return Self::Empty;
        }
        if line.starts_with(b"//") {
            line.remove(0);
            return Self::Text(line);
        }
        if !line.starts_with(b"/") {
            return Self::Text(line);
        }
        let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
        let (word, rest) = line.split_at(end);
        let rest = rest.trim_ascii();
        match word {
            b"/help" => Self::Help,
            b"/quit" => Self::Quit,
            b"/revoke" => Self::Revoke,
            b"/reply" if rest.is_empty() => Self::Incomplete("/reply TEXT"),
            b"/reply" => Self::Reply(rest.to_vec()),
            b"/edit" if rest.is_empty() => Self::Incomplete("/edit TEXT"),
            b"/edit" => Self::Edit(rest.to_vec()),
            b"/react" if rest.is_empty() => Self::Incomplete("/react REACTION"),
            b"/react" => Self::React(String::from_utf8_lossy(rest).into_owned()),
            word => Self::Unknown(printable(&String::from_utf8_lossy(word))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slash_begins_a_command_and_two_a_text() {
        let text = |text: &str| Typed::Text(text.as_bytes().to_vec());
        let unknown = |word: &str| Typed::Unknown(word.to_owned());
        for (line, expected) in [
            ("", Typed::Empty),
            ("hi /quit", text("hi /quit")),
            (" /quit", text(" /quit")),
            ("/quit", Typed::Quit),
            ("/quit now", Typed::Quit),
            ("/help ", Typed::Help),
            ("/foo bar", unknown("/foo")),
            ("/\u{1b}[2J", unknown("/\\u{1b}[2J")),
            ("/", unknown("/")),
            ("/reply  so it is ", Typed::Reply(b"so it is".to_vec())),
            ("/reply ", Typed::Incomplete("/reply TEXT")),
            ("/edit it was", Typed::Edit(b"it was".to_vec())),
            ("/edit", Typed::Incomplete("/edit TEXT")),
            ("/react +1", Typed::React("+1".to_owned())),
            ("/react", Typed::Incomplete("/react REACTION")),
            ("/revoke", Typed::Revoke),
            ("/replying", unknown("/replying")),
            ("//foo", text("/foo")),
            ("///", text("//")),
        ] {
            assert_eq!(Typed::parse(line.as_bytes().to_vec()), expected, "{line:?}");
        }
    }
}

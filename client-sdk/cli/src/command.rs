//! What a line that is typed in a chat asks for. Pure.

use crate::output::printable;

/// The commands of a chat.
pub(crate) const HELP: &str =
    "/quit or Ctrl-D leaves, /help tells this, // sends a line that begins with a slash";

/// A line that was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Typed {
    /// To send this text.
    Text(Vec<u8>),
    Help,
    Quit,
    /// What begins as commands do and is none, as it can be printed. Nothing is sent: it may have been meant for no eyes.
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
        match line.split(u8::is_ascii_whitespace).next().unwrap_or_default() {
            b"/help" => Self::Help,
            b"/quit" => Self::Quit,
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
            ("//foo", text("/foo")),
            ("///", text("//")),
        ] {
            assert_eq!(Typed::parse(line.as_bytes().to_vec()), expected, "{line:?}");
        }
    }
}

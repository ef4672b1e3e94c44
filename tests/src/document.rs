//! What stands in documents to be used as it stands there: commands, files, and what commands print.

use std::path::{Path, PathBuf};

/// The folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned).unwrap_or_default()
}

/// A document's blocks in one of these languages, by their lines. Every block without a language is an example of
/// an output.
///
/// # Panics
/// When the document cannot be read, or has a block in another language than these: nothing would run it.
#[must_use]
pub fn blocks(document: &str, language: &str, languages: &[&str]) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(root().join(document)).expect("the document is there");
    let mut blocks: Vec<Vec<String>> = Vec::new();
    let (mut is_within, mut is_wanted) = (false, false);
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if is_within => (is_within, is_wanted) = (false, false),
            Some(begun) => {
                assert!(begun.is_empty() || languages.contains(&begun), "a block that no test runs: {begun}");
                (is_within, is_wanted) = (true, begun == language);
                blocks.extend(is_wanted.then(Vec::new));
            }
            None if is_wanted => {
                blocks.last_mut().into_iter().for_each(|block| block.push(line.to_owned()));
            }
            None => {}
        }
    }
    blocks
}

/// A command of a `console` block, and the lines that it prints.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// As a shell takes it.
    pub command: String,
    /// Standard output and standard error; `…` stands for what is another thing each time.
    pub printed: Vec<String>,
}

/// The commands of a `console` block: lines that begin with `$ `, and behind each what it prints.
///
/// # Panics
/// When an output stands before the first command.
#[must_use]
pub fn entries(block: &[String]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    for line in block {
        match line.strip_prefix("$ ") {
            Some(command) => entries.push(Entry { command: command.to_owned(), printed: Vec::new() }),
            None => entries.last_mut().expect("a command comes first").printed.push(line.clone()),
        }
    }
    entries
}

/// Whether a line is as a document has it, in which each `…` stands for any text.
#[must_use]
pub fn is_as(told: &str, line: &str) -> bool {
    let mut parts = told.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let Some((_, behind)) = rest.split_once(part) else { return false };
        rest = behind;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_it_is_told_but_for_what_changes() {
        for (told, line, expected) in [
            ("stored as …", "stored as 7", true),
            ("… takes it: you are … at …", "a:1 takes it: you are bob at x", true),
            ("closed  0", "closed  01", false),
            ("closed  0", "closed  0", true),
            ("a … b", "a 1 c", false),
        ] {
            assert_eq!(is_as(told, line), expected, "{told}: {line}");
        }
        let block = ["$ a b", "one", "two", "$ c"].map(str::to_owned);
        let entry = |command: &str, printed: &[&str]| Entry {
            command: command.to_owned(),
            printed: printed.iter().map(|line| (*line).to_owned()).collect(),
        };
        assert_eq!(entries(&block), [entry("a b", &["one", "two"]), entry("c", &[])]);
    }
}

//! The terminal of a chat, on which what is typed and what is said share the screen.
//!
//! The terminal edits and echoes the line that is being typed, so nobody here knows it. What is said
//! meanwhile therefore begins on a row of its own. Typed lines stay where they are; a message that is stored
//! at once takes their place.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::Write;
use std::time::{Duration, Instant};

use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthChar;

use crate::output::{note, printable};

/// How long a typed line can be replaced by its message. Outcome: it stays, and the message is shown below
/// it. Within this time nobody has typed much of a next line, which would be lost to the eye.
const REPLACE_DURATION: Duration = Duration::from_millis(500);

/// Columns of a terminal that does not tell.
const COLUMNS_DEFAULT: u16 = 80;

/// Standard output of a chat.
#[derive(Debug)]
pub(crate) struct Screen {
    /// Typed lines, when there is a terminal at both ends.
    typed: Option<RefCell<Typed>>,
}

/// The typed lines that stand right above the cursor and are not known to be stored.
#[derive(Debug, Default)]
struct Typed {
    lines: Vec<String>,
    last_at: Option<Instant>,
}

impl Screen {
    pub(crate) fn new(is_terminal: bool) -> Self {
        Self { typed: is_terminal.then(RefCell::default) }
    }

    /// The user has typed this line and ended it.
    pub(crate) fn typed(&self, line: &[u8]) {
        if let Some(typed) = &self.typed {
            typed.borrow_mut().push(line, Instant::now());
        }
    }

    /// Prints a text of whole lines. `own` is the line of which the text tells that it is stored.
    pub(crate) fn print(&self, text: &str, own: Option<&[u8]>) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        match &self.typed {
            Some(typed) => {
                out.write_all(typed.borrow_mut().around(text, own, Instant::now(), columns()).as_bytes())?;
            }
            None => out.write_all(text.as_bytes())?,
        }
        out.flush()
    }

    /// Tells people something on standard error. What they cannot be told is dropped.
    pub(crate) fn note(&self, text: impl Display) {
        if let Some(typed) = &self.typed {
            *typed.borrow_mut() = Typed::default();
            let mut out = std::io::stdout().lock();
            out.write_all(fresh_row(columns()).as_bytes()).and_then(|()| out.flush()).ok();
        }
        note(text);
    }
}

impl Typed {
    fn push(&mut self, line: &[u8], now: Instant) {
        self.lines.push(String::from_utf8_lossy(line).into_owned());
        self.last_at = Some(now);
    }

    /// The text with what brings the cursor to its place, and behind it the typed lines that it has pushed
    /// down.
    fn around(&mut self, text: &str, own: Option<&[u8]>, now: Instant, columns: u16) -> String {
        let is_fresh = self.last_at.is_some_and(|at| now.duration_since(at) < REPLACE_DURATION);
        if !is_fresh {
            *self = Self::default();
        }
        let rows: usize = self.lines.iter().map(|line| rows(line, columns)).sum();
        let own = own.map(String::from_utf8_lossy);
        if let Some(index) = self.lines.iter().position(|line| own.as_ref().is_some_and(|own| own == line)) {
            self.lines.remove(index);
        }
        let mut around = match rows {
            0 => fresh_row(columns),
            rows => format!("\x1b[{rows}A\r\x1b[J"),
        };
        around.push_str(text);
        for line in &mut self.lines {
            around.push_str(&printable(line));
            around.push('\n');
        }
        around
    }
}

/// Brings the cursor to the beginning of an empty row: as many spaces as there are columns leave it in a row
/// that was empty, and in the next one otherwise.
fn fresh_row(columns: u16) -> String {
    format!("{:1$}\r", "", usize::from(columns))
}

/// Rows that a line takes on the screen.
fn rows(line: &str, columns: u16) -> usize {
    let columns = usize::from(columns.max(1));
    let width = line.chars().fold(0, |width, c| match c {
        '\t' => (width / 8 + 1) * 8,
        // The terminal echoes it as ^ and a letter.
        c if c.is_control() => width + 2,
        c => width + c.width().unwrap_or(0),
    });
    width.div_ceil(columns).max(1)
}

fn columns() -> u16 {
    match terminal_size_of(std::io::stdout()) {
        Some((Width(columns), _)) if columns > 0 => columns,
        _ => COLUMNS_DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_takes_rows_by_its_width() {
        for (line, expected) in [
            ("", 1),
            ("1234567890", 1),
            ("12345678901", 2),
            ("日本日本日", 1),
            ("日本日本日本", 2),
            ("a\tbcd", 2),
        ] {
            assert_eq!(rows(line, 10), expected, "{line:?}");
        }
    }

    #[test]
    fn a_stored_message_takes_the_place_of_its_line_and_of_no_other() {
        let now = Instant::now();
        let mut typed = Typed::default();
        typed.push(b"one", now);
        typed.push(b"two two two", now);
        assert_eq!(typed.around("<bob> hi\n", None, now, 10), "\x1b[3A\r\x1b[J<bob> hi\none\ntwo two two\n");
        assert_eq!(
            typed.around("<me> one\n", Some(b"one"), now, 10),
            "\x1b[3A\r\x1b[J<me> one\ntwo two two\n"
        );
        assert_eq!(
            typed.around("<me> two two two\n", Some(b"two two two"), now, 10),
            "\x1b[2A\r\x1b[J<me> two two two\n"
        );
        assert_eq!(typed.around("<bob> hi\n", None, now, 4), "    \r<bob> hi\n");
    }

    #[test]
    fn a_line_that_is_not_stored_at_once_stays() {
        let now = Instant::now();
        let mut typed = Typed::default();
        typed.push(b"one", now);
        let later = now + REPLACE_DURATION;
        assert_eq!(typed.around("<me> one\n", Some(b"one"), later, 4), "    \r<me> one\n");
        assert_eq!(typed.around("<bob> hi\n", None, now, 4), "    \r<bob> hi\n");
    }
}

//! The lines of an IRC log.

use quoth_client::UserId;

const DAY_MS: u64 = 24 * 3_600_000;

/// The user of lines that nobody said: joins, notices, actions and whatever else a log holds.
const NOBODY: &str = "*";

/// One line as a message. `sender`, `body` and nothing else decide about what readers get; no byte is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) sender: UserId,
    pub(super) body: &'a [u8],
    /// When it was said, in milliseconds since 1970 UTC.
    pub(super) origin_time_ms: Option<u64>,
}

/// Reads lines in order, since their times only have hours and minutes.
#[derive(Debug)]
pub(super) struct Lines {
    day_ms: Option<u64>,
    last_ms: u64,
}

impl Lines {
    /// Lines of a log whose file name begins with its date, if it does.
    pub(super) fn of(file_name: &str) -> Self {
        Self { day_ms: date_ms(file_name), last_ms: 0 }
    }

    /// `[HH:MM] <nick> text` is the text by the nick; everything else is the whole line by [`NOBODY`].
    pub(super) fn next<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        let time = time_ms(line);
        let origin_time_ms = time.and_then(|time| self.origin(time));
        let said = time.and_then(|_| said(&line[8..]));
        let (sender, body) = match said.and_then(|(nick, body)| Some((UserId::new(nick).ok()?, body))) {
            Some(said) => said,
            None => (UserId::new(NOBODY).unwrap_or_else(|_| unreachable!("a valid user id")), line),
        };
        Line { sender, body, origin_time_ms }
    }

    /// A time that goes back by more than half a day belongs to the next one.
    fn origin(&mut self, time: u64) -> Option<u64> {
        let mut at = self.day_ms? + time;
        if at + DAY_MS / 2 < self.last_ms {
            self.day_ms = Some(self.day_ms? + DAY_MS);
            at += DAY_MS;
        }
        self.last_ms = at;
        Some(at)
    }
}

/// Whether a file's beginning looks like an IRC log.
pub(super) fn is_log(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .take(50)
        .any(|line| time_ms(line).is_some() || line.starts_with(b"=== "))
}

/// The time of `[HH:MM] `, in milliseconds since midnight.
fn time_ms(line: &[u8]) -> Option<u64> {
    let [b'[', h1, h2, b':', m1, m2, b']', b' ', ..] = line else { return None };
    let number = |a: &u8, b: &u8| {
        (a.is_ascii_digit() && b.is_ascii_digit()).then(|| u64::from(a - b'0') * 10 + u64::from(b - b'0'))
    };
    let (hour, minute) = (number(h1, h2)?, number(m1, m2)?);
    (hour < 24 && minute < 60).then_some((hour * 60 + minute) * 60_000)
}

/// Nick and text of `<nick> text`.
fn said(rest: &[u8]) -> Option<(&str, &[u8])> {
    let rest = rest.strip_prefix(b"<")?;
    let end = rest.iter().position(|byte| *byte == b'>')?;
    let body = rest[end + 1..].strip_prefix(b" ")?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, body))
}

/// Midnight of the `YYYY-MM-DD` that a name begins with, in milliseconds since 1970.
fn date_ms(name: &str) -> Option<u64> {
    let mut parts = name.get(..10)?.split('-').map(str::parse::<i64>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Days from civil, with years that begin in March (Howard Hinnant, "chrono-compatible low-level date algorithms").
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    u64::try_from(days).ok().map(|days| days * DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::{DAY_MS, Lines, date_ms, is_log};

    #[test]
    fn what_is_said_is_by_its_nick_and_the_rest_by_nobody() {
        let mut lines = Lines::of("2004-12-25.train-c.raw.txt");
        let cases: [(&[u8], &str, &[u8]); 7] = [
            (b"[09:14] <intinig> does it?", "intinig", b"does it?"),
            (b"[09:14] <|QuaD->  two  spaces ", "|QuaD-", b" two  spaces "),
            (b"[09:14] <x> ", "x", b""),
            (b"[09:14] <drcode>", "*", b"[09:14] <drcode>"),
            (b"=== spiv has joined", "*", b"=== spiv has joined"),
            (b"[06:00]  * regeya turns", "*", b"[06:00]  * regeya turns"),
            (b"", "*", b""),
        ];
        for (line, sender, body) in cases {
            let got = lines.next(line);
            assert_eq!((got.sender.as_str(), got.body), (sender, body));
        }
    }

    #[test]
    fn times_roll_over_midnight() {
        let day = date_ms("2004-12-25").unwrap();
        assert_eq!(day, 1_103_932_800_000);
        let mut lines = Lines::of("2004-12-25.x");
        assert_eq!(lines.next(b"[23:59] <a> x").origin_time_ms, Some(day + DAY_MS - 60_000));
        assert_eq!(lines.next(b"[00:01] <a> x").origin_time_ms, Some(day + DAY_MS + 60_000));
        assert_eq!(Lines::of("log").next(b"[00:01] <a> x").origin_time_ms, None);
    }

    #[test]
    fn a_licence_is_no_log() {
        assert!(is_log(b"=== a has joined\n"));
        assert!(!is_log(b"Attribution 4.0 International\n\n====="));
    }
}

//! IRC logs: what a line says, and when it was said. Pure.

use quoth_client::UserId;

/// Milliseconds of a minute.
const MINUTE_MS: u64 = 60_000;

/// Minutes of a day.
const DAY_MINUTES: u64 = 24 * 60;

/// Lines that decide whether a file is an IRC log.
const PROBE_LINES: usize = 100;

/// The user of what nobody said: joins and parts, actions, notices, blank lines.
pub(super) const SYSTEM_USER: &str = "*";

/// A line of a log, taken apart so that it can be put together again byte for byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// `None` is the system user.
    pub(super) nick: Option<UserId>,
    /// The text behind `<nick> `, or the whole line.
    pub(super) body: &'a [u8],
    /// Minutes since midnight.
    pub(super) minutes: Option<u64>,
}

impl<'a> Line<'a> {
    /// Takes a line without its line feed. Every line is one of some kind.
    pub(super) fn parse(line: &'a [u8]) -> Self {
        let Some((minutes, rest)) = split_time(line) else {
            return Self { nick: None, body: line, minutes: None };
        };
        match split_nick(rest) {
            Some((nick, body)) => Self { nick: Some(nick), body, minutes: Some(minutes) },
            None => Self { nick: None, body: line, minutes: Some(minutes) },
        }
    }
}

/// `[HH:MM] ` and what follows.
fn split_time(line: &[u8]) -> Option<(u64, &[u8])> {
    let [b'[', h1, h2, b':', m1, m2, b']', b' ', rest @ ..] = line else { return None };
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    let (hours, minutes) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
    (hours < 24 && minutes < 60).then_some((hours * 60 + minutes, rest))
}

/// `<nick> ` and what follows, if the nick can be a user.
fn split_nick(rest: &[u8]) -> Option<(UserId, &[u8])> {
    let rest = rest.strip_prefix(b"<")?;
    let end = rest.iter().position(|byte| *byte == b'>')?;
    let body = rest[end + 1..].strip_prefix(b" ")?;
    let nick = std::str::from_utf8(&rest[..end]).ok()?;
    (nick != SYSTEM_USER).then(|| UserId::new(nick).ok())?.map(|nick| (nick, body))
}

/// Whether most lines of a text begin as those of a log do.
pub(super) fn is_log(text: &[u8]) -> bool {
    let lines = || text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(PROBE_LINES);
    let typical = lines().filter(|line| split_time(line).is_some() || line.starts_with(b"=== ")).count();
    typical > 0 && typical * 2 >= lines().count()
}

/// Gives the lines of a log their times, from the day that the log begins on.
#[derive(Debug)]
pub(super) struct Clock {
    day: Option<u64>,
    last: Option<u64>,
}

impl Clock {
    /// `day` is days since 1970; without it no line has a time.
    pub(super) fn new(day: Option<u64>) -> Self {
        Self { day, last: None }
    }

    /// Milliseconds since 1970 of a line, taking the log's times for UTC. A line without a time was said when
    /// the last one with a time was. A time that goes far back is that of the next day; one that goes back a
    /// little is a clock that was set.
    pub(super) fn time_ms(&mut self, minutes: Option<u64>) -> Option<u64> {
        let day = self.day?;
        if let (Some(now), Some(last)) = (minutes, self.last)
            && now + DAY_MINUTES / 2 < last
        {
            self.day = Some(day + 1);
        }
        self.last = minutes.or(self.last);
        Some((self.day? * DAY_MINUTES + self.last?) * MINUTE_MS)
    }
}

/// The date `YYYY-MM-DD` in a file's name, as days since 1970.
pub(super) fn day_in(name: &str) -> Option<u64> {
    name.as_bytes().windows(10).find_map(|window| {
        let text = std::str::from_utf8(window).ok()?;
        let mut parts = text.split('-').map(|part| {
            part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten()
        });
        let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
        let is_date = text.as_bytes()[4] == b'-' && (1970..=9999).contains(&year);
        (is_date && (1..=12).contains(&month) && (1..=31).contains(&day)).then(|| days(year, month, day))
    })
}

/// Days since 1970 of a date in the Gregorian calendar (Hinnant's `days_from_civil`).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year % 400 * 365 + year % 400 / 4 - year % 400 / 100 + day_of_year;
    year / 400 * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> (Option<String>, String, Option<u64>) {
        let Line { nick, body, minutes } = Line::parse(line.as_bytes());
        (nick.map(|nick| nick.to_string()), String::from_utf8(body.to_vec()).unwrap(), minutes)
    }

    #[test]
    fn what_somebody_said_is_theirs() {
        let said = |nick: &str, body: &str| (Some(nick.to_owned()), body.to_owned(), Some(244));
        assert_eq!(parsed("[04:04] <jdub> usual: yes"), said("jdub", "usual: yes"));
        assert_eq!(parsed("[04:04] <]Alex[>  two > spaces "), said("]Alex[", " two > spaces "));
        assert_eq!(parsed("[04:04] <a> "), said("a", ""));
        assert_eq!(parsed("[04:04] <a> <b> quoted\r"), said("a", "<b> quoted\r"));
    }

    #[test]
    fn everything_else_is_the_system_s_with_the_whole_line() {
        for (line, minutes) in [
            ("=== knghtbrd growls", None),
            ("", None),
            ("[04:04]  * jdub waves", Some(244)),
            ("[04:04] -nick:#ubuntu- a notice", Some(244)),
            ("[04:04] <jdub>", Some(244)),
            ("[04:04] <> nobody", Some(244)),
            ("[04:04] <*> a star", Some(244)),
            ("[04:04] <a\u{1b}b> not a user", Some(244)),
            ("[24:00] <a> no time", None),
            ("[4:04] <a> no time", None),
            ("[04:04]", None),
        ] {
            assert_eq!(parsed(line), (None, line.to_owned(), minutes), "{line:?}");
        }
        let long = format!("[00:00] <{}> x", "n".repeat(65));
        assert_eq!(parsed(&long), (None, long.clone(), Some(0)));
        assert_eq!(Line::parse(b"[00:00] <\xff> x").nick, None);
    }

    #[test]
    fn times_go_on_over_midnight() {
        let mut clock = Clock::new(Some(1));
        let mut at = |minutes: Option<u64>| clock.time_ms(minutes).map(|ms| ms / MINUTE_MS);
        assert_eq!(at(None), None);
        assert_eq!(at(Some(1_439)), Some(1_440 + 1_439));
        assert_eq!(at(Some(1_437)), Some(1_440 + 1_437));
        assert_eq!(at(Some(0)), Some(2 * 1_440));
        assert_eq!(at(None), Some(2 * 1_440));
        assert_eq!(Clock::new(None).time_ms(Some(5)), None);
    }

    #[test]
    fn dates_are_found_in_names() {
        assert_eq!(day_in("1970-01-01.txt"), Some(0));
        assert_eq!(day_in("log-2004-12-25.train-c.raw.txt"), Some(12_777));
        assert_eq!(day_in("2000-03-01"), Some(11_017));
        assert_eq!(day_in("2016-02-29"), Some(16_860));
        for name in ["", "2004-13-01", "20041225", "04-12-25-01", "1969-12-31", "é2004-1-25é"] {
            assert_eq!(day_in(name), None, "{name}");
        }
    }

    #[test]
    fn a_licence_is_no_log() {
        assert!(is_log(b"=== a joins\n[00:00] <a> hi\nodd\n"));
        assert!(!is_log(b"Creative Commons\n\nAttribution 4.0\n[00:00] <a> hi\n"));
        assert!(!is_log(b""));
    }
}

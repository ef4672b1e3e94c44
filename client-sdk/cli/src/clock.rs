//! Times of messages as people read them, in UTC. Pure but for today's date.

use std::time::{SystemTime, UNIX_EPOCH};

const MINUTE_MS: u64 = 60_000;

const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// `HH:MM`.
pub(crate) fn time(time_ms: u64) -> String {
    let minutes = time_ms / MINUTE_MS;
    format!("{:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

/// `YYYY-MM-DD` in the Gregorian calendar (Hinnant's `civil_from_days`).
pub(crate) fn date(time_ms: u64) -> String {
    let days = time_ms / DAY_MS + 719_468;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months since March, so that the day that comes and goes is the year's last.
    let months = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * months + 2) / 5 + 1;
    let month = if months < 10 { months + 3 } else { months - 9 };
    let year = days / 146_097 * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `YYYY-MM-DD`, or `YYYY-MM-DDTHH:MM` and perhaps `:SS`, also with a space or a `Z`, in milliseconds since 1970.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-')?[..] else { return None };
    let (hour, minute, second) = match numbers(time, ':')?[..] {
        [hour, minute] => (hour, minute, 0),
        [hour, minute, second] => (hour, minute, second),
        _ => return None,
    };
    let in_day = hour * 3_600 + minute * 60 + second;
    if !(1_970..=9_999).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Hinnant's `days_from_civil`; what is no day comes out as another one.
    let years = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month.checked_add(9)?) % 12) + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = years % 400 * 365 + years % 400 / 4 - years % 400 / 100 + day_of_year;
    let time_ms =
        (years / 400 * 146_097 + day_of_era).checked_sub(719_468)?.checked_mul(DAY_MS)? + in_day * 1_000;
    (self::date(time_ms) == format!("{year:04}-{month:02}-{day:02}")).then_some(time_ms)
}

fn numbers(text: &str, separator: char) -> Option<Vec<u64>> {
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())?;
    text.split(separator).map(number).collect()
}

/// Tells when the day changes between messages that are shown with the time of day alone.
#[derive(Debug)]
pub(crate) struct Days {
    /// Days since 1970 of the last message.
    last: u64,
}

impl Days {
    /// Whoever reads knows the date of today.
    pub(crate) fn from_today() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { last: now.as_secs() * 1_000 / DAY_MS }
    }

    /// The date of a message, if it is another one than that of the message before.
    pub(crate) fn change(&mut self, time_ms: u64) -> Option<String> {
        let day = time_ms / DAY_MS;
        (std::mem::replace(&mut self.last, day) != day).then(|| date(time_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (12_777, "2004-12-25"),
            (16_860, "2016-02-29"),
            (20_453, "2025-12-31"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(days * DAY_MS + DAY_MS - 1), expected);
        }
        assert_eq!(time(1_103_947_440_000), "04:04");
    }

    #[test]
    fn what_is_shown_can_be_said() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2000-02-29", Some(11_016 * DAY_MS)),
            ("2004-12-25T04:04", Some(1_103_947_440_000)),
            ("2004-12-25 04:04:01", Some(1_103_947_441_000)),
            ("2004-12-25T04:04:01Z", Some(1_103_947_441_000)),
            ("2100-03-01", Some(47_541 * DAY_MS)),
            ("9999-12-31", Some(253_402_214_400_000)),
            ("2100-02-29", None),
            ("2004-13-01", None),
            ("2004-00-01", None),
            ("2004-01-32", None),
            ("2004-12-25T24:00", None),
            ("2004-12", None),
            ("1969-12-31", None),
            ("2004-12-25T+4:04", None),
            ("99999999999999999999-01-01", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
        for days in (0..80_000).step_by(97) {
            assert_eq!(parse(&date(days * DAY_MS)), Some(days * DAY_MS));
        }
    }

    #[test]
    fn the_date_is_told_when_it_changes() {
        let mut days = Days { last: 1 };
        assert_eq!(days.change(DAY_MS), None);
        assert_eq!(days.change(2 * DAY_MS).as_deref(), Some("1970-01-03"));
        assert_eq!(days.change(3 * DAY_MS - 1), None);
        assert_eq!(days.change(DAY_MS).as_deref(), Some("1970-01-02"));
    }
}

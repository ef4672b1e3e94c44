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
    fn the_date_is_told_when_it_changes() {
        let mut days = Days { last: 1 };
        assert_eq!(days.change(DAY_MS), None);
        assert_eq!(days.change(2 * DAY_MS).as_deref(), Some("1970-01-03"));
        assert_eq!(days.change(3 * DAY_MS - 1), None);
        assert_eq!(days.change(DAY_MS).as_deref(), Some("1970-01-02"));
    }
}

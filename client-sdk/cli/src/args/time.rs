//! Times on the command line.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::asking::in_ms;
use crate::clock;

/// A number and a unit.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    const HINT: &str = "a time is a number and s, m, h or d, such as 30s or 7d";
    let Some((at, unit)) = text.char_indices().next_back() else { return Err(HINT) };
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(HINT),
    };
    let count: u64 = text[..at].parse().map_err(|_| HINT)?;
    count.checked_mul(seconds).map(Duration::from_secs).ok_or(HINT)
}

/// A time that is not over at once.
pub(crate) fn some_time(text: &str) -> Result<Duration, &'static str> {
    match duration(text)? {
        Duration::ZERO => Err("it takes a second at least"),
        time => Ok(time),
    }
}

/// How long a message is to last: what is never meant to go has no such time.
pub(crate) fn lifetime(text: &str) -> Result<Duration, &'static str> {
    const MAX: Duration = Duration::from_secs(3_650 * 86_400);
    match some_time(text)? {
        time if time >= MAX => Err(
            "a message lasts less than 3650d; without --expires it lasts as long as the conversation keeps its messages",
        ),
        time => Ok(time),
    }
}

/// When a time is over that begins now, in milliseconds since 1970.
pub(crate) fn end_ms(text: &str) -> Result<u64, &'static str> {
    some_time(text).map(in_ms)
}

/// A moment, in milliseconds since 1970: a date or a time in UTC, or how long ago it was.
pub(crate) fn moment_ms(text: &str) -> Result<u64, &'static str> {
    const HINT: &str = "a moment is a date or a time (UTC), such as 2026-01-31 or 2026-01-31T12:00, or how long ago it was, such as 2h";
    if let Ok(ago) = duration(text) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        return Ok(u64::try_from(now.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX));
    }
    clock::parse(text).ok_or(HINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for bad in ["", "7", "d", "7w", "-1s", "1.5h", "99999999999999999999s", "99999999999999999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_end_is_in_the_future_however_far() {
        let (soon, later) = (end_ms("1h").unwrap(), end_ms("2h").unwrap());
        assert!((3_590_000..3_610_000).contains(&(later - soon)), "{soon} {later}");
        assert_eq!(end_ms("18446744073709551615s"), Ok(u64::MAX));
        for bad in ["0s", "0d", "7"] {
            assert!(end_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_a_date_or_was_some_time_ago() {
        assert_eq!(moment_ms("2004-12-25"), Ok(1_103_932_800_000));
        let (ago, longer_ago) = (moment_ms("1h").unwrap(), moment_ms("2h").unwrap());
        assert!((3_590_000..3_610_000).contains(&(ago - longer_ago)), "{ago} {longer_ago}");
        assert_eq!(moment_ms("999999999d"), Ok(0));
        assert!(moment_ms("tomorrow").is_err());
    }
}

//! How much of something there is, and how long, for people.

/// Bytes in the unit that they come to.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let unit = UNITS.iter().enumerate().rev().find(|(power, _)| bytes >> (10 * (power + 1)) > 0);
    match unit {
        None => format!("{bytes} B"),
        Some((power, unit)) => {
            let tenths = (bytes >> (10 * power)) * 10 / 1_024;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

/// So many of a thing that is called like this, where one is.
pub(super) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Events, and bytes of their contents.
pub(super) fn events(events: u64, bytes: u64) -> String {
    format!("{} ({})", count(events, "event"), size(bytes))
}

/// A length of time.
pub(super) fn span(ms: u64) -> String {
    let s = ms / 1_000;
    match s {
        0..60 => format!("{s} s"),
        60..3_600 => format!("{} min", s / 60),
        3_600..86_400 => format!("{} h", s / 3_600),
        _ => format!("{} d", s / 86_400),
    }
}

/// A moment in milliseconds since 1970, as a date and a time (UTC).
pub(super) fn moment(time_ms: u64) -> String {
    const DAY_S: u64 = 86_400;
    let (days, s) = (time_ms / 1_000 / DAY_S, time_ms / 1_000 % DAY_S);
    let (year, month, day) = date_of(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", s / 3_600, s / 60 % 60)
}

/// The year, month and day that is so many days behind the first one of 1970. Years are counted from March, so
/// that a leap day ends one.
fn date_of(days: u64) -> (u64, u64, u64) {
    const OF_400_YEARS: u64 = 146_097;
    // From March 1st of the year 0.
    let days = days + 719_468;
    let (era, of_era) = (days / OF_400_YEARS, days % OF_400_YEARS);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 5 << 20, 3 << 40].map(size),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "5.0 MiB", "3.0 TiB"]
        );
        assert_eq!([999, 61_000, 7_200_000, 86_400_000].map(span), ["0 s", "1 min", "2 h", "1 d"]);
        assert_eq!([events(1, 5), events(0, 0)], ["1 event (5 B)", "0 events (0 B)"]);
    }

    #[test]
    fn a_moment_is_a_date() {
        for (time_ms, expected) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_399_999, "2000-02-28 23:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00 UTC"),
            (951_868_800_000, "2000-03-01 00:00 UTC"),
            (1_103_947_440_000, "2004-12-25 04:04 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(moment(time_ms), expected, "{time_ms}");
        }
    }
}

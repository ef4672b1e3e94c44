//! How numbers are written: three digits, in a unit that fits.

/// A unit and how many of the base unit it has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    factor: f64,
    suffix: &'static str,
}

/// Microseconds and what is above.
const TIMES: [Scale; 3] = [
    Scale { factor: 1.0, suffix: " µs" },
    Scale { factor: 1e3, suffix: " ms" },
    Scale { factor: 1e6, suffix: " s" },
];

/// Bytes and what is above.
const SIZES: [Scale; 4] = [
    Scale { factor: 1.0, suffix: " B" },
    Scale { factor: 1024.0, suffix: " KiB" },
    Scale { factor: 1_048_576.0, suffix: " MiB" },
    Scale { factor: 1_073_741_824.0, suffix: " GiB" },
];

impl Scale {
    /// For numbers without a unit.
    pub const NONE: Self = Self { factor: 1.0, suffix: "" };

    /// For seconds.
    pub const SECONDS: Self = Self { factor: 1.0, suffix: " s" };

    /// For times near to this one, in microseconds.
    #[must_use]
    pub fn of_time(us: f64) -> Self {
        fitting(&TIMES, us)
    }

    /// For sizes near to this one, in bytes.
    #[must_use]
    pub fn of_size(bytes: f64) -> Self {
        fitting(&SIZES, bytes)
    }

    /// A number in this unit, without it.
    #[must_use]
    pub fn number(self, value: f64) -> String {
        number(value / self.factor)
    }

    /// A number with its unit.
    #[must_use]
    pub fn write(self, value: f64) -> String {
        format!("{}{}", self.number(value), self.suffix)
    }
}

/// The greatest in which the value is not below one; from 999.5 on, three digits would read 1,000.
fn fitting(scales: &[Scale], value: f64) -> Scale {
    let fits = |scale: &&Scale| value.abs() >= scale.factor * 0.9995;
    *scales.iter().rev().find(fits).unwrap_or(&scales[0])
}

/// As in `1 round`, `2 rounds`.
#[must_use]
pub fn counted(count: usize, thing: &str) -> String {
    format!("{} {thing}{}", self::count(count as u64), if count == 1 { "" } else { "s" })
}

/// Three digits at least, thousands apart: `0.0312`, `3.12`, `31.2`, `312`, `31,200`.
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let decimals = match value.abs() {
        0.0 => 0,
        small if small < 0.0995 => 4,
        small if small < 0.9995 => 3,
        small if small < 9.995 => 2,
        small if small < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    format!("{}{rest}", grouped(whole))
}

/// A count, thousands apart.
#[must_use]
pub fn count(count: u64) -> String {
    grouped(&count.to_string())
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let mut text = String::from(sign);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment in UTC, as in `2026-11-24 19:45`.
#[must_use]
pub fn moment(unix_ms: u64) -> String {
    let minutes = unix_ms / 60_000;
    let (year, month, day) = date(minutes / 1_440);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

/// The date of a day since 1970. Years begin in March here, so that the leap day is a year's last.
fn date(day: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let day = day + 719_468;
    let (era, day) = (day / DAYS_OF_400_YEARS, day % DAYS_OF_400_YEARS);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, day) = (era * 400 + year, day - (153 * month + 2) / 5 + 1);
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_three_digits() {
        let written = [0.0, 0.031_23, 0.3123, 3.123, 31.23, 312.3, 31_234.0, 1_234_567.0, -1_234.5, f64::NAN];
        let expected = ["0", "0.0312", "0.312", "3.12", "31.2", "312", "31,234", "1,234,567", "-1,234", "–"];
        assert_eq!(written.map(number), expected);
    }

    #[test]
    fn a_unit_fits() {
        let times = [0.4, 312.0, 999.7, 1_523.0, 48_100.0, 2_500_000.0];
        let expected = ["0.400 µs", "312 µs", "1.00 ms", "1.52 ms", "48.1 ms", "2.50 s"];
        assert_eq!(times.map(|us| Scale::of_time(us).write(us)), expected);
        let sizes = [12.0, 36_864.0, 123_456_789.0, 8_589_934_592.0];
        let expected = ["12.0 B", "36.0 KiB", "118 MiB", "8.00 GiB"];
        assert_eq!(sizes.map(|bytes| Scale::of_size(bytes).write(bytes)), expected);
    }

    #[test]
    fn a_moment_is_in_utc() {
        assert_eq!(moment(0), "1970-01-01 00:00 UTC");
        assert_eq!(moment(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(moment(1_795_636_740_000), "2026-11-25 19:59 UTC");
        assert_eq!(moment(4_107_542_399_000), "2100-02-28 23:59 UTC");
        assert_eq!(moment(4_107_542_400_000), "2100-03-01 00:00 UTC");
    }
}

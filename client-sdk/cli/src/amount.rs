//! How much of something there is, for people.

/// Bytes in the unit that they come to.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    match UNITS.iter().enumerate().rev().find(|(power, _)| bytes >> (10 * (power + 1)) > 0) {
        None => format!("{bytes} B"),
        Some((power, unit)) => {
            let tenths = (bytes >> (10 * power)) * 10 / 1_024;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
    }
}

/// So many of a thing that is called like this, where one is.
pub(crate) fn count(number: u64, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Events, and bytes of what they say.
pub(crate) fn events(events: u64, bytes: u64) -> String {
    format!("{} ({})", count(events, "event"), size(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_bytes_have_a_unit() {
        assert_eq!(
            [events(0, 0), events(1, 1_023), events(2, 1_536)],
            ["0 events (0 B)", "1 event (1023 B)", "2 events (1.5 KiB)"]
        );
        assert_eq!([5 << 20, 3 << 40].map(size), ["5.0 MiB", "3.0 TiB"]);
    }
}

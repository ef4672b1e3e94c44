//! What a run has measured and not told yet, for a process that ends at once: whoever ends it gets to know
//! what that costs.

use parking_lot::Mutex;

use crate::unit::counted;

/// Of this process, which runs once.
static UNTOLD: Mutex<Untold> = Mutex::new(Untold { measurements: 0, outputs: Vec::new() });

#[derive(Debug)]
struct Untold {
    measurements: usize,
    /// What is to tell of them and has not.
    outputs: Vec<String>,
}

/// One that is about to tell of the measurements: the table, a file.
pub(crate) fn is_to_tell(output: String) {
    UNTOLD.lock().outputs.push(output);
}

/// A measurement is done.
pub(crate) fn measured() {
    UNTOLD.lock().measurements += 1;
}

/// An output has told what it is to tell.
pub(crate) fn has_told(output: &str) {
    UNTOLD.lock().outputs.retain(|untold| untold != output);
}

/// What is lost when the process ends now, by a signal that is not the first one, as in `SIGINT`.
#[must_use]
pub fn lost(signal: &str) -> String {
    UNTOLD.lock().lost(signal)
}

impl Untold {
    fn lost(&self, signal: &str) -> String {
        let Self { measurements, outputs } = self;
        let lost = match (measurements, outputs.is_empty()) {
            (0, _) => "nothing had been measured, so no figure is lost".to_owned(),
            (_, true) => "all that was measured is told".to_owned(),
            (count, false) => format!(
                "lost: {} that {} done, in {}",
                counted(*count, "measurement"),
                if *count == 1 { "was" } else { "were" },
                outputs.join(" and ")
            ),
        };
        format!("ended at once by a second signal, {signal}; {lost}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_what_was_measured_and_not_told() {
        let lost = |measurements, outputs: &[&str]| {
            Untold { measurements, outputs: outputs.iter().map(|output| (*output).to_owned()).collect() }
                .lost("SIGINT")
        };
        let begin = "ended at once by a second signal, SIGINT; ";
        assert_eq!(
            lost(0, &["the table"]),
            format!("{begin}nothing had been measured, so no figure is lost")
        );
        assert_eq!(
            lost(1, &["the table"]),
            format!("{begin}lost: 1 measurement that was done, in the table")
        );
        assert_eq!(
            lost(7, &["the table", "a.json"]),
            format!("{begin}lost: 7 measurements that were done, in the table and a.json")
        );
        assert_eq!(lost(7, &[]), format!("{begin}all that was measured is told"));
    }
}

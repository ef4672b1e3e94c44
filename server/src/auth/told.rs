//! Tokens that were not accepted, told in sum: who sends many must not fill a disk.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::rejection::Rejection;

/// Between two lines about tokens that were not accepted for the same kind of reason, at least.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// How many were not accepted since it was told, by the kind of reason, of which there are few.
#[derive(Debug, Default)]
pub(super) struct Rejections(Mutex<HashMap<Discriminant<Rejection>, Counted>>);

#[derive(Debug)]
struct Counted {
    since_told: u64,
    told: Instant,
}

impl Rejections {
    /// Counts one at `now`; how many there were since the last line, this one included, if it is time for
    /// another one.
    pub(super) fn due(&self, rejection: &Rejection, now: Instant) -> Option<u64> {
        let mut counts = self.0.lock();
        let Some(counted) = counts.get_mut(&discriminant(rejection)) else {
            counts.insert(discriminant(rejection), Counted { since_told: 0, told: now });
            return Some(1);
        };
        counted.since_told += 1;
        if now.duration_since(counted.told) < TELL_INTERVAL {
            return None;
        }
        counted.told = now;
        Some(std::mem::take(&mut counted.since_told))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Rejection, Rejections, TELL_INTERVAL};

    #[test]
    fn each_kind_of_reason_is_told_in_sum() {
        let (rejections, start) = (Rejections::default(), Instant::now());
        let unknown = |n: u32| Rejection::UnknownKeyId(n.to_string());
        assert_eq!(rejections.due(&unknown(0), start), Some(1), "the first at once");
        assert!((1..1_000).all(|n| rejections.due(&unknown(n), start).is_none()));
        assert_eq!(rejections.due(&Rejection::NoToken, start), Some(1), "another reason");
        assert_eq!(rejections.due(&unknown(1_000), start + TELL_INTERVAL), Some(1_000));
        assert_eq!(rejections.due(&unknown(1_001), start + TELL_INTERVAL), None);
        assert_eq!(rejections.0.lock().len(), 2);
    }
}

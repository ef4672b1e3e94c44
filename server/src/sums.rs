//! What happens again and again, told in sum: who makes it happen often must not fill a disk.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Between two lines about the same kind of thing, at least.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// How often things have happened since that was told, by their kind, of which there are to be few.
#[derive(Debug)]
pub(crate) struct Sums<K>(Mutex<HashMap<K, Sum>>);

#[derive(Debug)]
struct Sum {
    since_told: u64,
    told: Instant,
}

impl<K> Default for Sums<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq> Sums<K> {
    /// Counts one at `now`; how many there were since the last line, this one included, if it is time for
    /// another one.
    pub(crate) fn due(&self, kind: K, now: Instant) -> Option<u64> {
        let mut sums = self.0.lock();
        let Some(sum) = sums.get_mut(&kind) else {
            sums.insert(kind, Sum { since_told: 0, told: now });
            return Some(1);
        };
        sum.since_told += 1;
        if now.duration_since(sum.told) < TELL_INTERVAL {
            return None;
        }
        sum.told = now;
        Some(std::mem::take(&mut sum.since_told))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::{Sums, TELL_INTERVAL};

    #[test]
    fn each_kind_is_told_in_sum() {
        let (sums, start) = (Sums::default(), Instant::now());
        assert_eq!(sums.due("one", start), Some(1), "the first at once");
        assert!((1..1_000).all(|_| sums.due("one", start).is_none()));
        assert_eq!(sums.due("another", start), Some(1));
        assert_eq!(sums.due("one", start + TELL_INTERVAL), Some(1_000));
        assert_eq!(sums.due("one", start + TELL_INTERVAL), None);
        assert_eq!(sums.0.lock().len(), 2);
    }
}

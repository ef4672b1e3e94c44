//! How many connections somebody has, over all workers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;

/// Counts by key, each with the same maximum. Only keys that count something are there.
#[derive(Debug)]
pub(crate) struct Counts<K> {
    /// 0 for none.
    max: usize,
    counts: Mutex<HashMap<K, usize>>,
}

/// One that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted<K: Hash + Eq> {
    counts: Arc<Counts<K>>,
    /// `None` where nothing is counted.
    key: Option<K>,
}

impl<K: Hash + Eq + Clone> Counts<K> {
    pub(super) fn new(max: u32) -> Arc<Self> {
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        Arc::new(Self { max, counts: Mutex::default() })
    }

    /// Counts one more, unless that is one too many.
    pub(super) fn take(self: &Arc<Self>, key: &K) -> Option<Counted<K>> {
        if self.max == 0 {
            return Some(self.uncounted());
        }
        let mut counts = self.counts.lock();
        let count = counts.entry(key.clone()).or_default();
        // One that is new is below the maximum, so no entry is left with nothing.
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Counted { counts: Arc::clone(self), key: Some(key.clone()) })
    }

    /// Counts one more also where that is one too many, for one that takes the place of another.
    pub(super) fn take_over(self: &Arc<Self>, key: &K) -> Counted<K> {
        if self.max == 0 {
            return self.uncounted();
        }
        *self.counts.lock().entry(key.clone()).or_default() += 1;
        Counted { counts: Arc::clone(self), key: Some(key.clone()) }
    }

    /// One that counts for nobody.
    pub(super) fn uncounted(self: &Arc<Self>) -> Counted<K> {
        Counted { counts: Arc::clone(self), key: None }
    }

    /// Whether one more would be one too many.
    pub(super) fn is_full(&self, key: &K) -> bool {
        self.max > 0 && self.counts.lock().get(key).is_some_and(|count| *count >= self.max)
    }
}

impl<K: Hash + Eq> Drop for Counted<K> {
    fn drop(&mut self) {
        let Some(key) = &self.key else { return };
        let mut counts = self.counts.counts.lock();
        if let Some(count) = counts.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn each_key_has_its_maximum_and_what_is_over_is_forgotten() {
        let counts = Counts::new(2);
        let mut held: Vec<_> = ["a", "a", "b"].map(|key| counts.take(&key).unwrap()).into();
        assert!(counts.is_full(&"a") && counts.take(&"a").is_none());
        assert!(!counts.is_full(&"b") && counts.take(&"b").is_some());
        held.remove(0);
        held.push(counts.take(&"a").unwrap());
        // Who takes another one's place is counted, so there is none left when that one has gone.
        held.push(counts.take_over(&"a"));
        drop(held.remove(0));
        assert!(counts.take(&"a").is_none());
        drop(held);
        assert_eq!(counts.counts.lock().len(), 0);
    }

    #[test]
    fn no_maximum_counts_nothing() {
        let counts = Counts::new(0);
        let _held: Vec<_> = (0..1_000).map(|_| counts.take(&"a").unwrap()).collect();
        let _other = counts.take_over(&"a");
        assert!(!counts.is_full(&"a") && counts.counts.lock().is_empty());
    }
}

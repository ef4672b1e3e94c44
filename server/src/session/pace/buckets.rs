//! Buckets that several connections share, on whatever worker they are.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use quoth_core::bucket::{Bucket, Pace};

/// Parts of a table that have a lock each: more than a server has workers by default.
const SHARDS: usize = 16;

/// Entries of a shard from which on it is looked through for those that are not needed.
const SWEPT_FROM: usize = 64;

/// A bucket without a lock.
#[derive(Debug)]
pub(in crate::session) struct Shared {
    pace: Pace,
    full_at_ns: AtomicU64,
}

impl Shared {
    pub(in crate::session) fn new(pace: Pace) -> Self {
        Self { pace, full_at_ns: AtomicU64::new(Bucket::FULL.full_at_ns()) }
    }

    /// As [`Bucket::reserve`].
    pub(in crate::session) fn reserve(&self, units: u64, now_ms: u64) -> u64 {
        let mut wait_ms = 0;
        let _always_ok = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            let mut bucket = Bucket::from_full_at_ns(full_at_ns);
            wait_ms = bucket.reserve(self.pace, units, now_ms);
            Some(bucket.full_at_ns())
        });
        wait_ms
    }

    /// As [`Bucket::take`].
    pub(in crate::session) fn take(&self, units: u64, now_ms: u64) -> Result<(), u64> {
        let mut taken = Ok(());
        let _same_if_not = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            let mut bucket = Bucket::from_full_at_ns(full_at_ns);
            taken = bucket.take(self.pace, units, now_ms);
            taken.is_ok().then(|| bucket.full_at_ns())
        });
        taken
    }

    fn is_full(&self, now_ms: u64) -> bool {
        Bucket::from_full_at_ns(self.full_at_ns.load(Ordering::Relaxed)).is_full(now_ms)
    }
}

/// A bucket for each key that somebody uses, and for those of the last seconds. Its size is at most twice
/// that of what it has to know, and some: what is full again and used by nobody is dropped when a shard has
/// doubled.
#[derive(Debug)]
pub(in crate::session) struct Buckets<K> {
    pace: Pace,
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
}

#[derive(Debug)]
struct Shard<K> {
    buckets: HashMap<K, Arc<Shared>>,
    sweep_at: usize,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    pub(in crate::session) fn new(pace: Pace) -> Self {
        let shard = |_| Mutex::new(Shard { buckets: HashMap::new(), sweep_at: SWEPT_FROM });
        Self { pace, hasher: RandomState::new(), shards: std::array::from_fn(shard) }
    }

    /// The bucket of a key. Hold it for as long as it is used.
    pub(in crate::session) fn of(&self, key: &K, now_ms: u64) -> Arc<Shared> {
        let hash = usize::try_from(self.hasher.hash_one(key) % SHARDS as u64).unwrap_or_default();
        let mut shard = self.shards[hash].lock();
        if let Some(bucket) = shard.buckets.get(key) {
            return Arc::clone(bucket);
        }
        if shard.buckets.len() >= shard.sweep_at {
            shard.buckets.retain(|_, bucket| Arc::strong_count(bucket) > 1 || !bucket.is_full(now_ms));
            shard.sweep_at = SWEPT_FROM.max(2 * shard.buckets.len());
            let kept = shard.sweep_at;
            shard.buckets.shrink_to(kept);
        }
        let bucket = Arc::new(Shared::new(self.pace));
        shard.buckets.insert(key.clone(), Arc::clone(&bucket));
        bucket
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().buckets.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quoth_core::bucket::{BURST_S, Pace};

    use super::{Buckets, SHARDS, SWEPT_FROM};

    const NOW_MS: u64 = 1_790_000_000_000;

    fn buckets(per_second: u64) -> Buckets<u64> {
        Buckets::new(Pace::new(per_second).unwrap())
    }

    #[test]
    fn whoever_has_the_same_key_shares_a_bucket() {
        let buckets = buckets(10);
        let (one, other) = (buckets.of(&1, NOW_MS), buckets.of(&1, NOW_MS));
        assert_eq!(one.reserve(20, NOW_MS), 0);
        assert_eq!(other.reserve(10, NOW_MS), 0);
        assert_eq!((one.reserve(1, NOW_MS), other.reserve(1, NOW_MS)), (100, 200));
        assert_eq!(buckets.of(&2, NOW_MS).reserve(30, NOW_MS), 0);
        drop((one, other));
        assert_eq!(buckets.of(&1, NOW_MS).reserve(1, NOW_MS), 300, "what was taken is not forgotten");
    }

    #[test]
    fn what_is_full_again_and_used_by_nobody_goes() {
        let buckets = buckets(1);
        let used: Vec<_> = (0..100).map(|key| buckets.of(&key, NOW_MS)).collect();
        let taken = buckets.of(&100, NOW_MS).reserve(BURST_S, NOW_MS);
        assert_eq!(taken, 0);
        for key in 1_000..200_000 {
            buckets.of(&key, NOW_MS);
        }
        assert!(buckets.len() <= 2 * (used.len() + 1) + SHARDS * SWEPT_FROM, "{}", buckets.len());
        assert_eq!(buckets.of(&100, NOW_MS).reserve(1, NOW_MS), 1_000, "this one was not full");
        assert!(Arc::ptr_eq(&buckets.of(&7, NOW_MS), &used[7]));
    }

    #[test]
    fn threads_take_no_more_than_there_is() {
        let shared = buckets(1_000).of(&1, NOW_MS);
        let free = std::thread::scope(|scope| {
            let takes = || (0..10_000).filter(|_| shared.reserve(1, NOW_MS) == 0).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(takes)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(free, 3_000);
    }
}

//! The history checker: says of every delivery whether it is what the promises allow. Pure; one for each
//! reader.

use std::collections::HashMap;
use std::ops::Range;

use crate::outcome::Check;
use crate::payload::{self, Stamp};

/// What one reader of one conversation has seen.
#[derive(Debug)]
pub struct Checker {
    /// Those who publish here; what another one has sent has lost its way.
    publishers: Range<u32>,
    last_seq: Option<u64>,
    /// The next n that is expected of each publisher.
    next: HashMap<u32, u64>,
    /// Numbers that were passed over, and may yet come late.
    missing: HashMap<u32, Vec<u64>>,
    counts: Check,
}

impl Checker {
    /// Of a reader of a conversation to which these publish.
    #[must_use]
    pub fn new(publishers: Range<u32>) -> Self {
        Self {
            publishers,
            last_seq: None,
            next: HashMap::new(),
            missing: HashMap::new(),
            counts: Check::default(),
        }
    }

    /// Takes a delivery; gives its stamp when its content is whole.
    pub fn take(&mut self, seq: Option<u64>, body: &[u8]) -> Option<Stamp> {
        self.counts.checked += 1;
        let rises = self.take_seq(seq);
        let stamp = payload::decode(body).filter(|stamp| self.publishers.contains(&stamp.publisher));
        let Some(stamp) = stamp else {
            self.counts.altered += 1;
            return None;
        };
        let is_next = self.take_stamp(stamp);
        // Right by its publisher and wrong among publishers.
        if is_next && !rises {
            self.counts.reorder += 1;
        }
        Some(stamp)
    }

    /// Whether a seq is behind all that came before.
    fn take_seq(&mut self, seq: Option<u64>) -> bool {
        let Some(seq) = seq else { return true };
        if self.last_seq.is_some_and(|last| seq > last + 1) {
            self.counts.gap += 1;
        }
        let rises = Some(seq) > self.last_seq;
        self.last_seq = self.last_seq.max(Some(seq));
        rises
    }

    /// Whether a message is behind all that its publisher has sent before.
    fn take_stamp(&mut self, stamp: Stamp) -> bool {
        let next = self.next.entry(stamp.publisher).or_default();
        if stamp.n >= *next {
            if stamp.n > *next {
                self.missing.entry(stamp.publisher).or_default().extend(*next..stamp.n);
            }
            *next = stamp.n + 1;
            return true;
        }
        let missing = self.missing.entry(stamp.publisher).or_default();
        match missing.iter().position(|n| *n == stamp.n) {
            Some(at) => {
                missing.swap_remove(at);
                self.counts.reorder += 1;
            }
            None => self.counts.duplicate += 1,
        }
        false
    }

    /// Messages that came, each counted once.
    #[must_use]
    pub fn came(&self) -> u64 {
        self.counts.checked - self.counts.duplicate - self.counts.altered
    }

    /// Messages of one publisher that came, each counted once.
    #[must_use]
    pub fn came_of(&self, publisher: u32) -> u64 {
        let next = self.next.get(&publisher).copied().unwrap_or_default();
        next - self.missing.get(&publisher).map_or(0, |missing| missing.len() as u64)
    }

    /// Ends the check: of each publisher that the reader should have heard, so many messages were acked.
    #[must_use]
    pub fn end(mut self, acked: impl IntoIterator<Item = (u32, u64)>) -> Check {
        for (publisher, acked) in acked {
            self.counts.lost += acked.saturating_sub(self.came_of(publisher));
        }
        self.counts
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn body(publisher: u32, n: u64) -> bytes::Bytes {
        payload::encode(Stamp { publisher, n, due: Duration::ZERO }, 40, None)
    }

    fn checked(deliveries: &[(Option<u64>, u32, u64)], acked: &[(u32, u64)]) -> Check {
        let mut checker = Checker::new(0..10);
        for (seq, publisher, n) in deliveries {
            checker.take(*seq, &body(*publisher, *n));
        }
        checker.end(acked.iter().copied())
    }

    #[test]
    fn what_is_right_is_clean() {
        let check = checked(&[(Some(5), 1, 0), (Some(6), 2, 0), (Some(7), 1, 1)], &[(1, 2), (2, 1)]);
        assert_eq!(check, Check { checked: 3, ..Check::default() });
    }

    #[test]
    fn each_broken_promise_is_counted_as_what_it_is() {
        let check = checked(&[(Some(1), 1, 0), (Some(3), 1, 1)], &[(1, 2)]);
        assert_eq!((check.gap, check.is_clean()), (1, false));
        let check = checked(&[(None, 1, 0), (None, 1, 0)], &[(1, 1)]);
        assert_eq!((check.duplicate, check.lost, check.reorder), (1, 0, 0));
        let check = checked(&[(None, 1, 1), (None, 1, 0)], &[(1, 2)]);
        assert_eq!((check.reorder, check.duplicate, check.lost), (1, 0, 0));
        let check = checked(&[(None, 1, 0), (None, 1, 2)], &[(1, 4)]);
        assert_eq!((check.lost, check.reorder), (2, 0));
        let check = checked(&[(Some(2), 1, 0), (Some(1), 2, 0)], &[(1, 1), (2, 1)]);
        assert_eq!((check.reorder, check.lost), (1, 0), "between publishers");
        let check = checked(&[(Some(1), 1, 0), (Some(1), 2, 0)], &[(1, 1), (2, 1)]);
        assert_eq!(check.reorder, 1, "two messages with one seq");
        let check = checked(&[(Some(1), 77, 0)], &[]);
        assert_eq!(check.altered, 1, "of another conversation");
        let check = checked(&[], &[(9, 3)]);
        assert_eq!(check.lost, 3);
    }

    #[test]
    fn an_altered_message_is_found_and_counts_as_lost_too() {
        let mut checker = Checker::new(0..10);
        let mut altered = body(1, 0).to_vec();
        altered[35] ^= 1;
        assert_eq!(checker.take(Some(1), &altered), None);
        let check = checker.end([(1, 1)]);
        assert_eq!((check.altered, check.lost), (1, 1));
    }
}

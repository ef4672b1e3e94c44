//! When rows of a list that a client has go stale.

use std::collections::{BTreeMap, BTreeSet};

use quoth_protocol::ConversationName;
use quoth_protocol::limits::INBOX_STALE_MAX;

/// The rows of one client that go stale, those that do first if there are more than [`INBOX_STALE_MAX`]. So
/// whoever has them told anew needs one timer, and no client has more than so many kept for it.
#[derive(Debug, Default)]
pub struct StaleRows {
    of: BTreeMap<ConversationName, u64>,
    first: BTreeSet<(u64, ConversationName)>,
}

impl StaleRows {
    /// The client gets another row, which goes stale at this time; 0: it does not. The one before counts no
    /// more.
    pub fn replace(&mut self, name: &ConversationName, stale_ms: u64) {
        if let Some(before_ms) = self.of.remove(name) {
            self.first.remove(&(before_ms, name.clone()));
        }
        if stale_ms > 0 {
            self.of.insert(name.clone(), stale_ms);
            self.first.insert((stale_ms, name.clone()));
        }
        if self.of.len() > INBOX_STALE_MAX
            && let Some((_, last)) = self.first.pop_last()
        {
            self.of.remove(&last);
        }
    }

    /// The client has a row of which it is not known whether it is older than the one that is known: what is
    /// sooner counts.
    pub fn hold(&mut self, name: &ConversationName, stale_ms: u64) {
        let is_sooner = self.of.get(name).is_none_or(|known_ms| stale_ms < *known_ms);
        if stale_ms > 0 && is_sooner {
            self.replace(name, stale_ms);
        }
    }

    /// When the first one goes stale, in milliseconds since 1970.
    #[must_use]
    pub fn first_ms(&self) -> Option<u64> {
        self.first.first().map(|(stale_ms, _)| *stale_ms)
    }

    /// One that is stale at a time, which is forgotten.
    pub fn take(&mut self, now_ms: u64) -> Option<ConversationName> {
        self.first_ms().filter(|first_ms| *first_ms <= now_ms)?;
        let (_, name) = self.first.pop_first()?;
        self.of.remove(&name);
        Some(name)
    }

    /// All of them, each with when it goes stale; the first ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&ConversationName, u64)> {
        self.first.iter().map(|(stale_ms, name)| (name, *stale_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> ConversationName {
        ConversationName::new(name).unwrap()
    }

    fn all(rows: &StaleRows) -> Vec<(&str, u64)> {
        rows.iter().map(|(name, stale_ms)| (name.as_str(), stale_ms)).collect()
    }

    #[test]
    fn each_row_is_taken_once_when_its_time_has_come() {
        let mut rows = StaleRows::default();
        assert_eq!(rows.first_ms(), None);
        for (of, stale_ms) in [("a", 30), ("b", 20), ("c", 20), ("d", 0)] {
            rows.replace(&name(of), stale_ms);
        }
        assert_eq!((rows.first_ms(), rows.take(19)), (Some(20), None));
        assert_eq!([rows.take(20), rows.take(20), rows.take(20)], [Some(name("b")), Some(name("c")), None]);
        assert_eq!(
            (rows.first_ms(), rows.take(u64::MAX), rows.first_ms()),
            (Some(30), Some(name("a")), None)
        );
    }

    #[test]
    fn the_last_row_counts_and_of_one_that_may_be_older_what_is_sooner() {
        let mut rows = StaleRows::default();
        rows.replace(&name("a"), 20);
        rows.replace(&name("a"), 30);
        assert_eq!(all(&rows), [("a", 30)]);
        rows.hold(&name("a"), 40);
        rows.hold(&name("a"), 0);
        assert_eq!(all(&rows), [("a", 30)]);
        rows.hold(&name("a"), 10);
        rows.hold(&name("b"), 15);
        assert_eq!(all(&rows), [("a", 10), ("b", 15)]);
        rows.replace(&name("a"), 0);
        assert_eq!(all(&rows), [("b", 15)]);
    }

    #[test]
    fn of_too_many_rows_those_are_kept_that_go_stale_first() {
        let mut rows = StaleRows::default();
        let count = INBOX_STALE_MAX as u64;
        for n in 1..=2 * count {
            rows.hold(&name(&format!("room {n}")), 2 * count + 1 - n);
        }
        let times: Vec<_> = rows.iter().map(|(_, stale_ms)| stale_ms).collect();
        assert_eq!(times, (1..=count).collect::<Vec<_>>());
        assert_eq!(rows.of.len(), INBOX_STALE_MAX);
    }
}

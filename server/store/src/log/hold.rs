//! What keeps the log's groups from being freed.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Position;

/// Keeps a log's groups from a position on, for somebody who still has to read them. Dropping it lets them
/// go; which position comes next after a restart is its holder's to remember.
///
/// It bounds nothing: as long as it is not moved on, the log grows. So its holder moves it on, or gives up at
/// a limit of its own.
#[derive(Debug)]
pub struct Hold {
    holds: Holds,
    from: Position,
}

impl Hold {
    /// The first position that is held.
    #[must_use]
    pub const fn from(&self) -> Position {
        self.from
    }

    /// Lets the groups before a position go. A position before the one that is held changes nothing.
    pub fn advance(&mut self, from: Position) {
        if from > self.from {
            let mut held = self.holds.0.lock();
            remove(&mut held, self.from);
            *held.entry(from).or_default() += 1;
            self.from = from;
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        remove(&mut self.holds.0.lock(), self.from);
    }
}

fn remove(held: &mut BTreeMap<Position, usize>, from: Position) {
    if let Some(count) = held.get_mut(&from) {
        *count -= 1;
        if *count == 0 {
            held.remove(&from);
        }
    }
}

/// The holds of a log: how many there are from each position on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<BTreeMap<Position, usize>>>);

impl Holds {
    /// A new hold. Nothing from `from` on may have been freed, or be freed meanwhile.
    pub(crate) fn hold(&self, from: Position) -> Hold {
        *self.0.lock().entry(from).or_default() += 1;
        Hold { holds: self.clone(), from }
    }

    /// The last position, up to `before`, before which nothing is held.
    pub(crate) fn limit(&self, before: Position) -> Position {
        let held = self.0.lock();
        held.first_key_value().map_or(before, |(from, _)| before.min(*from))
    }
}

//! Entries of users' lists that are read once and written once in a round.

use std::collections::BTreeMap;

use quoth_core::inbox::{Entry, over};
use quoth_protocol::{ConversationName, UserId};
use quoth_store::{Register, View, ViewError};

use super::pages::entry;

/// The entries that a round has to do with.
pub(super) struct Entries<'a> {
    view: &'a dyn View,
    changed: BTreeMap<(UserId, ConversationName), (Option<Entry>, Option<Entry>)>,
}

impl<'a> Entries<'a> {
    /// Those of a view, none of which is changed yet.
    pub(super) fn of(view: &'a dyn View) -> Self {
        Self { view, changed: BTreeMap::new() }
    }

    /// Changes an entry.
    pub(super) fn change(
        &mut self,
        user: &UserId,
        name: &ConversationName,
        change: impl FnOnce(Option<Entry>) -> Option<Entry>,
    ) -> Result<(), ViewError> {
        let key = (user.clone(), name.clone());
        if !self.changed.contains_key(&key) {
            let before = entry(self.view, &ConversationName::of_user(user), name)?;
            self.changed.insert(key.clone(), (before, before));
        }
        if let Some((_, after)) = self.changed.get_mut(&key) {
            *after = change(*after);
        }
        Ok(())
    }

    /// The registers that come of it, for each user's own log.
    pub(super) fn notes(self) -> BTreeMap<UserId, Vec<Register>> {
        let mut notes: BTreeMap<UserId, Vec<Register>> = BTreeMap::new();
        for ((user, name), (before, after)) in self.changed {
            let changes = match (before, after) {
                (None, Some(after)) => after.placed(&name),
                (Some(before), Some(after)) if before != after => before.replaced(after, &name),
                (Some(before), None) => over(before, &name),
                (None, None) | (Some(_), Some(_)) => continue,
            };
            let registers = changes
                .into_iter()
                .map(|(key, value)| Register { key: key.into(), value: value.map(Into::into) });
            notes.entry(user).or_default().extend(registers);
        }
        notes
    }
}

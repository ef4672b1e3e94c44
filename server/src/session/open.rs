//! The conversations that a connection has open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use parking_lot::Mutex;
use quoth_protocol::{Code, ConversationName};

use crate::engine::Access;

/// Conversations by the names that the client gives them, with a maximum.
#[derive(Debug)]
pub(super) struct OpenConversations {
    names: Mutex<HashMap<ConversationName, Arc<Access>>>,
    max: usize,
}

impl OpenConversations {
    pub(super) fn new(max: u32) -> Self {
        Self { names: Mutex::default(), max: usize::try_from(max).unwrap_or(usize::MAX) }
    }

    /// Adds a conversation. The error is the code to reset its stream with.
    pub(super) fn add(&self, name: &ConversationName, access: &Arc<Access>) -> Result<(), Code> {
        let mut names = self.names.lock();
        let has_room = names.len() < self.max;
        match names.entry(name.clone()) {
            Entry::Occupied(_) => Err(Code::ALREADY_OPEN),
            Entry::Vacant(_) if !has_room => Err(Code::OVERLOADED),
            Entry::Vacant(vacant) => {
                vacant.insert(Arc::clone(access));
                Ok(())
            }
        }
    }

    pub(super) fn remove(&self, name: &ConversationName) {
        self.names.lock().remove(name);
    }

    pub(super) fn names(&self) -> Vec<ConversationName> {
        self.names.lock().keys().cloned().collect()
    }

    /// The user's access to a conversation that is open.
    pub(super) fn get(&self, name: &ConversationName) -> Option<Arc<Access>> {
        self.names.lock().get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{Code, ConversationName, UserId};

    use super::OpenConversations;
    use crate::engine::Access;

    #[test]
    fn each_is_open_once_and_no_more_than_the_maximum() {
        let [a, b, c] = ["a", "b", "c"].map(|name| ConversationName::new(name).unwrap());
        let access = Access::of_own_log(&UserId::new("ada").unwrap());
        let open = OpenConversations::new(2);
        let add = |name| open.add(name, &access);
        assert_eq!((add(&a), add(&b)), (Ok(()), Ok(())));
        assert_eq!(add(&a), Err(Code::ALREADY_OPEN));
        assert_eq!(add(&c), Err(Code::OVERLOADED));
        open.remove(&a);
        assert_eq!(add(&c), Ok(()));
        assert!(open.get(&c).is_some() && open.get(&a).is_none());
    }
}

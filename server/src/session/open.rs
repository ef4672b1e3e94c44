//! The conversations that a connection has open.

use std::collections::HashSet;

use parking_lot::Mutex;
use quoth_protocol::{Code, ConversationName};

/// A set of names with a maximum.
#[derive(Debug)]
pub(super) struct OpenConversations {
    names: Mutex<HashSet<ConversationName>>,
    max: usize,
}

impl OpenConversations {
    pub(super) fn new(max: u32) -> Self {
        Self { names: Mutex::default(), max: usize::try_from(max).unwrap_or(usize::MAX) }
    }

    /// Adds a conversation. The error is the code to reset its stream with.
    pub(super) fn add(&self, name: &ConversationName) -> Result<(), Code> {
        let mut names = self.names.lock();
        if names.contains(name) {
            return Err(Code::ALREADY_OPEN);
        }
        if names.len() >= self.max {
            return Err(Code::OVERLOADED);
        }
        names.insert(name.clone());
        Ok(())
    }

    pub(super) fn remove(&self, name: &ConversationName) {
        self.names.lock().remove(name);
    }

    pub(super) fn names(&self) -> Vec<ConversationName> {
        self.names.lock().iter().cloned().collect()
    }

    pub(super) fn contains(&self, name: &ConversationName) -> bool {
        self.names.lock().contains(name)
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::{Code, ConversationName};

    use super::OpenConversations;

    #[test]
    fn each_is_open_once_and_no_more_than_the_maximum() {
        let [a, b, c] = ["a", "b", "c"].map(|name| ConversationName::new(name).unwrap());
        let open = OpenConversations::new(2);
        assert_eq!((open.add(&a), open.add(&b)), (Ok(()), Ok(())));
        assert_eq!(open.add(&a), Err(Code::ALREADY_OPEN));
        assert_eq!(open.add(&c), Err(Code::OVERLOADED));
        open.remove(&a);
        assert_eq!(open.add(&c), Ok(()));
        assert!(open.contains(&c) && !open.contains(&a));
    }
}

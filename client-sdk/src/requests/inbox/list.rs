//! The rows of an inbox, from pages and changes. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use quoth_protocol::ConversationName;
use quoth_protocol::inbox::InboxRow;

/// An inbox as far as it is known, from pages ([`Client::inbox`](crate::Client::inbox)) and what a
/// [watch](crate::Client::watch_inbox) tells, in whatever order they come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InboxList {
    /// Also those that are gone, so that an older page does not bring them back.
    rows: BTreeMap<ConversationName, InboxRow>,
}

impl InboxList {
    /// Takes rows of a page or of a watch: of two of a conversation the one with the greater version counts,
    /// and of two with the same one the later.
    pub fn take(&mut self, rows: impl IntoIterator<Item = InboxRow>) {
        for row in rows {
            let is_later = |known: &InboxRow| known.version <= row.version;
            if self.rows.get(&row.conversation).is_none_or(is_later) {
                self.rows.insert(row.conversation.clone(), row);
            }
        }
    }

    /// The rows in the inbox's order: pinned ones first, and within that the latest first.
    #[must_use]
    pub fn rows(&self) -> Vec<&InboxRow> {
        let mut rows: Vec<&InboxRow> = self.rows.values().filter(|row| !row.gone).collect();
        // It keeps the order of the names where all else is the same.
        rows.sort_by_key(|row| (Reverse(row.pinned), Reverse(row.time_ms)));
        rows
    }

    /// A conversation's row; `None` when it is not known or gone.
    #[must_use]
    pub fn row(&self, conversation: &ConversationName) -> Option<&InboxRow> {
        self.rows.get(conversation).filter(|row| !row.gone)
    }

    /// The greatest version that has come, for [`Client::watch_inbox`](crate::Client::watch_inbox) of a later
    /// run; `None`: no row has.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.rows.values().map(|row| row.version).max()
    }
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Seq;

    use super::*;

    fn row(name: &str, version: u64, time_ms: u64) -> InboxRow {
        InboxRow {
            conversation: ConversationName::new(name).unwrap(),
            kind: None,
            title: String::new(),
            head: Seq(version),
            time_ms,
            last: None,
            unread: 0,
            mentions: 0,
            read: Seq(0),
            archived: false,
            muted_until_ms: 0,
            pinned: false,
            gone: false,
            version,
        }
    }

    fn names(list: &InboxList) -> Vec<&str> {
        list.rows().into_iter().map(|row| row.conversation.as_str()).collect()
    }

    #[test]
    fn the_latest_comes_first_behind_what_is_pinned() {
        let mut list = InboxList::default();
        assert_eq!(list.version(), None);
        list.take([row("a", 1, 10), row("b", 2, 30), InboxRow { pinned: true, ..row("c", 3, 5) }]);
        assert_eq!(names(&list), ["c", "b", "a"]);
        list.take([row("a", 4, 40)]);
        assert_eq!((names(&list), list.version()), (vec!["c", "a", "b"], Some(4)));
    }

    #[test]
    fn an_older_row_changes_nothing_and_the_later_of_two_alike_counts() {
        let mut list = InboxList::default();
        list.take([row("a", 5, 10)]);
        list.take([row("a", 4, 99), InboxRow { unread: 3, ..row("a", 5, 10) }]);
        let known = list.row(&ConversationName::new("a").unwrap()).unwrap();
        assert_eq!((known.time_ms, known.unread), (10, 3));
        list.take([InboxRow { gone: true, ..row("a", 6, 0) }, row("a", 5, 10)]);
        assert_eq!((names(&list).len(), list.version()), (0, Some(6)), "what is gone does not come back");
    }
}

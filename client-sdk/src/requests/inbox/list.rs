//! The rows of an inbox, from pages and changes. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use quoth_protocol::ConversationName;
use quoth_protocol::frame::EventKind;
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

    /// Forgets all rows, before the pages are asked for again: those of conversations that the user has left
    /// meanwhile are in no page.
    pub fn restart(&mut self) {
        self.rows.clear();
    }

    /// Takes away the last messages that have expired by `now_ms`, in milliseconds since 1970. A server tells
    /// what stands in their place, but while there is no connection nobody does. Gives
    /// when the next one goes; `None`: none does.
    pub fn expire(&mut self, now_ms: u64) -> Option<u64> {
        let mut next_ms = None;
        for row in self.rows.values_mut() {
            match expires_ms(row) {
                Some(expires_ms) if expires_ms <= now_ms => row.last = None,
                Some(expires_ms) => next_ms = Some(next_ms.map_or(expires_ms, |next| expires_ms.min(next))),
                None => {}
            }
        }
        next_ms
    }
}

/// When a row's last message becomes absent by itself.
fn expires_ms(row: &InboxRow) -> Option<u64> {
    match row.last.as_ref()?.kind {
        EventKind::Message { expires_ms, .. } => (expires_ms > 0).then_some(expires_ms),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_protocol::frame::Event;
    use quoth_protocol::{Seq, UserId};

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
            stale_ms: 0,
        }
    }

    fn names(list: &InboxList) -> Vec<&str> {
        list.rows().into_iter().map(|row| row.conversation.as_str()).collect()
    }

    #[test]
    fn the_latest_comes_first_behind_what_is_pinned() {
        let mut list = InboxList::default();
        list.take([row("a", 1, 10), row("b", 2, 30), InboxRow { pinned: true, ..row("c", 3, 5) }]);
        assert_eq!(names(&list), ["c", "b", "a"]);
        list.take([row("a", 4, 40)]);
        assert_eq!(names(&list), ["c", "a", "b"]);
        list.restart();
        assert!(names(&list).is_empty());
    }

    #[test]
    fn an_older_row_changes_nothing_and_the_later_of_two_alike_counts() {
        let mut list = InboxList::default();
        list.take([row("a", 5, 10)]);
        list.take([row("a", 4, 99), InboxRow { unread: 3, ..row("a", 5, 10) }]);
        let known = list.row(&ConversationName::new("a").unwrap()).unwrap();
        assert_eq!((known.time_ms, known.unread), (10, 3));
        list.take([InboxRow { gone: true, ..row("a", 6, 0) }, row("a", 5, 10)]);
        assert!(names(&list).is_empty(), "what is gone does not come back");
    }

    #[test]
    fn a_last_message_goes_when_its_time_has_come() {
        let last = |expires_ms| Event {
            seq: Seq(1),
            time_ms: 1,
            sender: UserId::new("bob").unwrap(),
            origin_time_ms: None,
            kind: EventKind::Message { body: Bytes::new(), reply_to: None, mentions: Vec::new(), expires_ms },
        };
        let mut list = InboxList::default();
        let of = |name, expires_ms| InboxRow { last: Some(last(expires_ms)), ..row(name, 1, 1) };
        list.take([of("a", 20), of("b", 0), of("c", 30), row("d", 1, 1)]);
        let shown = |list: &InboxList| {
            let rows = list.rows().into_iter().filter(|row| row.last.is_some());
            rows.map(|row| row.conversation.to_string()).collect::<Vec<_>>()
        };
        assert_eq!((list.expire(19), shown(&list).join("")), (Some(20), "abc".to_owned()));
        assert_eq!((list.expire(20), shown(&list).join("")), (Some(30), "bc".to_owned()));
        assert_eq!((list.expire(u64::MAX), shown(&list).join("")), (None, "b".to_owned()));
    }
}

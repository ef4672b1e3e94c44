//! Reads that have to tell the same.

use quoth_protocol::{ConversationName, Seq};
use quoth_store::{Latest, PageLimit, StoredEvent, View};

/// What is visited is what is read, and the latest events are the last ones, with the bounds.
pub(crate) fn check(view: &dyn View, conversation: &ConversationName, after: Seq, limit: PageLimit) {
    let stretch = view.after(conversation, after, limit).unwrap();
    let mut visited = Vec::new();
    let told = view.visit_after(conversation, after, limit, &mut |event| visited.push(format!("{event:?}")));
    assert_eq!(told.unwrap(), (stretch.from, stretch.to), "behind {after}");
    let read: Vec<_> = stretch.iter().map(|record| format!("{:?}", StoredEvent::of(record))).collect();
    assert_eq!(visited, read, "behind {after}");
    let bounds = view.bounds(conversation).unwrap();
    let events = view.before(conversation, None, limit).unwrap();
    assert_eq!(view.latest(conversation, limit).unwrap(), Latest { bounds, events });
}

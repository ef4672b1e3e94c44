//! What becomes of messages, and the inbox: what frames and answers share.

use quoth_protocol::Seq;
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::inbox::InboxRow;
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::message::{Edit, MessageState, Reaction};

use super::{TIME_MS, name, user};

/// A message that was edited and reacted to.
pub(crate) fn message_state() -> MessageState {
    let reaction = |reaction: &str, count, mine| Reaction { reaction: reaction.into(), count, mine };
    let (body, mentions) = ("grüße".into(), vec![user("bob")]);
    MessageState {
        seq: Seq(299),
        version: Seq(303),
        edited: Some(Edit { seq: Seq(301), time_ms: TIME_MS, body, mentions }),
        reactions: vec![reaction("+1", 1, false), reaction("👍", 300, true)],
    }
}

/// A message as it was published.
pub(crate) fn plain(seq: Seq) -> MessageState {
    MessageState { seq, version: Seq(0), edited: None, reactions: Vec::new() }
}

pub(crate) fn inbox_row() -> InboxRow {
    let kind = EventKind::Message {
        body: "see you".into(),
        reply_to: Some(Seq(290)),
        mentions: Vec::new(),
        expires_ms: TIME_MS + 60_000,
    };
    let last = Event { seq: Seq(300), time_ms: TIME_MS, sender: user("bob"), origin_time_ms: None, kind };
    InboxRow {
        conversation: name("team"),
        kind: Some(ConversationKind::Group),
        title: "Team".into(),
        head: Seq(301),
        time_ms: TIME_MS + 1,
        last: Some(last),
        unread: 1_000,
        mentions: 2,
        read: Seq(12),
        archived: false,
        muted_until_ms: u64::MAX,
        pinned: true,
        gone: false,
        version: 1 << 40,
        stale_ms: 1_790_000_600_000,
    }
}

/// A row that is to be taken out of the list.
pub(crate) fn inbox_row_gone() -> InboxRow {
    InboxRow {
        conversation: name("old"),
        kind: None,
        title: String::new(),
        head: Seq(0),
        time_ms: 0,
        last: None,
        unread: 0,
        mentions: 0,
        read: Seq(0),
        archived: true,
        muted_until_ms: 0,
        pinned: false,
        gone: true,
        version: 7,
        stale_ms: 0,
    }
}

//! A record of the log as backends are told it, and which of them they are told.

use quoth_protocol::Pattern;
use quoth_store::{Content, Record, StoreId};
use serde_json::{Value, json};

use super::place::Place;
use crate::engine::event;

/// Kinds of events, by the names that they have in JSON.
pub(crate) const KINDS: [&str; 21] = [
    "message",
    "created",
    "renamed",
    "member_set",
    "member_gone",
    "muted",
    "banned",
    "slow_mode",
    "invitation_made",
    "invitations_revoked",
    "belongs",
    "belongs_no_more",
    "blocked",
    "edited",
    "revoked",
    "reacted",
    "retention_set",
    "hidden",
    "inbox_set",
    "online",
    "offline",
];

/// Those of them that are notices: other notices are the server's own affair, whatever their types are
/// called.
const NOTICES: [&str; 2] = ["online", "offline"];

/// Begins the conversations that are the server's own.
const OWN_PREFIX: char = '$';

/// Which events are sent.
#[derive(Debug, Clone)]
pub(super) struct Filter {
    store: StoreId,
    /// All when it is empty.
    kinds: Vec<String>,
    /// All but the server's own when it is empty.
    conversations: Vec<Pattern>,
}

impl Filter {
    pub(super) fn new(store: StoreId, kinds: Vec<String>, conversations: Vec<Pattern>) -> Self {
        Self { store, kinds, conversations }
    }

    /// The id of what is at a place: of an older store's log another thing may be there.
    fn id(&self, place: Place) -> String {
        format!("{}-{place}", self.store)
    }

    /// What tells that events were dropped: those from one place on, before another one.
    pub(super) fn gap(&self, from: Place, before: Place) -> Value {
        let id = format!("gap:{}-{before}", self.id(from));
        json!({ "id": id, "type": "gap", "from": self.id(from), "before": self.id(before) })
    }

    /// Whether it is sent who comes and goes.
    pub(super) fn wants_presence(&self) -> bool {
        self.wants_kind("online") || self.wants_kind("offline")
    }

    fn wants_kind(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind)
    }

    fn wants_conversation(&self, name: &str) -> bool {
        if self.conversations.is_empty() {
            return !name.starts_with(OWN_PREFIX);
        }
        self.conversations.iter().any(|pattern| pattern.matches(name))
    }

    /// The event that is sent for a record at its place; `None` if none is.
    pub(super) fn event(&self, record: &Record, place: Place) -> Option<Value> {
        if let Content::Notice(notice) = &record.content {
            return self.notice(notice, place, record.time_ms);
        }
        if !self.wants_conversation(record.conversation.as_str()) {
            return None;
        }
        // A change of a kind that this version does not know is told as one that is not known.
        let kind_of = |event: &Value| match &event["kind"] {
            Value::String(kind) => Some(kind.clone()),
            kind => Some(kind.as_object()?.keys().next()?.clone()),
        };
        let event = event(record).ok().map(|event| json!(event));
        let kind = event.as_ref().and_then(kind_of).unwrap_or_else(|| "unknown".to_owned());
        self.wants_kind(&kind).then(|| {
            json!({ "id": self.id(place), "type": kind, "conversation": record.conversation, "event": event })
        })
    }

    /// What a notice of the server tells: a JSON object with a `type`.
    fn notice(&self, notice: &[u8], place: Place, time_ms: u64) -> Option<Value> {
        let mut told: Value = serde_json::from_slice(notice).ok()?;
        let kind = told["type"].as_str()?;
        if !NOTICES.contains(&kind) || !self.wants_kind(kind) {
            return None;
        }
        told["id"] = json!(self.id(place));
        told["time_ms"] = json!(time_ms);
        Some(told)
    }
}

/// What is told of an event that nobody is to have any more.
pub(super) fn absent(event: &Value) -> Value {
    let Value::Object(mut told) = event.clone() else { return Value::Null };
    told.insert("event".to_owned(), Value::Null);
    told.insert("absent".to_owned(), json!(true));
    Value::Object(told)
}

#[cfg(test)]
mod tests {
    use quoth_protocol::Pattern;
    use quoth_store::{Content, Position, Record, StoreId, testing};

    use super::{Filter, KINDS, NOTICES, Place};

    const PLACE: Place = Place { position: Position(7), index: 3 };

    fn filter(kinds: &[&str], conversations: &[&str]) -> Filter {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        Filter::new(
            StoreId::MEMORY,
            kinds,
            conversations.iter().map(|pattern| Pattern::new(*pattern)).collect(),
        )
    }

    fn notice(json: &str) -> Record {
        let content = Content::Notice(json.as_bytes().to_vec().into());
        Record { content, ..testing::record("$server", 1, 1) }
    }

    #[test]
    fn a_message_is_told_with_its_place_as_its_id() {
        let told = filter(&[], &[]).event(&testing::record("team/red", 5, 1), PLACE).unwrap();
        assert_eq!(
            (told["id"].as_str(), told["type"].as_str()),
            (Some("00000000000001-7:3"), Some("message"))
        );
        assert_eq!(
            (told["conversation"].as_str(), told["event"]["seq"].as_u64()),
            (Some("team/red"), Some(5))
        );
    }

    #[test]
    fn a_change_is_told_by_its_kind_whether_it_says_more_or_not() {
        use quoth_protocol::codec::encode_datagram;
        use quoth_protocol::frame::EventKind;
        for (kind, name) in [
            (EventKind::SlowMode { interval_ms: 1 }, "slow_mode"),
            (EventKind::InvitationsRevoked, "invitations_revoked"),
        ] {
            let content = Content::Change(encode_datagram(&kind));
            let record = Record { content, ..testing::record("room", 1, 1) };
            let told = filter(&[], &[]).event(&record, PLACE).unwrap();
            assert_eq!(told["type"].as_str(), Some(name));
            assert!(KINDS.contains(&name));
        }
        let record =
            Record { content: Content::Change(vec![255, 255, 255].into()), ..testing::record("room", 1, 1) };
        assert_eq!(filter(&[], &[]).event(&record, PLACE).unwrap()["type"].as_str(), Some("unknown"));
    }

    #[test]
    fn kinds_and_conversations_are_chosen() {
        let is_told =
            |filter: Filter, name: &str| filter.event(&testing::record(name, 1, 1), PLACE).is_some();
        assert!(is_told(filter(&["message"], &[]), "a") && !is_told(filter(&["online"], &[]), "a"));
        assert!(is_told(filter(&[], &["team/*"]), "team/red") && !is_told(filter(&[], &["team/*"]), "a"));
        assert!(!is_told(filter(&[], &[]), "$user/ada") && is_told(filter(&[], &["$user/*"]), "$user/ada"));
    }

    #[test]
    fn notices_of_known_kinds_are_told_whatever_the_conversations_are() {
        let online = notice(r#"{"type": "online", "user": "ada"}"#);
        let told = filter(&[], &["team/*"]).event(&online, PLACE).unwrap();
        assert_eq!((told["id"].as_str(), told["user"].as_str()), (Some("00000000000001-7:3"), Some("ada")));
        // The last one is the name of an event, too.
        for other in ["", "{}", r#"{"type": "unheard_of"}"#, r#"{"type": "revoked"}"#] {
            assert!(filter(&[], &[]).event(&notice(other), PLACE).is_none(), "{other}");
        }
        assert!(NOTICES.iter().all(|kind| KINDS.contains(kind)));
        assert!(filter(&["message"], &[]).event(&online, PLACE).is_none());
    }
}

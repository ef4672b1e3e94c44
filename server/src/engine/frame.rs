//! A record of the store as the frame that its readers get.

use quoth_protocol::codec::{self, Run};
use quoth_protocol::frame::{Event, EventKind, ServerFrame};
use quoth_protocol::{Seq, UserId};
use quoth_store::{Content, Record, ViewError};
use serde::Serialize;
use serde::ser::{SerializeTuple as _, Serializer};

/// About what a frame takes besides its body and its sender, in bytes.
const FRAME_FIXED_BYTES: usize = 32;

/// Bytes of frames that share a buffer, but for the last one. A buffer is kept for as long as one of its
/// frames is, so this is what a tail, or a reader that takes nothing, may hold beyond what is counted.
const SHARED_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Encodes a conversation's events: the same bytes for every reader, live or from history.
pub(crate) fn encode_events(records: &[&Record]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (mut count, mut bytes) = (0, 0);
        while count < rest.len() && bytes < SHARED_BUFFER_BYTES_MAX {
            bytes += FRAME_FIXED_BYTES + rest[count].sender.as_str().len() + rest[count].content.len();
            count += 1;
        }
        let (these, others) = rest.split_at(count);
        runs.push(Run::encode(these.iter().map(|record| Frame(record)), bytes));
        rest = others;
    }
    runs
}

/// A record as an event, with its change decoded.
///
/// # Errors
/// When the change does not decode.
pub(crate) fn event(record: &Record) -> Result<Event, ViewError> {
    let Record { seq, time_ms, sender, origin_time_ms, content, .. } = record;
    let kind = match content {
        Content::Message(body) => EventKind::message(body.clone()),
        Content::Change(kind) | Content::Notice(kind) => {
            codec::decode(kind).map_err(|_| ViewError::DamagedRow {
                conversation: record.conversation.clone(),
                seq: *seq,
                what: "its change does not decode",
            })?
        }
    };
    let (seq, time_ms, sender, origin_time_ms) = (*seq, *time_ms, sender.clone(), *origin_time_ms);
    Ok(Event { seq, time_ms, sender, origin_time_ms, kind })
}

/// The frame of an event, whose change is not decoded for it: an event's encoding ends with that of its kind.
struct Frame<'a>(&'a Record);

impl Serialize for Frame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Record { seq, time_ms, sender, origin_time_ms, content, .. } = self.0;
        match content {
            Content::Message(body) => ServerFrame::Event(Event {
                seq: *seq,
                time_ms: *time_ms,
                sender: sender.clone(),
                origin_time_ms: *origin_time_ms,
                kind: EventKind::message(body.clone()),
            })
            .serialize(serializer),
            Content::Change(kind) | Content::Notice(kind) => {
                let (seq, time_ms, origin_time_ms) = (*seq, *time_ms, *origin_time_ms);
                let event = Encoded { seq, time_ms, sender, origin_time_ms, kind: Raw(kind) };
                serializer.serialize_newtype_variant("ServerFrame", EVENT_VARIANT, "event", &event)
            }
        }
    }
}

/// Number of [`ServerFrame::Event`].
const EVENT_VARIANT: u32 = 4;

/// An [`Event`] whose kind is encoded already.
#[derive(Serialize)]
struct Encoded<'a> {
    seq: Seq,
    time_ms: u64,
    sender: &'a UserId,
    origin_time_ms: Option<u64>,
    kind: Raw<'a>,
}

/// Bytes as they are: those of a tuple, which has no length in front.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_protocol::codec::{self, Run};
    use quoth_protocol::frame::{Event, EventKind, ServerFrame};
    use quoth_protocol::membership::{ConversationKind, GoneCause, InvitationHash, Permissions, Role};
    use quoth_protocol::retention::Retention;
    use quoth_protocol::{ConversationName, Seq, UserId};
    use quoth_store::{Content, Record, testing};

    use super::{Frame, encode_events};

    fn encode_event(record: &Record) -> Bytes {
        codec::encode(&Frame(record))
    }

    #[test]
    fn together_they_are_the_same_bytes_as_each_alone() {
        let records: Vec<Record> = (1..=300_u64)
            .map(|seq| {
                let body = vec![b'x'; usize::try_from(seq * 7 % 5_000).unwrap()].into();
                let content = if seq % 9 == 0 { Content::Change(body) } else { Content::Message(body) };
                Record { content, ..testing::record("general", seq, seq) }
            })
            .collect();
        let together = encode_events(&records.iter().collect::<Vec<_>>());
        for run in &together {
            assert_eq!(run.slice(0..run.len()), run.frames().collect::<Vec<_>>().concat());
            assert_eq!(run.slice(1..3), run.frames().skip(1).take(2).collect::<Vec<_>>().concat());
            assert!(run.slice(run.len()..usize::MAX).is_empty());
        }
        let together: Vec<Bytes> = together.iter().flat_map(Run::frames).collect();
        assert_eq!(together, records.iter().map(encode_event).collect::<Vec<_>>());
    }

    /// One of each kind.
    fn kinds() -> Vec<EventKind> {
        let (user, title) = (UserId::new("bob").unwrap(), "The room".to_owned());
        let conversation = ConversationName::new("room").unwrap();
        let (kind, role, cause, hash) =
            (ConversationKind::Channel, Role::Owner, GoneCause::Banned, InvitationHash::of("invitation"));
        vec![
            EventKind::message(vec![7; 70_000]),
            EventKind::Message {
                body: Bytes::new(),
                reply_to: Some(Seq(u64::MAX)),
                mentions: vec![user.clone(); 3],
                expires_ms: 1,
            },
            EventKind::Created { kind, title: title.clone(), open: true },
            EventKind::Renamed { title: "x".repeat(256) },
            EventKind::MemberSet {
                user: user.clone(),
                role,
                permissions: Permissions::READ,
                previous: Some(Role::Reader),
                invitation: Some(hash),
            },
            EventKind::MemberGone { user: user.clone(), cause },
            EventKind::Muted { user: None, until_ms: u64::MAX },
            EventKind::Banned { user: user.clone(), until_ms: 0 },
            EventKind::SlowMode { interval_ms: u32::MAX },
            EventKind::InvitationMade { hash, role, expires_ms: 1, uses_max: 2 },
            EventKind::InvitationsRevoked,
            EventKind::Belongs { conversation: conversation.clone(), kind, title, role },
            EventKind::BelongsNoMore { conversation: conversation.clone(), cause },
            EventKind::Blocked { user: user.clone(), blocked: true },
            EventKind::Edited { seq: Seq(1), body: "x".into(), mentions: vec![user] },
            EventKind::Revoked { seq: Seq(2) },
            EventKind::Reacted { seq: Seq(3), reaction: "👍".into(), on: true },
            EventKind::RetentionSet { retention: Retention { age_s: 1, count: 2, bytes: 3 } },
            EventKind::Hidden { conversation: conversation.clone(), seq: Seq(4) },
            EventKind::InboxSet { conversation, archived: true, muted_until_ms: 5, pinned: false },
        ]
    }

    #[test]
    fn a_frame_of_a_change_is_that_of_its_event() {
        for kind in kinds() {
            for origin_time_ms in [None, Some(u64::MAX)] {
                let record = Record {
                    content: Content::Change(codec::encode_datagram(&kind)),
                    origin_time_ms,
                    ..testing::change("general", 1 << 40, [])
                };
                let (seq, time_ms, sender) = (record.seq, record.time_ms, record.sender.clone());
                let event = Event { seq, time_ms, sender, origin_time_ms, kind: kind.clone() };
                assert_eq!(encode_event(&record), codec::encode(&ServerFrame::Event(event)));
            }
        }
    }
}

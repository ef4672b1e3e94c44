//! A record of the store as the frame that its readers get.

use bytes::Bytes;
use quoth_protocol::codec::{self, Run, RunBuilder};
use quoth_protocol::frame::{Event, EventKind};
use quoth_protocol::{ConversationName, Seq, UserId};
use quoth_store::{Content, Record, StoredContent, StoredEvent, ViewError};
use serde::Serialize;
use serde::ser::{SerializeStructVariant as _, SerializeTuple as _, Serializer};

/// About what a frame takes besides its body and its sender, in bytes.
const FRAME_FIXED_BYTES: usize = 32;

/// Bytes of frames that share a buffer, but for the last one. A buffer is kept for as long as one of its
/// frames is, so this is what a tail, or a reader that takes nothing, may hold beyond what is counted.
const SHARED_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Frames of events that come one by one from the view: the same bytes as those of [`encode_events`].
#[derive(Debug, Default)]
pub(super) struct Frames {
    runs: Vec<Run>,
    next: RunBuilder,
}

impl Frames {
    /// Adds the next event.
    pub(super) fn push(&mut self, event: &StoredEvent<'_>) {
        if self.next.bytes() + bytes_about(event) > SHARED_BUFFER_BYTES_MAX {
            self.end();
        }
        if self.next.bytes() == 0 {
            self.next = RunBuilder::with_capacity(bytes_about(event).max(SHARED_BUFFER_BYTES_MAX));
        }
        self.next.push(&Frame(event));
    }

    fn end(&mut self) {
        if self.next.bytes() > 0 {
            self.runs.push(std::mem::take(&mut self.next).build());
        }
    }

    /// The frames of all events, in their order.
    pub(super) fn into_runs(mut self) -> Vec<Run> {
        self.end();
        self.runs
    }
}

/// About what an event's frame takes.
fn bytes_about(event: &StoredEvent<'_>) -> usize {
    let (StoredContent::Message(content) | StoredContent::Kind(content)) = event.content;
    FRAME_FIXED_BYTES + event.sender.as_str().len() + content.len()
}

/// Encodes a conversation's events: the same bytes for every reader, live or from history.
pub(crate) fn encode_events(records: &[&Record]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let (mut count, mut bytes) = (0, 0);
        while count < rest.len() && bytes < SHARED_BUFFER_BYTES_MAX {
            bytes += bytes_about(&StoredEvent::of(rest[count]));
            count += 1;
        }
        let (these, others) = rest.split_at(count);
        let mut run = RunBuilder::with_capacity(bytes);
        these.iter().for_each(|record| run.push(&Frame(&StoredEvent::of(record))));
        runs.push(run.build());
        rest = others;
    }
    runs
}

/// A record as an event, with its change decoded.
///
/// # Errors
/// When the change does not decode.
pub(crate) fn event(record: &Record) -> Result<Event, ViewError> {
    let kind = match &record.content {
        Content::Message(body) => EventKind::message(body.clone()),
        Content::Change(kind) | Content::Notice(kind) => decoded(&record.conversation, record.seq, kind)?,
    };
    Ok(event_with(&StoredEvent::of(record), kind))
}

/// The same of an event in the view, whose content is copied.
///
/// # Errors
/// When the change does not decode.
pub(super) fn stored_event(
    conversation: &ConversationName,
    event: &StoredEvent<'_>,
) -> Result<Event, ViewError> {
    let kind = match event.content {
        StoredContent::Message(body) => EventKind::message(Bytes::copy_from_slice(body)),
        StoredContent::Kind(kind) => decoded(conversation, event.seq, kind)?,
    };
    Ok(event_with(event, kind))
}

fn event_with(event: &StoredEvent<'_>, kind: EventKind) -> Event {
    let StoredEvent { seq, time_ms, sender, origin_time_ms, .. } = *event;
    Event { seq, time_ms, sender: sender.clone(), origin_time_ms, kind }
}

fn decoded(conversation: &ConversationName, seq: Seq, kind: &[u8]) -> Result<EventKind, ViewError> {
    let what = "its change does not decode";
    codec::decode(kind).map_err(|_| ViewError::DamagedRow { conversation: conversation.clone(), seq, what })
}

/// The frame of an event, of which nothing is copied or decoded for it: an event's encoding ends with that of
/// its kind.
struct Frame<'a>(&'a StoredEvent<'a>);

impl Serialize for Frame<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.content {
            StoredContent::Message(body) => self.with(Message(body), serializer),
            StoredContent::Kind(kind) => self.with(Raw(kind), serializer),
        }
    }
}

impl Frame<'_> {
    fn with<S: Serializer>(&self, kind: impl Serialize, serializer: S) -> Result<S::Ok, S::Error> {
        let StoredEvent { seq, time_ms, sender, origin_time_ms, .. } = *self.0;
        let event = Borrowed { seq, time_ms, sender, origin_time_ms, kind };
        serializer.serialize_newtype_variant("ServerFrame", EVENT_VARIANT, "event", &event)
    }
}

/// Number of [`ServerFrame::Event`](quoth_protocol::frame::ServerFrame::Event).
const EVENT_VARIANT: u32 = 4;

/// An [`Event`] that owns nothing.
#[derive(Serialize)]
struct Borrowed<'a, K> {
    seq: Seq,
    time_ms: u64,
    sender: &'a UserId,
    origin_time_ms: Option<u64>,
    kind: K,
}

/// An [`EventKind::Message`] that is nothing but its body.
struct Message<'a>(&'a [u8]);

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut message = serializer.serialize_struct_variant("EventKind", 0, "message", 4)?;
        message.serialize_field("body", &Body(self.0))?;
        message.serialize_field("reply_to", &None::<Seq>)?;
        message.serialize_field::<[UserId]>("mentions", &[])?;
        message.serialize_field("expires_ms", &0_u64)?;
        message.end()
    }
}

/// Bytes behind their length.
struct Body<'a>(&'a [u8]);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
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
    use quoth_store::{Content, Record, StoredEvent, testing};

    use super::{Frame, Frames, SHARED_BUFFER_BYTES_MAX, encode_events};

    fn encode_event(record: &Record) -> Bytes {
        codec::encode(&Frame(&StoredEvent::of(record)))
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
        let mut frames = Frames::default();
        records.iter().for_each(|record| frames.push(&StoredEvent::of(record)));
        let runs = frames.into_runs();
        assert_eq!(runs.iter().flat_map(Run::frames).collect::<Vec<_>>(), together);
        assert!(runs.iter().all(|run| run.slice(0..run.len()).len() <= SHARED_BUFFER_BYTES_MAX));
    }

    #[test]
    fn one_that_is_larger_than_a_shared_buffer_is_alone() {
        let body = vec![b'x'; 2 * SHARED_BUFFER_BYTES_MAX];
        let records = [1, 2, 3].map(|seq| testing::record("general", seq, seq));
        let large = Record { content: Content::Message(body.into()), ..records[1].clone() };
        let mut frames = Frames::default();
        for record in [&records[0], &large, &records[2]] {
            frames.push(&StoredEvent::of(record));
        }
        assert_eq!(frames.into_runs().iter().map(Run::len).collect::<Vec<_>>(), [1, 1, 1]);
        assert!(Frames::default().into_runs().is_empty());
    }

    #[test]
    fn a_frame_of_a_message_is_that_of_its_event() {
        for body in [Bytes::new(), Bytes::from(vec![7; 70_000])] {
            let content = Content::Message(body.clone());
            let record = Record { content, origin_time_ms: Some(1), ..testing::record("general", 9, 9) };
            let (sender, kind) = (record.sender.clone(), EventKind::message(body));
            let event = Event { seq: Seq(9), time_ms: record.time_ms, sender, origin_time_ms: Some(1), kind };
            assert_eq!(encode_event(&record), codec::encode(&ServerFrame::Event(event)));
        }
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

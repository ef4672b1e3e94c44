//! A record of the store as the frame that its readers get.

use bytes::Bytes;
use quoth_protocol::codec;
use quoth_protocol::frame::{Event, EventKind, ServerFrame};
use quoth_store::Record;

/// Encodes a record's event frame: the same bytes for every reader, live or from history.
pub(crate) fn encode_event(record: &Record) -> Bytes {
    codec::encode(&ServerFrame::Event(Event {
        seq: record.seq,
        time_ms: record.time_ms,
        sender: record.sender.clone(),
        origin_time_ms: record.origin_time_ms,
        kind: EventKind::Message { body: record.body.clone() },
    }))
}

//! A record of the store as the frame that its readers get.

use bytes::Bytes;
use quoth_protocol::codec;
use quoth_protocol::frame::{Event, EventKind, ServerFrame};
use quoth_store::Record;

/// About what a frame takes besides its body and its sender, in bytes.
const FRAME_FIXED_BYTES: usize = 32;

/// Bytes of frames that share a buffer, but for the last one. A buffer is kept for as long as one of its frames is, so this is
/// what a tail, or a reader that takes nothing, may hold beyond what is counted.
const SHARED_BUFFER_BYTES_MAX: usize = 16 * 1024;

/// Encodes a record's event frame: the same bytes for every reader, live or from history.
pub(crate) fn encode_event(record: &Record) -> Bytes {
    codec::encode(&ServerFrame::Event(event(record)))
}

/// The same for a conversation's records of one group, which share buffers.
pub(crate) fn encode_events(records: &[&Record]) -> Vec<Bytes> {
    let mut frames = Vec::with_capacity(records.len());
    let mut rest = records;
    while !rest.is_empty() {
        let (mut count, mut bytes) = (0, 0);
        while count < rest.len() && bytes < SHARED_BUFFER_BYTES_MAX {
            bytes += FRAME_FIXED_BYTES + rest[count].sender.as_str().len() + rest[count].body.len();
            count += 1;
        }
        let (these, others) = rest.split_at(count);
        frames.extend(codec::encode_all(these.iter().map(|record| ServerFrame::Event(event(record))), bytes));
        rest = others;
    }
    frames
}

/// A record as an event.
pub(super) fn event(record: &Record) -> Event {
    Event {
        seq: record.seq,
        time_ms: record.time_ms,
        sender: record.sender.clone(),
        origin_time_ms: record.origin_time_ms,
        kind: EventKind::Message { body: record.body.clone() },
    }
}

#[cfg(test)]
mod tests {
    use quoth_store::{Record, testing};

    use super::{encode_event, encode_events};

    #[test]
    fn together_they_are_the_same_bytes_as_each_alone() {
        let records: Vec<Record> = (1..=300_u64)
            .map(|seq| {
                let body = vec![b'x'; usize::try_from(seq * 7 % 5_000).unwrap()];
                Record { body: body.into(), ..testing::record("general", seq, seq) }
            })
            .collect();
        let together = encode_events(&records.iter().collect::<Vec<_>>());
        assert_eq!(together, records.iter().map(encode_event).collect::<Vec<_>>());
    }
}

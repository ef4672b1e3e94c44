//! What has come on a lane and is not taken yet.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Frames of a message with more bytes than this are kept as they have come. Others are copied together,
/// since each message for itself costs more memory than its bytes are, and one that was cut out of a buffer
/// keeps all of that.
const COPIED_BYTES_MAX: usize = 2 * 1_024;

/// Bytes that are copied together.
const TOGETHER_BYTES_MAX: usize = 4 * 1_024;

/// A queue of whole frames, with what their messages have cost.
#[derive(Debug, Default)]
pub(crate) struct Incoming(VecDeque<(Chunk, usize)>);

#[derive(Debug)]
enum Chunk {
    Copied(BytesMut),
    AsCome(Bytes),
}

impl Incoming {
    /// Adds the frames of a message that has cost so much.
    pub(crate) fn push(&mut self, frames: Bytes, cost: usize) {
        if frames.len() > COPIED_BYTES_MAX {
            self.0.push_back((Chunk::AsCome(frames), cost));
            return;
        }
        if let Some((Chunk::Copied(last), costs)) = self.0.back_mut()
            && last.len() + frames.len() <= TOGETHER_BYTES_MAX
        {
            last.extend_from_slice(&frames);
            *costs += cost;
        } else {
            self.0.push_back((Chunk::Copied(BytesMut::from(&frames[..])), cost));
        }
    }

    /// The first frames, and what they have cost.
    pub(crate) fn pop(&mut self) -> Option<(Bytes, usize)> {
        let (chunk, cost) = self.0.pop_front()?;
        let frames = match chunk {
            Chunk::Copied(frames) => frames.freeze(),
            Chunk::AsCome(frames) => frames,
        };
        Some((frames, cost))
    }

    pub(crate) fn clear(&mut self) {
        self.0 = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{COPIED_BYTES_MAX, Incoming, TOGETHER_BYTES_MAX};

    #[test]
    fn all_that_comes_is_taken_in_order_with_its_cost() {
        let mut incoming = Incoming::default();
        let mut sent = Vec::new();
        for n in 0..2_000_usize {
            let frames = vec![n.to_le_bytes()[0]; 1 + n % (COPIED_BYTES_MAX + 100)];
            incoming.push(Bytes::from(frames.clone()), frames.len() + 2);
            sent.extend_from_slice(&frames);
        }
        let (mut taken, mut costs) = (Vec::new(), 0);
        while let Some((frames, cost)) = incoming.pop() {
            taken.extend_from_slice(&frames);
            costs += cost;
        }
        assert!(taken == sent && costs == sent.len() + 2 * 2_000);
    }

    #[test]
    fn many_small_messages_cost_about_their_bytes_and_pin_nothing() {
        let mut incoming = Incoming::default();
        let buffer = Bytes::from(vec![0; 64 * 1_024]);
        for at in 0..10_000 {
            incoming.push(buffer.slice(at..at + 2), 4);
        }
        assert!(buffer.is_unique());
        assert!(incoming.0.len() <= 20_000 / TOGETHER_BYTES_MAX + 1, "{}", incoming.0.len());
    }
}

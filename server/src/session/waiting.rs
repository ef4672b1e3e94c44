//! Frames that wait to be written to a stream.

use std::collections::VecDeque;

use bytes::Bytes;

/// Frames for which memory is kept when nothing waits.
const KEPT_FRAMES: usize = 64;

/// A queue of encoded frames, of which the first may be written in part.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// What is left of each frame.
    chunks: VecDeque<Bytes>,
    /// What each of them is.
    frames: VecDeque<Frame>,
    bytes: usize,
    gone_bytes: u64,
}

#[derive(Debug)]
struct Frame {
    /// Its whole length, in bytes.
    bytes: usize,
    is_event: bool,
}

impl Waiting {
    pub(super) fn push(&mut self, chunk: Bytes, is_event: bool) {
        self.bytes += chunk.len();
        self.frames.push_back(Frame { bytes: chunk.len(), is_event });
        self.chunks.push_back(chunk);
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that wait no more: written or dropped.
    pub(super) fn gone_bytes(&self) -> u64 {
        self.gone_bytes
    }

    /// What waits, in order. What is written of it is cut off by the one who writes.
    pub(super) fn chunks(&mut self) -> &mut [Bytes] {
        self.chunks.make_contiguous()
    }

    /// So many chunks were written as a whole, and so many bytes of these and of the next one.
    pub(super) fn written(&mut self, chunks: usize, bytes: usize) {
        self.chunks.drain(..chunks);
        self.frames.drain(..chunks);
        self.bytes -= bytes;
        self.gone_bytes += bytes as u64;
        if self.chunks.is_empty() {
            self.chunks.shrink_to(KEPT_FRAMES);
            self.frames.shrink_to(KEPT_FRAMES);
        }
    }

    /// Drops the events of which nothing is written.
    pub(super) fn drop_events(&mut self) {
        let (chunks, frames) = (std::mem::take(&mut self.chunks), std::mem::take(&mut self.frames));
        let bytes_before = std::mem::take(&mut self.bytes);
        for (chunk, frame) in chunks.into_iter().zip(frames) {
            if !frame.is_event || chunk.len() < frame.bytes {
                self.bytes += chunk.len();
                self.chunks.push_back(chunk);
                self.frames.push_back(frame);
            }
        }
        self.gone_bytes += (bytes_before - self.bytes) as u64;
    }
}

#[cfg(test)]
mod tests {
    use bytes::{Buf as _, Bytes};

    use super::{KEPT_FRAMES, Waiting};

    /// As a stream does it that takes so many bytes.
    fn write(waiting: &mut Waiting, bytes_max: usize) {
        let (mut chunks, mut bytes) = (0, 0);
        for chunk in waiting.chunks() {
            let taken = chunk.len().min(bytes_max - bytes);
            chunk.advance(taken);
            bytes += taken;
            if !chunk.is_empty() {
                break;
            }
            chunks += 1;
        }
        waiting.written(chunks, bytes);
    }

    fn rest(waiting: &mut Waiting) -> (String, usize) {
        let texts: Vec<_> =
            waiting.chunks().iter().map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
        (texts.join(", "), waiting.bytes())
    }

    #[test]
    fn frames_are_written_in_order() {
        let mut waiting = Waiting::default();
        for text in ["one", "two", "three"] {
            waiting.push(Bytes::from(text), true);
        }
        write(&mut waiting, 4);
        assert_eq!(rest(&mut waiting), ("wo, three".to_owned(), 7));
        write(&mut waiting, 7);
        assert_eq!(rest(&mut waiting), (String::new(), 0));
    }

    #[test]
    fn a_reader_that_is_always_behind_costs_only_what_waits() {
        let mut waiting = Waiting::default();
        waiting.push(Bytes::from_static(b"first"), true);
        for _ in 0..10_000 {
            waiting.push(Bytes::from_static(b"event"), true);
            write(&mut waiting, 5);
        }
        assert_eq!((waiting.chunks.len(), waiting.frames.len(), waiting.bytes()), (1, 1, 5));
        assert!(waiting.chunks.capacity() < 16, "{}", waiting.chunks.capacity());
    }

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        let mut waiting = Waiting::default();
        for _ in 0..10_000 {
            waiting.push(Bytes::from_static(b"event"), true);
        }
        write(&mut waiting, usize::MAX);
        let capacity = waiting.chunks.capacity().max(waiting.frames.capacity());
        assert!(capacity <= 2 * KEPT_FRAMES, "{capacity}");
    }

    #[test]
    fn an_event_that_is_begun_is_not_dropped() {
        let mut waiting = Waiting::default();
        for (text, is_event) in [("event 1", true), ("ack 1", false), ("event 2", true), ("ack 2", false)] {
            waiting.push(Bytes::from(text), is_event);
        }
        write(&mut waiting, 2);
        let end = waiting.gone_bytes() + waiting.bytes() as u64;
        waiting.drop_events();
        assert_eq!(
            waiting.gone_bytes() + waiting.bytes() as u64,
            end,
            "what was dropped is gone like what was written"
        );
        assert_eq!(rest(&mut waiting), ("ent 1, ack 1, ack 2".to_owned(), 15));
        write(&mut waiting, 5);
        waiting.push(Bytes::from("event 3"), true);
        waiting.drop_events();
        assert_eq!(rest(&mut waiting), ("ack 1, ack 2".to_owned(), 10));
    }
}

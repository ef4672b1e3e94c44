//! The recent frames of a conversation, in memory, and how a cursor reads on through view and tail.
//!
//! A tail may drop a frame only after the view has it. So a cursor that finds no tail, or is behind the tail's first
//! frame, finds everything up to there in the view, and history, replay and live delivery are one path without a hole.

use std::collections::VecDeque;

use bytes::Bytes;
use quoth_protocol::Seq;

/// Most frames that one tail keeps once the view has them.
pub const TAIL_FRAMES_MAX: usize = 512;

/// Most bytes, overhead included, that one tail keeps once the view has them.
pub const TAIL_BYTES_MAX: usize = 256 * 1024;

/// What a frame takes besides its bytes: its place in the queue, which grows by doubling, and its allocation.
pub const FRAME_OVERHEAD_BYTES: usize = 128;

/// The recent frames of one conversation.
#[derive(Debug, Default)]
pub struct Tail {
    /// Frame and log position of each event up to the head, without a hole.
    frames: VecDeque<(Bytes, u64)>,
    head: Seq,
    bytes: usize,
}

/// What a cursor reads next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the cursor is at the head.
    Wait,
    /// The events behind the cursor are in the view: all, or those up to and including `to`.
    View {
        /// The last one that only the view has.
        to: Option<Seq>,
    },
    /// Frames were taken from the tail; the cursor moves to this seq.
    Frames(Seq),
}

impl Tail {
    /// Takes the next event's frame, which the group at `position` of the log holds, and drops old frames that the
    /// view has: those up to log position `applied`.
    ///
    /// # Panics
    /// When `seq` is not the next one: the order is broken and nothing more may be delivered.
    pub fn push(&mut self, seq: Seq, frame: Bytes, position: u64, applied: u64) {
        assert!(
            self.frames.is_empty() || seq == self.head.next(),
            "event {seq} follows {} in a tail",
            self.head
        );
        self.head = seq;
        self.bytes += frame.len() + FRAME_OVERHEAD_BYTES;
        self.frames.push_back((frame, position));
        while self.frames.len() > TAIL_FRAMES_MAX || self.bytes > TAIL_BYTES_MAX {
            match self.frames.front() {
                Some((frame, position)) if *position <= applied => {
                    self.bytes -= frame.len() + FRAME_OVERHEAD_BYTES;
                    self.frames.pop_front();
                }
                _ => break,
            }
        }
    }

    /// The last event's seq.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.head
    }

    /// Bytes of the frames, with what each takes besides.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the view has all of it, up to log position `applied`, so that it may go.
    #[must_use]
    pub fn is_applied(&self, applied: u64) -> bool {
        self.frames.back().is_none_or(|(_, position)| *position <= applied)
    }

    /// Reads on behind `cursor`: appends frames of at most `bytes_max` bytes, but at least one, to `out`.
    pub fn read(&self, cursor: Seq, bytes_max: usize, out: &mut Vec<Bytes>) -> Next {
        if cursor >= self.head {
            return Next::Wait;
        }
        let before_first = self.head.0 - self.frames.len() as u64;
        let Some(skip) = cursor.0.checked_sub(before_first) else {
            return Next::View { to: Some(Seq(before_first)) };
        };
        let skip = usize::try_from(skip).expect("a tail is smaller than memory");
        let (mut cursor, mut bytes) = (cursor, 0);
        for (frame, _) in self.frames.iter().skip(skip) {
            bytes += frame.len();
            if bytes > bytes_max && bytes > frame.len() {
                break;
            }
            out.push(frame.clone());
            cursor = cursor.next();
        }
        Next::Frames(cursor)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_protocol::Seq;

    use super::{Next, TAIL_FRAMES_MAX, Tail};

    fn frame(seq: u64) -> Bytes {
        Bytes::from(seq.to_be_bytes().to_vec())
    }

    fn filled(from: u64, to: u64, applied: u64) -> Tail {
        let mut tail = Tail::default();
        (from..=to).for_each(|seq| tail.push(Seq(seq), frame(seq), seq, applied));
        tail
    }

    #[test]
    fn a_cursor_reads_view_then_tail_then_waits() {
        let tail = filled(11, 20, 0);
        let mut out = Vec::new();
        assert_eq!(tail.read(Seq(0), 1_000, &mut out), Next::View { to: Some(Seq(10)) });
        assert_eq!(tail.read(Seq(9), 1_000, &mut out), Next::View { to: Some(Seq(10)) });
        assert_eq!(tail.read(Seq(10), 24, &mut out), Next::Frames(Seq(13)));
        assert_eq!(tail.read(Seq(13), 1, &mut out), Next::Frames(Seq(14)), "at least one");
        assert_eq!(tail.read(Seq(14), 1_000, &mut out), Next::Frames(Seq(20)));
        assert_eq!(tail.read(Seq(20), 1_000, &mut out), Next::Wait);
        assert_eq!(out, (11..=20).map(frame).collect::<Vec<_>>());
    }

    #[test]
    fn a_frame_goes_only_when_the_view_has_it() {
        let most = TAIL_FRAMES_MAX as u64;
        let mut tail = filled(1, most + 100, 0);
        assert_eq!(tail.read(Seq(0), 1, &mut Vec::new()), Next::Frames(Seq(1)), "the view has nothing yet");
        assert!(!tail.is_applied(most + 99));
        tail.push(Seq(most + 101), frame(most + 101), most + 101, 50);
        assert_eq!(tail.read(Seq(0), 1, &mut Vec::new()), Next::View { to: Some(Seq(50)) });
        tail.push(Seq(most + 102), frame(most + 102), most + 102, u64::MAX);
        assert_eq!(tail.read(Seq(0), 1, &mut Vec::new()), Next::View { to: Some(Seq(102)) });
    }

    #[test]
    #[should_panic(expected = "event 3 follows 1")]
    fn a_hole_stops_everything() {
        let mut tail = filled(1, 1, 0);
        tail.push(Seq(3), frame(3), 2, 0);
    }
}

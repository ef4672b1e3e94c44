//! The recent frames of a conversation, in memory, and how a cursor reads on through view and tail.
//!
//! A tail may drop a frame only after the view has it. So a cursor that finds no tail, or is behind the
//! tail's first frame, finds everything up to there in the view, and history, replay and live delivery are
//! one path without a hole.

use std::collections::VecDeque;

use bytes::Bytes;
use quoth_protocol::frame::ServerFrame;
use quoth_protocol::{Seq, codec};

use crate::retention::{End, Gaps, Keeping, Place};

/// Most frames that one tail keeps once the view has them.
pub const TAIL_FRAMES_MAX: usize = 512;

/// Most bytes, overhead included, that one tail keeps once the view has them.
pub const TAIL_BYTES_MAX: usize = 256 * 1024;

/// What a frame takes besides its bytes: its place in the queue, which grows by doubling, and its allocation.
pub const FRAME_OVERHEAD_BYTES: usize = 192;

/// The recent frames of one conversation.
#[derive(Debug, Default)]
pub struct Tail {
    /// Each event up to the head, without a hole.
    frames: VecDeque<Frame>,
    head: Seq,
    /// Bytes of the contents of all events of the conversation.
    end: u64,
    bytes: usize,
    /// What was erased that the view may still have: seq, and the log position of the group that erases it.
    erased: Vec<(Seq, u64)>,
}

/// An event in a tail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// As its readers get it; empty when it was erased.
    pub bytes: Bytes,
    /// When it was stored, in milliseconds since 1970.
    pub time_ms: u64,
    /// When its time to live is over, in milliseconds since 1970; 0: it has none.
    pub expires_ms: u64,
    /// Bytes of the contents of all events of the conversation before it.
    pub offset: u64,
    /// Where the message lies with which it ends, if it is about one.
    pub about: Option<Place>,
    /// The same as `offset` with its own.
    pub end: u64,
    /// Where in the log it is.
    pub position: u64,
}

/// What a tail has for a reader.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The reader has everything up to here.
    pub cursor: Seq,
    /// It wants nothing behind this.
    pub to: Seq,
    /// Bytes of frames at most, but for the first one.
    pub bytes_max: usize,
    /// How the conversation is kept.
    pub keeping: Keeping,
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
    /// Takes the next event, and drops old ones that the view has: those up to log position `applied`.
    ///
    /// # Panics
    /// When `seq` is not the next one: the order is broken and nothing more may be delivered.
    pub fn push(&mut self, seq: Seq, frame: Frame, applied: u64) {
        assert!(
            self.frames.is_empty() || seq == self.head.next(),
            "event {seq} follows {} in a tail",
            self.head
        );
        (self.head, self.end) = (seq, frame.end);
        self.bytes += frame.bytes.len() + FRAME_OVERHEAD_BYTES;
        self.frames.push_back(frame);
        while self.frames.len() > TAIL_FRAMES_MAX || self.bytes > TAIL_BYTES_MAX {
            match self.frames.front() {
                Some(frame) if frame.position <= applied => {
                    self.bytes -= frame.bytes.len() + FRAME_OVERHEAD_BYTES;
                    self.frames.pop_front();
                }
                _ => break,
            }
        }
        self.erased.retain(|(_, position)| *position > applied);
    }

    /// An event is absent from here on, by a group at this log position, whether the tail or the view has it.
    pub fn erase(&mut self, seq: Seq, position: u64) {
        self.erased.push((seq, position));
        let at = seq.0.checked_sub(self.before_first() + 1).and_then(|at| usize::try_from(at).ok());
        if let Some(frame) = at.and_then(|at| self.frames.get_mut(at)) {
            self.bytes -= frame.bytes.len();
            frame.bytes = Bytes::new();
        }
    }

    /// What was erased that the view may still have.
    pub fn erased(&self) -> impl Iterator<Item = Seq> {
        self.erased.iter().map(|(seq, _)| *seq)
    }

    /// The last event's seq.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.head
    }

    /// The end of the conversation.
    #[must_use]
    pub fn end(&self) -> End {
        End { seq: self.head, bytes: self.end }
    }

    /// Bytes of the frames, with what each takes besides.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the view has all of it, up to log position `applied`, so that it may go.
    #[must_use]
    pub fn is_applied(&self, applied: u64) -> bool {
        self.frames.back().is_none_or(|frame| frame.position <= applied)
            && self.erased.iter().all(|(_, position)| *position <= applied)
    }

    fn before_first(&self) -> u64 {
        self.head.0 - self.frames.len() as u64
    }

    /// The first event that is behind `from` and not before the marks by which the conversation is kept, of
    /// those that the tail has; behind its head when there is none.
    #[must_use]
    pub fn floor(&self, from: Seq, keeping: Keeping) -> Seq {
        let judge = keeping.judge(self.end());
        let events = (self.before_first() + 1..).map(Seq).zip(&self.frames);
        let mut kept = events.filter(|(seq, frame)| *seq >= from && !judge.marks.covers(frame.place(*seq)));
        kept.next().map_or_else(|| self.head.next(), |(seq, _)| seq)
    }

    /// Reads on behind a cursor: appends frames to `out`, and a gap for what is absent.
    pub fn read(&self, wanted: Wanted, out: &mut Vec<Bytes>) -> Next {
        let Wanted { cursor, to, bytes_max, keeping } = wanted;
        if cursor >= self.head || cursor >= to {
            return Next::Wait;
        }
        let before_first = self.before_first();
        let Some(skip) = cursor.0.checked_sub(before_first) else {
            return Next::View { to: Some(Seq(before_first)) };
        };
        let skip = usize::try_from(skip).expect("a tail is smaller than memory");
        let judge = keeping.judge(self.end());
        let (mut told, mut gaps, mut bytes) = (cursor, Gaps::behind(cursor), 0);
        let gap = |(from, to)| codec::encode(&ServerFrame::Gap { from, to });
        for frame in self.frames.iter().skip(skip) {
            let seq = told.next();
            if seq > to {
                break;
            }
            if !frame.bytes.is_empty() && !judge.is_absent(frame.judged(seq), frame.expires_ms) {
                bytes += frame.bytes.len();
                if bytes > bytes_max && bytes > frame.bytes.len() {
                    break;
                }
                out.extend(gaps.event(seq).map(gap));
                out.push(frame.bytes.clone());
            }
            told = seq;
        }
        out.extend(gaps.until(told).map(gap));
        Next::Frames(told)
    }
}

impl Frame {
    fn place(&self, seq: Seq) -> Place {
        Place { seq, time_ms: self.time_ms, offset: self.offset }
    }

    /// The place by which it is judged: a message lies before all that is about it.
    fn judged(&self, seq: Seq) -> Place {
        self.about.unwrap_or_else(|| self.place(seq))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_protocol::Seq;

    use quoth_protocol::codec;
    use quoth_protocol::frame::ServerFrame;

    use super::{Frame, Next, TAIL_FRAMES_MAX, Tail, Wanted};
    use crate::retention::{Keeping, Retention};

    fn bytes(seq: u64) -> Bytes {
        Bytes::from(seq.to_be_bytes().to_vec())
    }

    /// Each is stored at its seq in milliseconds, and has ten bytes.
    fn frame(seq: u64) -> Frame {
        let (time_ms, offset) = (seq, seq * 10);
        let end = offset + 10;
        Frame { bytes: bytes(seq), time_ms, expires_ms: 0, offset, about: None, end, position: seq }
    }

    fn wanted(cursor: u64, bytes_max: usize) -> Wanted {
        Wanted { cursor: Seq(cursor), to: Seq(u64::MAX), bytes_max, keeping: Keeping::for_ever(0) }
    }

    fn gap(from: u64, to: u64) -> Bytes {
        codec::encode(&ServerFrame::Gap { from: Seq(from), to: Seq(to) })
    }

    fn filled(from: u64, to: u64, applied: u64) -> Tail {
        let mut tail = Tail::default();
        (from..=to).for_each(|seq| tail.push(Seq(seq), frame(seq), applied));
        tail
    }

    #[test]
    fn a_cursor_reads_view_then_tail_then_waits() {
        let tail = filled(11, 20, 0);
        let mut out = Vec::new();
        assert_eq!(tail.read(wanted(0, 1_000), &mut out), Next::View { to: Some(Seq(10)) });
        assert_eq!(tail.read(wanted(9, 1_000), &mut out), Next::View { to: Some(Seq(10)) });
        assert_eq!(tail.read(wanted(10, 24), &mut out), Next::Frames(Seq(13)));
        assert_eq!(tail.read(wanted(13, 1), &mut out), Next::Frames(Seq(14)), "at least one");
        assert_eq!(tail.read(wanted(14, 1_000), &mut out), Next::Frames(Seq(20)));
        assert_eq!(tail.read(wanted(20, 1_000), &mut out), Next::Wait);
        assert_eq!(out, (11..=20).map(bytes).collect::<Vec<_>>());
    }

    #[test]
    fn a_frame_goes_only_when_the_view_has_it() {
        let most = TAIL_FRAMES_MAX as u64;
        let mut tail = filled(1, most + 100, 0);
        assert_eq!(
            tail.read(wanted(0, 1), &mut Vec::new()),
            Next::Frames(Seq(1)),
            "the view has nothing yet"
        );
        assert!(!tail.is_applied(most + 99));
        tail.push(Seq(most + 101), frame(most + 101), 50);
        assert_eq!(tail.read(wanted(0, 1), &mut Vec::new()), Next::View { to: Some(Seq(50)) });
        tail.push(Seq(most + 102), frame(most + 102), u64::MAX);
        assert_eq!(tail.read(wanted(0, 1), &mut Vec::new()), Next::View { to: Some(Seq(102)) });
    }

    #[test]
    fn what_is_absent_is_told_as_exact_gaps() {
        let mut tail = Tail::default();
        for seq in 11..=20 {
            // Three of them, two in a row, have a time to live.
            let expires_ms = if [14, 17, 18].contains(&seq) { 100 } else { 0 };
            tail.push(Seq(seq), Frame { expires_ms, ..frame(seq) }, 0);
        }
        let read = |tail: &Tail, keeping, cursor, to| {
            let mut out = Vec::new();
            let wanted = Wanted { keeping, to: Seq(to), ..wanted(cursor, 1_000) };
            (tail.read(wanted, &mut out), out)
        };
        let ever = Keeping::for_ever(99);
        let all = (11..=20).map(bytes).collect::<Vec<_>>();
        assert_eq!(read(&tail, ever, 10, u64::MAX), (Next::Frames(Seq(20)), all));
        let later = Keeping::for_ever(100);
        let expected = [11, 12, 13].map(bytes).into_iter().chain([
            gap(14, 14),
            bytes(15),
            bytes(16),
            gap(17, 18),
            bytes(19),
        ]);
        let expected: Vec<_> = expected.collect();
        assert_eq!(read(&tail, later, 10, 19), (Next::Frames(Seq(19)), expected));
        assert_eq!(read(&tail, later, 16, 17), (Next::Frames(Seq(17)), vec![gap(17, 17)]));
        // A policy takes what is before it as well, in the same gap.
        let last_three = Keeping { policy: Retention { count: 3, ..Retention::FOR_EVER }, ..later };
        let expected = vec![gap(11, 18), bytes(19), bytes(20)];
        assert_eq!(read(&tail, last_three, 10, u64::MAX), (Next::Frames(Seq(20)), expected));
        assert_eq!([11, 19, 21].map(|from| tail.floor(Seq(from), last_three)), [18, 19, 21].map(Seq));
        tail.erase(Seq(20), 21);
        tail.erase(Seq(3), 21);
        assert_eq!(tail.erased().collect::<Vec<_>>(), [20, 3].map(Seq));
        assert_eq!(read(&tail, ever, 18, u64::MAX), (Next::Frames(Seq(20)), vec![bytes(19), gap(20, 20)]));
        assert!(!tail.is_applied(20) && tail.is_applied(21));
    }

    #[test]
    #[should_panic(expected = "event 3 follows 1")]
    fn a_hole_stops_everything() {
        let mut tail = filled(1, 1, 0);
        tail.push(Seq(3), frame(3), 0);
    }
}

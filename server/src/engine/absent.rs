//! What readers are told of in place of events that nobody gets any more.

use bytes::Bytes;
use quoth_core::messages::Absent;
use quoth_protocol::frame::ServerFrame;
use quoth_protocol::{Seq, codec};

/// Puts gaps in the place of absent events among the frames of consecutive events from `first` on, each of them as wide as it can be.
/// `gap_from` is where the gap begins that is in front of them, if there is one.
pub(super) fn leave_out(absent: &Absent, gap_from: Option<Seq>, first: Seq, frames: &mut Vec<Bytes>) {
    let behind = first.0 + frames.len() as u64;
    let mut gaps: Vec<(u64, u64)> = gap_from.map(|from| (from.0, first.0 - 1)).into_iter().collect();
    if !frames.is_empty() {
        for (from, to) in absent.within(first, Seq(behind - 1)) {
            match gaps.last_mut() {
                Some((_, end)) if *end + 1 == from.0 => *end = to.0,
                Some(_) | None => gaps.push((from.0, to.0)),
            }
        }
    }
    if gaps.is_empty() {
        return;
    }
    let mut events = std::mem::take(frames).into_iter();
    let mut next = first.0;
    for (from, to) in gaps {
        frames.extend(events.by_ref().take(count(from.saturating_sub(next))));
        frames.push(codec::encode(&ServerFrame::Gap { from: Seq(from), to: Seq(to) }));
        if let Some(skipped) = count(to + 1 - from.max(next)).checked_sub(1) {
            let _absent = events.nth(skipped);
        }
        next = to + 1;
    }
    frames.extend(events);
}

/// A number of frames, which are in memory.
fn count(events: u64) -> usize {
    usize::try_from(events).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use quoth_core::messages::Absent;
    use quoth_protocol::codec::Decoder;
    use quoth_protocol::frame::ServerFrame;
    use quoth_protocol::limits::FRAME_BYTES_MAX;
    use quoth_protocol::{Seq, codec};

    use super::leave_out;

    fn shown(absent: &[(u64, u64)], gap_from: Option<u64>, first: u64, last: u64) -> String {
        let mut set = Absent::default();
        absent.iter().for_each(|(from, to)| set.insert_range(Seq(*from), Seq(*to)));
        // Any frame that has a number.
        let frame = |seq| codec::encode(&ServerFrame::Opened { head: Seq(seq), floor: Seq(1) });
        let mut frames: Vec<Bytes> = (first..=last).map(frame).collect();
        leave_out(&set, gap_from.map(Seq), Seq(first), &mut frames);
        let show = |frame: Bytes| {
            let mut decoder = Decoder::new(FRAME_BYTES_MAX);
            decoder.push(&frame);
            match decoder.next_frame().unwrap().unwrap() {
                ServerFrame::Opened { head, .. } => head.to_string(),
                ServerFrame::Gap { from, to } => format!("({from}-{to})"),
                other => panic!("{other:?}"),
            }
        };
        frames.into_iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn gaps_are_exact_and_as_wide_as_they_can_be() {
        assert_eq!(shown(&[], None, 3, 6), "3 4 5 6");
        assert_eq!(shown(&[(4, 5)], None, 3, 6), "3 (4-5) 6");
        assert_eq!(shown(&[(1, 3), (6, 9)], None, 3, 6), "(3-3) 4 5 (6-6)");
        assert_eq!(shown(&[(1, 9)], None, 3, 6), "(3-6)");
        assert_eq!(shown(&[(3, 3), (5, 5)], None, 3, 6), "(3-3) 4 (5-5) 6");
        assert_eq!(shown(&[], Some(1), 3, 4), "(1-2) 3 4");
        assert_eq!(shown(&[(3, 3), (5, 9)], Some(1), 3, 6), "(1-3) 4 (5-6)");
        assert_eq!(shown(&[(2, 9)], Some(2), 3, 6), "(2-6)");
        assert_eq!(shown(&[(2, 9)], Some(2), 3, 2), "(2-2)");
        assert_eq!(shown(&[(2, 9)], None, 3, 2), "");
    }
}

//! What a folder holds, before anything in it is changed.

use std::path::{Path, PathBuf};

use super::super::{LogError, Position, Visit};
use super::files::{self, Segment};
use super::format::Kind;
use super::tail::{Expected, Tail};
use super::walk::{Step, Walk};

/// What is found in a folder from some position on.
#[derive(Debug)]
pub(crate) struct Found {
    pub(super) dir: PathBuf,
    pub(super) segments: Vec<Segment>,
    /// `None` when there are no segments.
    pub(super) end: Option<End>,
}

/// Where a segment's groups end.
#[derive(Debug)]
pub(super) struct End {
    pub(super) expected: Expected,
    pub(super) file_bytes: u64,
    pub(super) epoch: u64,
    /// Where the last group or mark begins, which may be in the page cache only; the end, when there is none.
    pub(super) unsure_from: u64,
    /// Whether a group follows that was being written when the machine stopped.
    pub(super) torn: bool,
}

impl Found {
    /// Walks the segments from the one that holds the group after `applied`; what is older is not read, so
    /// that opening takes the same time however long the log is.
    pub(crate) fn look(dir: &Path, applied: Position) -> Result<Self, LogError> {
        let segments = if dir.exists() { files::list(dir)? } else { Vec::new() };
        let from = applied.next();
        if let Some(oldest) = segments.first()
            && oldest.first > from
        {
            return Err(LogError::Gone { from, first: oldest.first });
        }
        let walked_from = segments.iter().rposition(|segment| segment.first <= from).unwrap_or_default();
        let mut end: Option<End> = None;
        for (index, segment) in segments.iter().enumerate().skip(walked_from) {
            let is_last = index + 1 == segments.len();
            let mut walk = open_next(segment, end.as_ref().map(|end| &end.expected))?;
            end = Some(walk_to_end(&mut walk, is_last, &mut |_, _| {})?);
        }
        Ok(Self { dir: dir.to_owned(), segments, end })
    }

    /// The position after the last group.
    pub(crate) fn next(&self) -> Position {
        self.end.as_ref().map_or(Position(1), |end| end.expected.position)
    }
}

/// What a walk over all segments found.
#[derive(Debug)]
pub(crate) struct Walked {
    /// The first position held.
    pub(crate) first: Position,
    /// The position behind the last group.
    pub(crate) next: Position,
    /// A group that was being written when the machine stopped.
    pub(crate) torn: Option<Position>,
    /// All that is damaged.
    pub(crate) damage: Vec<LogError>,
}

/// Visits every group of a folder's log that is intact, however damaged others are. `progress` gets the
/// number of segments done and of all.
pub(crate) fn walk_all(
    dir: &Path,
    visit: &mut dyn FnMut(Position, &[u8]),
    progress: &mut dyn FnMut(usize, usize),
) -> Walked {
    let mut walked = Walked { first: Position(1), next: Position(1), torn: None, damage: Vec::new() };
    let segments = match files::list(dir) {
        Ok(segments) => segments,
        Err(error) => {
            walked.damage.push(error);
            return walked;
        }
    };
    walked.first = segments.first().map_or(Position(1), |segment| segment.first);
    let mut previous: Option<Expected> = None;
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        // Behind damage, the next segment is checked for itself.
        match walk_past_damage(segment, previous.take().as_ref(), is_last, visit, &mut walked.damage) {
            Ok(Some(End { expected, torn, .. })) => {
                walked.next = expected.position;
                walked.torn = torn.then_some(expected.position);
                previous = Some(expected);
            }
            Ok(None) => {}
            Err(error) => walked.damage.push(error),
        }
        progress(index + 1, segments.len());
    }
    walked
}

/// What of a segment is to be copied.
#[derive(Debug, Clone)]
pub(crate) struct Extent {
    pub(crate) path: PathBuf,
    /// Where its groups end, in bytes; what is behind reads as zeros. `None`: all of it, since it is not
    /// written any more.
    pub(crate) end: Option<u64>,
    /// Its length in bytes.
    pub(crate) bytes: u64,
}

/// The segments of a folder up to a position, or of a log that nobody writes to up to its end; and the last
/// position.
///
/// # Errors
/// When the last segment is damaged. All others are not read.
pub(crate) fn extents(dir: &Path, end: Option<Position>) -> Result<(Vec<Extent>, Position), LogError> {
    let mut segments = if dir.exists() { files::list(dir)? } else { Vec::new() };
    // The one that is written to next is in use even before it has a group; it may be the only one.
    let is_in = |segment: &Segment| end.is_none_or(|end| segment.first <= end.next());
    segments.retain(is_in);
    let Some(last) = segments.pop() else { return Ok((Vec::new(), Position::ZERO)) };
    let mut extents = Vec::with_capacity(segments.len() + 1);
    for Segment { path, .. } in segments {
        let bytes = path.metadata().map_err(LogError::io("read the length of", &path))?.len();
        extents.push(Extent { path, end: None, bytes });
    }
    let mut walk = Walk::open(&last.path, last.first)?;
    if end.is_none() {
        walk_to_end(&mut walk, true, &mut |_, _| {})?;
    } else {
        while end.is_some_and(|end| walk.expected().position <= end) {
            if let Step::Stop = walk.step()? {
                return Err(walk.corrupt("flushed groups are missing"));
            }
        }
    }
    let reached = *walk.expected();
    extents.push(Extent { path: last.path, end: Some(reached.offset), bytes: walk.header().bytes });
    Ok((extents, Position(reached.position.0 - 1)))
}

/// Visits the groups of a folder's log behind one position up to another one, of which all are there, or up
/// to its end.
///
/// # Errors
/// When a group is missing or damaged, or the visitor fails.
pub(crate) fn walk_until(
    dir: &Path,
    after: Position,
    end: Option<Position>,
    visit: &mut Visit<'_>,
) -> Result<(), LogError> {
    let segments = files::list(dir)?;
    let from = segments.iter().rposition(|segment| segment.first <= after.next()).unwrap_or_default();
    let mut previous: Option<Expected> = None;
    for (index, segment) in segments.iter().enumerate().skip(from) {
        let is_last = index + 1 == segments.len();
        if end.is_some_and(|end| segment.first > end) {
            return Ok(());
        }
        let mut walk = open_next(segment, previous.as_ref())?;
        loop {
            if end.is_some_and(|end| walk.expected().position > end) {
                return Ok(());
            }
            match walk.step()? {
                Step::Group(Kind::Records, position) if position > after => visit(position, walk.payload())?,
                Step::Group(..) => {}
                Step::Stop => break,
            }
        }
        match walk.judge_tail()? {
            Tail::Clean => {}
            Tail::Torn if is_last && end.is_none() => {}
            Tail::Torn => return Err(walk.corrupt("a damaged group")),
            Tail::Corrupt(what) => return Err(walk.corrupt(what)),
        }
        previous = Some(*walk.expected());
    }
    Ok(())
}

/// Walks one segment to its end, and goes on behind each damage. `None` when the damage reaches to the end.
fn walk_past_damage(
    segment: &Segment,
    previous: Option<&Expected>,
    is_last: bool,
    visit: &mut dyn FnMut(Position, &[u8]),
    damage: &mut Vec<LogError>,
) -> Result<Option<End>, LogError> {
    let mut walk = open_next(segment, previous)?;
    loop {
        match walk_to_end(&mut walk, is_last, visit) {
            Ok(end) => return Ok(Some(end)),
            Err(error) => damage.push(error),
        }
        if !walk.skip_damage()? {
            return Ok(None);
        }
    }
}

/// Walks on to the end of a segment.
fn walk_to_end(
    walk: &mut Walk,
    is_last: bool,
    visit: &mut dyn FnMut(Position, &[u8]),
) -> Result<End, LogError> {
    let (mut unsure_from, mut end) = (walk.expected().offset, walk.expected().offset);
    while let Step::Group(kind, position) = walk.step()? {
        (unsure_from, end) = (end, walk.expected().offset);
        if kind == Kind::Records {
            visit(position, walk.payload());
        }
    }
    let torn = match walk.judge_tail()? {
        Tail::Clean => false,
        Tail::Torn if is_last => true,
        Tail::Torn => return Err(walk.corrupt("a damaged group before the last segment")),
        Tail::Corrupt(what) => return Err(walk.corrupt(what)),
    };
    let (expected, file_bytes, epoch) = (*walk.expected(), walk.header().bytes, walk.epoch());
    Ok(End { expected, file_bytes, epoch, unsure_from, torn })
}

/// Opens a segment and checks that it goes on where the one before ended.
pub(super) fn open_next(segment: &Segment, previous: Option<&Expected>) -> Result<Walk, LogError> {
    let walk = Walk::open(&segment.path, segment.first)?;
    if let Some(previous) = previous {
        let begin = walk.expected();
        if begin.position != previous.position {
            return Err(walk.corrupt("groups between this segment and the one before are missing"));
        }
        if begin.previous != previous.previous || begin.seed != previous.seed {
            return Err(walk.corrupt("the segment does not follow the one before"));
        }
    }
    Ok(walk)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::FileExt;
    use std::path::Path;

    use super::super::SegmentLog;
    use super::{Found, Walked, walk_all};
    use crate::log::{Log, Position};

    const GROUPS: u64 = 24;

    fn build(dir: &Path, close: bool) {
        let log = SegmentLog::open(dir, 4096, Position::ZERO).unwrap();
        for n in 1..=GROUPS {
            log.append(format!("group {n}").repeat(40).as_bytes()).unwrap();
            log.flush().unwrap();
        }
        if close {
            log.close().unwrap();
        }
    }

    fn groups(dir: &Path) -> (Vec<Vec<u8>>, Walked) {
        let mut groups = Vec::new();
        let walked = walk_all(dir, &mut |_, group| groups.push(group.to_vec()), &mut |_, _| {});
        (groups, walked)
    }

    /// Flips one bit of every byte of every file. Each must be an error or change nothing.
    fn flip_every_byte(close: bool) {
        let dir = tempfile::tempdir().unwrap();
        build(dir.path(), close);
        let (whole, _) = groups(dir.path());
        assert_eq!(whole.len() as u64, GROUPS);
        let paths: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(paths.len() > 2);
        let mut harmless = 0;
        for path in paths {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            for (at, byte) in fs::read(&path).unwrap().into_iter().enumerate() {
                let bit = 1 << (at * 5 % 8);
                file.write_all_at(&[byte ^ bit], at as u64).unwrap();
                if Found::look(dir.path(), Position::ZERO).is_ok() {
                    let (read, walked) = groups(dir.path());
                    assert!(
                        walked.damage.is_empty() && read == whole,
                        "byte {at}, {bit:#x} of {}",
                        path.display()
                    );
                    harmless += 1;
                }
                file.write_all_at(&[byte], at as u64).unwrap();
            }
        }
        assert!(harmless > 0, "a bit in the zeros at the end looks like an interrupted write");
    }

    #[test]
    fn a_flipped_bit_of_a_closed_log_is_detected_or_harmless() {
        flip_every_byte(true);
    }

    #[test]
    fn a_flipped_bit_of_a_log_after_a_crash_is_detected_or_harmless() {
        flip_every_byte(false);
    }
}

//! Which windows are rewritten for their space: what is dead in them, and whether the disk has room for a copy
//! of the rest.
//!
//! What seems to be dead is an estimate, and part of it may stay when its window is rewritten. So who wants
//! everything freed has no window written anew of those that the same calls have written; otherwise it might
//! never come to an end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use ::fjall::AbstractTree as _;
use quoth_protocol::Seq;

use super::FjallView;
use super::tally::Tally;
use super::window::{ClassWindow, Held, Window};
use crate::class::Class;
use crate::view::{Extent, Keep, Keepings, NoRoom, Place, Rewrite, Rewritten, ViewError};

/// While more than the eighth part of what windows have is dead, the deadest of them are rewritten.
const DEAD_PARTS: u64 = 8;

/// An open window is ended for its space when so large a part of what fills one is dead, or when everything
/// is wanted.
const OPEN_PARTS: u64 = 64;

/// A copy may take so large a part more than what it is made of.
const MORE_PARTS: u64 = 8;

/// What is known of a window that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Assessed {
    /// Bytes of the contents of its events, whether they are there or not.
    pub(super) bytes: u64,
    /// Those of events before the marks of their conversations.
    before_marks: u64,
    /// When all of it is absent by age, in milliseconds since 1970; `None`: that is not to be foreseen.
    goes_ms: Option<u64>,
}

/// What is known of a window before its first conversation.
const NOTHING_YET: Assessed = Assessed { bytes: 0, before_marks: 0, goes_ms: Some(0) };

/// A window that is worth a rewrite, with what it has and what of that is dead, in bytes.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    window: ClassWindow,
    there: u64,
    dead: u64,
}

impl Candidate {
    const fn stays(&self) -> u64 {
        self.there - self.dead
    }
}

/// What the disk has free for copies of what stays, as far as the file system tells.
struct Room {
    /// What all windows of a class have, and what that takes of the disk, in bytes.
    of_classes: [(u64, u64); Class::COUNT],
    free_bytes: u64,
    /// What stays free in any case: others are not to meet a full disk for it.
    kept_bytes: u64,
    /// What the copies take of which it is known.
    taken_bytes: u64,
}

impl Room {
    /// What a copy takes, about.
    fn copy_bytes(&self, candidate: &Candidate) -> u64 {
        let (there, disk_bytes) = self.of_classes[candidate.window.class.index()];
        let bytes = u128::from(candidate.stays()) * u128::from(disk_bytes) / u128::from(there.max(1));
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        bytes.saturating_add(bytes / MORE_PARTS)
    }

    /// Whether there is room for one more copy; where nothing stays, none is made.
    fn has(&self, candidate: &Candidate) -> bool {
        let needed_bytes = self.taken_bytes.saturating_add(self.needed_bytes(candidate));
        candidate.stays() == 0 || needed_bytes <= self.free_bytes
    }

    /// What has to be free for this copy alone.
    fn needed_bytes(&self, candidate: &Candidate) -> u64 {
        self.copy_bytes(candidate).saturating_add(self.kept_bytes)
    }

    fn take(&mut self, candidate: &Candidate) {
        self.taken_bytes = self.taken_bytes.saturating_add(self.copy_bytes(candidate));
    }

    /// Adds one that has none to those that have none.
    fn lacks(&self, candidate: &Candidate, others: Option<NoRoom>) -> NoRoom {
        let (needed_bytes, free_bytes) = (self.needed_bytes(candidate), self.free_bytes);
        let others = others.unwrap_or(NoRoom { windows: 0, dead_bytes: 0, needed_bytes, free_bytes });
        NoRoom {
            windows: others.windows + 1,
            dead_bytes: others.dead_bytes.saturating_add(candidate.dead),
            needed_bytes: others.needed_bytes.min(needed_bytes),
            free_bytes,
        }
    }
}

impl FjallView {
    /// What is known of all windows that have spans.
    pub(super) fn assess(
        &self,
        keepings: &mut Keepings<'_>,
    ) -> Result<BTreeMap<ClassWindow, Assessed>, ViewError> {
        let mut windows: BTreeMap<ClassWindow, Assessed> = BTreeMap::new();
        self.each_conversation(&mut |name, _, spans| {
            let Keep { marks, age_ms, .. } = keepings(name)?;
            let floor =
                if marks.is_nothing() { Place::default() } else { self.read_floor(name, marks, Seq::ZERO)? };
            for (span, next) in spans {
                let (Some(window), Held::There { offset, .. }) = (span.window(), span.held) else { continue };
                let bytes = next.offset.saturating_sub(offset);
                let assessed = windows.entry(window).or_insert(NOTHING_YET);
                assessed.bytes += bytes;
                if span.first < floor.seq {
                    assessed.before_marks += floor.offset.saturating_sub(offset).min(bytes);
                }
                let goes_ms = (age_ms > 0).then(|| next.time_ms.saturating_add(age_ms));
                assessed.goes_ms = assessed.goes_ms.zip(goes_ms).map(|(a, b)| a.max(b));
            }
            Ok(())
        })?;
        Ok(windows)
    }

    /// Adds the windows that are rewritten for their space, the deadest first, and has open ones ended that
    /// hold that up.
    pub(super) fn add_dead(
        &self,
        assessed: &BTreeMap<ClassWindow, Assessed>,
        closed: &[Window; Class::COUNT],
        rewrite: &Rewrite<'_>,
        windows: &mut BTreeSet<ClassWindow>,
        rewritten: &mut Rewritten,
    ) {
        let all = self.candidates(assessed, rewrite.now_ms);
        let mut room = self.room(&all);
        all.iter().filter(|candidate| windows.contains(&candidate.window)).for_each(|of| room.take(of));
        let mut no_room = None;
        let everything = rewrite.extent.is_everything();
        for candidate in self.chosen(all, assessed, rewrite) {
            let Candidate { window, dead, .. } = candidate;
            if window.number >= closed[window.class.index()] {
                let is_ended = match rewrite.extent {
                    Extent::Worthwhile => dead >= self.window_bytes / OPEN_PARTS,
                    // Once: what comes meanwhile is for the next time.
                    Extent::Everything { .. } => rewrite.extent.is_first(),
                };
                if is_ended {
                    self.hold_up(window.class, rewritten);
                    rewritten.more |= everything;
                }
                continue;
            }
            if windows.contains(&window) {
                continue;
            }
            if self.has_enough(windows, assessed) {
                rewritten.more = true;
            } else if everything && !room.has(&candidate) {
                no_room = Some(room.lacks(&candidate, no_room));
            } else {
                room.take(&candidate);
                windows.insert(window);
                rewritten.settled += u64::from(everything);
            }
        }
        match no_room {
            // What is freed now may be room for these.
            Some(NoRoom { needed_bytes, free_bytes, .. })
                if rewritten.settled > 0 || needed_bytes <= free_bytes =>
            {
                rewritten.more = true;
            }
            no_room => rewritten.no_room = no_room,
        }
        rewritten.written_from = match rewrite.extent {
            Extent::Worthwhile => None,
            Extent::Everything { written_from } => {
                Some(written_from.unwrap_or_else(|| self.writing.lock().window(Class::REST).number.0))
            }
        };
    }

    /// All windows, with what is dead in them.
    fn candidates(&self, windows: &BTreeMap<ClassWindow, Assessed>, now_ms: u64) -> Vec<Candidate> {
        let (writing, nothing) = (self.writing.lock(), Tally::default());
        let candidates = windows.iter().map(|(window, assessed)| {
            assessed.candidate(*window, writing.tallies.get(*window).unwrap_or(&nothing), now_ms)
        });
        candidates.collect()
    }

    /// Those that are rewritten, the deadest first.
    fn chosen(
        &self,
        mut candidates: Vec<Candidate>,
        assessed: &BTreeMap<ClassWindow, Assessed>,
        rewrite: &Rewrite<'_>,
    ) -> Vec<Candidate> {
        let share = |of: &Candidate| of.dead.saturating_mul(1 << 16) / of.there.max(1);
        candidates.sort_by_key(|candidate| std::cmp::Reverse(share(candidate)));
        match rewrite.extent {
            Extent::Worthwhile => {
                // What goes as a whole soon is left to.
                candidates.retain(|Candidate { window, .. }| {
                    let soon_ms = window.class.window_ms().map(|ms| rewrite.now_ms.saturating_add(ms));
                    let goes_ms = assessed.get(window).and_then(|assessed| assessed.goes_ms);
                    soon_ms.zip(goes_ms).is_none_or(|(soon_ms, goes_ms)| goes_ms > soon_ms)
                });
                worthwhile(candidates)
            }
            Extent::Everything { written_from } => {
                let is_new = |window: ClassWindow| {
                    window.class == Class::REST && written_from.is_some_and(|from| window.number.0 >= from)
                };
                candidates.retain(|candidate| candidate.dead > 0 && !is_new(candidate.window));
                candidates
            }
        }
    }

    fn room(&self, candidates: &[Candidate]) -> Room {
        let mut of_classes = [(0, 0); Class::COUNT];
        for class in Class::all() {
            of_classes[class.index()].1 = self.engine.messages(class).tree.disk_space();
        }
        for Candidate { window, there, .. } in candidates {
            of_classes[window.class.index()].0 += there;
        }
        let (tree, reserve) = (&self.engine.messages(Class::REST).tree, &self.engine.reserve);
        let free_bytes =
            File::open(&tree.tree_config().path).map_or(u64::MAX, |dir| reserve.free_bytes(&dir));
        Room { of_classes, free_bytes, kept_bytes: reserve.held_bytes(), taken_bytes: 0 }
    }
}

impl Assessed {
    fn candidate(&self, window: ClassWindow, tally: &Tally, now_ms: u64) -> Candidate {
        let there = self.bytes.saturating_sub(tally.gone_bytes);
        // What is gone already may lie anywhere.
        let before_marks = u128::from(self.before_marks) * u128::from(there) / u128::from(self.bytes.max(1));
        let before_marks = u64::try_from(before_marks).unwrap_or(there);
        let dead =
            before_marks.saturating_add(tally.expired_bytes(now_ms)).saturating_add(tally.erased_bytes);
        Candidate { window, there, dead: dead.min(there) }
    }
}

/// The deadest windows, until no more than a part of all is dead.
fn worthwhile(candidates: Vec<Candidate>) -> Vec<Candidate> {
    let (mut there, mut dead) =
        candidates.iter().fold((0, 0), |(there, dead), of| (there + of.there, dead + of.dead));
    let mut chosen = Vec::new();
    for candidate in candidates {
        if dead <= there / DEAD_PARTS || candidate.dead == 0 {
            break;
        }
        chosen.push(candidate);
        there -= candidate.dead;
        dead -= candidate.dead;
    }
    chosen
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Extent, FjallView, Keep, Rewrite, Rewritten, Seq};
    use crate::log::Position;
    use crate::record::Record;
    use crate::reserve::Reserve;
    use crate::testing::{notice, record};
    use crate::view::{Marks, View as _};

    const RESERVE_BYTES: u64 = 1 << 20;

    /// What the disk says of itself.
    static FREE_BYTES: AtomicU64 = AtomicU64::new(u64::MAX);

    fn told(_: &File) -> io::Result<u64> {
        Ok(FREE_BYTES.load(Ordering::SeqCst))
    }

    fn everything(view: &FjallView) -> Rewritten {
        let extent = Extent::EVERYTHING;
        let mut rewrite = Rewrite { now_ms: 0, erased_by_ms: 0, extent, pace: &mut |_| true };
        let marks = Marks { seq: Seq(2), ..Marks::default() };
        view.rewrite(&mut |_| Ok(Keep { marks, ..Keep::default() }), &mut rewrite).unwrap()
    }

    #[test]
    fn what_the_disk_has_no_room_to_copy_is_left_and_told() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Reserve::told(dir.path(), RESERVE_BYTES, told);
        let view = FjallView::open_with(dir.path(), 1 << 20, reserve).unwrap();
        let mut offset = 0;
        for seq in 1..=20 {
            let event = Record { offset, ..record("a", seq, seq) };
            offset = event.end();
            view.apply(Position(seq), &[event]).unwrap();
        }
        view.apply(Position(21), &[Record { ends_window: true, ..notice("end", []) }]).unwrap();
        view.flush().unwrap();
        // As much as is held back: a copy would take of what others need.
        FREE_BYTES.store(RESERVE_BYTES, Ordering::SeqCst);
        let left = everything(&view);
        let no_room = left.no_room.expect("it has no room");
        assert_eq!((left.moved_bytes, no_room.windows, no_room.free_bytes), (0, 1, RESERVE_BYTES));
        assert!(no_room.needed_bytes > RESERVE_BYTES && no_room.dead_bytes > 0, "{no_room:?}");
        let told = no_room.to_string();
        assert!(told.contains("the smallest one needs 2 MiB") && told.contains("has 1 MiB"), "{told}");
        FREE_BYTES.store(no_room.needed_bytes, Ordering::SeqCst);
        let done = everything(&view);
        assert_eq!((done.windows, done.no_room), (1, None), "{done:?}");
    }
}

//! Brings what is in memory into tables, and packs the rows of messages on the way (`pack.rs`).
//!
//! # Why nobody sees half of it
//!
//! A snapshot that was taken before a table is there reads the memory that the table is made of, for as long
//! as it lives (lsm-tree 3.1.10, `SuperVersions::get_version_for_snapshot`). One that is taken later reads
//! the table, of which it sees every row, since all are older than it is. So rows may come together, and none
//! but the newest of each key is needed in there.
//!
//! # When nothing is packed
//!
//! What is behind the checkpoint is applied again after a crash, and a table may have been written by then,
//! in which it is packed. With another table in its place it could be packed in another way, and what is left
//! of the first time would tell of messages once more. So of groups that are applied again each row is
//! written by itself. Then it takes the place of what is there, key by key. That hides a packed row as well,
//! whose key is that of its last part and comes again like all others.
//!
//! And a row must not be replaced while it is being packed, or both would be there. That is what erasing
//! does, which therefore waits, where it is about one of these rows ([`Packing`]).
//!
//! Rows of the rest are packed when they are copied.

use std::sync::Arc;

use ::fjall::{AbstractTree as _, AnyTree, Keyspace, LsmError, SeqNo};
use lsm_tree::Memtable;
use lsm_tree::merge::Merger;
use parking_lot::{Condvar, Mutex};

use super::engine::Engine;
use super::pack::{Newest, Packed};
use super::unfinished::Attempt;
use crate::class::Class;
use crate::view::ViewError;

/// What was set apart for tables.
#[derive(Default)]
pub(super) struct SetApart {
    state: Mutex<State>,
    /// Nothing is being packed any more.
    is_over: Condvar,
}

#[derive(Default)]
struct State {
    /// The memory of each class's messages that is in no table yet, the oldest first.
    messages: [Vec<Arc<Memtable>>; Class::COUNT],
    is_packing: bool,
}

/// What is in memory is set apart: for [`Engine::flush`].
pub(super) struct Cut<'a> {
    engine: &'a Engine,
    packs: bool,
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        self.engine.set_apart.state.lock().is_packing = false;
        self.engine.set_apart.is_over.notify_all();
    }
}

/// Rows of messages are being packed.
pub(super) struct Packing<'a> {
    engine: &'a Engine,
    memtables: Vec<Arc<Memtable>>,
}

impl Packing<'_> {
    /// Whether a row is among them.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.memtables.iter().any(|memtable| memtable.get(key, SeqNo::MAX).is_some())
    }

    /// Waits until they are not any more: the flush has come to its end, or has failed.
    pub(super) fn wait(self) {
        let mut state = self.engine.set_apart.state.lock();
        self.engine.set_apart.is_over.wait_while(&mut state, |state| state.is_packing);
    }
}

impl Engine {
    /// Sets apart what is in memory for [`Engine::flush`]. `packs` says whether all of it is new: no table has
    /// rows of the same groups. The caller lets nobody erase meanwhile.
    pub(super) fn cut(&self, packs: bool) -> Cut<'_> {
        let mut state = self.set_apart.state.lock();
        for class in Class::all() {
            let memtable = self.messages(class).tree.rotate_memtable();
            state.messages[class.index()].extend(memtable);
        }
        for keyspace in self.others() {
            keyspace.tree.rotate_memtable();
        }
        state.is_packing = packs;
        Cut { engine: self, packs }
    }

    /// The same for what was set apart and could not be written. Rows of it may have been replaced since, so
    /// none is packed.
    pub(super) fn cut_again(&self) -> Cut<'_> {
        Cut { engine: self, packs: false }
    }

    /// What is being packed, if anything is.
    pub(super) fn packing(&self) -> Option<Packing<'_>> {
        let state = self.set_apart.state.lock();
        let memtables = || state.messages.iter().flatten().cloned().collect();
        state.is_packing.then(|| Packing { engine: self, memtables: memtables() })
    }

    /// Writes what was set apart into tables, on stable storage.
    pub(super) fn flush(&self, cut: Cut<'_>) -> Result<(), ViewError> {
        for class in Class::all() {
            let memtables = self.set_apart.state.lock().messages[class.index()].clone();
            let packs = cut.packs && class != Class::REST;
            self.write_tables(self.messages(class), packs.then_some(&memtables))?;
            self.set_apart.state.lock().messages[class.index()].clear();
        }
        drop(cut);
        self.others().try_for_each(|keyspace| self.write_tables(keyspace, None))
    }

    /// Writes what was set apart of a tree, packed if it is named.
    fn write_tables(&self, keyspace: &Keyspace, packs: Option<&Vec<Arc<Memtable>>>) -> Result<(), ViewError> {
        let tree = &keyspace.tree;
        let (attempt, flushed) = {
            let lock = tree.get_flush_lock();
            let attempt = Attempt::beside_merges(keyspace);
            // Whatever else was set apart would not be written.
            let packs = packs.filter(|memtables| memtables.len() == tree.sealed_memtable_count());
            let flushed = match packs {
                Some(memtables) => write_packed(tree, memtables, self.unneeded()),
                None => tree.flush(&lock, self.unneeded()).map(drop),
            };
            (attempt, flushed)
        };
        let flushed = self.tree("write a table of", flushed);
        if flushed.as_ref().is_err_and(ViewError::is_full) {
            let _nobody_merges = self.nobody_merges(keyspace);
            self.delete_unfinished(keyspace, attempt)?;
            // What waits for room is told of that alone: this is tried again.
            if let Err(error) = self.free_versions(keyspace).and_then(|()| self.delete_left(keyspace)) {
                tracing::error!(%error, "files that nobody needs stay on a full disk");
            }
        }
        flushed
    }
}

/// As the engine's own flush does it, with packed rows.
fn write_packed(tree: &AnyTree, memtables: &[Arc<Memtable>], unneeded: SeqNo) -> Result<(), LsmError> {
    if memtables.is_empty() {
        return Ok(());
    }
    let rows = Merger::new(memtables.iter().map(|memtable| memtable.iter().map(Ok)).collect());
    if let Some((tables, blob_files)) = tree.flush_to_tables(Packed::of(Newest::of(rows)))? {
        let ids: Vec<_> = memtables.iter().map(|memtable| memtable.id).collect();
        tree.register_tables(&tables, blob_files.as_deref(), None, &ids, unneeded)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use ::fjall::{AbstractTree as _, Readable as _};
    use quoth_protocol::{ConversationName, Seq};

    use super::super::row;
    use super::super::window::Window;
    use super::super::{FjallView, Snapshot};
    use crate::class::Class;
    use crate::key::ConversationKey;
    use crate::log::Position;
    use crate::record::Record;
    use crate::store::{Options, Store};
    use crate::testing::{Random, apply_one_by_one, commit, record};
    use crate::verify::Report;
    use crate::view::{PageLimit, View as _};

    const ALL: PageLimit = PageLimit { records: 10_000, bytes: usize::MAX };

    fn records(seqs: std::ops::RangeInclusive<u64>) -> Vec<Record> {
        seqs.map(|seq| record("a", seq, seq)).collect()
    }

    fn rows(view: &FjallView, snapshot: &Snapshot<'_>) -> usize {
        snapshot.iter(view.engine.messages(Class::default())).count()
    }

    fn seqs(view: &FjallView) -> Vec<u64> {
        let name = ConversationName::new("a").unwrap();
        let (after, before) = (view.after(&name, Seq::ZERO, ALL).unwrap(), view.before(&name, None, ALL));
        assert_eq!(before.unwrap().records, after.records);
        after.iter().map(|record| record.seq.0).collect()
    }

    fn check(view: &FjallView) {
        let mut report = Report::default();
        view.check_rows(true, &mut report, &mut |_| {});
        assert_eq!(report.findings.iter().map(ToString::to_string).collect::<Vec<_>>(), [""; 0]);
    }

    fn new(dir: &Path) -> FjallView {
        FjallView::open(dir, 1 << 20).unwrap().with_new_from(Position(1))
    }

    #[test]
    fn what_was_read_before_a_flush_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let view = new(dir.path());
        let all = records(1..=200);
        apply_one_by_one(&view, &all);
        let before = view.snapshot();
        assert_eq!(rows(&view, &before), 200);
        view.flush().unwrap();
        let behind = view.snapshot();
        let packed = rows(&view, &behind);
        assert!(packed < 20, "{packed} rows");
        assert_eq!(rows(&view, &before), 200, "for as long as it lasts");
        drop((before, behind));
        assert_eq!(view.after(&all[0].conversation, Seq::ZERO, ALL).unwrap(), all);
        check(&view);
        drop(view);
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(rows(&view, &view.snapshot()), packed);
        check(&view);
    }

    #[test]
    fn a_store_packs_what_is_new_and_not_what_it_applies_again() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(Options::new(dir.path())).unwrap();
        let rows = || {
            let view = FjallView::open(&dir.path().join("view"), 1 << 20).unwrap();
            check(&view);
            (seqs(&view).len(), rows(&view, &view.snapshot()))
        };
        let (before, behind) = (records(1..=60), records(61..=120));
        let store = open();
        for record in &before {
            let group = std::slice::from_ref(record);
            store.view.apply(commit(&*store.log, group).unwrap(), group).unwrap();
        }
        store.close().unwrap();
        let (messages, packed) = rows();
        assert!(messages == 60 && packed < 10, "{packed} rows of {messages}");
        let store = open();
        for record in &behind {
            commit(&*store.log, std::slice::from_ref(record)).unwrap();
        }
        // As a crash leaves it: the view has nothing of these.
        drop(store);
        open().close().unwrap();
        assert_eq!(rows(), (120, packed + 60));
    }

    /// A table is there, and the checkpoint is not.
    #[test]
    fn what_is_applied_again_hides_what_was_packed_before() {
        for (crash, behind) in [(40, 50), (50, 40), (50, 64), (50, 200), (63, 64), (64, 70), (127, 130)] {
            let dir = tempfile::tempdir().unwrap();
            let (view, all) = (new(dir.path()), records(1..=200));
            apply_one_by_one(&view, &all[..crash]);
            view.engine.flush(view.engine.cut(true)).unwrap();
            assert!(rows(&view, &view.snapshot()) < crash / 8);
            drop(view);
            let view =
                FjallView::open(dir.path(), 1 << 20).unwrap().with_new_from(Position(crash as u64 + 1));
            assert_eq!(view.applied(), Position(0));
            for (position, record) in (1..).map(Position).zip(&all) {
                view.apply(position, std::slice::from_ref(record)).unwrap();
                if position.0 == behind {
                    view.flush().unwrap();
                }
            }
            let what = format!("{crash} were there, the first {behind} are flushed");
            assert_eq!(seqs(&view), (1..=200).collect::<Vec<_>>(), "{what}");
            view.flush().unwrap();
            assert_eq!(seqs(&view), (1..=200).collect::<Vec<_>>(), "{what}, and then the others");
            check(&view);
        }
    }

    #[test]
    fn who_erases_waits_for_a_row_that_is_being_packed() {
        for (erased, waits) in [(5, false), (15, true)] {
            let dir = tempfile::tempdir().unwrap();
            let (view, all) = (new(dir.path()), records(1..=21));
            for (position, record) in (1..=20).map(Position).zip(&all) {
                view.apply(position, std::slice::from_ref(record)).unwrap();
                if position == Position(10) {
                    view.flush().unwrap();
                }
            }
            let cut = view.engine.cut(true);
            let (set_apart, group) =
                (&view.engine.set_apart, Record { erases: vec![Seq(erased)], ..all[20].clone() });
            std::thread::scope(|scope| {
                let erases = scope.spawn(|| view.apply(Position(21), &[group]).unwrap());
                // Whoever is woken looks whether it is over, and it is not.
                while !erases.is_finished() && set_apart.is_over.notify_all() == 0 {
                    std::thread::yield_now();
                }
                assert_eq!(!erases.is_finished(), waits, "{erased}");
                view.engine.flush(cut).unwrap();
            });
            let kept: Vec<_> = (1..=21).filter(|seq| *seq != erased).collect();
            assert_eq!(seqs(&view), kept);
            view.flush().unwrap();
            assert_eq!(seqs(&view), kept);
            check(&view);
        }
    }

    #[test]
    fn a_flush_that_fails_lets_go_who_waits_and_is_done_again() {
        let dir = tempfile::tempdir().unwrap();
        let (view, all) = (new(dir.path()), records(1..=30));
        apply_one_by_one(&view, &all[..20]);
        let tables = view.engine.messages(Class::default()).path().join("tables");
        let away = tables.with_extension("away");
        std::fs::rename(&tables, &away).unwrap();
        view.flush().unwrap_err();
        assert!(view.engine.packing().is_none());
        std::fs::rename(&away, &tables).unwrap();
        for (position, record) in (21..).map(Position).zip(&all[20..]) {
            let erases = if position == Position(25) { vec![Seq(7), Seq(22)] } else { Vec::new() };
            view.apply(position, &[Record { erases, ..record.clone() }]).unwrap();
        }
        view.flush().unwrap();
        let kept: Vec<_> = (1..=30).filter(|seq| ![7, 22].contains(seq)).collect();
        assert_eq!(seqs(&view), kept);
        check(&view);
        drop(view);
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        let rows = rows(&view, &view.snapshot());
        assert_eq!((seqs(&view), rows), (kept, 20 + 3), "1 to 20, which were set apart, 21, 22, 23-30");
    }

    /// Each read looks into all that was set apart.
    #[test]
    fn what_cannot_be_written_is_set_apart_once_however_often_that_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let (view, all) = (new(dir.path()), records(1..=30));
        let tables = view.engine.messages(Class::default()).path().join("tables");
        let away = tables.with_extension("away");
        std::fs::rename(&tables, &away).unwrap();
        let apply = |view: &FjallView, position: u64, erases: &[u64]| {
            let erases = erases.iter().copied().map(Seq).collect();
            let record = all[usize::try_from(position).unwrap() - 1].clone();
            view.apply(Position(position), &[Record { erases, ..record }]).unwrap();
        };
        (1..=10).for_each(|position| apply(&view, position, &[]));
        view.flush().unwrap_err();
        for position in 11..=20 {
            apply(&view, position, if position == 15 { &[7, 12] } else { &[] });
            view.flush().unwrap_err();
        }
        let set_apart: Vec<_> =
            view.engine.keyspaces().map(|keyspace| keyspace.tree.sealed_memtable_count()).collect();
        assert!(set_apart.iter().all(|memtables| *memtables <= 1), "{set_apart:?}");
        assert_eq!(view.flushed.lock().unwritten.map(|next| next.position), Some(Position(10)));
        let kept = |last| (1..=last).filter(|seq| ![7, 12].contains(seq)).collect::<Vec<_>>();
        assert_eq!(seqs(&view), kept(20));
        std::fs::rename(&away, &tables).unwrap();
        assert_eq!(view.flush().unwrap(), Position(20), "all of it");
        assert!(view.flushed.lock().unwritten.is_none());
        (21..=30).for_each(|position| apply(&view, position, &[]));
        assert_eq!(seqs(&view), kept(30));
        check(&view);
        drop(view);
        let view = FjallView::open(dir.path(), 1 << 20).unwrap();
        assert_eq!((view.applied(), seqs(&view)), (Position(20), kept(20)));
    }

    #[test]
    fn what_is_erased_while_rows_are_packed_is_gone_and_nothing_else() {
        const GROUPS: u64 = 2_000;
        let dir = tempfile::tempdir().unwrap();
        let (view, mut random) = (new(dir.path()), Random(7));
        let mut kept: BTreeSet<u64> = BTreeSet::new();
        std::thread::scope(|scope| {
            let flusher = scope.spawn(|| {
                while view.applied() < Position(GROUPS) {
                    view.flush().unwrap();
                }
            });
            for seq in 1..=GROUPS {
                let back = |random: &mut Random| seq.saturating_sub(1 + random.below(60)).max(1);
                let mut group = record("a", seq, seq);
                if random.one_in(3) && seq > 1 {
                    group.erases = (0..random.below(3)).map(|_| Seq(back(&mut random))).collect();
                }
                kept.insert(seq);
                kept.retain(|seq| !group.erases.contains(&Seq(*seq)));
                view.apply(Position(seq), &[group]).unwrap();
            }
            flusher.join().unwrap();
        });
        assert_eq!(seqs(&view), kept.into_iter().collect::<Vec<_>>());
        check(&view);
    }

    /// What a look for it finds is the row behind the hole.
    #[test]
    fn a_row_of_which_nothing_is_erased_is_not_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let (view, all) = (new(dir.path()), records(1..=8));
        apply_one_by_one(&view, &all[..6]);
        let key = row::run_key(Window(0), ConversationKey::new(&all[0].conversation), Seq(4));
        view.engine.messages(Class::default()).remove(key).unwrap();
        view.flush().unwrap();
        for (position, record) in (7..).map(Position).zip(&all[6..]) {
            let erases = if position == Position(7) { vec![Seq(4)] } else { Vec::new() };
            view.apply(position, &[Record { erases, ..record.clone() }]).unwrap();
        }
        view.flush().unwrap();
        let read = view.after(&all[0].conversation, Seq(4), ALL).unwrap();
        assert_eq!(read, all[4..]);
    }
}

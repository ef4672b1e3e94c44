use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use ::fjall::AbstractTree as _;
use quoth_protocol::{ConversationName, Seq};

use super::super::FjallView;
use super::super::engine::UNMERGED_MIN;
use super::OVERTAKEN_AT;
use crate::durable::syncs;
use crate::log::Position;
use crate::record::{Record, Register};
use crate::reserve::Reserve;
use crate::testing::{notice, record, removed, set, unpaced};
use crate::view::{Extent, Keep, Pacer, Purged, Rewrite, SweepCursor, View as _};

/// Registers of which all together are some steps of a merge.
const REGISTERS: u64 = 8;
const VALUE_BYTES: usize = 60_000;

fn open(dir: &Path) -> FjallView {
    FjallView::open(dir, 1 << 20).unwrap()
}

fn name() -> ConversationName {
    ConversationName::new("a").unwrap()
}

fn write(view: &FjallView, registers: Vec<Register>) {
    view.apply(view.applied().next(), &[notice("a", registers)]).unwrap();
    view.flush().unwrap();
}

/// A view with registers of which one was removed.
fn view(dir: &Path) -> FjallView {
    let view = open(dir);
    fill(&view);
    view
}

fn fill(view: &FjallView) {
    let value = "v".repeat(VALUE_BYTES);
    (0..REGISTERS).for_each(|n| write(view, vec![set(&format!("key {n}"), &value)]));
    write(view, vec![set("secret", SECRET)]);
    write(view, vec![removed("secret")]);
}

const SECRET: &str = "Zq7#kV!p2^Lm9@wB";

fn is_on_disk(view: &FjallView) -> bool {
    let files = std::fs::read_dir(tables(view)).unwrap().map(|file| std::fs::read(file.unwrap().path()));
    files.map(Result::unwrap).any(|file| file.windows(SECRET.len()).any(|part| part == SECRET.as_bytes()))
}

fn tables(view: &FjallView) -> std::path::PathBuf {
    view.engine.registers.tree.tree_config().path.join("tables")
}

fn numbers(view: &FjallView) -> Vec<u64> {
    view.engine.registers.tree.current_version().iter_tables().map(|table| table.id()).collect()
}

#[test]
fn what_was_removed_leaves_the_disk_and_what_ends_it_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    let (before, files) = (numbers(&view), std::fs::read_dir(tables(&view)).unwrap().count());
    let never: Pacer = Arc::new(|_, _| false);
    assert!(!view.purge(true, &never).unwrap().is_done(), "it was ended");
    assert_eq!(numbers(&view), before);
    assert_eq!(std::fs::read_dir(tables(&view)).unwrap().count(), files, "nothing of it stays");
    assert!(is_on_disk(&view));
    assert!(view.purge(true, &unpaced()).unwrap().is_done());
    assert!(!is_on_disk(&view));
    let after = numbers(&view);
    assert!(view.purge(true, &unpaced()).unwrap().is_done());
    assert_eq!(numbers(&view), after, "there is nothing to do");
    let value = view.register(&name(), b"key 3").unwrap().unwrap();
    assert_eq!(value.len(), VALUE_BYTES);
}

#[test]
fn little_that_was_removed_is_not_worth_a_merge() {
    let dir = tempfile::tempdir().unwrap();
    let view = open(dir.path());
    let many = (0..50).map(|n| set(&format!("key {n}"), "value")).collect();
    write(&view, many);
    write(&view, vec![removed("key 1")]);
    let before = numbers(&view);
    assert!(view.purge(false, &unpaced()).unwrap().is_done());
    assert_eq!(numbers(&view), before, "one in fifty");
    write(&view, (2..12).map(|n| removed(&format!("key {n}"))).collect());
    let before = numbers(&view);
    assert!(view.purge(false, &unpaced()).unwrap().is_done());
    assert_ne!(numbers(&view), before, "eleven are");
}

/// Erases the first event of a conversation, so that all that is left of it is in registers.
fn erase_in(view: &FjallView, name: &str) {
    let event = |seq| Record { ends_window: true, ..record(name, seq, seq) };
    let at = view.applied();
    view.apply(at.next(), &[event(1)]).unwrap();
    view.apply(at.next().next(), &[Record { erases: vec![Seq(1)], ..event(2) }]).unwrap();
    view.flush().unwrap();
    let rewrite = || {
        let mut rewrite =
            Rewrite { now_ms: 1, erased_by_ms: u64::MAX, extent: Extent::Worthwhile, pace: &mut |_| true };
        view.rewrite(&mut |_| Ok(Keep::default()), &mut rewrite).unwrap().windows
    };
    let erased = view.erased().events;
    assert!(rewrite() > 0);
    assert_eq!((rewrite(), view.erased().events), (0, erased), "it is done, and tells of it still");
}

fn erase(view: &FjallView) {
    erase_in(view, "a");
    assert_eq!(view.erased().events, 1);
}

/// What was erased is told to be there until registers have nothing of it either.
#[test]
fn what_was_erased_counts_until_registers_are_purged() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    let before = numbers(&view);
    erase(&view);
    assert_eq!(numbers(&view), before, "rewriting merges no registers");
    // However little it is.
    assert!(view.purge(false, &unpaced()).unwrap().is_done());
    assert_eq!(view.erased().events, 0);
    assert!(!is_on_disk(&view));
    drop(view);
    assert_eq!(open(dir.path()).erased().events, 0);
}

/// Goes on until it has gone on for once, and then when it is let.
struct Held {
    pace: Pacer,
    held: mpsc::Receiver<()>,
    goes_on: mpsc::Sender<()>,
}

fn held() -> Held {
    let ((is_held, held), (goes_on, wait)) = (mpsc::channel(), mpsc::channel::<()>());
    let wait = parking_lot::Mutex::new(wait);
    let pace: Pacer = Arc::new(move |_, _| {
        let _nobody_asks_any_more = is_held.send(());
        // From the drop of the other end on it is not held.
        let _let = wait.lock().recv();
        true
    });
    Held { pace, held, goes_on }
}

const HANG: Duration = Duration::from_secs(60);

#[test]
fn nobody_waits_until_all_registers_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(&dir.path().join("live"));
    let Held { pace, held, goes_on } = held();
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| view.purge(true, &pace).unwrap().is_done());
        held.recv_timeout(HANG).unwrap();
        let others = scope.spawn(|| {
            // A backup.
            let pin = dir.path().join("pin");
            view.pin(&pin).unwrap();
            let pinned = FjallView::open_copy(&pin, 1 << 20).unwrap().unwrap();
            assert_eq!(pinned.register(&name(), b"key 3").unwrap().unwrap().len(), VALUE_BYTES);
            // Whoever stores: more tables than one otherwise waits for.
            (0..30).for_each(|n| write(&view, vec![set("key", &format!("value {n}"))]));
            // Who frees what others have, and who sweeps.
            assert!(!view.engine.free_files().unwrap(), "what is merged has tables of no version");
            assert!(view.sweep(true, &mut SweepCursor::default(), &mut |_| true).unwrap().is_done);
        });
        let until = Instant::now() + HANG;
        while !others.is_finished() {
            assert!(Instant::now() < until, "somebody waits");
            std::thread::sleep(Duration::from_millis(1));
        }
        others.join().unwrap();
        assert!(!purging.is_finished());
        drop(goes_on);
        assert!(purging.join().unwrap());
    });
    assert_eq!(view.register(&name(), b"key").unwrap().as_deref(), Some(&b"value 29"[..]));
    assert!(!is_on_disk(&view));
}

/// A flush that found no room deletes what it has begun, and so nobody may merge meanwhile.
#[test]
fn who_must_find_nobody_merging_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    let Held { pace, held, goes_on } = held();
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| view.purge(true, &pace).unwrap().is_done());
        held.recv_timeout(HANG).unwrap();
        let ends = scope.spawn(|| {
            let (_nobody_merges, them) = view.engine.nobody_merges(&view.engine.registers);
            assert!(them.is_some());
        });
        // It waits by then.
        while view.engine.purging.shared.waiting.load(Ordering::SeqCst) == 0 {
            std::thread::yield_now();
        }
        drop(goes_on);
        assert!(!purging.join().unwrap(), "it was ended");
        ends.join().unwrap();
    });
    assert!(view.purge(true, &unpaced()).unwrap().is_done() && !is_on_disk(&view));
}

/// The manifest that a pin has, and the tables that it links, are of one version.
#[test]
fn a_pin_is_whole_whenever_a_merge_comes_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(&dir.path().join("live"));
    std::thread::scope(|scope| {
        // It merges until the other end is dropped.
        let (goes_on, ended) = mpsc::channel::<()>();
        scope.spawn(|| {
            let ended = ended;
            while ended.try_recv() == Err(mpsc::TryRecvError::Empty) {
                view.engine.merge_registers(&unpaced()).unwrap();
                view.engine.free_files().unwrap();
            }
        });
        let _merging = goes_on;
        for n in 0..30 {
            let pin = dir.path().join(format!("pin-{n}"));
            view.pin(&pin).unwrap();
            let pinned = FjallView::open_copy(&pin, 1 << 20).unwrap().unwrap();
            let value = pinned.register(&name(), b"key 3").unwrap();
            assert_eq!(value.map(|value| value.len()), Some(VALUE_BYTES));
            assert_eq!(pinned.applied(), Position(REGISTERS + 2));
        }
    });
}

const RESERVE_BYTES: u64 = 4_096;

/// What the disk says of itself.
static FREE_BYTES: AtomicU64 = AtomicU64::new(0);

fn told(_: &File) -> io::Result<u64> {
    Ok(FREE_BYTES.load(Ordering::SeqCst))
}

fn with_reserve(dir: &Path, free_bytes: fn(&File) -> io::Result<u64>) -> (FjallView, Arc<Reserve>) {
    let reserve = Reserve::told(dir, RESERVE_BYTES, free_bytes);
    let view = FjallView::open_with(&dir.join("view"), 1 << 20, Arc::clone(&reserve)).unwrap();
    fill(&view);
    (view, reserve)
}

/// Counts the bytes that are merged.
fn counted() -> (Pacer, Arc<AtomicU64>) {
    let merged = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&merged);
    let pace: Pacer = Arc::new(move |bytes, _| {
        counted.fetch_add(bytes, Ordering::SeqCst);
        true
    });
    (pace, merged)
}

#[test]
fn without_room_for_all_registers_beside_themselves_nothing_is_begun() {
    let dir = tempfile::tempdir().unwrap();
    FREE_BYTES.store(u64::MAX, Ordering::SeqCst);
    let (view, reserve) = with_reserve(dir.path(), told);
    let bytes = view.engine.registers.tree.disk_space();
    let before = numbers(&view);
    // Both take what there is, and the rest is what comes meanwhile.
    FREE_BYTES.store(bytes + RESERVE_BYTES, Ordering::SeqCst);
    let (pace, merged) = counted();
    let error = view.purge(true, &pace).unwrap_err();
    assert!(error.is_full(), "{error}");
    assert_eq!((merged.load(Ordering::SeqCst), numbers(&view)), (0, before));
    assert!(reserve.is_held() && is_on_disk(&view));
    FREE_BYTES.store(bytes + bytes / 4 + RESERVE_BYTES, Ordering::SeqCst);
    assert!(view.purge(true, &pace).unwrap().is_done() && !is_on_disk(&view));
}

/// Whatever is written from then on is for what frees space.
#[test]
fn whoever_needs_the_reserve_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let (view, reserve) = with_reserve(dir.path(), |_| Ok(u64::MAX));
    let before = numbers(&view);
    let released = Arc::clone(&reserve);
    let pace: Pacer = Arc::new(move |_, _| {
        // It is not taken again.
        released.release(&"no room");
        released.close();
        true
    });
    assert!(!view.purge(true, &pace).unwrap().is_done());
    assert_eq!(numbers(&view), before);
    assert!(view.purge(true, &unpaced()).unwrap_err().is_full(), "nor is it begun");
}

/// Those are removed by records and not by a sweep.
#[test]
fn everything_that_was_removed_goes_however_little_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    assert!(view.purge(true, &unpaced()).unwrap().is_done());
    write(&view, vec![set("secret", SECRET)]);
    view.apply(view.applied().next(), &[notice("a", [removed("secret")])]).unwrap();
    assert!(view.purge(false, &unpaced()).unwrap().is_done() && is_on_disk(&view), "it is little");
    assert!(view.purge(true, &unpaced()).unwrap().is_done() && !is_on_disk(&view));
}

#[test]
fn what_a_read_holds_up_is_not_written_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    erase(&view);
    let Held { pace, held, goes_on } = held();
    std::thread::scope(|scope| {
        // It does not wait until the read ends.
        let pace: Pacer = Arc::new(move |bytes, may_wait| bytes > 0 && pace(bytes, may_wait));
        let view = &view;
        let purging = scope.spawn(move || view.purge(false, &pace).unwrap().is_done());
        held.recv_timeout(HANG).unwrap();
        let read = view.engine.snapshot();
        drop(goes_on);
        assert!(!purging.join().unwrap());
        assert!(view.erased().events > 0 && is_on_disk(view), "the read has it");
        drop(read);
    });
    let (paced, merged) = counted();
    assert!(view.purge(false, &paced).unwrap().is_done());
    assert_eq!((merged.load(Ordering::SeqCst), view.erased().events, is_on_disk(&view)), (0, 0, false));
}

/// Whoever wants everything is told when all of it is written, and then only waits for what holds it up.
#[test]
fn everything_that_a_pin_holds_up_is_not_written_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    erase(&view);
    let pinned = view.pinned();
    assert_eq!(view.purge(true, &unpaced()).unwrap(), Purged::Written);
    let (paced, merged) = counted();
    assert_eq!(view.purge(false, &paced).unwrap(), Purged::Unfinished);
    drop(pinned);
    syncs::take();
    assert_eq!(view.purge(false, &paced).unwrap(), Purged::Done);
    // The pin may have been the last to have files there.
    assert!(syncs::take().contains(&tables(&view)));
    assert_eq!((merged.load(Ordering::SeqCst), view.erased().events), (0, 0));
}

/// A backup may last for hours, and another one begins before it ends.
#[test]
fn what_goes_while_a_pin_is_open_leaves_the_folder_meanwhile_and_waits_for_no_later_pin() {
    let dir = tempfile::tempdir().unwrap();
    let view = open(dir.path());
    erase_in(&view, "a");
    let first = view.pinned();
    assert_eq!(view.purge(false, &unpaced()).unwrap(), Purged::Written);
    fill(&view);
    erase_in(&view, "b");
    assert!(is_on_disk(&view));
    let second = view.pinned();
    assert_eq!(view.purge(false, &unpaced()).unwrap(), Purged::Written);
    assert!(!is_on_disk(&view));
    let (paced, merged) = counted();
    let purge = || (view.purge(false, &paced).unwrap(), view.erased().events);
    assert_eq!(purge(), (Purged::Unfinished, 2));
    drop(second);
    assert_eq!(purge(), (Purged::Unfinished, 2));
    let second = view.pinned();
    drop(first);
    assert_eq!(purge(), (Purged::Done, 0), "it has nothing of that");
    assert_eq!(merged.load(Ordering::SeqCst), 0, "all of it was written");
    drop(second);
}

#[test]
fn each_waits_for_the_pins_that_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    erase_in(&view, "a");
    let first = view.pinned();
    assert_eq!(view.purge(false, &unpaced()).unwrap(), Purged::Written);
    erase_in(&view, "b");
    let second = view.pinned();
    assert_eq!(view.purge(false, &unpaced()).unwrap(), Purged::Written);
    drop(first);
    assert_eq!((view.purge(false, &unpaced()).unwrap(), view.erased().events), (Purged::Unfinished, 1));
    // Whoever wants everything has it written, whatever waits.
    write(&view, vec![removed("key 1")]);
    let (paced, merged) = counted();
    assert_eq!(view.purge(true, &paced).unwrap(), Purged::Written);
    assert!(merged.load(Ordering::SeqCst) > 0);
    drop(second);
    assert_eq!((view.purge(false, &unpaced()).unwrap(), view.erased().events), (Purged::Done, 0));
}

/// Each read looks into all of the tables that come meanwhile.
#[test]
fn it_waits_no_more_when_tables_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    let (asked, wait) = mpsc::channel::<bool>();
    let (goes_on, ask) = mpsc::channel::<()>();
    let ask = parking_lot::Mutex::new(ask);
    let pace: Pacer = Arc::new(move |bytes, may_wait| {
        while bytes > 0 && ask.lock().recv().is_ok() {
            asked.send(may_wait()).unwrap();
        }
        true
    });
    let may_wait = move || {
        goes_on.send(()).unwrap();
        wait.recv_timeout(HANG).unwrap()
    };
    // Above all others.
    let add_table = |n| write(&view, ["a", "z"].map(|key| set(key, &format!("value {n}"))).to_vec());
    std::thread::scope(|scope| {
        let purging = scope.spawn(|| view.purge(true, &pace).unwrap().is_done());
        assert!(may_wait());
        for n in 1..UNMERGED_MIN {
            add_table(n);
        }
        assert!(may_wait());
        add_table(0);
        assert!(!may_wait());
        drop(may_wait);
        assert!(purging.join().unwrap());
    });
}

/// Flushes would wait for all of them to be merged behind it. The next one may be overtaken by twice as many.
#[test]
fn too_many_tables_that_came_meanwhile_end_it() {
    let dir = tempfile::tempdir().unwrap();
    let view = view(dir.path());
    erase(&view);
    for is_first in [true, false] {
        let Held { pace, held, goes_on } = held();
        std::thread::scope(|scope| {
            let purging = scope.spawn(|| view.purge(true, &pace));
            held.recv_timeout(HANG).unwrap();
            // Above all others.
            let add_table = |n: usize| write(&view, ["a", "z"].map(|key| set(key, &n.to_string())).to_vec());
            (0..OVERTAKEN_AT).for_each(add_table);
            drop(goes_on);
            let purged = purging.join().unwrap();
            if is_first {
                let error = purged.unwrap_err().to_string();
                assert!(error.contains("more registers are written"), "{error}");
                assert!(view.erased().events > 0);
            } else {
                assert!(purged.unwrap().is_done());
            }
        });
    }
    assert!(view.register(&name(), b"key 3").unwrap().is_some());
    assert!(!is_on_disk(&view));
}

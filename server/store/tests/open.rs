//! Opening a data folder: what is brought up to date, and what is refused with nothing changed.

use std::fs;
use std::path::Path;
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use quoth_protocol::{ConversationName, Seq};
use quoth_store::testing::{Overridden, ViewOverride, commit, contents, record};
use quoth_store::{
    Applier, ApplierOptions, Content, Finding, Log, LogError, MemoryLog, MemoryView, OpenError, Options,
    PageLimit, Position, Record, Store, StoreError, View, ViewError, verify,
};

const ALL: PageLimit = PageLimit { records: 10_000, bytes: 1 << 24 };

fn options(dir: &Path) -> Options {
    Options { segment_bytes: 4096, cache_bytes: 1 << 20, ..Options::new(dir) }
}

fn open(dir: &Path) -> Store {
    Store::open(options(dir)).unwrap()
}

fn refused(dir: &Path) -> OpenError {
    Store::open(options(dir)).map(|_| ()).unwrap_err()
}

fn name() -> ConversationName {
    ConversationName::new("a").unwrap()
}

/// Commits one record per group, without applying them.
fn commit_seqs(store: &Store, seqs: std::ops::RangeInclusive<u64>) {
    for seq in seqs {
        commit(&*store.log, &[record("a", seq, seq)]).unwrap();
    }
}

fn assert_holds(store: &Store, count: u64) {
    let expected: Vec<Record> = (1..=count).map(|seq| record("a", seq, seq)).collect();
    assert_eq!(store.view.after(&name(), Seq::ZERO, ALL).unwrap(), expected);
    assert_eq!(store.view.bounds(&name()).unwrap().head, Seq(count));
}

/// Opens a folder that must be refused, and checks that this changes nothing.
fn refused_untouched(dir: &Path) -> OpenError {
    let before = contents(dir);
    let error = refused(dir);
    assert!(before == contents(dir), "a refused folder was changed: {error}");
    error
}

#[test]
fn what_is_committed_is_readable_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    commit_seqs(&open(dir.path()), 1..=100);
    let store = open(dir.path());
    assert_holds(&store, 100);
    assert_eq!(store.view.applied(), Position(100));
    commit_seqs(&store, 101..=120);
    drop(store);
    assert_holds(&open(dir.path()), 120);
}

#[test]
fn what_is_committed_is_readable_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("new"));
    commit_seqs(&store, 1..=10);
    store.close().unwrap();
    let store = open(&dir.path().join("new"));
    assert_holds(&store, 10);
    store.close().unwrap();
}

#[test]
fn a_folder_has_one_process() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = refused(dir.path());
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_foreign_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("thesis.txt"), "years of work").unwrap();
    let error = refused_untouched(dir.path());
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    fs::remove_file(dir.path().join("thesis.txt")).unwrap();
    fs::write(dir.path().join("format"), "tar 1.2").unwrap();
    assert!(matches!(refused_untouched(dir.path()), OpenError::Foreign { .. }));
}

#[test]
fn another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    fs::write(dir.path().join("format"), "quoth-server data folder, format 9999\n").unwrap();
    let error = refused_untouched(dir.path());
    assert!(matches!(error, OpenError::Format { found: 9999, expected, .. } if expected < 9999), "{error}");
}

#[test]
fn an_interrupted_creation_is_repeated() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("format.new"), "quo").unwrap();
    commit_seqs(&open(dir.path()), 1..=3);
    // The view was being created: no checkpoint yet.
    fs::remove_file(dir.path().join("view/checkpoint")).unwrap();
    assert_holds(&open(dir.path()), 3);
}

/// No run is long enough for an applier to flush the view, and still the log does not grow with each of them.
#[test]
fn a_start_with_much_to_apply_shortens_the_log() {
    const RUNS: u64 = 8;
    const GROUPS_PER_RUN: u64 = 4;
    let dir = tempfile::tempdir().unwrap();
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let options = Options { segment_bytes: 2 << 20, ..options(dir.path()) };
    for run in 0..RUNS {
        // A crash: neither applied nor closed.
        let store = Store::open(options.clone()).unwrap();
        for seq in run * GROUPS_PER_RUN + 1..=(run + 1) * GROUPS_PER_RUN {
            commit(
                &*store.log,
                &[Record { content: Content::Message(body.clone()), ..record("a", seq, seq) }],
            )
            .unwrap();
        }
    }
    let store = Store::open(options).unwrap();
    let last = RUNS * GROUPS_PER_RUN;
    assert_eq!(store.view.applied(), Position(last));
    assert_eq!(store.view.bounds(&name()).unwrap().head, Seq(last));
    let held = last - store.log.first().0;
    assert!(held < 20, "the log still holds {held} groups of 1 MiB");
}

#[test]
fn a_deleted_view_is_rebuilt_from_the_whole_log() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit_seqs(&store, 1..=200);
    store.close().unwrap();
    fs::remove_dir_all(dir.path().join("view")).unwrap();
    let store = open(dir.path());
    assert_holds(&store, 200);
    assert!(store.view.find(&name(), record("a", 1, 1).id.unwrap().producer, 17).unwrap().is_some());
}

#[test]
fn a_deleted_view_is_not_rebuilt_from_half_a_log() {
    let dir = tempfile::tempdir().unwrap();
    commit_seqs(&open(dir.path()), 1..=200);
    let store = open(dir.path());
    store.log.trim(store.view.flush().unwrap()).unwrap();
    store.close().unwrap();
    assert_holds(&open(dir.path()), 200);
    fs::remove_dir_all(dir.path().join("view")).unwrap();
    let error = refused_untouched(dir.path());
    assert!(matches!(error, OpenError::ViewMissing { first, .. } if first > Position(1)), "{error}");
    let report = verify(dir.path(), &mut |_| {}).unwrap();
    assert!(matches!(report.findings[..], [Finding::ViewMissing { .. }]), "{:?}", report.findings);
}

#[test]
fn a_deleted_log_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    commit_seqs(&open(dir.path()), 1..=200);
    open(dir.path()).close().unwrap();
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let error = refused_untouched(dir.path());
    assert!(
        matches!(error, OpenError::ViewAhead { applied: Position(200), next: Position(1), .. }),
        "{error}"
    );
}

#[test]
fn a_deleted_segment_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    commit_seqs(&open(dir.path()), 1..=200);
    let mut segments: Vec<_> =
        fs::read_dir(dir.path().join("log")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.sort();
    assert!(segments.len() > 4);
    fs::rename(&segments[2], dir.path().join("moved")).unwrap();
    assert!(matches!(refused_untouched(dir.path()), OpenError::Log(LogError::Corrupt { .. })));
    fs::rename(dir.path().join("moved"), &segments[2]).unwrap();
    fs::rename(&segments[0], dir.path().join("moved")).unwrap();
    assert!(matches!(refused_untouched(dir.path()), OpenError::LogTooShort { .. }));
}

#[test]
fn a_damaged_checkpoint_or_a_missing_engine_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    commit_seqs(&open(dir.path()), 1..=20);
    open(dir.path()).close().unwrap();
    let path = dir.path().join("view/checkpoint");
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..20]).unwrap();
    assert!(matches!(refused_untouched(dir.path()), OpenError::View(ViewError::Engine { .. })));
    fs::write(&path, &good).unwrap();
    for missing in ["view/engine/keyspaces", "view/engine"] {
        fs::remove_dir_all(dir.path().join(missing)).unwrap();
        let error = refused_untouched(dir.path()).to_string();
        assert!(error.contains("keyspaces: this folder is missing"), "{error}");
        assert!(error.contains("`quoth-server verify` says"), "{error}");
    }
}

#[test]
fn the_applier_keeps_the_view_up_to_date_and_the_log_short() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let options = ApplierOptions { queue_bytes: 500, flush_bytes: 5_000, ..ApplierOptions::default() };
    let on_failure = Box::new(|error: StoreError| panic!("{error}"));
    let applier = Applier::start_with(options, Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    for seq in 1..=300 {
        let records = [record("a", seq, seq)];
        let position = commit(&*store.log, &records).unwrap();
        applier.submit(position, records.into());
    }
    applier.stop();
    assert_holds(&store, 300);
    let first = store.log.first();
    assert!(first > Position(270), "the log starts at {first}");
    store.close().unwrap();
    assert_holds(&open(dir.path()), 300);
}

/// A view that brings only a part of what is applied to stable storage.
struct SlowToFlush(MemoryView);

impl ViewOverride for SlowToFlush {
    fn inner(&self) -> &dyn View {
        &self.0
    }

    fn flush(&self) -> Result<Position, ViewError> {
        Ok(self.0.applied().min(Position(40)))
    }
}

#[test]
fn the_log_keeps_what_the_view_has_not_flushed() {
    let (log, view) = (Arc::new(MemoryLog::new()), Arc::new(Overridden(SlowToFlush(MemoryView::new()))));
    let on_failure = Box::new(|error: StoreError| panic!("{error}"));
    let applier = Applier::start(Arc::clone(&log) as Arc<dyn Log>, view, on_failure);
    for seq in 1..=100 {
        let records = [record("a", seq, seq)];
        applier.submit(commit(&*log, &records).unwrap(), records.into());
    }
    applier.stop();
    assert_eq!(log.first(), Position(41));
}

#[test]
fn a_failing_view_is_reported_once_and_holds_nobody_up() {
    let store = Store::memory();
    let (report, failures) = mpsc::channel();
    let on_failure = Box::new(move |error: StoreError| report.send(error).unwrap());
    let options = ApplierOptions { queue_bytes: 100, flush_bytes: 1 << 20, ..ApplierOptions::default() };
    let applier = Applier::start_with(options, Arc::clone(&store.log), Arc::clone(&store.view), on_failure);
    for position in 2..=50 {
        applier.submit(Position(position), [record("a", position, 1)].into());
    }
    assert!(matches!(failures.recv().unwrap(), StoreError::View(ViewError::Skipped { .. })));
    assert_eq!(applier.applied(), Position::ZERO);
    applier.stop();
    assert!(failures.recv().is_err(), "reported once");
}

#[test]
fn what_is_held_stays_over_a_start_that_shortens_the_log() {
    const GROUPS: u64 = 24;
    let dir = tempfile::tempdir().unwrap();
    let content = Content::Message(Bytes::from(vec![b'x'; 1 << 20]));
    let options = Options { segment_bytes: 2 << 20, ..options(dir.path()) };
    let store = Store::open(options.clone()).unwrap();
    for seq in 1..=GROUPS {
        commit(&*store.log, &[Record { content: content.clone(), ..record("a", seq, seq) }]).unwrap();
    }
    drop(store);
    let mut store = Store::open(Options { hold_from: Some(Position(5)), ..options.clone() }).unwrap();
    assert_eq!(store.view.applied(), Position(GROUPS));
    let first = store.log.first();
    assert!(first > Position(1) && first <= Position(5), "the log starts at {first}");
    assert_eq!(store.hold.take().map(|hold| hold.from()), Some(Position(5)));
    store.close().unwrap();
    // Whoever comes too late is told from where on there is something.
    let store = Store::open(Options { hold_from: Some(Position(1)), ..options }).unwrap();
    assert_eq!(store.hold.as_ref().map(quoth_store::Hold::from), Some(first));
}

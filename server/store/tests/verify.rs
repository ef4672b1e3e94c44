//! What a check of a data folder finds, and what it does not complain about.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quoth_store::testing::{change, commit, contents, notice, record, removed, set};
use quoth_store::{
    Content, Finding, LogError, Marks, OpenError, Options, Position, Progress, Record, Report, Store, verify,
    verify_kept,
};

fn open(dir: &Path) -> Store {
    Store::open(Options { segment_bytes: 4096, cache_bytes: 1 << 20, ..Options::new(dir) }).unwrap()
}

fn check(dir: &Path) -> Report {
    check_with(dir, &mut |_| {})
}

/// Every check leaves every file as it was.
fn check_with(dir: &Path, progress: &mut dyn FnMut(Progress)) -> Report {
    let before = contents(dir);
    let report = verify(dir, progress).unwrap();
    let after = contents(dir);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    let changed: Vec<_> = before.iter().filter(|(path, bytes)| after[*path] != **bytes).collect();
    assert!(changed.is_empty(), "{:?}", changed.iter().map(|(path, _)| path).collect::<Vec<_>>());
    report
}

fn commit_and_apply(store: &Store, seqs: std::ops::RangeInclusive<u64>, body: &str) {
    for seq in seqs {
        let group: Vec<Record> = ["a", "b"]
            .map(|name| Record {
                content: Content::Message(format!("{body} {seq}").into()),
                ..record(name, seq, seq)
            })
            .to_vec();
        let position = commit(&*store.log, &group).unwrap();
        store.view.apply(position, &group).unwrap();
    }
}

fn texts(report: &Report) -> String {
    report.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        fs::read_dir(dir.join("log")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn an_intact_folder_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit_and_apply(&store, 1..=50, "x");
    store.view.flush().unwrap();
    // After the flush and not closed: the check applies these as a start does.
    commit_and_apply(&store, 51..=90, "x");
    drop(store);
    let mut steps = Vec::new();
    let report = check_with(dir.path(), &mut |step| steps.push(step));
    assert!(report.findings.is_empty(), "{}", texts(&report));
    assert_eq!((report.groups, report.records, report.applied), (90, 180, Some(Position(50))));
    assert_eq!((report.conversations, report.messages, report.torn), (2, 180, None));
    let count = segments(dir.path()).len();
    assert!(steps.contains(&Progress::Log { done: count, segments: count }));
    assert_eq!(steps.last(), Some(&Progress::View { messages: 180 }));
    open(dir.path()).close().unwrap();
    assert!(check(dir.path()).findings.is_empty());
}

#[test]
fn a_folder_in_use_or_foreign_is_not_checked() {
    let dir = tempfile::tempdir().unwrap();
    let none = verify(dir.path(), &mut |_| {}).expect_err("it is none");
    assert!(matches!(none, OpenError::NoDataFolder { .. }), "{none}");
    assert!(
        none.to_string().ends_with(" is no data folder of Quoth: name the data folder of a server"),
        "{none}"
    );
    let missing = verify(&dir.path().join("missing"), &mut |_| {}).expect_err("it is not there");
    assert!(
        missing.to_string().ends_with("missing is not there: name the data folder of a server"),
        "{missing}"
    );
    let _store = open(dir.path());
    assert!(matches!(verify(dir.path(), &mut |_| {}), Err(OpenError::Locked { .. })));
}

#[test]
fn all_damage_to_the_log_is_listed_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit_and_apply(&store, 1..=90, "x");
    store.close().unwrap();
    let paths = segments(dir.path());
    // The last bytes of the first group of two segments; a start reads neither.
    for path in [&paths[0], &paths[2]] {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(b"!", 200).unwrap();
    }
    open(dir.path()).close().unwrap();
    let report = check(dir.path());
    let damaged: Vec<_> = report
        .findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Log(LogError::Corrupt { path, .. }) => Some(path),
            _ => None,
        })
        .collect();
    assert_eq!(damaged, [&paths[0], &paths[2]], "{}", texts(&report));
}

#[test]
fn what_is_behind_damage_in_the_same_segment_is_checked_too() {
    let dir = tempfile::tempdir().unwrap();
    let large = Options { segment_bytes: 1 << 20, cache_bytes: 1 << 20, ..Options::new(dir.path()) };
    let store = Store::open(large).unwrap();
    commit_and_apply(&store, 1..=90, "x");
    store.close().unwrap();
    let [path] = &segments(dir.path())[..] else { panic!("one segment") };
    let file = OpenOptions::new().write(true).open(path).unwrap();
    for offset in [3_000, 9_000] {
        file.write_all_at(b"!", offset).unwrap();
    }
    let report = check(dir.path());
    assert_eq!(report.findings.len(), 2, "{}", texts(&report));
    assert_eq!(report.groups, 88, "all others are read");
    assert_eq!(report.messages, 180, "and so is the view");
}

#[test]
fn a_damaged_table_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit_and_apply(&store, 1..=900, "a body that makes the table large enough for some blocks");
    store.close().unwrap();
    let tables =
        contents(dir.path()).into_iter().filter(|(path, _)| path.to_string_lossy().contains("/tables/"));
    let (path, bytes) = tables.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let path = dir.path().join(path);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    for at in [bytes.len() / 3, bytes.len() / 2] {
        file.write_all_at(&[!bytes[at]], at as u64).unwrap();
    }
    let report = check(dir.path());
    let expected = format!("the view's table {} is damaged", path.canonicalize().unwrap().display());
    assert_eq!(texts(&report).lines().next(), Some(&*expected));
    assert!(matches!(report.findings[..], [_, Finding::RowsUnchecked]), "{}", texts(&report));
    assert!(report.is_view_lost() && report.can_rebuild_view());
    fs::remove_dir_all(dir.path().join("view")).unwrap();
    open(dir.path()).close().unwrap();
    assert_eq!(check(dir.path()).messages, 1_800);
}

#[test]
fn a_torn_group_is_told_but_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit_and_apply(&store, 1..=3, "x");
    commit(&*store.log, &[Record { content: Content::Message(vec![7; 2000].into()), ..record("a", 4, 4) }])
        .unwrap();
    drop(store);
    let file = OpenOptions::new().write(true).open(&segments(dir.path())[0]).unwrap();
    file.write_all_at(&[0; 512], 1536).unwrap();
    let report = check(dir.path());
    assert_eq!(report.torn, Some(Position(4)));
    assert!(report.findings.is_empty(), "{}", texts(&report));
}

#[test]
fn a_view_of_another_log_is_found_out() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, count, body) in [(&dir, 50, "x"), (&other, 49, "y")] {
        let store = open(dir.path());
        commit_and_apply(&store, 1..=count, body);
        store.close().unwrap();
    }
    fs::remove_dir_all(dir.path().join("view")).unwrap();
    fs::rename(other.path().join("view"), dir.path().join("view")).unwrap();
    let report = check(dir.path());
    assert_eq!(report.findings.len(), 98, "{}", texts(&report));
    assert!(report.findings.iter().all(|finding| matches!(finding, Finding::Disagreement { .. })));
}

#[test]
fn a_hole_in_a_conversation_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit_and_apply(&store, 1..=5, "x");
    // A writer that leaves a seq out.
    for seq in [7, 8] {
        let position = commit(&*store.log, &[record("a", seq, seq)]).unwrap();
        store.view.apply(position, &[record("a", seq, seq)]).unwrap();
    }
    store.close().unwrap();
    let text = texts(&check(dir.path()));
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains("conversation a has a hole in the view: seq 6 is missing"), "{text}");
}

#[test]
fn a_folder_without_a_view_is_checked_as_far_as_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit_and_apply(&store, 1..=5, "x");
    store.close().unwrap();
    fs::remove_dir_all(dir.path().join("view")).unwrap();
    let report = check(dir.path());
    assert_eq!((report.applied, report.groups), (None, 5));
    assert!(report.findings.is_empty(), "{}", texts(&report));
    assert!(!dir.path().join("view").exists(), "a check creates no view");
}

#[test]
fn what_is_absent_without_a_reason_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for seq in 1..=30 {
        let mut record = record("a", seq, seq);
        record.ends_window = seq == 10;
        if seq == 28 {
            record.erases = vec![quoth_protocol::Seq(25)];
        }
        let position = commit(&*store.log, &[record.clone()]).unwrap();
        store.view.apply(position, &[record]).unwrap();
    }
    store.view.flush().unwrap();
    let gone = Marks { seq: quoth_protocol::Seq(11), ..Marks::default() };
    assert!(store.view.reclaim(&mut |_| Ok(gone)).unwrap().windows > 0);
    store.close().unwrap();
    assert_eq!(texts(&check(dir.path())), "");
    let report = verify_kept(dir.path(), &mut |_, record| record.seq.0 <= 10, &mut |_| {}).unwrap();
    assert_eq!(texts(&report), "", "what the log has erased needs no other reason");
    let report = verify_kept(dir.path(), &mut |_, record| record.seq.0 <= 7, &mut |_| {}).unwrap();
    let mut seqs: Vec<_> = report
        .findings
        .iter()
        .map(|finding| match finding {
            Finding::Disagreement { seq, how, .. } if how.starts_with("absent") => seq.0,
            other => panic!("{other}"),
        })
        .collect();
    seqs.sort_unstable();
    assert_eq!(seqs, [8, 9, 10]);
}

#[test]
fn registers_are_checked_and_compared_with_the_log() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (dir, values) in [(&dir, ["1", "2", "3"]), (&other, ["1", "9", "3"])] {
        let store = open(dir.path());
        let keys = ["a", "b", "c"];
        let registers: Vec<_> = keys.iter().zip(values).map(|(key, value)| set(key, value)).collect();
        let groups = [
            vec![change("a", 1, registers), notice("b", [set("k", "v"), set("l", "v")])],
            vec![change("a", 2, [removed("c")]), notice("b", [set("k", values[1])])],
        ];
        for group in groups {
            let position = commit(&*store.log, &group).unwrap();
            store.view.apply(position, &group).unwrap();
        }
        store.close().unwrap();
        let report = check(dir.path());
        assert!(report.findings.is_empty(), "{}", texts(&report));
        assert_eq!((report.records, report.conversations, report.messages, report.registers), (4, 2, 2, 4));
    }
    fs::remove_dir_all(dir.path().join("view")).unwrap();
    fs::rename(other.path().join("view"), dir.path().join("view")).unwrap();
    let report = check(dir.path());
    let mut text: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    text.sort();
    let expected = [("b", "a", 1), ("k", "b", 2)].map(|(key, conversation, position)| {
        format!(
            "register {key} of conversation {conversation}, in the log at position {position}, holds something else in \
             the view"
        )
    });
    assert_eq!(text, expected);
    assert!(report.is_view_lost() && report.can_rebuild_view());
}

//! Backups of a store that is open and written to, and of one that is not.

use std::fs;
use std::path::{Path, PathBuf};

use quoth_protocol::{ConversationName, Seq};
use quoth_store::backup::{Added, BackupError, BackupFolder, Bytes, ExtraFile, Frozen, Pace};
use quoth_store::testing::{change, commit, contents, notice, record, set};
use quoth_store::{Options, PageLimit, Position, Record, Store, View as _, verify};

fn open(dir: &Path) -> Store {
    Store::open(Options { segment_bytes: 8192, cache_bytes: 1 << 20, ..Options::new(dir.join("store")) })
        .unwrap()
}

fn write(store: &Store, positions: std::ops::RangeInclusive<u64>) {
    for position in positions {
        let group = vec![
            record("a", position, position),
            change("b", position, [set("k", &position.to_string())]),
            notice("c", [set("k", &position.to_string())]),
        ];
        assert_eq!(commit(&*store.log, &group).unwrap(), Position(position));
        store.view.apply(Position(position), &group).unwrap();
        // As an applier does it.
        if position % 40 == 0 {
            let flushed = store.view.flush().unwrap();
            store.log.trim(flushed.next()).unwrap();
        }
    }
}

fn back_up(store: &Store, to: &Path) -> Added {
    let pin = store.pinner.as_ref().unwrap().pin(&[]).unwrap();
    let folder = BackupFolder::take(to).unwrap();
    folder.add(&Frozen::of_pin(pin.dir(), pin.end()), &[], 7, Pace::Gentle, &mut |_| {}).unwrap()
}

fn restore(from: &Path, number: Option<u64>, to: &Path) -> u64 {
    BackupFolder::take_existing(from).unwrap().restore(number, to, &mut |_| {}).unwrap().0
}

fn events(store: &Store, name: &str) -> Vec<Record> {
    let all = PageLimit { records: usize::MAX, bytes: usize::MAX };
    store.view.after(&ConversationName::new(name).unwrap(), Seq::ZERO, all).unwrap().records
}

/// A data folder has exactly the groups up to a position, opens, goes on, and is sound.
fn assert_has(dir: &Path, last: u64) {
    let report = verify(&dir.join("store"), &mut |_| {}).unwrap();
    assert!(report.findings.is_empty(), "{:?}", report.findings);
    let store = open(dir);
    assert_eq!(store.log.next(), Position(last + 1));
    let expected: Vec<_> = (1..=last).map(|n| record("a", n, n)).collect();
    assert_eq!(events(&store, "a"), expected);
    assert_eq!(events(&store, "b").len() as u64, last);
    let register = store.view.register(&ConversationName::new("c").unwrap(), b"k").unwrap().unwrap();
    assert_eq!(register, last.to_string());
    write(&store, last + 1..=last + 3);
    store.close().unwrap();
}

#[test]
fn a_backup_of_an_open_store_has_what_was_stored_and_another_one_copies_what_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let store = open(dir.path());
    write(&store, 1..=500);
    let first = back_up(&store, &path("backups"));
    assert_eq!((first.number, first.position), (1, 500));
    // Some small files are alike.
    assert!(first.new_bytes > first.bytes / 10 * 8 && first.new_bytes <= first.bytes, "{first:?}");
    write(&store, 501..=530);
    let second = back_up(&store, &path("backups"));
    assert_eq!((second.number, second.position), (2, 530));
    assert!(second.new_bytes < second.bytes / 2, "{second:?}: tables and full segments are there already");
    let pins = fs::read_dir(dir.path().join("store/pins")).unwrap().count();
    assert_eq!(pins, 0, "nothing is left of the pins");
    // The store goes on, is closed, and is backed up once more.
    write(&store, 531..=600);
    store.close().unwrap();
    let folder = BackupFolder::take(&path("backups")).unwrap();
    let closed = Frozen::of_stopped(&dir.path().join("store")).unwrap();
    let mut told = Vec::new();
    let third = folder.add(&closed, &[], 8, Pace::Full, &mut |bytes| told.push(bytes)).unwrap();
    assert_eq!((third.number, third.position), (3, 600));
    // How far it is counts the zeros of the last segment, which what it has does not.
    let is_end = |told: &&Bytes| told.done == told.total && told.total > third.bytes;
    assert!(told.last().filter(is_end).is_some(), "{third:?} {:?}", told.last());
    drop((folder, closed));
    for (number, last) in [(1, 500), (2, 530), (3, 600)] {
        let to = path(&format!("restored {number}"));
        assert_eq!(restore(&path("backups"), Some(number), &to), number);
        assert_has(&to, last);
    }
    assert_eq!(restore(&path("backups"), None, &path("latest")), 3);
    // What was restored goes on in a life of its own, and its backups have a folder of their own.
    let restored = Frozen::of_stopped(&path("latest/store")).unwrap();
    BackupFolder::take(&path("others")).unwrap().add(&restored, &[], 9, Pace::Full, &mut |_| {}).unwrap();
}

#[test]
fn the_log_up_to_the_pin_is_in_it_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let empty = store.pinner.as_ref().unwrap().pin(&[]).unwrap();
    write(&store, 1..=39);
    let pin = store.pinner.as_ref().unwrap().pin(&[]).unwrap();
    // Into the same segment, and into others; the one that was pinned is freed.
    write(&store, 40..=300);
    let folder = BackupFolder::take(&dir.path().join("backups")).unwrap();
    for (pin, last) in [(empty, 0), (pin, 39)] {
        let frozen = Frozen::of_pin(pin.dir(), pin.end());
        let (view, all) = (frozen.view().unwrap(), PageLimit { records: usize::MAX, bytes: usize::MAX });
        let exported = view.after(&ConversationName::new("a").unwrap(), Seq::ZERO, all).unwrap().records;
        assert_eq!(exported, (1..=last).map(|n| record("a", n, n)).collect::<Vec<_>>());
        assert_eq!(folder.add(&frozen, &[], 0, Pace::Full, &mut |_| {}).unwrap().position, last);
    }
    drop(folder);
    restore(&dir.path().join("backups"), None, &dir.path().join("restored"));
    assert_has(&dir.path().join("restored"), 39);
}

#[test]
fn what_says_how_far_the_log_was_read_is_of_before_its_end_and_as_it_was_then() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("store"));
    let (cursor, missing) = (dir.path().join("cursor.json"), dir.path().join("missing.json"));
    fs::write(&cursor, "17:499").unwrap();
    let pin = store.pinner.as_ref().unwrap().pin(&[cursor.clone(), missing]).unwrap();
    fs::write(&cursor, "18:0").unwrap();
    assert_eq!(fs::read_to_string(pin.dir().join("cursor.json")).unwrap(), "17:499");
    assert!(!pin.dir().join("missing.json").exists());
}

#[test]
fn what_cannot_be_restored_is_known_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to, back] = ["from", "to", "back"].map(|name| dir.path().join(name));
    let store = open(&from);
    write(&store, 1..=50);
    back_up(&store, &to);
    let folder = BackupFolder::take_existing(&to).unwrap();
    assert_eq!(folder.restorable(None, &back).unwrap().0, 1);
    assert!(matches!(folder.restorable(Some(2), &back), Err(BackupError::Missing { .. })));
    assert!(matches!(folder.restorable(None, &from), Err(BackupError::NotEmpty { .. })));
    let object = fs::read_dir(to.join("objects")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&object).unwrap();
    assert!(
        matches!(folder.restorable(None, &back), Err(BackupError::DamagedObject { path }) if path == object)
    );
    assert!(folder.restore(None, &back, &mut |_| {}).is_err() && !back.exists());
}

#[test]
fn a_log_of_which_nothing_is_left_but_its_place_comes_back_with_a_backup() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to, back] = ["from", "to", "back"].map(|name| dir.path().join(name));
    let store = open(&from);
    write(&store, 1..=5);
    // As a server does from time to time, so that nothing stays in the log that was erased.
    store.log.end_segment().unwrap();
    let flushed = store.view.flush().unwrap();
    store.log.trim(flushed.next()).unwrap();
    assert_eq!(back_up(&store, &to).position, 5);
    write(&store, 6..=6);
    store.close().unwrap();
    restore(&to, None, &back);
    assert_has(&back, 5);
    assert_has(&back, 8);
}

#[test]
fn pins_of_a_process_that_was_killed_are_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 1..=50);
    std::mem::forget(store.pinner.as_ref().unwrap().pin(&[]).unwrap());
    drop(store);
    assert!(dir.path().join("store/pins").exists());
    let store = open(dir.path());
    assert!(!dir.path().join("store/pins").exists());
    drop(store);
    assert_has(dir.path(), 50);
}

/// Backups, of which the second one has what the first one has, and the folder.
fn two_backups(dir: &Path) -> PathBuf {
    let store = open(dir);
    write(&store, 1..=200);
    back_up(&store, &dir.join("backups"));
    write(&store, 201..=400);
    back_up(&store, &dir.join("backups"));
    dir.join("backups")
}

#[test]
fn a_flipped_bit_of_any_file_is_found_and_never_restored() {
    let dir = tempfile::tempdir().unwrap();
    let backups = two_backups(dir.path());
    let folder = BackupFolder::take_existing(&backups).unwrap();
    let checked = folder.check(&mut |_| {}).unwrap();
    assert_eq!((checked.sound.len(), checked.findings.len()), (2, 0));
    for (number, (path, bytes)) in contents(&backups).into_iter().enumerate() {
        let is_object = path.starts_with(backups.join("objects"));
        if bytes.is_empty() || !(is_object || path.starts_with(backups.join("backups"))) {
            continue;
        }
        let mut changed = bytes.clone();
        changed[bytes.len() * 2 / 3] ^= 0x10;
        match number % 3 {
            // A manifest that is missing is a backup that never was.
            0 if is_object => fs::remove_file(&path).unwrap(),
            1 => fs::write(&path, &bytes[..bytes.len() - 1]).unwrap(),
            _ => fs::write(&path, changed).unwrap(),
        }
        let checked = folder.check(&mut |_| {}).unwrap();
        assert!(!checked.findings.is_empty() && !checked.damaged.is_empty(), "{}", path.display());
        let to = dir.path().join("restored");
        let error = folder.restore(Some(checked.damaged[0]), &to, &mut |_| {}).unwrap_err();
        let is_told =
            matches!(error, BackupError::DamagedObject { .. } | BackupError::DamagedManifest { .. });
        assert!(is_told, "{error}");
        assert!(!to.join("store").exists(), "half a store");
        let _never_begun = fs::remove_dir_all(to);
        fs::write(&path, &bytes).unwrap();
    }
    assert!(folder.check(&mut |_| {}).unwrap().findings.is_empty());
}

#[test]
fn a_damaged_table_is_not_taken_for_a_good_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 1..=400);
    store.close().unwrap();
    let is_table = |path: &Path| path.to_string_lossy().contains("/tables/");
    let tables = contents(&dir.path().join("store")).into_iter().filter(|(path, _)| is_table(path));
    let (path, bytes) = tables.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    let mut changed = bytes.clone();
    changed[bytes.len() / 3] ^= 1;
    fs::write(&path, changed).unwrap();
    let folder = BackupFolder::take(&dir.path().join("backups")).unwrap();
    let frozen = Frozen::of_stopped(&dir.path().join("store")).unwrap();
    let error = folder.add(&frozen, &[], 0, Pace::Full, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, BackupError::DamagedSource { path: damaged } if *damaged == path), "{error}");
    assert!(folder.numbers().unwrap().is_empty());
    fs::write(&path, bytes).unwrap();
    folder.add(&frozen, &[], 0, Pace::Full, &mut |_| {}).unwrap();
}

#[test]
fn old_backups_go_and_what_others_have_stays() {
    let dir = tempfile::tempdir().unwrap();
    let backups = two_backups(dir.path());
    let folder = BackupFolder::take_existing(&backups).unwrap();
    // As an interrupted one leaves it.
    fs::write(backups.join("objects/new-1"), "half").unwrap();
    let before = fs::read_dir(backups.join("objects")).unwrap().count();
    assert_eq!(folder.keep(1).unwrap(), 1);
    assert_eq!(folder.numbers().unwrap(), [2]);
    assert!(fs::read_dir(backups.join("objects")).unwrap().count() < before);
    assert!(folder.check(&mut |_| {}).unwrap().findings.is_empty());
    assert_eq!(folder.keep(1).unwrap(), 0);
    assert!(matches!(folder.backup(Some(1)), Err(BackupError::Missing { number: Some(1), .. })));
    drop(folder);
    restore(&backups, None, &dir.path().join("restored"));
    assert_has(&dir.path().join("restored"), 400);
}

#[test]
fn what_a_check_finds_damaged_is_copied_anew_by_the_next_backup() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 1..=200);
    let backups = dir.path().join("backups");
    back_up(&store, &backups);
    let of_store =
        |(path, bytes): &(PathBuf, Vec<u8>)| path.starts_with(backups.join("objects")) && bytes.len() > 1_000;
    let (path, mut bytes) = contents(&backups).into_iter().find(of_store).unwrap();
    bytes[500] ^= 1;
    fs::write(&path, &bytes).unwrap();
    back_up(&store, &backups);
    let check = || BackupFolder::take_existing(&backups).unwrap().check(&mut |_| {}).unwrap();
    assert_eq!((check().damaged, check().damaged), (vec![1, 2], vec![1, 2]), "it is told until it is mended");
    back_up(&store, &backups);
    let mended = check();
    assert!(mended.findings.is_empty() && mended.sound.len() == 3, "{:?}", mended.findings);
    assert!(
        !contents(&backups).keys().any(|path| path.to_string_lossy().contains("damaged-")),
        "what nobody names goes"
    );
}

#[test]
fn a_damaged_manifest_hinders_nobody_for_ever_and_what_was_interrupted_goes() {
    let dir = tempfile::tempdir().unwrap();
    let backups = two_backups(dir.path());
    let manifest = backups.join("backups/000002.json");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, &whole[..whole.len() - 2]).unwrap();
    fs::write(backups.join("objects/0-0"), "of an interrupted one").unwrap();
    let has_unnamed = || backups.join("objects/0-0").exists();
    let store = open(dir.path());
    let folder = || BackupFolder::take_existing(&backups).unwrap();
    back_up(&store, &backups);
    assert_eq!(folder().keep(2).unwrap(), 0, "the first and the third one");
    assert!(has_unnamed(), "it may be the second one's");
    back_up(&store, &backups);
    assert_eq!(folder().keep(2).unwrap(), 2);
    assert_eq!(folder().numbers().unwrap(), [3, 4]);
    assert!(!has_unnamed() && folder().check(&mut |_| {}).unwrap().findings.is_empty());
    fs::write(backups.join("objects/0-0"), "of an interrupted one").unwrap();
    back_up(&store, &backups);
    assert!(!has_unnamed(), "the next one deletes it");
}

#[test]
fn a_restored_store_is_another_one_and_a_folder_has_backups_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let backups = two_backups(dir.path());
    let id = |dir: &Path| open(dir).id;
    let before = id(dir.path());
    assert_eq!(id(dir.path()), before, "a start changes nothing");
    restore(&backups, Some(1), &dir.path().join("one"));
    restore(&backups, Some(1), &dir.path().join("two"));
    let (one, two) = (id(&dir.path().join("one")), id(&dir.path().join("two")));
    assert!(one != before && two != before && one != two);
    let store = open(&dir.path().join("one"));
    let pin = store.pinner.as_ref().unwrap().pin(&[]).unwrap();
    let folder = BackupFolder::take(&backups).unwrap();
    let add = |pin: &quoth_store::Pin| {
        folder.add(&Frozen::of_pin(pin.dir(), pin.end()), &[], 7, Pace::Full, &mut |_| {})
    };
    assert!(matches!(add(&pin), Err(BackupError::AnotherStore { .. })));
    assert_eq!(folder.numbers().unwrap(), [1, 2]);
    let store = open(dir.path());
    add(&store.pinner.as_ref().unwrap().pin(&[]).unwrap()).unwrap();
}

#[test]
fn an_interrupted_restore_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let backups = two_backups(dir.path());
    let to = dir.path().join("restored");
    fs::create_dir_all(to.join("restoring/store")).unwrap();
    let error = BackupFolder::take_existing(&backups).unwrap().restore(None, &to, &mut |_| {}).unwrap_err();
    assert!(
        matches!(error, BackupError::Interrupted { .. }) && error.to_string().contains("restoring"),
        "{error}"
    );
}

#[test]
fn folders_of_others_and_folders_in_use_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let backups = two_backups(&path("data"));
    fs::create_dir(path("foreign")).unwrap();
    fs::write(path("foreign/file"), "mine").unwrap();
    assert!(matches!(BackupFolder::take(&path("foreign")), Err(BackupError::Foreign { .. })));
    for (name, expected) in [
        ("missing", "missing is not there: name a folder that has backups"),
        ("foreign", "foreign is no folder of backups of Quoth: name a folder that has backups"),
    ] {
        let none = BackupFolder::take_existing(&path(name)).expect_err(name);
        assert!(
            matches!(none, BackupError::NoBackups { .. }) && none.to_string().ends_with(expected),
            "{none}"
        );
    }
    let folder = BackupFolder::take(&backups).unwrap();
    assert!(matches!(BackupFolder::take(&backups), Err(BackupError::Locked { .. })));
    let refused = folder.restore(None, &path("foreign"), &mut |_| {});
    assert!(matches!(refused, Err(BackupError::NotEmpty { .. })));
    assert_eq!(contents(&path("foreign")).len(), 1);
    drop(folder);
    fs::write(backups.join("format"), "quoth-server backup folder, format 99\n").unwrap();
    assert!(matches!(BackupFolder::take(&backups), Err(BackupError::Format { found: 99, .. })));
}

#[test]
fn files_beside_the_store_come_along() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    write(&store, 1..=10);
    store.close().unwrap();
    fs::create_dir(dir.path().join("keys")).unwrap();
    fs::write(dir.path().join("keys/a.key"), "secret").unwrap();
    let extra = [ExtraFile { name: "keys/a.key".to_owned(), path: dir.path().join("keys/a.key") }];
    let backups = dir.path().join("backups");
    let folder = BackupFolder::take(&backups).unwrap();
    let frozen = Frozen::of_stopped(&dir.path().join("store")).unwrap();
    folder.add(&frozen, &extra, 0, Pace::Full, &mut |_| {}).unwrap();
    drop(folder);
    restore(&backups, None, &dir.path().join("restored"));
    assert_eq!(fs::read(dir.path().join("restored/keys/a.key")).unwrap(), b"secret");
    for file in [backups.join("objects"), dir.path().join("restored/keys/a.key")] {
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "{} is its owner's alone", file.display());
    }
}

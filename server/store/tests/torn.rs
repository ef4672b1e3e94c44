//! The end of a log after a power cut, and damage that must not pass for one.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use quoth_store::{Log, LogError, Position, SegmentLog};

const SEGMENT_BYTES: u64 = 16 * 1024;
const SECTOR: usize = 512;
/// Groups have 56 bytes around their payload, and segments a header of 64.
const GROUP_OVERHEAD: usize = 56;

fn open(dir: &Path) -> Result<SegmentLog, LogError> {
    SegmentLog::open(dir, SEGMENT_BYTES, Position::ZERO)
}

fn append(log: &SegmentLog, payload: &[u8]) {
    log.append(payload).unwrap();
    log.flush().unwrap();
}

fn groups(log: &SegmentLog) -> Vec<Vec<u8>> {
    let mut groups = Vec::new();
    log.read(Position(1), &mut |_, group| {
        groups.push(group.to_vec());
        Ok(())
    })
    .unwrap();
    groups
}

fn only_segment(dir: &Path) -> PathBuf {
    dir.join(format!("{:020}.log", 1))
}

/// A log of `small` groups and a last one of 2,000 bytes; the bytes of its file and where the last group
/// lies.
fn log_with_a_large_last_group(dir: &Path, small: usize) -> (Vec<u8>, std::ops::Range<usize>) {
    let log = open(dir).unwrap();
    (0..small).for_each(|n| append(&log, format!("small {n}").as_bytes()));
    append(&log, &[0xab; 2000]);
    drop(log);
    let bytes = fs::read(only_segment(dir)).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (bytes, end - GROUP_OVERHEAD - 2000..end)
}

/// The parts of sectors that a range covers.
fn sectors(range: &std::ops::Range<usize>) -> Vec<std::ops::Range<usize>> {
    (range.start / SECTOR..range.end.div_ceil(SECTOR))
        .map(|sector| (sector * SECTOR).max(range.start)..((sector + 1) * SECTOR).min(range.end))
        .collect()
}

#[test]
fn a_group_without_some_of_its_sectors_is_dropped() {
    // Different counts put the last group at different places in its first sector.
    for small in 0..16 {
        let dir = tempfile::tempdir().unwrap();
        let (bytes, last) = log_with_a_large_last_group(dir.path(), small);
        for missing in sectors(&last) {
            let mut torn = bytes.clone();
            torn[missing.clone()].fill(0);
            fs::write(only_segment(dir.path()), &torn).unwrap();
            let log = open(dir.path()).unwrap();
            assert_eq!(log.next(), Position(small as u64 + 1), "without {missing:?} of {last:?}");
            append(&log, b"after");
            log.close().unwrap();
            drop(log);
            let groups = groups(&open(dir.path()).unwrap());
            assert_eq!((groups.len(), &groups[small][..]), (small + 1, &b"after"[..]));
        }
    }
}

#[test]
fn a_change_to_the_last_group_is_corruption_even_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, last) = log_with_a_large_last_group(dir.path(), 3);
    for at in last.clone() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x04;
        fs::write(only_segment(dir.path()), &changed).unwrap();
        let error = open(dir.path()).unwrap_err();
        let (path, start) = (only_segment(dir.path()), last.start as u64);
        assert!(
            matches!(&error, LogError::Corrupt { path: p, offset, position: Position(4), .. } if *p == path && *offset == start),
            "byte {at}: {error}"
        );
    }
    assert!(fs::read(only_segment(dir.path())).unwrap().len() == bytes.len());
}

#[test]
fn a_missing_sector_before_another_group_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, &[0xab; 2000]);
    append(&log, b"later");
    drop(log);
    each_missing_sector_of_the_first_group_is_corruption(dir.path());
}

#[test]
fn after_a_clean_stop_a_missing_sector_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    append(&log, &[0xab; 2000]);
    log.close().unwrap();
    drop(log);
    each_missing_sector_of_the_first_group_is_corruption(dir.path());
}

#[test]
fn a_file_of_another_length_is_corruption() {
    let dir = tempfile::tempdir().unwrap();
    let (bytes, last) = log_with_a_large_last_group(dir.path(), 3);
    let path = only_segment(dir.path());
    for len in [0, 10, 64, last.start, last.start + 700, last.end, bytes.len() - 1, bytes.len() + 1] {
        fs::write(&path, &bytes).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len as u64).unwrap();
        assert!(matches!(open(dir.path()), Err(LogError::Corrupt { .. })), "{len}");
    }
}

#[test]
fn a_torn_group_at_the_start_of_a_segment_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path()).unwrap();
    (0..5).for_each(|_| append(&log, &[1; 3000]));
    append(&log, &[2; 3000]);
    drop(log);
    let second = dir.path().join(format!("{:020}.log", 6));
    let file = OpenOptions::new().write(true).open(&second).unwrap();
    file.write_all_at(&[0; 512], 1024).unwrap();
    let log = open(dir.path()).unwrap();
    assert_eq!(log.next(), Position(6));
    append(&log, &[3; 3000]);
    drop(log);
    assert_eq!(groups(&open(dir.path()).unwrap())[5], [3; 3000]);
    // The same tear before the last segment is none that a crash leaves.
    let first = OpenOptions::new().write(true).open(only_segment(dir.path())).unwrap();
    first.write_all_at(&[0; 512], 13312).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Corrupt { position: Position(5), .. })));
}

#[test]
fn a_segment_of_another_log_is_corruption() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [dir.path(), other.path()] {
        let log = open(dir).unwrap();
        (0..10).for_each(|_| append(&log, &[1; 3000]));
    }
    let second = format!("{:020}.log", 6);
    fs::copy(other.path().join(&second), dir.path().join(&second)).unwrap();
    assert!(matches!(open(dir.path()), Err(LogError::Corrupt { position: Position(6), .. })));
}

#[test]
fn a_segment_of_marks_alone_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..400 {
        open(dir.path()).unwrap().close().unwrap();
    }
    let log = open(dir.path()).unwrap();
    assert_eq!((log.first(), log.next()), (Position(1), Position(1)));
    append(&log, b"first");
    for _ in 0..400 {
        open(dir.path()).unwrap().close().unwrap();
    }
    assert_eq!(groups(&open(dir.path()).unwrap()), [b"first"]);
}

/// Zeroes each sector of the first group, whose 2,000 bytes begin at 120, in turn.
fn each_missing_sector_of_the_first_group_is_corruption(dir: &Path) {
    let bytes = fs::read(only_segment(dir)).unwrap();
    for missing in sectors(&(120..2120)) {
        let mut changed = bytes.clone();
        changed[missing].fill(0);
        fs::write(only_segment(dir), &changed).unwrap();
        assert!(matches!(open(dir), Err(LogError::Corrupt { position: Position(1), .. })));
    }
}

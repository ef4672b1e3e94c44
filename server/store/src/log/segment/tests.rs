//! What is written, flushed and undone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Log, LogError, Position, SEGMENT_BYTES_MIN, SegmentLog};
use crate::durable::syncs;

/// Headers of the segment and of the barrier and the group in front of the payload.
const OVERHEAD_BYTES: usize = 64 + 56 + 56;

fn open(dir: &Path) -> SegmentLog {
    SegmentLog::open(dir, SEGMENT_BYTES_MIN, Position::ZERO).unwrap()
}

/// A log whose only group fills its segment and is not flushed. The mark of the next start goes into a
/// segment of its own, so its flush does not reach this one.
fn one_full_segment(dir: &Path) -> PathBuf {
    let log = open(dir);
    log.append(&[7; 4096 - OVERHEAD_BYTES]).unwrap();
    dir.join(format!("{:020}.log", 1))
}

#[test]
fn what_a_start_finds_is_flushed_before_it_counts() {
    let dir = tempfile::tempdir().unwrap();
    let path = one_full_segment(dir.path());
    syncs::take();
    let log = open(dir.path());
    let synced = syncs::take();
    assert!(synced.contains(&path), "{synced:?}");
    let (file, name) = (synced.iter().position(|p| *p == path), synced.iter().position(|p| p == dir.path()));
    let barrier = synced.iter().position(|p| p.ends_with(format!("{:020}.log", 2)));
    assert!(file < barrier && name < barrier, "{synced:?}");
    assert_eq!(log.next(), Position(2));
}

/// After a failed flush the pages count as clean, and only a write makes a flush reach the disk again.
#[test]
fn the_last_group_is_written_again_and_is_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = one_full_segment(dir.path());
    let bytes = fs::read(&path).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH;
    File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
    open(dir.path());
    assert!(fs::read(&path).unwrap() == bytes);
    assert_ne!(fs::metadata(&path).unwrap().modified().unwrap(), long_ago);
}

#[test]
fn a_failed_flush_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(b"stored").unwrap();
    log.flush().unwrap();
    log.append(b"perhaps").unwrap();
    syncs::fail_next();
    assert!(matches!(log.flush(), Err(LogError::Io { .. })));
    // The disk is well again, and nobody may take what it has for what was written.
    assert!(matches!(log.flush(), Err(LogError::Poisoned)));
    assert!(matches!(log.append(b"more"), Err(LogError::Poisoned)));
    assert!(matches!(log.fence(1), Err(LogError::Poisoned)));
    assert!(matches!(log.close(), Err(LogError::Poisoned)));
    let mut read = Vec::new();
    let mut visit = |_, group: &[u8]| {
        read.push(group.to_owned());
        Ok(())
    };
    log.read(Position(1), &mut visit).unwrap();
    assert_eq!(read, [b"stored"]);
    drop(log);
    // Whether the second one is stored was unknown. Here the operating system has it, and the start makes
    // it durable.
    let log = open(dir.path());
    assert_eq!(log.next(), Position(3));
    log.append(b"more").unwrap();
    log.flush().unwrap();
}

/// As a write leaves it that found no room: some bytes behind the end, of which some may be on the disk.
#[test]
fn what_a_write_without_room_has_left_is_undone_before_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(b"stored").unwrap();
    log.flush().unwrap();
    let at = {
        let mut writer = log.writer.lock();
        let at = writer.end.offset;
        std::os::unix::fs::FileExt::write_all_at(&writer.file, &[7; 1500], at).unwrap();
        writer.unclean_until = at + 1500;
        at
    };
    syncs::take();
    log.make_room().unwrap();
    assert_eq!(syncs::take().len(), 1, "what is undone is durable");
    let path = dir.path().join(format!("{:020}.log", 1));
    let tail = fs::read(&path).unwrap().split_off(usize::try_from(at).unwrap());
    assert!(tail.iter().all(|byte| *byte == 0));
    {
        let mut writer = log.writer.lock();
        std::os::unix::fs::FileExt::write_all_at(&writer.file, &[7; 1500], at).unwrap();
        writer.unclean_until = at + 1500;
    }
    log.append(b"short").unwrap();
    log.flush().unwrap();
    drop(log);
    assert_eq!(open(dir.path()).next(), Position(3));
}

#[test]
fn a_start_whose_flush_fails_is_none() {
    let dir = tempfile::tempdir().unwrap();
    one_full_segment(dir.path());
    syncs::fail_next();
    let opened = SegmentLog::open(dir.path(), SEGMENT_BYTES_MIN, Position::ZERO);
    assert!(matches!(opened, Err(LogError::Io { .. })));
    assert_eq!(open(dir.path()).next(), Position(2));
}

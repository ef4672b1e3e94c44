//! What every log keeps, run for each of them.

use std::sync::Arc;

use quoth_store::{Log, LogError, LogReader, MemoryLog, Position, SegmentLog};

/// A log and how it is opened again, for a view that holds the groups up to a position.
struct Subject {
    log: Arc<dyn Log>,
    reopen: Box<dyn Fn(Position) -> Arc<dyn Log>>,
    /// A folder that lives as long as the log.
    _dir: Option<tempfile::TempDir>,
}

fn memory() -> Subject {
    let log = MemoryLog::new().reopen();
    Subject { log: Arc::new(log.clone()), reopen: Box::new(move |_| Arc::new(log.reopen())), _dir: None }
}

fn segments() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let open = move |applied| -> Arc<dyn Log> { Arc::new(SegmentLog::open(&path, 4096, applied).unwrap()) };
    Subject { log: open(Position::ZERO), reopen: Box::new(open), _dir: Some(dir) }
}

fn each(check: impl Fn(Subject)) {
    check(memory());
    check(segments());
}

fn payload(position: u64) -> Vec<u8> {
    let len = usize::try_from(position * 37 % 900).unwrap();
    let mut payload = format!("group {position} ").into_bytes();
    payload.resize(payload.len() + len, b'.');
    payload
}

fn fill(log: &dyn Log, groups: std::ops::RangeInclusive<u64>) {
    for position in groups {
        assert_eq!(log.append(&payload(position)).unwrap(), Position(position));
        log.flush().unwrap();
    }
}

fn read(log: &dyn Log, from: u64) -> Vec<(u64, Vec<u8>)> {
    let mut groups = Vec::new();
    log.read(Position(from), &mut |position, group| {
        groups.push((position.0, group.to_vec()));
        Ok(())
    })
    .unwrap();
    groups
}

fn expected(groups: std::ops::RangeInclusive<u64>) -> Vec<(u64, Vec<u8>)> {
    groups.map(|position| (position, payload(position))).collect()
}

#[test]
fn an_empty_log_starts_at_position_1() {
    each(|Subject { log, .. }| {
        assert_eq!((log.first(), log.next()), (Position(1), Position(1)));
        assert_eq!(read(&*log, 0), []);
    });
}

#[test]
fn what_is_flushed_is_read_back_in_order() {
    each(|Subject { log, reopen, _dir }| {
        fill(&*log, 1..=50);
        assert_eq!(read(&*log, 1), expected(1..=50));
        assert_eq!(read(&*log, 0), expected(1..=50));
        assert_eq!(read(&*log, 33), expected(33..=50));
        assert_eq!(read(&*log, 51), []);
        drop(log);
        let log = reopen(Position::ZERO);
        assert_eq!((log.first(), log.next()), (Position(1), Position(51)));
        assert_eq!(read(&*log, 1), expected(1..=50));
        fill(&*log, 51..=60);
        log.close().unwrap();
        drop(log);
        assert_eq!(read(&*reopen(Position::ZERO), 1), expected(1..=60));
    });
}

#[test]
fn a_group_that_is_not_flushed_is_not_read_and_holds_up_the_next() {
    each(|Subject { log, .. }| {
        fill(&*log, 1..=1);
        log.append(b"second").unwrap();
        assert_eq!(log.next(), Position(3));
        assert_eq!(read(&*log, 1), expected(1..=1));
        assert!(matches!(log.append(b"third"), Err(LogError::Unflushed)));
        log.flush().unwrap();
        assert_eq!(read(&*log, 2), [(2, b"second".to_vec())]);
    });
}

#[test]
fn empty_groups_and_any_bytes_are_kept() {
    each(|Subject { log, reopen, _dir }| {
        let groups: [&[u8]; 4] = [b"", &[0; 777], b"QGrp", &[0xff; 3]];
        for group in groups {
            log.append(group).unwrap();
            log.flush().unwrap();
        }
        drop(log);
        let read: Vec<_> = read(&*reopen(Position::ZERO), 1).into_iter().map(|(_, group)| group).collect();
        assert_eq!(read, groups);
    });
}

#[test]
fn trimming_frees_only_what_lies_before() {
    each(|Subject { log, reopen, _dir }| {
        fill(&*log, 1..=100);
        log.trim(Position(60)).unwrap();
        let first = log.first();
        assert!(first > Position(1) && first <= Position(60), "{first}");
        assert_eq!(read(&*log, first.0), expected(first.0..=100));
        assert!(matches!(log.read(Position(first.0 - 1), &mut |_, _| Ok(())), Err(LogError::Gone { .. })));
        log.trim(Position(101)).unwrap();
        fill(&*log, 101..=101);
        log.close().unwrap();
        drop(log);
        assert_eq!(reopen(Position(101)).next(), Position(102));
    });
}

#[test]
fn an_older_epoch_is_refused() {
    each(|Subject { log, .. }| {
        fill(&*log, 1..=1);
        log.fence(7).unwrap();
        assert!(matches!(log.fence(6), Err(LogError::Fenced { epoch: 6, current: 7 })));
        fill(&*log, 2..=2);
    });
}

#[test]
fn an_epoch_stays_after_a_restart() {
    each(|Subject { log, reopen, _dir }| {
        log.fence(7).unwrap();
        drop(log);
        let log = reopen(Position::ZERO);
        assert!(matches!(log.fence(7), Err(LogError::Fenced { epoch: 7, current: 8 })));
        fill(&*log, 1..=1);
    });
}

#[test]
fn a_deposed_handle_appends_no_more() {
    let old = MemoryLog::new();
    fill(&old, 1..=3);
    let new = old.reopen();
    assert!(matches!(old.append(b"late"), Err(LogError::Fenced { epoch: 0, current: 1 })));
    fill(&new, 4..=4);
}

#[test]
fn a_power_cut_takes_what_is_not_flushed() {
    let log = MemoryLog::new();
    fill(&log, 1..=2);
    log.append(b"lost").unwrap();
    log.crash();
    assert_eq!(log.next(), Position(3));
    fill(&log, 3..=3);
    assert_eq!(read(&log, 1), expected(1..=3));
}

#[test]
fn a_closed_log_takes_nothing() {
    each(|Subject { log, .. }| {
        log.close().unwrap();
        log.close().unwrap();
        assert!(matches!(log.append(b"late"), Err(LogError::Closed)));
    });
}

#[test]
fn a_visitor_can_stop_a_read() {
    each(|Subject { log, .. }| {
        fill(&*log, 1..=3);
        let mut seen = 0;
        let result = log.read(Position(1), &mut |_, _| {
            seen += 1;
            if seen == 2 { Err(LogError::Visit("enough".to_owned())) } else { Ok(()) }
        });
        assert!(matches!(result, Err(LogError::Visit(_))));
        assert_eq!(seen, 2);
    });
}

#[test]
fn a_group_that_no_segment_holds_is_refused() {
    let Subject { log, _dir, .. } = segments();
    assert!(matches!(log.append(&[1; 4096]), Err(LogError::TooLarge { .. })));
    let largest = 4096 - 64 - 48 - 8;
    log.append(&vec![1; largest]).unwrap();
    log.flush().unwrap();
    assert!(matches!(log.append(&vec![1; largest + 1]), Err(LogError::TooLarge { .. })));
}

#[test]
fn a_segment_that_cannot_be_begun_poisons() {
    let dir = tempfile::tempdir().unwrap();
    let log = SegmentLog::open(dir.path(), 4096, Position::ZERO).unwrap();
    // In the way of the file that is prepared once the first one is in use.
    std::fs::create_dir(dir.path().join("2.spare")).unwrap();
    for _ in 0..2 {
        log.append(&[1; 3000]).unwrap();
        log.flush().unwrap();
    }
    assert!(matches!(log.append(&[1; 3000]), Err(LogError::Io { .. })));
    assert!(matches!(log.append(&[1; 3000]), Err(LogError::Poisoned)));
    assert_eq!(read(&log, 1).len(), 2, "what was flushed is still read");
}

#[test]
fn readers_and_trims_run_beside_the_writer() {
    let Subject { log, _dir, .. } = segments();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| fill(&*log, 1..=2000));
        while !writer.is_finished() {
            let from = log.first();
            // What is trimmed between the two calls is Gone or a missing file, never wrong data.
            let mut next = from;
            let _trimmed = log.read(from, &mut |position, group| {
                assert_eq!((position, group), (next, &payload(position.0)[..]));
                next = next.next();
                Ok(())
            });
            if next.0 > 300 {
                log.trim(Position(next.0 - 300)).unwrap();
            }
        }
    });
    assert_eq!(log.next(), Position(2001));
    let first = log.first();
    assert_eq!(read(&*log, first.0), expected(first.0..=2000));
}

/// Reads on to what is flushed.
fn drain(reader: &mut dyn LogReader) -> Vec<(u64, Vec<u8>)> {
    let mut groups = Vec::new();
    while let Some((position, group)) = reader.next().unwrap() {
        groups.push((position.0, group.to_vec()));
    }
    groups
}

#[test]
fn a_reader_goes_on_with_what_is_flushed_meanwhile() {
    each(|Subject { log, reopen, _dir }| {
        let mut early = log.reader(Position::ZERO).unwrap();
        assert_eq!(drain(&mut *early), []);
        fill(&*log, 1..=3);
        // Into the middle of what was read ahead, and far beyond it.
        for (from, to) in [(4, 4), (5, 6), (7, 90)] {
            assert_eq!(drain(&mut *early).last().map(|(position, _)| *position), Some(from - 1));
            fill(&*log, from..=to);
        }
        log.append(&payload(91)).unwrap();
        assert_eq!(drain(&mut *early), expected(7..=90), "what is flushed");
        log.flush().unwrap();
        assert_eq!(drain(&mut *early), expected(91..=91));
        assert_eq!(drain(&mut *early), []);
        assert_eq!(drain(&mut *log.reader(Position(40)).unwrap()), expected(40..=91));
        assert_eq!(drain(&mut *log.reader(Position(400)).unwrap()), []);
        log.close().unwrap();
        assert_eq!(drain(&mut *early), []);
        drop(log);
        // Over the marks of two starts.
        let log = reopen(Position::ZERO);
        let mut reader = log.reader(Position(1)).unwrap();
        fill(&*log, 92..=95);
        assert_eq!(drain(&mut *reader), expected(1..=95));
    });
}

/// A segment of marks alone is replaced when the group that comes does not fit into it.
#[test]
fn a_reader_at_the_end_meets_a_segment_that_is_replaced() {
    let Subject { log, reopen, _dir } = segments();
    let largest = vec![1; 4096 - 64 - 48 - 8];
    log.append(&largest).unwrap();
    log.flush().unwrap();
    drop(log);
    let log = reopen(Position::ZERO);
    let mut readers = [1, 2].map(|from| log.reader(Position(from)).unwrap());
    let read = readers.each_mut().map(|reader| drain(&mut **reader).len());
    assert_eq!(read, [1, 0]);
    log.append(&largest).unwrap();
    log.flush().unwrap();
    for mut reader in readers {
        assert_eq!(drain(&mut *reader), [(2, largest.clone())]);
    }
}

#[test]
fn what_is_held_is_not_trimmed() {
    each(|Subject { log, .. }| {
        fill(&*log, 1..=100);
        let mut held = log.hold(Position(30));
        let late = log.hold(Position(60));
        assert_eq!((held.from(), late.from()), (Position(30), Position(60)));
        let mut reader = log.reader(Position(30)).unwrap();
        log.trim(Position(100)).unwrap();
        assert!(log.first() > Position(1) && log.first() <= Position(30), "{}", log.first());
        assert_eq!(drain(&mut *reader), expected(30..=100));
        held.advance(Position(20));
        assert_eq!(held.from(), Position(30));
        held.advance(Position(80));
        let first = log.first();
        assert!(first <= Position(30), "until the next trim");
        log.trim(Position(100)).unwrap();
        assert!(log.first() > first && log.first() <= Position(60), "{}", log.first());
        drop(late);
        log.trim(Position(100)).unwrap();
        assert!(log.first() > Position(60) && log.first() <= Position(80), "{}", log.first());
        drop(held);
        log.trim(Position(100)).unwrap();
        assert!(log.first() > Position(80), "{}", log.first());
    });
}

#[test]
fn holds_of_the_same_position_count() {
    each(|Subject { log, .. }| {
        fill(&*log, 1..=100);
        let (one, other) = (log.hold(Position(5)), log.hold(Position(5)));
        drop(one);
        log.trim(Position(100)).unwrap();
        assert!(log.first() <= Position(5), "{}", log.first());
        drop(other);
        log.trim(Position(100)).unwrap();
        assert!(log.first() > Position(5), "{}", log.first());
    });
}

#[test]
fn what_was_freed_is_neither_held_nor_read() {
    each(|Subject { log, .. }| {
        fill(&*log, 1..=100);
        let mut slow = log.reader(Position(1)).unwrap();
        slow.next().unwrap();
        log.trim(Position(90)).unwrap();
        let first = log.first();
        assert_eq!(log.hold(Position(3)).from(), first);
        assert!(matches!(log.reader(Position(3)), Err(LogError::Gone { from: Position(3), .. })));
        let gone = loop {
            match slow.next() {
                // What is in its segment's file, which is open.
                Ok(group) => assert!(group.unwrap().0 < first),
                Err(error) => break error,
            }
        };
        assert!(matches!(gone, LogError::Gone { .. }), "{gone}");
    });
}

#[test]
fn a_reader_and_its_hold_follow_the_writer() {
    each(|Subject { log, .. }| {
        const GROUPS: u64 = 1_000;
        std::thread::scope(|scope| {
            scope.spawn(|| fill(&*log, 1..=GROUPS));
            let (mut hold, mut reader) = (log.hold(Position(1)), log.reader(Position(1)).unwrap());
            let mut next = 1;
            while next <= GROUPS {
                let Some((position, group)) = reader.next().unwrap() else {
                    std::thread::yield_now();
                    continue;
                };
                assert_eq!((position.0, group), (next, &payload(next)[..]));
                next += 1;
                hold.advance(Position(next));
                // As far as the view could be: ahead of it.
                log.trim(log.next()).unwrap();
            }
        });
        assert_eq!(log.next(), Position(GROUPS + 1));
    });
}

//! How close the log comes to the disk: groups appended and flushed one after the other, against the same bytes appended
//! to a plain file that grows, with `fdatasync` each. The two take turns, so that they meet the same disk.
//!
//! `cargo run --release -p quoth-store --example append_bench [folder] [seconds per row]`

use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use quoth_store::testing::record;
use quoth_store::{Log, Position, Record, SegmentLog, group};

const BODY_BYTES: usize = 200;
const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
const GROUP_RECORDS: [usize; 6] = [1, 8, 64, 256, 512, 1024];
/// How long one of the two goes on before it is the other's turn.
const TURN: Duration = Duration::from_millis(250);

/// Times of single appends.
#[derive(Default)]
struct Times(Vec<Duration>);

impl Times {
    fn per_mille(&mut self, per_mille: usize) -> Duration {
        self.0.sort();
        let index = self.0.len() * per_mille / 1000;
        self.0.get(index.min(self.0.len().saturating_sub(1))).copied().unwrap_or_default()
    }

    fn per_second(&self, records: usize) -> f64 {
        let total: Duration = self.0.iter().sum();
        (self.0.len() * records) as f64 / total.as_secs_f64()
    }

    fn print(&mut self, name: &str, records: usize) -> f64 {
        let per_second = self.per_second(records);
        println!(
            "{records:>5} {name:<12} {per_second:>10.0} msg/s   p50 {:>9.1?} p99 {:>9.1?} p99.9 {:>9.1?} max {:>9.1?}",
            self.per_mille(500),
            self.per_mille(990),
            self.per_mille(999),
            self.per_mille(1000)
        );
        per_second
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let parent = args.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let seconds: u64 = args.next().map_or(Ok(6), |text| text.parse())?;
    let dir = tempfile::tempdir_in(parent)?;
    println!("append and fdatasync, {BODY_BYTES} byte messages, in {}", dir.path().display());
    for records in GROUP_RECORDS {
        let bytes = encoded(records);
        let log =
            SegmentLog::open(&dir.path().join(format!("log-{records}")), SEGMENT_BYTES, Position::ZERO)?;
        let mut file = File::create(dir.path().join(format!("file-{records}")))?;
        let (mut of_log, mut of_file) = (Times::default(), Times::default());
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(seconds) {
            take_turn(&mut of_log, || {
                let position = log.append(&bytes)?;
                log.flush()?;
                // As the applier does; a segment is freed now and then beside the appends.
                if position.0.is_multiple_of(1024) {
                    log.trim(position)?;
                }
                Ok(())
            })?;
            take_turn(&mut of_file, || {
                file.write_all(&bytes)?;
                Ok(file.sync_data()?)
            })?;
        }
        log.close()?;
        let ratio = of_log.print("log", records) / of_file.print("plain file", records);
        println!("{records:>5} ratio {ratio:.2}");
    }
    Ok(())
}

fn encoded(records: usize) -> Vec<u8> {
    let records: Vec<Record> = (1..=records as u64)
        .map(|seq| Record { body: vec![b'x'; BODY_BYTES].into(), ..record("conversation", seq, seq) })
        .collect();
    let mut bytes = Vec::new();
    group::encode(&records, &mut bytes);
    bytes
}

fn take_turn(
    times: &mut Times,
    mut append: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    let turn = Instant::now();
    while turn.elapsed() < TURN {
        let started = Instant::now();
        append()?;
        times.0.push(started.elapsed());
    }
    Ok(())
}

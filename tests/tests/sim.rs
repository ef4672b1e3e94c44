//! The whole stack under simulated faults, many seeds. `QUOTH_SIM_SEEDS=n` runs the first n, `QUOTH_SIM_SEED=k` only k
//! and with the log that `RUST_LOG` asks for.

use std::sync::atomic::{AtomicU64, Ordering};

use quoth_tests::sim::{Certificates, Outcome, Plant, run};

/// Seeds by default.
const SEEDS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text} is no number: {error}")))
}

/// Runs seeds on all cores until one fails; gives the failures, lowest seed first.
fn failures(seeds: std::ops::Range<u64>, plant: Plant) -> Vec<(u64, String)> {
    let dir = tempfile::tempdir().unwrap();
    let certificates = Certificates::in_folder(dir.path()).unwrap();
    let next = AtomicU64::new(seeds.start);
    let found = parking_lot::Mutex::new(Vec::new());
    let work = || {
        while found.lock().is_empty() {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            match run(seed, &certificates, plant) {
                Ok(outcome) => println!("seed {seed}: {outcome}"),
                Err(error) => {
                    println!("seed {seed}: {error:#}");
                    found.lock().push((seed, format!("{error:#}")));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut found = found.into_inner();
    found.sort();
    found
}

#[test]
fn every_promise_holds_under_faults() {
    let seeds = match number("QUOTH_SIM_SEED") {
        Some(seed) => {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().init();
            seed..seed + 1
        }
        None => 0..number("QUOTH_SIM_SEEDS").unwrap_or(SEEDS),
    };
    if let Some((seed, failure)) = failures(seeds, Plant::Nothing).first() {
        panic!("seed {seed} failed: {failure}\nrepeat it with QUOTH_SIM_SEED={seed}");
    }
}

//! The whole stack under simulated faults, many seeds. `QUOTH_SIM_SEEDS=n` runs the first n,
//! `QUOTH_SIM_SEED=k` only k and with the log that `RUST_LOG` asks for.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use quoth_tests::sim::{
    Certificates, Clients, Plant, fault_of_the_server, repeated_behind_hello, run,
    stored_while_a_page_is_read,
};

/// Seeds by default.
const SEEDS: u64 = 100;

/// Seeds that are run twice.
const TRACED_SEEDS: Range<u64> = 0..10;

/// Set for the process that prints traces for another one: the folder with the certificates of both.
const CERTIFICATES_ENV: &str = "QUOTH_SIM_CERTIFICATES";

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{name}={text} is no number: {error}")))
}

/// Runs seeds on all cores until one fails; gives the failures, lowest seed first.
fn failures(seeds: Range<u64>, clients: Clients, plant: Plant) -> Vec<(u64, String)> {
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
            match run(seed, clients, &certificates, plant) {
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

fn assert_all_hold(clients: Clients) {
    let seeds = match number("QUOTH_SIM_SEED") {
        Some(seed) => {
            let filter = tracing_subscriber::EnvFilter::from_default_env();
            let log = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
            log.unwrap_or_else(|error| println!("no log: {error}"));
            seed..seed + 1
        }
        None => 0..number("QUOTH_SIM_SEEDS").unwrap_or(SEEDS),
    };
    if let Some((seed, failure)) = failures(seeds, clients, Plant::Nothing).first() {
        panic!("seed {seed} failed: {failure}\nrepeat it with QUOTH_SIM_SEED={seed}");
    }
}

#[test]
fn every_promise_holds_under_faults() {
    assert_all_hold(Clients::Frames);
}

#[test]
fn every_promise_holds_through_the_sdk() {
    assert_all_hold(Clients::Sdk);
}

#[test]
fn nobody_is_told_what_is_behind_their_leave() {
    assert_all_hold(Clients::Members);
}

#[test]
fn a_reader_gets_what_is_stored_while_its_page_is_read() {
    let dir = tempfile::tempdir().unwrap();
    stored_while_a_page_is_read(&Certificates::in_folder(dir.path()).unwrap()).unwrap();
}

#[test]
fn a_reconnect_costs_one_round_trip_behind_the_handshake() {
    let dir = tempfile::tempdir().unwrap();
    repeated_behind_hello(&Certificates::in_folder(dir.path()).unwrap()).unwrap();
}

#[test]
fn a_fault_of_the_server_is_no_goodbye() {
    let dir = tempfile::tempdir().unwrap();
    fault_of_the_server(&Certificates::in_folder(dir.path()).unwrap()).unwrap();
}

#[test]
fn planted_bugs_are_found() {
    for plant in [Plant::EarlyAck, Plant::ForgottenProducers, Plant::CursorOffByOne] {
        println!("{plant:?}");
        assert!(!failures(0..SEEDS, Clients::Frames, plant).is_empty(), "{plant:?} is not found");
    }
}

/// One line for each traced seed.
fn outcomes(certificates_dir: &Path) -> Vec<String> {
    let certificates = Certificates::in_folder(certificates_dir).unwrap();
    let line = |seed| {
        format!("traced {seed}: {}", run(seed, Clients::Frames, &certificates, Plant::Nothing).unwrap())
    };
    TRACED_SEEDS.map(line).collect()
}

#[test]
fn a_seed_gives_the_same_trace_again_and_in_another_process() {
    if let Some(dir) = std::env::var_os(CERTIFICATES_ENV) {
        // The harness has begun a line with this test's name.
        println!();
        outcomes(&PathBuf::from(dir)).iter().for_each(|line| println!("{line}"));
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let first = outcomes(dir.path());
    let second = outcomes(dir.path());
    assert_eq!(first, second, "within a process");
    let other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_seed_gives_the_same_trace_again_and_in_another_process", "--nocapture"])
        .env(CERTIFICATES_ENV, dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8(other.stdout).unwrap();
    let third: Vec<&str> = text.lines().filter(|line| line.starts_with("traced ")).collect();
    assert_eq!(first, third, "in another process");
    let unique: std::collections::BTreeSet<_> = first.iter().map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(unique.len(), first.len(), "other seeds give other traces");
}

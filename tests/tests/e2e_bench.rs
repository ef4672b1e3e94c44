//! `quoth bench` as its users see it: the method holds, and what is broken on purpose fails the run.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use quoth_bench::outcome::{Outcome, Round};
use quoth_tests::process::binary;
use tempfile::TempDir;

/// A run on a new folder.
struct Bench {
    dir: TempDir,
    command: Command,
}

impl Bench {
    fn new(arguments: &[&str]) -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut command = Command::new(binary("quoth"));
        command.arg("bench").args(arguments).args(["--rounds", "1", "--warm-up", "0.5"]);
        command.arg("--dir").arg(dir.path()).arg("--json").arg(dir.path().join("found.json"));
        Self { dir, command }
    }

    fn run(mut self) -> (Output, Outcome) {
        let output = self.command.output().expect("quoth runs");
        let found = std::fs::read(self.dir.path().join("found.json"));
        let found = found.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output, serde_json::from_slice(&found).expect("an outcome"))
    }
}

fn round<'a>(outcome: &'a Outcome, system: &str) -> &'a Round {
    let system = outcome.systems.iter().find(|s| s.name == system).unwrap_or_else(|| panic!("no {system}"));
    &system.rounds[0]
}

#[test]
fn a_run_measures_server_and_floors_and_leaves_nothing() {
    let bench = Bench::new(&["latency", "--duration", "1", "--rate", "200"]);
    let dir = bench.dir.path().to_owned();
    let keep = TempDir::new_in(&dir).expect("a folder that keeps the other");
    let mut bench = bench;
    let output = bench.command.output().expect("quoth runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Outcome =
        serde_json::from_slice(&std::fs::read(dir.join("found.json")).expect("found")).expect("an outcome");
    for system in ["quoth", "quinn relay", "websocket relay"] {
        let round = round(&found, system);
        assert!(round.check.is_clean() && round.check.checked == 300, "{system}: {:?}", round.check);
        assert_eq!(round.latencies["delivery"].count, 200, "{system}: without the warm-up");
        assert!(round.latencies["timer"].count > 0 && round.values["cpu"] >= 0.0, "{system}");
    }
    assert_eq!(round(&found, "append").latencies["ack"].count, 200);
    assert!(found.ratios.iter().any(|ratio| ratio.what == "delivery p50: quoth over (quinn relay + append)"));
    assert!(found.systems[0].durability.contains("fdatasync"));
    drop(keep);
    let left: Vec<_> = std::fs::read_dir(&dir).expect("the folder").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "only the JSON file is left: {left:?}");
}

/// Stops the server of a run for a while, as a long pause would.
fn pause_server_of(dir: &Path, pause: Duration) {
    let config = loop {
        let folders = std::fs::read_dir(dir).expect("the folder").filter_map(Result::ok);
        if let Some(config) =
            folders.map(|folder| folder.path().join("quoth.toml")).find(|file| file.exists())
        {
            break config;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let log = config.with_file_name("log");
    while !std::fs::read_to_string(&log).is_ok_and(|log| log.contains(" serving ")) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // Clients connect within a fraction of the time that a run lasts.
    std::thread::sleep(Duration::from_millis(1_500));
    let found = Command::new("pgrep").arg("-f").arg(config).output().expect("pgrep");
    let pid = String::from_utf8_lossy(&found.stdout).trim().to_owned();
    let signal = |name: &str| Command::new("kill").args([name, &pid]).status().expect("kill").success();
    assert!(signal("-STOP"), "no process {pid}");
    std::thread::sleep(pause);
    assert!(signal("-CONT"));
}

#[test]
fn a_server_that_pauses_shows_as_the_latency_of_all_that_was_due_meanwhile() {
    let pause = Duration::from_millis(1_000);
    let bench = Bench::new(&["latency", "--duration", "3", "--rate", "200", "--no-floors"]);
    let dir = bench.dir.path().to_owned();
    let pausing = std::thread::spawn(move || pause_server_of(&dir, pause));
    let (output, found) = bench.run();
    pausing.join().expect("the server was stopped");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let delivery = &round(&found, "quoth").latencies["delivery"];
    assert_eq!(delivery.count, 600, "none is left out");
    // 200 of 600 were due in the pause, evenly, so that a sixth waited for over half of it. A bench that waits for an
    // answer before it sends the next would see a single one.
    let half = pause.as_micros() as f64 / 2.0;
    let (below, _) = delivery.curve.iter().rev().find(|(_, us)| *us < half).expect("most are fast");
    assert!(*below < 0.9, "only {:.1} % took over half of the pause", (1.0 - below) * 100.0);
}

#[test]
fn whatever_a_system_does_wrong_fails_the_run() {
    for (fault, closed) in [("lose", false), ("double", true), ("alter", false)] {
        let mut bench = Bench::new(&["latency", "--duration", "1", "--patience", "1"]);
        if closed {
            bench.command.args(["--closed", "--window", "8"]);
        }
        bench.command.env("QUOTH_BENCH_FAULT", fault);
        let (output, found) = bench.run();
        assert_eq!(output.status.code(), Some(1), "{fault}");
        let check = round(&found, "quinn relay").check;
        let counted = match fault {
            "lose" => check.lost.min(check.gap),
            "double" => check.duplicate,
            _ => check.altered,
        };
        assert!(counted >= 5, "{fault}: {check:?}");
        assert!(round(&found, "quoth").check.is_clean(), "the server is not the relay");
    }
}

/// Lost messages fill a window that waits for deliveries, and nothing opens it any more.
#[test]
fn a_closed_loop_ends_whatever_is_lost() {
    let mut bench = Bench::new(&["throughput", "--duration", "1", "--patience", "1"]);
    bench.command.env("QUOTH_BENCH_FAULT", "lose");
    let (output, found) = bench.run();
    assert_eq!(output.status.code(), Some(1));
    assert!(round(&found, "quinn relay").check.lost > 0);
}

#[test]
fn what_cannot_be_played_is_told_with_what_can() {
    let output = Command::new(binary("quoth")).args(["bench", "chats"]).output().expect("quoth runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains("chat, fanout"), "{told}");
    let output = Command::new(binary("quoth"))
        .args(["bench", "latency", "--server-binary", "/no/such"])
        .output()
        .expect("quoth runs");
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("/no/such"));
}

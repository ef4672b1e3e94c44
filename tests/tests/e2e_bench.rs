//! `quoth bench` as its users see it: the method holds, and what is broken on purpose fails the run.

#[path = "e2e_bench/acked.rs"]
mod acked;
#[path = "e2e_bench/compared.rs"]
mod compared;
#[path = "e2e_bench/ended.rs"]
mod ended;
#[path = "e2e_bench/honest.rs"]
mod honest;
#[path = "e2e_bench/recorded.rs"]
mod recorded;
#[path = "e2e_bench/written.rs"]
mod written;

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use quoth_bench::figure;
use quoth_bench::outcome::{Outcome, Round};
use quoth_tests::process::{ServerProcess, binary};
use tempfile::TempDir;

/// How long anything may take that must happen before it counts as stuck.
const STUCK: Duration = Duration::from_secs(60);

/// One sender, one reader.
const PAIR: &str =
    "about = \"\"\nkind = \"open\"\nconversations = 1\nmembers = 2\nconnections = 2\nrate_per_s = 1000\n";

/// A run on a new folder.
struct Bench {
    dir: TempDir,
    command: Command,
}

impl Bench {
    fn new(arguments: &[&str]) -> Self {
        let mut bench = Self::new_without_times(arguments);
        bench.command.args(["--warm-up", "0.5"]);
        bench
    }

    /// Of a load that takes as long as it takes.
    fn new_without_times(arguments: &[&str]) -> Self {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let mut command = Command::new(binary("quoth"));
        command.arg("bench").args(arguments).args(["--rounds", "1"]);
        command.arg("--dir").arg(dir.path()).arg("--json").arg(dir.path().join("found.json"));
        Self { dir, command }
    }

    /// Of a pair, with one floor.
    fn of_pair(floor: &str, arguments: &[&str]) -> Self {
        let mut bench = Self::new(arguments);
        let profile = bench.dir.path().join("pair.toml");
        std::fs::write(&profile, format!("{PAIR}floors = [{floor:?}]\n")).expect("a profile");
        bench.command.arg(profile);
        bench
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
        assert!(round.latencies["timer"].count > 0 && round.values["cpu"] > 0.0, "{system}");
        assert!(round.latencies["publish"].count == 200 && round.values["clients_cpu"] > 0.0, "{system}");
    }
    assert_eq!(round(&found, "append").latencies["ack"].count, 200);
    for figure in figure::values(&found) {
        assert!(figure.better().is_some() || figure.why_told().is_some(), "which way is {figure:?} better?");
    }
    assert!(found.ratios.iter().any(|ratio| ratio.what == "delivery p50: quoth over (quinn relay + append)"));
    assert!(found.systems[0].durability.contains("fdatasync"));
    drop(keep);
    let left: Vec<_> = std::fs::read_dir(&dir).expect("the folder").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "only the JSON file is left: {left:?}");
}

/// The configuration of a run's server in this folder, once it serves.
fn config_of_serving(dir: &Path) -> PathBuf {
    let inside = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).collect()
    };
    let mut found = None;
    until("a server of a run in the folder serves", || {
        let servers = inside(dir).into_iter().flat_map(|run| inside(&run));
        let mut configs = servers.map(|server| server.join("quoth.toml"));
        let serves = |config: &PathBuf| {
            std::fs::read_to_string(config.with_file_name("log")).is_ok_and(|log| log.contains(" serving "))
        };
        found = configs.find(serves);
        found.is_some()
    });
    found.expect("it was found")
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < STUCK, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The process that has this configuration; empty when there is none.
fn pid_of(config: &Path) -> String {
    let found = Command::new("pgrep").arg("-f").arg(config).output().expect("pgrep");
    String::from_utf8_lossy(&found.stdout).trim().to_owned()
}

/// What a process has written to files, in bytes.
fn written_bytes(pid: &str) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{pid}/io")).expect("the process is ours");
    let bytes = told.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("what it has written");
    bytes.parse().expect("a number")
}

/// Stops the server of a run for a while, as a long pause would.
fn pause_server_of(dir: &Path, pause: Duration) {
    /// What messages take that are due in a second, and a quarter of one.
    const STORED_BYTES: u64 = 2_000_000;
    let pid = pid_of(&config_of_serving(dir));
    let before = written_bytes(&pid);
    // In the middle of the load, however long clients take to connect.
    until("messages are stored", || written_bytes(&pid) >= before + STORED_BYTES);
    let signal = |name: &str| Command::new("kill").args([name, &pid]).status().expect("kill").success();
    assert!(signal("-STOP"), "no process {pid}");
    std::thread::sleep(pause);
    assert!(signal("-CONT"));
}

#[test]
fn a_server_that_pauses_shows_as_the_latency_of_all_that_was_due_meanwhile() {
    let pause = Duration::from_secs(2);
    // More than flow control lets go out to one that reads nothing.
    let bench =
        Bench::new(&["latency", "--duration", "5", "--rate", "200", "--payload", "8000", "--no-floors"]);
    let dir = bench.dir.path().to_owned();
    let pausing = std::thread::spawn(move || pause_server_of(&dir, pause));
    let (output, found) = bench.run();
    pausing.join().expect("the server was stopped");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let delivery = &round(&found, "quoth").latencies["delivery"];
    assert_eq!(delivery.count, 1_000, "none is left out");
    // 400 of 1,000 were due in the pause, evenly, so that a fifth waited for over half of it. A bench that
    // waits for an answer before it sends the next would see a single one.
    let half = pause.as_micros() as f64 / 2.0;
    let (below, _) = delivery.curve.iter().rev().find(|(_, us)| *us < half).expect("most are fast");
    assert!(*below < 0.9, "only {:.1} % took over half of the pause", (1.0 - below) * 100.0);
    // That the messages went out late is the server's doing, and is not told of the bench.
    let late_us = round(&found, "quoth").latencies["publish"].p99_us;
    assert!(late_us < half, "the bench was {late_us} us late");
    let table = String::from_utf8_lossy(&output.stdout);
    // For how long is the machine's too, and so is what a p50 has of the bench's lateness.
    assert!(table.contains("warning: quoth stood still: for "), "{table}");
    let in_words = table.split_whitespace().collect::<Vec<_>>().join(" ");
    let late = "messages went out late while quoth was measured, by more than half of its delivery p9";
    assert!(!in_words.contains(late), "{table}");
}

#[test]
fn whatever_a_system_does_wrong_fails_the_run() {
    for (fault, closed) in [("lose", false), ("double", true), ("alter", false)] {
        // In that time a busy server delivers the last ones.
        let mut bench = Bench::of_pair("relay", &["--duration", "1", "--patience", "5"]);
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

/// A run that would take a minute, whose server serves.
fn running(dir: &Path) -> (Child, PathBuf) {
    let mut command = Command::new(binary("quoth"));
    command.args(["bench", "latency", "--duration", "60", "--no-floors", "--dir"]).arg(dir);
    let run = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("quoth runs");
    (run, config_of_serving(dir))
}

fn signalled(mut run: Child, signals: &[&str]) -> std::process::ExitStatus {
    let words: Vec<String> = signals.iter().map(|signal| format!("kill -{signal} {}", run.id())).collect();
    assert!(Command::new("sh").arg("-c").arg(words.join(" && ")).status().expect("sh").success());
    run.wait().expect("it ends")
}

#[test]
fn whatever_ends_a_run_its_server_and_its_folder_go_too() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let is_empty = || std::fs::read_dir(dir.path()).expect("the folder").count() == 0;
    let (run, config) = running(dir.path());
    assert_eq!(signalled(run, &["KILL"]).signal(), Some(9));
    // Nobody waits for it, so it ends when the kernel gets to it.
    until("the server of a dead run has ended", || pid_of(&config).is_empty());
    assert!(config.exists(), "nobody was there to remove it");
    // The next run sweeps. What comes right behind the first signal says the same.
    std::fs::remove_file(config.with_file_name("log")).expect("the dead server's log");
    let (run, config) = running(dir.path());
    // Both are pending when it looks, so either is taken for the first.
    let code = signalled(run, &["INT", "TERM"]).code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
    assert!(is_empty() && pid_of(&config).is_empty());
    let (run, config) = running(dir.path());
    assert_eq!(signalled(run, &["TERM"]).code(), Some(143));
    assert!(is_empty() && pid_of(&config).is_empty());
}

#[test]
fn a_round_that_fails_keeps_what_was_measured_before() {
    let mut bench = Bench::of_pair("websocket", &["--duration", "0.5", "--rate", "400"]);
    bench.command.env("QUOTH_BENCH_FAULT", "exit");
    let (output, found) = bench.run();
    assert_eq!(output.status.code(), Some(1));
    let failure = found.failure.as_ref().expect("it is told");
    assert_eq!((failure.round, failure.system.as_str()), (1, "websocket relay"));
    assert!(round(&found, "quoth").check.checked == 400 && found.systems.len() == 1, "{failure}");
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains("FAILED: the relay ended (exit code 1) during round 1 of websocket relay")
    );
}

#[test]
fn a_server_that_runs_already_is_measured_under_its_name() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).expect("a server");
    let bench = |name: &str| {
        let mut bench = Bench::new(&["latency", "--duration", "0.5", "--rate", "200", "--no-floors"]);
        bench.command.arg("--client-file").arg(data.join("client.json"));
        bench.command.args(["--server-name", name, "--server-pid", &server.pid().to_string()]);
        bench
    };
    let (output, found) = bench("localhost").run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let quoth = &found.systems[0];
    assert!(quoth.durability.starts_with("stored") && quoth.version.is_some(), "{quoth:?}");
    assert!(quoth.rounds[0].values["memory_peak_bytes"] > 0.0);
    let output = bench("nobody.example").command.output().expect("quoth runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && told.contains("certificate"), "{told}");
    let mut nobody = Command::new(binary("quoth"));
    nobody
        .args(["bench", "latency", "--token", "x", "--server", "127.0.0.1:1", "--ca"])
        .arg(server.ca_file());
    let output = nobody.output().expect("quoth runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.starts_with("error: nobody answers at 127.0.0.1:1 over QUIC: nothing listens"), "{told}");
    assert!(output.status.code() == Some(2) && told.contains("or leave --server out"), "{told}");
}

#[test]
fn wrong_usage_is_told_before_anything_is_started() {
    let told = |arguments: &[&str]| {
        let output = Command::new(binary("quoth")).arg("bench").args(arguments).output().expect("quoth runs");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(told(&["latency", "--set", "bogus"]).contains("--set bogus: expected KEY=VALUE"));
    assert!(told(&["latency", "--set", "limits.bogus=1"]).contains("no setting limits.bogus"));
    assert!(told(&["latency", "--server-binary", "/no/such"]).contains("/no/such cannot be started"));
    assert!(told(&["latency", "--server-binary", "/bin/true"]).contains("/bin/true is no quoth-server"));
    assert!(
        told(&["throughput", "versus", "--against", "jetstream"])
            .contains("quoth bench versus throughput --against jetstream")
    );
    assert!(told(&["latency", "--device", "d"]).contains("--device has no effect on the bench"));
    assert!(
        told(&["latency", "--set", "server.listen=127.0.0.1:1"]).contains("is what the bench sets itself")
    );
    assert!(told(&["latency", "--dir", "/proc"]).contains("no folder can be made in /proc (--dir)"));
    assert!(told(&["latency", "--dir", "/no/such"]).contains("--dir /no/such is no folder"));
    assert!(told(&["chat", "--replay", "/no/such"]).contains("--replay: cannot read /no/such"));
    assert!(told(&["/"]).contains("/ cannot be read"));
    assert!(told(&["compare", "/no/such", "/no/such"]).contains("/no/such cannot be read"));
    assert!(told(&["report", "/no/such", "/dev/null"]).contains("/no/such cannot be read"));
    assert!(told(&["storm", "--duration", "5"]).contains("--duration has no effect on `storm`"));
    assert!(told(&["chats"]).contains("there is no profile"));
    assert!(told(&["profiles", "chats"]).contains("lists them"));
    assert!(
        told(&["latency", "--duration", "-1"])
            .contains("--duration must be 0.2 s to 1,000,000 s, and it is -1")
    );
    assert!(told(&["fanout", "--closed"]).contains("which is of kind \"closed\" already"));
    assert!(
        told(&["latency", "--server", "127.0.0.1:1"])
            .contains("give --client-file, or --ca FILE and --token")
    );
}

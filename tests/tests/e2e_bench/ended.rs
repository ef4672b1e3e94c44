//! How a run ends before its time: one clear line of why, and nothing left.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use quoth_tests::process::{ServerProcess, binary};
use tempfile::TempDir;

use super::{Bench, config_of_serving, pid_of, until};

/// A run in a process group of its own, as a shell starts one.
fn in_a_group(dir: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(binary("quoth"));
    command.args(["bench", "latency", "--rate", "100", "--dir"]).arg(dir).args(arguments);
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("quoth runs")
}

fn signal_group(run: &Child, signal: &str) {
    let group = format!("-{}", run.id());
    let sent = Command::new("kill").args([&format!("-{signal}"), "--", &group]).status();
    assert!(sent.expect("kill").success());
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_signal_to_the_whole_group_is_told_in_a_line() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let run = in_a_group(dir.path(), &["--duration", "60", "--no-floors"]);
        let config = config_of_serving(dir.path());
        signal_group(&run, signal);
        let output = run.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{}", told(&output));
        let line = format!("stopped by SIG{signal} before anything was measured; nothing is kept");
        let told = told(&output);
        assert!(told.lines().last() == Some(&line) && !told.contains("error"), "{told}");
        assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 0);
        assert!(pid_of(&config).is_empty());
    }
}

/// The floor that is no server is a process like any other.
#[test]
fn what_was_measured_before_a_signal_is_kept() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let json = dir.path().join("found.json");
    let profile = dir.path().join("disk.toml");
    let text = format!("{}floors = [\"append\"]\n", super::PAIR);
    std::fs::write(&profile, text).expect("a profile");
    let mut command = Command::new(binary("quoth"));
    // So long that the signals come while the disk is measured.
    command.arg("bench").arg(&profile).args(["--duration", "4", "--warm-up", "0", "--rounds", "50"]);
    command.arg("--dir").arg(dir.path()).arg("--json").arg(&json);
    command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = command.spawn().expect("quoth runs");
    // Round 1 begins with the server and ends with the disk.
    let disk = format!("bench floor append {}", dir.path().display());
    until("the disk is measured", || !pid_of(Path::new(&disk)).is_empty());
    // As who presses Ctrl-C twice does, and a wrapper that passes on what the whole group has got.
    signal_group(&run, "INT");
    signal_group(&run, "INT");
    signal_group(&run, "TERM");
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert!(told(&output).contains("measurement 2 of 100, round 1 of 50, append; "), "{}", told(&output));
    let line = format!("stopped by SIGINT after 0 whole rounds; 1 measurement kept in {}", json.display());
    assert_eq!(told(&output).lines().last(), Some(&*line));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("FAILED: stopped by SIGINT during round 1 of append"), "{table}");
    assert!(json.exists());
    assert_eq!(
        std::fs::read_dir(dir.path()).expect("the folder").count(),
        2,
        "the profile and what was found"
    );
}

#[test]
fn a_later_signal_ends_it_at_once_and_tells_what_is_lost() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    // Nobody ever reads what is written there, so that the run does not end by itself.
    let json = dir.path().join("found.json");
    assert!(Command::new("mkfifo").arg(&json).status().expect("mkfifo").success());
    let mut command = Command::new(binary("quoth"));
    command.args(["bench", "latency", "--duration", "0.3", "--warm-up", "0", "--rounds", "1", "--no-floors"]);
    command.arg("--dir").arg(dir.path()).arg("--json").arg(&json);
    let mut run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("quoth runs");
    let table = BufReader::new(run.stdout.take().expect("it is piped")).lines().map_while(Result::ok);
    assert!(table.into_iter().any(|line| line.starts_with("built: ")), "it prints the table first");
    let signal =
        |name: &str| Command::new("kill").args([name, &run.id().to_string()]).status().expect("kill");
    assert!(signal("-INT").success());
    let pid = run.id();
    until("a signal that is not one with the first ends it", || {
        Command::new("kill").args(["-TERM", &pid.to_string()]).status().expect("kill");
        run.try_wait().expect("it is ours").is_some()
    });
    let output = run.wait_with_output().expect("it has ended");
    assert_eq!(output.status.code(), Some(143), "{}", told(&output));
    let lost = "ended at once by a second signal, SIGTERM; lost: 1 measurement that was done, in ";
    let line = format!("{lost}{}", json.display());
    assert_eq!(told(&output).lines().last(), Some(&*line), "{}", told(&output));
    assert_eq!(std::fs::read_dir(dir.path()).expect("the folder").count(), 1, "what the test has made");
}

#[test]
fn a_server_that_ends_is_told_with_its_signal() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let run = in_a_group(dir.path(), &["--duration", "60", "--no-floors"]);
    let pid = pid_of(&config_of_serving(dir.path()));
    assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        told(&output).contains("error: quoth, round 1: the server ended (signal 9)"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_process_that_is_not_the_server_is_refused() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).expect("a server");
    let other = ServerProcess::start(&dir.path().join("other")).expect("another server");
    let refused = |pid: u32| {
        let mut bench = Bench::new(&["latency", "--duration", "0.5", "--no-floors"]);
        bench.command.arg("--client-file").arg(data.join("client.json"));
        let output = bench.command.args(["--server-pid", &pid.to_string()]).output().expect("quoth runs");
        assert_eq!(output.status.code(), Some(2), "{}", told(&output));
        told(&output)
    };
    let wrong = refused(other.pid());
    assert!(
        wrong.contains("has no socket at port") && wrong.contains(&server.address().to_string()),
        "{wrong}"
    );
    assert!(refused(std::process::id()).contains("it is not the server at"));
}

//! The files that a run leaves: each whole or as it was before, whatever becomes of the other.

use std::process::{Command, Output};

use quoth_bench::testing::sample;
use quoth_tests::process::binary;
use tempfile::TempDir;

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn names(dir: &TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(dir.path()).expect("the folder").filter_map(Result::ok);
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_file_that_cannot_be_written_takes_no_other_with_it() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let html = dir.path().join("report.html");
    let mut command = Command::new(binary("quoth"));
    command.args(["bench", "latency", "--duration", "0.3", "--warm-up", "0", "--rounds", "1", "--no-floors"]);
    command.args(["--rate", "100", "--json", "/dev/full", "--html"]).arg(&html).arg("--dir").arg(dir.path());
    let output = command.output().expect("quoth runs");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("error: /dev/full cannot be written: No space left"), "{}", told(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("built: server "), "the table is told");
    assert!(std::fs::read_to_string(&html).expect("a report").ends_with("</html>\n"), "all of it");
    assert_eq!(names(&dir), ["report.html"]);
}

#[test]
fn a_report_that_does_not_fit_leaves_what_was_there() {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let (found, html) = (dir.path().join("found.json"), dir.path().join("report.html"));
    std::fs::write(&found, serde_json::to_string(&sample()).expect("a document")).expect("it is written");
    std::fs::write(&html, "the one before").expect("it is written");
    // A file may have a few KiB, which is said to who writes more, as by a disk that is full.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 8; exec \"$@\"", "sh"]);
    let output =
        shell.arg(binary("quoth")).args(["bench", "report"]).args([&found, &html]).output().expect("sh");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(told(&output).contains("report.html cannot be written: File too large"), "{}", told(&output));
    assert_eq!(std::fs::read_to_string(&html).expect("it is there"), "the one before");
    assert_eq!(names(&dir), ["found.json", "report.html"]);
    let over_itself = Command::new(binary("quoth")).args(["bench", "report"]).args([&found, &found]).output();
    let over_itself = over_itself.expect("quoth runs");
    assert!(over_itself.status.code() == Some(2) && told(&over_itself).contains("name another file"));
}

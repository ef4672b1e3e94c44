//! The figures' program measures all that it names, in a run too short to tell anything.

use std::process::Command;

use quoth_tests::figures::FIGURES;
use quoth_tests::process::binary;

#[test]
fn every_figure_is_measured_and_has_a_row() {
    // So that a missing server is told before the figures look for it.
    let server = binary("quoth-server");
    let output = Command::new(env!("CARGO_BIN_EXE_figures"))
        .args([
            "--rounds",
            "1",
            "--turn-s",
            "1",
            "--long-s",
            "3",
            "--stored-messages",
            "60000",
            "--catch-up-messages",
            "20000",
            "--kept-messages",
            "200000",
            "--inbox-conversations",
            "100",
            "--sign-ins",
            "50",
            "--flood-s",
            "1",
        ])
        // What is of no use as a figure: the build beside itself.
        .arg("--before")
        .arg(server.parent().unwrap())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    // 1: a goal is not reached, which says nothing here.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}\n{text}\n{errors}", output.status);
    for expected in FIGURES.iter().flat_map(|figure| figure.rows) {
        let row = text.lines().find(|line| line.starts_with('|') && line.contains(expected.what));
        let row = row.unwrap_or_else(|| panic!("no row for {}:\n{text}\n{errors}", expected.what));
        let value = row.split('|').nth(3).and_then(|cell| cell.trim().parse::<f64>().ok());
        // Memory may not grow at all, and what goes at once is not late.
        let may_be_nothing = row.contains("memory") || row.contains("how late");
        assert!(value.is_some_and(|value| value > 0.0 || may_be_nothing), "{row}");
    }
}

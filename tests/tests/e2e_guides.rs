//! The commands of the guides in `docs/`, as they stand there, and what they print.

use std::path::Path;
use std::process::Command;

use quoth_tests::document::{Entry, blocks, entries, is_as};
use quoth_tests::process::{ServerProcess, binary};

/// A shell in the folder where a development server runs, with both programs in its PATH and nothing else of the
/// machine's user.
fn shell(dir: &Path, command: &str) -> Command {
    let mut shell = Command::new("sh");
    let programs = binary("quoth").parent().unwrap().to_owned();
    let path = format!("{}:/usr/bin:/bin", programs.display());
    // In the order in which both are written, as in a terminal.
    shell.args(["-c", &format!("exec 2>&1; {command}")]).current_dir(dir).env_clear();
    shell.env("PATH", path).env("HOME", dir);
    shell
}

#[test]
fn groups_do_what_their_guide_says() {
    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("quoth-data")).unwrap();
    let blocks = blocks("docs/GROUPS.md", "console", &["console"]);
    assert!(blocks.len() > 5, "{blocks:?}");
    for Entry { command, printed } in blocks.iter().flat_map(|block| entries(block)) {
        let output = shell(dir.path(), &command).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // How the connection fares is told on a slow machine.
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("* ")).collect();
        let is_told =
            lines.len() == printed.len() && printed.iter().zip(&lines).all(|(told, line)| is_as(told, line));
        assert!(is_told, "$ {command}\nis said to print\n{}\nand prints\n{text}", printed.join("\n"));
    }
    assert!(server.terminate().unwrap().success());
}

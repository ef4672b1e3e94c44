//! The command line of the server, as an operator types it.

use std::path::Path;
use std::process::Command;

use crate::process::binary;

/// `quoth-server` with these arguments.
pub fn server_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("quoth-server"));
    command.args(arguments);
    command
}

/// Runs a command that must succeed, and gives what it has printed.
pub fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}{err}", output.status);
    out.into_owned()
}

/// Runs a command that must fail, and gives what it complains about.
pub fn failed(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The commands of a section of docs/OPERATIONS.md: the lines of its blocks of `sh`.
pub fn documented(section: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (mut is_section, mut is_block, mut commands) = (false, false, Vec::new());
    for line in text.lines() {
        match line {
            line if line.starts_with("## ") => is_section = line == section,
            "```sh" => is_block = true,
            "```" => is_block = false,
            line if is_section && is_block => commands.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

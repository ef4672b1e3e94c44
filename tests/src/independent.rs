//! Clients in other languages, which `docs/PROTOCOL.md` alone was enough to write.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{ServerProcess, binary};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("independent")
}

/// A Python script of `tests/independent`.
///
/// # Panics
/// When the Python that `tests/run` makes is missing.
#[must_use]
pub fn python(script: &str) -> Command {
    let mut command = Command::new(python_program("python"));
    command.arg(folder().join(script));
    command
}

/// A program of the Python environment that `tests/run` makes.
///
/// # Panics
/// When it is missing.
#[must_use]
pub fn python_program(name: &str) -> PathBuf {
    let python = std::env::var_os("QUOTH_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python"),
        PathBuf::from,
    );
    let program = python.with_file_name(name);
    assert!(program.exists(), "{} does not exist: tests/run makes it", program.display());
    program
}

/// A script of `tests/independent/node`.
///
/// # Panics
/// When its packages are missing, which `tests/run` installs.
#[must_use]
pub fn node(script: &str) -> Command {
    let folder = folder().join("node");
    assert!(folder.join("node_modules").exists(), "no packages in {}: run `npm ci` there", folder.display());
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    command
}

/// A token of a user for the conversations whose names begin with `independent`, and for those that the
/// server names.
///
/// # Panics
/// When the server's program makes none.
#[must_use]
pub fn token(data_dir: &Path, user: &str) -> String {
    let patterns = ["independent*", "direct/*", "group/*"];
    let output = Command::new(binary("quoth-server"))
        .args(["token", "--user", user])
        .args(patterns.iter().flat_map(|pattern| ["--read", pattern, "--write", pattern]))
        .arg("--data-dir")
        .arg(data_dir)
        .output()
        .expect("quoth-server runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a token is text").trim().to_owned()
}

/// Adds where a server is, and whom to trust.
pub fn add_server<'a>(command: &'a mut Command, server: &ServerProcess) -> &'a mut Command {
    command.args(["--server", &server.address().to_string(), "--ca"]).arg(server.ca_file())
}

/// Runs a script to its end, and prints what it says.
///
/// # Panics
/// When it fails.
pub fn assert_passes(command: &mut Command) {
    let output = command.output().expect("the script's program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    let (status, errors) = (output.status, String::from_utf8_lossy(&output.stderr));
    assert!(status.success(), "{status}: {text}{errors}");
}

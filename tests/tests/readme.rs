//! The commands of README.md, run as they stand there, and the SDK's hello-world.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use quoth_tests::process::ServerProcess;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The lines of the README's shell blocks.
fn commands() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut commands = Vec::new();
    let mut is_shell = false;
    for line in text.lines() {
        match line {
            "```sh" => is_shell = true,
            "```" => is_shell = false,
            _ if line.starts_with("```") => panic!("a block that no test runs: {line}"),
            _ if is_shell => commands.push(line.to_owned()),
            _ => {}
        }
    }
    commands
}

/// A shell in the repository, as a new user has one; the data lies in `dir`, so that a developer's own is left alone.
fn shell(dir: &Path, command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]).current_dir(root()).env("XDG_RUNTIME_DIR", dir);
    shell.env("QUOTH_SERVER__DATA_DIR", dir.join("data")).env("QUOTH_SERVER__LISTEN", "127.0.0.1:0");
    shell.stdin(Stdio::piped()).stdout(Stdio::piped());
    shell
}

/// Ends its process when it is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Reads lines up to one that holds `text`.
fn read_until(child: &mut Child, text: &str) -> Vec<String> {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    for line in lines.map_while(Result::ok) {
        seen.push(line);
        if seen.last().is_some_and(|line| line.contains(text)) {
            return seen;
        }
    }
    panic!("no line has {text:?}: {seen:#?}");
}

#[test]
fn its_commands_start_a_server_and_two_people_chat() {
    let commands = commands();
    let [build, serve, alice, bob, test] = commands.as_slice() else {
        panic!("commands came or went: {commands:?}")
    };
    let test = test.strip_prefix("./").unwrap();
    assert!(root().join(test).is_file(), "{test} is what runs this test");
    assert!(
        !root().join("quoth-data/client.json").exists(),
        "move quoth-data away: the README's chat would talk to the server that it belongs to"
    );

    let dir = tempfile::tempdir().unwrap();
    assert!(shell(dir.path(), build).status().unwrap().success());
    let mut server = Running(shell(dir.path(), serve).spawn().unwrap());
    // The banner prints the same lines.
    let banner = read_until(&mut server.0, "chat general --user bob");
    let banner: Vec<&str> = banner.iter().map(|line| line.trim()).collect();
    assert!(banner.ends_with(&[alice, bob]), "{banner:#?}");
    let mut first = Running(shell(dir.path(), alice).spawn().unwrap());
    first.0.stdin.as_mut().unwrap().write_all(b"hello from the README\n").unwrap();
    read_until(&mut first.0, "<alice> hello from the README");
    let mut second = Running(shell(dir.path(), bob).spawn().unwrap());
    second.0.stdin.as_mut().unwrap().write_all(b"hello alice\n").unwrap();
    read_until(&mut second.0, "<bob> hello alice");
}

#[test]
fn the_hello_world_of_the_sdk_says_hello_in_ten_lines() {
    let path = root().join("client-sdk/examples/hello.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with("//!"));
    assert!(lines.count() <= 10);

    let dir = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&dir.path().join("data")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--release", "-p", "quoth-client", "--example", "hello", "--"])
        .arg(server.address().to_string())
        .arg(server.ca_file())
        .arg(server.token("alice").unwrap())
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("Seq(1)") || said.contains("#1"), "{said}");
    assert!(said.contains("hello"), "{said}");
}

//! The commands and files of README.md, used as they stand there, and the SDK's hello-world.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use quoth_tests::document::{self, root};
use quoth_tests::process::ServerProcess;

/// The README's blocks of a language.
fn blocks(language: &str) -> Vec<Vec<String>> {
    document::blocks("README.md", language, &["sh", "toml"])
}

/// A shell in the repository, as a new user has one; the data lies in `dir`, so that a developer's own is
/// left alone.
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
fn read_until(output: impl Read, text: &str) -> Vec<String> {
    let lines = BufReader::new(output).lines();
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
    let blocks = blocks("sh");
    let [start, chat, _, _, _, test] = blocks.as_slice() else { panic!("blocks came or went: {blocks:?}") };
    let ([build, serve], [alice, bob], [test]) = (&start[..], &chat[..], &test[..]) else {
        panic!("commands came or went: {blocks:?}")
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
    let banner = read_until(server.0.stdout.take().unwrap(), "chat general --user bob");
    let banner: Vec<&str> = banner.iter().map(|line| line.trim()).collect();
    assert!(banner.ends_with(&[alice, bob]), "{banner:#?}");
    let mut first = Running(shell(dir.path(), alice).spawn().unwrap());
    first.0.stdin.as_mut().unwrap().write_all(b"hello from the README\n").unwrap();
    read_until(first.0.stdout.take().unwrap(), "<alice> hello from the README");
    let mut second = Running(shell(dir.path(), bob).spawn().unwrap());
    second.0.stdin.as_mut().unwrap().write_all(b"hello alice\n").unwrap();
    read_until(second.0.stdout.take().unwrap(), "<bob> hello alice");
}

#[test]
fn its_server_for_real_takes_its_tokens_and_no_others() {
    let (shells, tomls) = (blocks("sh"), blocks("toml"));
    let ([_, _, make, run, _, _], [_, config]) = (&shells[..], &tomls[..]) else {
        panic!("blocks came or went")
    };
    let [check, token, serve, send] = &run[..] else { panic!("commands came or went: {run:?}") };
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("target"), dir.path().join("target")).unwrap();
    std::fs::write(dir.path().join("quoth.toml"), config.join("\n")).unwrap();
    let in_dir = |command: &str| {
        let mut shell = shell(dir.path(), command);
        shell.current_dir(dir.path());
        shell
    };
    assert!(shell(dir.path(), "cargo build --release").status().unwrap().success());
    for command in make.iter().chain([check, token]) {
        assert!(in_dir(command).status().unwrap().success(), "{command}");
    }
    let mut server = Running(in_dir(serve).stderr(Stdio::piped()).spawn().unwrap());
    let log = read_until(server.0.stderr.take().unwrap(), "\"serving\"");
    // Its log has no reader from here on, which must not matter.
    let serving: serde_json::Value = serde_json::from_str(log.last().unwrap()).unwrap();
    let address = serving["fields"]["address"].as_str().unwrap();
    // The name of the example is nobody's.
    assert!(send.contains("chat.example:4433"), "{send}");
    let send = send.replace("chat.example:4433", &format!("{address} --server-name chat.example"));
    let sent = in_dir(&send).output().unwrap();
    let notes = String::from_utf8_lossy(&sent.stderr);
    assert_eq!(String::from_utf8_lossy(&sent.stdout), "stored in team-a as 1\n", "{notes}");
    let elsewhere = in_dir(&send.replace("team-a", "other")).stderr(Stdio::piped()).output().unwrap();
    assert!(String::from_utf8(elsewhere.stderr).unwrap().contains("you only read in other"));
    let direct =
        in_dir(&send.replace("send team-a hello", "conversation create --direct bob")).output().unwrap();
    assert!(direct.status.success(), "{}", String::from_utf8_lossy(&direct.stderr));
}

#[test]
fn its_bench_measures_server_and_floors() {
    let blocks = blocks("sh");
    let [bench] = &blocks[4][..] else { panic!("commands came or went: {blocks:?}") };
    // Long enough to see that it works; the README's table takes two minutes.
    let short = bench.replace("--rounds 5", "--rounds 1 --duration 1");
    assert_ne!(*bench, short);
    let dir = tempfile::tempdir().unwrap();
    assert!(shell(dir.path(), "cargo build --release").status().unwrap().success());
    let output = shell(dir.path(), &short).output().unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for told in
        ["fdatasync", "quinn relay", "delivery p50: quoth over (quinn relay + append)", "nothing lost"]
    {
        assert!(table.contains(told), "{table}");
    }
}

#[test]
fn the_hello_world_of_the_sdk_needs_no_more_than_it_says() {
    let blocks = blocks("toml");
    let [dependencies, _] = &blocks[..] else { panic!("blocks came or went: {blocks:?}") };
    let dir = tempfile::tempdir().unwrap();
    let in_dir = |name: &str| dir.path().join(name);
    std::os::unix::fs::symlink(root(), in_dir("quoth")).unwrap();
    std::fs::create_dir(in_dir("src")).unwrap();
    std::fs::copy(root().join("client-sdk/examples/hello.rs"), in_dir("src/main.rs")).unwrap();
    std::fs::copy(root().join("Cargo.lock"), in_dir("Cargo.lock")).unwrap();
    let package = "[package]\nname = \"hello\"\nedition = \"2024\"\n";
    std::fs::write(in_dir("Cargo.toml"), format!("{package}{}", dependencies.join("\n"))).unwrap();
    let mut check = Command::new(env!("CARGO"));
    check.args(["check", "--quiet", "--offline"]).current_dir(dir.path());
    assert!(check.env("CARGO_TARGET_DIR", root().join("target")).status().unwrap().success());
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

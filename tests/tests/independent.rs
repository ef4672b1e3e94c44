//! A client that was written from `docs/PROTOCOL.md` alone, in another language and on another QUIC stack, against the
//! real server.

use std::path::{Path, PathBuf};
use std::process::Command;

use quoth_tests::process::{ServerProcess, binary};

fn python(script: &str) -> Command {
    let python = std::env::var_os("QUOTH_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python"),
        PathBuf::from,
    );
    assert!(python.exists(), "{} does not exist: tests/run makes it", python.display());
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("independent").join(script));
    command
}

#[test]
fn its_codec_agrees_with_the_golden_bytes() {
    let output = python("check_golden.py").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn it_signs_in_sends_resumes_and_reads() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data).unwrap();
    let token = Command::new(binary("quoth-server"))
        .args(["token", "--user", "carol", "--read", "independent*", "--write", "independent*", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    let token = String::from_utf8(token.stdout).unwrap();
    let output = python("scenario.py")
        .args(["--server", &server.address().to_string(), "--token", token.trim()])
        .args(["--conversation", "independent-1", "--forbidden", "secret", "--ca"])
        .arg(server.ca_file())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
}

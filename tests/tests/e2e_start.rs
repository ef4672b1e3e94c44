//! A start that is told to end, and one with a mistake in its configuration.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use quoth_server::config::Config;
use quoth_server::server::Server;
use quoth_tests::process::binary;

/// Bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

const SIGTERM: i32 = 15;

/// A file that a start reads and that has no content until somebody writes it: whoever opens it for writing
/// knows that the start has come to it, and stands there.
fn fifo(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status().expect("mkfifo, of coreutils");
    assert!(status.success());
}

/// A server in a folder, on whatever port is free.
fn config(dir: &Path) -> Config {
    Config { listen: ([127, 0, 0, 1], 0).into(), data_dir: dir.join("data"), ..Config::default() }
}

#[test]
fn sigterm_ends_a_start_that_takes_long() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data_dir = dir.path().join("data");
    std::fs::create_dir_all(data_dir.join("keys"))?;
    let leaf = data_dir.join("keys").join("leaf.pem");
    fifo(&leaf);
    let mut child = Command::new(binary("quoth-server"))
        .arg("--data-dir")
        .arg(&data_dir)
        .args(["--listen", "127.0.0.1:0"])
        .env("XDG_RUNTIME_DIR", dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let (sender, ended) = mpsc::channel();
    let pid = child.id().to_string();
    let start_stands = OpenOptions::new().write(true).open(&leaf)?;
    std::thread::spawn(move || sender.send(child.wait()));
    assert!(Command::new("kill").args(["-TERM", &pid]).status()?.success());
    let status = ended.recv_timeout(PATIENCE);
    // No process stays behind.
    let _ended_already = Command::new("kill").args(["-KILL", &pid]).stderr(Stdio::null()).status()?;
    drop(start_stands);
    assert_eq!(status??.signal(), Some(SIGTERM));
    Ok(())
}

#[tokio::test]
async fn a_start_that_fails_tells_clients_of_no_server() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let config = Config { development: true, ..config(dir.path()) };
    std::fs::create_dir_all(config.data_dir.join("keys"))?;
    std::fs::write(config.data_dir.join("keys").join("endpoint.key"), "")?;
    let error = Server::start(&config).expect_err("the endpoint has no key");
    assert!(error.contains("endpoint.key"), "{error}");
    assert!(!config.data_dir.join("client.json").exists());
    Ok(())
}

#[tokio::test]
async fn mistakes_in_the_configuration_are_told_before_the_store_is_opened() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let config = Config {
        development: false,
        certificate_file: Some(dir.path().join("none.pem")),
        private_key_file: Some(dir.path().join("none.key")),
        ..config(dir.path())
    };
    let error = Server::start(&config).expect_err("there is no certificate");
    assert!(error.contains("none.pem"), "{error}");
    assert!(!config.data_dir.join("store").exists(), "the store was opened before");
    Ok(())
}

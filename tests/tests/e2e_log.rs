//! What the server's log tells its operator of keys, and that keys are replaced in a server that runs.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use quoth_protocol::frame::{Hello, VERSION, feature};
use quoth_protocol::{Code, DeviceId};
use quoth_server::development::signing_key_file;
use quoth_tests::device::{Device, Ended, Over};
use quoth_tests::http::Api;
use quoth_tests::process::ServerProcess;
use serde_json::json;

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_the_api_changes_is_told_with_the_keys_name_and_so_is_who_has_none() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data)?;
    let api = Api::told(&server.client_file()?)?;
    let stranger = Api { key: "x".repeat(40), ..api.clone() };
    api.done("POST", "/v1/users/alice/kick", Some(&json!({ "reason": "why not" })))?;
    api.send("POST", "/v1/revocations", Some(&json!({})))?;
    api.done("POST", "/v1/publish", Some(&json!({ "conversation": "room", "text": "not told" })))?;
    api.done("GET", "/v1/stats", None)?;
    ensure!(stranger.send("GET", "/v1/stats", None)?.status() == 401);
    // A line is there before its answer is.
    let log = ServerProcess::log(&data);
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("audit")).collect();
    let [kick, refused, unknown] = lines[..] else { anyhow::bail!("{lines:#?}") };
    for (line, told) in [
        (kick, &["key=operator", "kick", "/v1/users/alice/kick", "why not", "status=200"][..]),
        (refused, &["key=operator", "revoke", "status=400", "invalid_request"]),
        (unknown, &["WARN", "127.0.0.1:", "/v1/stats", "count=1"]),
    ] {
        for told in told {
            assert!(line.contains(told), "{told}: {line}");
        }
    }
    assert!(!log.contains(&stranger.key) && !log.contains(&api.key), "keys are secrets");
    Ok(())
}

/// Waits until a server has logged something so many times.
fn wait_for(data: &Path, told: &str, times: usize) -> anyhow::Result<()> {
    let started = Instant::now();
    while ServerProcess::log(data).matches(told).count() < times {
        ensure!(started.elapsed() < PATIENCE, "{told:?} is not told: {}", ServerProcess::log(data));
        // A log has nothing to wait for.
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

async fn sign_in(server: &ServerProcess, token: &str) -> anyhow::Result<Result<Device, Ended>> {
    let hello = Hello {
        version: VERSION,
        features: feature::MEMBERSHIP,
        token: token.to_owned(),
        device: DeviceId::new("phone")?,
        generation: 0,
        platform: "linux".to_owned(),
        client: "quoth-tests".to_owned(),
    };
    Device::connect(server.address(), &server.ca_file(), Over::Quic, hello).await
}

#[tokio::test]
async fn a_key_is_replaced_while_the_server_runs_and_a_broken_one_changes_nothing() -> anyhow::Result<()> {
    let (dir, other) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (data, other) = (dir.path().join("data"), other.path().join("data"));
    let server = ServerProcess::start(&data)?;
    let old = server.token("alice")?;
    let new = {
        let other = ServerProcess::start(&other)?;
        other.token("alice")?
    };

    let good = std::fs::read(signing_key_file(&other))?;
    std::fs::write(signing_key_file(&data), "broken")?;
    server.signal("HUP")?;
    wait_for(&data, "the old keys of tokens stay in force", 1)?;
    sign_in(&server, &old).await?.ok().context("the old key stays")?;
    std::fs::write(signing_key_file(&data), good)?;
    server.signal("HUP")?;
    wait_for(&data, "the keys of tokens were read again", 1)?;
    sign_in(&server, &new).await?.ok().context("the new key is there")?;
    let Err(ended) = sign_in(&server, &old).await? else { anyhow::bail!("the old key is still there") };
    assert_eq!(ended.code, Code::TOKEN_REJECTED);
    // Who looks for the reason finds whom it concerns.
    let log = ServerProcess::log(&data);
    let line = log.lines().find(|line| line.contains("token rejected")).context("nothing is told")?;
    assert!(line.contains("peer=127.0.0.1:") && line.contains("alice"), "{line}");
    Ok(())
}

/// Anybody can make connections that come to nothing; only those of users have a line each.
#[tokio::test]
async fn strangers_are_told_of_in_sum() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data)?;
    for _ in 0..20 {
        let Err(ended) = sign_in(&server, "no token").await? else { anyhow::bail!("it is signed in") };
        assert_eq!(ended.code, Code::TOKEN_REJECTED);
    }
    let device = sign_in(&server, &server.token("alice")?).await?.ok().context("alice signs in")?;
    device.close().await?;
    // Behind all others, whose ends were there before.
    wait_for(&data, "connection ended", 1)?;
    let log = ServerProcess::log(&data);
    let lines_with = |told: &str| log.lines().filter(|line| line.contains(told)).collect::<Vec<_>>();
    let users = lines_with("connection ended");
    ensure!(users.len() == 1 && users[0].contains("user=alice"), "{users:#?}");
    let strangers = lines_with("connections ended before a sign-in");
    ensure!(!strangers.is_empty() && strangers.len() < 20, "{strangers:#?}");
    ensure!(strangers[0].contains("token_rejected") && strangers[0].contains("count=1"), "{strangers:#?}");
    Ok(())
}

/// A leaked key must not cost a restart, which drops everybody.
#[test]
fn a_key_of_the_api_is_replaced_while_the_server_runs_and_a_broken_one_changes_nothing() -> anyhow::Result<()>
{
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data)?;
    let old = Api::told(&server.client_file()?)?;
    let new = Api { key: "n".repeat(40), ..old.clone() };
    let status = |api: &Api| anyhow::Ok(api.send("GET", "/v1/stats", None)?.status());
    let file = data.join("keys/api.key");
    std::fs::write(&file, "broken")?;
    server.signal("HUP")?;
    wait_for(&data, "the old keys of the server API stay in force", 1)?;
    ensure!((status(&old)?, status(&new)?) == (200, 401), "a broken file changes nothing");
    std::fs::write(&file, &new.key)?;
    server.signal("HUP")?;
    wait_for(&data, "the keys of the server API were read again", 1)?;
    ensure!((status(&old)?, status(&new)?) == (401, 200), "the new key is in force, and the old one is not");
    let log = ServerProcess::log(&data);
    let line = log.lines().find(|line| line.contains("the keys of the server API were read again"));
    let line = line.context("it is told")?;
    ensure!(line.contains("changed=\"operator\"") || line.contains("changed=operator"), "{line}");
    ensure!(!log.contains(&new.key) && !log.contains(&old.key), "keys are secrets");
    Ok(())
}

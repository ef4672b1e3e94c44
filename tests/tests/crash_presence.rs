//! Who was connected when a server was killed was last seen then.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use quoth_protocol::DeviceId;
use quoth_protocol::frame::{Hello, VERSION, feature};
use quoth_tests::device::{Device, Over};
use quoth_tests::http::Api;
use quoth_tests::process::ServerProcess;

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis().try_into().unwrap_or(0))
}

/// A device comes, and so long later the server is killed. When that device was last seen behind that: that
/// it came, that the server was killed, and what is told.
async fn killed(wait: Duration) -> anyhow::Result<(u64, u64, u64)> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    let server = ServerProcess::start(&data)?;
    let hello = Hello {
        version: VERSION,
        features: feature::MEMBERSHIP,
        token: server.token("alice")?,
        device: DeviceId::new("phone")?,
        generation: 0,
        platform: "linux".to_owned(),
        client: "quoth-tests".to_owned(),
    };
    let begun_ms = now_ms();
    let device = Device::connect(server.address(), &server.ca_file(), Over::Quic, hello).await?;
    let device = device.ok().context("refused")?;
    tokio::time::sleep(wait).await;
    server.kill()?;
    let killed_ms = now_ms();
    drop(device);
    let server = ServerProcess::start(&data)?;
    let presence = Api::told(&server.client_file()?)?.done("GET", "/v1/users/alice/presence", None)?;
    ensure!(presence["status"] == "offline", "{presence}");
    Ok((begun_ms, killed_ms, presence["last_seen_ms"].as_u64().context("a time")?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_connected_at_a_kill_was_last_seen_then() -> anyhow::Result<()> {
    // It is stored behind the client's back: as long as it takes on a busy machine, and beyond the second at
    // which it is stored that the server is there.
    for seconds in [12, 24, 48] {
        let (begun_ms, killed_ms, last_seen_ms) = killed(Duration::from_secs(seconds)).await?;
        ensure!(last_seen_ms <= killed_ms, "{last_seen_ms} is in the future of {killed_ms}");
        println!("seen {} ms before the kill", killed_ms - last_seen_ms);
        // More than that it came: by the time of which it is stored that the server was there.
        if last_seen_ms > begun_ms + 5_000 {
            return Ok(());
        }
    }
    anyhow::bail!("it is not known when the user was last seen")
}

//! How long a kick of a user with many devices takes, from the request of the server API to the end of the
//! last stream at a client.

use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};
use quoth_protocol::frame::{Hello, Start, VERSION, feature};
use quoth_protocol::{Code, DeviceId};
use serde_json::json;

use super::client::runtime;
use super::target::Target;
use super::{Plan, Report};
use crate::device::{Device, Over};
use crate::http::Api;

/// Devices of the user, which are as many as a user may have by default; half of them over QUIC, half over
/// WebSockets.
const DEVICES: usize = 100;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let target =
        Target::quoth_with(&plan.dir, &[format!("limits.connections_per_user_max={DEVICES}")], |_| Ok(()))?;
    for round in 0..plan.rounds {
        let (last_s, median_s) = runtime()?.block_on(kick(&target, round))?;
        let note = format!("half of the streams closed after {:.1} ms", median_s * 1e3);
        report.round(last_s, note);
    }
    Ok(())
}

/// When the last stream was closed and when half of them were, in seconds from the request on.
async fn kick(target: &Target, round: u32) -> anyhow::Result<(f64, f64)> {
    let (server, ca_file) = (target.address(), target.ca_file());
    let mut devices = Vec::new();
    for n in 0..DEVICES {
        let hello = Hello {
            version: VERSION,
            features: feature::ROSTER | feature::MEMBERSHIP,
            token: target.server().token("alice")?,
            device: DeviceId::new(format!("{round}-{n}"))?,
            generation: 1,
            platform: "desktop".to_owned(),
            client: "quoth-tests".to_owned(),
        };
        let signed_in = Device::connect(server, &ca_file, Over::ALL[n % 2], hello).await?;
        let mut device = signed_in.map_err(|ended| anyhow!("device {n} is not let in: {ended:?}"))?;
        let stream = device.open("room", 1, Some(Start::Live)).await?;
        devices.push((device, stream));
    }
    let closing: Vec<_> = devices
        .into_iter()
        .map(|(mut device, stream)| {
            tokio::spawn(async move {
                let ended = device.ended().await?;
                device.over(stream).await?;
                ensure!(ended.code == Code::KICKED, "{ended:?}");
                anyhow::Ok(Instant::now())
            })
        })
        .collect();
    let api = Api::told(&target.server().client_file()?)?;
    let asked = Instant::now();
    let path = "/v1/users/alice/kick";
    let kicked = move || api.done("POST", path, Some(&json!({ "reason": "measured" })));
    let told = tokio::task::spawn_blocking(kicked).await??;
    ensure!(told["closed"] == DEVICES, "not {DEVICES} connections were closed: {told}");
    let mut took_s = Vec::with_capacity(DEVICES);
    for closed in closing {
        took_s.push(closed.await??.duration_since(asked).as_secs_f64());
    }
    took_s.sort_by(f64::total_cmp);
    Ok((*took_s.last().context("a device")?, took_s[took_s.len() / 2]))
}

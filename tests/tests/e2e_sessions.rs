//! Several devices of a user: which of them stay, what those hear that do not, and who is there.

#[path = "e2e_sessions/kicks.rs"]
mod kicks;
#[path = "e2e_sessions/presence.rs"]
mod presence;
#[path = "e2e_sessions/welcome.rs"]
mod welcome;

use std::time::Duration;

use anyhow::{Context as _, bail};
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::presence::Status;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, DeviceId};
use quoth_server::config::LoginPolicy;
use quoth_tests::device::{Device, Ended, Over, Who};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::wire::publish;

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a device that has gone is taken for there, in milliseconds.
const LEAVE_MS: u64 = 1_500;

/// Runs a test against a server of its own with this policy.
fn with_policy<F: Future<Output = anyhow::Result<()>>>(
    policy: LoginPolicy,
    test: impl FnOnce(std::sync::Arc<EmbeddedServer>) -> F,
) -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| {
        config.login_policy = policy;
        config.login_devices_max = 2;
        // Long, so that only a reconnect or its absence is seen.
        config.presence_leave_ms = LEAVE_MS;
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(test(std::sync::Arc::new(server)))
}

async fn try_sign_in(
    server: &EmbeddedServer,
    over: Over,
    token: &str,
    device: &str,
    generation: u64,
) -> anyhow::Result<Result<Device, Ended>> {
    Device::sign_in(server, over, &Who { token, device, generation, platform: "linux" }).await
}

async fn sign_in(
    server: &EmbeddedServer,
    over: Over,
    token: &str,
    device: &str,
    generation: u64,
) -> anyhow::Result<Device> {
    let signed_in = try_sign_in(server, over, token, device, generation).await?;
    signed_in.map_err(|ended| anyhow::anyhow!("refused: {ended:?}"))
}

fn kicked(reason: &str) -> Ended {
    Ended { code: Code::KICKED, go_away: Some((Code::KICKED, reason.to_owned())), retry_after_ms: 0 }
}

fn replaced() -> Ended {
    Ended { code: Code::REPLACED, go_away: None, retry_after_ms: 0 }
}

/// The user's devices with their status.
async fn devices(device: &mut Device) -> anyhow::Result<Vec<(String, Status)>> {
    match device.request(Request::Sessions).await? {
        Reply::Sessions { sessions } => {
            Ok(sessions.into_iter().map(|info| (info.device.to_string(), info.status)).collect())
        }
        other => bail!("no sessions: {other:?}"),
    }
}

#[test]
fn of_one_device_the_later_connection_stays_whatever_carries_it() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        for (before, behind) in Over::ALL.into_iter().flat_map(|a| Over::ALL.map(|b| (a, b))) {
            let device = format!("{before:?} {behind:?}");
            let mut old = sign_in(&server, before, server.token(), &device, 10).await?;
            let mut new = sign_in(&server, behind, server.token(), &device, 11).await?;
            assert_eq!(old.ended().await?, replaced());
            let late = try_sign_in(&server, before, server.token(), &device, 10).await?;
            let late = late.err().context("a late one is let in")?;
            assert_eq!(late.code, Code::REPLACED);
            let mut path = sign_in(&server, before, server.token(), &device, 11).await?;
            for device in [&mut new, &mut path] {
                devices(device).await.context("both paths are there")?;
            }
            path.close().await?;
            new.close().await?;
        }
        Ok(())
    })
}

#[test]
fn the_loser_hears_who_has_won_and_may_come_back_by_wish() -> anyhow::Result<()> {
    with_policy(LoginPolicy::OneDevice, |server| async move {
        for over in Over::ALL {
            let (first, second) = (format!("first {over:?}"), format!("second {over:?}"));
            let mut loser = sign_in(&server, over, server.token(), &first, 1).await?;
            let stream = loser.open("room", 1, Some(Start::Live)).await?;
            let mut winner = sign_in(&server, over, server.token(), &second, 1).await?;
            assert_eq!(loser.ended().await?, kicked(&format!("signed in on {second} (linux)")));
            loser.over(stream).await.context("its streams are over")?;
            assert!(devices(&mut winner).await?.contains(&(second.clone(), Status::Online)));
            // It has heard that, so it is somebody's wish. The server knows when the close is answered.
            let comes_back = async {
                loop {
                    match try_sign_in(&server, over, server.token(), &first, 2).await? {
                        Ok(device) => return anyhow::Ok(device),
                        Err(ended) => assert_eq!(ended, kicked(&format!("signed in on {second} (linux)"))),
                    }
                }
            };
            let mut again = tokio::time::timeout(PATIENCE, comes_back).await.context("it is kept out")??;
            assert_eq!(winner.ended().await?.code, Code::KICKED);
            devices(&mut again).await?;
            again.close().await?;
        }
        Ok(())
    })
}

#[test]
fn a_lost_device_that_comes_back_does_not_put_out_the_winner() -> anyhow::Result<()> {
    with_policy(LoginPolicy::OneDevice, |server| async move {
        for over in Over::ALL {
            let (first, second) = (format!("first {over:?}"), format!("second {over:?}"));
            sign_in(&server, over, server.token(), &first, 1).await?.lose().await?;
            let mut winner = sign_in(&server, over, server.token(), &second, 1).await?;
            let back = try_sign_in(&server, over, server.token(), &first, 2).await?;
            assert_eq!(back.err(), Some(kicked(&format!("signed in on {second} (linux)"))));
            devices(&mut winner).await.context("the winner is there")?;
            winner.close().await?;
        }
        Ok(())
    })
}

#[test]
fn policies_count_classes_and_devices() -> anyhow::Result<()> {
    with_policy(LoginPolicy::OnePerClass, |server| async move {
        let token = server.token();
        let mut kept = Vec::new();
        for (device, platform) in
            [("phone", "android"), ("laptop", "linux"), ("tab", "web"), ("bot", "toaster")]
        {
            let who = Who { token, device, generation: 1, platform };
            kept.push(
                Device::sign_in(&server, Over::Quic, &who)
                    .await?
                    .map_err(|ended| anyhow::anyhow!("{ended:?}"))?,
            );
        }
        let who = Who { token, device: "tablet", generation: 1, platform: "iPad" };
        let _tablet = Device::sign_in(&server, Over::WebSocket, &who).await?;
        assert_eq!(kept[0].ended().await?, kicked("signed in on tablet (iPad)"));
        for other in &mut kept[1..] {
            assert_eq!(
                devices(other).await?.iter().filter(|(_, status)| *status == Status::Online).count(),
                4
            );
        }
        Ok(())
    })?;
    with_policy(LoginPolicy::Newest, |server| async move {
        let token = server.token();
        let mut first = sign_in(&server, Over::Quic, token, "1", 1).await?;
        let mut second = sign_in(&server, Over::WebSocket, token, "2", 1).await?;
        let mut third = sign_in(&server, Over::Quic, token, "3", 1).await?;
        assert_eq!(first.ended().await?, kicked("signed in on 3 (linux)"));
        devices(&mut second).await?;
        devices(&mut third).await?;
        Ok(())
    })
}

#[test]
fn own_devices_are_listed_and_one_ends_another() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        for over in Over::ALL {
            let token = server.token_with(&format!("user of {over:?}"), |_| {})?;
            let mut phone = sign_in(&server, over, &token, "phone", 5).await?;
            let mut laptop = sign_in(&server, over, &token, "laptop", 1).await?;
            let end =
                |device: &str| Ok::<_, anyhow::Error>(Request::EndSession { device: DeviceId::new(device)? });
            let own = laptop.request(end("laptop")?).await?;
            assert!(matches!(own, Reply::Refused { code: Code::INVALID_REQUEST, .. }), "{own:?}");
            assert!(matches!(laptop.request(end("phone")?).await?, Reply::Done { .. }));
            assert_eq!(phone.ended().await?, kicked("signed out from laptop"));
            assert!(matches!(laptop.request(end("nothing")?).await?, Reply::Done { .. }));
            let listed = loop {
                let listed = devices(&mut laptop).await?;
                if listed[1].1 == Status::Offline {
                    break listed;
                }
            };
            let expected = [("laptop".to_owned(), Status::Online), ("phone".to_owned(), Status::Offline)];
            assert_eq!(listed, expected);
            // Of somebody else's it can end none.
            let token = server.token_with(&format!("mallory of {over:?}"), |_| {})?;
            let mut mallory = sign_in(&server, over, &token, "m", 1).await?;
            mallory.request(end("laptop")?).await?;
            devices(&mut laptop).await.context("it is there still")?;
        }
        Ok(())
    })
}

#[test]
fn each_own_device_gets_an_own_message_once() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        let token = server.token();
        let mut own = [
            sign_in(&server, Over::Quic, token, "phone", 1).await?,
            sign_in(&server, Over::WebSocket, token, "laptop", 1).await?,
            sign_in(&server, Over::Quic, token, "tablet", 1).await?,
        ];
        let mut streams = Vec::new();
        for (producer, device) in (1..).zip(&mut own) {
            streams.push(device.open("room", producer, Some(Start::Live)).await?);
        }
        const EACH: usize = 5;
        for n in 1..=EACH as u64 {
            for (at, stream) in streams.iter().enumerate() {
                own[at].send(*stream, &publish(n, format!("{at} {n}"))).await?;
            }
        }
        for (at, stream) in streams.iter().enumerate() {
            let (mut seqs, mut acks) = (Vec::new(), 0);
            while seqs.len() < 3 * EACH || acks < EACH {
                match own[at].next(*stream).await?.context("the stream ends")? {
                    ServerFrame::Event(event) => seqs.push(event.seq.0),
                    ServerFrame::Ack { .. } => acks += 1,
                    _ => {}
                }
            }
            // A further one, behind which nothing of before can come.
            own[at].send(*stream, &publish(100, "last")).await?;
            let last = loop {
                match own[at].next(*stream).await?.context("the stream ends")? {
                    ServerFrame::Event(event) if event.seq.0 == seqs[0] + (3 * EACH + at) as u64 => {
                        break event.seq.0;
                    }
                    ServerFrame::Event(event) => seqs.push(event.seq.0),
                    _ => {}
                }
            };
            seqs.push(last);
            assert_eq!(seqs, (seqs[0]..=last).collect::<Vec<_>>(), "device {at}");
        }
        Ok(())
    })
}

//! Tokens on a running server: revoked ones, and such whose keys come from a key set.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quoth_core::revocation::{Extent, Revoked};
use quoth_protocol::frame::{ClientFrame, Start};
use quoth_protocol::{Code, DeviceId, UserId};
use quoth_tests::device::{Device, Ended, Over, Who};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::issuer::{Issuer, Key};

/// All tokens, for ever.
const EVER: Extent = Extent { issued_before_ms: u64::MAX, over_ms: u64::MAX };

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn try_sign_in(
    server: &EmbeddedServer,
    over: Over,
    token: &str,
    device: &str,
) -> anyhow::Result<Result<Device, Ended>> {
    Device::sign_in(server, over, &Who { token, device, generation: 0, platform: "linux" }).await
}

async fn sign_in(server: &EmbeddedServer, over: Over, token: &str, device: &str) -> anyhow::Result<Device> {
    let signed_in = try_sign_in(server, over, token, device).await?;
    signed_in.map_err(|ended| anyhow::anyhow!("refused: {ended:?}"))
}

fn of_user(user: &str, device: Option<&str>) -> anyhow::Result<Revoked> {
    let device = device.map(DeviceId::new).transpose()?;
    Ok(Revoked::User { user: UserId::new(user)?, device })
}

/// A case of revocation: what, how far, and whom it concerns of those who are there.
type Case = (Revoked, Extent, &'static [&'static str]);

/// Who is there: user, device, token id, seconds by which the token is older than an hour.
const PRESENT: &[(&str, &str, &str, u64)] = &[
    ("ann", "phone", "t1", 0),
    ("ann", "laptop", "t2", 3_600),
    ("ben", "phone", "t3", 0),
    ("ben", "laptop", "t4", 0),
];

fn token_of(
    server: &EmbeddedServer,
    (user, _, id, older_s): (&str, &str, &str, u64),
) -> anyhow::Result<String> {
    server.token_with(user, |what| {
        what.token_id = Some(id.to_owned());
        what.issued_s -= older_s;
    })
}

#[test]
fn what_is_revoked_ends_everywhere_at_once_and_stays_out_after_a_restart() -> anyhow::Result<()> {
    let mut server = EmbeddedServer::start_workers(3, quoth_server::session::Limits::default())?;
    let runtime = runtime()?;
    let half_an_hour_ago = server.now_ms() - 1_800_000;
    let token = Revoked::Token { id: "t3".to_owned() };
    let cases: [Case; 4] = [
        (of_user("ann", Some("phone"))?, EVER, &["ann phone"]),
        (token, EVER, &["ben phone"]),
        (of_user("ann", None)?, Extent { issued_before_ms: half_an_hour_ago, ..EVER }, &["ann laptop"]),
        (of_user("ben", None)?, EVER, &["ben phone", "ben laptop"]),
    ];
    for (revoked, extent, concerned) in cases {
        runtime.block_on(revoke(&server, &revoked, extent, concerned))?;
        server = server.restart_configured(|config| config.workers = 3)?;
        runtime.block_on(async {
            assert_out(&server, concerned).await.context("after a restart")?;
            assert!(server.sessions().lift(&revoked).await?, "it was kept");
            assert_out(&server, &[]).await.context("it is lifted")
        })?;
    }
    Ok(())
}

/// None is widened by another one, so each has the tokens that it was made for, with its reason, and a restart
/// changes nothing.
#[test]
fn two_revocations_of_one_user_stay_two_behind_a_restart() -> anyhow::Result<()> {
    let mut server = EmbeddedServer::start()?;
    let runtime = runtime()?;
    let ann = of_user("ann", None)?;
    let now_ms = server.now_ms();
    let all = Extent { over_ms: now_ms + 86_400_000, ..EVER };
    let old = Extent { issued_before_ms: now_ms - 1_800_000, ..EVER };
    for (extent, reason) in [(all, "cool down"), (old, "lost")] {
        runtime.block_on(server.sessions().revoke(&ann, extent, reason, now_ms))?;
    }
    for restarts in 0..2 {
        runtime.block_on(async {
            let (listed, _) =
                server.sessions().revocations(None, 9, now_ms).await.map_err(anyhow::Error::msg)?;
            let listed: Vec<_> = listed.iter().map(|(_, one)| (one.extent, &*one.reason)).collect();
            assert_eq!(listed, [(old, "lost"), (all, "cool down")], "{restarts}");
            for (present, reason) in [(PRESENT[0], "cool down"), (PRESENT[1], "lost")] {
                let token = token_of(&server, present)?;
                let refused = try_sign_in(&server, Over::ALL[restarts], &token, present.1).await?.err();
                let told = refused.and_then(|ended| ended.go_away);
                assert_eq!(told, Some((Code::TOKEN_REVOKED, reason.to_owned())), "{restarts}: {present:?}");
            }
            anyhow::Ok(())
        })?;
        server = server.restart_configured(|_| {})?;
    }
    runtime.block_on(async {
        assert!(server.sessions().lift(&ann).await?, "they were kept");
        assert_out(&server, &[]).await
    })
}

async fn revoke(
    server: &EmbeddedServer,
    revoked: &Revoked,
    extent: Extent,
    concerned: &[&str],
) -> anyhow::Result<()> {
    let mut live = Vec::new();
    for (n, present) in PRESENT.iter().enumerate() {
        let token = token_of(server, *present)?;
        let mut device = sign_in(server, Over::ALL[n % 2], &token, present.1).await?;
        let stream = device.open("room", 1, Some(Start::Live)).await?;
        live.push((format!("{} {}", present.0, present.1), device, stream));
    }
    let at = Instant::now();
    let count = server.sessions().revoke(revoked, extent, "lost", server.now_ms()).await?.closed;
    assert_eq!(count, concerned.len());
    for (who, mut device, stream) in live {
        if concerned.contains(&who.as_str()) {
            assert_eq!(device.ended().await?, lost(), "{who}");
            device.over(stream).await?;
        } else {
            device
                .open("another room", 1, Some(Start::Live))
                .await
                .with_context(|| format!("{who} is out"))?;
        }
    }
    println!("{revoked:?}: stored, and {count} connections closed, in {:?}", at.elapsed());
    assert_out(server, concerned).await
}

/// The end of who has a token that is revoked since it was lost.
fn lost() -> Ended {
    let go_away = Some((Code::TOKEN_REVOKED, "lost".to_owned()));
    Ended { code: Code::TOKEN_REVOKED, go_away, retry_after_ms: 0 }
}

/// Whoever is concerned, and nobody else, is turned away.
async fn assert_out(server: &EmbeddedServer, concerned: &[&str]) -> anyhow::Result<()> {
    for (n, present) in PRESENT.iter().enumerate() {
        let (who, token) = (format!("{} {}", present.0, present.1), token_of(server, *present)?);
        let refused = try_sign_in(server, Over::ALL[(n + 1) % 2], &token, present.1).await?.err();
        let expected = concerned.contains(&who.as_str()).then(lost);
        assert_eq!(refused, expected, "{who} is told why");
    }
    Ok(())
}

#[test]
fn a_revoked_token_is_no_refresh_and_a_token_for_a_device_is_for_no_other() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    runtime()?.block_on(async {
        for over in Over::ALL {
            let id = |id: &str| format!("{id} {over:?}");
            let token = |of: &str| server.token_with("alice", |what| what.token_id = Some(id(of)));
            let mut device = sign_in(&server, over, &token("good")?, "phone").await?;
            device.say(&ClientFrame::Refresh { token: token("next")? }).await?;
            let bad = Revoked::Token { id: id("bad") };
            server.sessions().revoke(&bad, EVER, "lost", server.now_ms()).await?;
            device.say(&ClientFrame::Refresh { token: token("bad")? }).await?;
            assert_eq!(device.ended().await?, lost());
            let phone = DeviceId::new("phone")?;
            let bound = server.token_for_device("alice", &phone)?;
            let refused = try_sign_in(&server, over, &bound, "laptop").await?.err();
            assert_eq!(refused.map(|ended| ended.code), Some(Code::TOKEN_REJECTED));
            sign_in(&server, over, &bound, "phone").await?.close().await?;
        }
        Ok(())
    })
}

/// A server that takes the keys of an issuer, with a least interval of a second.
fn with_issuer(issuer: &Issuer, overlap_s: u64) -> anyhow::Result<EmbeddedServer> {
    let url = issuer.url().parse().map_err(|error| anyhow::anyhow!("{error}"))?;
    EmbeddedServer::start_configured(|config| {
        config.jwks.url = Some(url);
        config.jwks.refresh_min_s = 1;
        config.jwks.refresh_s = 3_600;
        config.jwks.overlap_s = overlap_s;
    })
}

#[test]
fn keys_rotate_while_the_server_runs() -> anyhow::Result<()> {
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut issuer = Issuer::start()?;
        let old = issuer.add_ed25519("old")?;
        let rsa = issuer.add_rsa("rsa")?;
        let server = with_issuer(&issuer, 3_600)?;
        for (key, over) in
            [(&old, Over::Quic), (&rsa, Over::WebSocket), (&old, Over::WebSocket), (&rsa, Over::Quic)]
        {
            sign_in(&server, over, &key.token("alice")?, "d").await?;
        }
        assert_eq!(issuer.asked(), 1);
        issuer.remove("old");
        let new = issuer.add_ed25519("new")?;
        tokio::time::sleep(Duration::from_millis(1_001)).await;
        sign_in(&server, Over::Quic, &new.token("alice")?, "d")
            .await
            .context("a new key is found when it is used")?;
        sign_in(&server, Over::Quic, &old.token("alice")?, "d")
            .await
            .context("an old one goes on for a while")?;
        assert_eq!(issuer.asked(), 2);
        let forged = Key::ed25519("new")?;
        let refused = try_sign_in(&server, Over::Quic, &forged.token("alice")?, "d").await?.err();
        assert_eq!(refused.map(|ended| ended.code), Some(Code::TOKEN_REJECTED));
        Ok(())
    })
}

#[test]
fn many_who_come_with_an_unknown_key_are_one_look() -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut issuer = Issuer::start()?;
        let known = issuer.add_ed25519("known")?;
        let server = std::sync::Arc::new(with_issuer(&issuer, 0)?);
        sign_in(&server, Over::Quic, &known.token("alice")?, "first").await?;
        let late = issuer.add_ed25519("late")?;
        let unknown = Key::ed25519("unknown")?;
        tokio::time::sleep(Duration::from_millis(1_001)).await;
        issuer.hold();
        let come = |n: usize| {
            let server = std::sync::Arc::clone(&server);
            let key = if n.is_multiple_of(2) { &late } else { &unknown };
            let token = key.token(&format!("user {n}"));
            tokio::spawn(async move { try_sign_in(&server, Over::ALL[(n / 2) % 2], &token?, "d").await })
        };
        let began = Instant::now();
        // All of them come before a look is over that nobody answers, on a busy machine too.
        let coming: Vec<_> = (0..16).map(come).collect();
        issuer.asked_more_than(1).await;
        // Whoever has a known key comes in meanwhile.
        sign_in(&server, Over::WebSocket, &known.token("alice")?, "second").await?;
        issuer.release();
        for (n, coming) in coming.into_iter().enumerate() {
            match coming.await?? {
                Ok(_) if n % 2 == 0 => {}
                Err(ended) if n % 2 == 1 => assert_eq!(ended.code, Code::TOKEN_REJECTED),
                other => bail!("{n}: {other:?}"),
            }
        }
        // On a busy machine some come when the next look is allowed, which is a second behind each.
        let (asked, later) = (u64::from(issuer.asked()), began.elapsed().as_secs());
        assert!((2..=2 + later).contains(&asked), "{asked} looks, the last ones within {later} s");
        Ok(())
    })
}

#[test]
fn an_issuer_that_does_not_answer_is_waited_for_and_not_for_ever() -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let mut issuer = Issuer::start()?;
        let key = issuer.add_ed25519("key")?;
        issuer.hold();
        let server = with_issuer(&issuer, 0)?;
        for over in Over::ALL {
            let refused = try_sign_in(&server, over, &key.token("alice")?, "d").await?.err();
            let ended = refused.context("it is let in")?;
            assert_eq!(ended.code, Code::UNAVAILABLE);
            assert!(ended.retry_after_ms >= 1_000, "{ended:?}: it is told when to come again");
        }
        // Tokens of the configured key need no issuer.
        sign_in(&server, Over::Quic, server.token(), "d").await?;
        Ok(())
    })
}

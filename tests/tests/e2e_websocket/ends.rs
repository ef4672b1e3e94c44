//! How connections end that nobody has broken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::bail;
use quoth_protocol::Code;
use quoth_protocol::frame::{ClientFrame, ServerFrame, Start};
use quoth_server::session::Limits;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::websocket::{Come, Handshake, Socket};
use quoth_tests::wire::publish;

use crate::run;

fn status(code: Code) -> u16 {
    4_000 + u16::try_from(code.0).expect("codes are small")
}

#[test]
fn without_a_hello_in_time_the_connection_closes() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let mut silent = Socket::connect(server.address(), Handshake::PLAIN).await?.expect("it is granted");
        assert_eq!(silent.close().await?.0, status(Code::HELLO_TIMEOUT));
        server.stop()
    })
}

#[test]
fn a_token_that_is_none_or_ends_closes() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let mut forged = Socket::connect(server.address(), Handshake::PLAIN).await?.expect("it is granted");
        forged.send(0, &[quoth_tests::wire::hello("none")?]).await?;
        assert_eq!(forged.close().await?.0, status(Code::TOKEN_REJECTED));
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // By when a busy machine has signed in, too.
        let token = server.token_until("carol", now_s + 15)?;
        let (mut socket, welcome) = Socket::sign_in(server.address(), Handshake::PLAIN, &token).await?;
        assert_eq!(welcome.user.as_str(), "carol");
        let Come::Frame(0, ServerFrame::TokenExpiring { .. }) = socket.next().await? else {
            bail!("not told")
        };
        assert_eq!(socket.close().await?.0, status(Code::TOKEN_EXPIRED));
        server.stop()
    })
}

#[test]
fn a_drain_says_so_acks_what_was_read_and_closes() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let (mut socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        socket.open(1, "room", 1, Some(Start::Live)).await?;
        socket.send(1, &[publish(1, "first")]).await?;
        let Come::Frame(1, _) = socket.next_all().await?.remove(0) else { bail!("it is not read") };
        let mut idle = Socket::connect(server.address(), Handshake::PLAIN).await?.expect("it is granted");
        let stopped = tokio::task::spawn_blocking(|| server.stop());
        let (mut acked, mut goes_away) = (false, false);
        let closed = 'closed: loop {
            for come in socket.next_all().await? {
                match come {
                    Come::Frame(1, ServerFrame::Ack { n: 1, .. }) => acked = true,
                    Come::Frame(
                        0,
                        ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms: 1_000, .. },
                    ) => {
                        goes_away = true;
                    }
                    Come::Frame(1, ServerFrame::Event(_)) | Come::Signal(1 | 0, _) => {}
                    Come::Close(status, _) => break 'closed status,
                    other => bail!("{other:?}"),
                }
            }
        };
        // The ack may have been the first frame that was read.
        assert!(goes_away && closed == status(Code::GOING_AWAY), "{closed} {goes_away} {acked}");
        assert_eq!(idle.close().await?.0, status(Code::GOING_AWAY));
        stopped.await??;
        Ok(())
    })
}

#[test]
fn the_end_of_the_control_lane_ends_the_connection() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let (mut socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        socket.signal(0, quoth_protocol::lane::Signal::Finish {}).await?;
        assert_eq!(socket.close().await?.0, status(Code::CLOSED));
        let (mut socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        socket.send(0, &[ClientFrame::Read { from: None }]).await?;
        assert_eq!(socket.close().await?.0, status(Code::PROTOCOL));
        server.stop()
    })
}

#[test]
fn a_client_that_says_nothing_is_pinged_and_one_that_does_not_answer_is_gone() -> anyhow::Result<()> {
    // Long, so that a machine that is busy with something else is no silence.
    let server = EmbeddedServer::start_with(Limits { idle_timeout_ms: 9_000, ..Limits::default() })?;
    run(async {
        let sign_in = || Socket::sign_in(server.address(), Handshake::PLAIN, server.token());
        let (mut silent, _) = sign_in().await?;
        let (mut answers, _) = sign_in().await?;
        // Answers are sent while something is awaited, and here for one of them alone.
        let lives = tokio::time::timeout(Duration::from_secs(12), answers.next()).await;
        assert!(lives.is_err(), "{lives:?}");
        answers.open(1, "room", 1, Some(Start::Live)).await?;
        let lost = loop {
            match silent.next().await {
                Ok(Come::Close(status, text)) => bail!("{status} {text}"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        drop(lost);
        server.stop()
    })
}

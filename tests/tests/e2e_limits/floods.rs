//! Of what no honest client does much, too much closes, or is dropped where nobody misses it.

use futures_util::{SinkExt as _, StreamExt as _};
use quoth_protocol::codec::{encode, encode_datagram};
use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, Start, feature};
use quoth_protocol::lane::{CONTROL_LANE, LaneMessage, Signal, encode_frames};
use quoth_protocol::limits::{DATAGRAM_BYTES_MAX, REFRESHES_PER_MINUTE_MAX, TYPING_PER_SECOND_MAX};
use quoth_protocol::{Code, ConversationName};
use quoth_server::session::Limits;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::issuer::Issuer;
use quoth_tests::websocket::{Handshake, Socket, open};
use quoth_tests::wire::{Frames, Peer, client_config, hello};
use tokio_tungstenite::tungstenite::Message;

use crate::{alice, close_code, run, soon, with_limits, with_server};

#[test]
fn a_flood_of_resets_closes() -> anyhow::Result<()> {
    let limits = Limits { resets_per_second_max: 20, ..Limits::default() };
    with_limits(limits, |endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        // It is open still until the server has noticed the reset before.
        let opens = async || {
            loop {
                if let Ok((frames, _)) = peer.open("room", 1, None).await {
                    return frames;
                }
            }
        };
        // What is two seconds' worth is fine.
        for _ in 0..20 {
            soon("the conversation's end", opens()).await?.send.reset(1_u32.into())?;
            let mut frames = Frames::open(&peer.quic).await?;
            frames.send.reset(1_u32.into())?;
        }
        assert!(peer.quic.close_reason().is_none());
        // Until it is closed: where this one is held up meanwhile, more of them are right.
        let floods = async {
            while let Ok((mut send, _recv)) = peer.quic.open_bi().await {
                send.reset(1_u32.into())?;
            }
            anyhow::Ok(())
        };
        soon("the end of a flood", floods).await??;
        assert_eq!(close_code(&peer.quic).await?, Code::RATE_LIMITED);
        Ok(())
    })
}

/// Opens lanes until the server closes, each with an `Open` and perhaps a reset behind it; gives the close's
/// status and how many it were.
async fn flood(socket: &mut Socket, resets: bool) -> anyhow::Result<(u16, u32)> {
    /// More than any pace of the machine makes right.
    const LANES_MAX: u32 = 100_000;
    let (mut sink, mut stream) = (&mut socket.inner).split();
    let floods = async {
        for lane in 1..=LANES_MAX {
            let frames = encode_frames(lane, &[encode(&open("room", lane.into(), None)?)]);
            let reset = LaneMessage::signal(lane, Signal::Reset { code: Code::CANCELLED });
            let messages = [Some(frames), resets.then(|| reset.encode())];
            for message in messages.into_iter().flatten() {
                if sink.send(Message::Binary(message)).await.is_err() {
                    return anyhow::Ok(lane);
                }
            }
        }
        anyhow::bail!("{LANES_MAX} lanes were opened")
    };
    let closes = async {
        while let Some(come) = stream.next().await {
            if let Ok(Message::Close(Some(close))) = come {
                return anyhow::Ok(u16::from(close.code));
            }
        }
        anyhow::bail!("no close")
    };
    soon("the end of a flood", async { tokio::try_join!(closes, floods) }).await?
}

#[test]
fn a_flood_of_lanes_that_nobody_serves_closes() -> anyhow::Result<()> {
    let rate_limited = u16::try_from(4_000 + Code::RATE_LIMITED.0)?;
    let limits = Limits { resets_per_second_max: 20, ..Limits::default() };
    with_limits(limits.clone(), |_, server| async move {
        // More at once than it may have.
        let (mut socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        assert_eq!(flood(&mut socket, false).await?.0, rate_limited);
        Ok(())
    })?;
    // Before the sign-in, which waits for a key here, and with it all other lanes.
    let mut issuer = Issuer::start()?;
    let key = issuer.add_ed25519("key")?;
    issuer.hold();
    let server = EmbeddedServer::start_configured(|config| {
        config.limits = limits;
        config.jwks.url = Some(issuer.url().parse().expect("a URL"));
    })?;
    let token = key.token("alice")?;
    run(async {
        let mut socket = Socket::connect(server.address(), Handshake::PLAIN)
            .await?
            .map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        socket.send(CONTROL_LANE, &[hello(&token)?]).await?;
        let (status, lanes) = flood(&mut socket, true).await?;
        assert_eq!(status, rate_limited, "{lanes} lanes");
        Ok(())
    })?;
    issuer.release();
    server.stop()
}

/// A connection whose typing notices go in datagrams.
async fn with_datagrams(endpoint: &quinn::Endpoint, server: &EmbeddedServer) -> anyhow::Result<Peer> {
    let config = client_config(&server.ca_file(), quoth_protocol::ALPN)?;
    let quic = endpoint.connect_with(config, server.address(), "localhost")?.await?;
    let mut control = Frames::open(&quic).await?;
    let ClientFrame::Hello(hello) = hello(server.token())? else { anyhow::bail!("a Hello") };
    control.write(&ClientFrame::Hello(Hello { features: feature::DATAGRAMS, ..hello })).await?;
    match soon("a Welcome", control.next()).await?? {
        Some(ServerFrame::Welcome(welcome)) => Ok(Peer { quic, control, welcome }),
        other => anyhow::bail!("not a Welcome: {other:?}"),
    }
}

fn typing() -> anyhow::Result<ClientFrame> {
    Ok(ClientFrame::Typing { conversation: ConversationName::new("room")? })
}

#[test]
fn a_flood_of_datagrams_closes() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = with_datagrams(&endpoint, &server).await?;
        let notice = encode_datagram(&typing()?);
        let floods = async { while peer.quic.send_datagram_wait(notice.clone()).await.is_ok() {} };
        soon("the end of a flood", floods).await?;
        assert_eq!(close_code(&peer.quic).await?, Code::RATE_LIMITED);
        Ok(())
    })
}

#[test]
fn a_large_datagram_is_dropped() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = with_datagrams(&endpoint, &server).await?;
        // The same bytes in a smaller one would close, since they are no notice.
        peer.quic.send_datagram(vec![0xFF; DATAGRAM_BYTES_MAX + 1].into())?;
        soon("an Opened", peer.open("room", 1, None)).await??;
        peer.quic.send_datagram(vec![0xFF; DATAGRAM_BYTES_MAX].into())?;
        assert_eq!(close_code(&peer.quic).await?, Code::PROTOCOL);
        Ok(())
    })
}

#[test]
fn typing_notices_over_their_rate_are_dropped() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let (mut types, mut sees) = (alice(&endpoint, &server).await?, alice(&endpoint, &server).await?);
        let (_types, _) = types.open("room", 1, Some(Start::Live)).await?;
        let (_sees, _) = sees.open("room", 2, Some(Start::Live)).await?;
        let sent = 20 * TYPING_PER_SECOND_MAX;
        let began_at = std::time::Instant::now();
        // Apart, so that the reader could be told of each.
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(5));
        for _ in 0..sent {
            ticks.tick().await;
            types.control.write(&typing()?).await?;
        }
        types.control.send.finish()?;
        soon("the end", types.quic.closed()).await?;
        let windows = 2 + u32::try_from(began_at.elapsed().as_secs())?;
        let mut seen = 0;
        let quiet = std::time::Duration::from_secs(2);
        while let Ok(frame) = tokio::time::timeout(quiet, sees.control.next()).await {
            assert!(matches!(frame?, Some(ServerFrame::Typing { .. })));
            seen += 1;
        }
        assert!(
            (1..=windows * TYPING_PER_SECOND_MAX).contains(&seen),
            "{seen} of {sent} were passed on in {windows} windows"
        );
        Ok(())
    })
}

#[test]
fn a_flood_of_refreshes_closes() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let mut peer = alice(&endpoint, &server).await?;
        // A minute may end between them, so more than two minutes' worth.
        for _ in 0..=2 * REFRESHES_PER_MINUTE_MAX {
            let refresh = ClientFrame::Refresh { token: server.token().to_owned() };
            if peer.control.write(&refresh).await.is_err() {
                break;
            }
        }
        assert_eq!(close_code(&peer.quic).await?, Code::OVERLOADED);
        Ok(())
    })
}

#[test]
fn a_flood_of_pings_closes_a_websocket() -> anyhow::Result<()> {
    let limits = Limits { control_frames_per_second_max: 10, ..Limits::default() };
    with_limits(limits, |_, server| async move {
        let (mut socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        for _ in 0..30 {
            socket.inner.send(Message::Ping("x".into())).await?;
        }
        socket.open(1, "room", 1, None).await?;
        for kind in [Message::Ping, Message::Pong] {
            let (mut floods, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
            for _ in 0..100 {
                let _may_be_closed = floods.inner.send(kind("x".into())).await;
            }
            let (status, text) = floods.close().await?;
            assert_eq!(u32::from(status), 4_000 + Code::RATE_LIMITED.0, "{text}");
        }
        Ok(())
    })
}

//! What is too large.

use quoth_protocol::Code;
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ClientFrame, ServerFrame};
use quoth_protocol::limits::{
    BODY_BYTES_MAX, FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX, JSON_MESSAGE_BYTES_MAX,
};
use quoth_tests::websocket::{Handshake, Socket};
use quoth_tests::wire::{Frames, hello, publish};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::{alice, close_code, reset_code, soon, with_server};

#[test]
fn a_body_over_its_limit_is_refused_and_the_stream_goes_on() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let (mut frames, _) = peer.open("room", 1, None).await?;
        frames.write(&publish(1, vec![0; BODY_BYTES_MAX + 1])).await?;
        frames.write(&publish(2, vec![0; BODY_BYTES_MAX])).await?;
        let (mut refused, mut acked) = (None, None);
        while refused.is_none() || acked.is_none() {
            match soon("an answer", frames.next()).await?? {
                Some(ServerFrame::Refused { n: 1, code, .. }) => refused = Some(code),
                Some(ServerFrame::Ack { n: 2, seq, .. }) => acked = Some(seq.0),
                other => anyhow::bail!("{other:?}"),
            }
        }
        assert_eq!((refused, acked), (Some(Code::TOO_LARGE), Some(1)));
        Ok(())
    })
}

/// The length of a frame of so many bytes, in its shortest form.
fn length(bytes: usize) -> Vec<u8> {
    let mut rest = bytes;
    let mut length = Vec::new();
    while rest >= 0x80 {
        length.push(u8::try_from(rest & 0x7F).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    length.push(u8::try_from(rest).expect("seven bits"));
    length
}

#[test]
fn a_frame_over_its_limit_resets_its_stream() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = alice(&endpoint, &server).await?;
        let (mut frames, _) = peer.open("room", 1, None).await?;
        // The length alone is enough.
        frames.send.write_all(&length(FRAME_BYTES_MAX + 1)).await?;
        let error = soon("a reset", frames.next()).await?.expect_err("a reset");
        assert_eq!(reset_code(&error)?, Code::FRAME_TOO_LARGE);
        peer.open("another room", 1, None).await?;
        Ok(())
    })
}

#[test]
fn the_first_frame_of_a_stream_and_control_frames_are_small() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let mut peer = alice(&endpoint, &server).await?;
        let mut frames = Frames::open(&peer.quic).await?;
        let mut too_long = length(FIRST_FRAME_BYTES_MAX + 1);
        too_long.extend([0; 100]);
        frames.send.write_all(&too_long).await?;
        let error = soon("a reset", frames.next()).await?.expect_err("a reset");
        assert_eq!(reset_code(&error)?, Code::FRAME_TOO_LARGE);
        let refresh = ClientFrame::Refresh { token: "x".repeat(FIRST_FRAME_BYTES_MAX) };
        peer.control.send.write_chunk(encode(&refresh)).await?;
        assert_eq!(close_code(&peer.quic).await?, Code::FRAME_TOO_LARGE);
        Ok(())
    })
}

#[test]
fn a_message_in_json_has_its_limit() -> anyhow::Result<()> {
    with_server(|_, server| async move {
        let connected = Socket::connect(server.address(), Handshake::JSON).await?;
        let mut socket = connected.map_err(|refused| anyhow::anyhow!("{refused:?}"))?;
        let ClientFrame::Hello(hello) = hello(server.token())? else { anyhow::bail!("a Hello") };
        socket.send_json(serde_json::json!({ "lane": 0, "hello": hello })).await?;
        soon("a Welcome", socket.next_json()).await??;
        // What is not JSON closes in another way, so this is closed for its size.
        futures_util::SinkExt::send(&mut socket.inner, Message::text("x".repeat(JSON_MESSAGE_BYTES_MAX + 1)))
            .await?;
        assert_eq!(socket.close().await?.0, 1_009);
        Ok(())
    })
}

#[test]
fn the_head_of_a_request_has_its_limits() -> anyhow::Result<()> {
    with_server(|_, server| async move {
        for headers in ["X: y\r\n".repeat(65), format!("X: {}\r\n", "y".repeat(10_000))] {
            let mut tcp = tokio::net::TcpStream::connect(server.address()).await?;
            let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", server.address());
            // It may be closed before all of it has come.
            let _closed_early = tcp.write_all(request.as_bytes()).await;
            let mut answer = [0; 12];
            soon("an answer", tcp.read_exact(&mut answer)).await??;
            assert_eq!(&answer, b"HTTP/1.1 431");
        }
        Ok(())
    })
}

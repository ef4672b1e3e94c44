//! What a client hears that breaks RFC 6455 or Quoth's protocol.

use futures_util::SinkExt as _;
use quoth_protocol::frame::{ServerFrame, Start};
use quoth_protocol::lane::encode_frames;
use quoth_protocol::limits::{LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX, LANE_MESSAGE_BYTES_MAX};
use quoth_protocol::{Code, Seq};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::websocket::{Come, Handshake, Socket, dial};
use quoth_tests::wire::publish;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::tungstenite::Message;

use crate::run;

/// The status of a close with a code.
fn status(code: Code) -> u16 {
    4_000 + u16::try_from(code.0).expect("codes are small")
}

#[test]
fn messages_that_are_none_close_with_a_code() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    run(async {
        let unknown_part = Message::binary(vec![0, 99]);
        let text = Message::text("{}");
        let not_opened = Message::Binary(encode_frames(5, &[quoth_protocol::codec::encode(&publish(1, ""))]));
        for (message, code) in [
            (unknown_part, Code::PROTOCOL),
            (text, Code::PROTOCOL),
            (not_opened, Code::PROTOCOL),
            (Message::binary(vec![0; LANE_MESSAGE_BYTES_MAX]), Code::PROTOCOL),
        ] {
            let (mut socket, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
            socket.inner.send(message.clone()).await?;
            let (closed, text) = socket.close().await?;
            assert_eq!(closed, status(code), "{message:?}: {text}");
        }
        server.stop()
    })
}

#[test]
fn messages_over_their_limit_close_and_the_limit_is_small_before_the_sign_in() -> anyhow::Result<()> {
    const TOO_BIG: u16 = 1_009;
    let server = EmbeddedServer::start()?;
    run(async {
        let mut unknown = Socket::connect(server.address(), Handshake::PLAIN).await?.expect("it is granted");
        unknown.inner.send(Message::binary(vec![0; LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX + 1])).await?;
        assert_eq!(unknown.close().await?.0, TOO_BIG);
        let (mut known, _) = Socket::sign_in(server.address(), Handshake::PLAIN, server.token()).await?;
        known.open(1, "room", 1, Some(Start::After(Seq::ZERO))).await?;
        known.send(1, &[publish(1, vec![b'x'; 65_536])]).await?;
        let is_ack = |come: &Come| matches!(come, Come::Frame(1, ServerFrame::Ack { .. }));
        while !known.next_all().await?.iter().any(is_ack) {}
        known.inner.send(Message::binary(vec![0; LANE_MESSAGE_BYTES_MAX + 1])).await?;
        assert_eq!(known.close().await?.0, TOO_BIG);
        server.stop()
    })
}

/// The bytes of a frame of a client, with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let length = u8::try_from(payload.len()).expect("it is short");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// What the server answers to a handshake and these bytes behind it: the status of its close.
async fn answer(server: &EmbeddedServer, bytes: &[u8]) -> anyhow::Result<u16> {
    let mut io = dial(server.address(), None).await?;
    let request = format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: quoth.v1.json\r\n\r\n",
        server.address()
    );
    // In one piece, so that what is behind the handshake has come with it.
    io.write_all(&[request.as_bytes(), bytes].concat()).await?;
    let mut answer = Vec::new();
    io.read_to_end(&mut answer).await?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head ends");
    let [0x88, _, high, low, ..] = answer[head + 4..] else { anyhow::bail!("no close: {answer:?}") };
    Ok(u16::from_be_bytes([high, low]))
}

#[test]
fn frames_that_break_the_rfc_close_with_its_statuses() -> anyhow::Result<()> {
    const TEXT: u8 = 1;
    const FIN: u8 = 0x80;
    let server = EmbeddedServer::start()?;
    run(async {
        for (what, bytes, status) in [
            ("a reserved bit", frame(FIN | 0x40 | TEXT, b"{}"), 1_002),
            ("an unknown opcode", frame(FIN | 3, b""), 1_002),
            ("a continuation of nothing", frame(FIN, b"x"), 1_002),
            ("a fragmented ping", frame(9, b""), 1_002),
            ("without a mask", vec![FIN | TEXT, 2, b'{', b'}'], 1_002),
            ("no UTF-8", frame(FIN | TEXT, b"\xFF"), 1_007),
            ("a close with half a status", frame(FIN | 8, b"x"), 1_002),
            ("a close of its own", frame(FIN | 8, &1_000_u16.to_be_bytes()), 1_000),
            (
                "a length over all limits",
                [FIN | TEXT, 0xFF].iter().copied().chain([0x7F; 12]).collect(),
                1_009,
            ),
        ] {
            assert_eq!(answer(&server, &bytes).await?, status, "{what}");
        }
        let endless: Vec<u8> = [frame(TEXT, b"")]
            .into_iter()
            .chain(std::iter::repeat_n(frame(0, b""), 10_000))
            .flatten()
            .collect();
        assert_eq!(answer(&server, &endless).await?, 1_009, "fragments of nothing");
        server.stop()
    })
}

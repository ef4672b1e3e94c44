//! A socket whose client does not do its part.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use quoth_lanes::{Format, Lanes, Message, OUTGOING_BYTES_MAX, Outgoing};
use quoth_protocol::Code;
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ClientFrame, ServerFrame};
use quoth_protocol::lane::encode_frames;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::floods::Floods;
use super::heard::Heard;
use super::heartbeat::Heartbeat;
use super::messages::Messages;
use super::pump::Pump;
use crate::http::Stream;

/// A bound of a hang.
const PATIENCE: Duration = Duration::from_secs(30);

const NEVER: Duration = Duration::from_secs(3_600);

/// The two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (listener.accept().await.unwrap().0, client)
}

/// What serves the server's end of a connection.
fn pump<M: Messages>(server: TcpStream, messages: M, heartbeat: Heartbeat) -> Box<Pump<M>> {
    Pump::new(Stream::plain(server), Vec::new(), None, messages, heartbeat, Heard::default(), Floods::none())
}

/// A session on whose first lane there is always something to say, and which tells how much it could.
async fn talk(lanes: Lanes) -> usize {
    let control = encode_frames(0, &[encode(&ClientFrame::Read { from: None })]);
    lanes.receive(Message::Binary(control)).unwrap();
    lanes.signed_in(10);
    let (mut send, _recv) = lanes.accept().await.unwrap();
    let frame = encode(&ServerFrame::TokenExpiring { in_ms: 1 });
    let frames: Vec<Bytes> = vec![frame; 1_000];
    let mut written = 0;
    while let Ok(bytes) = send.write_chunks(&frames).await {
        written += bytes.bytes;
        let credit = quoth_protocol::lane::LaneMessage::signal(
            0,
            quoth_protocol::lane::Signal::Credit { bytes: 1_000_000 },
        );
        let _until_it_ends = lanes.receive(Message::Binary(credit.encode()));
    }
    written
}

#[tokio::test]
async fn a_socket_that_nobody_reads_ends_and_holds_little_meanwhile() {
    const STALL_TIMEOUT: Duration = Duration::from_secs(1);
    /// What the kernel may hold for both ends of a connection.
    const KERNEL_BYTES_MAX: usize = 16 * 1_024 * 1_024;
    let (server, client) = pair().await;
    let lanes = Lanes::server(Format::Postcard);
    let heartbeat = Heartbeat::new(NEVER, NEVER, STALL_TIMEOUT);
    let pump = pump(server, lanes.clone(), heartbeat);
    let talks = tokio::spawn(talk(lanes.clone()));
    tokio::time::timeout(PATIENCE, pump.run()).await.expect("it ends");
    assert_eq!(lanes.close_reason().unwrap().code, None, "it is lost");
    let written = talks.await.unwrap();
    assert!(written < KERNEL_BYTES_MAX + 2 * OUTGOING_BYTES_MAX, "{written}");
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_read_slowly_goes_on() {
    // Far more than the client waits between its reads, which all in all takes longer.
    const STALL_TIMEOUT: Duration = Duration::from_secs(3);
    let (server, mut client) = pair().await;
    let lanes = Lanes::server(Format::Postcard);
    let heartbeat = Heartbeat::new(NEVER, NEVER, STALL_TIMEOUT);
    let pump = pump(server, lanes.clone(), heartbeat);
    let (pumps, _talks) = (tokio::spawn(pump.run()), tokio::spawn(talk(lanes.clone())));
    // The clock would go on by itself where nobody has anything to do.
    let busy = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let mut buffer = vec![0; 4 * 1_024 * 1_024];
    for _ in 0..8 {
        tokio::time::advance(STALL_TIMEOUT / 6).await;
        // What has gathered, so that there is room for more.
        let mut read = 0;
        while read < buffer.len() / 4 {
            read += client.read(&mut buffer).await.unwrap();
        }
    }
    assert_eq!(lanes.close_reason(), None);
    busy.abort();
    tokio::time::resume();
    lanes.close(Code::CLOSED, "");
    drop(client);
    tokio::time::timeout(PATIENCE, pumps).await.expect("it ends").unwrap();
}

/// The header of a message of 60,000 bytes, the first fragment of one, and a further one with a ping before
/// it; all with a mask of zeros.
const LONG_MESSAGE: &[u8] = &[0x82, 0xfe, 0xea, 0x60, 0, 0, 0, 0];
const FIRST_FRAGMENT: &[u8] = &[0x02, 0x81, 0, 0, 0, 0, b'x'];
const PING_AND_FRAGMENT: &[u8] = &[0x89, 0x80, 0, 0, 0, 0, 0x00, 0x81, 0, 0, 0, 0, b'x'];

#[tokio::test]
async fn a_message_that_comes_in_drops_ends_the_socket() {
    const STALL_TIMEOUT: Duration = Duration::from_secs(1);
    for (begins, goes_on) in [(LONG_MESSAGE, &[0][..]), (FIRST_FRAGMENT, PING_AND_FRAGMENT)] {
        let (server, mut client) = pair().await;
        let lanes = Lanes::server(Format::Postcard);
        lanes.signed_in(10);
        let pump = pump(server, lanes.clone(), Heartbeat::new(NEVER, NEVER, STALL_TIMEOUT));
        let pumps = tokio::spawn(pump.run());
        client.write_all(begins).await.unwrap();
        let drops = async {
            while lanes.close_reason().is_none() {
                tokio::time::sleep(STALL_TIMEOUT / 4).await;
                let _it_may_have_ended = client.write_all(goes_on).await;
            }
        };
        tokio::time::timeout(PATIENCE, drops).await.expect("it ends");
        tokio::time::timeout(PATIENCE, pumps).await.expect("it ends").unwrap();
    }
}

/// Bytes of each message of [`Plenty`].
const PLENTY_BYTES: usize = 4_096;

/// Has so many messages, and never calls, since there is always one more until there is none.
struct Plenty {
    left: AtomicUsize,
}

impl Messages for Plenty {
    fn message_bytes_max(&self) -> usize {
        PLENTY_BYTES
    }

    fn receive(&self, _: Message) -> Result<(), Code> {
        panic!("the client sends nothing")
    }

    fn take_unserved(&self) -> u32 {
        0
    }

    fn poll_next_message(&self, _: &mut Context<'_>) -> Poll<Outgoing> {
        let take = |left: usize| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Poll::Ready(Outgoing::Message(Message::Binary(Bytes::from_static(&[0; PLENTY_BYTES])))),
            Err(_) => Poll::Pending,
        }
    }

    fn close(&self, _: Code, _: &str) {}

    fn closed_by_peer(&self, _: Option<Code>, _: &str) {}
}

#[tokio::test]
async fn a_silent_client_gets_everything_however_often_the_socket_is_full() {
    /// Far more than the kernel holds for both ends, so that the socket is full many times.
    const MESSAGES: usize = 16 * 1_024;
    const HEADER_BYTES: usize = 4;
    let (server, mut client) = pair().await;
    let messages = Plenty { left: AtomicUsize::new(MESSAGES) };
    let heartbeat = Heartbeat::new(NEVER, NEVER, NEVER);
    let pump = pump(server, messages, heartbeat);
    let pumps = tokio::spawn(pump.run());
    let mut buffer = vec![0; 256 * 1_024];
    let mut read = 0;
    while read < MESSAGES * (HEADER_BYTES + PLENTY_BYTES) {
        let more = tokio::time::timeout(PATIENCE, client.read(&mut buffer)).await;
        read += more.unwrap_or_else(|_| panic!("nothing comes behind {read} bytes")).unwrap();
    }
    pumps.abort();
}

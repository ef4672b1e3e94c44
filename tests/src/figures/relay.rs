//! The floor of the network: a relay over bare quinn. It speaks the frames that the clients speak, so that these do the same
//! work, and has no store, no rules and no limits: what is published goes to all who have the conversation open, and is acked.
//! Its QUIC settings are the server's, on one thread like the server's network side.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use parking_lot::Mutex;
use quinn::{Endpoint, RecvStream, SendStream, VarInt};
use quoth_protocol::codec::{Decoder, encode};
use quoth_protocol::frame::{ClientFrame, Durability, Event, EventKind, Open, ServerFrame, VERSION, Welcome};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{ALPN, ConversationName, Seq, UserId};
use quoth_server::quic::{Limits, Steering, endpoint_config, server_config};
use tokio::sync::mpsc;

use super::machine::socket;

/// Unidirectional streams that each connection may open, as many servers allow for what comes later.
const UNI_STREAMS_MAX: u32 = 8;

/// Bytes of all streams that a client may have on their way.
const RECEIVE_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// Frames that are written in one call.
const WRITE_FRAMES_MAX: usize = 256;

type Frames = mpsc::UnboundedSender<Bytes>;

#[derive(Debug, Default)]
struct Room {
    head: Seq,
    readers: Vec<Frames>,
}

type Rooms = Arc<Mutex<HashMap<ConversationName, Room>>>;

/// Serves on a free port of loopback with a certificate that it makes in `dir`, and prints the address. A connection may
/// open `streams_max` streams. Ends with its process.
///
/// # Errors
/// When it cannot serve.
pub fn serve(dir: &Path, streams_max: u32) -> anyhow::Result<()> {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let made = quoth_certs::development(dir, &["localhost".to_owned()], now_s)?;
    let store = Arc::new(quoth_certs::CertStore::open(&made.leaf_pem_path, &made.leaf_key_pem_path)?);
    let tls = quoth_certs::server_config(store, &[ALPN])?;
    let secret = [0; 32];
    let config = server_config(tls, &Limits::default(), &secret)?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint =
            Endpoint::new(endpoint_config(&secret, Steering::ALONE), Some(config), socket()?, runtime)?;
        println!("{}", endpoint.local_addr()?);
        let rooms = Rooms::default();
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(connection(incoming, streams_max, Arc::clone(&rooms)));
        }
        Ok(())
    })
}

async fn connection(incoming: quinn::Incoming, streams_max: u32, rooms: Rooms) {
    let Ok(quic) = incoming.await else { return };
    quic.set_max_concurrent_bi_streams(VarInt::from_u32(streams_max));
    quic.set_max_concurrent_uni_streams(VarInt::from_u32(UNI_STREAMS_MAX));
    quic.set_receive_window(VarInt::from_u32(RECEIVE_WINDOW_BYTES));
    while let Ok((send, recv)) = quic.accept_bi().await {
        let (frames, waiting) = mpsc::unbounded_channel();
        tokio::spawn(write(send, waiting));
        let rooms = Arc::clone(&rooms);
        tokio::spawn(async move {
            let _client_is_gone = read(recv, frames, &rooms).await;
        });
    }
}

async fn write(mut send: SendStream, mut waiting: mpsc::UnboundedReceiver<Bytes>) {
    let mut frames = Vec::new();
    while waiting.recv_many(&mut frames, WRITE_FRAMES_MAX).await > 0 {
        if send.write_all_chunks(&mut frames).await.is_err() {
            return;
        }
        frames.clear();
    }
}

async fn read(mut recv: RecvStream, frames: Frames, rooms: &Rooms) -> anyhow::Result<()> {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    let mut opened = None;
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
        decoder.push(&chunk.bytes);
        while let Some(frame) = decoder.next_frame()? {
            match frame {
                ClientFrame::Hello(_) => frames.send(welcome()?)?,
                ClientFrame::Open(open) => {
                    frames.send(open_room(&open, &frames, rooms))?;
                    opened = Some(open.conversation);
                }
                ClientFrame::Publish(publish) => {
                    let name = opened.as_ref().context("a publish before Open")?;
                    let seq = relay(name, publish.body, rooms);
                    frames.send(encode(&ServerFrame::Ack {
                        n: publish.n,
                        seq,
                        time_ms: 0,
                        duplicate: false,
                    }))?;
                }
                other => anyhow::bail!("the relay does not know {other:?}"),
            }
        }
    }
    Ok(())
}

fn welcome() -> anyhow::Result<Bytes> {
    Ok(encode(&ServerFrame::Welcome(Welcome {
        version: VERSION,
        features: 0,
        user: UserId::new("relay")?,
        durability: Durability::Memory,
        time_ms: 0,
        open_conversations_max: u32::MAX,
        server: "relay".to_owned(),
    })))
}

fn open_room(open: &Open, frames: &Frames, rooms: &Rooms) -> Bytes {
    let mut rooms = rooms.lock();
    let room = rooms.entry(open.conversation.clone()).or_default();
    if open.from.is_some() {
        room.readers.push(frames.clone());
    }
    encode(&ServerFrame::Opened { head: room.head, floor: Seq(1) })
}

fn relay(name: &ConversationName, body: Bytes, rooms: &Rooms) -> Seq {
    let mut rooms = rooms.lock();
    let room = rooms.entry(name.clone()).or_default();
    room.head = room.head.next();
    if !room.readers.is_empty() {
        let sender = UserId::new("relay").expect("a user's name");
        let kind = EventKind::Message { body };
        let event = encode(&ServerFrame::Event(Event {
            seq: room.head,
            time_ms: 0,
            sender,
            origin_time_ms: None,
            kind,
        }));
        room.readers.retain(|reader| reader.send(event.clone()).is_ok());
    }
    room.head
}

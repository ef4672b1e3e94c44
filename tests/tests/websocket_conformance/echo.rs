//! The server's socket with an echo behind it in place of a session.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use quoth_lanes::{Message, Outgoing};
use quoth_protocol::Code;
use quoth_server::session::Limits;
use quoth_server::websocket::{self, Messages};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Bytes of a message: as many as JSON has.
const MESSAGE_BYTES_MAX: usize = 420_000;

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 8_192;

/// Sends what has come.
#[derive(Debug, Default)]
struct Echo {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Message>,
    waker: Option<Waker>,
}

impl Messages for Echo {
    fn message_bytes_max(&self) -> usize {
        MESSAGE_BYTES_MAX
    }

    fn receive(&self, message: Message) -> Result<(), Code> {
        let mut state = self.state.lock();
        state.messages.push_back(message);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn take_unserved(&self) -> u32 {
        0
    }

    fn poll_next_message(&self, task: &mut Context<'_>) -> Poll<Outgoing> {
        let mut state = self.state.lock();
        match state.messages.pop_front() {
            Some(message) => Poll::Ready(Outgoing::Message(message)),
            None => {
                state.waker = Some(task.waker().clone());
                Poll::Pending
            }
        }
    }

    fn close(&self, _: Code, _: &str) {}

    fn closed_by_peer(&self, _: Option<Code>, _: &str) {}
}

/// A running echo, which ends when it is dropped.
#[derive(Debug)]
pub(crate) struct EchoServer {
    pub(crate) address: SocketAddr,
    _runtime: Runtime,
}

impl EchoServer {
    /// Starts one on a free port of loopback.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        runtime.spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Err(error) = serve(tcp).await {
                        eprintln!("the echo's handshake failed: {error}");
                    }
                });
            }
        });
        Ok(Self { address, _runtime: runtime })
    }
}

async fn serve(mut tcp: TcpStream) -> anyhow::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(head.len() < HEAD_BYTES_MAX, "a head without an end");
        head.push(tcp.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
    let accept = derive_accept_key(key.ok_or_else(|| anyhow::anyhow!("no key in {head}"))?.as_bytes());
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\nServer: echo\r\n\r\n"
    );
    tcp.write_all(answer.as_bytes()).await?;
    websocket::run(tcp, Echo::default(), Limits::default().idle_timeout_ms).await;
    Ok(())
}

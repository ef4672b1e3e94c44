//! Clients of the rivals.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use rustls::ClientConfig;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Kind;
use super::link::{Dialect, Link, Place};
use super::mqtt::Mqtt;
use super::nats::{Nats, Stream};
use super::secure::Secure;
use crate::system::{Client, Part, Received, Receiver, Sender, System};

/// How long a rival may take to let a client in; thousands may come at once.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a rival may take to close a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A running rival, for clients.
#[derive(Debug, Clone)]
pub struct RivalSystem {
    kind: Kind,
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    /// Whether the stream of all conversations has been made, by the first client.
    stream: Arc<OnceCell<()>>,
}

/// A connection. Dropped without being closed, it lives until its runtime ends.
#[derive(Debug)]
pub struct RivalClient {
    link: Arc<Link>,
    task: JoinHandle<()>,
}

/// The sending side of a member.
#[derive(Debug)]
pub struct RivalSender(Place);

/// The receiving side of a member.
#[derive(Debug)]
pub struct RivalReceiver(Place);

impl RivalSystem {
    pub(super) fn new(kind: Kind, address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Self {
        Self { kind, address, tls, stream: Arc::default() }
    }

    async fn connect_in_time(&self) -> anyhow::Result<RivalClient> {
        if !self.kind.has_stream() {
            return self.client(Stream::None).await;
        }
        self.stream.get_or_try_init(|| self.make_stream()).await?;
        self.client(Stream::Use).await
    }

    async fn make_stream(&self) -> anyhow::Result<()> {
        self.client(Stream::Make).await?.close().await;
        Ok(())
    }

    async fn client(&self, stream: Stream) -> anyhow::Result<RivalClient> {
        let mut tcp = TcpStream::connect(self.address).await?;
        tcp.set_nodelay(true)?;
        let dialect: Box<dyn Dialect> = if self.kind.is_nats() {
            skip_info(&mut tcp).await?;
            Box::new(Nats::new(stream))
        } else {
            Box::new(Mqtt::default())
        };
        let (link, task) = Link::start(tcp, Secure::new(self.tls.clone())?, dialect).await?;
        Ok(RivalClient { link, task })
    }
}

/// Reads the line that nats-server says first, before TLS begins: it then waits for the client.
async fn skip_info(tcp: &mut TcpStream) -> anyhow::Result<()> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let read = tcp.read_buf(&mut line).await?;
        anyhow::ensure!(read > 0, "the server has closed the connection");
    }
    Ok(())
}

impl System for RivalSystem {
    type Client = RivalClient;

    fn acks(&self) -> bool {
        self.kind.acks()
    }

    async fn connect(&self) -> anyhow::Result<RivalClient> {
        let what = || format!("{} at {} does not let a client in", self.kind.name(), self.address);
        timeout(CONNECT_TIMEOUT, self.connect_in_time()).await.with_context(what)?.with_context(what)
    }
}

impl Client for RivalClient {
    type Receiver = RivalReceiver;
    type Sender = RivalSender;

    async fn enter(&self, conversation: &str, part: Part) -> anyhow::Result<(RivalSender, RivalReceiver)> {
        let place = self.link.enter(conversation, part).await?;
        Ok((RivalSender(place.clone()), RivalReceiver(place)))
    }

    async fn close(self) {
        self.link.close();
        // A server that does not close is left to itself.
        let _closed = timeout(CLOSE_TIMEOUT, self.task).await;
    }
}

impl Sender for RivalSender {
    async fn publish(&mut self, bodies: &mut Vec<Bytes>) -> anyhow::Result<()> {
        self.0.publish(bodies).await
    }
}

impl Receiver for RivalReceiver {
    async fn receive(&mut self, into: &mut Vec<Received>) -> anyhow::Result<()> {
        self.0.receive(into).await
    }
}

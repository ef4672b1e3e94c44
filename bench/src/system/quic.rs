//! Clients that speak Quoth's frames over QUIC: to the server and to the relay. Bare frames, the least that a
//! client can do, so that little of what is measured is the client's.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::bail;
use bytes::Bytes;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use quoth_protocol::ALPN;
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{Start, Welcome};
use rand::RngExt as _;

use super::{Acks, Client, Keeps, Part, Received, Receiver, Sender, System};
use crate::refusal::plainly;
use crate::wire::{Frames, Incoming, Peer, client_config, publish, socket};

/// A server that speaks the frames, as one thread sees it: all its connections share a socket.
#[derive(Debug)]
pub struct Quic {
    endpoint: Endpoint,
    config: quinn::ClientConfig,
    server: SocketAddr,
    name: String,
    ca_file: PathBuf,
    token: String,
}

/// A connection.
#[derive(Debug)]
pub struct QuicClient {
    endpoint: Endpoint,
    peer: Peer,
}

/// The sending side of a stream.
#[derive(Debug)]
pub struct QuicSender {
    send: quinn::SendStream,
    frames: Vec<Bytes>,
    n: u64,
}

/// The receiving side of a stream.
#[derive(Debug)]
pub struct QuicReceiver {
    incoming: Incoming,
    acks: Acks,
}

impl Quic {
    /// A server at `server` that has a certificate for `name` of the CA in `ca_file`. Needs a tokio runtime,
    /// whose thread is the one meant.
    ///
    /// # Errors
    /// When there is no such CA or no socket.
    pub fn new(server: SocketAddr, name: &str, ca_file: &Path, token: &str) -> anyhow::Result<Self> {
        let any = SocketAddr::new(if server.is_ipv4() { [0; 4].into() } else { [0; 16].into() }, 0);
        let runtime = std::sync::Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket(any)?, runtime)?;
        let config = client_config(ca_file, ALPN)?;
        let (name, token) = (name.to_owned(), token.to_owned());
        Ok(Self { endpoint, config, server, name, ca_file: ca_file.to_owned(), token })
    }
}

impl Quic {
    /// The same server as another client sees it, which has not been there: on the same socket, without
    /// tickets.
    ///
    /// # Errors
    /// When the CA cannot be read.
    pub fn as_another_client(&self) -> anyhow::Result<Self> {
        let config = client_config(&self.ca_file, ALPN)?;
        Ok(Self {
            endpoint: self.endpoint.clone(),
            config,
            server: self.server,
            name: self.name.clone(),
            ca_file: self.ca_file.clone(),
            token: self.token.clone(),
        })
    }

    /// A connection without a sign-in.
    ///
    /// # Errors
    /// When there is none.
    pub async fn handshake(&self) -> anyhow::Result<quinn::Connection> {
        Ok(self.endpoint.connect_with(self.config.clone(), self.server, &self.name)?.await?)
    }

    /// Waits until no connection of the socket is left.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

impl System for Quic {
    type Client = QuicClient;

    async fn connect(&self) -> anyhow::Result<QuicClient> {
        let (config, name) = (self.config.clone(), &self.name);
        let peer = Peer::connect_to(&self.endpoint, config, self.server, name, &self.token).await;
        Ok(QuicClient { endpoint: self.endpoint.clone(), peer: peer.map_err(plainly)? })
    }
}

impl QuicClient {
    /// What the server said when the client signed in.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.peer.welcome
    }

    /// Ends the connection without waiting until the server knows it, which takes until all others of the
    /// socket have ended.
    pub fn leave(&self) {
        self.peer.quic.close(0_u32.into(), b"");
    }
}

impl Keeps for QuicClient {
    async fn enter_from(
        &self,
        conversation: &str,
        from: Option<Start>,
    ) -> anyhow::Result<(QuicSender, QuicReceiver)> {
        let producer = rand::rng().random();
        let opened = self.peer.open(conversation, producer, from).await;
        let (Frames { send, incoming }, _) = opened.map_err(plainly)?;
        let sender = QuicSender { send, frames: Vec::new(), n: 0 };
        Ok((sender, QuicReceiver { incoming, acks: Acks::default() }))
    }
}

impl Client for QuicClient {
    type Receiver = QuicReceiver;
    type Sender = QuicSender;

    async fn enter(&self, conversation: &str, part: Part) -> anyhow::Result<(QuicSender, QuicReceiver)> {
        self.enter_from(conversation, part.reads().then_some(Start::Live)).await
    }

    fn datagrams_received(&self) -> Option<u64> {
        Some(self.peer.quic.stats().udp_rx.datagrams)
    }

    async fn close(self) {
        self.peer.close(&self.endpoint).await;
    }
}

impl Sender for QuicSender {
    async fn publish(&mut self, bodies: &mut Vec<Bytes>) -> anyhow::Result<()> {
        for body in bodies.drain(..) {
            self.n += 1;
            self.frames.push(encode(&publish(self.n, body)));
        }
        self.send.write_all_chunks(&mut self.frames).await.map_err(|error| plainly(error.into()))?;
        self.frames.clear();
        Ok(())
    }
}

impl Receiver for QuicReceiver {
    async fn receive(&mut self, into: &mut Vec<Received>) -> anyhow::Result<()> {
        let mut next = self.incoming.next().await.map_err(plainly)?;
        if next.is_none() {
            bail!("the server has ended the stream");
        }
        while let Some(frame) = next {
            self.acks.take(frame, into)?;
            next = self.incoming.here()?;
        }
        Ok(())
    }
}

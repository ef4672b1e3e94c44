//! A client of bare frames, for tests and measurements that need to see or break what the SDK hides.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use anyhow::Context as _;
use quinn::congestion::BbrConfig;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, Endpoint, RecvStream, SendStream, TransportConfig, VarInt};
use quoth_protocol::codec::{Decoder, encode};
use quoth_protocol::frame::{ClientFrame, Hello, Open, Publish, ServerFrame, Start, VERSION, Welcome};
use quoth_protocol::limits::FRAME_BYTES_MAX;
use quoth_protocol::{ALPN, ConversationName, DeviceId, ProducerId, Seq};

use crate::refusal::unexpected;

/// A signed-in connection.
#[derive(Debug)]
pub struct Peer {
    /// The QUIC connection.
    pub quic: Connection,
    /// The control stream.
    pub control: Frames,
    /// What the server said.
    pub welcome: Welcome,
}

/// A stream of frames.
#[derive(Debug)]
pub struct Frames {
    /// The sending side.
    pub send: SendStream,
    /// The receiving side.
    pub incoming: Incoming,
}

/// The receiving side of a stream of frames.
#[derive(Debug)]
pub struct Incoming {
    /// What the frames come from.
    pub recv: RecvStream,
    decoder: Decoder,
}

/// The QUIC configuration of a client that trusts the CA in `ca_file`: windows of the size that the SDK uses.
///
/// # Errors
/// When the file is no CA.
pub fn client_config(ca_file: &Path, alpn: &[u8]) -> anyhow::Result<ClientConfig> {
    client_config_with(ca_file, alpn, 128 * 1024)
}

/// The same with a receive window of so many bytes for each stream.
///
/// # Errors
/// When the file is no CA.
pub fn client_config_with(
    ca_file: &Path,
    alpn: &[u8],
    stream_window_bytes: u32,
) -> anyhow::Result<ClientConfig> {
    let tls = quoth_certs::client_config(ca_file, &[alpn])?;
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(VarInt::from_u32(stream_window_bytes))
        .receive_window(VarInt::from_u32(8 * 1024 * 1024))
        .send_window(1024 * 1024)
        // As the SDK has it.
        .congestion_controller_factory(Arc::new(BbrConfig::default()))
        .keep_alive_interval(Some(Duration::from_secs(20)))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

impl Peer {
    /// Connects and signs in.
    ///
    /// # Errors
    /// When there is no connection or no Welcome.
    pub async fn connect(
        endpoint: &Endpoint,
        server: SocketAddr,
        ca: &Path,
        token: &str,
    ) -> anyhow::Result<Self> {
        Self::connect_with(endpoint, client_config(ca, ALPN)?, server, token).await
    }

    /// The same with a QUIC configuration of the caller's.
    ///
    /// # Errors
    /// When there is no connection or no Welcome.
    pub async fn connect_with(
        endpoint: &Endpoint,
        config: ClientConfig,
        server: SocketAddr,
        token: &str,
    ) -> anyhow::Result<Self> {
        Self::connect_to(endpoint, config, server, "localhost", token).await
    }

    /// The same to a server whose certificate is for `name`.
    ///
    /// # Errors
    /// When there is no connection or no Welcome.
    pub async fn connect_to(
        endpoint: &Endpoint,
        config: ClientConfig,
        server: SocketAddr,
        name: &str,
        token: &str,
    ) -> anyhow::Result<Self> {
        let quic = endpoint.connect_with(config, server, name)?.await.context("no QUIC connection")?;
        let mut control = Frames::open(&quic).await?;
        control.write(&hello(token)?).await?;
        match control.next().await? {
            Some(ServerFrame::Welcome(welcome)) => Ok(Self { quic, control, welcome }),
            other => Err(unexpected("a Welcome", other.as_ref())),
        }
    }

    /// Opens a conversation and waits for Opened; gives its head.
    ///
    /// # Errors
    /// When the stream ends or something else comes.
    pub async fn open(
        &self,
        name: &str,
        producer: u64,
        from: Option<Start>,
    ) -> anyhow::Result<(Frames, Seq)> {
        let mut frames = Frames::open(&self.quic).await?;
        let conversation = ConversationName::new(name)?;
        frames.write(&ClientFrame::Open(Open { conversation, producer: ProducerId(producer), from })).await?;
        match frames.next().await? {
            Some(ServerFrame::Opened { head, .. }) => Ok((frames, head)),
            other => Err(unexpected("an Opened", other.as_ref())),
        }
    }

    /// Closes and gives the close a moment to be sent.
    pub async fn close(self, endpoint: &Endpoint) {
        self.quic.close(VarInt::from_u32(0), b"");
        endpoint.wait_idle().await;
    }
}

impl Frames {
    /// Opens a stream.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn open(quic: &Connection) -> anyhow::Result<Self> {
        let (send, recv) = quic.open_bi().await?;
        Ok(Self { send, incoming: Incoming { recv, decoder: Decoder::new(FRAME_BYTES_MAX) } })
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// When the stream is gone.
    pub async fn write(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        self.send.write_chunk(encode(frame)).await?;
        Ok(())
    }

    /// The next frame; `None` when the server has finished the stream.
    ///
    /// # Errors
    /// When the stream is reset or a frame does not decode.
    pub async fn next(&mut self) -> anyhow::Result<Option<ServerFrame>> {
        self.incoming.next().await
    }
}

impl Incoming {
    /// The next frame; `None` when the server has finished the stream. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the stream is reset or a frame does not decode.
    pub async fn next(&mut self) -> anyhow::Result<Option<ServerFrame>> {
        loop {
            if let Some(frame) = self.here()? {
                return Ok(Some(frame));
            }
            match self.recv.read_chunk(usize::MAX, true).await? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => return Ok(None),
            }
        }
    }

    /// A frame that is here already.
    ///
    /// # Errors
    /// When it does not decode.
    pub fn here(&mut self) -> anyhow::Result<Option<ServerFrame>> {
        Ok(self.decoder.next_frame()?)
    }
}

/// A Hello with this token, each of a device of its own: the later one of two of a device takes the place of
/// the other.
///
/// # Errors
/// Never; the device's id is valid.
pub fn hello(token: &str) -> anyhow::Result<ClientFrame> {
    static DEVICES: AtomicU64 = AtomicU64::new(0);
    // All of one length: a simulation sends as many bytes each time.
    let device = format!("{:08x}-{:016x}", std::process::id(), DEVICES.fetch_add(1, Relaxed));
    Ok(ClientFrame::Hello(Hello {
        version: VERSION,
        features: 0,
        token: token.to_owned(),
        device: DeviceId::new(device)?,
        generation: 0,
        platform: "test".into(),
        client: "quoth-tests".into(),
    }))
}

/// A publish of these bytes.
#[must_use]
pub fn publish(n: u64, body: impl Into<bytes::Bytes>) -> ClientFrame {
    ClientFrame::Publish(Publish::new(n, body))
}

/// A UDP socket with large buffers: with the usual default of 208 KiB, what is lost in bursts would be
/// measured.
///
/// # Errors
/// When the address cannot be bound.
pub fn socket(address: SocketAddr) -> std::io::Result<std::net::UdpSocket> {
    const BUFFER_BYTES: usize = 8 * 1024 * 1024;
    let socket = std::net::UdpSocket::bind(address)?;
    let options = socket2::SockRef::from(&socket);
    options.set_recv_buffer_size(BUFFER_BYTES)?;
    options.set_send_buffer_size(BUFFER_BYTES)?;
    Ok(socket)
}

//! The floor of catching up: a stream of so many bytes over bare quinn, with quinn's own settings, from a
//! thread of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use quoth_protocol::ALPN;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::client::runtime;
use crate::wire::socket;

/// What is given to quinn at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Whoever opens a stream and writes a number, little endian, gets so many bytes. Ended when it is dropped.
#[derive(Debug)]
pub(super) struct Bulk {
    address: SocketAddr,
    ca_file: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<anyhow::Result<()>>>,
    _dir: TempDir,
}

impl Bulk {
    /// Serves on a free port of loopback.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn start() -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let made = quoth_certs::development(dir.path(), &[], now_unix_s)?;
        let certificates =
            Arc::new(quoth_certs::CertStore::open(&made.leaf_pem_path, &made.leaf_key_pem_path)?);
        let tls = quoth_certs::server_config(certificates, &[ALPN])?;
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
        let socket = socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let address = socket.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime()?.block_on(async {
                let endpoint =
                    Endpoint::new(EndpointConfig::default(), Some(config), socket, Arc::new(TokioRuntime))?;
                tokio::select! {
                    () = serve(&endpoint) => {}
                    _dropped = stopped => {}
                }
                Ok(())
            })
        });
        let ca_file = made.ca_pem_path;
        Ok(Self { address, ca_file, stop: Some(stop), thread: Some(thread), _dir: dir })
    }

    /// How long so many bytes take from the opening of their stream to the last one: with quinn's own
    /// settings for the client, too, and with those that the clients of the server have.
    ///
    /// # Errors
    /// When they do not come.
    pub(super) async fn read(&self, bytes: u64) -> anyhow::Result<(Duration, Duration)> {
        let tls = quoth_certs::client_config(&self.ca_file, &[ALPN])?;
        let own = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let alike = crate::wire::client_config(&self.ca_file, ALPN)?;
        Ok((self.read_with(own, bytes).await?, self.read_with(alike, bytes).await?))
    }

    async fn read_with(&self, config: ClientConfig, bytes: u64) -> anyhow::Result<Duration> {
        let socket = socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
        let quic = endpoint.connect_with(config, self.address, "localhost")?.await?;
        let started = Instant::now();
        let (mut send, mut recv) = quic.open_bi().await?;
        send.write_all(&bytes.to_le_bytes()).await?;
        let mut read = 0;
        while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
            read += chunk.bytes.len() as u64;
        }
        let elapsed = started.elapsed();
        ensure!(read == bytes, "{read} of {bytes} bytes have come");
        quic.close(0_u32.into(), b"");
        endpoint.wait_idle().await;
        Ok(elapsed)
    }

    /// Ends it.
    ///
    /// # Errors
    /// What it has failed with.
    pub(super) fn stop(mut self) -> anyhow::Result<()> {
        drop(self.stop.take());
        let thread = self.thread.take().context("it ends once")?;
        thread.join().map_err(|_| anyhow!("the floor panicked"))?
    }
}

async fn serve(endpoint: &Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let _client_is_gone = connection(incoming).await;
        });
    }
}

async fn connection(incoming: quinn::Incoming) -> anyhow::Result<()> {
    let quic = incoming.await?;
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    loop {
        let (mut send, mut recv) = quic.accept_bi().await?;
        let mut asked = [0; 8];
        recv.read_exact(&mut asked).await?;
        let mut left = u64::from_le_bytes(asked);
        while left > 0 {
            let bytes = PIECE_BYTES.min(usize::try_from(left)?);
            send.write_chunk(piece.slice(..bytes)).await?;
            left -= bytes as u64;
        }
        send.finish()?;
    }
}

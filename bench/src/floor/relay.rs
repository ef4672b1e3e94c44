//! A relay over bare quinn: the same frames as the server's, on a stream for each conversation.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, RecvStream, SendStream, ServerConfig, TransportConfig, VarInt};
use quoth_protocol::ALPN;
use quoth_protocol::codec::Decoder;
use quoth_protocol::limits::FRAME_BYTES_MAX;
use tokio::sync::mpsc;

use super::rooms::{Member, Out, Rooms};
use super::tell_address;
use crate::wire::socket;

/// Frames that go out in one write.
const WRITE_FRAMES_MAX: usize = 256;

/// The congestion controls that the server has too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Control {
    /// The server's default.
    Bbr,
    /// quinn's default.
    Cubic,
}

impl Control {
    fn factory(self) -> Arc<dyn ControllerFactory + Send + Sync> {
        match self {
            Self::Bbr => Arc::new(BbrConfig::default()),
            Self::Cubic => Arc::new(CubicConfig::default()),
        }
    }
}

/// Serves with a certificate that it makes in `dir`, and prints the address. Ends with its process.
///
/// # Errors
/// When it cannot serve.
pub fn serve(dir: &Path, listen: SocketAddr, streams: u32, control: Control) -> anyhow::Result<()> {
    let now_s = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let made = quoth_certs::development(dir, &["localhost".to_owned()], now_s)?;
    let store = Arc::new(quoth_certs::CertStore::open(&made.leaf_pem_path, &made.leaf_key_pem_path)?);
    let tls = quoth_certs::server_config(store, &[ALPN])?;
    let mut config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport(streams, control)));
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let runtime = Arc::new(quinn::TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(config), socket(listen)?, runtime)?;
        tell_address(endpoint.local_addr()?)?;
        let rooms = Rooms::new();
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(connection(incoming, rooms.clone()));
        }
        Ok(())
    })
}

/// quinn's own settings, but for what a server with many clients cannot leave, a table slot for each stream
/// that is allowed and windows without a bound, and for the congestion control, which is the server's.
fn transport(streams: u32, control: Control) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(128 * 1024))
        .receive_window(VarInt::from_u32(512 * 1024))
        .send_window(256 * 1024)
        .congestion_controller_factory(control.factory())
        .max_idle_timeout(Some(VarInt::from_u32(60_000).into()));
    transport
}

async fn connection(incoming: quinn::Incoming, rooms: Rooms) {
    let Ok(quic) = incoming.await else { return };
    while let Ok((send, recv)) = quic.accept_bi().await {
        let (frames, waiting) = mpsc::unbounded_channel();
        tokio::spawn(write(send, waiting));
        let member = rooms.member(Out { lane: 0, frames });
        tokio::spawn(async move {
            let _client_is_gone = read(recv, member).await;
        });
    }
}

async fn write(mut send: SendStream, mut waiting: mpsc::UnboundedReceiver<(u32, Bytes)>) {
    let (mut taken, mut frames) = (Vec::new(), Vec::<Bytes>::new());
    while waiting.recv_many(&mut taken, WRITE_FRAMES_MAX).await > 0 {
        frames.extend(taken.drain(..).map(|(_, frame)| frame));
        if send.write_all_chunks(&mut frames).await.is_err() {
            return;
        }
        frames.clear();
    }
}

async fn read(mut recv: RecvStream, mut member: Member) -> anyhow::Result<()> {
    let mut decoder = Decoder::new(FRAME_BYTES_MAX);
    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await? {
        decoder.push(&chunk.bytes);
        while let Some(frame) = decoder.next_frame()? {
            member.handle(frame)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use quinn::congestion::{Bbr, Cubic};

    use super::Control;

    #[test]
    fn a_congestion_control_is_what_it_is_called() {
        let built = |control: Control| control.factory().build(Instant::now(), 1_200).into_any();
        assert!(built(Control::Bbr).is::<Bbr>() && built(Control::Cubic).is::<Cubic>());
    }
}

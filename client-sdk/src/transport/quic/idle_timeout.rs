//! The server's idle timeout. QUIC's handshake tells it and quinn keeps it for itself, so that TLS, through
//! which it comes, is listened to.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::crypto::{ClientConfig, ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session};
use quinn::{ConnectError, Connection, ConnectionId, Side, VarInt};
use quinn_proto::TransportError;
use quinn_proto::coding::Codec;
use quinn_proto::transport_parameters::TransportParameters;

/// The transport parameter `max_idle_timeout`, in milliseconds (RFC 9000, 18.2).
const MAX_IDLE_TIMEOUT_ID: u64 = 1;

/// TLS as it is, which tells the server's idle timeout besides.
pub(super) struct Listening(pub(super) Arc<QuicClientConfig>);

/// What quinn gives as the data of the handshake.
struct IdleTimeout(Option<Duration>);

/// The server's idle timeout; `None` when it has none, or when TLS was not listened to.
pub(super) fn of(connection: &Connection) -> Option<Duration> {
    connection.handshake_data()?.downcast::<IdleTimeout>().ok()?.0
}

fn idle_timeout(parameters: &TransportParameters) -> Option<Duration> {
    let mut encoded = Vec::new();
    parameters.write(&mut encoded);
    let mut rest = &encoded[..];
    loop {
        let (id, len) = (number(&mut rest)?, number(&mut rest)?);
        if id == MAX_IDLE_TIMEOUT_ID {
            return number(&mut rest).filter(|ms| *ms > 0).map(Duration::from_millis);
        }
        rest = rest.get(usize::try_from(len).ok()?..)?;
    }
}

/// Takes a number off the beginning; `None` at the end.
fn number(rest: &mut &[u8]) -> Option<u64> {
    VarInt::decode(rest).ok().map(VarInt::into_inner)
}

impl ClientConfig for Listening {
    fn start_session(
        self: Arc<Self>,
        version: u32,
        server_name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        let session = Arc::clone(&self.0).start_session(version, server_name, parameters)?;
        Ok(Box::new(ListeningSession(session)))
    }
}

/// Everything but the data of the handshake is the session's own.
struct ListeningSession(Box<dyn Session>);

impl Session for ListeningSession {
    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let parameters = self.0.transport_parameters().ok()??;
        Some(Box::new(IdleTimeout(idle_timeout(&parameters))))
    }

    fn initial_keys(&self, dst_cid: &ConnectionId, side: Side) -> Keys {
        self.0.initial_keys(dst_cid, side)
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.0.peer_identity()
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.0.early_crypto()
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.0.early_data_accepted()
    }

    fn is_handshaking(&self) -> bool {
        self.0.is_handshaking()
    }

    fn read_handshake(&mut self, buf: &[u8]) -> Result<bool, TransportError> {
        self.0.read_handshake(buf)
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        self.0.transport_parameters()
    }

    fn write_handshake(&mut self, buf: &mut Vec<u8>) -> Option<Keys> {
        self.0.write_handshake(buf)
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.0.next_1rtt_keys()
    }

    fn is_valid_retry(&self, orig_dst_cid: &ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        self.0.is_valid_retry(orig_dst_cid, header, payload)
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        self.0.export_keying_material(output, label, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_among_the_parameters_and_0_is_none() {
        let found = |mut encoded: &[u8]| {
            idle_timeout(&TransportParameters::read(Side::Server, &mut encoded).unwrap())
        };
        // The connection id that every client names, and two bytes of 5,000.
        assert_eq!(found(&[15, 1, 7, 1, 2, 0x53, 0x88]), Some(Duration::from_secs(5)));
        assert_eq!(found(&[15, 1, 7, 1, 1, 0]), None);
        assert_eq!(found(&[15, 1, 7]), None);
    }
}

//! TLS configurations: TLS 1.3 by aws-lc-rs and nothing else, no early data.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::file::read_chain;
use crate::{CertError, CertStore};

/// Session tickets that a handshake gives the client: one for a reconnect now and one for a second in
/// parallel.
const SESSION_TICKETS: usize = 2;

/// A server's TLS configuration around a store's certificate, for the given application protocols in order of
/// preference. Resumes sessions from stateless tickets. Early data is off, since it can be replayed; clients
/// need no certificate, since they sign in with a token.
///
/// # Errors
/// [`CertError::Tls`] when the TLS library cannot make its ticket keys.
pub fn server_config(store: Arc<CertStore>, alpn: &[&[u8]]) -> Result<ServerConfig, CertError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_cert_resolver(store);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.max_early_data_size = 0;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = SESSION_TICKETS;
    Ok(config)
}

/// A client's TLS configuration that trusts the certificates of one PEM file and no others.
///
/// # Errors
/// When the file cannot be read, holds no certificate, or one that cannot be a trust anchor.
pub fn client_config(ca_pem_path: &Path, alpn: &[&[u8]]) -> Result<ClientConfig, CertError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots(ca_pem_path)?)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

/// A client's TLS configuration for servers of others: it trusts the machine's certificate authorities, and
/// those in a PEM file if there is one. Without any authority it trusts nobody, so a machine that has none is
/// no error here.
///
/// # Errors
/// When the file cannot be read, holds no certificate, or one that cannot be a trust anchor.
pub fn outbound_config(ca_pem_path: Option<&Path>) -> Result<ClientConfig, CertError> {
    let mut trusted = match ca_pem_path {
        Some(path) => roots(path)?,
        None => RootCertStore::empty(),
    };
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(trusted)
        .with_no_client_auth())
}

/// The certificates of a PEM file as trust anchors.
pub(crate) fn roots(ca_pem_path: &Path) -> Result<RootCertStore, CertError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_chain(ca_pem_path)? {
        roots.add(certificate).map_err(|error| CertError::Unusable {
            path: ca_pem_path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// Explicit, so that no other provider in the process can make the choice ambiguous.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{SystemTime, UNIX_EPOCH};

    use rustls::pki_types::ServerName;
    use rustls::{
        ClientConfig, ClientConnection, ConnectionCommon, HandshakeKind, ProtocolVersion, ServerConfig,
        ServerConnection,
    };

    use super::{client_config, server_config};
    use crate::{CertStore, development};

    const ALPN: &[&[u8]] = &[b"quoth/1"];

    fn now_unix_s() -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    fn dev_store(dir: &Path) -> Arc<CertStore> {
        let files = development(dir, &["chat.example".to_owned()], now_unix_s()).unwrap();
        Arc::new(CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path).unwrap())
    }

    fn transfer<A, B>(
        from: &mut ConnectionCommon<A>,
        to: &mut ConnectionCommon<B>,
    ) -> Result<(), rustls::Error> {
        let mut bytes = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut bytes).unwrap();
        }
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets()?;
        }
        Ok(())
    }

    /// A handshake in memory, with the session tickets that follow it.
    fn handshake(
        server: &Arc<ServerConfig>,
        client: &Arc<ClientConfig>,
        name: &str,
    ) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name)?;
        let mut server = ServerConnection::new(Arc::clone(server))?;
        while client.is_handshaking() || server.is_handshaking() || server.wants_write() {
            transfer(&mut client, &mut server)?;
            transfer(&mut server, &mut client)?;
        }
        Ok((client, server))
    }

    #[test]
    fn a_client_that_trusts_the_ca_gets_tls13_and_the_protocol_for_each_name() {
        let dir = tempfile::tempdir().unwrap();
        let server = Arc::new(server_config(dev_store(dir.path()), ALPN).unwrap());
        let client = Arc::new(client_config(&dir.path().join("ca.pem"), ALPN).unwrap());
        for name in ["localhost", "127.0.0.1", "::1", "chat.example"] {
            let (client, server) = handshake(&server, &client, name).unwrap();
            assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert_eq!(client.alpn_protocol(), Some(ALPN[0]));
            assert_eq!(server.alpn_protocol(), Some(ALPN[0]));
        }
        handshake(&server, &client, "elsewhere.example").unwrap_err();
    }

    #[test]
    fn a_client_of_another_ca_or_protocol_is_refused() {
        let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let server = Arc::new(server_config(dev_store(dir.path()), ALPN).unwrap());
        dev_store(other_dir.path());
        let stranger = client_config(&other_dir.path().join("ca.pem"), ALPN).unwrap();
        handshake(&server, &Arc::new(stranger), "localhost").unwrap_err();
        let old = client_config(&dir.path().join("ca.pem"), &[b"quoth/0"]).unwrap();
        handshake(&server, &Arc::new(old), "localhost").unwrap_err();
    }

    #[test]
    fn a_session_resumes_from_a_ticket_and_early_data_is_off() {
        let dir = tempfile::tempdir().unwrap();
        let server = Arc::new(server_config(dev_store(dir.path()), ALPN).unwrap());
        let mut client = client_config(&dir.path().join("ca.pem"), ALPN).unwrap();
        client.enable_early_data = true;
        let client = Arc::new(client);
        let (first, _) = handshake(&server, &client, "localhost").unwrap();
        assert_eq!(first.handshake_kind(), Some(HandshakeKind::Full));
        let (second, _) = handshake(&server, &client, "localhost").unwrap();
        assert_eq!(second.handshake_kind(), Some(HandshakeKind::Resumed));
        assert!(!second.is_early_data_accepted());
        assert_eq!(server.max_early_data_size, 0);
    }

    #[test]
    fn a_reload_is_in_force_from_the_next_handshake_on() {
        let dir = tempfile::tempdir().unwrap();
        let store = dev_store(dir.path());
        let server = Arc::new(server_config(Arc::clone(&store), ALPN).unwrap());
        let shown = || {
            let client = Arc::new(client_config(&dir.path().join("ca.pem"), ALPN).unwrap());
            let (client, _) = handshake(&server, &client, "localhost").unwrap();
            client.peer_certificates().unwrap()[0].clone()
        };
        let before = shown();
        fs::remove_file(dir.path().join("leaf.pem")).unwrap();
        dev_store(dir.path());
        assert_eq!(shown(), before);
        store.reload().unwrap();
        assert_ne!(shown(), before);
    }
}

//! What is trusted, and where a server is: the same for every transport.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::error::ConnectError;

/// The client's side of TLS, trusting the given roots alone, for a protocol that ALPN knows by this name.
pub(super) fn config(roots: RootCertStore, alpn: &[u8]) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|e| ConnectError::Tls(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![alpn.to_vec()];
    Ok(tls)
}

/// The certificates of a PEM text as roots.
pub(crate) fn roots(pem: &[u8]) -> Result<RootCertStore, ConnectError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| ConnectError::BadCa(e.to_string()))?;
        roots.add(certificate).map_err(|e| ConnectError::BadCa(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(ConnectError::BadCa("there is no certificate in it".to_owned()));
    }
    Ok(roots)
}

/// The host of `host:port`, without the brackets of an IPv6 address.
pub(crate) fn host(server: &str) -> Result<&str, ConnectError> {
    let bad = || ConnectError::BadServer { server: server.to_owned() };
    let (host, port) = server.rsplit_once(':').ok_or_else(bad)?;
    port.parse::<u16>().map_err(|_| bad())?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() { Err(bad()) } else { Ok(host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_and_a_port() {
        assert_eq!(host("127.0.0.1:4433").unwrap(), "127.0.0.1");
        assert_eq!(host("[::1]:4433").unwrap(), "::1");
        assert_eq!(host("chat.example:1").unwrap(), "chat.example");
        for bad in ["chat.example", ":4433", "chat.example:", "chat.example:http", "chat.example:70000", ""] {
            assert!(matches!(host(bad), Err(ConnectError::BadServer { .. })), "{bad}");
        }
    }

    #[test]
    fn a_ca_must_hold_a_certificate() {
        assert!(matches!(roots(b""), Err(ConnectError::BadCa(_))));
        let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(roots(garbage), Err(ConnectError::BadCa(_))));
    }
}

//! Whether clients can accept a certificate from a server, as rustls' own verifier judges it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, Error, RootCertStore};

use crate::config::provider;

/// As what the verifier shows its error for a CA certificate, for which rustls has no name of its own.
const CA_AS_LEAF: &str = "CaUsedAsEndEntity";

/// Verifies a leaf as a client does that connects to 127.0.0.1 and trusts `roots`.
pub(crate) fn verify(leaf: &CertificateDer<'_>, roots: RootCertStore, at: UnixTime) -> Result<(), Error> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| Error::General(error.to_string()))?;
    let name = ServerName::from(IpAddr::from(Ipv4Addr::LOCALHOST));
    verifier.verify_server_cert(leaf, &[], &name, &[], at).map(|_| ())
}

/// Why no client accepts this certificate from a server, whatever it trusts and whenever it looks.
pub(crate) fn refusal(leaf: &CertificateDer<'_>) -> Option<String> {
    let verdict = match judge(leaf, UnixTime::since_unix_epoch(Duration::ZERO)) {
        // The verifier looks at nothing else of a certificate that is not valid.
        Err(CertificateError::NotValidYetContext { not_before, .. }) => judge(leaf, not_before),
        verdict => verdict,
    };
    match verdict {
        Err(CertificateError::Other(error)) if error.to_string() == CA_AS_LEAF => Some(
            "it is a CA certificate, as `openssl req -x509` makes it: the server needs a leaf that is signed by it, and \
             clients trust the CA"
                .to_owned(),
        ),
        Err(error @ (CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. })) => {
            Some(error.to_string())
        }
        _ => None,
    }
}

/// Why no client accepts this certificate at this time, though it may at another one.
pub(crate) fn out_of_date(leaf: &CertificateDer<'_>, at: UnixTime) -> Option<String> {
    match judge(leaf, at) {
        Err(
            error @ (CertificateError::NotValidYetContext { .. } | CertificateError::ExpiredContext { .. }),
        ) => Some(error.to_string()),
        _ => None,
    }
}

/// What the verifier says of the certificate itself: whom clients trust is not known here, so it is its own
/// root. That says nothing about its issuer and its names.
fn judge(leaf: &CertificateDer<'_>, at: UnixTime) -> Result<(), CertificateError> {
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone().into_owned()).map_err(|_| CertificateError::BadEncoding)?;
    match verify(leaf, roots, at) {
        Err(Error::InvalidCertificate(error)) => Err(error),
        _ => Ok(()),
    }
}

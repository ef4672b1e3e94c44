//! TLS whose datagrams have the same lengths in every run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quinn::{ClientConfig, TransportConfig, VarInt};
use quoth_certs::CertStore;
use quoth_protocol::ALPN;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};

use crate::wire;

/// Length of a P-256 signature in DER, in bytes; every second one has it, others have one or few less or one
/// more.
const SIGNATURE_BYTES: usize = 71;

/// Silence after which a client connects again, in milliseconds.
const CLIENT_IDLE_TIMEOUT_MS: u32 = 1_200;

const CLIENT_KEEP_ALIVE: Duration = Duration::from_millis(300);

/// Bytes that a client takes of one stream before it reads on: little, so that a client that does not read is
/// felt.
const CLIENT_STREAM_WINDOW_BYTES: u32 = 16 * 1024;

/// A certificate of the server in a folder, and the certificate authority to trust.
#[derive(Debug, Clone)]
pub struct Certificates {
    ca_file: PathBuf,
    store: Arc<CertStore>,
}

impl Certificates {
    /// Makes them in a folder, or takes those that lie there: their lengths vary by a byte, so that traces of
    /// two processes are the same only when both use the same folder.
    ///
    /// # Errors
    /// When they cannot be made.
    pub fn in_folder(dir: &Path) -> anyhow::Result<Self> {
        let now_unix_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let files = quoth_certs::development(dir, &[], now_unix_s)?;
        let store = Arc::new(CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path)?);
        Ok(Self { ca_file: files.ca_pem_path, store })
    }

    /// The PEM file of the certificate authority.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    pub(super) fn server(&self) -> anyhow::Result<rustls::ServerConfig> {
        let mut tls = quoth_certs::server_config(Arc::clone(&self.store), &[ALPN])?;
        let certified = self.store.in_force();
        let key = Arc::new(EvenKey(Arc::clone(&certified.key)));
        tls.cert_resolver = Arc::new(Always(Arc::new(CertifiedKey::new(certified.cert.clone(), key))));
        Ok(tls)
    }

    pub(super) fn client(&self) -> anyhow::Result<ClientConfig> {
        let mut config = wire::client_config(&self.ca_file, ALPN)?;
        let mut transport = TransportConfig::default();
        transport
            .stream_receive_window(VarInt::from_u32(CLIENT_STREAM_WINDOW_BYTES))
            .receive_window(VarInt::from_u32(8 * CLIENT_STREAM_WINDOW_BYTES))
            .keep_alive_interval(Some(CLIENT_KEEP_ALIVE))
            .max_concurrent_bidi_streams(VarInt::from_u32(0))
            .max_idle_timeout(Some(VarInt::from_u32(CLIENT_IDLE_TIMEOUT_MS).into()));
        config.transport_config(Arc::new(transport));
        Ok(config)
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// A key whose signatures all have the same length.
#[derive(Debug)]
struct EvenKey(Arc<dyn SigningKey>);

impl SigningKey for EvenKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(EvenSigner(self.0.choose_scheme(offered)?)))
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        self.0.public_key()
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.0.algorithm()
    }
}

#[derive(Debug)]
struct EvenSigner(Box<dyn Signer>);

impl Signer for EvenSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        loop {
            let signature = self.0.sign(message)?;
            if signature.len() == SIGNATURE_BYTES {
                return Ok(signature);
            }
        }
    }

    fn scheme(&self) -> SignatureScheme {
        self.0.scheme()
    }
}

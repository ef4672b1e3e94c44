//! The certificate that a server shows, replaceable while it serves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::UnixTime;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::file::{read_chain, read_key};
use crate::{CertError, acceptance};

/// A certificate chain and its key, read from two PEM files, which [`reload`](Self::reload) reads again.
/// Every handshake gets the pair that is in force when it begins; established connections keep theirs.
#[derive(Debug)]
pub struct CertStore {
    chain_path: PathBuf,
    key_path: PathBuf,
    in_force: RwLock<Arc<CertifiedKey>>,
}

impl CertStore {
    /// Reads the chain (the server's own certificate first) and the key that belongs to it.
    ///
    /// # Errors
    /// When a file cannot be read, holds no PEM section of its kind, or a certificate or key that cannot be
    /// used, when the key is not the first certificate's, and when that is one which no client accepts from a
    /// server, as a CA's. Whether it is valid now is no error but [asked](Self::out_of_date).
    pub fn open(chain_path: &Path, key_path: &Path) -> Result<Self, CertError> {
        let certified_key = load_for_servers(chain_path, key_path)?;
        Ok(Self {
            chain_path: chain_path.to_owned(),
            key_path: key_path.to_owned(),
            in_force: RwLock::new(Arc::new(certified_key)),
        })
    }

    /// Reads both files again and puts them in force for the handshakes that follow.
    ///
    /// # Errors
    /// As [`open`](Self::open); the pair that was in force then stays so.
    pub fn reload(&self) -> Result<(), CertError> {
        let certified_key = Arc::new(load_for_servers(&self.chain_path, &self.key_path)?);
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = certified_key;
        Ok(())
    }

    /// Why no client accepts the certificate in force at this time: it has expired, or is not valid yet.
    ///
    /// This is no error of [`open`](Self::open), as it is none of other servers: the clock may be wrong, a
    /// renewed certificate needs only a reload, and a server that does not start would be no better.
    #[must_use]
    pub fn out_of_date(&self, now_unix_s: u64) -> Option<String> {
        let in_force = self.in_force();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now_unix_s));
        let reason = acceptance::out_of_date(in_force.end_entity_cert().ok()?, now)?;
        Some(format!(
            "no client accepts {} now: {reason}; renew it, or set the clock of this machine",
            self.chain_path.display()
        ))
    }

    /// The pair in force.
    #[must_use]
    pub fn in_force(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.in_force.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for CertStore {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.in_force())
    }
}

/// Reads a chain and its key for a server to show.
fn load_for_servers(chain_path: &Path, key_path: &Path) -> Result<CertifiedKey, CertError> {
    let certified_key = load(chain_path, key_path)?;
    match acceptance::refusal(certified_key.end_entity_cert()?) {
        Some(reason) => Err(CertError::NotForServers { path: chain_path.to_owned(), reason }),
        None => Ok(certified_key),
    }
}

/// Reads a chain and its key and checks that they belong together.
pub(crate) fn load(chain_path: &Path, key_path: &Path) -> Result<CertifiedKey, CertError> {
    let chain = read_chain(chain_path)?;
    let key = aws_lc_rs::sign::any_supported_type(&read_key(key_path)?)
        .map_err(|error| CertError::Unusable { path: key_path.to_owned(), reason: error.to_string() })?;
    let certified_key = CertifiedKey::new(chain, key);
    match certified_key.keys_match() {
        Ok(()) => Ok(certified_key),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(CertError::KeyMismatch { chain_path: chain_path.to_owned(), key_path: key_path.to_owned() })
        }
        Err(error) => Err(CertError::Unusable { path: chain_path.to_owned(), reason: error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};

    use super::CertStore;
    use crate::{CertError, LEAF_VALID_S, development};

    #[test]
    fn a_ca_certificate_is_refused_as_a_servers_and_so_is_one_for_clients() {
        let dir = tempfile::tempdir().unwrap();
        development(dir.path(), &[], 1_000_000).unwrap();
        let (ca, key) = (dir.path().join("ca.pem"), dir.path().join("ca-key.pem"));
        let error = CertStore::open(&ca, &key).unwrap_err().to_string();
        assert!(error.contains("ca.pem") && error.contains("needs a leaf that is signed by it"), "{error}");
        let client = dir.path().join("client.pem");
        let client_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        fs::write(&client, params.self_signed(&client_key).unwrap().pem()).unwrap();
        fs::write(&key, client_key.serialize_pem()).unwrap();
        CertStore::open(&client, &key).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        fs::write(&client, params.self_signed(&client_key).unwrap().pem()).unwrap();
        let error = CertStore::open(&client, &key).unwrap_err();
        assert!(matches!(error, CertError::NotForServers { .. }), "{error}");
    }

    #[test]
    fn a_certificate_out_of_its_time_is_told_and_not_refused() {
        let (dir, now_unix_s) = (tempfile::tempdir().unwrap(), 1_000_000);
        let files = development(dir.path(), &[], now_unix_s).unwrap();
        let store = CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path).unwrap();
        assert_eq!(store.out_of_date(now_unix_s), None);
        let expired = store.out_of_date(now_unix_s + LEAF_VALID_S + 1).unwrap();
        assert!(expired.contains("leaf.pem") && expired.contains("expired"), "{expired}");
        assert!(store.out_of_date(0).unwrap().contains("not valid yet"));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_with_both_files() {
        let dir = tempfile::tempdir().unwrap();
        let files = development(dir.path(), &[], 1_000_000).unwrap();
        let error = CertStore::open(&files.leaf_pem_path, &dir.path().join("ca-key.pem")).unwrap_err();
        assert!(matches!(error, CertError::KeyMismatch { .. }));
        let text = error.to_string();
        assert!(text.contains("ca-key.pem") && text.contains("leaf.pem"), "{text}");
    }

    #[test]
    fn a_damaged_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let files = development(dir.path(), &[], 1_000_000).unwrap();
        fs::write(&files.leaf_pem_path, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .unwrap();
        let error = CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path).unwrap_err();
        assert!(matches!(error, CertError::Unusable { .. }), "{error}");
    }

    #[test]
    fn a_reload_that_fails_leaves_the_old_pair_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let files = development(dir.path(), &[], 1_000_000).unwrap();
        let store = CertStore::open(&files.leaf_pem_path, &files.leaf_key_pem_path).unwrap();
        let before = store.in_force();
        let key = fs::read(&files.leaf_key_pem_path).unwrap();
        fs::write(&files.leaf_key_pem_path, "half a file").unwrap();
        assert!(store.reload().is_err());
        assert!(Arc::ptr_eq(&before, &store.in_force()));
        fs::write(&files.leaf_key_pem_path, key).unwrap();
        store.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &store.in_force()));
    }
}

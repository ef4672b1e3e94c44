//! The certificate that a server shows, replaceable while it serves.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::CertError;
use crate::file::{read_chain, read_key};

/// A certificate chain and its key, read from two PEM files, which [`reload`](Self::reload) reads again. Every
/// handshake gets the pair that is in force when it begins; established connections keep theirs.
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
    /// When a file cannot be read, holds no PEM section of its kind, or a certificate or key that cannot be used, and
    /// when the key is not the first certificate's.
    pub fn open(chain_path: &Path, key_path: &Path) -> Result<Self, CertError> {
        let certified_key = load(chain_path, key_path)?;
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
        let certified_key = Arc::new(load(&self.chain_path, &self.key_path)?);
        *self.in_force.write().unwrap_or_else(PoisonError::into_inner) = certified_key;
        Ok(())
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

    use super::CertStore;
    use crate::{CertError, development};

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

//! Producers that a repeated command has again.

use quoth_client::ProducerId;
use sha2::{Digest, Sha256};

/// The same for the same parts.
pub(crate) fn producer(parts: &[&[u8]]) -> ProducerId {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    ProducerId(u64::from_le_bytes(first))
}

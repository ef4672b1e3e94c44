//! Secrets in files.

use std::path::{Path, PathBuf};

use rand::RngExt as _;

use crate::quic::EndpointSecret;

/// The endpoint's secret in the data folder; made at the first start.
///
/// # Errors
/// When the file cannot be read or written, or is damaged.
pub fn endpoint_secret(data_dir: &Path) -> Result<EndpointSecret, String> {
    if let Some(secret) = kept_endpoint_secret(data_dir)? {
        return Ok(secret);
    }
    let secret: EndpointSecret = rand::rng().random();
    write_private(&endpoint_secret_file(data_dir), hex(&secret).as_bytes())?;
    Ok(secret)
}

fn endpoint_secret_file(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("endpoint.key")
}

/// The endpoint's secret that an earlier start has left in the data folder, if there was one.
///
/// # Errors
/// When the file cannot be read, or is damaged.
pub fn kept_endpoint_secret(data_dir: &Path) -> Result<Option<EndpointSecret>, String> {
    let path = endpoint_secret_file(data_dir);
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    bytes_of_hex(text.trim()).map(Some).ok_or_else(|| {
        format!(
            "{} is damaged: delete it, and clients of before need up to their idle timeout to come back",
            path.display()
        )
    })
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of exactly so many hexadecimal digits.
pub(crate) fn bytes_of_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes?.try_into().ok()
}

/// Writes a file that only its owner may read, whole or not at all; its folder is made when it is missing.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if let Some(dir) = path.parent() {
        quoth_store::create_durable_dir(dir)
            .map_err(|error| format!("{} cannot be made: {error}", dir.display()))?;
    }
    quoth_certs::write_atomically(path, bytes, quoth_certs::Access::Secret).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::{endpoint_secret, write_private};

    fn mode(path: &std::path::Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_private_file_is_private_whatever_was_there_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/client.json");
        write_private(&path, b"first").unwrap();
        for left_over in [path.clone(), path.with_extension("new")] {
            fs::write(&left_over, "old").unwrap();
            fs::set_permissions(&left_over, fs::Permissions::from_mode(0o644)).unwrap();
        }
        write_private(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!((mode(&path), mode(&dir.path().join("new"))), (0o600, 0o700));
    }

    #[test]
    fn the_endpoint_secret_stays_the_same_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let secret = endpoint_secret(dir.path()).unwrap();
        assert_eq!(endpoint_secret(dir.path()).unwrap(), secret);
        let path = dir.path().join("keys/endpoint.key");
        assert_eq!(mode(&path), 0o600);
        fs::write(&path, "not hexadecimal").unwrap();
        assert!(endpoint_secret(dir.path()).unwrap_err().contains("damaged"));
    }
}

//! Secrets in files.

use std::io::Write as _;
use std::path::Path;

use rand::RngExt as _;

use crate::quic::EndpointSecret;

/// The endpoint's secret in the data folder; made at the first start.
///
/// # Errors
/// When the file cannot be read or written, or is damaged.
pub fn endpoint_secret(data_dir: &Path) -> Result<EndpointSecret, String> {
    let path = data_dir.join("keys").join("endpoint.key");
    if !path.exists() {
        let secret: EndpointSecret = rand::rng().random();
        write_private(&path, hex(&secret).as_bytes())?;
        return Ok(secret);
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let digits = text.trim().as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.map(byte).collect();
    bytes.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| {
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

/// Writes a file that only its owner may read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), String> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let failed = |error: std::io::Error| format!("{} cannot be written: {error}", path.display());
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let temporary = path.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&temporary).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

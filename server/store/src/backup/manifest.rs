//! The manifest of a backup: a line with the checksum of what follows, and JSON.
//!
//! ```text
//! quoth-server backup, format 2, checksum 0123…ef
//! {"store": "0b5c…", "time_ms": 1795702735240, "position": 812, "folders": ["store/view"], "files": [{"name": "store/log/0….log", "bytes": 67108864, "checksum": "…"}]}
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::error::BackupError;

/// Version of backups: of the folder and of manifests.
pub(super) const FORMAT: u32 = 3;

/// A backup, as its manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    /// Which store it is of: a folder has backups of one.
    pub(super) store: String,
    /// When it was begun, in milliseconds since 1970.
    pub time_ms: u64,
    /// Position of the last group of the log that it has.
    pub position: u64,
    /// Bytes of its files, but for the zeros that are held ready behind the end of the log.
    pub bytes: u64,
    /// Folders of the data folder, which may be empty, with slashes.
    pub(super) folders: Vec<String>,
    /// The files of the data folder.
    pub(super) files: Vec<File>,
}

impl Backup {
    /// Bytes of its files, as long as they are in a data folder.
    #[must_use]
    pub(super) fn lengths(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// A file of a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Its path in the data folder, with slashes.
    pub(super) name: String,
    /// Its length.
    pub(super) bytes: u64,
    /// The checksum of its content, as 32 hexadecimal digits.
    pub(super) checksum: String,
}

impl File {
    pub(super) fn new(name: String, bytes: u64, checksum: u128) -> Self {
        Self { name, bytes, checksum: format!("{checksum:032x}") }
    }

    /// The name of the object that has its content.
    pub(super) fn object(&self) -> String {
        format!("{}-{}", self.checksum, self.bytes)
    }

    /// The checksum as a number; one that is none fits no content.
    pub(super) fn is_checksum(&self, checksum: u128) -> bool {
        u128::from_str_radix(&self.checksum, 16) == Ok(checksum)
    }

    /// Where it is in a folder; see [`path_in`].
    pub(super) fn path_in(&self, dir: &Path) -> Option<PathBuf> {
        path_in(dir, &self.name)
    }
}

/// Where something of this name is in a folder. A manifest that was made by somebody else must not lead out
/// of that.
pub(super) fn path_in(dir: &Path, name: &str) -> Option<PathBuf> {
    let is_part = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
    name.split('/').all(is_part).then(|| dir.join(name))
}

fn head(checksum: u128) -> String {
    format!("quoth-server backup, format {FORMAT}, checksum {checksum:032x}\n")
}

/// A manifest as it is written.
pub(super) fn encode(backup: &Backup) -> Vec<u8> {
    let json = serde_json::to_vec(backup).expect("numbers and texts are JSON");
    let mut bytes = head(xxh3_128(&json)).into_bytes();
    bytes.extend(json);
    bytes.push(b'\n');
    bytes
}

/// Reads a manifest.
pub(super) fn read(path: &Path) -> Result<Backup, BackupError> {
    let bytes = fs::read(path).map_err(BackupError::io("read", path))?;
    let damaged = || BackupError::DamagedManifest { path: path.to_owned() };
    decode(&bytes).ok_or_else(damaged)
}

fn decode(bytes: &[u8]) -> Option<Backup> {
    let line_end = bytes.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = bytes.split_at(line_end + 1);
    let json = rest.strip_suffix(b"\n")?;
    (line == head(xxh3_128(json)).as_bytes()).then(|| serde_json::from_slice(json).ok())?
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Backup, File, decode, encode};

    #[test]
    fn every_changed_byte_is_found_and_a_cut_one_too() {
        let files =
            vec![File::new("store/format".to_owned(), 7, 1), File::new("outbox.json".to_owned(), 0, 2)];
        let backup = Backup {
            store: "2".to_owned(),
            time_ms: 5,
            position: 3,
            bytes: 7,
            folders: vec!["store/view".to_owned()],
            files,
        };
        let bytes = encode(&backup);
        assert_eq!(decode(&bytes), Some(backup));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert_eq!(decode(&changed), None, "byte {at}");
            assert_eq!(decode(&bytes[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        let path = |name: &str| File::new(name.to_owned(), 0, 0).path_in(Path::new("/data"));
        assert_eq!(path("store/log/1.log").as_deref(), Some(Path::new("/data/store/log/1.log")));
        for name in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a/./b", "a/"] {
            assert_eq!(path(name), None, "{name}");
        }
    }
}

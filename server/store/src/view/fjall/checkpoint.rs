//! The checkpoint: up to which position everything is in fjall's tables.
//!
//! One file, replaced as a whole: magic 8 bytes, format `u32`, reserved `u32`, position `u64`, checksum `u64`, little endian.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::bytes_reader::Reader;
use crate::durable::{sync_all, sync_dir};
use crate::log::Position;
use crate::view::ViewError;

const NAME: &str = "checkpoint";
const NEW_NAME: &str = "checkpoint.new";
const MAGIC: [u8; 8] = *b"QUOTHCHK";
const FORMAT: u32 = 1;

/// The checkpoint in a view's folder; `None` when there is none.
pub(super) fn read(dir: &Path) -> Result<Option<Position>, ViewError> {
    let path = dir.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ViewError::io("read", &path)(error)),
    };
    let damaged =
        || ViewError::engine(dir, "open", "its checkpoint is damaged or of another version".to_owned());
    decode(&bytes).map(Some).ok_or_else(damaged)
}

/// Replaces the checkpoint. It is durable when this returns.
pub(super) fn write(dir: &Path, position: Position) -> Result<(), ViewError> {
    let (path, new_path) = (dir.join(NAME), dir.join(NEW_NAME));
    let mut file = File::create(&new_path).map_err(ViewError::io("create", &new_path))?;
    file.write_all(&encode(position)).map_err(ViewError::io("write", &new_path))?;
    sync_all(&file, &new_path).map_err(ViewError::io("sync", &new_path))?;
    fs::rename(&new_path, &path).map_err(ViewError::io("replace", &path))?;
    sync_dir(dir).map_err(ViewError::io("sync", dir))
}

fn encode(position: Position) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(position.0.to_le_bytes());
    let checksum = xxh3_64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Position> {
    let (covered, checksum) = bytes.split_last_chunk::<8>()?;
    let mut reader = Reader(covered);
    let is_known = reader.array() == Some(MAGIC) && reader.u32() == Some(FORMAT) && reader.u32().is_some();
    let position = Position(reader.u64()?);
    (is_known && reader.0.is_empty() && u64::from_le_bytes(*checksum) == xxh3_64(covered)).then_some(position)
}

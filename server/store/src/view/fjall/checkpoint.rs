//! The checkpoint: up to which position everything is in fjall's tables, and which windows go on behind it.
//!
//! One file, replaced as a whole: magic 8 bytes, format `u32`, position and time `u64` each; for each class window `u32`,
//! its bytes and when its first event was stored `u64` each; checksum `u64`, little endian.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::window::Window;
use crate::bytes_reader::Reader;
use crate::class::Class;
use crate::durable::{sync_all, sync_dir};
use crate::log::Position;
use crate::view::ViewError;

const NAME: &str = "checkpoint";
pub(super) const NEW_NAME: &str = "checkpoint.new";
const MAGIC: [u8; 8] = *b"QUOTHCHK";
const FORMAT: u32 = 4;

/// What a checkpoint says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Checkpoint {
    /// The last position of which, as of all before it, everything is in tables.
    pub(super) position: Position,
    /// When the group there was stored, in milliseconds since 1970.
    pub(super) stored_ms: u64,
    /// The windows of the groups behind it, one for each class.
    pub(super) windows: [OpenWindow; Class::COUNT],
}

/// A window that gets further events, as it is at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct OpenWindow {
    pub(super) window: Window,
    /// Bytes of its rows.
    pub(super) bytes: u64,
    /// When its first event was stored, in milliseconds since 1970; 0 when it has none.
    pub(super) since_ms: u64,
}

/// How far the view is on the disk.
#[derive(Debug)]
pub(super) struct Flushed {
    pub(super) checkpoint: Checkpoint,
    /// What holds when what an attempt has set apart is written that has failed.
    pub(super) unwritten: Option<Checkpoint>,
}

/// The checkpoint in a view's folder; `None` when there is none.
pub(super) fn read(dir: &Path) -> Result<Option<Checkpoint>, ViewError> {
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
pub(super) fn write(dir: &Path, checkpoint: Checkpoint) -> Result<(), ViewError> {
    let (path, new_path) = (dir.join(NAME), dir.join(NEW_NAME));
    let mut file = File::create(&new_path).map_err(ViewError::io("create", &new_path))?;
    file.write_all(&encode(checkpoint)).map_err(ViewError::io("write", &new_path))?;
    sync_all(&file, &new_path).map_err(ViewError::io("sync", &new_path))?;
    fs::rename(&new_path, &path).map_err(ViewError::io("replace", &path))?;
    sync_dir(dir).map_err(ViewError::io("sync", dir))
}

/// Copies the checkpoint of a view's folder into another one.
pub(super) fn copy(dir: &Path, to: &Path) -> Result<(), ViewError> {
    let path = dir.join(NAME);
    fs::copy(&path, to.join(NAME)).map(drop).map_err(ViewError::io("copy", &path))
}

fn encode(checkpoint: Checkpoint) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend([checkpoint.position.0, checkpoint.stored_ms].map(u64::to_le_bytes).as_flattened());
    for OpenWindow { window, bytes: of_rows, since_ms } in checkpoint.windows {
        bytes.extend(window.0.to_le_bytes());
        bytes.extend([of_rows, since_ms].map(u64::to_le_bytes).as_flattened());
    }
    let checksum = xxh3_64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Checkpoint> {
    let (covered, checksum) = bytes.split_last_chunk::<8>()?;
    let mut reader = Reader(covered);
    let is_known = reader.array() == Some(MAGIC) && reader.u32() == Some(FORMAT);
    let (position, stored_ms) = (Position(reader.u64()?), reader.u64()?);
    let mut checkpoint = Checkpoint { position, stored_ms, ..Checkpoint::default() };
    for open in &mut checkpoint.windows {
        *open = OpenWindow { window: Window(reader.u32()?), bytes: reader.u64()?, since_ms: reader.u64()? };
    }
    let is_whole = reader.0.is_empty() && u64::from_le_bytes(*checksum) == xxh3_64(covered);
    (is_known && is_whole).then_some(checkpoint)
}

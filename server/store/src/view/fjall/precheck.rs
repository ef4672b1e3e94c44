//! Checks of fjall's files that fjall leaves out.
//!
//! fjall 3.1 trusts a keyspace's manifest, which lists its tables: a flipped bit in a count hides tables,
//! which it then deletes as orphans. It stores the manifest's checksum but does not compare it; this does.
//! And it allocates what a file's table of contents claims to need before it checks that, which ends the
//! process; this checks it first.
//!
//! So the manifests are read here anyway, and what they list is told: whoever copies a view need not open it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::bytes_reader::Reader;
use crate::view::ViewError;

/// Ends each table and manifest: magic 4 bytes, version and checksum type `u8` each, checksum of the table of
/// contents `u128`, its offset and length `u64` each, little endian.
const TRAILER_BYTES: usize = 38;
const TRAILER_MAGIC: &[u8] = b"SFA!";

/// A tree's folder and the tables that its manifest lists, by their numbers, with the checksums of their
/// whole files.
pub(super) struct Listed {
    pub(super) dir: PathBuf,
    pub(super) tables: HashMap<u64, u128>,
}

/// Checks the manifests of all keyspaces, and the tables of contents of the tables that they list, and gives
/// what they list. `dir` is the view's folder, for errors.
pub(super) fn check(dir: &Path, engine_dir: &Path) -> Result<Vec<Listed>, ViewError> {
    let mut trees = Vec::new();
    for keyspace in list(dir, &engine_dir.join("keyspaces"))? {
        let current = keyspace.join("current");
        // Without it the keyspace was not created yet; that all are there is checked behind the opening.
        if !current.exists() {
            continue;
        }
        let Some(tables) = check_manifest(&keyspace, &current)? else {
            return Err(damaged(dir, &current, "the manifest that it names is missing or damaged"));
        };
        for table in list(dir, &keyspace.join("tables"))? {
            let number = table.file_name().and_then(|name| name.to_str()?.parse().ok());
            // Others were being written when the machine stopped, and fjall deletes them.
            let is_listed = number.is_some_and(|number| tables.contains_key(&number));
            if is_listed && !check_contents(&table)? {
                return Err(damaged(dir, &table, "its table of contents is damaged"));
            }
        }
        trees.push(Listed { dir: keyspace, tables });
    }
    Ok(trees)
}

/// The tables that the manifest lists; `None` when it is missing or damaged. `current` has the manifest's
/// number `u64`, its checksum `u128` and the checksum's type `u8`.
fn check_manifest(keyspace: &Path, current: &Path) -> Result<Option<HashMap<u64, u128>>, ViewError> {
    let bytes = fs::read(current).map_err(ViewError::io("read", current))?;
    let mut reader = Reader(&bytes);
    let (Some(number), Some(checksum), Some(0)) = (reader.u64(), reader.array(), reader.u8()) else {
        return Ok(None);
    };
    let manifest = keyspace.join(format!("v{number}"));
    if !manifest.exists() {
        return Ok(None);
    }
    let bytes = fs::read(&manifest).map_err(ViewError::io("read", &manifest))?;
    let is_sound = xxh3_128(&bytes) == u128::from_le_bytes(checksum);
    Ok(if is_sound { listed_tables(&bytes) } else { None })
}

/// The tables in a manifest's section `tables`: levels `u8`; of each, runs `u8`; of each, tables `u32`; of
/// each, its number `u64`, the checksum's type `u8`, the checksum `u128` and a sequence number `u64`.
fn listed_tables(manifest: &[u8]) -> Option<HashMap<u64, u128>> {
    let mut reader = Reader(section(manifest, b"tables")?);
    let mut tables = HashMap::new();
    for _ in 0..reader.u8()? {
        for _ in 0..reader.u8()? {
            for _ in 0..reader.u32()? {
                let (number, _type) = (reader.u64()?, reader.u8()?);
                let (checksum, _seqno) = (u128::from_le_bytes(reader.array()?), reader.u64()?);
                tables.insert(number, checksum);
            }
        }
    }
    Some(tables)
}

/// A section of a file, by its table of contents: magic 4 bytes and number of sections `u32`; of each, where
/// it begins and its length `u64` each, and its name behind the name's length `u16`.
fn section<'a>(file: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let mut trailer = Reader(file.get(file.len().checked_sub(TRAILER_BYTES)?..)?);
    let (_magic_and_types, _checksum, start) = (trailer.bytes(6)?, trailer.bytes(16)?, trailer.u64()?);
    let mut contents = Reader(file.get(usize::try_from(start).ok()?..)?);
    let _magic = contents.bytes(4)?;
    for _ in 0..contents.u32()? {
        let (start, bytes) = (contents.u64()?, contents.u64()?);
        let name_bytes = u16::from_le_bytes(contents.array()?);
        if contents.bytes(name_bytes.into())? == wanted {
            let start = usize::try_from(start).ok()?;
            return file.get(start..start.checked_add(usize::try_from(bytes).ok()?)?);
        }
    }
    None
}

/// Whether a table's contents can be read. One without a trailer is for fjall to find out.
fn check_contents(path: &Path) -> Result<bool, ViewError> {
    let file = File::open(path).map_err(ViewError::io("open", path))?;
    let len = file.metadata().map_err(ViewError::io("read the length of", path))?.len();
    let Some(end) = len.checked_sub(TRAILER_BYTES as u64) else {
        return Ok(true);
    };
    let mut trailer = [0; TRAILER_BYTES];
    file.read_exact_at(&mut trailer, end).map_err(ViewError::io("read", path))?;
    let mut reader = Reader(&trailer);
    let (magic, _types) = (reader.bytes(4), reader.bytes(2));
    if magic != Some(TRAILER_MAGIC) {
        return Ok(true);
    }
    let (Some(checksum), Some(start)) = (reader.array(), reader.u64()) else {
        return Ok(false);
    };
    // A table of contents has a few entries.
    const CONTENTS_BYTES_MAX: u64 = 64 * 1024;
    let contents_bytes = end.checked_sub(start).filter(|bytes| *bytes <= CONTENTS_BYTES_MAX);
    let Some(contents_bytes) = contents_bytes.and_then(|bytes| usize::try_from(bytes).ok()) else {
        return Ok(false);
    };
    let mut contents = vec![0; contents_bytes];
    file.read_exact_at(&mut contents, start).map_err(ViewError::io("read", path))?;
    Ok(xxh3_128(&contents) == u128::from_le_bytes(checksum))
}

fn list(dir: &Path, folder: &Path) -> Result<Vec<PathBuf>, ViewError> {
    let entries = fs::read_dir(folder).map_err(|error| match error.kind() {
        ErrorKind::NotFound => damaged(dir, folder, "this folder is missing"),
        _ => ViewError::io("list", folder)(error),
    })?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(ViewError::io("list", folder))).collect()
}

pub(super) fn damaged(dir: &Path, path: &Path, what: &str) -> ViewError {
    ViewError::engine(dir, "open", format!("{}: {what}", path.display()))
}

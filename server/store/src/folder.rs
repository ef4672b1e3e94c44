//! The data folder: whose it is, in which format, and that one process alone has it.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use crate::durable::{create_durable_dir, sync_all, sync_dir};
use crate::store::OpenError;

/// Version of the folder's layout.
const FORMAT: u32 = 14;

pub(crate) const FORMAT_FILE: &str = "format";
const NEW_FORMAT_FILE: &str = "format.new";
const LOCK_FILE: &str = "lock";
const PROGRAM: &str = "quoth-server data folder";

/// Which store it is: another one for each that is made, and for each that a backup is restored into. What
/// was numbered by one, seqs and places of its log, means nothing of another one. Not 0, and less than 2^53,
/// so that it is exact in JSON everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(u64);

impl StoreId {
    /// That of all stores in memory, which end with their process.
    pub const MEMORY: Self = Self(1);

    /// As text.
    const DIGITS: usize = 14;

    /// Another one than any other's.
    fn random() -> Self {
        // Seeded by the operating system, for each thread, and another one at each call.
        Self((RandomState::new().hash_one(std::process::id()) >> 11).max(2))
    }

    /// As a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// 14 hexadecimal digits.
impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0digits$x}", self.0, digits = Self::DIGITS)
    }
}

/// A data folder that this process alone has.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    id: StoreId,
    /// Locked until it is dropped.
    _lock: File,
}

impl Folder {
    /// Takes a folder over; an empty or missing one becomes a data folder.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        // Nothing is written into a folder of another kind.
        id_of(dir)?;
        create_durable_dir(dir).map_err(OpenError::io("create", dir))?;
        // Of two that make it at once, one makes it, and the other one looks at what that has made.
        let lock = lock(dir)?;
        let id = match id_of(dir)? {
            Some(id) => id,
            None => renew(dir)?,
        };
        Ok(Self { dir: dir.to_owned(), id, _lock: lock })
    }

    /// Takes a folder over that must be a data folder already.
    pub(crate) fn take_existing(dir: &Path) -> Result<Self, OpenError> {
        let none = || OpenError::NoDataFolder { dir: dir.to_owned() };
        let id = match id_of(dir) {
            Ok(Some(id)) => id,
            Ok(None) | Err(OpenError::Foreign { .. }) => return Err(none()),
            Err(error) => return Err(error),
        };
        Ok(Self { dir: dir.to_owned(), id, _lock: lock(dir)? })
    }

    pub(crate) const fn id(&self) -> StoreId {
        self.id
    }

    pub(crate) fn log(&self) -> PathBuf {
        log_dir(&self.dir)
    }

    pub(crate) fn view(&self) -> PathBuf {
        view_dir(&self.dir)
    }
}

/// The log of a data folder.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// The view of a data folder.
pub(crate) fn view_dir(dir: &Path) -> PathBuf {
    dir.join("view")
}

/// Copies what makes a folder a data folder.
pub(crate) fn copy_format(dir: &Path, to: &Path) -> Result<(), OpenError> {
    let path = dir.join(FORMAT_FILE);
    fs::copy(&path, to.join(FORMAT_FILE)).map(drop).map_err(OpenError::io("copy", &path))
}

/// Checks that a store can be made or opened in `dir` as far as whose it is and in which format. Changes
/// nothing.
///
/// # Errors
/// [`OpenError::Foreign`], [`OpenError::Format`], [`OpenError::FormatDamaged`], and when the folder cannot be
/// read.
pub fn check_folder(dir: &Path) -> Result<(), OpenError> {
    id_of(dir).map(drop)
}

/// Which store a data folder of this format has. `None` when it is empty or missing.
pub(crate) fn id_of(dir: &Path) -> Result<Option<StoreId>, OpenError> {
    let path = dir.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => check_format(dir, &text).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if is_empty(dir).map_err(OpenError::io("list", dir))? {
                Ok(None)
            } else {
                Err(OpenError::Foreign { dir: dir.to_owned() })
            }
        }
        Err(error) if error.kind() == ErrorKind::InvalidData => {
            Err(OpenError::Foreign { dir: dir.to_owned() })
        }
        Err(error) => Err(OpenError::io("read", &path)(error)),
    }
}

fn check_format(dir: &Path, text: &str) -> Result<StoreId, OpenError> {
    let foreign = || OpenError::Foreign { dir: dir.to_owned() };
    let damaged = || OpenError::FormatDamaged { path: dir.join(FORMAT_FILE) };
    let rest =
        text.strip_prefix(PROGRAM).and_then(|rest| rest.strip_prefix(", format ")).ok_or_else(foreign)?;
    let (format, rest) = rest.split_once(", ").unwrap_or_else(|| (rest.trim_end(), ""));
    match format.parse() {
        Ok(FORMAT) => {
            let id = rest.strip_prefix("store ").and_then(|rest| rest.get(..StoreId::DIGITS));
            let id = id.and_then(|id| u64::from_str_radix(id, 16).ok()).map(StoreId).ok_or_else(damaged)?;
            // As it would be written, since a parser takes other texts for the same number.
            if text == format_text(id) { Ok(id) } else { Err(damaged()) }
        }
        Ok(found) => Err(OpenError::Format { dir: dir.to_owned(), found, expected: FORMAT }),
        Err(_) => Err(damaged()),
    }
}

/// What stands in the file of the format: one line with the hash of what is before it. Another id would make
/// the store another one for each client, whose cursors then mean nothing.
fn format_text(id: StoreId) -> String {
    let text = format!("{PROGRAM}, format {FORMAT}, store {id}");
    let check = xxh3_64(text.as_bytes());
    format!("{text}, check {check:016x}\n")
}

/// Files of a creation that was interrupted do not count.
fn is_empty(dir: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        entries => entries?,
    };
    for entry in entries {
        let name = entry?.file_name();
        if name != NEW_FORMAT_FILE && name != LOCK_FILE {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes it another store than any other.
pub(crate) fn renew(dir: &Path) -> Result<StoreId, OpenError> {
    let id = StoreId::random();
    write_format(dir, id).map_err(OpenError::io("create", dir))?;
    Ok(id)
}

fn write_format(dir: &Path, id: StoreId) -> io::Result<()> {
    let new_path = dir.join(NEW_FORMAT_FILE);
    let mut file = File::create(&new_path)?;
    file.write_all(format_text(id).as_bytes())?;
    sync_all(&file, &new_path)?;
    fs::rename(new_path, dir.join(FORMAT_FILE))?;
    sync_dir(dir)
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(OpenError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(OpenError::io("lock", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_of_the_format_is_no_other_store() {
        let dir = tempfile::tempdir().unwrap();
        let id = renew(dir.path()).unwrap();
        assert_eq!(id_of(dir.path()).unwrap(), Some(id));

        let path = dir.path().join(FORMAT_FILE);
        let sound = fs::read(&path).unwrap();
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut flipped = sound.clone();
                flipped[at] ^= 1 << bit;
                fs::write(&path, flipped).unwrap();
                id_of(dir.path()).expect_err(&format!("bit {bit} of byte {at}"));
            }
        }
    }

    #[test]
    fn a_folder_that_another_process_makes_gets_its_id_from_that_one() {
        let dir = tempfile::tempdir().unwrap();
        let of_another = lock(dir.path()).unwrap();
        assert!(matches!(Folder::take(dir.path()), Err(OpenError::Locked { .. })));
        assert_eq!(id_of(dir.path()).unwrap(), None, "nothing was written");
        let id = renew(dir.path()).unwrap();
        drop(of_another);
        assert_eq!(Folder::take(dir.path()).unwrap().id(), id);
    }

    #[test]
    fn a_format_cut_short_is_no_other_store() {
        let dir = tempfile::tempdir().unwrap();
        renew(dir.path()).unwrap();
        let path = dir.path().join(FORMAT_FILE);
        let sound = fs::read(&path).unwrap();
        for end in 0..sound.len() {
            fs::write(&path, &sound[..end]).unwrap();
            id_of(dir.path()).expect_err(&format!("{end} bytes"));
        }
    }
}

//! The data folder: whose it is, in which format, and that one process alone has it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::durable::{create_durable_dir, sync_all, sync_dir};
use crate::store::OpenError;

/// Version of the folder's layout.
const FORMAT: u32 = 7;

pub(crate) const FORMAT_FILE: &str = "format";
const NEW_FORMAT_FILE: &str = "format.new";
const LOCK_FILE: &str = "lock";
const PROGRAM: &str = "quoth-server data folder";

/// A data folder that this process alone has.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: PathBuf,
    /// Locked until it is dropped.
    _lock: File,
}

impl Folder {
    /// Takes a folder over; an empty or missing one becomes a data folder.
    pub(crate) fn take(dir: &Path) -> Result<Self, OpenError> {
        let is_ours = is_ours(dir)?;
        create_durable_dir(dir).map_err(OpenError::io("create", dir))?;
        if !is_ours {
            write_format(dir).map_err(OpenError::io("create", dir))?;
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock(dir)? })
    }

    /// Takes a folder over that must be a data folder already.
    pub(crate) fn take_existing(dir: &Path) -> Result<Self, OpenError> {
        if !is_ours(dir)? {
            return Err(OpenError::Foreign { dir: dir.to_owned() });
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock(dir)? })
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

/// Checks that a store can be made or opened in `dir` as far as whose it is and in which format. Changes nothing.
///
/// # Errors
/// [`OpenError::Foreign`], [`OpenError::Format`], and when the folder cannot be read.
pub fn check_folder(dir: &Path) -> Result<(), OpenError> {
    is_ours(dir).map(|_| ())
}

/// Whether the folder is a data folder of this format. `false` when it is empty or missing.
fn is_ours(dir: &Path) -> Result<bool, OpenError> {
    let path = dir.join(FORMAT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => check_format(dir, &text).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if is_empty(dir).map_err(OpenError::io("list", dir))? {
                Ok(false)
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

fn check_format(dir: &Path, text: &str) -> Result<(), OpenError> {
    let format = text.trim().strip_prefix(PROGRAM).and_then(|rest| rest.strip_prefix(", format "));
    match format.and_then(|format| format.parse().ok()) {
        Some(FORMAT) => Ok(()),
        Some(found) => Err(OpenError::Format { dir: dir.to_owned(), found, expected: FORMAT }),
        None => Err(OpenError::Foreign { dir: dir.to_owned() }),
    }
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

fn write_format(dir: &Path) -> io::Result<()> {
    let new_path = dir.join(NEW_FORMAT_FILE);
    let mut file = File::create(&new_path)?;
    writeln!(file, "{PROGRAM}, format {FORMAT}")?;
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

//! Backups of a data folder, each in addition to those before.
//!
//! # The folder
//!
//! - `objects/<checksum>-<length>`: contents of files, each once, whatever the number of backups that have
//!   it. Tables of the view and full segments of the log never change, so another backup copies what is new.
//! - `backups/<number, 6 digits>.json`: a **manifest**: the names of the files that a data folder is made of,
//!   and the object of each. `manifest.rs` has its shape.
//! - `format`, and `lock`, which whoever uses the folder holds.
//!
//! A backup exists once its manifest has its name, and the manifest is written last: every object is on
//! stable storage before, and so is the manifest itself. What is interrupted leaves objects that nobody
//! names, which the next one uses or deletes. An object that a check has found damaged is `damaged-…` from
//! then on, and the next backup that has it copies it anew.
//!
//! Checksums are xxh3 of 128 bits: they find damage, and nobody's forgery.

mod add;
mod check;
mod copy;
mod error;
mod folder;
mod frozen;
mod manifest;
mod restore;
mod target;
mod workers;

pub use add::Added;
pub use check::CheckedBackups;
pub use copy::Pace;
pub use error::BackupError;
pub use folder::BackupFolder;
pub use frozen::{ExtraFile, Frozen};
pub use manifest::Backup;
pub use restore::RESTORING;

/// How far something is that goes through many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bytes {
    /// Bytes that are done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// Told how far something is, over and over.
pub type OnBytes<'a> = dyn FnMut(Bytes) + 'a;

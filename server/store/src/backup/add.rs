//! Adds a backup to a folder.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use super::copy::{checksum_of, copy};
use super::error::BackupError;
use super::folder::{BackupFolder, NEW_PREFIX, file_name_of, write_file};
use super::frozen::{ExtraFile, Frozen, Listing, SourceFile, whole};
use super::manifest::{self, Backup};
use super::target::Written;
use super::workers::{Worker, each_file};
use super::{Bytes, OnBytes, Pace};
use crate::durable::sync_dir;

/// So many new files are flushed one behind the other: the first of them brings the names and places of all
/// of them to the disk, and what is to be flushed meanwhile by others waits for fewer of these.
const UNSYNCED_MAX: usize = 64;

/// A backup that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Its number.
    pub number: u64,
    /// Position of the last group of the log that it has.
    pub position: u64,
    /// Bytes of its files, without the zeros that end the last segment of the log.
    pub bytes: u64,
    /// Those of them that earlier backups did not have.
    pub new_bytes: u64,
}

/// A file of a backup whose object is there, or a new file that is to be it.
struct Held {
    file: manifest::File,
    new: Option<Written>,
}

/// Objects that are being added.
struct Adding<'a> {
    folder: &'a BackupFolder,
    /// By the numbers of their files, as far as they are there.
    files: Vec<Option<manifest::File>>,
    /// Those that are no objects yet, with the bytes that they count as.
    unsynced: Vec<(Written, PathBuf, u64)>,
    new_bytes: u64,
}

impl BackupFolder {
    /// Adds a backup of a store and of files beside it. It is there, whole and on stable storage, when this
    /// returns, and until then it is not. `time_ms` is the time in milliseconds since 1970.
    ///
    /// # Errors
    /// When something cannot be read or written, or is damaged.
    pub fn add(
        &self,
        store: &Frozen,
        extra: &[ExtraFile],
        time_ms: u64,
        pace: Pace,
        progress: &mut OnBytes<'_>,
    ) -> Result<Added, BackupError> {
        self.delete_unfinished()?;
        let Listing { mut files, folders, last, store } = store.list()?;
        let before = self.last_of(&store)?;
        for ExtraFile { name, path } in extra {
            files.push(whole(path.clone(), name.clone(), None)?);
        }
        // No thread is left with a large one at the end.
        files.sort_by_key(|file| Reverse(file.end));
        let bytes = files.iter().map(|file| file.end).sum();
        let (files, new_bytes) = self.add_files(&files, before.as_ref(), pace, progress)?;
        let objects = self.objects();
        sync_dir(&objects).map_err(BackupError::io("sync", &objects))?;
        let number = self.numbers()?.last().map_or(1, |last| last + 1);
        let backup = Backup { store, time_ms, position: last.0, bytes, folders, files };
        let name = file_name_of(number);
        write_file(&self.backups(), &name, &manifest::encode(&backup))?;
        self.delete_unnamed()?;
        Ok(Added { number, position: last.0, bytes, new_bytes })
    }

    /// The last backup whose manifest is sound, which must be of this store: with backups of two in it, older
    /// ones of one would go for newer ones of the other.
    fn last_of(&self, store: &str) -> Result<Option<Backup>, BackupError> {
        for number in self.numbers()?.into_iter().rev() {
            match manifest::read(&self.manifest(number)) {
                Ok(backup) if backup.store == store => return Ok(Some(backup)),
                Ok(_) => return Err(BackupError::AnotherStore { dir: self.dir.clone() }),
                Err(BackupError::DamagedManifest { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Copies what is not there already. Gives the files as a manifest has them, and the bytes that are new.
    fn add_files(
        &self,
        files: &[SourceFile],
        before: Option<&Backup>,
        pace: Pace,
        progress: &mut OnBytes<'_>,
    ) -> Result<(Vec<manifest::File>, u64), BackupError> {
        let before: HashSet<&str> =
            before.iter().flat_map(|backup| &backup.files).map(|file| file.name.as_str()).collect();
        let mut done = Bytes { done: 0, total: files.iter().map(|file| file.bytes).sum() };
        let mut adding = Adding {
            folder: self,
            files: files.iter().map(|_| None).collect(),
            unsynced: Vec::new(),
            new_bytes: 0,
        };
        let added = each_file(
            &self.objects(),
            files,
            pace,
            &|number, file, worker| self.held(number, file, before.contains(file.name.as_str()), worker),
            &mut |bytes| {
                done.done += bytes;
                progress(done);
            },
            &mut |number, held| adding.take(number, held, files[number].end),
        );
        // Also where it ends here: what is whole counts for the next one.
        let settled = adding.settle();
        if added.is_err() || settled.is_err() {
            // It may hold space that is needed. The error that matters is the first one.
            let _ = self.delete_unfinished();
        }
        added.and(settled)?;
        Ok((adding.files.into_iter().flatten().collect(), adding.new_bytes))
    }

    /// Copies a file unless it is there already.
    fn held(
        &self,
        number: usize,
        file: &SourceFile,
        was_there: bool,
        worker: &mut Worker<'_>,
    ) -> Result<Held, BackupError> {
        let SourceFile { name, path, bytes, end, checksum } = file;
        // Where the last backup has one of that name it may be the same, which is seen by reading it: that is for
        // segments of the log and for small files.
        let known = match checksum {
            None if was_there => {
                Some(checksum_of(path, (*end, *bytes), worker).map_err(BackupError::io("read", path))?)
            }
            checksum => *checksum,
        };
        let held = |checksum, new| Held { file: manifest::File::new(name.clone(), *bytes, checksum), new };
        if let Some(held) = known.map(|known| held(known, None))
            && self.has(&held.file)
        {
            worker.skipped(*bytes);
            return Ok(held);
        }
        let new = self.objects().join(format!("{NEW_PREFIX}{number}"));
        let (copied, written) = copy(path, &new, (*end, *bytes), worker)?;
        if known.is_some_and(|known| known != copied) {
            return Err(BackupError::DamagedSource { path: path.clone() });
        }
        Ok(held(copied, Some(written)))
    }

    /// Whether the content of a file is there.
    fn has(&self, file: &manifest::File) -> bool {
        self.object(file).metadata().is_ok_and(|metadata| metadata.len() == file.bytes)
    }
}

impl Adding<'_> {
    /// A file is there, or as far as it is written; `bytes` are those that it adds where it is new.
    fn take(&mut self, number: usize, held: Held, bytes: u64) -> Result<(), BackupError> {
        let Held { file, new } = held;
        if let Some(new) = new {
            self.unsynced.push((new, self.folder.object(&file), bytes));
        }
        self.files[number] = Some(file);
        if self.unsynced.len() >= UNSYNCED_MAX { self.settle() } else { Ok(()) }
    }

    /// Makes objects of those that are none yet.
    fn settle(&mut self) -> Result<(), BackupError> {
        for (new, object, bytes) in self.unsynced.drain(..) {
            new.sync().map_err(BackupError::io("sync", &new.path))?;
            // Two files may be alike.
            self.new_bytes += if object.exists() { 0 } else { bytes };
            fs::rename(&new.path, &object).map_err(BackupError::io("rename", &new.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    use super::{BackupError, BackupFolder, NEW_PREFIX, Pace, SourceFile, UNSYNCED_MAX};
    use crate::durable::syncs;

    const FILES: usize = UNSYNCED_MAX + 9;

    /// Files of which the last two are alike.
    fn files(dir: &tempfile::TempDir) -> Vec<SourceFile> {
        let file = |number: usize| {
            let path = dir.path().join(format!("file {number}"));
            fs::write(&path, number.min(FILES - 2).to_string()).unwrap();
            let bytes = path.metadata().unwrap().len();
            SourceFile { name: number.to_string(), path, bytes, end: bytes, checksum: None }
        };
        (0..FILES).map(file).collect()
    }

    fn names(folder: &BackupFolder) -> BTreeSet<String> {
        let entries = fs::read_dir(folder.objects()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn each_new_file_is_flushed_before_it_has_its_name_and_those_that_are_alike_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, files) = (BackupFolder::take(&dir.path().join("to")).unwrap(), files(&dir));
        syncs::take();
        let (held, new_bytes) = folder.add_files(&files, None, Pace::Full, &mut |_| {}).unwrap();
        let new = |number: usize| folder.objects().join(format!("{NEW_PREFIX}{number}"));
        let synced: BTreeSet<PathBuf> = syncs::take().into_iter().collect();
        assert_eq!(synced, (0..FILES).map(new).collect());
        assert_eq!(names(&folder), held.iter().map(super::manifest::File::object).collect());
        assert_eq!(names(&folder).len(), FILES - 1);
        let bytes: u64 = files[..FILES - 1].iter().map(|file| file.bytes).sum();
        assert_eq!(new_bytes, bytes);
        // Nothing is written that is there, whether that is known before or not.
        let again = folder.add_files(&files, None, Pace::Full, &mut |_| {}).unwrap();
        assert_eq!(again, (held, 0));
    }

    #[test]
    fn what_is_not_flushed_is_no_object_and_what_is_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, mut files) = (BackupFolder::take(&dir.path().join("to")).unwrap(), files(&dir));
        syncs::fail_next();
        let error = folder.add_files(&files, None, Pace::Full, &mut |_| {}).unwrap_err();
        assert!(matches!(error, BackupError::Io { action: "sync", .. }), "{error}");
        let whole = names(&folder);
        assert!(whole.iter().all(|name| !name.starts_with(NEW_PREFIX)), "{whole:?}");
        assert!(whole.len() < FILES - 1);
        // One that is damaged keeps nobody from being there for the next attempt.
        let mut few = files.split_off(FILES - 9);
        few[8].checksum = Some(1);
        let error = folder.add_files(&few, None, Pace::Full, &mut |_| {}).unwrap_err();
        assert!(matches!(&error, BackupError::DamagedSource { path } if *path == few[8].path));
        assert!(names(&folder).is_superset(&whole) && names(&folder).len() > whole.len());
        assert!(names(&folder).iter().all(|name| !name.starts_with(NEW_PREFIX)));
    }
}

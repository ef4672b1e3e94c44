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

/// With so many bytes they are flushed, however few they are: what is not flushed is copied again when this
/// is killed, and some of it is in the system's cache where there is no way past that.
const UNSYNCED_BYTES_MAX: u64 = 64 * 1024 * 1024;

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

/// What a file of a backup has: an object that is there, or a new file that is to be it.
struct Object {
    file: manifest::File,
    new: Option<NewObject>,
}

/// A new file that is no object yet.
struct NewObject {
    written: Written,
    /// What it counts as where no other file has the same.
    bytes: u64,
}

/// What may be there already of a backup that is added.
struct Before {
    /// The files of the last backup, by name.
    names: HashSet<String>,
    /// Whether there are objects of which nobody knows what files they are of, as one leaves them that is
    /// interrupted.
    has_unnamed: bool,
}

impl Before {
    fn may_have(&self, file: &SourceFile) -> bool {
        self.has_unnamed || self.names.contains(&file.name)
    }
}

/// Objects that are being added.
struct Adding<'a> {
    folder: &'a BackupFolder,
    /// By the numbers of their files, as far as they are there.
    files: Vec<Option<manifest::File>>,
    /// Those that are no objects yet, with where they are to be.
    unsynced: Vec<(NewObject, PathBuf)>,
    unsynced_bytes: u64,
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
        let before = self.before(&store)?;
        for ExtraFile { name, path } in extra {
            files.push(whole(path.clone(), name.clone(), None)?);
        }
        // No thread is left with a large one at the end.
        files.sort_by_key(|file| Reverse(file.end));
        let bytes = files.iter().map(|file| file.end).sum();
        let (files, new_bytes) = self.add_files(&files, &before, pace, progress)?;
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

    /// What is there before a backup of a store is added.
    fn before(&self, store: &str) -> Result<Before, BackupError> {
        let last = self.last_of(store)?;
        let names = last.into_iter().flat_map(|backup| backup.files).map(|file| file.name).collect();
        Ok(Before { names, has_unnamed: self.unnamed()?.is_none_or(|unnamed| !unnamed.is_empty()) })
    }

    /// Copies what is not there already. Gives the files as a manifest has them, and the bytes that are new.
    fn add_files(
        &self,
        files: &[SourceFile],
        before: &Before,
        pace: Pace,
        progress: &mut OnBytes<'_>,
    ) -> Result<(Vec<manifest::File>, u64), BackupError> {
        let mut done = Bytes { done: 0, total: files.iter().map(|file| file.bytes).sum() };
        let mut adding = Adding {
            folder: self,
            files: files.iter().map(|_| None).collect(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            new_bytes: 0,
        };
        let added = each_file(
            &self.objects(),
            files,
            pace,
            &|number, file, worker| self.object_for(number, file, before.may_have(file), worker),
            &mut |bytes| {
                done.done += bytes;
                progress(done);
            },
            &mut |number, object| adding.take(number, object),
        );
        // Also where it ends here: what is whole counts for the next one.
        let settled = adding.settle();
        if added.is_err() || settled.is_err() {
            // It may hold space that is needed. The error that matters is the first one.
            let _ = self.delete_unfinished();
        }
        added.and(settled)?;
        // A manifest has every file or is not written.
        let files = adding.files.into_iter().collect::<Option<_>>().expect("each file was taken");
        Ok((files, adding.new_bytes))
    }

    /// Copies a file unless it is there already.
    fn object_for(
        &self,
        number: usize,
        file: &SourceFile,
        may_be_there: bool,
        worker: &mut Worker<'_>,
    ) -> Result<Object, BackupError> {
        let SourceFile { name, path, bytes, end, checksum } = file;
        // Whether it is the one that is there is seen by reading it: that is for segments of the log and for
        // small files. Nothing is written for it, which may be of a disk that is full.
        let known = match checksum {
            None if may_be_there => {
                Some(checksum_of(path, (*end, *bytes), worker).map_err(BackupError::io("read", path))?)
            }
            checksum => *checksum,
        };
        let file_of = |checksum| manifest::File::new(name.clone(), *bytes, checksum);
        if let Some(file) = known.map(file_of)
            && self.has(&file)
        {
            worker.done(*bytes);
            return Ok(Object { file, new: None });
        }
        let new = self.objects().join(format!("{NEW_PREFIX}{number}"));
        let (copied, written) = copy(path, &new, (*end, *bytes), worker)?;
        if known.is_some_and(|known| known != copied) {
            return Err(BackupError::DamagedSource { path: path.clone() });
        }
        Ok(Object { file: file_of(copied), new: Some(NewObject { written, bytes: *end }) })
    }

    /// Whether the content of a file is there.
    fn has(&self, file: &manifest::File) -> bool {
        self.object(file).metadata().is_ok_and(|metadata| metadata.len() == file.bytes)
    }
}

impl Adding<'_> {
    /// A file is there, or as far as it is written.
    fn take(&mut self, number: usize, Object { file, new }: Object) -> Result<(), BackupError> {
        if let Some(new) = new {
            self.unsynced_bytes += new.bytes;
            self.unsynced.push((new, self.folder.object(&file)));
        }
        self.files[number] = Some(file);
        let is_much = self.unsynced.len() >= UNSYNCED_MAX || self.unsynced_bytes >= UNSYNCED_BYTES_MAX;
        if is_much { self.settle() } else { Ok(()) }
    }

    /// Makes objects of those that are none yet.
    fn settle(&mut self) -> Result<(), BackupError> {
        self.unsynced_bytes = 0;
        for (NewObject { written, bytes }, object) in self.unsynced.drain(..) {
            written.sync().map_err(BackupError::io("sync", &written.path))?;
            // Two files may be alike.
            self.new_bytes += if object.exists() { 0 } else { bytes };
            fs::rename(&written.path, &object).map_err(BackupError::io("rename", &written.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    use super::{
        Adding, Backup, BackupError, BackupFolder, NEW_PREFIX, NewObject, Object, Pace, SourceFile,
        UNSYNCED_BYTES_MAX, UNSYNCED_MAX, file_name_of, manifest, write_file,
    };
    use crate::backup::target::Target;
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

    fn add(folder: &BackupFolder, files: &[SourceFile]) -> Result<(Vec<manifest::File>, u64), BackupError> {
        folder.add_files(files, &folder.before("a store").unwrap(), Pace::Full, &mut |_| {})
    }

    /// The new files that were flushed since the last call, by their numbers.
    fn flushed(folder: &BackupFolder) -> BTreeSet<usize> {
        let number = |path: PathBuf| {
            path.strip_prefix(folder.objects()).ok()?.to_str()?.strip_prefix(NEW_PREFIX)?.parse().ok()
        };
        syncs::take().into_iter().filter_map(number).collect()
    }

    #[test]
    fn each_new_file_is_flushed_before_it_has_its_name_and_those_that_are_alike_count_once() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, files) = (BackupFolder::take(&dir.path().join("to")).unwrap(), files(&dir));
        syncs::take();
        let (held, new_bytes) = add(&folder, &files).unwrap();
        assert_eq!(flushed(&folder), (0..FILES).collect());
        assert_eq!(names(&folder), held.iter().map(manifest::File::object).collect());
        assert_eq!(names(&folder).len(), FILES - 1);
        let bytes: u64 = files[..FILES - 1].iter().map(|file| file.bytes).sum();
        assert_eq!(new_bytes, bytes);
    }

    /// On a disk that was full there is no room for it twice.
    #[test]
    fn nothing_is_written_that_is_there_whether_a_backup_or_an_interrupted_one_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, files) = (BackupFolder::take(&dir.path().join("to")).unwrap(), files(&dir));
        let (few, many) = (FILES - 5, 0..FILES - 2);
        let held = add(&folder, &files[..few]).unwrap().0;
        syncs::take();
        let (all, new_bytes) = add(&folder, &files[many]).unwrap();
        assert_eq!((&all[..few], flushed(&folder)), (&held[..], (few..FILES - 2).collect()));
        assert_eq!(new_bytes, files[few..FILES - 2].iter().map(|file| file.bytes).sum::<u64>());
        // As a backup that is whole, and as one whose manifest is damaged.
        let folders = Vec::new();
        let backup =
            Backup { store: "a store".to_owned(), time_ms: 0, position: 0, bytes: 0, folders, files: all };
        for (what, manifest) in [("whole", manifest::encode(&backup)), ("damaged", b"damaged".to_vec())] {
            write_file(&folder.backups(), &file_name_of(1), &manifest).unwrap();
            syncs::take();
            assert_eq!(add(&folder, &files[..FILES - 2]).unwrap(), (backup.files.clone(), 0));
            assert_eq!(flushed(&folder), BTreeSet::new(), "{what}");
        }
    }

    #[test]
    fn a_few_large_files_are_flushed_as_many_small_ones_are() {
        let dir = tempfile::tempdir().unwrap();
        let folder = BackupFolder::take(&dir.path().join("to")).unwrap();
        let mut adding = Adding {
            folder: &folder,
            files: vec![None; 3],
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            new_bytes: 0,
        };
        let mut take = |number: usize, bytes: u64| {
            let path = folder.objects().join(format!("{NEW_PREFIX}{number}"));
            let written = Target::create(&path).unwrap().end(number as u64).unwrap();
            let file = manifest::File::new(number.to_string(), number as u64, 0);
            adding.take(number, Object { file, new: Some(NewObject { written, bytes }) }).unwrap();
            names(&folder).iter().filter(|name| name.starts_with(NEW_PREFIX)).count()
        };
        assert_eq!(take(0, UNSYNCED_BYTES_MAX - 1), 1);
        assert_eq!((take(1, 1), take(2, UNSYNCED_BYTES_MAX - 1)), (0, 1));
        assert_eq!(adding.new_bytes, UNSYNCED_BYTES_MAX);
    }

    #[test]
    fn what_is_not_flushed_is_no_object_and_what_is_flushed_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, mut files) = (BackupFolder::take(&dir.path().join("to")).unwrap(), files(&dir));
        syncs::take();
        syncs::fail_next();
        let error = add(&folder, &files).unwrap_err();
        assert!(matches!(error, BackupError::Io { action: "sync", .. }), "{error}");
        assert_eq!(names(&folder), BTreeSet::new(), "the first one was not flushed, and no other before it");
        // One that is damaged keeps nobody from being there for the next attempt.
        let mut few = files.split_off(FILES - 9);
        few[8].checksum = Some(1);
        let error = add(&folder, &few).unwrap_err();
        assert!(matches!(&error, BackupError::DamagedSource { path } if *path == few[8].path));
        assert_eq!(flushed(&folder).len(), names(&folder).len());
        assert!(!names(&folder).is_empty());
        assert!(names(&folder).iter().all(|name| !name.starts_with(NEW_PREFIX)));
    }
}

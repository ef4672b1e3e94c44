//! The files that a run leaves. Each is written beside its place and takes it when it is whole: a disk that
//! is full leaves what was there before, and never a part of what was to be.

use std::fs::{OpenOptions, Permissions};
use std::io::{Error, ErrorKind, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::NamedTempFile;

use crate::untold;

/// Whether a file can be written: found out before a run, whose findings would be lost. Changes no file and
/// leaves none.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    if is_a_stream(path) {
        return Ok(());
    }
    let can_be = || {
        let place = place(path)?;
        if place.exists() {
            // It is replaced, from which nobody's protection of it would keep this program.
            OpenOptions::new().append(true).open(&place)?;
        }
        let folder = "no file can be made in its folder, where it is written before it takes its place";
        beside(&place).map(drop).context(folder)
    };
    can_be().with_context(|| cannot_be_written(path))
}

/// Whether two names are of one file, whose second output would take the first one's place.
pub(super) fn are_one(one: &Path, other: &Path) -> bool {
    one == other || matches!((place(one), place(other)), (Ok(one), Ok(other)) if one == other)
}

/// Writes a file, whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let written =
        if is_a_stream(path) { std::fs::write(path, text).map_err(Into::into) } else { put(path, text) };
    written.with_context(|| cannot_be_written(path))?;
    untold::has_told(&path.display().to_string());
    Ok(())
}

fn put(path: &Path, text: &str) -> anyhow::Result<()> {
    let place = place(path)?;
    let mut file = beside(&place)?;
    file.write_all(text.as_bytes())?;
    // Some file systems tell only now that they are full.
    file.as_file().sync_all()?;
    let Err(error) = file.persist(&place) else { return Ok(()) };
    let (_, kept) = error.file.keep()?;
    Err(anyhow::Error::from(error.error)
        .context(format!("what was to be in it is whole in {}, which cannot take its place", kept.display())))
}

/// Where a path leads: behind its links, whether something is there or not.
fn place(path: &Path) -> std::io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(Error::new(ErrorKind::IsADirectory, "it names a folder, and a file is to be written"));
    }
    let within =
        path.parent().filter(|within| !within.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    match (path.read_link(), path.file_name()) {
        (Ok(target), _) => place(&within.join(target)),
        (Err(_), Some(name)) => Ok(within.canonicalize()?.join(name)),
        (Err(_), None) => Err(ErrorKind::IsADirectory.into()),
    }
}

/// A new file beside this one, with its protection where it is there already, which goes away unless it takes
/// its place.
fn beside(place: &Path) -> std::io::Result<NamedTempFile> {
    /// Of any new file, before what the user's umask takes away.
    const MODE: u32 = 0o666;
    let within = place.parent().unwrap_or_else(|| Path::new("/"));
    let mut builder = tempfile::Builder::new();
    let file = builder
        .prefix(".quoth-bench-")
        .suffix(".part")
        .permissions(Permissions::from_mode(MODE))
        .tempfile_in(within)?;
    if let Ok(there) = place.metadata() {
        file.as_file().set_permissions(there.permissions())?;
    }
    Ok(file)
}

/// A pipe's reader would take an open and a close for the whole, and a device has no place that another file
/// could take.
fn is_a_stream(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir())
}

fn cannot_be_written(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).expect("a folder").filter_map(Result::ok);
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn to_check_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (there, new) = (dir.path().join("there"), dir.path().join("new"));
        write(&there, "text").expect("it is written");
        check(&there).expect("it can be written");
        check(&new).expect("it can be written");
        assert_eq!(std::fs::read_to_string(&there).expect("it is there"), "text");
        assert_eq!(names(dir.path()), ["there"]);
        assert!(check(dir.path()).is_err() && check(&dir.path().join("no/such")).is_err());
        let told = format!("{:#}", check(&dir.path().join("new/")).expect_err("no file has such a name"));
        assert!(told.contains("it names a folder"), "{told}");
        check(Path::new("/dev/null")).expect("it can be written");
        let told = format!("{:#}", check(Path::new("/proc/new")).expect_err("nothing new can be made there"));
        assert!(told.starts_with("/proc/new cannot be written: no file can be made in its folder"), "{told}");
    }

    #[test]
    fn what_is_written_takes_the_place_of_what_was_there_with_its_protection() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::os::unix::fs::symlink("file", &link).expect("a link");
        write(&link, "new").expect("it is written where the link leads");
        assert!(link.is_symlink());
        std::fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("it is ours");
        write(&link, "newer").expect("it is written");
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "newer");
        assert_eq!(file.metadata().expect("it is there").permissions().mode() & 0o777, 0o640);
        assert_eq!(names(dir.path()), ["file", "link"]);
    }

    #[test]
    fn what_cannot_take_its_place_is_kept() {
        let dir = tempfile::tempdir().expect("a folder");
        let place = dir.path().join("found.json");
        // It has become a folder since the check.
        std::fs::create_dir(&place).expect("a folder");
        let told = format!("{:#}", write(&place, "text").expect_err("a folder is there"));
        let kept = names(dir.path()).into_iter().find(|name| name.ends_with(".part")).expect("it is kept");
        assert!(told.starts_with(&format!("{} cannot be written: ", place.display())), "{told}");
        assert!(told.contains(&kept) && told.contains("is whole in"), "{told}");
        assert_eq!(std::fs::read_to_string(dir.path().join(kept)).expect("it is there"), "text");
    }

    #[test]
    fn one_file_is_known_by_all_its_names() {
        let dir = tempfile::tempdir().expect("a folder");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::os::unix::fs::symlink("file", &link).expect("a link");
        assert!(are_one(&file, &dir.path().join("./file")) && are_one(&file, &link));
        assert!(!are_one(&file, &dir.path().join("other")));
    }
}

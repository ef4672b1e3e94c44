//! Copies of fjall's files: to be opened where they must not change, since fjall writes as soon as it is
//! opened, and to be kept as they are while it goes on.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::view::ViewError;

/// Copies fjall's folder into a temporary one, which is deleted when it is dropped. Tables never change once
/// they are written, so they are symbolic links; what deletes one deletes the link. Of journals, which are
/// not used, there is only the name.
pub(super) fn of(engine_dir: &Path) -> Result<TempDir, ViewError> {
    let engine_dir = std::path::absolute(engine_dir).map_err(ViewError::io("find", engine_dir))?;
    let copy = new()?;
    copy_dir(&engine_dir, copy.path(), &mut |from, to| {
        each_table(from, to, |path, copy| symlink(path, copy))
    })?;
    Ok(copy)
}

/// Does something with each table of a folder and its place in another one.
pub(super) fn each_table(
    from: &Path,
    to: &Path,
    take: impl Fn(&Path, &Path) -> io::Result<()>,
) -> Result<(), ViewError> {
    for entry in fs::read_dir(from).map_err(ViewError::io("list", from))? {
        let entry = entry.map_err(ViewError::io("list", from))?;
        let path = entry.path();
        take(&path, &to.join(entry.file_name())).map_err(ViewError::io("make a link to", &path))?;
    }
    Ok(())
}

/// An empty temporary folder.
pub(super) fn new() -> Result<TempDir, ViewError> {
    let temp_dir = std::env::temp_dir();
    let made = tempfile::Builder::new().prefix("quoth-verify-").tempdir_in(&temp_dir);
    made.map_err(ViewError::io("create a folder for a copy of the view in", &temp_dir))
}

/// Copies fjall's folder into another one. What becomes of a folder of tables is for `tables` to say, which
/// gets its place and an empty one in the copy.
pub(super) fn copy_dir(
    from: &Path,
    to: &Path,
    tables: &mut dyn FnMut(&Path, &Path) -> Result<(), ViewError>,
) -> Result<(), ViewError> {
    if from.file_name().is_some_and(|name| name == "tables") {
        return tables(from, to);
    }
    for entry in fs::read_dir(from).map_err(ViewError::io("list", from))? {
        let entry = entry.map_err(ViewError::io("list", from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let copied = if path.is_dir() {
            fs::create_dir(&copy).map_err(ViewError::io("create", &copy))?;
            copy_dir(&path, &copy, tables)?;
            Ok(())
        } else if path.extension().is_some_and(|extension| extension == "jnl") {
            fs::write(&copy, [])
        } else {
            fs::copy(&path, &copy).map(|_| ())
        };
        copied.map_err(ViewError::io("make a temporary copy of", &path))?;
    }
    Ok(())
}

//! A copy of fjall's files, to be opened where they must not change: fjall writes as soon as it is opened.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;

use crate::view::ViewError;

/// Copies fjall's folder into a temporary one, which is deleted when it is dropped. Tables never change once they are
/// written, so they are symbolic links; what deletes one deletes the link. Of journals, which are not used, there is only
/// the name.
pub(super) fn of(engine_dir: &Path) -> Result<TempDir, ViewError> {
    let engine_dir = std::path::absolute(engine_dir).map_err(ViewError::io("find", engine_dir))?;
    let temp_dir = std::env::temp_dir();
    let copy = tempfile::Builder::new()
        .prefix("quoth-verify-")
        .tempdir_in(&temp_dir)
        .map_err(ViewError::io("create a folder for a copy of the view in", &temp_dir))?;
    copy_dir(&engine_dir, copy.path())?;
    Ok(copy)
}

fn copy_dir(from: &Path, to: &Path) -> Result<(), ViewError> {
    let is_tables = from.file_name().is_some_and(|name| name == "tables");
    for entry in fs::read_dir(from).map_err(ViewError::io("list", from))? {
        let entry = entry.map_err(ViewError::io("list", from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        let copied = if path.is_dir() {
            fs::create_dir(&copy).map_err(ViewError::io("create", &copy))?;
            copy_dir(&path, &copy)?;
            Ok(())
        } else if is_tables {
            symlink(&path, &copy)
        } else if path.extension().is_some_and(|extension| extension == "jnl") {
            fs::write(&copy, [])
        } else {
            fs::copy(&path, &copy).map(|_| ())
        };
        copied.map_err(ViewError::io("make a temporary copy of", &path))?;
    }
    Ok(())
}

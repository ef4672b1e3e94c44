//! The files that a run leaves.

use std::fs::OpenOptions;
use std::path::Path;

use anyhow::Context as _;

use crate::untold;

/// Whether a file can be written: found out before a run, whose findings would be lost. Changes no file and leaves none.
pub(super) fn check(path: &Path) -> anyhow::Result<()> {
    let is_there = path.symlink_metadata().is_ok();
    // A pipe's reader would take an open and a close for the whole.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        return Ok(());
    }
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.with_context(|| cannot_be_written(path))?;
    if !is_there {
        std::fs::remove_file(path).with_context(|| cannot_be_written(path))?;
    }
    Ok(())
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| cannot_be_written(path))?;
    untold::has_told(&path.display().to_string());
    Ok(())
}

fn cannot_be_written(path: &Path) -> String {
    format!("{} cannot be written", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn to_check_changes_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let (there, new) = (dir.path().join("there"), dir.path().join("new"));
        write(&there, "text").expect("it is written");
        check(&there).expect("it can be written");
        check(&new).expect("it can be written");
        assert_eq!(std::fs::read_to_string(&there).expect("it is there"), "text");
        assert!(!new.exists());
        assert!(check(dir.path()).is_err() && check(&dir.path().join("no/such")).is_err());
        check(Path::new("/dev/null")).expect("it can be written");
    }
}

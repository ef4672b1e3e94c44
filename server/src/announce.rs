//! How clients of this machine find a development server: `client.json` in its data folder, for who runs
//! beside it, and a copy in a well-known place, for all others. Both are there while the server runs.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::secret::write_private;

/// The data folder's file for clients, as clients look for it in the folder where they run.
const LOCAL_FILE: &str = "quoth-data/client.json";

/// A development server's files for clients. Dropping it removes them.
#[derive(Debug)]
pub struct Announcement {
    client_file: PathBuf,
    shared: Option<Shared>,
}

/// The well-known file, which one server of this machine's user has.
#[derive(Debug)]
struct Shared {
    file: PathBuf,
    /// Locked while the file is ours. The system frees it however this process ends, so a file that a crashed
    /// server has left is taken over, and one of a running server never is.
    _lock: File,
}

/// Which server a client finds that is not told any.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This one, through this file.
    This(PathBuf),
    /// Another one, which has this file.
    Other(PathBuf),
    /// None.
    None,
}

impl Announcement {
    /// Puts a copy of the data folder's `client_file` into the well-known place, unless a server that runs
    /// has it.
    #[must_use]
    pub fn new(client_file: &Path) -> Self {
        Self::at(client_file, well_known_file())
    }

    fn at(client_file: &Path, well_known: Option<PathBuf>) -> Self {
        let shared = well_known.and_then(|file| match Shared::take(file, client_file) {
            Ok(shared) => Some(shared),
            Err(reason) => {
                // A convenience only: clients can be told the file in the data folder.
                tracing::debug!(reason, "the well-known file for clients was not written");
                None
            }
        });
        Self { client_file: client_file.to_owned(), shared }
    }

    /// Which server a client finds that runs in `folder`.
    #[must_use]
    pub fn found_from(&self, folder: &Path) -> Found {
        let local = folder.join(LOCAL_FILE);
        if local.exists() {
            let is_this = |a: &Path, b: &Path| a.canonicalize().ok() == b.canonicalize().ok();
            return if is_this(&local, &self.client_file) { Found::This(local) } else { Found::Other(local) };
        }
        match (&self.shared, well_known_file().filter(|file| file.exists())) {
            (Some(shared), _) => Found::This(shared.file.clone()),
            (None, Some(file)) => Found::Other(file),
            (None, None) => Found::None,
        }
    }

    /// The file in the data folder.
    #[must_use]
    pub fn client_file(&self) -> &Path {
        &self.client_file
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        for file in
            [Some(&self.client_file), self.shared.as_ref().map(|shared| &shared.file)].into_iter().flatten()
        {
            if let Err(error) = std::fs::remove_file(file) {
                tracing::debug!(%error, file = %file.display(), "the file for clients was not removed");
            }
        }
    }
}

impl Shared {
    fn take(file: PathBuf, client_file: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", file.display());
        let text = std::fs::read(client_file).map_err(failed)?;
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let lock = File::options().write(true).create(true).truncate(false).open(file.with_extension("lock"));
        let lock = lock.map_err(failed)?;
        lock.try_lock().map_err(|error| format!("{}: {error}", file.display()))?;
        write_private(&file, &text)?;
        Ok(Self { file, _lock: lock })
    }
}

/// Where the command line client looks when it does not run beside the data folder.
fn well_known_file() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = of("XDG_RUNTIME_DIR")
        .or_else(|| of("XDG_STATE_HOME"))
        .or_else(|| of("HOME").map(|home| home.join(".local").join("state")))?;
    Some(dir.join("quoth").join("dev.json"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Announcement, Found};

    #[test]
    fn a_server_that_runs_keeps_the_well_known_file_and_takes_it_along() {
        let dir = tempfile::tempdir().unwrap();
        let well_known = dir.path().join("run/quoth/dev.json");
        let announce = |name: &str| {
            let client_file = dir.path().join(name);
            fs::write(&client_file, name).unwrap();
            Announcement::at(&client_file, Some(well_known.clone()))
        };
        let known = || fs::read_to_string(&well_known).ok();
        // What a server that has crashed left behind.
        fs::create_dir_all(well_known.parent().unwrap()).unwrap();
        fs::write(&well_known, "crashed").unwrap();
        let first = announce("first");
        let second = announce("second");
        assert_eq!(known().as_deref(), Some("first"));
        drop(second);
        assert_eq!(known().as_deref(), Some("first"));
        assert!(!dir.path().join("second").exists());
        assert_eq!(first.found_from(dir.path()), Found::This(well_known.clone()));
        drop(first);
        assert_eq!(known(), None);
        let third = announce("third");
        assert_eq!(known().as_deref(), Some("third"));
        drop(third);
    }

    #[test]
    fn the_file_of_the_folder_where_a_client_runs_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let local = dir.path().join("quoth-data/client.json");
        fs::create_dir(dir.path().join("quoth-data")).unwrap();
        fs::write(&local, "").unwrap();
        let elsewhere = dir.path().join("elsewhere.json");
        fs::write(&elsewhere, "").unwrap();
        let here = Announcement::at(&local, None);
        assert_eq!(here.found_from(dir.path()), Found::This(local.clone()));
        let other = Announcement::at(&elsewhere, Some(dir.path().join("dev.json")));
        assert_eq!(other.found_from(dir.path()), Found::Other(local));
    }
}

//! Whether the data folder can be used, found out before anything is written into it.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;

/// What this server makes in its data folder.
const OURS: [&str; 5] = ["store", "keys", CLIENT_FILE, OUTBOX_FILE, CONTROL_SOCKET];

/// Name of the file that says which events were taken.
pub(crate) const OUTBOX_FILE: &str = "outbox.json";

/// Name of the socket by which commands on this machine reach the server that has the folder.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// Name of the file that a development server leaves in its data folder for clients.
pub const CLIENT_FILE: &str = "client.json";

/// In the root of a file system that is mounted on the data folder.
const OF_THE_FILE_SYSTEM: &str = "lost+found";

/// Begins the name of the empty folder that is made, and removed at once, to see whether one can be made.
const TRIAL: &str = ".quoth-check-";

/// Checks that the folder, if it is there, is empty or a data folder of this server, with a store of this
/// version, and that it can be made or written. Leaves nothing behind. Whether the store opens is for the
/// store to say.
///
/// # Errors
/// What is wrong, and what to do.
pub fn check(dir: &Path) -> Result<(), String> {
    let choose = "name another one with --data-dir or server.data_dir";
    let failed = |what: &str, error: std::io::Error| {
        format!("the data folder {} cannot be {what}: {error}; {choose}", dir.display())
    };
    let store = dir.join("store");
    if store.exists() {
        quoth_store::check_folder(&store).map_err(|error| error.to_string())?;
    }
    if store.join("format").is_file() {
        // Made by this server: what else somebody has put there is their own affair.
        return writable(dir).map_err(|error| failed("written", error));
    }
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return can_be_made(dir).map_err(|error| failed("made", error));
        }
        Err(error) => return Err(failed("read", error)),
    };
    for entry in entries {
        let name = entry.map_err(|error| failed("read", error))?.file_name();
        if name == quoth_store::backup::RESTORING {
            return Err(format!(
                "a restore was interrupted in {}: delete all that is in it, and run the restore again",
                dir.display()
            ));
        }
        if !is_ours(&name) {
            return Err(format!(
                "{} holds {name:?} and is no data folder of Quoth; nothing in it was touched: name Quoth's folder, or a \
                 new or empty one for a new server, with --data-dir or server.data_dir",
                dir.display()
            ));
        }
    }
    writable(dir).map_err(|error| failed("written", error))
}

/// A first start that was interrupted leaves some of ours, and a file under the name that it has while it is
/// written.
fn is_ours(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    let is_being_written = name.starts_with(CLIENT_FILE) && name.ends_with(".tmp");
    OURS.contains(&&*name) || is_being_written || name == OF_THE_FILE_SYSTEM || name.starts_with(TRIAL)
}

fn writable(dir: &Path) -> std::io::Result<()> {
    for dir in [dir.to_owned(), dir.join("store"), dir.join("keys")] {
        if dir.exists() {
            try_to_write(&dir)?;
        }
    }
    Ok(())
}

/// Asks the nearest folder above that is there.
fn can_be_made(dir: &Path) -> std::io::Result<()> {
    let dir = std::path::absolute(dir)?;
    dir.ancestors().skip(1).find(|above| above.exists()).map_or(Ok(()), try_to_write)
}

/// Permissions alone do not tell: a file system may be read-only or have no room.
fn try_to_write(dir: &Path) -> std::io::Result<()> {
    let trial = dir.join(format!("{TRIAL}{}", std::process::id()));
    std::fs::create_dir(&trial)?;
    std::fs::remove_dir(&trial)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::check;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("PG_VERSION"), "17").unwrap();
        let error = check(dir.path()).unwrap_err();
        assert!(error.contains("\"PG_VERSION\"") && error.contains("--data-dir"), "{error}");
        fs::create_dir(dir.path().join("keys")).unwrap();
        check(dir.path()).unwrap_err();
        assert_eq!(names(dir.path()), ["PG_VERSION", "keys"]);
    }

    #[test]
    fn what_is_half_restored_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("restoring/store")).unwrap();
        let error = check(dir.path()).unwrap_err();
        assert!(error.contains("a restore was interrupted") && error.contains("again"), "{error}");
        assert_eq!(names(dir.path()), ["restoring"]);
    }

    #[test]
    fn a_store_of_somebody_else_or_of_another_version_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("store");
        fs::create_dir(&store).unwrap();
        fs::write(store.join("x"), "").unwrap();
        let error = check(dir.path()).unwrap_err();
        assert!(error.contains("is no data folder of Quoth"), "{error}");
        fs::write(store.join("format"), "quoth-server data folder, format 999\n").unwrap();
        let error = check(dir.path()).unwrap_err();
        assert!(error.contains("has format 999"), "{error}");
        assert_eq!(
            (names(dir.path()), names(&store)),
            (vec!["store".to_owned()], vec!["format".to_owned(), "x".to_owned()])
        );
    }

    #[test]
    fn a_folder_that_is_ours_or_new_is_taken_and_left_as_it_is() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        check(&dir).unwrap();
        assert_eq!(names(root.path()), Vec::<String>::new());
        fs::create_dir_all(dir.join("lost+found")).unwrap();
        check(&dir).unwrap();
        for name in ["keys", "store", "client.json", "client.json.7.tmp"] {
            fs::create_dir(dir.join(name)).unwrap();
        }
        check(&dir).unwrap();
        quoth_store::Store::open(quoth_store::Options::new(dir.join("store"))).unwrap();
        fs::write(dir.join("notes.txt"), "of the operator").unwrap();
        check(&dir).unwrap();
        assert_eq!(
            names(&dir),
            ["client.json", "client.json.7.tmp", "keys", "lost+found", "notes.txt", "store"]
        );
    }

    #[test]
    fn a_folder_that_cannot_be_made_or_is_none_is_told() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for dir in [file.clone(), file.join("below"), "/proc/quoth/data".into()] {
            let error = check(&dir).unwrap_err();
            assert!(error.contains("cannot be") && error.contains("--data-dir"), "{error}");
        }
    }
}

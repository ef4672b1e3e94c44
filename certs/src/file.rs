//! Files: reading PEM files, and writing files whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::CertError;

/// Who may read a written file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: mode 0644.
    Public,
    /// The owner only: mode 0600.
    Secret,
}

/// Reads all certificates of a PEM file, at least one.
pub(crate) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertError> {
    let problem = |reason: String| CertError::Pem {
        path: path.to_owned(),
        wanted: "certificate",
        label: "CERTIFICATE",
        reason,
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, pem::Error>>()
        .map_err(|e| problem(e.to_string()))?;
    if chain.is_empty() { Err(problem("it has none".to_owned())) } else { Ok(chain) }
}

/// Reads the first private key of a PEM file.
pub(crate) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| CertError::Pem {
        path: path.to_owned(),
        wanted: "private key",
        label: "PRIVATE KEY",
        reason: error.to_string(),
    })
}

/// Reads a file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    fs::read(path).map_err(|source| CertError::Read { path: path.to_owned(), source })
}

/// Writes a file so that a reader sees the old content or the new one, and a crash leaves one of the two.
/// What was there before has no say in its mode and owner.
///
/// # Errors
/// When the operating system refuses; the old content is there still.
pub fn write_atomically(path: &Path, content: impl AsRef<[u8]>, access: Access) -> Result<(), CertError> {
    let temporary_path = temporary_beside(path);
    write_and_rename(&temporary_path, path, content.as_ref(), access).map_err(|source| {
        // The error that matters is the first one; a temporary file that stays behind is overwritten next
        // time.
        let _ = fs::remove_file(&temporary_path);
        CertError::Write { path: path.to_owned(), source }
    })
}

fn write_and_rename(temporary_path: &Path, path: &Path, content: &[u8], access: Access) -> io::Result<()> {
    match fs::remove_file(temporary_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = match access {
        Access::Public => 0o644,
        Access::Secret => 0o600,
    };
    // `create_new`: a file that is there already would keep its own, perhaps wider, mode.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(temporary_path)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(temporary_path, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::{Access, read_chain, read_key, temporary_beside, write_atomically};

    #[test]
    fn a_write_replaces_content_and_mode_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        fs::write(temporary_beside(&path), "left behind by a crash").unwrap();
        write_atomically(&path, "new", Access::Secret).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_without_what_is_wanted_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("empty.pem");
        let missing = read_chain(&path).unwrap_err().to_string();
        assert!(missing.contains("empty.pem") && missing.contains("check the path"), "{missing}");
        fs::write(&path, "no PEM at all").unwrap();
        let chain = read_chain(&path).unwrap_err().to_string();
        assert!(chain.contains("empty.pem") && chain.contains("BEGIN CERTIFICATE"), "{chain}");
        let key = read_key(&path).unwrap_err().to_string();
        assert!(key.contains("empty.pem") && key.contains("BEGIN PRIVATE KEY"), "{key}");
    }
}

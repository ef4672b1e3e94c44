//! A token in a file, which may be another one at the next sign-in.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file, and what it was last read for.
#[derive(Debug, Clone)]
pub(crate) struct TokenFile {
    path: PathBuf,
    /// The token that the server was shown last.
    shown: Arc<Mutex<Option<String>>>,
}

impl TokenFile {
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, shown: Arc::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The token for a sign-in.
    ///
    /// # Errors
    /// Why there is none, as a sentence.
    pub(crate) fn show(&self) -> Result<String, String> {
        let token = token_in(&self.path)?;
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(token)
    }

    /// Whether it has a token that the server has not seen yet.
    pub(crate) fn has_another(&self) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        token_in(&self.path).is_ok_and(|token| Some(token) != *shown)
    }
}

/// The token in a file, or why there is none: an empty file is one that is being written.
pub(crate) fn token_in(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the token file {shown}: {error}"))?;
    match text.trim() {
        "" => Err(format!("the token file {shown} is empty")),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_token_is_one_that_was_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::at(dir.path().join("t.tok"));
        assert!(!file.has_another() && file.show().unwrap_err().contains("t.tok"), "there is none");
        std::fs::write(file.path(), "first\n").unwrap();
        assert_eq!(file.show().as_deref(), Ok("first"));
        assert!(!file.clone().has_another());
        for (text, is_another) in [("second", true), ("", false), (" first ", false)] {
            std::fs::write(file.path(), text).unwrap();
            assert_eq!(file.has_another(), is_another, "{text:?}");
        }
    }
}

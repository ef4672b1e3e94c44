//! Where in the log something is, and how far events were taken, on disk.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use quoth_store::Position;
use serde::{Deserialize, Serialize};

use crate::secret::write_private;

/// A record's place in the log: the position of its group, and which of the group's records it is, from 0.
/// Its text, `POSITION:INDEX`, is behind the store's id the event's: the same one however often the event is
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) position: Position,
    pub(super) index: usize,
}

impl Place {
    /// The first record of a group.
    pub(super) const fn begin(position: Position) -> Self {
        Self { position, index: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.position, self.index)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(position, index)| {
            Some(Self { position: Position(position.parse().ok()?), index: index.parse().ok()? })
        });
        parsed.ok_or_else(|| format!("{text:?} is no place in the log"))
    }
}

/// How far events were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The next record.
    pub(super) next: Place,
    /// Where a gap begins that ends at `next` and that nobody was told of yet.
    pub(super) gap_from: Option<Place>,
}

/// A cursor in its file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    next: String,
    gap_from: Option<String>,
}

/// The file of a cursor.
#[derive(Debug, Clone)]
pub(super) struct CursorFile(PathBuf);

impl CursorFile {
    /// The one in a data folder.
    pub(super) fn of(data_dir: &Path) -> Self {
        Self(data_dir.join(crate::data_folder::OUTBOX_FILE))
    }

    /// What it says, if it is there.
    ///
    /// # Errors
    /// When it cannot be read or is damaged, and what to do.
    pub(super) fn read(&self) -> Result<Option<Cursor>, String> {
        let path = self.0.display();
        let bytes = match std::fs::read(&self.0) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("{path} cannot be read: {error}")),
        };
        let cursor = || {
            let Stored { next, gap_from } =
                serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
            let gap_from = gap_from.map(|from| from.parse()).transpose()?;
            Ok::<_, String>(Cursor { next: next.parse()?, gap_from })
        };
        cursor().map(Some).map_err(|error| {
            format!(
                "{path} is damaged ({error}): it says which events the backend has. Delete it, and events begin with what \
                 happens after the next start"
            )
        })
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, cursor: Cursor) -> Result<(), String> {
        let stored =
            Stored { next: cursor.next.to_string(), gap_from: cursor.gap_from.map(|from| from.to_string()) };
        let bytes = serde_json::to_vec(&stored).map_err(|error| error.to_string())?;
        write_private(&self.0, &bytes)
    }
}

#[cfg(test)]
mod tests {
    use quoth_store::Position;

    use super::{Cursor, CursorFile, Place};

    #[test]
    fn a_cursor_survives_its_file_and_a_damaged_one_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = CursorFile::of(dir.path());
        assert_eq!(file.read(), Ok(None));
        let place = |position, index| Place { position: Position(position), index };
        for gap_from in [None, Some(place(3, 0))] {
            let cursor = Cursor { next: place(u64::MAX, 7), gap_from };
            file.write(cursor).unwrap();
            assert_eq!(file.read(), Ok(Some(cursor)));
        }
        for damaged in ["", "{}", r#"{"next": "7", "gap_from": null}"#] {
            std::fs::write(dir.path().join("outbox.json"), damaged).unwrap();
            assert!(file.read().unwrap_err().contains("Delete it"), "{damaged}");
        }
    }
}

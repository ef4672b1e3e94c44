//! A store as it is at one moment, for whoever reads all of it while it goes on.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::folder;
use crate::log::Position;
use crate::log::segment::SegmentLog;
use crate::store::OpenError;
use crate::view::fjall::FjallView;

/// Folder of the pins in a data folder.
const PINS_DIR: &str = "pins";

/// Makes pins of an open store.
#[derive(Debug, Clone)]
pub struct Pinner {
    pub(crate) dir: PathBuf,
    pub(crate) log: Arc<SegmentLog>,
    pub(crate) view: Arc<FjallView>,
}

/// The files of a store as they were at one moment, in a folder of their own, which goes when this is
/// dropped. They take space only as far as the store itself has deleted them since.
#[derive(Debug)]
pub struct Pin {
    dir: TempDir,
    end: Position,
}

impl Pinner {
    /// Pins the store: everything that was flushed before the call is in it. It takes links and copies of
    /// small files, so a moment, in which the view is not flushed and messages are stored as ever.
    ///
    /// `beside` are small files that say how far somebody has read the log: copies of those that are there
    /// come into the pin's folder, of before the log's end is taken and while nothing of it is freed. So what
    /// they name is in the pin.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn pin(&self, beside: &[PathBuf]) -> Result<Pin, OpenError> {
        let pins = self.dir.join(PINS_DIR);
        crate::create_durable_dir(&pins).map_err(OpenError::io("create", &pins))?;
        let dir = tempfile::Builder::new()
            .prefix("pin-")
            .tempdir_in(&pins)
            .map_err(OpenError::io("create", &pins))?;
        folder::copy_format(&self.dir, dir.path())?;
        // The log comes last, so that it has what the view has; and it keeps what the view does not have yet.
        let _held = crate::log::Log::hold(&*self.log, Position::ZERO);
        for file in beside {
            copy_if_there(file, dir.path())?;
        }
        self.view.pin(&folder::view_dir(dir.path()))?;
        let end = self.log.pin(&folder::log_dir(dir.path()))?;
        Ok(Pin { dir, end })
    }
}

impl Pin {
    /// Its folder, which is a data folder up to [`Pin::end`]: the last segment of its log is written on.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The last group that it has.
    #[must_use]
    pub const fn end(&self) -> Position {
        self.end
    }
}

/// Copies a file that is replaced as a whole when it is another one.
fn copy_if_there(file: &Path, to: &Path) -> Result<(), OpenError> {
    let bytes = match fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        bytes => bytes.map_err(OpenError::io("read", file))?,
    };
    let copy = to.join(file.file_name().unwrap_or_default());
    fs::write(&copy, bytes).map_err(OpenError::io("write", &copy))
}

/// Deletes the pins of a process that was killed.
pub(crate) fn delete_left_over(dir: &Path) -> Result<(), OpenError> {
    let pins = dir.join(PINS_DIR);
    if !pins.exists() {
        return Ok(());
    }
    fs::remove_dir_all(&pins).map_err(OpenError::io("delete", &pins))
}

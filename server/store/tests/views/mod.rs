//! The views that a contract is checked against.

use std::path::Path;
use std::sync::Arc;

use quoth_store::testing::{Overridden, ViewOverride};
use quoth_store::{FjallView, MemoryView, Position, Record, View, ViewError};

pub(crate) const CACHE_BYTES: u64 = 1024 * 1024;

/// A view and what a restart after a clean stop is.
pub(crate) struct Subject {
    pub(crate) view: Arc<dyn View>,
    pub(crate) reopen: Box<dyn Fn() -> Arc<dyn View>>,
    /// A folder that lives as long as the view.
    pub(crate) _dir: Option<tempfile::TempDir>,
}

pub(crate) fn memory() -> Subject {
    let view = MemoryView::new();
    Subject { view: Arc::new(view.clone()), reopen: Box::new(move || Arc::new(view.clone())), _dir: None }
}

pub(crate) fn fjall() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("view");
    let open = move || FjallView::open(&path, CACHE_BYTES).unwrap();
    // What is applied behind a restart may be applied again.
    let view = Arc::new(open().with_new_from(Position(1)));
    Subject { view, reopen: Box::new(move || Arc::new(open())), _dir: Some(dir) }
}

/// A view that flushes each group and puts the next one into a new window.
struct Windows(FjallView);

impl ViewOverride for Windows {
    fn inner(&self) -> &dyn View {
        &self.0
    }

    fn apply(&self, position: Position, records: &[Record]) -> Result<(), ViewError> {
        self.0.apply(position, records)?;
        self.0.flush().map(drop)
    }
}

pub(crate) fn windows() -> Subject {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("view");
    let open = move || -> Arc<dyn View> {
        let view = FjallView::open(&path, CACHE_BYTES).unwrap();
        Arc::new(Overridden(Windows(view.with_window_bytes(1))))
    };
    Subject { view: open(), reopen: Box::new(open), _dir: Some(dir) }
}

pub(crate) fn each(check: impl Fn(Subject)) {
    check(memory());
    check(fjall());
    check(windows());
}

/// Flushes that write tables but no checkpoint, as a crash behind the tables does.
pub(crate) fn flush_without_checkpoint(view: &FjallView, dir: &Path) {
    let obstacle = dir.join("checkpoint.new");
    std::fs::create_dir(&obstacle).unwrap();
    view.flush().unwrap_err();
    std::fs::remove_dir(obstacle).unwrap();
}

//! The view's files as they are at one moment, for whoever reads all of them while it goes on.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ::fjall::AbstractTree as _;
use parking_lot::Mutex;

use super::{ENGINE_DIR, FjallView, checkpoint, copy};
use crate::pin::LeftPins;
use crate::view::ViewError;

/// Pins that are open.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenPins(Arc<Mutex<Numbers>>);

#[derive(Debug, Default)]
struct Numbers {
    next: u64,
    open: BTreeSet<u64>,
}

/// The pins that were begun by a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until(u64);

impl OpenPins {
    fn begin(&self) -> Pinned {
        let mut numbers = self.0.lock();
        let number = numbers.next;
        numbers.next += 1;
        numbers.open.insert(number);
        Pinned { pins: self.clone(), number }
    }

    pub(super) fn until_now(&self) -> Until {
        Until(self.0.lock().next)
    }

    /// Whether any of these is open.
    pub(super) fn has_any(&self, until: Until) -> bool {
        self.0.lock().open.first().is_some_and(|first| *first < until.0)
    }
}

/// For as long as this is there, files of the view may be on the disk that it has let go since: it does not
/// tell of what they have that it is gone.
#[derive(Debug)]
pub(crate) struct Pinned {
    pins: OpenPins,
    number: u64,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.pins.0.lock().open.remove(&self.number);
    }
}

impl FjallView {
    /// The pins of it that stay.
    pub(crate) fn left_pins(&self) -> LeftPins {
        self.left_pins.clone()
    }

    /// For whoever is about to pin it.
    pub(crate) fn pinned(&self) -> Pinned {
        self.pins.begin()
    }

    /// Puts the view as it was at its last flush into a folder that does not exist yet: tables as links,
    /// since they never change, and the rest as copies. Flushes and merges wait while the rest is copied,
    /// which is some small files whatever the view has. Nothing is flushed for it.
    pub(crate) fn pin(&self, to: &Path) -> Result<(), ViewError> {
        self.begin_pin(to)?()
    }

    /// All of a pin but the tables. What it gives links those, whose files stay until then.
    fn begin_pin(&self, to: &Path) -> Result<impl FnOnce() -> Result<(), ViewError>, ViewError> {
        let engine_dir = to.join(ENGINE_DIR);
        fs::create_dir_all(&engine_dir).map_err(ViewError::io("create", &engine_dir))?;
        // By the trees' names: where their tables are, and where the links are to be.
        let mut folders: HashMap<OsString, (PathBuf, PathBuf)> = HashMap::new();
        let (versions, linking): (Vec<_>, _) = {
            let _nobody_flushes = self.flushed.lock();
            let _nobody_merges = self.engine.merging.lock();
            let linking = self.engine.links.linking();
            checkpoint::copy(&self.dir, to)?;
            // Nobody waits until all registers are merged. Where that comes to its end in the middle of this,
            // the files may be of neither version.
            let registers = || self.engine.registers.tree.current_version().id();
            loop {
                let before = registers();
                let copied = copy::copy_dir(&self.dir.join(ENGINE_DIR), &engine_dir, &mut |from, to| {
                    let tree = from.parent().and_then(Path::file_name).unwrap_or_default();
                    folders.insert(tree.to_owned(), (from.to_owned(), to.to_owned()));
                    Ok(())
                });
                let versions = self.engine.keyspaces().map(|keyspace| keyspace.tree.current_version());
                let versions = versions.collect();
                if registers() == before {
                    copied?;
                    break (versions, linking);
                }
                fs::remove_dir_all(&engine_dir).map_err(ViewError::io("delete", &engine_dir))?;
                fs::create_dir(&engine_dir).map_err(ViewError::io("create", &engine_dir))?;
            }
        };
        let trees: Vec<_> = self
            .engine
            .keyspaces()
            .zip(versions)
            .filter_map(|(keyspace, version)| Some((folders.remove(keyspace.path().file_name()?)?, version)))
            .collect();
        Ok(move || {
            // The files of a version's tables stay for as long as that is held.
            for ((from, to), version) in &trees {
                for (_, name) in version.iter_tables().filter_map(|table| place(&table.path)) {
                    let (table, link) = (from.join(&name), to.join(&name));
                    fs::hard_link(&table, link).map_err(ViewError::io("make a link to", &table))?;
                }
            }
            // fjall has a tree of its own, which does not change while the view is open.
            let link = |table: &Path, link: &Path| fs::hard_link(table, link);
            let linked = folders.values().try_for_each(|(from, to)| copy::each_table(from, to, link));
            drop(linking);
            linked
        })
    }
}

/// Names of a tree's folder and of a table in it.
pub(crate) type Place = (OsString, OsString);

/// Which table of which tree a file is.
pub(crate) fn place(table: &Path) -> Option<Place> {
    let tree = table.parent()?.parent()?;
    Some((tree.file_name()?.to_owned(), table.file_name()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use crate::log::Position;
    use crate::testing::{notice, set, unpaced};
    use crate::view::View as _;
    use crate::view::fjall::FjallView;

    const CACHE_BYTES: u64 = 1 << 20;

    #[test]
    fn a_flush_and_a_merge_that_are_under_way_are_waited_for() {
        const MOMENT: Duration = Duration::from_millis(300);
        const PATIENCE: Duration = Duration::from_secs(30);
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(&dir.path().join("live"), CACHE_BYTES).unwrap();
        view.apply(Position(1), &[notice("a", [set("key", "value")])]).unwrap();
        view.flush().unwrap();
        for what in ["flush", "merge"] {
            let flushes = (what == "flush").then(|| view.flushed.lock());
            let merges = (what == "merge").then(|| view.engine.merging.lock());
            let (pinned, pins) = mpsc::channel();
            thread::scope(|scope| {
                scope.spawn(|| {
                    view.pin(&dir.path().join(what)).unwrap();
                    pinned.send(()).unwrap();
                });
                assert!(pins.recv_timeout(MOMENT).is_err(), "{what}");
                drop((flushes, merges));
                pins.recv_timeout(PATIENCE).unwrap();
            });
        }
    }

    #[test]
    fn what_goes_while_tables_are_linked_is_in_the_pin_and_nobody_waits_for_that() {
        let dir = tempfile::tempdir().unwrap();
        let (live, to) = (dir.path().join("live"), dir.path().join("pin"));
        let view = FjallView::open(&live, CACHE_BYTES).unwrap();
        let write = |position: u64, value: &str| {
            let records = [notice("a", [set(&format!("key {position}"), value), set("key", value)])];
            view.apply(Position(position), &records).unwrap();
            view.flush().unwrap();
        };
        (1..=3).for_each(|position| write(position, "before"));
        let link_tables = view.begin_pin(&to).unwrap();
        let tables = || FjallView::list(&live).unwrap().unwrap().tables;
        let before = tables();
        write(4, "behind");
        assert!(view.engine.merge_registers(&unpaced()).unwrap());
        assert!(!view.engine.free_files().unwrap(), "the pin has some");
        let behind = tables();
        assert!(before.keys().any(|table| !behind.contains_key(table)), "tables of before are no more");
        link_tables().unwrap();
        assert!(view.engine.free_files().unwrap());
        let pinned = FjallView::open_copy(&to, CACHE_BYTES).unwrap().unwrap();
        let name = quoth_protocol::ConversationName::new("a").unwrap();
        let held = |key: &str| pinned.register(&name, key.as_bytes()).unwrap();
        for key in ["key 1", "key 2", "key 3", "key"] {
            assert_eq!(held(key).as_deref(), Some(&b"before"[..]), "{key}");
        }
        assert_eq!((held("key 4"), pinned.applied()), (None, Position(3)));
    }
}

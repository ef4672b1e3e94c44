//! The files of a view as its manifests list them, for whoever copies them as they are.
//!
//! fjall writes as soon as it is opened, so it would have to be opened in a copy of its folder, and would
//! flush what it makes there and read into each table. The manifests say all that is needed.

use std::collections::BTreeMap;
use std::path::Path;

use super::engine::TREES;
use super::pin::Place;
use super::precheck::{self, damaged};
use super::{ENGINE_DIR, FjallView, checkpoint};
use crate::log::Position;
use crate::view::ViewError;

/// What a view is made of.
#[derive(Debug)]
pub(crate) struct ListedView {
    /// Up to which group it has everything.
    pub(crate) applied: Position,
    /// Its tables, with the checksums of their whole files. Others in its folders are left over.
    pub(crate) tables: BTreeMap<Place, u128>,
}

impl FjallView {
    /// What a view is made of that nobody changes meanwhile, without opening it. `None` when the folder holds
    /// none.
    ///
    /// # Errors
    /// When a manifest or a table's contents are damaged, a table or a tree is missing, or the operating
    /// system refuses.
    pub(crate) fn list(dir: &Path) -> Result<Option<ListedView>, ViewError> {
        let Some(checkpoint) = checkpoint::read(dir)? else {
            return Ok(None);
        };
        let engine_dir = dir.join(ENGINE_DIR);
        let trees = precheck::check(dir, &engine_dir)?;
        // A view with a checkpoint was created as a whole.
        if trees.len() != TREES {
            let what = format!("{} of {TREES} trees are there", trees.len());
            return Err(damaged(dir, &engine_dir, &what));
        }
        let mut listed = BTreeMap::new();
        for tree in trees {
            let name = tree.dir.file_name().unwrap_or_default();
            for (number, checksum) in tree.tables {
                let table = tree.dir.join("tables").join(number.to_string());
                if !table.exists() {
                    return Err(damaged(dir, &table, "this table is missing"));
                }
                listed.insert((name.to_owned(), number.to_string().into()), checksum);
            }
        }
        Ok(Some(ListedView { applied: checkpoint.position, tables: listed }))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use ::fjall::AbstractTree as _;

    use super::super::pin::place;
    use super::FjallView;
    use crate::testing::{apply_one_by_one, record};
    use crate::view::View as _;

    const CACHE_BYTES: u64 = 1 << 20;

    #[test]
    fn what_manifests_list_is_what_is_open() {
        let dir = tempfile::tempdir().unwrap();
        assert!(FjallView::list(dir.path()).unwrap().is_none());
        let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
        for from in [1, 11] {
            apply_one_by_one(&view, &(1..from + 10).map(|seq| record("a", seq, seq)).collect::<Vec<_>>());
            view.flush().unwrap();
        }
        let versions: Vec<_> =
            view.engine.keyspaces().map(|keyspace| keyspace.tree.current_version()).collect();
        let open: BTreeMap<_, _> = versions
            .iter()
            .flat_map(|version| version.iter_tables())
            .map(|table| (place(&table.path).unwrap(), table.checksum().into_u128()))
            .collect();
        let listed = FjallView::list(dir.path()).unwrap().unwrap();
        assert_eq!(listed.applied, view.applied());
        let (known, own): (BTreeMap<_, _>, BTreeMap<_, _>) =
            listed.tables.into_iter().partition(|(place, _)| open.contains_key(place));
        assert_eq!(known, open);
        // fjall has a tree with the names of the others.
        let names = own.keys().map(|(tree, _)| tree.clone()).collect::<std::collections::BTreeSet<_>>();
        assert!(open.len() > 5 && names.len() <= 1 && open.keys().all(|(tree, _)| !names.contains(tree)));
    }

    #[test]
    fn a_table_or_a_tree_that_is_missing_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let view = FjallView::open(dir.path(), CACHE_BYTES).unwrap();
        apply_one_by_one(&view, &[record("a", 1, 1)]);
        view.flush().unwrap();
        let tree = view.engine.spans.path().to_owned();
        let version = view.engine.spans.tree.current_version();
        let table = version.iter_tables().next().unwrap().path.to_path_buf();
        drop((version, view));
        let away = dir.path().join("away");
        for missing in [table, tree] {
            fs::rename(&missing, &away).unwrap();
            let error = FjallView::list(dir.path()).unwrap_err().to_string();
            assert!(error.contains("missing") || error.contains("trees are there"), "{error}");
            fs::rename(&away, &missing).unwrap();
            FjallView::list(dir.path()).unwrap();
        }
    }
}

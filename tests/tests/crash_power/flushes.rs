//! The kinds of flushes that there are: each of them can be taken out.

use std::path::Path;

/// Flushes that keep the same promise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// What they are of.
    pub(crate) name: &'static str,
    /// Why nobody misses them, if so.
    pub(crate) needless: Option<&'static str>,
}

const fn kind(name: &'static str) -> Kind {
    Kind { name, needless: None }
}

/// Trees of the view, as the engine numbers them: messages of classes in their order, then the others.
const REST_TREE: &str = "9";
const SPANS_TREE: &str = "11";
const ENGINES_TREE: &str = "0";

/// The kind of a flush of a path below the root of the disk.
///
/// # Panics
/// When the path is of no kind: what is new on the disk needs one.
pub(crate) fn kind_of(path: &Path) -> Kind {
    let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
    let of_tree = |tree: &str, [messages, rest, spans, others]: [&'static str; 4]| match tree {
        REST_TREE => kind(rest),
        SPANS_TREE => kind(spans),
        ENGINES_TREE => kind(others),
        tree if tree.parse::<u32>().is_ok_and(|tree| tree < 9) => kind(messages),
        _ => kind(others),
    };
    match &parts.iter().map(|part| &**part).collect::<Vec<_>>()[..] {
        [] => kind("names of the disk"),
        ["store"] => kind("names of the data folder"),
        ["store", "format.new"] => kind("the data folder's format"),
        ["store", "pins"] => Kind {
            name: "names of pins",
            needless: Some(
                "a start deletes what is left of them; only what was erased stays on the disk until then",
            ),
        },
        ["store", "log"] => kind("names of the log's segments"),
        ["store", "log", name] if name.ends_with(".log") => kind("groups of the log"),
        ["store", "log", name] if name.ends_with(".spare") => kind("headers of the log's segments"),
        ["store", "view"] => kind("names of the view, as its checkpoint's"),
        ["store", "view", "checkpoint.new"] => kind("the view's checkpoint"),
        ["store", "view", "engine", "keyspaces", tree] => of_tree(
            tree,
            [
                "names of the manifests of messages",
                "names of the manifests of rewritten windows",
                "names of the manifests of spans",
                "names of the other manifests",
            ],
        ),
        ["store", "view", "engine", "keyspaces", tree, "tables"] => of_tree(
            tree,
            [
                "names of tables of messages",
                "names of tables of rewritten windows",
                "names of tables of spans",
                "names of the other tables",
            ],
        ),
        ["store", "view", "engine", "keyspaces", tree, "tables", _] => of_tree(
            tree,
            ["tables of messages", "tables of rewritten windows", "tables of spans", "the other tables"],
        ),
        ["store", "view", "engine", "keyspaces", _, name] if name.starts_with('v') => kind("manifests"),
        ["store", "view", "engine", "keyspaces", _, name]
            if *name == "current" || name.starts_with(".tmp") =>
        {
            kind("which manifest is in use")
        }
        ["store", "view", "engine", ..] => kind("the engine's own files"),
        ["backup"] => kind("names of a folder of backups"),
        ["backup", "format.new"] => kind("a backup folder's format"),
        ["backup", "objects"] => kind("names of objects of a backup"),
        ["backup", "objects", _] => kind("objects of a backup"),
        ["backup", "backups"] => kind("names of a backup's manifest"),
        ["backup", "backups", _] => kind("a backup's manifest"),
        _ => panic!("a flush of {} is of no kind", path.display()),
    }
}

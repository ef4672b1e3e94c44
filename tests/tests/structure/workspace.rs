//! The workspace as data, read from cargo and from the source tree, and the rules over its crates' manifests.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::source::SourceFile;

/// One of our crates.
#[derive(Debug, Clone)]
pub(crate) struct Crate {
    /// Its package name.
    pub(crate) name: String,
    /// Its folder from the repository's root, with `/`.
    pub(crate) folder: String,
    /// The text of its `Cargo.toml`.
    pub(crate) manifest: String,
    /// The packages that it declares, for building and for tests.
    pub(crate) dependencies: Vec<String>,
}

/// The repository.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    /// Our crates.
    pub(crate) crates: Vec<Crate>,
}

impl Workspace {
    /// Reads `cargo metadata` and the manifests.
    pub(crate) fn load() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned();
        let metadata = cargo(&root, &["metadata", "--format-version", "1", "--no-deps", "--locked"]);
        let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let crates = packages.iter().map(|package| read_crate(&root, package)).collect();
        Self { root, crates }
    }

    /// The names of all packages that a crate is built from on this platform, without its tests.
    pub(crate) fn reachable_from(&self, name: &str) -> BTreeSet<String> {
        self.tree(&["--package", name, "--edges", "normal"])
    }

    /// The names of all packages that are built for anything on this platform, tests too.
    pub(crate) fn reachable_in_all(&self) -> BTreeSet<String> {
        self.tree(&["--workspace", "--edges", "normal,build,dev"])
    }

    /// The text of a file.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Whether there is a file or folder.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }

    /// The README and the pages in `docs/`.
    pub(crate) fn documents(&self) -> Vec<String> {
        let pages = fs::read_dir(self.root.join("docs")).unwrap();
        let pages = pages.map(|page| format!("docs/{}", page.unwrap().file_name().to_string_lossy()));
        pages.filter(|page| page.ends_with(".md")).chain(["README.md".to_owned()]).collect()
    }

    /// Every Rust file of the repository.
    pub(crate) fn source_files(&self) -> Vec<SourceFile> {
        let mut files = Vec::new();
        collect(&self.root, &self.root, &mut files);
        files
    }

    /// `cargo tree` and not the graph in `cargo metadata`, which has the features of all platforms at once
    /// and so shows packages that are never built.
    fn tree(&self, args: &[&str]) -> BTreeSet<String> {
        let fixed = ["tree", "--locked", "--prefix", "none", "--format", "{p}"];
        let lines = cargo(&self.root, &[&fixed, args].concat());
        lines.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
    }
}

/// Why a crate is outside the workspace's lints, if it is.
pub(crate) fn outside_lints(c: &Crate) -> Option<String> {
    let manifest: toml::Table = c.manifest.parse().unwrap();
    let inherits =
        manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    (inherits != Some(true)).then(|| format!("{}/Cargo.toml needs `[lints] workspace = true`", c.folder))
}

/// Crate folders that a text does not name, as `` `folder/` ``.
pub(crate) fn unnamed_folders(text: &str, crates: &[Crate]) -> Vec<String> {
    let unnamed = crates.iter().filter(|c| !text.contains(&format!("`{}/`", c.folder)));
    unnamed.map(|c| format!("docs/ARCHITECTURE.md must name `{}/`", c.folder)).collect()
}

fn read_crate(root: &Path, package: &serde_json::Value) -> Crate {
    let manifest_path = Path::new(package["manifest_path"].as_str().unwrap());
    let dependencies = package["dependencies"].as_array().unwrap();
    Crate {
        name: package["name"].as_str().unwrap().to_owned(),
        folder: relative(root, manifest_path.parent().unwrap()),
        manifest: fs::read_to_string(manifest_path).unwrap(),
        dependencies: dependencies.iter().map(|d| d["name"].as_str().unwrap().to_owned()).collect(),
    }
}

fn cargo(root: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(args).current_dir(root).output().unwrap();
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy();
        if path.is_dir() {
            let is_source = !name.starts_with('.') && name != "target" && name != "node_modules";
            if is_source {
                collect(root, &path, files);
            }
        } else if name.ends_with(".rs") {
            files.push(SourceFile { path: relative(root, &path), text: fs::read_to_string(&path).unwrap() });
        }
    }
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Crate, outside_lints, unnamed_folders};

    fn planted(folder: &str, manifest: &str) -> Crate {
        Crate { name: "x".into(), folder: folder.into(), manifest: manifest.into(), dependencies: Vec::new() }
    }

    #[test]
    fn a_crate_outside_the_lints_is_caught() {
        assert_eq!(outside_lints(&planted("a", "[lints]\nworkspace = true\n")), None);
        assert!(outside_lints(&planted("a", "[package]\nname = \"x\"\n")).is_some());
        assert!(outside_lints(&planted("a", "[lints]\nworkspace = false\n")).is_some());
        assert!(outside_lints(&planted("a", "# [lints]\n# workspace = true\n")).is_some());
    }

    #[test]
    fn an_unnamed_crate_folder_is_caught() {
        let crates = [planted("server", ""), planted("server/core", "")];
        assert!(unnamed_folders("`server/` and `server/core/`", &crates).is_empty());
        assert_eq!(unnamed_folders("only `server/core/`", &crates).len(), 1);
    }
}

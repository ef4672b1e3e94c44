//! Replays the committed fuzz corpus: what a fuzzer once found keeps holding, without a fuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use quoth_tests::fuzz::TARGETS;

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn stems(paths: &[PathBuf]) -> BTreeSet<&str> {
    paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect()
}

#[test]
fn every_property_holds_for_its_corpus() {
    for (target, property) in TARGETS {
        let folder = fuzz_folder().join("corpus").join(target);
        let inputs = entries(&folder);
        assert!(!inputs.is_empty(), "{} is empty", folder.display());
        for input in &inputs {
            println!("{}", input.display());
            property(&fs::read(input).unwrap());
        }
    }
}

#[test]
fn properties_targets_and_corpus_folders_are_the_same_set() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(stems(&entries(&fuzz_folder().join("fuzz_targets"))), names);
    assert_eq!(stems(&entries(&fuzz_folder().join("corpus"))), names);
}

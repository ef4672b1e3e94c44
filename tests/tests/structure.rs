//! The repository's structure: who may depend on whom, and what no source file may hold. The rules are pure
//! functions in `structure/`, each with a test that shows it catching a planted violation; here they meet the
//! repository.

#[path = "structure/graph.rs"]
mod graph;
#[path = "structure/paths.rs"]
mod paths;
#[path = "structure/source.rs"]
mod source;
#[path = "structure/workspace.rs"]
mod workspace;

use workspace::Workspace;

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

#[test]
fn our_crates_depend_on_each_other_as_the_map_says() {
    assert_none(&graph::off_the_map(&Workspace::load().crates));
}

#[test]
fn only_the_named_crates_declare_the_guarded_dependencies() {
    assert_none(&graph::declared_by_others(&Workspace::load().crates));
}

#[test]
fn no_crate_reaches_what_it_must_not() {
    let workspace = Workspace::load();
    for rule in graph::UNREACHABLE {
        assert_none(&graph::reached(rule, &workspace.reachable_from(rule.from)));
    }
    assert_none(&graph::banned(&workspace.reachable_in_all()));
}

#[test]
fn no_source_file_breaks_a_rule() {
    let files = Workspace::load().source_files();
    assert!(files.len() > 20, "found only {} source files", files.len());
    assert_none(&files.iter().flat_map(source::violations).collect::<Vec<_>>());
}

#[test]
fn every_crate_is_under_the_workspace_lints() {
    let crates = Workspace::load().crates;
    assert_none(&crates.iter().filter_map(workspace::outside_lints).collect::<Vec<_>>());
}

#[test]
fn the_architecture_text_names_every_crate_folder() {
    let workspace = Workspace::load();
    let text = workspace.read("docs/ARCHITECTURE.md");
    assert_none(&workspace::unnamed_folders(&text, &workspace.crates));
}

#[test]
fn every_path_that_a_document_names_is_there() {
    let workspace = Workspace::load();
    let documents = workspace.documents();
    assert!(documents.len() > 5, "found only {documents:?}");
    let exists = |path: &str| workspace.has(path);
    let nowhere =
        documents.iter().flat_map(|name| paths::leading_nowhere(name, &workspace.read(name), exists));
    assert_none(&nowhere.collect::<Vec<_>>());
}

//! What programs tell of the sources that they were built from.

use std::path::Path;
use std::process::Command;

#[expect(dead_code, reason = "what talks to cargo is for build scripts")]
#[path = "../../build/version.rs"]
mod version;

fn git(root: &Path, arguments: &[&str]) {
    let who = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(who).args(arguments).current_dir(root).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn commit(root: &Path) -> Option<String> {
    version::commit(root, &["src"])
}

#[test]
fn a_build_knows_its_commit_and_whether_it_is_that() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    std::fs::create_dir_all(root.join("src/inner")).unwrap();
    std::fs::write(root.join("src/file"), "one").unwrap();
    std::fs::write(root.join("beside"), "one").unwrap();
    assert_eq!(commit(root), None, "an archive without a repository");
    git(root, &["init", "--quiet"]);
    git(root, &["add", "."]);
    git(root, &["commit", "--quiet", "--message", "first"]);
    let first = commit(root).unwrap();
    assert!(first.len() == 12 && first.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    std::fs::write(root.join("beside"), "two").unwrap();
    assert_eq!(commit(root).unwrap(), first, "what the program is not made of");
    std::fs::write(root.join("src/new"), "two").unwrap();
    assert_eq!(commit(root).unwrap(), format!("{first}.dirty"));
    git(root, &["add", "."]);
    git(root, &["commit", "--quiet", "--message", "second"]);
    let second = commit(root).unwrap();
    assert!(second != first && !second.ends_with(".dirty"), "{first} {second}");
    assert_eq!(commit(&root.join("src")), None, "an archive within somebody else's repository");
}

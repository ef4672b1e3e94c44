//! What a program tells of itself, found when it is built: the version and the commit, for the build scripts
//! of the programs.

use std::path::Path;
use std::process::Command;

/// Sets `QUOTH_VERSION`: `0.1.0+1a2b3c4d5e6f`, with `.dirty` behind it where a file of these folders differs
/// from the commit or is not in it; `0.1.0+unknown` where the sources are in no repository of their own.
/// Build metadata, as semver has it.
///
/// The paths are those from the repository's root that the program is made of.
pub(crate) fn tell(made_of: &[&str]) {
    // A build script runs in its crate's folder.
    let root = Path::new("..");
    for path in made_of {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    let commit = commit(root, made_of).unwrap_or_else(|| "unknown".to_owned());
    println!("cargo::rustc-env=QUOTH_VERSION={version}+{commit}");
}

/// The commit of the sources below a root, as it stands behind a version; `None` where they are in no
/// repository of their own.
pub(crate) fn commit(root: &Path, made_of: &[&str]) -> Option<String> {
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    // An archive that was unpacked within somebody else's repository is not of that repository's commit.
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // A commit and a checkout each add a line to the second one.
    for name in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(root, &["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo::rerun-if-changed={}", path.display());
        }
    }
    let commit = git(root, &["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(root, &[&["status", "--porcelain", "--"], made_of].concat())?;
    Some(if changed.is_empty() { commit } else { format!("{commit}.dirty") })
}

/// What git says; `None` when it is not there or fails.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    // Without the option a look at the status writes the index.
    let output =
        Command::new("git").arg("--no-optional-locks").args(arguments).current_dir(root).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

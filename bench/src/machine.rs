//! What a run ran on.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use aws_lc_rs::digest::{Context, SHA256};

use crate::outcome::{Build, Machine};

/// This machine, with the file system that holds `dir`. What the system does not tell is empty.
#[must_use]
pub fn describe(dir: &Path) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str, separator: char| {
        let line = text.lines().find(|line| line.starts_with(key));
        let value = line.and_then(|line| line.split_once(separator)).map(|(_, value)| value);
        value.unwrap_or_default().trim().trim_matches('"').to_owned()
    };
    let memory_kib = field(&read("/proc/meminfo"), "MemTotal", ':');
    Machine {
        cpu: field(&read("/proc/cpuinfo"), "model name", ':'),
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        memory_bytes: memory_kib.trim_end_matches(" kB").parse::<u64>().map_or(0, |kib| kib * 1024),
        kernel: format!("Linux {}", read("/proc/sys/kernel/osrelease").trim()),
        system: field(&read("/etc/os-release"), "PRETTY_NAME", '='),
        filesystem: filesystem(&read("/proc/self/mounts"), dir),
    }
}

/// The version of the sources that this is built from, with their commit as semver's build metadata.
pub const VERSION: &str = env!("QUOTH_VERSION");

/// This program.
#[must_use]
pub fn build() -> Build {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Build { version: VERSION.to_owned(), profile: profile.to_owned() }
}

/// SHA-256 of a file, in hex.
///
/// # Errors
/// When it cannot be read.
pub fn sha256(path: &Path) -> std::io::Result<String> {
    struct Hash(Context);
    impl Write for Hash {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut hash = Hash(Context::new(&SHA256));
    std::io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
    Ok(hash.0.finish().as_ref().iter().fold(String::new(), |mut hex, byte| {
        let _infallible = write!(hex, "{byte:02x}");
        hex
    }))
}

/// The type of the file system that is mounted closest above a folder.
fn filesystem(mounts: &str, dir: &Path) -> String {
    let dir = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((words.next()?, words.next()?))
    });
    let above = mounts.filter(|(point, _)| dir.starts_with(point));
    // Of several on one point the last one covers the others.
    above.max_by_key(|(point, _)| point.len()).map(|(_, kind)| kind.to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_hash_that_others_tell() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&path).unwrap(), known);
    }

    #[test]
    fn the_closest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ntmpfs / overlay rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/no/such/folder")), "overlay");
        assert_eq!(filesystem(mounts, Path::new("/dev/shm/no/such")), "tmpfs");
        assert_eq!(filesystem("", Path::new("/")), "");
    }
}

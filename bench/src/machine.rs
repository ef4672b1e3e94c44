//! What a run ran on.

use std::path::Path;

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

/// This program.
#[must_use]
pub fn build() -> Build {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Build { version: env!("CARGO_PKG_VERSION").to_owned(), profile: profile.to_owned() }
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
    fn the_closest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\ntmpfs / overlay rw 0 0\n";
        assert_eq!(filesystem(mounts, Path::new("/no/such/folder")), "overlay");
        assert_eq!(filesystem(mounts, Path::new("/dev/shm/no/such")), "tmpfs");
        assert_eq!(filesystem("", Path::new("/")), "");
    }
}

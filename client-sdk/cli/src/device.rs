//! Which of the user's devices this is: one of a few of this machine, the first one that no other `quoth` is
//! at the moment. So a server knows about as many devices of a machine as it runs at once, and none takes the
//! place of another.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use quoth_client::DeviceId;

/// Devices of a machine. Outcome: what runs beside so many is one of its own each time.
const DEVICES_MAX: usize = 64;

/// Bytes that a machine's name has in a device's, so that the rest has room.
const HOST_BYTES_MAX: usize = 40;

/// A device, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: DeviceId,
    /// The lock on it.
    _file: File,
}

impl Device {
    /// The first one that is free; `None` where none can be kept.
    pub(crate) fn of_machine(env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let folder = env("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| env("HOME").map(|home| Path::new(&home).join(".local/state")))?;
        Self::free(&folder.join("quoth/devices"))
    }

    fn free(folder: &Path) -> Option<Self> {
        std::fs::create_dir_all(folder).ok()?;
        (1..=DEVICES_MAX).find_map(|number| Self::take(&folder.join(number.to_string())))
    }

    /// The one of this file, whose name is made when there is none.
    fn take(path: &Path) -> Option<Self> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).ok()?;
        // The system frees it however this process ends.
        file.try_lock().ok()?;
        let mut name = String::new();
        file.read_to_string(&mut name).ok()?;
        if let Ok(id) = DeviceId::new(&name) {
            return Some(Self { id, _file: file });
        }
        let id = DeviceId::new(format!("{}-{:08x}", host(), RandomState::new().hash_one(path) >> 32)).ok()?;
        file.set_len(0).ok()?;
        file.write_all(id.as_str().as_bytes()).ok()?;
        Some(Self { id, _file: file })
    }
}

/// What the machine is called, for people who look at their devices.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name.chars().filter(|c| c.is_ascii_graphic()).take(HOST_BYTES_MAX).collect();
    if name.is_empty() { "quoth".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_one_process_and_the_next_one_s_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = Device::free(folder.path()).unwrap();
        let second = Device::free(folder.path()).unwrap();
        assert_ne!(first.id, second.id);
        let id = first.id.clone();
        drop(first);
        assert_eq!(Device::free(folder.path()).unwrap().id, id);
        std::fs::write(folder.path().join("3"), "\u{1b}").unwrap();
        let third = [Device::free(folder.path()), Device::free(folder.path())];
        assert_eq!(third.into_iter().flatten().count(), 2, "a damaged name is made anew");
    }

    #[test]
    fn without_a_home_there_is_none() {
        assert!(Device::of_machine(|_| None).is_none());
    }
}

//! A disk whose power can be cut: what of all that was done to it is on stable storage, and what else may be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::trace::Did;

/// A disk writes this many bytes at once or not at all.
const SECTOR_BYTES: u64 = 512;

/// What a power cut leaves of what was not flushed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Left {
    /// Nothing.
    Nothing,
    /// Everything, as when the process was killed and the machine goes on.
    Everything,
    /// All names, and nothing of what is in the files.
    Names,
    /// All names, and zeros for what is in the files.
    Lengths,
    /// All that is in the files, and no names.
    Contents,
    /// Everything but one part.
    Without(Part),
    /// One part alone.
    Only(Part),
    /// What was done first, up to some moment that a seed chooses.
    First(u64),
    /// Some sectors of some writes, and names up to some moment, for each folder another one, as a seed
    /// chooses.
    Some(u64),
}

/// What one flush brings to stable storage.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// What is in a file.
    File(Node),
    /// The names in a folder.
    Folder(PathBuf),
}

/// So many parts, those that were changed last, are left out or left alone.
const PARTS_MAX: usize = 5;

/// Of what a missing flush would have kept so much is left out.
const MISSED_MAX: usize = 2;

/// So many disks a missing flush may leave, at most.
pub(crate) const LEFT_OF_MISSED_MAX: usize = 1 + MISSED_MAX;

/// So many times something is left at random.
const DRAWS: u64 = 3;

/// A file or a folder, whatever its names are.
pub(crate) type Node = usize;

/// Names and contents at one moment.
#[derive(Debug, Clone, Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    contents: BTreeMap<Node, Content>,
    folders: BTreeSet<Node>,
}

/// What is in a file: some bytes, and zeros up to its length.
#[derive(Debug, Clone, Default, Hash)]
struct Content {
    bytes: Vec<u8>,
    len: u64,
}

impl Content {
    fn set_len(&mut self, len: u64, only_longer: bool) {
        if !only_longer || len > self.len {
            self.len = len;
            self.bytes.truncate(usize::try_from(len).expect("a length"));
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) {
        self.set_len(offset + bytes.len() as u64, true);
        let offset = usize::try_from(offset).expect("an offset");
        if self.bytes.len() < offset + bytes.len() {
            self.bytes.resize(offset + bytes.len(), 0);
        }
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }
}

/// Something that is not on stable storage yet.
#[derive(Debug, Clone)]
enum Pending {
    Bytes { node: Node, offset: u64, bytes: Vec<u8> },
    Len { node: Node, len: u64, only_longer: bool },
    Name { dir: PathBuf, change: Change },
}

impl Pending {
    /// What a flush has to be of to keep it.
    fn part(&self) -> Part {
        match self {
            Self::Bytes { node, .. } | Self::Len { node, .. } => Part::File(*node),
            Self::Name { dir, .. } => Part::Folder(dir.clone()),
        }
    }

    fn is_of(&self, part: &Part) -> bool {
        match (self, part) {
            (Self::Bytes { node, .. } | Self::Len { node, .. }, Part::File(of)) => node == of,
            (Self::Name { dir, .. }, Part::Folder(of)) => dir == of,
            _ => false,
        }
    }
}

/// What happens to names.
#[derive(Debug, Clone)]
enum Change {
    Put { path: PathBuf, node: Node },
    Move { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
}

/// The disk. Strict where file systems differ: a flush of a file says nothing of its name, and one of a
/// folder nothing of what is in the files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    now: State,
    stable: State,
    /// With the step that did it.
    pending: Vec<(usize, Pending)>,
    /// Those of which a flush was missing.
    missed: BTreeSet<Part>,
    nodes: Node,
}

impl State {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put { path, node } => {
                self.names.insert(path.clone(), *node);
            }
            Change::Move { from, to } => {
                // A folder takes along what is in it.
                let moved: Vec<_> =
                    self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
                for path in moved {
                    let node = self.names.remove(&path).unwrap_or_default();
                    let rest = path.strip_prefix(from).unwrap_or(&path);
                    self.names
                        .insert(if rest.as_os_str().is_empty() { to.clone() } else { to.join(rest) }, node);
                }
            }
            Change::Remove { path } => {
                self.names.remove(path);
            }
        }
    }

    fn content(&mut self, node: Node) -> &mut Content {
        self.contents.entry(node).or_default()
    }

    fn take(&mut self, pending: &Pending) {
        match pending {
            Pending::Bytes { node, offset, bytes } => self.content(*node).write(*offset, bytes),
            Pending::Len { node, len, only_longer } => self.content(*node).set_len(*len, *only_longer),
            Pending::Name { change, .. } => self.apply(change),
        }
    }
}

impl Disk {
    /// A disk with an empty folder on it.
    pub(crate) fn new(root: &Path) -> Self {
        let mut disk = Self::default();
        let node = disk.node();
        for state in [&mut disk.now, &mut disk.stable] {
            state.names.insert(root.to_owned(), node);
            state.folders.insert(node);
        }
        disk
    }

    fn node(&mut self) -> Node {
        self.nodes += 1;
        self.nodes
    }

    fn new_name(&mut self, step: usize, path: &Path, is_folder: bool) {
        let node = self.node();
        for state in [&mut self.now, &mut self.stable] {
            if is_folder {
                state.folders.insert(node);
            } else {
                state.contents.insert(node, Content::default());
            }
        }
        self.change(step, Change::Put { path: path.to_owned(), node });
    }

    fn change(&mut self, step: usize, change: Change) {
        let (Change::Put { path, .. } | Change::Move { to: path, .. } | Change::Remove { path }) = &change;
        let dir = path.parent().expect("it is in a folder").to_owned();
        self.now.apply(&change);
        self.pending.push((step, Pending::Name { dir, change }));
    }

    fn pend(&mut self, step: usize, pending: Pending) {
        self.now.take(&pending);
        self.pending.push((step, pending));
    }

    /// Does what was done at a step. `is_flushed` says whether a flush of a path does what it promises.
    pub(crate) fn step(&mut self, step: usize, did: &Did, is_flushed: impl Fn(&Path) -> bool) {
        let held = |path: &Path| self.now.names.get(path).copied();
        match did {
            Did::Create { path, truncate } => match held(path) {
                None => self.new_name(step, path, false),
                Some(node) if *truncate => self.pend(step, Pending::Len { node, len: 0, only_longer: false }),
                Some(_) => {}
            },
            Did::Write { path, offset, bytes } => {
                // Nobody finds a file again whose name is gone.
                if let Some(node) = held(path) {
                    self.pend(step, Pending::Bytes { node, offset: *offset, bytes: bytes.clone() });
                }
            }
            Did::SetLen { path, len, only_longer } => {
                if let Some(node) = held(path) {
                    self.pend(step, Pending::Len { node, len: *len, only_longer: *only_longer });
                }
            }
            Did::Rename { from, to } => {
                self.change(step, Change::Move { from: from.clone(), to: to.clone() });
            }
            Did::Link { from, to } => {
                if let Some(node) = held(from) {
                    self.change(step, Change::Put { path: to.clone(), node });
                }
            }
            Did::MakeDir { path } => self.new_name(step, path, true),
            Did::Remove { path } => self.change(step, Change::Remove { path: path.clone() }),
            Did::Flush { path, began } if is_flushed(path) => self.flush(path, *began),
            Did::Flush { path, .. } => {
                let missed = held(path).map(|node| match self.now.folders.contains(&node) {
                    true => Part::Folder(path.clone()),
                    false => Part::File(node),
                });
                self.missed.extend(missed);
            }
            Did::Said(_) => {}
        }
    }

    fn flush(&mut self, path: &Path, began: usize) {
        let Some(flushed) = self.now.names.get(path).copied() else { return };
        let stable = &mut self.stable;
        self.pending.retain(|(step, pending)| {
            let is_of_it = match pending {
                Pending::Bytes { node, .. } | Pending::Len { node, .. } => *node == flushed,
                Pending::Name { dir, .. } => dir == path,
            };
            let is_stable = is_of_it && *step < began;
            if is_stable {
                stable.take(pending);
            }
            !is_stable
        });
    }

    /// What a power cut may leave now, each class of it, and some at random. With missing flushes it is what
    /// these would have kept.
    pub(crate) fn may_leave(&self, seed: u64) -> Vec<Left> {
        if !self.missed.is_empty() {
            let missed = self.parts(MISSED_MAX, |part| self.missed.contains(part));
            return [Left::Nothing].into_iter().chain(missed.into_iter().map(Left::Without)).collect();
        }
        let parts = self.parts(PARTS_MAX, |_| true);
        let mut left = vec![Left::Nothing, Left::Everything];
        if parts.is_empty() {
            return left;
        }
        left.extend([Left::Names, Left::Lengths, Left::Contents, Left::First(seed)]);
        left.extend((0..DRAWS).map(|draw| Left::Some(seed ^ (draw << 32))));
        // Of one part alone these are what there is already.
        if parts.len() > 1 {
            for part in parts {
                left.extend([Left::Without(part.clone()), Left::Only(part)]);
            }
        }
        left
    }

    /// What is not on stable storage, those first that were changed last, and so many at most.
    fn parts(&self, max: usize, is_wanted: impl Fn(&Part) -> bool) -> Vec<Part> {
        let mut parts = Vec::new();
        for (_, pending) in self.pending.iter().rev() {
            if parts.len() == max {
                break;
            }
            if !parts.iter().any(|part| pending.is_of(part)) {
                parts.extend(Some(pending.part()).filter(&is_wanted));
            }
        }
        parts
    }

    /// How people know what is left.
    pub(crate) fn told(&self, left: &Left) -> String {
        match left {
            Left::Without(Part::File(node)) | Left::Only(Part::File(node)) => {
                let named = self.now.names.iter().find(|(_, of)| *of == node);
                format!(
                    "{left:?} ({})",
                    named.map_or_else(String::new, |(path, _)| path.display().to_string())
                )
            }
            _ => format!("{left:?}"),
        }
    }

    /// What a power cut would leave now.
    fn left(&self, left: &Left) -> State {
        let mut state = self.stable.clone();
        match left {
            Left::Nothing => {}
            Left::Some(seed) => self.leave_some(&mut StdRng::seed_from_u64(*seed), &mut state),
            Left::First(seed) => {
                let first = StdRng::seed_from_u64(*seed).random_range(0..=self.pending.len());
                self.pending[..first].iter().for_each(|(_, pending)| state.take(pending));
            }
            _ => {
                for (_, pending) in &self.pending {
                    let is_left = match left {
                        Left::Names => matches!(pending, Pending::Name { .. }),
                        Left::Lengths => !matches!(pending, Pending::Bytes { .. }),
                        Left::Contents => !matches!(pending, Pending::Name { .. }),
                        Left::Without(part) => !pending.is_of(part),
                        Left::Only(part) => pending.is_of(part),
                        _ => true,
                    };
                    if is_left {
                        state.take(pending);
                    }
                }
            }
        }
        state
    }

    fn leave_some(&self, rng: &mut StdRng, state: &mut State) {
        let mut lost_names: BTreeSet<&Path> = BTreeSet::new();
        for (_, pending) in &self.pending {
            match pending {
                Pending::Bytes { node, offset, bytes } => {
                    for (at, sector) in sectors(*offset, bytes) {
                        if rng.random() {
                            state.content(*node).write(at, sector);
                        }
                    }
                }
                Pending::Name { dir, change } => {
                    // A file system keeps the order of what it does to a folder.
                    if !lost_names.contains(&**dir) && rng.random() {
                        state.apply(change);
                    } else {
                        lost_names.insert(dir);
                    }
                }
                Pending::Len { .. } => {
                    if rng.random() {
                        state.take(pending);
                    }
                }
            }
        }
    }

    /// A number that stands for what a power cut would leave now.
    pub(crate) fn hash(&self, left: &Left) -> u64 {
        let (state, mut hasher) = (self.left(left), DefaultHasher::new());
        for (path, node) in &state.names {
            (path, state.contents.get(node)).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Writes what a power cut would leave now into a folder: what is below `root` is below `to` then.
    pub(crate) fn cut(&self, left: &Left, root: &Path, to: &Path) {
        let state = self.left(left);
        for (path, node) in &state.names {
            let place = to.join(path.strip_prefix(root).expect("it is below the root"));
            // What is in a folder whose name is lost is lost with it; ancestors come first.
            if !place.parent().is_some_and(Path::is_dir) {
                continue;
            }
            if state.folders.contains(node) {
                if !place.is_dir() {
                    fs::create_dir(&place).expect("a folder can be made");
                }
            } else {
                let Content { bytes, len } = &state.contents[node];
                let file = File::create(&place).expect("a file can be made");
                file.set_len(*len).and_then(|()| file.write_all_at(bytes, 0)).expect("it can be written");
            }
        }
    }
}

/// The parts of sectors that bytes at an offset cover.
fn sectors(offset: u64, bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let (mut parts, mut at, mut rest) = (Vec::new(), offset, bytes);
    while !rest.is_empty() {
        let left = usize::try_from(SECTOR_BYTES - at % SECTOR_BYTES).expect("a sector").min(rest.len());
        let (part, behind) = rest.split_at(left);
        parts.push((at, part));
        (at, rest) = (at + left as u64, behind);
    }
    parts
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::{Did, Disk, Left};

    fn left(disk: &Disk, left: Left) -> Vec<(String, Vec<u8>)> {
        let dir = tempfile::tempdir().unwrap();
        disk.cut(&left, Path::new("/d"), dir.path());
        let mut files: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn only_what_is_flushed_is_left_and_a_name_is_flushed_with_its_folder() {
        let mut disk = Disk::new(Path::new("/d"));
        let mut step = 0;
        let mut take = |disk: &mut Disk, did: Did| {
            disk.step(step, &did, |_| true);
            step += 1;
            step
        };
        let path = |name: &str| PathBuf::from("/d").join(name);
        take(&mut disk, Did::Create { path: path("a"), truncate: true });
        let wrote = take(&mut disk, Did::Write { path: path("a"), offset: 1, bytes: b"x".to_vec() });
        take(&mut disk, Did::Flush { path: path("a"), began: wrote });
        assert_eq!(left(&disk, Left::Nothing), []);
        assert_eq!(left(&disk, Left::Everything), [("a".to_owned(), b"\0x".to_vec())]);
        let wrote = take(&mut disk, Did::Write { path: path("a"), offset: 0, bytes: b"y".to_vec() });
        take(&mut disk, Did::Flush { path: path(""), began: wrote });
        assert_eq!(left(&disk, Left::Nothing), [("a".to_owned(), b"\0x".to_vec())]);
        take(&mut disk, Did::Rename { from: path("a"), to: path("b") });
        assert_eq!(left(&disk, Left::Nothing)[0].0, "a");
        assert_eq!(left(&disk, Left::Everything), [("b".to_owned(), b"yx".to_vec())]);
        // What began after the flush did is not of it.
        take(&mut disk, Did::Flush { path: path(""), began: 0 });
        assert_eq!(left(&disk, Left::Nothing)[0].0, "a");
    }
}

//! fjall as the view uses it: its trees of tables, written, flushed and compacted on threads of ours.
//!
//! fjall's documented way to write goes through its journal and its own threads. The view needs no journal,
//! and those threads cost more than the rows do: one of them spins while the other compacts, each flush of a
//! table waits for a flush of the journal, and an error of theirs ends in fjall's log (3.1.13,
//! `worker_pool.rs`). So rows are put into the trees directly. The calls for it are public but not documented
//! ([`Keyspace`]'s `tree`, [`Database`]'s `supervisor`), which is one reason why fjall's version is pinned
//! exactly. This folder alone uses them, mostly here, in `flush.rs`, `compactor.rs` and `unfinished.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ::fjall::compaction::Leveled;
use ::fjall::config::{BlockSizePolicy, FilterPolicy};
use ::fjall::{
    AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, LsmError, Readable as _, SeqNo, UserKey,
    UserValue,
};
use parking_lot::{Mutex, RwLock};

use super::flush::SetApart;
use super::guarded;
use super::purge::Purging;
use super::row;
use super::unfinished::Links;
use super::window::Window;
use crate::class::Class;
use crate::durable::sync_dir;
use crate::reserve::Reserve;
use crate::view::ViewError;

/// Size of the tables that merges write, in bytes. Each is written and flushed at once, and the log's flush
/// waits for the disk meanwhile: with fjall's default of 64 MiB, and its threads, the longest ack at 20,000
/// messages/s was 50 to 160 ms; with this, and with twice as much, it is 18 to 25 ms (`figures steady`). Each
/// flush writes the list of all tables, so smaller ones would cost a large store more.
pub(super) const TABLE_BYTES: u64 = 4 * 1024 * 1024;

/// With so many tables, one above the other, a tree is merged. Each merge takes what its windows have in the
/// level below too: with half as many, appends/s fall by a tenth (`figures store`).
pub(super) const UNMERGED_MIN: u8 = 8;

/// Size of the blocks of messages, in bytes: what is read, checked and compressed at once. A page has many
/// runs, which are larger than fjall's default of 4 KiB in part, and compressing a small block costs more
/// than its bytes do.
pub(super) const MESSAGE_BLOCK_BYTES: u32 = 16 * 1024;

/// So many trees the engine has when it was created, with fjall's own, which has the names of the others.
pub(super) const TREES: usize = 1 + Class::COUNT + 5;

/// The name of the registers' tree.
const REGISTERS: &str = "registers";

/// How long it is waited at once for reads that need files of which nothing else has need. Reads are over in
/// milliseconds.
const READS_WAIT: Duration = Duration::from_secs(1);

/// The trees, and what is open on them.
pub(super) struct Engine {
    dir: PathBuf,
    database: Database,
    /// One for each class.
    messages: Vec<Keyspace>,
    /// What is known of each window; written to the disk before the spans are.
    pub(super) windows: Keyspace,
    pub(super) spans: Keyspace,
    pub(super) producers: Keyspace,
    pub(super) conversations: Keyspace,
    pub(super) registers: Keyspace,
    pub(super) compaction: Arc<Leveled>,
    /// Held for writing while a batch goes in: no snapshot begins in the middle of one.
    batch: RwLock<()>,
    /// How many snapshots are open, by fjall's sequence number.
    snapshots: Mutex<BTreeMap<SeqNo, usize>>,
    /// What waits to be written into tables, or is being written.
    pub(super) set_apart: SetApart,
    /// Released when there is no room.
    pub(super) reserve: Arc<Reserve>,
    /// Held while tables are merged, and by whoever must not find them half merged, but for those of the
    /// registers while all of these are. Taken before a tree's flush lock.
    pub(super) merging: Mutex<()>,
    /// All registers are merged at once.
    pub(super) purging: Purging,
    pub(super) links: Links,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// Rows that readers see all at once.
#[derive(Default)]
pub(super) struct Batch<'a>(Vec<(&'a Keyspace, UserKey, Option<UserValue>)>);

impl<'a> Batch<'a> {
    /// A key may come once.
    pub(super) fn insert(
        &mut self,
        keyspace: &'a Keyspace,
        key: impl Into<UserKey>,
        value: impl Into<UserValue>,
    ) {
        self.0.push((keyspace, key.into(), Some(value.into())));
    }

    /// A key may come once.
    pub(super) fn remove(&mut self, keyspace: &'a Keyspace, key: impl Into<UserKey>) {
        self.0.push((keyspace, key.into(), None));
    }
}

impl Engine {
    /// Opens or creates the trees. `dir` is for errors.
    pub(super) fn open(
        dir: &Path,
        engine_dir: &Path,
        is_new: bool,
        cache_bytes: u64,
    ) -> Result<Self, ViewError> {
        let purging = Purging::default();
        let database = guarded(dir, "open", || {
            let builder = Database::builder(engine_dir).cache_size(cache_bytes).worker_threads_unchecked(0);
            builder.with_compaction_filter_factories(purging.filters_of(REGISTERS)).open()
        })?;
        let compaction =
            Leveled::default().with_table_target_size(TABLE_BYTES).with_l0_threshold(UNMERGED_MIN);
        let keyspace = |name: &str, options: KeyspaceCreateOptions| {
            if !is_new && !database.keyspace_exists(name) {
                return Err(ViewError::engine(dir, "open", format!("its keyspace {name} is missing")));
            }
            guarded(dir, "open", || database.keyspace(name, || options))
        };
        // Filters serve look-ups of single keys, and most of these are read in ranges. A damaged one would
        // hide a row.
        let in_ranges = || KeyspaceCreateOptions::default().filter_policy(FilterPolicy::disabled());
        let messages = |class: Class| {
            let options = in_ranges().data_block_size_policy(BlockSizePolicy::all(MESSAGE_BLOCK_BYTES));
            keyspace(&format!("messages-{}", class.number()), options)
        };
        Ok(Self {
            dir: dir.to_owned(),
            messages: Class::all().map(&messages).collect::<Result<_, _>>()?,
            windows: keyspace("windows", in_ranges())?,
            spans: keyspace("spans", in_ranges())?,
            producers: keyspace("producers", in_ranges())?,
            conversations: keyspace("conversations", KeyspaceCreateOptions::default())?,
            registers: keyspace(REGISTERS, in_ranges())?,
            database,
            compaction: Arc::new(compaction),
            batch: RwLock::default(),
            snapshots: Mutex::default(),
            set_apart: SetApart::default(),
            reserve: Reserve::none(),
            merging: Mutex::default(),
            purging,
            links: Links::default(),
        })
    }

    /// With a reserve that is released when there is no room.
    pub(super) fn with_reserve(self, reserve: Arc<Reserve>) -> Self {
        Self { reserve, ..self }
    }

    /// All of them, in the order in which they are flushed: what spans lead to is on the disk before they
    /// are.
    pub(super) fn keyspaces(&self) -> impl Iterator<Item = &Keyspace> {
        self.messages.iter().chain(self.others())
    }

    /// All but the messages.
    pub(super) fn others(&self) -> impl Iterator<Item = &Keyspace> {
        [&self.windows, &self.spans, &self.producers, &self.conversations, &self.registers].into_iter()
    }

    /// The messages of a class.
    pub(super) fn messages(&self, class: Class) -> &Keyspace {
        &self.messages[class.index()]
    }

    /// What all tables take of the disk, in bytes.
    pub(super) fn disk_bytes(&self) -> u64 {
        self.keyspaces().map(|keyspace| keyspace.tree.disk_space()).sum()
    }

    /// Drops the tables of a class that have rows of these windows alone; gives their bytes. Their files go
    /// when no snapshot needs them.
    pub(super) fn drop_windows(&self, class: Class, windows: RangeInclusive<u32>) -> Result<u64, ViewError> {
        const ACTION: &str = "drop a window of";
        let _nobody_merges = self.merging.lock();
        let tree = &self.messages(class).tree;
        let (first, behind) = (windows.start().to_be_bytes(), windows.end().checked_add(1));
        let before = tree.disk_space();
        let dropped = match behind {
            Some(behind) => tree.drop_range::<&[u8], _>(&first[..]..&behind.to_be_bytes()[..]),
            None => tree.drop_range::<&[u8], _>(&first[..]..),
        };
        self.tree(ACTION, dropped)?;
        // Whoever looks from here on sees the tree without them.
        self.write(Batch::default());
        self.free_versions(self.messages(class))?;
        Ok(before.saturating_sub(tree.disk_space()))
    }

    /// Waits, for a moment at most, until no read is under way that needs rows or files that are not needed
    /// by one that begins now; says whether there is none.
    pub(super) fn wait_for_reads(&self) -> bool {
        // Whoever looks from here on sees the trees as they are now.
        self.write(Batch::default());
        let (now, until) = (self.database.visible_seqno(), Instant::now() + READS_WAIT);
        while self.unneeded().saturating_add(1) < now {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// Lets files go that nobody needs any more, as soon as no read is under way that began before; says
    /// whether there are none but those that are needed. Nothing else would before the next flush of their
    /// tree, which an idle server does not come to.
    pub(super) fn free_files(&self) -> Result<bool, ViewError> {
        if !self.wait_for_reads() {
            return Ok(false);
        }
        let _nobody_merges = self.merging.lock();
        let mut is_freed = true;
        for keyspace in self.keyspaces() {
            self.free_versions(keyspace)?;
            // Nobody waits until all registers are merged, and until then some tables are in no version yet.
            let merging_them = self.is_registers(keyspace).then(|| self.purging.try_merge());
            is_freed &= !matches!(merging_them, Some(None)) && self.delete_left(keyspace)?;
            // They are not to be there again behind a power cut.
            let tables = keyspace.path().join("tables");
            sync_dir(&tables).map_err(ViewError::io("sync", &tables))?;
        }
        Ok(is_freed)
    }

    /// Lets the versions of a tree go that no read has, and files that are in none but these.
    pub(super) fn free_versions(&self, keyspace: &Keyspace) -> Result<(), ViewError> {
        let tree = &keyspace.tree;
        let freed = tree.get_version_history_lock().maintenance(&tree.tree_config().path, self.unneeded());
        self.tree("delete old files of", freed)
    }

    /// From which window to which the tables go that may have rows of a window; `None` when there are none.
    pub(super) fn windows_beside(&self, class: Class, window: Window) -> Option<(Window, Window)> {
        let version = self.messages(class).tree.current_version();
        let of_key = |key: &[u8]| key.first_chunk().map(|number| Window(u32::from_be_bytes(*number)));
        let ranges = version.iter_tables().filter_map(|table| {
            let range = &table.metadata.key_range;
            of_key(range.min()).zip(of_key(range.max()))
        });
        let beside = ranges.filter(|(first, last)| (*first..=*last).contains(&window));
        beside.reduce(|(first, last), (a, b)| (first.min(a), last.max(b)))
    }

    /// The last window of a class that has rows.
    pub(super) fn last_window(
        &self,
        snapshot: &Snapshot<'_>,
        class: Class,
    ) -> Result<Option<Window>, ViewError> {
        const ACTION: &str = "read a message from";
        let Some(row) = snapshot.iter(self.messages(class)).next_back() else { return Ok(None) };
        let (key, _) = self.database(ACTION, row.into_inner())?;
        let (window, _, _) = row::split_run_key(&key)
            .ok_or_else(|| self.failed(ACTION, "a row has a key of another length".to_owned()))?;
        Ok(Some(window))
    }

    /// Puts rows in. They are in memory; `flush.rs` brings them to the disk.
    pub(super) fn write(&self, batch: Batch<'_>) {
        let _no_snapshot_begins = self.batch.write();
        let supervisor = &self.database.supervisor;
        let seqno = supervisor.seqno.next();
        for (keyspace, key, value) in batch.0 {
            match value {
                Some(value) => keyspace.tree.insert(key, value, seqno),
                None => keyspace.tree.remove(key, seqno),
            };
        }
        supervisor.snapshot_tracker.publish(seqno);
    }

    /// What is there now.
    pub(super) fn snapshot(&self) -> Snapshot<'_> {
        let _whole_batches = self.batch.read();
        let mut open = self.snapshots.lock();
        let seqno = self.database.visible_seqno();
        *open.entry(seqno).or_default() += 1;
        Snapshot { engine: self, seqno, snapshot: self.database.snapshot() }
    }

    /// Up to which sequence number nobody needs what was overwritten. fjall's own count moves on with its
    /// threads only.
    pub(super) fn unneeded(&self) -> SeqNo {
        let open = self.snapshots.lock();
        let first = open.first_key_value().map(|(seqno, _)| *seqno);
        first.unwrap_or_else(|| self.database.visible_seqno()).saturating_sub(1)
    }

    /// An error that fjall did not return.
    pub(super) fn failed(&self, action: &'static str, what: String) -> ViewError {
        ViewError::engine(&self.dir, action, what)
    }

    /// What a tree says, as an error of the view.
    pub(super) fn tree<T>(&self, action: &'static str, result: Result<T, LsmError>) -> Result<T, ViewError> {
        result.map_err(|error| engine_error(&self.dir, action, error.into()))
    }

    /// What fjall says, as an error of the view.
    pub(super) fn database<T>(
        &self,
        action: &'static str,
        result: ::fjall::Result<T>,
    ) -> Result<T, ViewError> {
        result.map_err(|error| engine_error(&self.dir, action, error))
    }
}

/// The rows at one moment. Rows that are overwritten later stay until it is dropped.
pub(super) struct Snapshot<'a> {
    engine: &'a Engine,
    seqno: SeqNo,
    snapshot: ::fjall::Snapshot,
}

impl Deref for Snapshot<'_> {
    type Target = ::fjall::Snapshot;

    fn deref(&self) -> &::fjall::Snapshot {
        &self.snapshot
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        let mut open = self.engine.snapshots.lock();
        if let Some(count) = open.get_mut(&self.seqno) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.seqno);
            }
        }
    }
}

/// fjall's error as one of the view's.
pub(super) fn engine_error(dir: &Path, action: &'static str, error: ::fjall::Error) -> ViewError {
    match error {
        ::fjall::Error::Io(source) | ::fjall::Error::Storage(LsmError::Io(source)) => {
            ViewError::io(action, dir)(source)
        }
        ::fjall::Error::Storage(LsmError::ChecksumMismatch { .. }) => {
            ViewError::DamagedBlock { action, path: dir.to_owned() }
        }
        error => ViewError::engine(dir, action, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, Engine};
    use crate::durable::syncs;
    use crate::testing::unpaced;
    use ::fjall::{AbstractTree as _, Readable as _};

    #[test]
    fn what_a_snapshot_needs_is_kept_and_the_rest_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &dir.path().join("engine"), true, 1 << 20).unwrap();
        let write = |value: &str| {
            let mut batch = Batch::default();
            batch.insert(&engine.producers, "key", value);
            engine.write(batch);
        };
        write("first");
        let before = engine.unneeded();
        let snapshot = engine.snapshot();
        let again = engine.snapshot();
        for value in ["second", "third"] {
            write(value);
            engine.flush(engine.cut(false)).unwrap();
        }
        let held = engine.unneeded();
        assert_eq!(held, before, "the first snapshot needs what was there then");
        assert_eq!(&*snapshot.get(&engine.producers, "key").unwrap().unwrap(), b"first");
        drop(snapshot);
        assert_eq!(engine.unneeded(), held, "the other one is open still");
        drop(again);
        assert!(engine.unneeded() > held);
        assert!(engine.producers.tree.version_free_list_len() > 1, "the snapshots needed them");
        write("fourth");
        engine.flush(engine.cut(false)).unwrap();
        assert_eq!(
            engine.producers.tree.version_free_list_len(),
            1,
            "the last one is kept until the next flush"
        );
        assert_eq!(&*engine.snapshot().get(&engine.producers, "key").unwrap().unwrap(), b"fourth");
    }

    #[test]
    fn files_go_when_no_read_needs_them_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &dir.path().join("engine"), true, 1 << 20).unwrap();
        let flush = || {
            engine.flush(engine.cut(false)).unwrap();
        };
        let mut batch = Batch::default();
        batch.insert(&engine.registers, "key", "what is taken back");
        batch.insert(&engine.registers, "other", "stays");
        engine.write(batch);
        flush();
        let read = engine.snapshot();
        let mut batch = Batch::default();
        batch.remove(&engine.registers, "key");
        engine.write(batch);
        flush();
        let is_there = || {
            let tables = engine.registers.tree.tree_config().path.join("tables");
            let files = std::fs::read_dir(tables).unwrap().map(|file| std::fs::read(file.unwrap().path()));
            let text = b"what is taken back";
            files.map(Result::unwrap).any(|file| file.windows(text.len()).any(|part| part == text))
        };
        assert!(engine.merge_registers(&unpaced()).unwrap());
        assert!(!engine.free_files().unwrap(), "the read has it");
        assert_eq!(&*read.get(&engine.registers, "key").unwrap().unwrap(), b"what is taken back");
        drop(read);
        assert!(is_there(), "nobody else lets it go");
        syncs::take();
        assert!(engine.free_files().unwrap() && !is_there());
        let tables = engine.registers.tree.tree_config().path.join("tables");
        assert!(syncs::take().contains(&tables), "and so it is behind a power cut");
        assert_eq!(&*engine.snapshot().get(&engine.registers, "other").unwrap().unwrap(), b"stays");
    }

    /// A flush in the middle of a batch makes what is in there visible to fjall's own snapshots.
    #[test]
    fn a_snapshot_has_a_batch_whole_or_not_at_all() {
        const ROWS: u64 = 300_000;
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path(), &dir.path().join("engine"), true, 1 << 20).unwrap();
        let mut other = Batch::default();
        other.insert(&engine.spans, "other", "value");
        engine.write(other);
        let cut = engine.cut(false);
        let mut batch = Batch::default();
        (0..ROWS).for_each(|row| batch.insert(&engine.producers, row.to_be_bytes(), "value"));
        std::thread::scope(|scope| {
            scope.spawn(|| engine.write(batch));
            while engine.producers.tree.active_memtable().is_empty() {
                std::thread::yield_now();
            }
            engine.flush(cut).unwrap();
            let snapshot = engine.snapshot();
            let has = |row: u64| snapshot.get(&engine.producers, row.to_be_bytes()).unwrap().is_some();
            assert_eq!(has(0), has(ROWS - 1), "half of a batch");
        });
    }
}
